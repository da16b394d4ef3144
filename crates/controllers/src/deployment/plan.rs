//! What a Deployment does next. Pure.
//!
//! One call gives everything up to the point where the world has to move first: a new ReplicaSet,
//! annotations, sizes, old sets to delete, and the status that says so.
//! Example: replicas 3, surge 1, unavailable 0, template changed → create new set with 1; when its
//! pod is available → old 3 → 2; when that pod is gone → new 1 → 2; …
//! Source: kubernetes v1.36.3 pkg/controller/deployment/{deployment_controller,sync,rolling,
//! recreate,rollback}.go.

mod progress;
mod scale;

use std::cmp::Ordering;
use std::time::Duration;

use jiff::Timestamp;

use crate::deployment::model::{
    Annotations, Condition, DESIRED_REPLICAS, Deployment, MAX_REPLICAS, REVISION, REVISION_HISTORY,
    Set, Status, Strategy, is_own_annotation,
};

/// Characters of a revision history.
const HISTORY_LIMIT: usize = 2000;

/// One request to make; the index is that of the world's sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Create the new set.
    Create {
        replicas: i64,
        annotations: Annotations,
    },
    /// Bring annotations and minReadySeconds of the new set up to date.
    Update {
        set: usize,
        annotations: Annotations,
    },
    /// Change a set's size and what it knows of the Deployment's.
    Scale {
        set: usize,
        from: i64,
        to: i64,
        annotations: Annotations,
    },
    /// Delete an old set.
    Delete { set: usize },
    /// Take the template of a set, if there is one, and end the request for a rollback.
    Rollback {
        to: Option<usize>,
        warning: Option<(&'static str, String)>,
        done: Option<String>,
    },
}

/// See the module's header.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) effects: Vec<Effect>,
    pub(super) status: Status,
    /// Annotation of the Deployment, written with the status.
    pub(super) revision: Option<String>,
    /// When to look again although nothing happens.
    pub(super) again: Option<Duration>,
}

/// A Deployment, its sets in any order, the name that a new one would have, and the time.
pub(super) fn plan(deployment: &Deployment, sets: &[Set], new_name: &str, now: Timestamp) -> Plan {
    let mut order: Vec<usize> = (0..sets.len()).collect();
    order.sort_by(|a, b| by_age(&sets[*a], &sets[*b]));
    let mut roll = Roll {
        new: order.iter().copied().find(|at| sets[*at].matches),
        deployment,
        sets: sets.to_vec(),
        order,
        new_name,
        now,
        status: deployment.status.clone(),
        revision: deployment.annotations.get(REVISION).cloned(),
        effects: Vec::new(),
    };
    roll.run();
    let again = roll.again();
    Plan {
        effects: roll.effects,
        status: roll.status,
        revision: roll.revision,
        again,
    }
}

fn by_age(a: &Set, b: &Set) -> Ordering {
    a.created.cmp(&b.created).then_with(|| a.name.cmp(&b.name))
}

/// The work in progress: sets and status as they will be after the effects so far.
struct Roll<'a> {
    deployment: &'a Deployment,
    sets: Vec<Set>,
    /// Indexes from the oldest to the newest.
    order: Vec<usize>,
    new: Option<usize>,
    new_name: &'a str,
    now: Timestamp,
    status: Status,
    revision: Option<String>,
    effects: Vec<Effect>,
}

impl Roll<'_> {
    fn run(&mut self) {
        let deployment = self.deployment;
        if deployment.deleting {
            self.sync_revision(false);
            self.status = self.count();
            return;
        }
        self.note_pause();
        if !deployment.paused && deployment.rollback_to().is_some() {
            self.sync_revision(true);
            self.roll_back();
            return;
        }
        self.sync_revision(false);
        if deployment.paused || self.was_scaled() {
            self.scale();
            if deployment.paused && deployment.rollback_to().is_none() {
                self.clean_up();
            }
            self.status = self.count();
            return;
        }
        match deployment.strategy {
            Strategy::Recreate => self.recreate(),
            Strategy::Rolling { .. } => self.roll(),
        }
        self.report_progress();
    }

    /// Old sets from the oldest to the newest.
    fn old(&self) -> Vec<usize> {
        let old = self.order.iter().copied();
        old.filter(|at| Some(*at) != self.new).collect()
    }

    fn total(&self) -> i64 {
        self.sets.iter().map(|set| set.replicas).sum()
    }

    fn condition(&self, kind: &str, status: &str, reason: &str, message: String) -> Condition {
        Condition::new(kind, status, reason, message, self.now)
    }

    /// Pausing and resuming are no lack of progress.
    fn note_pause(&mut self) {
        const PAUSED: &str = "DeploymentPaused";
        if self.deployment.deadline_seconds.is_none() {
            return;
        }
        let reason = self
            .status
            .condition("Progressing")
            .map(|c| c.reason.as_str());
        if reason == Some("ProgressDeadlineExceeded") {
            return;
        }
        let (reason, message) = match (self.deployment.paused, reason == Some(PAUSED)) {
            (true, false) => (PAUSED, "Deployment is paused"),
            (false, true) => ("DeploymentResumed", "Deployment is resumed"),
            _ => return,
        };
        let condition = self.condition("Progressing", "Unknown", reason, message.to_owned());
        self.status.set(condition);
    }

    /// Numbers the new set, creating it if `create`, and takes over its number.
    fn sync_revision(&mut self, create: bool) {
        let revisions = self
            .old()
            .into_iter()
            .filter_map(|at| self.sets[at].revision());
        let next = revisions.max().unwrap_or(0).max(0) + 1;
        let deployment = self.deployment;
        if let Some(new) = self.new {
            let set = &self.sets[new];
            let (annotations, changed) = self.annotations_of_new(&set.annotations, next, true);
            if changed || set.min_ready_seconds != deployment.min_ready_seconds {
                self.sets[new].annotations.clone_from(&annotations);
                self.sets[new].min_ready_seconds = deployment.min_ready_seconds;
                self.effects.push(Effect::Update {
                    set: new,
                    annotations,
                });
                return;
            }
            self.revision = set.annotations.get(REVISION).cloned();
            let name = set.name.clone();
            let known = self.status.condition("Progressing").is_some();
            if deployment.deadline_seconds.is_some() && !known {
                let message = format!("Found new replica set \"{name}\"");
                let reason = "FoundNewReplicaSet";
                let condition = self.condition("Progressing", "True", reason, message);
                self.status.set(condition);
            }
            return;
        }
        if !create {
            return;
        }
        let (annotations, _) = self.annotations_of_new(&Annotations::new(), next, false);
        let new = self.sets.len();
        self.sets.push(Set {
            name: self.new_name.to_owned(),
            matches: true,
            min_ready_seconds: deployment.min_ready_seconds,
            annotations: annotations.clone(),
            ..Set::default()
        });
        self.order.push(new);
        self.new = Some(new);
        let replicas = self.size_of_new();
        self.sets[new].replicas = replicas;
        self.effects.push(Effect::Create {
            replicas,
            annotations,
        });
        self.revision = Some(next.to_string());
        if deployment.deadline_seconds.is_some() {
            let message = format!("Created new replica set \"{}\"", self.new_name);
            let reason = "NewReplicaSetCreated";
            let condition = self.condition("Progressing", "True", reason, message);
            self.status.set(condition);
        }
    }

    /// What the new set's annotations should be, and whether that is a change.
    fn annotations_of_new(
        &self,
        known: &Annotations,
        next: i64,
        exists: bool,
    ) -> (Annotations, bool) {
        let mut annotations = known.clone();
        for (key, value) in &self.deployment.annotations {
            if !is_own_annotation(key) {
                annotations.insert(key.clone(), value.clone());
            }
        }
        let before = known.get(REVISION);
        let number = match before.map(|text| text.parse::<i64>()) {
            Some(Ok(number)) => number,
            None => 0,
            // Somebody's own words: hands off.
            Some(Err(_)) => return (known.clone(), false),
        };
        if number < next {
            annotations.insert(REVISION.to_owned(), next.to_string());
            if let Some(before) = before {
                add_to_history(&mut annotations, before);
            }
        }
        if !exists {
            self.note_sizes(&mut annotations);
        }
        let changed = annotations != *known;
        (annotations, changed)
    }

    fn note_sizes(&self, annotations: &mut Annotations) {
        let wanted = self.deployment.replicas;
        let most = wanted + self.deployment.max_surge();
        annotations.insert(DESIRED_REPLICAS.to_owned(), wanted.to_string());
        annotations.insert(MAX_REPLICAS.to_owned(), most.to_string());
    }

    /// How large the new set may be now.
    fn size_of_new(&self) -> i64 {
        let deployment = self.deployment;
        let size = self.new.map_or(0, |new| self.sets[new].replicas);
        match deployment.strategy {
            Strategy::Recreate => deployment.replicas,
            Strategy::Rolling { .. } => {
                let room = deployment.replicas + deployment.max_surge() - self.total();
                if room <= 0 {
                    size
                } else {
                    size + room.min(deployment.replicas - size)
                }
            }
        }
    }

    /// Keeps the newest of the old sets that are empty.
    fn clean_up(&mut self) {
        let Some(limit) = self.deployment.history_limit else {
            return;
        };
        let mut old = self.old();
        old.retain(|at| !self.sets[*at].deleting);
        let surplus = old
            .len()
            .saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
        // Stable: equal revisions stay in the order of their age. Nonsense counts as the oldest.
        old.sort_by_key(|at| self.sets[*at].revision());
        for at in old.into_iter().take(surplus) {
            let set = &self.sets[at];
            let in_use = set.observed != 0 || set.replicas != 0;
            if !in_use && set.generation <= set.observed_generation {
                self.effects.push(Effect::Delete { set: at });
            }
        }
    }

    fn roll_back(&mut self) {
        let asked = self.deployment.rollback_to().unwrap_or(0);
        let mut revisions: Vec<i64> = self.sets.iter().filter_map(Set::revision).collect();
        revisions.sort_unstable();
        let last = revisions.iter().rev().nth(1).copied().unwrap_or(0);
        let revision = if asked == 0 { last } else { asked };
        let not_found = |text: &str| Effect::Rollback {
            to: None,
            warning: Some(("DeploymentRollbackRevisionNotFound", text.to_owned())),
            done: None,
        };
        if revision == 0 {
            self.effects
                .push(not_found("Unable to find last revision."));
            return;
        }
        let name = &self.deployment.name;
        let found = self
            .order
            .iter()
            .find(|at| self.sets[**at].revision() == Some(revision));
        let effect = match found {
            None => not_found("Unable to find the revision to rollback to."),
            Some(at) if self.sets[*at].matches => Effect::Rollback {
                to: None,
                warning: Some((
                    "DeploymentRollbackTemplateUnchanged",
                    format!(
                        "The rollback revision contains the same template as current deployment \"{name}\""
                    ),
                )),
                done: None,
            },
            Some(at) => Effect::Rollback {
                to: Some(*at),
                warning: None,
                done: Some(format!(
                    "Rolled back deployment \"{name}\" to revision {revision}"
                )),
            },
        };
        self.effects.push(effect);
    }
}

/// Appends a revision to the list of those that a set had before, forgetting the oldest.
fn add_to_history(annotations: &mut Annotations, revision: &str) {
    let known = annotations
        .get(REVISION_HISTORY)
        .cloned()
        .unwrap_or_default();
    let mut parts: Vec<&str> = known.split(',').filter(|part| !part.is_empty()).collect();
    parts.push(revision);
    let mut text = parts.join(",");
    while text.len() > HISTORY_LIMIT && parts.len() > 1 {
        parts.remove(0);
        text = parts.join(",");
    }
    if text.len() <= HISTORY_LIMIT {
        annotations.insert(REVISION_HISTORY.to_owned(), text);
    }
}

#[cfg(test)]
mod tests;
