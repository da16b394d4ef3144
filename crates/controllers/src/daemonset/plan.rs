//! Which nodes get a pod, which pods go, and when a node gets the new template. Pure.
//!
//! Source: kubernetes v1.36.3 pkg/controller/daemon/{daemon_controller,update}.go.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::daemonset::fit::Fit;
use crate::workload::amount::Amount;
use crate::workload::pods::{Phase, Pod};

/// What a DaemonSet asks for.
#[derive(Clone, Debug)]
pub(super) struct Set {
    /// Pods are only replaced when somebody deletes them.
    pub(super) on_delete: bool,
    pub(super) surge: Amount,
    pub(super) unavailable: Amount,
    pub(super) min_ready_seconds: i64,
    /// The label of pods with the present template.
    pub(super) hash: String,
}

/// Everything known when a DaemonSet is looked at.
pub(super) struct World<'a> {
    pub(super) set: &'a Set,
    pub(super) nodes: &'a BTreeMap<String, Fit>,
    /// By the node they are, or are to be, on.
    pub(super) pods: &'a BTreeMap<String, Vec<Pod>>,
    pub(super) now: Timestamp,
}

/// What to do: nodes that get a pod, names of pods that go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) create: Vec<String>,
    pub(super) delete: Vec<String>,
    /// Pods that ended although they should not: name, node, failed or not. Failed ones go when
    /// the node's back-off allows.
    pub(super) ended: Vec<(String, String, bool)>,
}

/// The counts of a status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) desired: i64,
    pub(super) current: i64,
    pub(super) misscheduled: i64,
    pub(super) ready: i64,
    pub(super) updated: i64,
    pub(super) available: i64,
}

impl World<'_> {
    fn on(&self, node: &str) -> Vec<&Pod> {
        let mut pods: Vec<&Pod> = self.pods.get(node).into_iter().flatten().collect();
        pods.sort_by(|a, b| {
            let rank = |pod: &Pod| (pod.node.is_empty(), pod.created, pod.name.clone());
            rank(a).cmp(&rank(b))
        });
        pods
    }

    fn is_new(&self, pod: &Pod) -> bool {
        pod.label("controller-revision-hash") == Some(self.set.hash.as_str())
    }

    fn is_available(&self, pod: &Pod) -> bool {
        pod.is_available(self.set.min_ready_seconds, self.now)
    }

    /// How many pods an update may have too many, and too few.
    fn limits(&self) -> (usize, usize) {
        let desired = self.nodes.values().filter(|fit| fit.runs).count();
        let whole = i64::try_from(desired).unwrap_or(i64::MAX);
        let size = |amount: Amount| usize::try_from(amount.of(whole, true)).unwrap_or(0);
        if self.set.on_delete {
            return (0, 0);
        }
        match (size(self.set.surge), size(self.set.unavailable)) {
            (0, 0) if desired > 0 => (0, 1),
            limits => limits,
        }
    }

    fn may_surge(&self) -> bool {
        !self.set.on_delete && self.set.surge.of(1, true) > 0
    }
}

/// Brings pods to where they should be, one each.
pub(super) fn place(world: &World<'_>) -> Plan {
    let mut plan = Plan::default();
    for (node, fit) in world.nodes {
        let pods = world.on(node);
        if !fit.stays {
            let here = pods.iter().filter(|pod| !pod.deleting);
            plan.delete.extend(here.map(|pod| pod.name.clone()));
            continue;
        }
        if pods.is_empty() {
            if fit.runs {
                plan.create.push(node.clone());
            }
            continue;
        }
        let (mut running, mut failed) = (Vec::new(), false);
        for pod in pods.into_iter().filter(|pod| !pod.deleting) {
            match pod.phase {
                Phase::Failed | Phase::Succeeded => {
                    let has_failed = pod.phase == Phase::Failed;
                    failed |= has_failed;
                    plan.ended
                        .push((pod.name.clone(), node.clone(), has_failed));
                }
                _ => running.push(pod),
            }
        }
        if !world.may_surge() {
            let twins = running.iter().skip(1);
            plan.delete.extend(twins.map(|pod| pod.name.clone()));
            continue;
        }
        // Upstream makes one also beside pods that failed and wait for their deletion: on a node
        // that refuses them, one after the other without an end.
        if running.is_empty() && fit.runs && !failed {
            plan.create.push(node.clone());
        }
        let (new, old): (Vec<&Pod>, Vec<&Pod>) = running.iter().partition(|pod| world.is_new(pod));
        let twins = new.iter().skip(1).chain(old.iter().skip(1));
        plan.delete.extend(twins.map(|pod| pod.name.clone()));
        if let (Some(new), Some(old)) = (new.first(), old.first())
            && (!old.ready || world.is_available(new))
        {
            plan.delete.push(old.name.clone());
        }
    }
    // Pods that wait for a node that is gone.
    for (node, pods) in world.pods {
        if !world.nodes.contains_key(node) {
            let waiting = pods
                .iter()
                .filter(|pod| pod.node.is_empty() && !pod.deleting);
            plan.delete.extend(waiting.map(|pod| pod.name.clone()));
        }
    }
    plan
}

/// The next step of a rolling update.
pub(super) fn roll(world: &World<'_>) -> Plan {
    let mut plan = Plan::default();
    if world.set.on_delete {
        return plan;
    }
    let (surge, unavailable) = world.limits();
    let mut names: BTreeSet<&String> = world.pods.keys().collect();
    let wanted = world.nodes.iter().filter(|(_, fit)| fit.runs);
    names.extend(wanted.map(|(node, _)| node));
    let (mut missing, mut extra, mut serving) = (0, 0, 0);
    let (mut candidates, mut unwanted) = (Vec::new(), Vec::new());
    for node in names {
        let pods = world.on(node);
        let pods = pods.into_iter().filter(|pod| !pod.deleting);
        let (new, old): (Vec<&Pod>, Vec<&Pod>) = pods.partition(|pod| world.is_new(pod));
        if new.len() > 1 || old.len() > 1 {
            missing += 1;
            extra += 1;
            continue;
        }
        let (new, old) = (new.first(), old.first());
        let serves = old.or(new).is_some_and(|pod| world.is_available(pod));
        serving += usize::from(serves);
        let runs = world.nodes.get(node).is_some_and(|fit| fit.runs);
        if surge == 0 {
            match (new, old) {
                (None, None) | (Some(_), Some(_)) => missing += 1,
                (Some(_), None) => missing += usize::from(!serves),
                (None, Some(old)) if !serves => {
                    missing += 1;
                    plan.delete.push(old.name.clone());
                }
                (None, Some(old)) => candidates.push(old.name.clone()),
            }
            continue;
        }
        match (new, old) {
            (_, None) => {}
            (None, Some(old)) if !runs && !serves => plan.delete.push(old.name.clone()),
            (None, Some(old)) if !runs => unwanted.push(old.name.clone()),
            (None, Some(_)) if !serves => plan.create.push(node.clone()),
            (None, Some(_)) => candidates.push(node.clone()),
            (Some(new), Some(old)) => match world.is_available(new) {
                true => plan.delete.push(old.name.clone()),
                false => extra += 1,
            },
        }
    }
    if surge == 0 {
        candidates.truncate(unavailable.saturating_sub(missing));
        plan.delete.extend(candidates);
        return plan;
    }
    let desired = world.nodes.values().filter(|fit| fit.runs).count();
    unwanted.truncate(serving.saturating_sub(desired));
    plan.delete.extend(unwanted);
    candidates.truncate(surge.saturating_sub(extra));
    plan.create.extend(candidates);
    plan
}

pub(super) fn status(world: &World<'_>) -> Status {
    let mut status = Status::default();
    for (node, fit) in world.nodes {
        let pods = world.on(node);
        let Some(pod) = pods.first() else {
            status.desired += i64::from(fit.runs);
            continue;
        };
        if !fit.runs {
            status.misscheduled += 1;
            continue;
        }
        status.desired += 1;
        status.current += 1;
        status.ready += i64::from(pod.ready);
        status.available += i64::from(world.is_available(pod));
        status.updated += i64::from(world.is_new(pod));
    }
    status
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    /// Nodes as `name[!]` (`!`: pods may stay, not come; `!!`: nor stay); pods as
    /// `name@node[*][+|x|.]`: `*` new template, `+` ready, `x` failed, `.` going.
    #[track_caller]
    fn check(nodes: &str, pods: &str, surge: i64, unavailable: i64, expected: Expect) {
        let set = Set {
            on_delete: false,
            surge: Amount::Count(surge),
            unavailable: Amount::Count(unavailable),
            min_ready_seconds: 0,
            hash: "h".to_owned(),
        };
        let node = |word: &str| {
            let fit = Fit {
                runs: !word.contains('!'),
                stays: !word.contains("!!"),
            };
            (word.trim_end_matches('!').to_owned(), fit)
        };
        let nodes: BTreeMap<String, Fit> = nodes.split_whitespace().map(node).collect();
        let mut by_node: BTreeMap<String, Vec<Pod>> = BTreeMap::new();
        for word in pods.split_whitespace() {
            let (name, rest) = word.split_once('@').unwrap();
            let node = rest.trim_end_matches(['*', '+', 'x', '.']);
            let hash = if rest.contains('*') { "h" } else { "g" };
            let pod = Pod {
                name: name.to_owned(),
                node: node.to_owned(),
                phase: if rest.contains('x') {
                    Phase::Failed
                } else {
                    Phase::Running
                },
                ready: rest.contains('+'),
                deleting: rest.contains('.'),
                labels: vec![("controller-revision-hash".to_owned(), hash.to_owned())],
                ..Pod::default()
            };
            by_node.entry(node.to_owned()).or_default().push(pod);
        }
        let world = World {
            set: &set,
            nodes: &nodes,
            pods: &by_node,
            now: Timestamp::UNIX_EPOCH,
        };
        let show = |plan: Plan| {
            let ended: Vec<&str> = plan.ended.iter().map(|(name, ..)| name.as_str()).collect();
            format!("+{:?} -{:?} x{ended:?}", plan.create, plan.delete)
        };
        let (place, roll) = (show(place(&world)), show(roll(&world)));
        let status = status(&world);
        expected.assert_eq(&format!("{place}\n{roll}\n{status:?}"));
    }

    #[test]
    fn one_pod_on_each_node() {
        check(
            "a b c! d!!",
            "p@b*+ q@b* r@c*+ s@d*+ t@gone*",
            0,
            1,
            expect![[r#"
            +["a"] -["q", "s"] x[]
            +[] -[] x[]
            Status { desired: 2, current: 1, misscheduled: 2, ready: 1, updated: 1, available: 1 }"#]],
        );
        check(
            "a",
            "p@ax",
            0,
            1,
            expect![[r#"
            +[] -[] x["p"]
            +[] -["p"] x[]
            Status { desired: 1, current: 1, misscheduled: 0, ready: 0, updated: 0, available: 0 }"#]],
        );
    }

    /// A node that refuses pods gets the next one when the failed one may go: at once would be a
    /// pod every few milliseconds.
    #[test]
    fn a_failed_pod_is_waited_for_also_by_a_surge() {
        check(
            "a",
            "p@a*x",
            1,
            0,
            expect![[r#"
                +[] -[] x["p"]
                +[] -[] x[]
                Status { desired: 1, current: 1, misscheduled: 0, ready: 0, updated: 1, available: 0 }"#]],
        );
        check(
            "a",
            "p@a*x.",
            1,
            0,
            expect![[r#"
            +["a"] -[] x[]
            +[] -[] x[]
            Status { desired: 1, current: 1, misscheduled: 0, ready: 0, updated: 1, available: 0 }"#]],
        );
        check(
            "a",
            "p@ax",
            1,
            0,
            expect![[r#"
                +[] -[] x["p"]
                +["a"] -[] x[]
                Status { desired: 1, current: 1, misscheduled: 0, ready: 0, updated: 0, available: 0 }"#]],
        );
    }

    #[test]
    fn an_update_keeps_within_its_limits() {
        check(
            "a b c",
            "p@a+ q@b+ r@c+",
            0,
            1,
            expect![[r#"
            +[] -[] x[]
            +[] -["p"] x[]
            Status { desired: 3, current: 3, misscheduled: 0, ready: 3, updated: 0, available: 3 }"#]],
        );
        check(
            "a b c",
            "p@a* q@b+ r@c+",
            0,
            1,
            expect![[r#"
            +[] -[] x[]
            +[] -[] x[]
            Status { desired: 3, current: 3, misscheduled: 0, ready: 2, updated: 1, available: 2 }"#]],
        );
        check(
            "a b c",
            "p@a+ q@b+ r@c",
            1,
            0,
            expect![[r#"
            +[] -[] x[]
            +["c", "a"] -[] x[]
            Status { desired: 3, current: 3, misscheduled: 0, ready: 2, updated: 0, available: 2 }"#]],
        );
        check(
            "a b",
            "p@a+ n@a*+ q@b+",
            1,
            0,
            expect![[r#"
            +[] -["p"] x[]
            +["b"] -["p"] x[]
            Status { desired: 2, current: 2, misscheduled: 0, ready: 2, updated: 1, available: 2 }"#]],
        );
    }
}
