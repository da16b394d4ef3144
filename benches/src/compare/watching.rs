//! One write to many readers: how many events a second reach 100 watchers.

use std::sync::Arc;

use anyhow::{Result, ensure};
use api::Gvr;
use client::{ListOptions, WatchEvent};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::objects;
use super::side::Side;

const WATCHERS: usize = 100;
const WRITES: usize = 400;

/// Deliveries a second, from the first write to the last delivery; no event may be missing.
pub(super) async fn measure(side: &mut Side) -> Result<f64> {
    side.round += 1;
    let round = side.round;
    let maps = Gvr::new("", "v1", "configmaps");
    let first = side.client(0).namespaced(&maps, "watched");
    let from = first.list(&ListOptions::default()).await?.resource_version;
    let ready = Arc::new(Barrier::new(WATCHERS + 1));
    let mut tasks = JoinSet::new();
    for at in 0..WATCHERS {
        let api = side.client(at).namespaced(&maps, "watched");
        let (from, ready) = (from.clone(), ready.clone());
        tasks.spawn(async move {
            let mut options = ListOptions {
                resource_version: from,
                ..ListOptions::default()
            };
            let mut watch = api.watch(&options).await?;
            ready.wait().await;
            let (mut seen, mut ended) = (0, 0);
            while seen < WRITES {
                match watch.next().await.transpose()? {
                    Some(WatchEvent::Added(object)) => {
                        seen += 1;
                        object
                            .resource_version()
                            .clone_into(&mut options.resource_version);
                    }
                    Some(_) => {}
                    // Upstream ends watches that do not keep up; clients go on where they were.
                    None => {
                        ended += 1;
                        ensure!(ended <= WRITES, "the watch ended {ended} times");
                        watch = api.watch(&options).await?;
                    }
                }
            }
            anyhow::Ok(())
        });
    }
    ready.wait().await;
    let path = "/api/v1/namespaces/watched/configmaps";
    let body = |number| (path.to_owned(), objects::map(&format!("w{round}-{number}")));
    let bodies = (0..WRITES).map(body).collect();
    let start = Instant::now();
    side.spread(bodies).await?;
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    side.requests += WRITES;
    Ok((WATCHERS * WRITES) as f64 / start.elapsed().as_secs_f64())
}
