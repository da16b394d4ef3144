//! `transom status`: one cluster's processes, addresses and nodes, as the host and the API see them.

use std::time::Duration;

use anyhow::Result;
use bootstrap::local::{Cluster, Options, cluster};
use client::ListOptions;

use crate::cli::Named;
use crate::local::runtime;
use crate::report::result;

const ANSWER_WITHIN: Duration = Duration::from_secs(5);

pub(crate) fn run(named: &Named) -> Result<()> {
    let cluster = cluster(&named.name, &Options::default())?;
    let seen = match cluster.server_pid {
        Some(_) => runtime()?.block_on(ask(&cluster)),
        None => Err("the control plane does not run".to_owned()),
    };
    let server = match (cluster.server_pid, cluster.stopped, &seen) {
        (_, true, _) => "stopped".to_owned(),
        (None, false, _) => "dead: `transom start` brings it back".to_owned(),
        (Some(pid), _, Ok(_)) => format!("pid {pid}, ready"),
        (Some(pid), _, Err(why)) => format!("pid {pid}, {why}"),
    };
    let ranges = &cluster.ranges;
    let pairs = [
        ("cluster", cluster.name.clone()),
        ("created", cluster.created.clone()),
        ("context", cluster.context.clone()),
        (
            "API",
            format!(
                "https://{}, for nodes and pods https://{}",
                cluster.api, cluster.api_inside
            ),
        ),
        ("pods", ranges.pods.to_string()),
        (
            "services",
            format!("{}, DNS {}", ranges.services, ranges.dns_service()),
        ),
        (
            "nodes",
            format!("{}, this host {}", ranges.nodes, ranges.api_address()),
        ),
        ("folder", cluster.folder.display().to_string()),
        ("control plane", server),
    ];
    let pairs: Vec<Vec<String>> = pairs.map(|(key, value)| vec![key.to_owned(), value]).into();
    let head = ["NODE", "PROCESS", "STATUS", "ADDRESS", "PODS", "PODS RANGE"];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    for node in &cluster.nodes {
        let seen = seen.as_ref().ok();
        let status = seen.map(|nodes| nodes.iter().find(|(name, ..)| *name == node.name));
        let (status, pods) = match status {
            None => ("unknown".to_owned(), "-".to_owned()),
            Some(None) => ("not registered".to_owned(), "-".to_owned()),
            Some(Some((_, status, pods))) => (status.clone(), pods.to_string()),
        };
        let process = match node.pid {
            Some(pid) => format!("pid {pid}"),
            None if cluster.stopped => "stopped".to_owned(),
            None => "dead".to_owned(),
        };
        let (address, range) = (node.address.to_string(), node.pods.to_string());
        lines.push(vec![
            node.name.clone(),
            process,
            status,
            address,
            pods,
            range,
        ]);
    }
    result(&format!(
        "{}\n{}",
        kubectl::align(&pairs),
        kubectl::align(&lines)
    ));
    Ok(())
}

/// (name, status, number of pods) of the API's nodes; or why it does not answer.
async fn ask(cluster: &Cluster) -> Result<Vec<(String, String, usize)>, String> {
    let asked = tokio::time::timeout(ANSWER_WITHIN, async {
        let connection = kubectl::connect(&cluster.admin_kubeconfig, None)?;
        let list = |resource: &str| {
            let api = connection
                .client
                .resource(&api::Gvr::new("", "v1", resource));
            async move { api.list(&ListOptions::default()).await }
        };
        let (nodes, pods) = (list("nodes").await?, list("pods").await?);
        let mut on: std::collections::HashMap<String, usize> = std::collections::HashMap::new();
        for pod in &pods.items {
            let dom = pod.parse()?;
            let node = dom.as_ref().at(&["spec", "nodeName"]);
            let name = node.and_then(|node| node.as_str().map(str::to_owned));
            *on.entry(name.unwrap_or_default()).or_default() += 1;
        }
        let mut all = Vec::new();
        for node in &nodes.items {
            let dom = node.parse()?;
            let ready = api::meta::condition_is_true(dom.as_ref(), "Ready");
            let cordoned = dom
                .as_ref()
                .get("spec")
                .and_then(|spec| spec.bool("unschedulable"));
            let mut status = if ready { "Ready" } else { "NotReady" }.to_owned();
            if cordoned == Some(true) {
                status.push_str(",SchedulingDisabled");
            }
            let pods = on.get(node.name()).copied().unwrap_or(0);
            all.push((node.name().to_owned(), status, pods));
        }
        anyhow::Ok(all)
    });
    match asked.await {
        Ok(Ok(nodes)) => Ok(nodes),
        Ok(Err(error)) => Err(format!("does not answer: {error:#}")),
        Err(_) => Err(format!("does not answer within {ANSWER_WITHIN:?}")),
    }
}
