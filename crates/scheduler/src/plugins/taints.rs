//! Cordons, taints and tolerations.

use crate::node::Taint;
use crate::plugins::{MAX_SCORE, Reasons};
use crate::pod::Toleration;
use crate::{NodeInfo, PodInfo, Snapshot};

pub(super) fn unschedulable(pod: &PodInfo, node: &NodeInfo) -> Reasons {
    let taint = Taint {
        key: "node.kubernetes.io/unschedulable".to_owned(),
        value: String::new(),
        effect: "NoSchedule".to_owned(),
    };
    if node.unschedulable && !tolerated(pod, &taint) {
        return vec!["node(s) were unschedulable".to_owned()];
    }
    Vec::new()
}

pub(super) fn filter(pod: &PodInfo, node: &NodeInfo) -> Reasons {
    let untolerated = node
        .taints
        .iter()
        .filter(|taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute"))
        .find(|taint| !tolerated(pod, taint));
    match untolerated {
        Some(taint) => {
            vec![format!(
                "node(s) had untolerated taint {{{}: {}}}",
                taint.key, taint.value
            )]
        }
        None => Vec::new(),
    }
}

/// Nodes with fewer intolerable PreferNoSchedule taints are better.
pub(super) fn score(pod: &PodInfo, node: &NodeInfo, snapshot: &Snapshot) -> i64 {
    let count = |node: &NodeInfo| {
        let soft = node
            .taints
            .iter()
            .filter(|taint| taint.effect == "PreferNoSchedule");
        i64::try_from(soft.filter(|taint| !tolerated(pod, taint)).count()).unwrap_or(i64::MAX)
    };
    let own = count(node);
    if own == 0 {
        return MAX_SCORE;
    }
    let most = snapshot.nodes().map(count).max().unwrap_or(own).max(1);
    MAX_SCORE - MAX_SCORE * own / most
}

fn tolerated(pod: &PodInfo, taint: &Taint) -> bool {
    pod.tolerations
        .iter()
        .any(|toleration| matches(toleration, taint))
}

fn matches(toleration: &Toleration, taint: &Taint) -> bool {
    (toleration.effect.is_empty() || toleration.effect == taint.effect)
        && (toleration.key.is_empty() && toleration.exists || toleration.key == taint.key)
        && (toleration.exists || toleration.value == taint.value)
}
