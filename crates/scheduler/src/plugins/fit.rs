//! Whether a pod's requests and ports fit, and how evenly.
//!
//! Source: kubernetes v1.36.3 pkg/scheduler/framework/plugins/noderesources/{fit,
//! least_allocated,balanced_allocation}.go, plugins/nodeports.

use crate::decide::{Cycle, View};
use crate::node::Hot;
use crate::plugins::reason::Reason;
use crate::plugins::{Against, MAX_SCORE};
use crate::{NodeInfo, PodInfo};

pub(super) fn ports(cycle: &Cycle<'_>, view: &View<'_>) -> Option<Against> {
    let used = &view.uses.ports;
    let clash = |port| used.iter().any(|used| used.conflicts(port));
    let clashes = cycle.pod.host_ports.iter().any(clash);
    clashes.then(|| Against::for_now(Reason::Ports))
}

pub(super) fn filter(cycle: &Cycle<'_>, view: &View<'_>) -> Option<Against> {
    let wanted = &cycle.pod.requests;
    let hot = view.hot;
    let over = |wanted: i64, used: i64, total: i64| wanted > 0 && wanted > total - used;
    // The common case first: everything fits.
    let fits = hot.pods < hot.allowed_pods
        && !over(wanted.millicores, hot.used_millicores, hot.millicores)
        && !over(wanted.memory_bytes, hot.used_memory_bytes, hot.memory_bytes)
        && !over(
            wanted.ephemeral_storage_bytes,
            hot.used_ephemeral_storage_bytes,
            hot.ephemeral_storage_bytes,
        );
    if fits && wanted.scalars.is_empty() {
        return None;
    }
    let mut against = Against::default();
    if hot.pods + 1 > hot.allowed_pods {
        against.add(Reason::TooManyPods);
    }
    let mut need = |reason, wanted, used, total| {
        if over(wanted, used, total) {
            against.add(reason);
            against.unresolvable |= wanted > total;
        }
    };
    need(
        Reason::Cpu,
        wanted.millicores,
        hot.used_millicores,
        hot.millicores,
    );
    need(
        Reason::Memory,
        wanted.memory_bytes,
        hot.used_memory_bytes,
        hot.memory_bytes,
    );
    need(
        Reason::EphemeralStorage,
        wanted.ephemeral_storage_bytes,
        hot.used_ephemeral_storage_bytes,
        hot.ephemeral_storage_bytes,
    );
    for (position, (name, amount)) in wanted.scalars.iter().enumerate() {
        let total = view.facts().allocatable.scalar(name);
        let used = view.uses.scalars.get(name).copied().unwrap_or(0);
        if over(*amount, used, total) {
            against.add_scalar(position);
            against.unresolvable |= *amount > total;
        }
    }
    (!against.is_empty()).then_some(against)
}

/// Would the pod fit if the node were empty?
pub(crate) fn fits_empty(pod: &PodInfo, node: &NodeInfo) -> bool {
    let (wanted, total) = (&pod.requests, &node.allocatable);
    node.allowed_pods > 0
        && (pod.requests_nothing()
            || (wanted.millicores <= total.millicores
                && wanted.memory_bytes <= total.memory_bytes
                && wanted.ephemeral_storage_bytes <= total.ephemeral_storage_bytes
                && wanted
                    .scalars
                    .iter()
                    .all(|(name, amount)| *amount <= total.scalar(name))))
}

/// The share of CPU and memory that stays free.
pub(super) fn least_allocated(cycle: &Cycle<'_>, nodes: &[u32], scores: &mut [i64]) -> bool {
    let (millicores, memory_bytes) = cycle.pod.scored;
    let free = |used: i64, total: i64| {
        if used > total {
            0
        } else {
            (total - used) * MAX_SCORE / total
        }
    };
    for (slot, score) in nodes.iter().zip(scores.iter_mut()) {
        let hot = cycle.snapshot.hot(*slot as usize);
        let (mut sum, mut weights) = (0, 0);
        for (used, total) in [
            (hot.scored_millicores + millicores, hot.millicores),
            (hot.scored_memory_bytes + memory_bytes, hot.memory_bytes),
        ] {
            if total > 0 {
                sum += free(used, total);
                weights += 1;
            }
        }
        *score = if weights == 0 { 0 } else { sum / weights };
    }
    true
}

/// How much closer to each other the used shares of CPU and memory come by this pod: 75 when
/// nothing changes. Pods that ask for nothing are not scored, or they would all go to one node.
pub(super) fn balanced(cycle: &Cycle<'_>, nodes: &[u32], scores: &mut [i64]) -> bool {
    let wanted = &cycle.pod.requests;
    if wanted.millicores == 0 && wanted.memory_bytes == 0 {
        return false;
    }
    for (slot, score) in nodes.iter().zip(scores.iter_mut()) {
        let hot = cycle.snapshot.hot(*slot as usize);
        let with = balance(hot, wanted.millicores, wanted.memory_bytes);
        let without = balance(hot, 0, 0);
        *score = MAX_SCORE / 2 + (MAX_SCORE / 2 + with - without) / 2;
    }
    true
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "upstream computes shares in floating point and cuts the result"
)]
fn balance(hot: &Hot, millicores: i64, memory_bytes: i64) -> i64 {
    // A deviation exists only between two resources that the node has.
    if hot.millicores == 0 || hot.memory_bytes == 0 {
        return MAX_SCORE;
    }
    let share = |used: i64, total: i64| (used as f64 / total as f64).min(1.0);
    let cpu = share(hot.used_millicores + millicores, hot.millicores);
    let memory = share(hot.used_memory_bytes + memory_bytes, hot.memory_bytes);
    let deviation = ((cpu - memory) / 2.0).abs();
    ((1.0 - deviation) * MAX_SCORE as f64) as i64
}
