//! Cordons, taints and tolerations.
//!
//! Source: kubernetes v1.36.3 pkg/scheduler/framework/plugins/{nodeunschedulable,tainttoleration}.

use crate::decide::{Cycle, View};
use crate::node::{Effect, Taint};
use crate::plugins::reason::Reason;
use crate::plugins::{Against, MAX_SCORE, normalize};
use crate::pod::Toleration;
use crate::{NodeInfo, PodInfo};

pub(super) fn unschedulable(cycle: &Cycle<'_>, view: &View<'_>) -> Option<Against> {
    let refused = view.hot.unschedulable && !tolerates_cordon(cycle.pod);
    refused.then(|| Against::for_good(Reason::Unschedulable))
}

/// Does the pod go to cordoned nodes?
pub(crate) fn tolerates_cordon(pod: &PodInfo) -> bool {
    let taint = Taint {
        key: "node.kubernetes.io/unschedulable".to_owned(),
        value: String::new(),
        effect: Effect::NoSchedule,
    };
    tolerated(pod, &taint)
}

pub(super) fn filter(cycle: &Cycle<'_>, view: &View<'_>) -> Option<Against> {
    let refused = view.hot.tainted && !tolerates_all(cycle.pod, view.facts());
    refused.then(|| Against::for_good(Reason::Taint))
}

/// Does the pod tolerate all taints that keep new pods away?
pub(crate) fn tolerates_all(pod: &PodInfo, node: &NodeInfo) -> bool {
    node.taints
        .iter()
        .filter(|taint| matches!(taint.effect, Effect::NoSchedule | Effect::NoExecute))
        .all(|taint| tolerated(pod, taint))
}

/// Nodes with fewer intolerable PreferNoSchedule taints are better.
pub(super) fn score(cycle: &Cycle<'_>, nodes: &[u32], scores: &mut [i64]) -> bool {
    let mut any = false;
    for (slot, score) in nodes.iter().zip(scores.iter_mut()) {
        let slot = *slot as usize;
        if !cycle.snapshot.hot(slot).tainted {
            continue;
        }
        let taints = &cycle.snapshot.facts(slot).taints;
        let soft = taints
            .iter()
            .filter(|taint| taint.effect == Effect::PreferNoSchedule);
        let count = soft.filter(|taint| !tolerated(cycle.pod, taint)).count();
        *score = i64::try_from(count).unwrap_or(MAX_SCORE);
        any |= count > 0;
    }
    if any {
        normalize(scores, true);
    }
    any
}

fn tolerated(pod: &PodInfo, taint: &Taint) -> bool {
    pod.tolerations
        .iter()
        .any(|toleration| matches(toleration, taint))
}

fn matches(toleration: &Toleration, taint: &Taint) -> bool {
    (toleration.effect.is_empty() || toleration.effect == taint.effect.text())
        && (toleration.key.is_empty() || toleration.key == taint.key)
        && (toleration.exists || toleration.value == taint.value)
}
