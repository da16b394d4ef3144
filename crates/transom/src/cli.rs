//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::{agent, demo, hello, inbox, local, server};

/// A whole Kubernetes in one binary.
#[derive(Parser)]
#[command(name = "transom", version, about, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    applet: Applet,
}

#[derive(Subcommand)]
enum Applet {
    /// Start a local cluster on this host, or resume it.
    Up(Up),
    /// End a cluster's processes; its data stays.
    Stop(Named),
    /// Start a stopped cluster.
    Start(Named),
    /// Remove a cluster with everything it holds on this host.
    Down(Named),
    /// List the clusters of this host.
    Clusters,
    /// Act on a node of a local cluster.
    Node {
        #[command(subcommand)]
        action: NodeAction,
    },
    /// Act on the images of a local cluster's nodes.
    Image {
        #[command(subcommand)]
        action: ImageAction,
    },
    /// Start a local cluster and show a pod that answers.
    Demo(Named),
    /// A small client.
    Kubectl(Kubectl),
    /// Run the control plane.
    Server(Configured),
    /// Run a node.
    Agent(Configured),
    /// Answer HTTP requests with a greeting: the demo's container.
    #[command(hide = true)]
    Hello {
        /// Port to listen on.
        #[arg(long, default_value_t = 8080)]
        port: u16,
    },
}

#[derive(Args)]
pub(crate) struct Up {
    #[command(flatten)]
    pub(crate) named: Named,
    /// How many nodes.
    #[arg(long, default_value_t = 1)]
    pub(crate) nodes: usize,
    /// The kubeconfig that gets the context; the invoking user's when absent.
    #[arg(long)]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Port of the API on this host's loopback; the first free one from 6443 when absent.
    #[arg(long)]
    pub(crate) port: Option<u16>,
    /// Return once the API listens, without waiting for the nodes.
    #[arg(long)]
    pub(crate) detach: bool,
}

#[derive(Args, Clone)]
pub(crate) struct Named {
    /// Name of the cluster.
    #[arg(long, short = 'C', default_value = "default")]
    pub(crate) name: String,
}

#[derive(Subcommand)]
enum NodeAction {
    /// Run a command in a node.
    Exec {
        #[command(flatten)]
        named: Named,
        /// Name of the node.
        node: String,
        /// The command.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
}

#[derive(Subcommand)]
enum ImageAction {
    /// Give an OCI or docker archive to every node.
    Import {
        #[command(flatten)]
        named: Named,
        /// The archive.
        file: PathBuf,
    },
}

#[derive(Args)]
struct Configured {
    /// Configuration file.
    #[arg(long)]
    config: PathBuf,
}

#[derive(Args)]
pub(crate) struct Kubectl {
    /// Kubeconfig; KUBECONFIG or ~/.kube/config when absent.
    #[arg(long, global = true)]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig.
    #[arg(long, global = true)]
    pub(crate) context: Option<String>,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Print a table of a resource.
    Get {
        /// The resource by any of its names.
        resource: Option<String>,
        /// One object only.
        name: Option<String>,
        /// Namespace.
        #[arg(long, short)]
        namespace: Option<String>,
        /// All namespaces.
        #[arg(long, short = 'A')]
        all_namespaces: bool,
        /// All columns.
        #[arg(long)]
        wide: bool,
        /// Print the answer to this path instead.
        #[arg(long)]
        raw: Option<String>,
    },
}

pub(crate) fn run() -> Result<ExitCode> {
    match Cli::parse().applet {
        Applet::Up(up) => local::up(&up)?,
        Applet::Stop(named) => local::stop(&named)?,
        Applet::Start(named) => local::start(&named)?,
        Applet::Down(named) => local::down(&named)?,
        Applet::Clusters => local::clusters()?,
        Applet::Node {
            action:
                NodeAction::Exec {
                    named,
                    node,
                    command,
                },
        } => {
            let code = local::node_exec(&named, &node, &command)?;
            return Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)));
        }
        Applet::Image {
            action: ImageAction::Import { named, file },
        } => {
            inbox::import(&named.name, &file)?;
        }
        Applet::Demo(named) => demo::run(&named)?,
        Applet::Kubectl(kubectl) => local::kubectl(&kubectl)?,
        Applet::Server(configured) => server::run(&configured.config)?,
        Applet::Agent(configured) => agent::run(&configured.config)?,
        Applet::Hello { port } => hello::run(port)?,
    }
    Ok(ExitCode::SUCCESS)
}
