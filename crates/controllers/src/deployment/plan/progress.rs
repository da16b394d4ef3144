//! The status: counts, availability, progress and its deadline.
//!
//! Source: kubernetes v1.36.3 pkg/controller/deployment/{progress,sync}.go.

use std::time::Duration;

use crate::deployment::model::{Condition, Status};
use crate::deployment::plan::Roll;

const PROGRESSING: &str = "Progressing";
const AVAILABLE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";

impl Roll<'_> {
    /// The status without a word on progress.
    pub(super) fn count(&self) -> Status {
        let deployment = self.deployment;
        let sum =
            |of: fn(&crate::deployment::model::Set) -> i64| self.sets.iter().map(of).sum::<i64>();
        let available = sum(|set| set.available);
        let mut terminating = Some(0);
        for set in &self.sets {
            if set.observed_generation > 0 || set.terminating.is_some() {
                terminating = terminating.zip(set.terminating).map(|(a, b)| a + b);
            }
        }
        let mut status = Status {
            observed_generation: deployment.generation,
            replicas: sum(|set| set.observed),
            updated: self.new.map_or(0, |new| self.sets[new].observed),
            ready: sum(|set| set.ready),
            available,
            unavailable: (self.total() - available).max(0),
            terminating,
            collisions: self.status.collisions,
            conditions: self.status.conditions.clone(),
        };
        let enough = available >= deployment.replicas - deployment.max_unavailable();
        status.set(match enough {
            true => self.condition(
                "Available",
                "True",
                "MinimumReplicasAvailable",
                "Deployment has minimum availability.".to_owned(),
            ),
            false => self.condition(
                "Available",
                "False",
                "MinimumReplicasUnavailable",
                "Deployment does not have minimum availability.".to_owned(),
            ),
        });
        status
    }

    /// The status during an update.
    pub(super) fn report_progress(&mut self) {
        let mut status = self.count();
        let deployment = self.deployment;
        if deployment.deadline_seconds.is_none() {
            status.remove(PROGRESSING);
        }
        let current = self.status.condition(PROGRESSING).cloned();
        let over = status.replicas == status.updated
            && current.as_ref().is_some_and(|c| c.reason == AVAILABLE);
        if deployment.deadline_seconds.is_some() && !over {
            if deployment.is_complete(&status) {
                let message = self.about("has successfully progressed.");
                status.set(self.condition(PROGRESSING, "True", AVAILABLE, message));
            } else if self.moves(&status) {
                let message = self.about("is progressing.");
                let mut condition =
                    self.condition(PROGRESSING, "True", "ReplicaSetUpdated", message);
                if let Some(current) = current.filter(|c| c.status == "True") {
                    condition.transitioned = current.transitioned;
                }
                // Every sign of progress moves the time of the last update.
                status.remove(PROGRESSING);
                status.set(condition);
            } else if self.is_late(&status) {
                let message = self.about("has timed out progressing.");
                status.set(self.condition(PROGRESSING, "False", TIMED_OUT, message));
            }
        }
        match self.failure() {
            Some(failure) => status.set(failure),
            None => status.remove("ReplicaFailure"),
        }
        self.status = status;
    }

    fn about(&self, what: &str) -> String {
        match self.new {
            Some(new) => format!("ReplicaSet \"{}\" {what}", self.sets[new].name),
            None => format!("Deployment \"{}\" {what}", self.deployment.name),
        }
    }

    fn moves(&self, status: &Status) -> bool {
        let before = &self.deployment.status;
        status.updated > before.updated
            || status.replicas - status.updated < before.replicas - before.updated
            || status.ready > before.ready
            || status.available > before.available
    }

    /// Milliseconds until progress is late; none when nobody waits for any.
    fn left(&self, status: &Status) -> Option<i64> {
        let seconds = self.deployment.deadline_seconds?;
        let updated = status.condition(PROGRESSING)?.updated?;
        let deadline = updated
            .as_millisecond()
            .saturating_add(seconds.saturating_mul(1000));
        Some(deadline.saturating_sub(self.now.as_millisecond()))
    }

    fn is_late(&self, status: &Status) -> bool {
        match status.condition(PROGRESSING).map(|c| c.reason.as_str()) {
            None | Some(AVAILABLE) => false,
            Some(TIMED_OUT) => true,
            Some(_) => self.left(status).is_some_and(|left| left < 0),
        }
    }

    /// A failure of the new set says more than one of the old ones.
    fn failure(&self) -> Option<Condition> {
        let new = self.new.and_then(|new| self.sets[new].failure.clone());
        new.or_else(|| {
            let mut all = self.order.iter();
            all.find_map(|at| self.sets[*at].failure.clone())
        })
    }

    /// When to see whether the deadline has passed.
    pub(super) fn again(&self) -> Option<Duration> {
        if self.deployment.paused || self.deployment.deleting {
            return None;
        }
        let reason = &self.status.condition(PROGRESSING)?.reason;
        if self.deployment.is_complete(&self.status) || reason == TIMED_OUT || reason == AVAILABLE {
            return None;
        }
        let left = u64::try_from(self.left(&self.status)?).unwrap_or(0);
        // A second more, so that whole seconds in the status make no early look.
        Some(Duration::from_millis(left) + Duration::from_secs(1))
    }
}
