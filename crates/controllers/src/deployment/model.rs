//! A Deployment and its ReplicaSets as the plan sees them.
//!
//! Source: kubernetes v1.36.3 pkg/controller/deployment/util/deployment_util.go.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schema::{Dom, Ref};

use crate::workload::amount::Amount;

pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
pub(super) const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
pub(super) const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
pub(super) const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";
pub(super) const ROLLBACK_TO: &str = "deprecated.deployment.rollback.to";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// No deadline, no limit.
const UNLIMITED: i64 = i32::MAX as i64;

pub(super) type Annotations = BTreeMap<String, String>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strategy {
    Recreate,
    Rolling { surge: Amount, unavailable: Amount },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) kind: String,
    pub(super) status: String,
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) updated: Option<Timestamp>,
    pub(super) transitioned: Option<Timestamp>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) observed_generation: i64,
    pub(super) replicas: i64,
    pub(super) updated: i64,
    pub(super) ready: i64,
    pub(super) available: i64,
    pub(super) unavailable: i64,
    pub(super) terminating: Option<i64>,
    pub(super) collisions: Option<i64>,
    pub(super) conditions: Vec<Condition>,
}

#[derive(Clone, Debug)]
pub(super) struct Deployment {
    pub(super) name: String,
    pub(super) generation: i64,
    pub(super) deleting: bool,
    pub(super) paused: bool,
    pub(super) replicas: i64,
    pub(super) min_ready_seconds: i64,
    pub(super) strategy: Strategy,
    pub(super) deadline_seconds: Option<i64>,
    pub(super) history_limit: Option<i64>,
    pub(super) annotations: Annotations,
    pub(super) status: Status,
}

/// A ReplicaSet of the Deployment.
#[derive(Clone, Debug, Default)]
pub(super) struct Set {
    pub(super) name: String,
    pub(super) created: Option<Timestamp>,
    pub(super) generation: i64,
    pub(super) deleting: bool,
    /// Its template is the Deployment's.
    pub(super) matches: bool,
    /// Pods of it have not ended.
    pub(super) pods_run: bool,
    pub(super) replicas: i64,
    pub(super) min_ready_seconds: i64,
    pub(super) annotations: Annotations,
    pub(super) observed_generation: i64,
    pub(super) observed: i64,
    pub(super) ready: i64,
    pub(super) available: i64,
    pub(super) terminating: Option<i64>,
    pub(super) failure: Option<Condition>,
}

fn annotations(object: Ref<'_>) -> Annotations {
    let all = api::meta::of(object).annotations();
    all.map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

fn condition(from: Ref<'_>) -> Condition {
    let time = |field| api::time::field(from, field);
    let text = |field| from.str(field).to_owned();
    Condition {
        kind: text("type"),
        status: text("status"),
        reason: text("reason"),
        message: text("message"),
        updated: time("lastUpdateTime"),
        transitioned: time("lastTransitionTime"),
    }
}

impl Condition {
    pub(super) fn new(
        kind: &str,
        status: &str,
        reason: &str,
        message: String,
        now: Timestamp,
    ) -> Self {
        Self {
            kind: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message,
            updated: Some(now),
            transitioned: Some(now),
        }
    }
}

impl Status {
    fn read(status: Option<Ref<'_>>) -> Self {
        let option = |field| status.and_then(|status| status.int(field));
        let int = |field| option(field).unwrap_or(0);
        let conditions = status.into_iter().flat_map(|s| s.items("conditions"));
        Self {
            observed_generation: int("observedGeneration"),
            replicas: int("replicas"),
            updated: int("updatedReplicas"),
            ready: int("readyReplicas"),
            available: int("availableReplicas"),
            unavailable: int("unavailableReplicas"),
            terminating: option("terminatingReplicas"),
            collisions: option("collisionCount"),
            conditions: conditions.map(condition).collect(),
        }
    }

    pub(super) fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions.iter().find(|c| c.kind == kind)
    }

    pub(super) fn remove(&mut self, kind: &str) {
        self.conditions.retain(|c| c.kind != kind);
    }

    /// One that says the same for the same reason stays as it is.
    pub(super) fn set(&mut self, mut condition: Condition) {
        if let Some(known) = self.condition(&condition.kind)
            && known.status == condition.status
        {
            if known.reason == condition.reason {
                return;
            }
            condition.transitioned = known.transitioned;
        }
        self.remove(&condition.kind);
        self.conditions.push(condition);
    }

    /// Replaces `status` of a Deployment.
    pub(super) fn write(&self, dom: &mut Dom) {
        let root = dom.root();
        let status = dom.ensure_map(root, "status");
        for (field, count) in [
            ("observedGeneration", self.observed_generation),
            ("replicas", self.replicas),
            ("updatedReplicas", self.updated),
            ("readyReplicas", self.ready),
            ("availableReplicas", self.available),
            ("unavailableReplicas", self.unavailable),
        ] {
            dom.set_int(status, field, count);
        }
        for (field, count) in [
            ("terminatingReplicas", self.terminating),
            ("collisionCount", self.collisions),
        ] {
            match count {
                Some(count) => dom.set_int(status, field, count),
                None => {
                    dom.remove(status, field);
                }
            }
        }
        let list = dom.new_list();
        for condition in &self.conditions {
            let entry = dom.new_map();
            dom.set_str(entry, "type", &condition.kind);
            dom.set_str(entry, "status", &condition.status);
            for (field, time) in [
                ("lastUpdateTime", condition.updated),
                ("lastTransitionTime", condition.transitioned),
            ] {
                if let Some(time) = time {
                    dom.set_str(entry, field, &api::time::format_seconds(time));
                }
            }
            dom.set_str(entry, "reason", &condition.reason);
            dom.set_str(entry, "message", &condition.message);
            dom.push(list, entry);
        }
        dom.set(status, "conditions", list);
    }
}

impl Deployment {
    pub(super) fn read(object: Ref<'_>) -> Self {
        let spec = object.get("spec");
        let int = |field| spec.and_then(|spec| spec.int(field));
        let limited = |field| int(field).filter(|n| *n != UNLIMITED);
        let strategy = object.at(&["spec", "strategy"]);
        let rolling = strategy.and_then(|s| s.get("rollingUpdate"));
        let meta = api::meta::of(object);
        Self {
            name: meta.name().to_owned(),
            generation: meta.generation(),
            deleting: meta.is_deleting(),
            paused: spec.and_then(|spec| spec.bool("paused")).unwrap_or(false),
            replicas: int("replicas").unwrap_or(1),
            min_ready_seconds: int("minReadySeconds").unwrap_or(0),
            strategy: match strategy.map_or("", |strategy| strategy.str("type")) {
                "Recreate" => Strategy::Recreate,
                _ => Strategy::Rolling {
                    surge: Amount::read(rolling.and_then(|r| r.get("maxSurge"))),
                    unavailable: Amount::read(rolling.and_then(|r| r.get("maxUnavailable"))),
                },
            },
            deadline_seconds: limited("progressDeadlineSeconds"),
            history_limit: limited("revisionHistoryLimit"),
            annotations: annotations(object),
            status: Status::read(object.get("status")),
        }
    }

    /// Pods beyond the wanted ones, during an update.
    pub(super) fn max_surge(&self) -> i64 {
        match self.strategy {
            Strategy::Recreate => 0,
            Strategy::Rolling { surge, .. } => surge.of(self.replicas, true),
        }
    }

    /// Pods that may be unavailable: one where neither surge nor this would allow any step.
    pub(super) fn max_unavailable(&self) -> i64 {
        match self.strategy {
            Strategy::Rolling { unavailable, .. } if self.replicas > 0 => {
                let count = unavailable.of(self.replicas, false);
                if count == 0 && self.max_surge() == 0 {
                    1
                } else {
                    count.min(self.replicas)
                }
            }
            _ => 0,
        }
    }

    /// All wanted pods are new and available, and there are no others.
    pub(super) fn is_complete(&self, status: &Status) -> bool {
        status.updated == self.replicas
            && status.replicas == self.replicas
            && status.available == self.replicas
            && status.observed_generation >= self.generation
    }

    /// The revision that somebody asks to go back to; 0 is the last one.
    pub(super) fn rollback_to(&self) -> Option<i64> {
        self.annotations.get(ROLLBACK_TO)?.parse().ok()
    }
}

impl Set {
    pub(super) fn read(object: Ref<'_>) -> Self {
        let spec = object.get("spec");
        let of_spec = |field| spec.and_then(|spec| spec.int(field));
        let status = object.get("status");
        let option = |field| status.and_then(|status| status.int(field));
        let int = |field| option(field).unwrap_or(0);
        let meta = api::meta::of(object);
        Self {
            name: meta.name().to_owned(),
            created: meta.created(),
            generation: meta.generation(),
            deleting: meta.is_deleting(),
            matches: false,
            pods_run: false,
            replicas: of_spec("replicas").unwrap_or(1),
            min_ready_seconds: of_spec("minReadySeconds").unwrap_or(0),
            annotations: annotations(object),
            observed_generation: int("observedGeneration"),
            observed: int("replicas"),
            ready: int("readyReplicas"),
            available: int("availableReplicas"),
            terminating: option("terminatingReplicas"),
            failure: api::meta::condition(object, "ReplicaFailure").map(|c| {
                let failure = condition(c);
                Condition {
                    updated: failure.transitioned,
                    ..failure
                }
            }),
        }
    }

    /// 0 without one, none for nonsense.
    pub(super) fn revision(&self) -> Option<i64> {
        match self.annotations.get(REVISION) {
            Some(text) => text.parse().ok(),
            None => Some(0),
        }
    }

    pub(super) fn count(&self, annotation: &str) -> Option<i64> {
        let text = self.annotations.get(annotation)?;
        let count: i64 = text.parse().ok()?;
        (0..=UNLIMITED).contains(&count).then_some(count)
    }
}

/// Annotations that ReplicaSets do not take over from their Deployment.
pub(super) fn is_own_annotation(key: &str) -> bool {
    [
        LAST_APPLIED,
        REVISION,
        REVISION_HISTORY,
        DESIRED_REPLICAS,
        MAX_REPLICAS,
        ROLLBACK_TO,
    ]
    .contains(&key)
}
