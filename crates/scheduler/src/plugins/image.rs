//! Nodes that have the pod's images already are better; large images count more, and images that
//! few nodes have count less, so that one node does not draw every pod.
//! Source: kubernetes v1.36 pkg/scheduler/framework/plugins/imagelocality/image_locality.go.

use crate::plugins::MAX_SCORE;
use crate::{NodeInfo, PodInfo, Snapshot};

const MEGABYTE: i64 = 1024 * 1024;
const LEAST_BYTES: i64 = 23 * MEGABYTE;
const MOST_BYTES_PER_CONTAINER: i64 = 1000 * MEGABYTE;

pub(super) fn score(pod: &PodInfo, node: &NodeInfo, snapshot: &Snapshot) -> i64 {
    let nodes = i64::try_from(snapshot.len()).unwrap_or(i64::MAX).max(1);
    let sum: i64 = pod
        .images
        .iter()
        .filter_map(|image| {
            let size = node.images.get(&normalized(image))?;
            let holders = snapshot.image_holders(&normalized(image));
            Some(size * holders / nodes)
        })
        .sum();
    let most = MOST_BYTES_PER_CONTAINER * i64::try_from(pod.images.len()).unwrap_or(1).max(1);
    MAX_SCORE * (sum.clamp(LEAST_BYTES, most) - LEAST_BYTES) / (most - LEAST_BYTES)
}

/// An image without tag means `latest`.
fn normalized(image: &str) -> String {
    if image.rfind(':') <= image.rfind('/') {
        format!("{image}:latest")
    } else {
        image.to_owned()
    }
}
