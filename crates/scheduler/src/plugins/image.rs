//! Nodes that have the pod's images already are better; large images count more, and images that
//! few nodes have count less, so that one node does not draw every pod.
//! Source: kubernetes v1.36.3 pkg/scheduler/framework/plugins/imagelocality/image_locality.go.

use crate::decide::Cycle;
use crate::plugins::MAX_SCORE;

const MEGABYTE: i64 = 1024 * 1024;
const LEAST_BYTES: i64 = 23 * MEGABYTE;
const MOST_BYTES_PER_CONTAINER: i64 = 1000 * MEGABYTE;

pub(super) fn score(cycle: &Cycle<'_>, nodes: &[u32], scores: &mut [i64]) -> bool {
    let (snapshot, pod) = (cycle.snapshot, cycle.pod);
    let total = i64::try_from(snapshot.len()).unwrap_or(i64::MAX).max(1);
    let images = pod.images.iter().chain(&pod.image_volumes);
    let held: Vec<(&str, i64)> = images
        .map(|image| (image.as_str(), snapshot.image_holders(image)))
        .filter(|(_, holders)| *holders > 0)
        .collect();
    if held.is_empty() {
        return false;
    }
    let containers = i64::try_from(pod.containers).unwrap_or(1).max(1);
    let most = MOST_BYTES_PER_CONTAINER * containers;
    for (slot, score) in nodes.iter().zip(scores.iter_mut()) {
        let present = &snapshot.facts(*slot as usize).images;
        let sizes = held.iter().filter_map(|(image, holders)| {
            let size = i128::from(*present.get(*image)?);
            i64::try_from(size * i128::from(*holders) / i128::from(total)).ok()
        });
        let sum = sizes.fold(0_i64, i64::saturating_add);
        *score = MAX_SCORE * (sum.clamp(LEAST_BYTES, most) - LEAST_BYTES) / (most - LEAST_BYTES);
    }
    true
}
