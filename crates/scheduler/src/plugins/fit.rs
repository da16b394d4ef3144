//! Whether a pod's requests and ports fit, and how evenly.

use crate::plugins::{MAX_SCORE, Reasons};
use crate::{NodeInfo, PodInfo, Snapshot};

/// Requests that a container without any counts for in scores, so that such pods spread too.
/// Source: kubernetes v1.36 pkg/scheduler/util/pod_resources.go.
const DEFAULT_MILLICORES: i64 = 100;
const DEFAULT_MEMORY_BYTES: i64 = 200 << 20;

pub(super) fn ports(pod: &PodInfo, node: &NodeInfo) -> Reasons {
    let clash = |port| node.host_ports.iter().any(|used| used.conflicts(port));
    if pod.host_ports.iter().any(clash) {
        return vec!["node(s) didn't have free ports for the requested pod ports".to_owned()];
    }
    Vec::new()
}

pub(super) fn filter(pod: &PodInfo, node: &NodeInfo) -> Reasons {
    let mut reasons = Vec::new();
    if node.pods + 1 > node.allowed_pods {
        reasons.push("Too many pods".to_owned());
    }
    let wanted = &pod.requests;
    let mut need = |name: &str, wanted: i64, used: i64, total: i64| {
        if wanted > 0 && wanted > total - used {
            reasons.push(format!("Insufficient {name}"));
        }
    };
    let (used, total) = (&node.requested, &node.allocatable);
    need("cpu", wanted.millicores, used.millicores, total.millicores);
    need(
        "memory",
        wanted.memory_bytes,
        used.memory_bytes,
        total.memory_bytes,
    );
    need(
        "ephemeral-storage",
        wanted.ephemeral_storage_bytes,
        used.ephemeral_storage_bytes,
        total.ephemeral_storage_bytes,
    );
    for (name, amount) in &wanted.scalars {
        let of = |amounts: &crate::Resources| amounts.scalars.get(name).copied().unwrap_or(0);
        need(name, *amount, of(used), of(total));
    }
    reasons
}

/// The share of CPU and memory that stays free.
pub(super) fn least_allocated(pod: &PodInfo, node: &NodeInfo, _: &Snapshot) -> i64 {
    let free = |used: i64, total: i64| {
        if total == 0 || used > total {
            0
        } else {
            (total - used) * MAX_SCORE / total
        }
    };
    let (millicores, memory_bytes) = after(pod, node);
    (free(millicores, node.allocatable.millicores)
        + free(memory_bytes, node.allocatable.memory_bytes))
        / 2
}

/// How close the used shares of CPU and memory are to each other.
pub(super) fn balanced(pod: &PodInfo, node: &NodeInfo, _: &Snapshot) -> i64 {
    let (millicores, memory_bytes) = after(pod, node);
    let permille = |used: i64, total: i64| {
        if total == 0 {
            1000
        } else {
            (i128::from(used) * 1000 / i128::from(total)).min(1000)
        }
    };
    let cpu = permille(millicores, node.allocatable.millicores);
    let memory = permille(memory_bytes, node.allocatable.memory_bytes);
    // The standard deviation of two shares is half their distance.
    let deviation = i64::try_from((cpu - memory).abs() / 2).unwrap_or(1000);
    MAX_SCORE - deviation * MAX_SCORE / 1000
}

fn after(pod: &PodInfo, node: &NodeInfo) -> (i64, i64) {
    let or = |amount: i64, default: i64| if amount == 0 { default } else { amount };
    (
        node.requested.millicores + or(pod.requests.millicores, DEFAULT_MILLICORES),
        node.requested.memory_bytes + or(pod.requests.memory_bytes, DEFAULT_MEMORY_BYTES),
    )
}
