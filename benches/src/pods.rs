//! How soon a pod runs whose image is there.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use api::Gvr;
use client::{Api, Client, ListOptions, Watch, WatchEvent};
use tokio::time::{Instant, sleep, timeout};

use crate::cluster::{Fixture, IMAGE};
use crate::report::{Figure, percentile};

const PODS: usize = 30;
const POD_WITHIN: Duration = Duration::from_secs(15);

/// Pods one after the other, each measured from the request to the watch event; they stay.
pub(crate) async fn start(fixture: &Fixture) -> Result<Vec<Figure>> {
    fixture.import_image().await?;
    let client = fixture.connect()?.client;
    service_account(&client).await?;
    let pods = client.namespaced(&Gvr::new("", "v1", "pods"), "default");
    let list = pods.list(&ListOptions::default()).await?;
    let options = ListOptions {
        resource_version: list.resource_version,
        ..ListOptions::default()
    };
    let mut watch = pods.watch(&options).await?;
    let mut taken = Vec::with_capacity(PODS);
    for number in 0..PODS {
        let name = format!("bench-{number}");
        let running = timeout(POD_WITHIN, running(&pods, &mut watch, &name)).await;
        let running = running.unwrap_or_else(|_| bail!("not Running after {POD_WITHIN:?}"));
        taken.push(running.with_context(|| format!("pod {name}"))?);
    }
    taken.sort_by(f64::total_cmp);
    let name = "pod create to Running";
    Ok(vec![
        Figure::new(
            format!("{name}, p50 of {PODS}"),
            "ms",
            percentile(&taken, 0.5),
        )
        .limit(100.0),
        Figure::new(format!("{name}, p99"), "ms", percentile(&taken, 0.99)).limit(300.0),
    ])
}

/// Pods are refused until their namespace has its service account.
pub(crate) async fn service_account(client: &Client) -> Result<()> {
    let accounts = client.namespaced(&Gvr::new("", "v1", "serviceaccounts"), "default");
    for _ in 0..200 {
        if accounts.find("default").await?.is_some() {
            return Ok(());
        }
        sleep(Duration::from_millis(50)).await;
    }
    bail!("the namespace default has no service account after 10 s")
}

/// Creates a pod; milliseconds until the watch shows it Running.
async fn running(pods: &Api, watch: &mut Watch, name: &str) -> Result<f64> {
    let json = format!(
        r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{name}"}},
        "spec":{{"containers":[{{"name":"c","image":"{IMAGE}","imagePullPolicy":"IfNotPresent"}}]}}}}"#
    );
    let start = Instant::now();
    pods.create(json).await?;
    loop {
        let event = watch.next().await.context("the watch of pods ended")??;
        let (WatchEvent::Added(pod) | WatchEvent::Modified(pod)) = event else {
            continue;
        };
        if pod.name() != name {
            continue;
        }
        let dom = pod.parse().context("parse a pod")?;
        let status = dom.as_ref().get("status");
        let Some(status) = status else { continue };
        // The phase alone says Running also for a container that cannot start and is tried again.
        let state = status.items("containerStatuses").next();
        let state = state.and_then(|container| container.get("state"));
        if status.str("phase") == "Running"
            && state.is_some_and(|state| state.get("running").is_some())
        {
            return Ok(start.elapsed().as_secs_f64() * 1000.0);
        }
        if state.is_some_and(|state| state.get("terminated").is_some()) {
            bail!("its container ended: is the binary static?");
        }
    }
}
