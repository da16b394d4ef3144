//! A Job and its pods as the plan sees them.
//!
//! Source: k8s.io/api v0.36.3 batch/v1/types.go.

use client::Object;
use jiff::Timestamp;
use schema::{Dom, Ref};

use crate::workload::pods;

/// Keeps a pod until it is counted.
pub(super) const FINALIZER: &str = "batch.kubernetes.io/job-tracking";
pub(super) const INDEX: &str = "batch.kubernetes.io/job-completion-index";
pub(super) const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
pub(super) const IGNORED_FAILURES: &str = "batch.kubernetes.io/job-index-ignored-failure-count";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) kind: String,
    pub(super) status: String,
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) probed: Option<Timestamp>,
    pub(super) transitioned: Option<Timestamp>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) active: usize,
    pub(super) ready: Option<usize>,
    pub(super) terminating: Option<usize>,
    pub(super) succeeded: usize,
    pub(super) failed: usize,
    pub(super) started: Option<Timestamp>,
    pub(super) completed: Option<Timestamp>,
    pub(super) completed_indexes: String,
    pub(super) failed_indexes: Option<String>,
    /// Uids of pods that ended and still hold their finalizer.
    pub(super) uncounted_succeeded: Vec<String>,
    pub(super) uncounted_failed: Vec<String>,
    pub(super) conditions: Vec<Condition>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    FailJob,
    FailIndex,
    Ignore,
    Count,
}

#[derive(Clone, Debug)]
pub(super) enum Pattern {
    ExitCodes {
        container: Option<String>,
        within: bool,
        codes: Vec<i64>,
    },
    Conditions(Vec<(String, String)>),
}

#[derive(Clone, Debug, Default)]
pub(super) struct SuccessRule {
    pub(super) indexes: Option<String>,
    pub(super) count: Option<usize>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Job {
    pub(super) namespace: String,
    pub(super) deleting: bool,
    pub(super) parallelism: usize,
    pub(super) completions: Option<usize>,
    pub(super) indexed: bool,
    pub(super) suspended: bool,
    pub(super) backoff_limit: usize,
    pub(super) backoff_limit_per_index: Option<usize>,
    pub(super) max_failed_indexes: Option<usize>,
    pub(super) deadline_seconds: Option<i64>,
    /// Failed containers are started again in their pod.
    pub(super) restarts: bool,
    /// Pods are replaced when they have failed, not when they begin to go.
    pub(super) only_replaces_failed: bool,
    pub(super) failure_policy: Option<Vec<(Pattern, Action)>>,
    pub(super) success_policy: Vec<SuccessRule>,
    pub(super) status: Status,
}

/// A pod with what Jobs ask of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Pod {
    pub(super) base: pods::Pod,
    /// Holds the finalizer.
    pub(super) tracked: bool,
    pub(super) index: Option<usize>,
    /// Failures of this index before this pod: counted, ignored.
    pub(super) failures: (usize, usize),
    pub(super) finished: Option<Timestamp>,
    pub(super) restarts: i64,
    /// Containers that ended, main ones first: name, code.
    pub(super) exits: Vec<(String, i64)>,
    pub(super) conditions: Vec<(String, String)>,
}

fn count(from: Option<Ref<'_>>, field: &str) -> Option<usize> {
    let number = from?.int(field)?;
    Some(usize::try_from(number).unwrap_or(0))
}

fn texts(from: Option<Ref<'_>>, field: &str) -> Vec<String> {
    let all = from.into_iter().flat_map(|from| from.items(field));
    all.filter_map(|item| item.as_str().map(str::to_owned))
        .collect()
}

impl Status {
    fn read(status: Option<Ref<'_>>) -> Self {
        let uncounted = status.and_then(|s| s.get("uncountedTerminatedPods"));
        let conditions = status.into_iter().flat_map(|s| s.items("conditions"));
        Self {
            active: count(status, "active").unwrap_or(0),
            ready: count(status, "ready"),
            terminating: count(status, "terminating"),
            succeeded: count(status, "succeeded").unwrap_or(0),
            failed: count(status, "failed").unwrap_or(0),
            started: status.and_then(|s| api::time::field(s, "startTime")),
            completed: status.and_then(|s| api::time::field(s, "completionTime")),
            completed_indexes: status.map_or("", |s| s.str("completedIndexes")).to_owned(),
            failed_indexes: status
                .and_then(|s| s.get("failedIndexes")?.as_str())
                .map(str::to_owned),
            uncounted_succeeded: texts(uncounted, "succeeded"),
            uncounted_failed: texts(uncounted, "failed"),
            conditions: conditions
                .map(|c| Condition {
                    kind: c.str("type").to_owned(),
                    status: c.str("status").to_owned(),
                    reason: c.str("reason").to_owned(),
                    message: c.str("message").to_owned(),
                    probed: api::time::field(c, "lastProbeTime"),
                    transitioned: api::time::field(c, "lastTransitionTime"),
                })
                .collect(),
        }
    }

    pub(super) fn holds(&self, kind: &str) -> Option<&Condition> {
        let mut all = self.conditions.iter();
        all.find(|c| c.kind == kind && c.status == "True")
    }

    pub(super) fn is_finished(&self) -> bool {
        self.holds("Complete").is_some() || self.holds("Failed").is_some()
    }

    /// Replaces a condition that says something else; tells whether anything changed.
    pub(super) fn ensure(&mut self, new: Condition) -> bool {
        match self.conditions.iter_mut().find(|c| c.kind == new.kind) {
            Some(known) => {
                let same = known.status == new.status
                    && known.reason == new.reason
                    && known.message == new.message;
                if !same {
                    *known = new;
                }
                !same
            }
            None if new.status == "False" => false,
            None => {
                self.conditions.push(new);
                true
            }
        }
    }

    /// Replaces `status` of a Job.
    pub(super) fn write(&self, dom: &mut Dom) {
        let root = dom.root();
        let status = dom.ensure_map(root, "status");
        let int = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let counts = [
            ("active", Some(self.active).filter(|n| *n > 0)),
            ("succeeded", Some(self.succeeded).filter(|n| *n > 0)),
            ("failed", Some(self.failed).filter(|n| *n > 0)),
            ("ready", self.ready),
            ("terminating", self.terminating),
        ];
        for (field, count) in counts {
            match count {
                Some(count) => dom.set_int(status, field, int(count)),
                None => {
                    dom.remove(status, field);
                }
            }
        }
        let times = [
            ("startTime", self.started),
            ("completionTime", self.completed),
        ];
        let times = times.map(|(field, time)| (field, time.map(api::time::format_seconds)));
        let indexes = Some(self.completed_indexes.clone()).filter(|text| !text.is_empty());
        let texts = [
            ("completedIndexes", indexes),
            ("failedIndexes", self.failed_indexes.clone()),
        ];
        for (field, text) in times.into_iter().chain(texts) {
            match text {
                Some(text) => dom.set_str(status, field, &text),
                None => {
                    dom.remove(status, field);
                }
            }
        }
        let uncounted = dom.new_map();
        for (field, uids) in [
            ("succeeded", &self.uncounted_succeeded),
            ("failed", &self.uncounted_failed),
        ] {
            if !uids.is_empty() {
                let list = dom.ensure_list(uncounted, field);
                for uid in uids {
                    let uid = dom.new_str(uid);
                    dom.push(list, uid);
                }
            }
        }
        dom.set(status, "uncountedTerminatedPods", uncounted);
        let list = dom.new_list();
        for condition in &self.conditions {
            let entry = dom.new_map();
            dom.set_str(entry, "type", &condition.kind);
            dom.set_str(entry, "status", &condition.status);
            for (field, time) in [
                ("lastProbeTime", condition.probed),
                ("lastTransitionTime", condition.transitioned),
            ] {
                if let Some(time) = time {
                    dom.set_str(entry, field, &api::time::format_seconds(time));
                }
            }
            for (field, text) in [
                ("reason", &condition.reason),
                ("message", &condition.message),
            ] {
                if !text.is_empty() {
                    dom.set_str(entry, field, text);
                }
            }
            dom.push(list, entry);
        }
        match dom.is_empty(list) {
            true => {
                dom.remove(status, "conditions");
            }
            false => dom.set(status, "conditions", list),
        }
    }
}

impl Job {
    pub(super) fn read(object: Ref<'_>) -> Self {
        let spec = object.get("spec");
        let flag = |field| spec.and_then(|s| s.bool(field)).unwrap_or(false);
        let text = |field| spec.map_or("", |s| s.str(field));
        let meta = api::meta::of(object);
        let policy = spec
            .and_then(|s| s.get("podFailurePolicy"))
            .filter(|p| !p.is_null());
        let failure_policy = policy.map(|p| p.items("rules").filter_map(rule).collect());
        let success = object.at(&["spec", "successPolicy"]);
        let success = success.into_iter().flat_map(|p| p.items("rules"));
        let pod = object.at(&["spec", "template", "spec"]);
        Self {
            namespace: meta.namespace().to_owned(),
            deleting: meta.is_deleting(),
            parallelism: count(spec, "parallelism").unwrap_or(1),
            completions: count(spec, "completions"),
            indexed: text("completionMode") == "Indexed",
            suspended: flag("suspend"),
            backoff_limit: count(spec, "backoffLimit").unwrap_or(6),
            backoff_limit_per_index: count(spec, "backoffLimitPerIndex"),
            max_failed_indexes: count(spec, "maxFailedIndexes"),
            deadline_seconds: spec.and_then(|s| s.int("activeDeadlineSeconds")),
            restarts: pod.is_some_and(|pod| pod.str("restartPolicy") == "OnFailure"),
            only_replaces_failed: text("podReplacementPolicy") == "Failed"
                || failure_policy.is_some(),
            failure_policy,
            success_policy: success
                .map(|rule| SuccessRule {
                    indexes: rule
                        .get("succeededIndexes")
                        .and_then(Ref::as_str)
                        .map(str::to_owned),
                    count: count(Some(rule), "succeededCount"),
                })
                .collect(),
            status: Status::read(object.get("status")),
        }
    }
}

fn rule(rule: Ref<'_>) -> Option<(Pattern, Action)> {
    let action = match rule.str("action") {
        "FailJob" => Action::FailJob,
        "FailIndex" => Action::FailIndex,
        "Ignore" => Action::Ignore,
        "Count" => Action::Count,
        _ => return None,
    };
    let pattern = match rule.get("onExitCodes").filter(|codes| !codes.is_null()) {
        Some(codes) => Pattern::ExitCodes {
            container: codes
                .get("containerName")
                .and_then(Ref::as_str)
                .map(str::to_owned),
            within: codes.str("operator") == "In",
            codes: codes.items("values").filter_map(Ref::as_int).collect(),
        },
        None => Pattern::Conditions(
            rule.items("onPodConditions")
                .map(|c| (c.str("type").to_owned(), c.str("status").to_owned()))
                .collect(),
        ),
    };
    Some((pattern, action))
}

impl Pod {
    pub(super) fn of(object: &Object) -> Option<Self> {
        Some(Self::read(object.parse().ok()?.as_ref()))
    }

    pub(super) fn read(pod: Ref<'_>) -> Self {
        let meta = api::meta::of(pod);
        let number = |key| {
            let number = meta.annotation(key)?.parse::<i32>().ok()?;
            usize::try_from(number).ok()
        };
        let status = pod.get("status");
        let statuses = |field| status.into_iter().flat_map(move |s| s.items(field));
        let all = || statuses("containerStatuses").chain(statuses("initContainerStatuses"));
        let exit = |c: Ref<'_>| {
            let ended = c.get("state")?.get("terminated")?;
            Some((c.str("name").to_owned(), ended.int("exitCode").unwrap_or(0)))
        };
        let conditions = statuses("conditions");
        Self {
            base: pods::Pod::read(pod),
            tracked: meta.has_finalizer(FINALIZER),
            index: number(INDEX),
            failures: (
                number(FAILURES).unwrap_or(0),
                number(IGNORED_FAILURES).unwrap_or(0),
            ),
            finished: finished(pod),
            restarts: all().map(|c| c.int("restartCount").unwrap_or(0)).sum(),
            exits: all().filter_map(exit).collect(),
            conditions: conditions
                .map(|c| (c.str("type").to_owned(), c.str("status").to_owned()))
                .collect(),
        }
    }
}

/// When it ended, as well as that can be told.
fn finished(pod: Ref<'_>) -> Option<Timestamp> {
    let statuses = pod
        .get("status")
        .into_iter()
        .flat_map(|s| s.items("containerStatuses"));
    let ends = statuses.map(|c| api::time::field(c.get("state")?.get("terminated")?, "finishedAt"));
    let ends: Option<Vec<Timestamp>> = ends.collect();
    if let Some(last) = ends.and_then(|ends| ends.into_iter().max()) {
        return Some(last);
    }
    let unready = api::meta::condition(pod, "Ready").filter(|c| c.str("status") == "False");
    if let Some(since) = unready.and_then(|c| api::time::field(c, "lastTransitionTime")) {
        return Some(since);
    }
    let meta = api::meta::of(pod);
    let grace = meta.deletion_grace_seconds().unwrap_or(0);
    let deleted = meta.deleted().and_then(|time| {
        let seconds = time.as_second().saturating_sub(grace);
        Timestamp::from_second(seconds).ok()
    });
    deleted.or_else(|| meta.created())
}
