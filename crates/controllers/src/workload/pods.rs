//! A pod as the facts by which controllers count and choose.
//!
//! Source: kubernetes v1.36.3 pkg/controller/controller_utils.go (IsPodActive,
//! IsPodTerminating, ActivePodsWithRanks), pkg/api/v1/pod/util.go (IsPodAvailable).

use std::cmp::Ordering;
use std::collections::HashMap;
use std::time::Duration;

use api::pod::{ContainerKind, containers};
use client::Object;
use jiff::Timestamp;
use schema::Ref;

/// `status.phase`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    #[default]
    Pending,
    Unknown,
    Running,
    Succeeded,
    Failed,
}

/// See the module's header.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) labels: Vec<(String, String)>,
    /// Uid of the managing owner.
    pub(crate) owner: Option<String>,
    pub(crate) node: String,
    pub(crate) phase: Phase,
    pub(crate) ready: bool,
    pub(crate) ready_since: Option<Timestamp>,
    pub(crate) created: Option<Timestamp>,
    pub(crate) deleting: bool,
    /// Annotation `controller.kubernetes.io/pod-deletion-cost`.
    pub(crate) deletion_cost: i64,
    /// Most restarts of a container, of a sidecar.
    pub(crate) restarts: (i64, i64),
}

impl Pod {
    pub(crate) fn of(object: &Object) -> Option<Self> {
        Some(Self::read(object.parse().ok()?.as_ref()))
    }

    pub(crate) fn read(pod: Ref<'_>) -> Self {
        let meta = api::meta::of(pod);
        let status = pod.get("status");
        let ready = api::meta::condition(pod, "Ready").filter(|c| c.str("status") == "True");
        let cost = meta.annotation("controller.kubernetes.io/pod-deletion-cost");
        Self {
            name: meta.name().to_owned(),
            uid: meta.uid().to_owned(),
            labels: meta
                .labels()
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .collect(),
            owner: meta.controller().map(|owner| owner.uid.to_owned()),
            node: pod
                .get("spec")
                .map_or("", |spec| spec.str("nodeName"))
                .to_owned(),
            phase: match status.map_or("", |status| status.str("phase")) {
                "Running" => Phase::Running,
                "Succeeded" => Phase::Succeeded,
                "Failed" => Phase::Failed,
                "Unknown" => Phase::Unknown,
                _ => Phase::Pending,
            },
            ready: ready.is_some(),
            ready_since: ready.and_then(|c| api::time::field(c, "lastTransitionTime")),
            created: meta.created(),
            deleting: meta.is_deleting(),
            deletion_cost: cost.and_then(deletion_cost).unwrap_or(0),
            restarts: restarts(pod),
        }
    }

    pub(crate) fn label(&self, key: &str) -> Option<&str> {
        let found = self.labels.iter().find(|(name, _)| name == key)?;
        Some(&found.1)
    }

    pub(crate) fn matches(&self, selector: &api::LabelSelector) -> bool {
        selector.matches(|key| self.label(key))
    }

    /// Succeeded or Failed.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }

    /// Neither ended nor going.
    pub(crate) fn is_active(&self) -> bool {
        !self.has_ended() && !self.deleting
    }

    /// Going, and its containers may still run.
    pub(crate) fn is_terminating(&self) -> bool {
        !self.has_ended() && self.deleting
    }

    /// How long until it counts as available; none when it is not ready.
    pub(crate) fn available_in(&self, min_ready_seconds: i64, now: Timestamp) -> Option<Duration> {
        if !self.ready {
            return None;
        }
        if min_ready_seconds == 0 {
            return Some(Duration::ZERO);
        }
        let since = self.ready_since?;
        let ready_for = now.as_millisecond() - since.as_millisecond();
        let left = min_ready_seconds
            .saturating_mul(1000)
            .saturating_sub(ready_for);
        Some(Duration::from_millis(u64::try_from(left).unwrap_or(0)))
    }

    pub(crate) fn is_available(&self, min_ready_seconds: i64, now: Timestamp) -> bool {
        self.available_in(min_ready_seconds, now) == Some(Duration::ZERO)
    }
}

/// An integer of 32 bits, written as Go's formatter would write it: no sign, no leading zero.
fn deletion_cost(text: &str) -> Option<i64> {
    let value: i32 = text.parse().ok()?;
    (value.to_string() == text).then_some(i64::from(value))
}

fn restarts(pod: Ref<'_>) -> (i64, i64) {
    let Some(status) = pod.get("status") else {
        return (0, 0);
    };
    let most = |field: &str, of: &dyn Fn(&str) -> bool| {
        let all = status.items(field).filter(|c| of(c.str("name")));
        all.map(|c| c.int("restartCount").unwrap_or(0))
            .max()
            .unwrap_or(0)
    };
    let sidecar = |name: &str| {
        pod.get("spec").is_some_and(|spec| {
            containers(spec).any(|c| c.kind == ContainerKind::Sidecar && c.name() == name)
        })
    };
    (
        most("containerStatuses", &|_| true),
        most("initContainerStatuses", &sidecar),
    )
}

/// The `count` active pods to lose first: without a node, early in their life, not ready, cheap
/// to delete, crowded on a node (`on_node` counts the active pods there), young, often restarted.
///
/// Ages are compared by their order of magnitude, so that which of many equal pods goes is left
/// to their uids. Upstream asks for restarts only between pods that became ready in the same
/// second; here they come before the uid for the whole magnitude, which keeps the order total.
pub(crate) fn first_to_go<'a>(
    pods: &[&'a Pod],
    on_node: &HashMap<String, usize>,
    count: usize,
    now: Timestamp,
) -> Vec<&'a Pod> {
    let mut order: Vec<&Pod> = pods.to_vec();
    if count < order.len() {
        order.sort_by(|a, b| compare(a, b, on_node, now));
    }
    order.truncate(count);
    order
}

fn compare(a: &Pod, b: &Pod, on_node: &HashMap<String, usize>, now: Timestamp) -> Ordering {
    let crowd = |pod: &Pod| on_node.get(&pod.node).copied().unwrap_or(0);
    let ready_age = |pod: &Pod| {
        let since = pod.ready_since.filter(|_| pod.ready);
        magnitude(since, now)
    };
    (!a.node.is_empty())
        .cmp(&!b.node.is_empty())
        .then(a.phase.cmp(&b.phase))
        .then(a.ready.cmp(&b.ready))
        .then(a.deletion_cost.cmp(&b.deletion_cost))
        .then(crowd(b).cmp(&crowd(a)))
        .then(ready_age(a).cmp(&ready_age(b)))
        .then(b.restarts.cmp(&a.restarts))
        .then(magnitude(a.created, now).cmp(&magnitude(b.created, now)))
        .then(a.uid.cmp(&b.uid))
}

/// Binary order of magnitude of an age; no time at all is the youngest.
fn magnitude(since: Option<Timestamp>, now: Timestamp) -> i32 {
    let Some(since) = since else { return -2 };
    let age = now.as_nanosecond() - since.as_nanosecond();
    match u128::try_from(age) {
        Ok(age) if age > 0 => i32::try_from(age.ilog2()).unwrap_or(i32::MAX),
        _ => -1,
    }
}

#[cfg(test)]
mod tests;
