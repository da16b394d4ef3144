//! Which numbered pods to make, mend or delete next. Pure.
//!
//! Slots are numbered from `start`; one by one unless `parallel`: a pod is made when those before
//! it serve, deleted when those after it are gone, replaced from the highest down.
//! Example: replicas 3, pods 0 ready, 1 pending → nothing but waiting; 1 ready → create 2.
//! Source: kubernetes v1.36.3 pkg/controller/statefulset/{stateful_set_control,
//! stateful_set_utils}.go.

use jiff::Timestamp;

use crate::workload::pods::{Phase, Pod};

/// What a StatefulSet asks for.
#[derive(Clone, Debug, Default)]
pub(super) struct Set {
    pub(super) generation: i64,
    pub(super) deleting: bool,
    pub(super) replicas: i64,
    pub(super) start: i64,
    pub(super) parallel: bool,
    pub(super) on_delete: bool,
    /// Slots from here on get the new template; none without a rolling update's settings.
    pub(super) partition: Option<i64>,
    pub(super) min_ready_seconds: i64,
    /// Names of revisions.
    pub(super) current: String,
    pub(super) update: String,
    /// As last written.
    pub(super) current_replicas: i64,
}

/// A pod of the set.
#[derive(Clone, Debug, Default)]
pub(super) struct Member {
    pub(super) base: Pod,
    pub(super) ordinal: i64,
    /// Its labels and volumes are those of its number.
    pub(super) fits: bool,
}

/// One request or group of requests, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Claims, then the pod, of the new or the current template.
    Create { ordinal: i64, new: bool },
    /// Places in the world's list.
    Delete(usize),
    /// Claims that may have been missed.
    Claims(usize),
    /// Labels and volumes.
    Mend(usize),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) observed_generation: i64,
    pub(super) replicas: i64,
    pub(super) ready: i64,
    pub(super) available: i64,
    pub(super) current: i64,
    pub(super) updated: i64,
    pub(super) current_revision: String,
    pub(super) update_revision: String,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    pub(super) actions: Vec<Action>,
    pub(super) status: Status,
}

/// `name-7` of set `name` is 7.
pub(super) fn ordinal(set: &str, pod: &str) -> Option<i64> {
    let number = pod.strip_prefix(set)?.strip_prefix('-')?;
    let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    number.parse::<i32>().ok().filter(|_| plain).map(i64::from)
}

/// Whether a pod that does not exist yet has the new template.
pub(super) fn is_new(set: &Set, ordinal: i64) -> bool {
    let before = set.partition.unwrap_or(set.current_replicas);
    set.on_delete || ordinal >= set.start + before
}

struct Work<'a> {
    set: &'a Set,
    members: &'a [Member],
    now: Timestamp,
    plan: Plan,
}

/// See the module's header. `waits` tells slots whose old claims must go first.
pub(super) fn plan(
    set: &Set,
    members: &[Member],
    waits: impl Fn(i64) -> bool,
    now: Timestamp,
) -> Plan {
    let mut work = Work {
        set,
        members,
        now,
        plan: Plan::default(),
    };
    work.count();
    if !set.deleting && work.fill(&waits) && work.shrink() && !set.on_delete {
        work.update();
    }
    work.complete();
    work.plan
}

impl Work<'_> {
    fn is_available(&self, member: &Member) -> bool {
        member
            .base
            .is_available(self.set.min_ready_seconds, self.now)
    }

    fn is_unavailable(&self, member: &Member) -> bool {
        member.base.deleting || !self.is_available(member)
    }

    fn at(&self, ordinal: i64) -> Option<usize> {
        self.members
            .iter()
            .position(|member| member.ordinal == ordinal)
    }

    fn slots(&self) -> std::ops::Range<i64> {
        self.set.start..self.set.start + self.set.replicas
    }

    fn count(&mut self) {
        let status = &mut self.plan.status;
        status.observed_generation = self.set.generation;
        status.current_revision.clone_from(&self.set.current);
        status.update_revision.clone_from(&self.set.update);
        for member in self.members {
            let pod = &member.base;
            status.replicas += 1;
            if pod.phase == Phase::Running && pod.ready {
                status.ready += 1;
                let available = pod.is_available(self.set.min_ready_seconds, self.now);
                status.available += i64::from(available);
            }
            if !pod.deleting {
                let revision = pod.label("controller-revision-hash");
                status.current += i64::from(revision == Some(&self.set.current));
                status.updated += i64::from(revision == Some(&self.set.update));
            }
        }
    }

    /// Every slot has its pod; false when one has to be waited for.
    fn fill(&mut self, waits: &impl Fn(i64) -> bool) -> bool {
        for ordinal in self.slots() {
            if !self.fill_slot(ordinal, waits) && !self.set.parallel {
                return false;
            }
        }
        true
    }

    fn fill_slot(&mut self, ordinal: i64, waits: &impl Fn(i64) -> bool) -> bool {
        let Some(at) = self.at(ordinal) else {
            if !waits(ordinal) {
                let new = is_new(self.set, ordinal);
                self.plan.actions.push(Action::Create { ordinal, new });
            }
            return false;
        };
        let member = &self.members[at];
        if member.base.has_ended() {
            if !member.base.deleting {
                self.plan.actions.push(Action::Delete(at));
            }
            return false;
        }
        if member.base.phase == Phase::Pending {
            self.plan.actions.push(Action::Claims(at));
        }
        let serves = member.base.phase == Phase::Running
            && member.base.ready
            && !member.base.deleting
            && self.is_available(member);
        if !serves && !self.set.parallel {
            return false;
        }
        if !member.fits {
            self.plan.actions.push(Action::Mend(at));
        }
        true
    }

    /// Pods beyond the slots go, the highest first; false when one has to be waited for.
    fn shrink(&mut self) -> bool {
        let slots = self.slots();
        let mut condemned: Vec<usize> = (0..self.members.len()).collect();
        condemned.retain(|at| !slots.contains(&self.members[*at].ordinal));
        condemned.sort_by_key(|at| -self.members[*at].ordinal);
        // The first one that does not serve need not be waited for.
        let absent = slots.clone().any(|ordinal| self.at(ordinal).is_none());
        let sick = slots
            .filter_map(|ordinal| self.at(ordinal))
            .chain(condemned.iter().rev().copied())
            .find(|at| self.is_unavailable(&self.members[*at]))
            .filter(|_| !absent);
        for at in condemned {
            let member = &self.members[at];
            if self.set.parallel {
                if !member.base.deleting {
                    self.plan.actions.push(Action::Delete(at));
                }
                continue;
            }
            let serves = member.base.phase == Phase::Running
                && member.base.ready
                && self.is_available(member);
            if !member.base.deleting && (serves || sick == Some(at)) {
                self.plan.actions.push(Action::Delete(at));
            }
            return false;
        }
        true
    }

    /// The highest slot with an old template gets the new one, when those above serve.
    fn update(&mut self) {
        let least = self.set.start + self.set.partition.unwrap_or(0);
        for ordinal in self.slots().rev().filter(|ordinal| *ordinal >= least) {
            // One that is only now made has its template.
            let Some(at) = self.at(ordinal) else { return };
            let member = &self.members[at];
            let revision = member.base.label("controller-revision-hash");
            if revision != Some(&self.set.update) && !member.base.deleting {
                self.plan.actions.push(Action::Delete(at));
                self.plan.status.current -= i64::from(revision == Some(&self.set.current));
                return;
            }
            if self.is_unavailable(member) {
                return;
            }
        }
    }

    /// All pods are new and serve: the new template is the current one.
    fn complete(&mut self) {
        let (status, wanted) = (&mut self.plan.status, self.set.replicas);
        let done = status.updated == wanted && status.ready == wanted && status.replicas == wanted;
        if done && !self.set.on_delete {
            status.current = status.updated;
            status.current_revision.clone_from(&status.update_revision);
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    /// Pods as `number[*][+|x|.|?]`: `*` new template, `+` ready, `x` failed, `.` going, `?`
    /// pending.
    fn members(text: &str) -> Vec<Member> {
        let member = |word: &str| {
            let number = word.trim_end_matches(['*', '+', 'x', '.', '?']);
            let revision = if word.contains('*') { "new" } else { "old" };
            Member {
                ordinal: number.parse().unwrap(),
                fits: true,
                base: Pod {
                    name: format!("web-{number}"),
                    phase: match word {
                        word if word.contains('x') => Phase::Failed,
                        word if word.contains('?') => Phase::Pending,
                        _ => Phase::Running,
                    },
                    ready: word.contains('+'),
                    deleting: word.contains('.'),
                    labels: vec![("controller-revision-hash".to_owned(), revision.to_owned())],
                    ..Pod::default()
                },
            }
        };
        text.split_whitespace().map(member).collect()
    }

    fn set(replicas: i64) -> Set {
        Set {
            replicas,
            partition: Some(0),
            current: "old".to_owned(),
            update: "old".to_owned(),
            ..Set::default()
        }
    }

    #[track_caller]
    fn check(set: &Set, pods: &str, expected: Expect) {
        let members = members(pods);
        let plan = plan(set, &members, |_| false, Timestamp::UNIX_EPOCH);
        let words = plan.actions.iter().map(|action| match action {
            Action::Create { ordinal, new } => {
                format!("create {ordinal}{}", if *new { "*" } else { "" })
            }
            Action::Delete(at) => format!("delete {}", members[*at].ordinal),
            Action::Claims(at) => format!("claims {}", members[*at].ordinal),
            Action::Mend(at) => format!("mend {}", members[*at].ordinal),
        });
        let words: Vec<String> = words.collect();
        let status = &plan.status;
        expected.assert_eq(&format!(
            "{}; {} ready, {} current, {} updated, {}",
            words.join(", "),
            status.ready,
            status.current,
            status.updated,
            status.current_revision
        ));
    }

    #[test]
    fn one_by_one() {
        check(
            &set(3),
            "",
            expect!["create 0*; 0 ready, 0 current, 0 updated, old"],
        );
        check(
            &set(3),
            "0+ 1?",
            expect!["claims 1; 1 ready, 2 current, 2 updated, old"],
        );
        check(
            &set(3),
            "0+ 1+",
            expect!["create 2*; 2 ready, 2 current, 2 updated, old"],
        );
        check(
            &set(3),
            "0+ 1x 2+",
            expect!["delete 1; 2 ready, 3 current, 3 updated, old"],
        );
        check(
            &set(1),
            "0+ 1+ 2+",
            expect!["delete 2; 3 ready, 3 current, 3 updated, old"],
        );
        check(
            &set(1),
            "0+ 1+ 2+.",
            expect!["; 3 ready, 2 current, 2 updated, old"],
        );
        check(
            &set(1),
            "0+ 1 2+",
            expect!["delete 2; 2 ready, 3 current, 3 updated, old"],
        );
        check(
            &set(1),
            "0+ 1",
            expect!["delete 1; 1 ready, 2 current, 2 updated, old"],
        );
        check(
            &set(1),
            "0 1+",
            expect!["; 1 ready, 2 current, 2 updated, old"],
        );
    }

    #[test]
    fn all_at_once() {
        let parallel = Set {
            parallel: true,
            ..set(3)
        };
        check(
            &parallel,
            "1?",
            expect!["create 0*, claims 1, create 2*; 0 ready, 1 current, 1 updated, old"],
        );
        check(
            &parallel,
            "0+ 1 2+ 3+ 4+",
            expect!["delete 4, delete 3; 4 ready, 5 current, 5 updated, old"],
        );
    }

    #[test]
    fn updates_from_the_highest_down() {
        let update = Set {
            update: "new".to_owned(),
            ..set(3)
        };
        check(
            &update,
            "0+ 1+ 2+",
            expect!["delete 2; 3 ready, 2 current, 0 updated, old"],
        );
        check(
            &update,
            "0+ 1+",
            expect!["create 2*; 2 ready, 2 current, 0 updated, old"],
        );
        check(
            &update,
            "0+ 1+ 2*",
            expect!["; 2 ready, 2 current, 1 updated, old"],
        );
        check(
            &update,
            "0+ 1+ 2*+",
            expect!["delete 1; 3 ready, 1 current, 1 updated, old"],
        );
        check(
            &update,
            "0*+ 1*+ 2*+",
            expect!["; 3 ready, 3 current, 3 updated, new"],
        );
        let canary = Set {
            partition: Some(2),
            ..update.clone()
        };
        check(
            &canary,
            "0+ 1+ 2*+",
            expect!["; 3 ready, 2 current, 1 updated, old"],
        );
        check(
            &canary,
            "1+ 2*+",
            expect!["create 0; 2 ready, 1 current, 1 updated, old"],
        );
        let manual = Set {
            on_delete: true,
            ..update
        };
        check(
            &manual,
            "0+ 1+",
            expect!["create 2*; 2 ready, 2 current, 0 updated, old"],
        );
    }

    #[test]
    fn numbers() {
        assert_eq!(ordinal("web", "web-12"), Some(12));
        assert_eq!(ordinal("web", "web-x"), None);
        assert_eq!(ordinal("web", "web-1-2"), None);
        assert_eq!(ordinal("web-1", "web-1-2"), Some(2));
    }
}
