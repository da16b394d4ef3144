//! Pods onto nodes that exist only as objects.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context as _, Result};
use api::Gvr;
use bytes::Bytes;
use client::{Client, ListOptions, Watch, WatchEvent};
use http::Method;
use tokio::time::{Instant, sleep, timeout};

use super::objects;
use super::side::Side;

const NODES: usize = 100;
const PODS: usize = 500;
const PATH: &str = "/api/v1/namespaces/scheduling/pods";
/// All pods of a round are bound by then.
const WITHIN: Duration = Duration::from_secs(60);

/// Pods a second from the first create to the last binding seen by a watch.
pub(super) async fn measure(side: &mut Side) -> Result<f64> {
    side.round += 1;
    let round = side.round;
    let first = side.client(0).clone();
    let fake = |number: usize| format!("fake-{round}-{number}");
    let node = |number| ("/api/v1/nodes".to_owned(), objects::node(&fake(number)));
    side.spread((0..NODES).map(node).collect()).await?;
    untainted(&first).await?;
    let pods = first.namespaced(&Gvr::new("", "v1", "pods"), "scheduling");
    let from = pods.list(&ListOptions::default()).await?.resource_version;
    let mut watch = pods
        .watch(&ListOptions {
            resource_version: from,
            ..ListOptions::default()
        })
        .await?;
    let pod = |number| {
        let body = objects::pod(&format!("s{round}-{number}"), "s", "default-scheduler");
        (PATH.to_owned(), body)
    };
    let bodies = (0..PODS).map(pod).collect();
    let start = Instant::now();
    let (made, bound) = tokio::join!(side.spread(bodies), timeout(WITHIN, all_bound(&mut watch)));
    made?;
    bound.context("not all pods were scheduled within a minute")??;
    let rate = PODS as f64 / start.elapsed().as_secs_f64();
    side.requests += NODES + PODS;
    // Nodes go first: their pods are bound and nobody runs them.
    for number in 0..NODES {
        let path = format!("/api/v1/nodes/{}", fake(number));
        first.bytes(Method::DELETE, &path, None).await?;
    }
    let now =
        Bytes::from_static(br#"{"apiVersion":"v1","kind":"DeleteOptions","gracePeriodSeconds":0}"#);
    let content = Some(("application/json", now));
    first.bytes(Method::DELETE, PATH, content).await?;
    Ok(rate)
}

async fn all_bound(watch: &mut Watch) -> Result<()> {
    let mut bound = HashSet::new();
    while bound.len() < PODS {
        let event = watch.next().await.context("the watch ended")??;
        if let WatchEvent::Modified(pod) = event {
            let dom = pod.parse().context("parse a pod")?;
            let spec = dom.as_ref().get("spec").context("a pod without spec")?;
            if !spec.str("nodeName").is_empty() {
                bound.insert(pod.name().to_owned());
            }
        }
    }
    Ok(())
}

/// New nodes carry a taint until the controller of nodes has seen that they are ready.
async fn untainted(client: &Client) -> Result<()> {
    for _ in 0..600 {
        let answer = client
            .bytes(Method::GET, "/api/v1/nodes?labelSelector=fake%3Dtrue", None)
            .await?;
        if !answer.windows(9).any(|window| window == b"\"taints\":") {
            return Ok(());
        }
        sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!("the nodes are still tainted after a minute")
}
