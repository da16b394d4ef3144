//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::{agent, demo, hello, images, inbox, install, local, logs, lookup, server, status};

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
    /// Say how a cluster is: its processes, addresses and nodes.
    Status(Named),
    /// Print the log of the control plane or of a node's agent.
    Logs(Logs),
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
    /// Make this machine a cluster of one node whose services systemd keeps, or bring it to this
    /// program's version.
    Install(Install),
    /// Remove what `install` made, with all pods and their data.
    Uninstall,
    /// Start a local cluster of three nodes and show a Deployment that is updated under load.
    Demo(Demo),
    /// A small client.
    Kubectl(Kubectl),
    /// Run the control plane.
    Server(Configured),
    /// Run a node.
    Agent(Configured),
    /// Ask the DNS as /etc/resolv.conf says, for images without another tool.
    Lookup {
        /// A name, or an address whose name is asked for.
        name: String,
        /// A, AAAA, CNAME, MX, NS, PTR, SOA, SRV or TXT.
        #[arg(default_value = "A")]
        kind: String,
        /// This server instead, such as 10.96.0.10:53.
        #[arg(long, value_name = "ADDRESS:PORT")]
        server: Option<std::net::SocketAddr>,
    },
    /// Answer HTTP requests with a greeting: the demo's container.
    #[command(hide = true)]
    Hello {
        /// Port to listen on.
        #[arg(long, default_value_t = 8080)]
        port: u16,
        /// What it says of itself.
        #[arg(long, default_value = "v1")]
        version: String,
    },
}

#[derive(Args)]
pub(crate) struct Up {
    #[command(flatten)]
    pub(crate) named: Named,
    /// How many nodes; 0 is a control plane alone.
    #[arg(long, default_value_t = 1)]
    pub(crate) nodes: usize,
    /// The kubeconfig that gets the context; the invoking user's when absent.
    #[arg(long)]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Port of the API on this host's loopback; the first free one from 6443 when absent.
    #[arg(long, value_name = "PORT", alias = "port")]
    pub(crate) api_port: Option<u16>,
    /// Addresses of pods, such as 10.244.0.0/16; a range that no route of this host meets when
    /// absent.
    #[arg(long, value_name = "RANGE")]
    pub(crate) pod_range: Option<String>,
    /// Addresses of Services, such as 10.96.0.0/16; chosen likewise when absent.
    #[arg(long, value_name = "RANGE")]
    pub(crate) service_range: Option<String>,
    /// Addresses of nodes, such as 172.31.0.0/24; chosen likewise when absent.
    #[arg(long, value_name = "RANGE")]
    pub(crate) node_range: Option<String>,
    /// Return once the API listens, without waiting for the nodes.
    #[arg(long)]
    pub(crate) detach: bool,
}

#[derive(Args)]
pub(crate) struct Install {
    /// Name of the node; this machine's when absent.
    #[arg(long)]
    pub(crate) node_name: Option<String>,
    /// Address of this machine for nodes and pods; that of its way out when absent.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) node_address: Option<std::net::Ipv4Addr>,
    /// Port of the API; 6443 when absent.
    #[arg(long, value_name = "PORT")]
    pub(crate) api_port: Option<u16>,
    /// Addresses of pods, such as 10.244.0.0/16; a range that no route of this machine meets when
    /// absent.
    #[arg(long, value_name = "RANGE")]
    pub(crate) pod_range: Option<String>,
    /// Addresses of Services, such as 10.96.0.0/16; chosen likewise when absent.
    #[arg(long, value_name = "RANGE")]
    pub(crate) service_range: Option<String>,
}

#[derive(Args)]
pub(crate) struct Demo {
    #[command(flatten)]
    pub(crate) named: Named,
    /// On the cluster that `install` made of this machine instead.
    #[arg(long, conflicts_with = "name")]
    pub(crate) installed: bool,
}

#[derive(Args, Clone)]
pub(crate) struct Named {
    /// Name of the cluster.
    #[arg(long, short = 'C', default_value = "default")]
    pub(crate) name: String,
}

impl Up {
    /// A cluster with `nodes` nodes, everything else chosen.
    pub(crate) fn with_nodes(named: &Named, nodes: usize) -> Self {
        Self {
            named: named.clone(),
            nodes,
            kubeconfig: None,
            api_port: None,
            pod_range: None,
            service_range: None,
            node_range: None,
            detach: false,
        }
    }
}

#[derive(Args)]
pub(crate) struct Logs {
    #[command(flatten)]
    pub(crate) named: Named,
    /// Whose: `server` (when absent), or `agent NODE`.
    #[arg(num_args = 0..=2, value_name = "server | agent NODE")]
    pub(crate) of: Vec<String>,
    /// Go on with what is written from now on.
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Only the last lines.
    #[arg(long, value_name = "LINES")]
    pub(crate) tail: Option<usize>,
}

#[derive(Subcommand)]
enum NodeAction {
    /// End a node with everything in it; its data stays.
    Stop {
        #[command(flatten)]
        named: Named,
        /// Name of the node.
        node: String,
        /// At once, without asking anything in it: as in a power cut.
        #[arg(long)]
        now: bool,
    },
    /// Start a node that does not run; its pods come back. (`transom start` does so for all.)
    Start {
        #[command(flatten)]
        named: Named,
        /// Name of the node.
        node: String,
    },
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
    /// List the images of all nodes.
    Ls(Named),
    /// Pull an image to every node.
    Pull {
        #[command(flatten)]
        named: Named,
        /// To this node only.
        #[arg(long)]
        node: Option<String>,
        /// The image, such as docker.io/library/nginx:1.29.
        image: String,
    },
    /// Remove an image from every node.
    Rm {
        #[command(flatten)]
        named: Named,
        /// From this node only.
        #[arg(long)]
        node: Option<String>,
        /// The image.
        image: String,
    },
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
        Applet::Status(named) => status::run(&named)?,
        Applet::Logs(logs) => logs::run(&logs)?,
        Applet::Node { action } => return node(&action),
        Applet::Image { action } => image(&action)?,
        Applet::Install(request) => install::install(&request)?,
        Applet::Uninstall => install::uninstall()?,
        Applet::Demo(request) if request.installed => demo::run_installed()?,
        Applet::Demo(request) => demo::run(&request.named)?,
        Applet::Kubectl(kubectl) => local::kubectl(&kubectl)?,
        Applet::Server(configured) => server::run(&configured.config)?,
        Applet::Agent(configured) => agent::run(&configured.config)?,
        Applet::Hello { port, version } => hello::run(port, &version)?,
        Applet::Lookup { name, kind, server } => return lookup::run(&name, &kind, server),
    }
    Ok(ExitCode::SUCCESS)
}

fn node(action: &NodeAction) -> Result<ExitCode> {
    match action {
        NodeAction::Exec {
            named,
            node,
            command,
        } => {
            let code = local::node_exec(named, node, command)?;
            return Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)));
        }
        NodeAction::Stop { named, node, now } => local::node_stop(named, node, *now)?,
        NodeAction::Start { named, node } => local::node_start(named, node)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn image(action: &ImageAction) -> Result<()> {
    match action {
        ImageAction::Ls(named) => images::list(named),
        ImageAction::Pull { named, node, image } => images::pull(named, node.as_deref(), image),
        ImageAction::Rm { named, node, image } => images::remove(named, node.as_deref(), image),
        ImageAction::Import { named, file } => inbox::import(&named.name, file),
    }
}
