//! How many pods to make or lose, and what a set's status says. Pure.
//!
//! Source: kubernetes v1.36.3 pkg/controller/replicaset/{replica_set,replica_set_utils}.go.

use std::time::Duration;

use jiff::Timestamp;
use schema::{Dom, Ref};

use crate::workload::pods::Pod;

/// What a set asks for.
#[derive(Clone, Debug, Default)]
pub(super) struct Set {
    pub(super) replicas: usize,
    pub(super) min_ready_seconds: i64,
    pub(super) template_labels: Vec<(String, String)>,
}

impl Set {
    pub(super) fn read(set: Ref<'_>) -> Self {
        let spec = set.get("spec");
        let int = |field| spec.and_then(|spec| spec.int(field));
        let labels = set.at(&["spec", "template", "metadata", "labels"]);
        let labels = labels.into_iter().flat_map(Ref::map);
        Self {
            replicas: usize::try_from(int("replicas").unwrap_or(1)).unwrap_or(0),
            min_ready_seconds: int("minReadySeconds").unwrap_or(0),
            template_labels: labels
                .map(|(k, v)| (k.to_owned(), v.as_str().unwrap_or("").to_owned()))
                .collect(),
        }
    }
}

/// What to do about the number of active pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    None,
    Create(usize),
    Delete(usize),
}

pub(super) fn change(wanted: usize, active: usize) -> Change {
    match (wanted.checked_sub(active), active.checked_sub(wanted)) {
        (Some(missing @ 1..), _) => Change::Create(missing),
        (_, Some(surplus @ 1..)) => Change::Delete(surplus),
        _ => Change::None,
    }
}

/// The counts of a status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) wanted: usize,
    pub(super) replicas: usize,
    pub(super) fully_labeled: usize,
    pub(super) ready: usize,
    pub(super) available: usize,
}

impl Status {
    pub(super) fn of(set: &Set, active: &[Pod], now: Timestamp) -> Self {
        let labeled = |pod: &&Pod| {
            let mut labels = set.template_labels.iter();
            labels.all(|(key, value)| pod.label(key) == Some(value))
        };
        let available = |pod: &&Pod| pod.is_available(set.min_ready_seconds, now);
        Self {
            wanted: set.replicas,
            replicas: active.len(),
            fully_labeled: active.iter().filter(labeled).count(),
            ready: active.iter().filter(|pod| pod.ready).count(),
            available: active.iter().filter(available).count(),
        }
    }
}

/// When the next ready pod becomes available.
pub(super) fn next_look(set: &Set, active: &[Pod], now: Timestamp) -> Option<Duration> {
    let waits = active.iter().filter_map(|pod| {
        let wait = pod.available_in(set.min_ready_seconds, now)?;
        (!wait.is_zero()).then_some(wait)
    });
    waits.min()
}

/// Puts the status into the set; false when it is there already. `problem` is why pods could not
/// be made or deleted.
pub(super) fn write(
    dom: &mut Dom,
    status: &Status,
    terminating: Option<i64>,
    problem: Option<&str>,
    now: Timestamp,
) -> bool {
    const FAILURE: &str = "ReplicaFailure";
    let generation = api::meta::of(dom.as_ref()).generation();
    let counts = [
        ("replicas", status.replicas),
        ("fullyLabeledReplicas", status.fully_labeled),
        ("readyReplicas", status.ready),
        ("availableReplicas", status.available),
    ];
    let counts = counts.map(|(field, count)| (field, i64::try_from(count).unwrap_or(i64::MAX)));
    let failed = api::meta::condition(dom.as_ref(), FAILURE).is_some();
    let known = dom.as_ref().get("status");
    let int = |field| known.and_then(|status| status.int(field));
    let same = counts
        .iter()
        .all(|(field, count)| int(field).unwrap_or(0) == *count)
        && (terminating.is_none() || int("terminatingReplicas") == terminating)
        && int("observedGeneration").unwrap_or(0) == generation
        && failed == problem.is_some();
    if same {
        return false;
    }
    let root = dom.root();
    let map = dom.ensure_map(root, "status");
    for (field, count) in counts {
        dom.set_int(map, field, count);
    }
    if let Some(terminating) = terminating {
        dom.set_int(map, "terminatingReplicas", terminating);
    }
    dom.set_int(map, "observedGeneration", generation);
    if failed == problem.is_some() {
        return true;
    }
    let list = dom.ensure_list(map, "conditions");
    let known = dom
        .items(list)
        .position(|c| dom.at_node(c).str("type") == FAILURE);
    if let Some(at) = known {
        dom.remove_item(list, at);
    }
    if let Some(problem) = problem {
        let condition = dom.new_map();
        dom.set_str(condition, "type", FAILURE);
        dom.set_str(condition, "status", "True");
        let reason = match change(status.wanted, status.replicas) {
            Change::Create(_) => "FailedCreate",
            Change::Delete(_) => "FailedDelete",
            Change::None => "",
        };
        dom.set_str(condition, "reason", reason);
        dom.set_str(condition, "message", problem);
        let time = api::time::format_seconds(now);
        dom.set_str(condition, "lastTransitionTime", &time);
        dom.push(list, condition);
    }
    true
}

#[cfg(test)]
mod tests;
