//! The commands of local clusters.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bootstrap::local as clusters_of;
use bootstrap::local::{Cluster, Options};
use bootstrap::ranges::Wanted;

use crate::cli::{Kubectl, Named, Up, Verb};
use crate::report::{progress, result};

/// How long nodes may take to be Ready.
const READY_WITHIN: Duration = Duration::from_secs(120);

pub(crate) fn up(up: &Up) -> Result<()> {
    let cluster = bring_up(up)?;
    result(&format!(
        "cluster {} is up: context {}, API https://{}",
        cluster.name, cluster.context, cluster.api
    ));
    Ok(())
}

/// Starts or resumes a cluster and, unless detached, waits for its nodes.
pub(crate) fn bring_up(up: &Up) -> Result<Cluster> {
    let request = clusters_of::Up {
        nodes: up.nodes,
        ranges: Wanted {
            pods: up.pod_range.clone(),
            services: up.service_range.clone(),
            nodes: up.node_range.clone(),
        },
        port: up.api_port,
        kubeconfig: up.kubeconfig.clone(),
        ..clusters_of::Up::new(&up.named.name)
    };
    let cluster = clusters_of::up(&request, &mut progress)?;
    if !up.detach {
        wait_for_nodes(&cluster)?;
    }
    Ok(cluster)
}

/// Follows the Node objects until all of the cluster's are Ready.
pub(crate) fn wait_for_nodes(cluster: &Cluster) -> Result<()> {
    let wanted: Vec<String> = cluster.nodes.iter().map(|node| node.name.clone()).collect();
    let first = cluster.nodes.first();
    let log = first.map(|node| node.log.display().to_string());
    wait_for(&wanted, &cluster.admin_kubeconfig, &log.unwrap_or_default())
}

/// Follows the Node objects until those that are wanted are Ready; `log` says why they are not.
pub(crate) fn wait_for(wanted: &[String], kubeconfig: &Path, log: &str) -> Result<()> {
    let connection = kubectl::connect(kubeconfig, None)?;
    progress(&format!("waiting for {} node(s)", wanted.len()));
    runtime()?.block_on(async {
        let shutdown = base::Shutdown::new();
        let changed = std::sync::Arc::new(tokio::sync::Notify::new());
        let wake = changed.clone();
        let nodes = client::Reflector::new(
            connection
                .client
                .resource(&api::Gvr::new("", "v1", "nodes")),
            client::ListOptions::default(),
            client::Cache::new(Vec::new()),
        )
        .on_change(move |_| wake.notify_one())
        .start(&shutdown);
        let all_ready = async {
            loop {
                let ready = |name: &String| {
                    let node = nodes.get(&client::Key::new("", name.as_str()));
                    node.and_then(|node| node.parse().ok())
                        .is_some_and(|dom| api::meta::condition_is_true(dom.as_ref(), "Ready"))
                };
                if wanted.iter().all(ready) {
                    return;
                }
                changed.notified().await;
            }
        };
        let outcome = tokio::time::timeout(READY_WITHIN, all_ready).await;
        shutdown.trigger();
        if outcome.is_err() {
            bail!(
                "{} not Ready after {READY_WITHIN:?}: see {log} and `transom kubectl get nodes`",
                wanted.join(", ")
            );
        }
        Ok(())
    })
}

pub(crate) fn stop(named: &Named) -> Result<()> {
    clusters_of::stop(&named.name, &Options::default(), &mut progress)?;
    result(&format!("cluster {} is stopped", named.name));
    Ok(())
}

pub(crate) fn start(named: &Named) -> Result<()> {
    let cluster = clusters_of::start(&named.name, &Options::default(), &mut progress)?;
    wait_for_nodes(&cluster)?;
    result(&format!(
        "cluster {} is up: API https://{}",
        cluster.name, cluster.api
    ));
    Ok(())
}

pub(crate) fn down(named: &Named) -> Result<()> {
    clusters_of::down(&named.name, &Options::default(), &mut progress)?;
    result(&format!("cluster {} is gone", named.name));
    Ok(())
}

pub(crate) fn clusters() -> Result<()> {
    let mut lines = vec![format!(
        "{:<16} {:<9} {:<22} {}",
        "NAME", "STATUS", "API", "NODES"
    )];
    let (all, damaged) = clusters_of::clusters(&Options::default())?;
    for error in damaged {
        progress(&format!("warning: {}", base::Chain(&error)));
    }
    for cluster in all {
        let running = cluster
            .nodes
            .iter()
            .filter(|node| node.pid.is_some())
            .count();
        let status = match (cluster.stopped, cluster.server_pid) {
            (true, _) => "stopped",
            (false, Some(_)) => "running",
            (false, None) => "dead",
        };
        let nodes = format!("{running}/{}", cluster.nodes.len());
        lines.push(format!(
            "{:<16} {status:<9} {:<22} {nodes}",
            cluster.name,
            cluster.api.to_string()
        ));
    }
    result(&lines.join("\n"));
    Ok(())
}

pub(crate) fn node_stop(named: &Named, node: &str, now: bool) -> Result<()> {
    clusters_of::node_stop(&named.name, node, now, &Options::default(), &mut progress)?;
    result(&format!("node {node} is stopped; its data stays"));
    Ok(())
}

pub(crate) fn node_start(named: &Named, node: &str) -> Result<()> {
    let mut cluster =
        clusters_of::node_start(&named.name, node, &Options::default(), &mut progress)?;
    cluster.nodes.retain(|one| one.name == node);
    wait_for_nodes(&cluster)?;
    result(&format!("node {node} is up"));
    Ok(())
}

pub(crate) fn node_exec(named: &Named, node: &str, command: &[String]) -> Result<i32> {
    Ok(clusters_of::node_exec(
        &named.name,
        node,
        command,
        &Options::default(),
    )?)
}

pub(crate) fn kubectl(arguments: &Kubectl) -> Result<()> {
    let path = match (&arguments.kubeconfig, std::env::var_os("KUBECONFIG")) {
        (Some(path), _) => path.clone(),
        (None, Some(path)) if !path.is_empty() => PathBuf::from(path),
        _ => {
            let home = std::env::var_os("HOME").context("neither KUBECONFIG nor HOME is set")?;
            PathBuf::from(home).join(".kube").join("config")
        }
    };
    let connection = kubectl::connect(&path, arguments.context.as_deref())?;
    let Verb::Get {
        resource,
        name,
        namespace,
        all_namespaces,
        wide,
        raw,
    } = &arguments.verb;
    let command = match (raw, resource) {
        (Some(path), _) => kubectl::Command::Raw { path: path.clone() },
        (None, Some(resource)) => kubectl::Command::Get {
            resource: resource.clone(),
            name: name.clone(),
            namespace: namespace.clone(),
            all_namespaces: *all_namespaces,
            wide: *wide,
        },
        (None, None) => bail!("name a resource: transom kubectl get pods"),
    };
    let text = runtime()?.block_on(kubectl::run(&connection, command))?;
    result(&text);
    Ok(())
}

/// A runtime for commands.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}
