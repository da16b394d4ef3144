//! What a node's silence and conditions mean. Pure.

use std::time::Duration;

use jiff::Timestamp;
use schema::{Dom, Ref};

/// A node may be silent for so long (upstream's --node-monitor-grace-period).
pub(super) const GRACE: Duration = Duration::from_secs(50);

/// The conditions that become Unknown with the node.
const CONDITIONS: &[&str] = &["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

/// (condition, its status, taint).
const TAINTS: &[(&str, &str, &str)] = &[
    ("Ready", "False", NOT_READY),
    ("Ready", "Unknown", UNREACHABLE),
    (
        "MemoryPressure",
        "True",
        "node.kubernetes.io/memory-pressure",
    ),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
    (
        "NetworkUnavailable",
        "True",
        "node.kubernetes.io/network-unavailable",
    ),
];
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// What may be done about NoExecute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Evict {
    /// The node's pods may lose it.
    Begin,
    /// Not now; where it has begun it goes on.
    GoOn,
    /// Not at all.
    Stop,
}

/// What to write, if anything.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// A strategic patch of the status.
    pub(super) status: Option<Dom>,
    /// The whole list of taints.
    pub(super) taints: Option<Vec<Dom>>,
}

pub(super) fn plan(node: Ref<'_>, silent_for: Duration, now: Timestamp, evict: Evict) -> Plan {
    let status_of = |kind: &str| {
        node.get("status")
            .and_then(|status| status.items("conditions").find(|c| c.str("type") == kind))
            .map_or("", |condition| condition.str("status"))
    };
    let silent = silent_for >= GRACE;
    let mut plan = Plan::default();
    if silent && status_of("Ready") != "Unknown" {
        plan.status = Some(unknown(node, now));
    }
    let effective = |kind: &str| {
        if silent && CONDITIONS.contains(&kind) {
            "Unknown"
        } else {
            status_of(kind)
        }
    };
    let begun = node.get("spec").is_some_and(|spec| {
        spec.items("taints")
            .any(|taint| is_lost(taint.str("key")) && taint.str("effect") == "NoExecute")
    });
    let evicts = evict == Evict::Begin || (evict == Evict::GoOn && begun);
    let mut wanted: Vec<(&str, &str)> = Vec::new();
    for (kind, status, taint) in TAINTS {
        if effective(kind) == *status {
            wanted.push((taint, "NoSchedule"));
            if *kind == "Ready" && evicts {
                wanted.push((taint, "NoExecute"));
            }
        }
    }
    let spec = node.get("spec");
    if spec
        .and_then(|spec| spec.bool("unschedulable"))
        .unwrap_or(false)
    {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    let ours = |key: &str| key == UNSCHEDULABLE || TAINTS.iter().any(|(_, _, taint)| *taint == key);
    let current: Vec<Ref<'_>> = spec
        .into_iter()
        .flat_map(|spec| spec.items("taints"))
        .collect();
    let have: Vec<(&str, &str)> = current
        .iter()
        .map(|taint| (taint.str("key"), taint.str("effect")))
        .filter(|(key, _)| ours(key))
        .collect();
    let same = have.len() == wanted.len() && wanted.iter().all(|pair| have.contains(pair));
    if !same {
        let mut taints: Vec<Dom> = Vec::new();
        let kept = current.iter().filter(|taint| {
            let pair = (taint.str("key"), taint.str("effect"));
            !ours(pair.0) || wanted.contains(&pair)
        });
        for taint in kept {
            let mut dom = Dom::new();
            let root = dom.import(taint.dom(), taint.node());
            dom.set_root(root);
            taints.push(dom);
        }
        for (key, effect) in wanted.iter().filter(|pair| !have.contains(pair)) {
            let mut dom = Dom::new();
            let root = dom.new_map();
            dom.set_root(root);
            dom.set_str(root, "key", key);
            dom.set_str(root, "effect", effect);
            dom.set_str(root, "timeAdded", &api::time::format_seconds(now));
            taints.push(dom);
        }
        plan.taints = Some(taints);
    }
    plan
}

/// Is it a taint of a node that is lost?
pub(super) fn is_lost(taint: &str) -> bool {
    matches!(taint, NOT_READY | UNREACHABLE)
}

fn unknown(node: Ref<'_>, now: Timestamp) -> Dom {
    let mut dom = Dom::new();
    let root = dom.new_map();
    dom.set_root(root);
    let status = dom.ensure_map(root, "status");
    let list = dom.ensure_list(status, "conditions");
    for kind in CONDITIONS {
        let known = node
            .get("status")
            .and_then(|status| status.items("conditions").find(|c| c.str("type") == *kind));
        let condition = dom.new_map();
        dom.set_str(condition, "type", kind);
        dom.set_str(condition, "status", "Unknown");
        let (reason, message) = match known {
            Some(_) => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
            None => (
                "NodeStatusNeverUpdated",
                "Kubelet never posted node status.",
            ),
        };
        dom.set_str(condition, "reason", reason);
        dom.set_str(condition, "message", message);
        dom.set_str(
            condition,
            "lastTransitionTime",
            &api::time::format_seconds(now),
        );
        if let Some(known) = known {
            dom.set_str(
                condition,
                "lastHeartbeatTime",
                known.str("lastHeartbeatTime"),
            );
        }
        dom.push(list, condition);
    }
    dom
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(node: &str, silent_seconds: u64, expected: Expect) {
        check_evict(node, silent_seconds, Evict::Begin, expected);
    }

    #[track_caller]
    fn check_evict(node: &str, silent_seconds: u64, evict: Evict, expected: Expect) {
        let dom = Dom::parse_json(node.as_bytes()).unwrap();
        let silent = Duration::from_secs(silent_seconds);
        let plan = plan(dom.as_ref(), silent, Timestamp::UNIX_EPOCH, evict);
        let taints = plan.taints.map(|taints| {
            let words = taints.iter().map(|taint| {
                let taint = taint.as_ref();
                format!("{}:{}", taint.str("key"), taint.str("effect"))
            });
            words.collect::<Vec<String>>().join(" ")
        });
        let status = if plan.status.is_some() {
            "unknown"
        } else {
            "-"
        };
        expected.assert_eq(&format!("status {status}, taints {taints:?}"));
    }

    const READY: &str = r#"{"status":{"conditions":[{"type":"Ready","status":"True"}]}}"#;

    #[test]
    fn a_node_that_lives_has_no_taints() {
        check(READY, 10, expect!["status -, taints None"]);
    }

    #[test]
    fn a_silent_node_becomes_unknown_and_unreachable() {
        check(
            READY,
            50,
            expect![[
                r#"status unknown, taints Some("node.kubernetes.io/unreachable:NoSchedule node.kubernetes.io/unreachable:NoExecute")"#
            ]],
        );
    }

    /// Taints of others stay; ours go when their reason goes.
    #[test]
    fn taints_follow_conditions() {
        check(
            r#"{"spec":{"taints":[{"key":"gpu","effect":"NoSchedule"},{"key":"node.kubernetes.io/not-ready","effect":"NoSchedule"}]},
                "status":{"conditions":[{"type":"Ready","status":"True"}]}}"#,
            1,
            expect![[r#"status -, taints Some("gpu:NoSchedule")"#]],
        );
        check(
            r#"{"spec":{"unschedulable":true},"status":{"conditions":[{"type":"Ready","status":"True"},{"type":"DiskPressure","status":"True"}]}}"#,
            1,
            expect![[
                r#"status -, taints Some("node.kubernetes.io/disk-pressure:NoSchedule node.kubernetes.io/unschedulable:NoSchedule")"#
            ]],
        );
    }

    /// NoExecute waits its turn, changes its key at once, and goes when all nodes seem dead.
    #[test]
    fn eviction_has_a_pace() {
        check_evict(
            READY,
            50,
            Evict::GoOn,
            expect![[
                r#"status unknown, taints Some("node.kubernetes.io/unreachable:NoSchedule")"#
            ]],
        );
        let begun = r#"{"spec":{"taints":[{"key":"node.kubernetes.io/not-ready","effect":"NoSchedule"},{"key":"node.kubernetes.io/not-ready","effect":"NoExecute"}]},
            "status":{"conditions":[{"type":"Ready","status":"Unknown"}]}}"#;
        check_evict(
            begun,
            50,
            Evict::GoOn,
            expect![[
                r#"status -, taints Some("node.kubernetes.io/unreachable:NoSchedule node.kubernetes.io/unreachable:NoExecute")"#
            ]],
        );
        check_evict(
            begun,
            50,
            Evict::Stop,
            expect![[r#"status -, taints Some("node.kubernetes.io/unreachable:NoSchedule")"#]],
        );
    }
}
