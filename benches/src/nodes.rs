//! Several nodes: how soon three are Ready, and a Deployment of 300 pods over them from its apply
//! to the last Ready pod.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use api::Gvr;
use bytes::Bytes;
use client::{Client, ListOptions, Object, Watch, WatchEvent};
use http::Method;
use tokio::time::{Instant, timeout};

use crate::cluster::{Fixture, IMAGE};
use crate::report::{Figure, Report, line, percentile};
use crate::{pods, probe, usage};

/// Everything together, the cluster's end not included.
pub(crate) const WITHIN: Duration = Duration::from_secs(150);
const NODES: usize = 3;
const PODS: usize = 300;
/// A rollout that takes longer has failed.
const ROLLED_OUT_WITHIN: Duration = Duration::from_secs(90);
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/default/deployments/many";

/// What could be measured is in the report, also when this fails.
pub(crate) async fn run(binary: &Path, report: &mut Report) -> Result<()> {
    let fixture = Fixture::new(binary, NODES)?;
    let outcome = measure(&fixture, report).await;
    if outcome.is_err() {
        line(&fixture.logs());
    }
    outcome
}

async fn measure(fixture: &Fixture, report: &mut Report) -> Result<()> {
    report.add(probe::flush(&fixture.folder(), "flush probe, before")?);
    line(&format!("starting {NODES} nodes"));
    let started = fixture.up().await?;
    let ready = started.node_ready.as_secs_f64();
    report.add(Figure::new("exec to three nodes Ready", "s", ready));
    fixture.import_image().await?;
    let client = fixture.connect()?.client;
    pods::service_account(&client).await?;
    line(&format!("a Deployment of {PODS} pods"));
    let soon = rollout(&client).await?;
    let name = format!("{PODS} pods over {NODES} nodes, apply to Ready");
    let figure = |what: &str, share| {
        let value = percentile(&soon.ready, share);
        Figure::new(format!("{name}, {what}"), "s", value)
    };
    report.add(figure("p50", 0.5));
    report.add(figure("p99", 0.99));
    report.add(figure("all", 1.0));
    report.add(Figure::new(
        "pods of the fullest of the nodes",
        "",
        soon.fullest as f64,
    ));
    let processes = usage::of_cluster(&fixture.name)?;
    let total = usage::pss_mib(&processes)?;
    report.add(Figure::new(
        format!("PSS with {PODS} pods, their processes included"),
        "MiB",
        total,
    ));
    Ok(())
}

struct Rollout {
    /// Seconds from the apply until the pod was Ready, sorted.
    ready: Vec<f64>,
    fullest: usize,
}

async fn rollout(client: &Client) -> Result<Rollout> {
    let pods = client.namespaced(&Gvr::new("", "v1", "pods"), "default");
    let from = pods.list(&ListOptions::default()).await?.resource_version;
    let mut watch = pods
        .watch(&ListOptions {
            resource_version: from,
            ..ListOptions::default()
        })
        .await?;
    let json = format!(
        r#"{{"apiVersion":"apps/v1","kind":"Deployment","metadata":{{"name":"many"}},"spec":{{"replicas":{PODS},"selector":{{"matchLabels":{{"app":"many"}}}},"template":{{"metadata":{{"labels":{{"app":"many"}}}},"spec":{{"terminationGracePeriodSeconds":1,"containers":[{{"name":"c","image":"{IMAGE}","imagePullPolicy":"IfNotPresent"}}]}}}}}}}}"#
    );
    let path = format!("{DEPLOYMENT}?fieldManager=bench");
    let content = ("application/apply-patch+yaml", Bytes::from(json));
    let start = Instant::now();
    client.bytes(Method::PATCH, &path, Some(content)).await?;
    let mut ready = HashMap::new();
    let waiting = timeout(ROLLED_OUT_WITHIN, all_ready(&mut watch, start, &mut ready));
    match waiting.await {
        Ok(ended) => ended?,
        Err(_) => anyhow::bail!(
            "{} of {PODS} pods were Ready after {ROLLED_OUT_WITHIN:?}",
            ready.len()
        ),
    }
    let mut of_node: HashMap<&str, usize> = HashMap::new();
    for (_, node) in ready.values() {
        *of_node.entry(node).or_default() += 1;
    }
    ensure!(
        of_node.len() == NODES,
        "the pods run on {} nodes of {NODES}",
        of_node.len()
    );
    let fullest = of_node.values().copied().max().unwrap_or_default();
    let mut ready: Vec<f64> = ready.values().map(|(seconds, _)| *seconds).collect();
    ready.sort_by(f64::total_cmp);
    Ok(Rollout { ready, fullest })
}

/// By the pod's name: when it was Ready first, and where.
type Ready = HashMap<String, (f64, String)>;

async fn all_ready(watch: &mut Watch, start: Instant, ready: &mut Ready) -> Result<()> {
    while ready.len() < PODS {
        let event = watch.next().await.context("the watch of pods ended")??;
        match event {
            WatchEvent::Added(pod) | WatchEvent::Modified(pod) => {
                if let Some(node) = ready_on(&pod)? {
                    let now = start.elapsed().as_secs_f64();
                    ready.entry(pod.name().to_owned()).or_insert((now, node));
                }
            }
            WatchEvent::Deleted(pod) => anyhow::bail!("pod {} was deleted", pod.name()),
            _ => {}
        }
    }
    Ok(())
}

/// The node of a Ready pod.
fn ready_on(pod: &Object) -> Result<Option<String>> {
    let dom = pod.parse().context("parse a pod")?;
    let pod = dom.as_ref();
    if !api::meta::condition_is_true(pod, "Ready") {
        return Ok(None);
    }
    Ok(pod.get("spec").map(|spec| spec.str("nodeName").to_owned()))
}
