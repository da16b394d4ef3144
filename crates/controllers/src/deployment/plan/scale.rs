//! Sizes: from the old sets to the new one, and shares when the Deployment itself is resized.
//!
//! Source: kubernetes v1.36.3 pkg/controller/deployment/{rolling,recreate,sync}.go.

use std::cmp::Ordering;

use crate::deployment::model::{DESIRED_REPLICAS, MAX_REPLICAS, Strategy};
use crate::deployment::plan::{Effect, Roll, by_age};

impl Roll<'_> {
    /// Gives a set a size; with `always` it also learns the Deployment's.
    fn resize(&mut self, set: usize, to: i64, always: bool) -> bool {
        let from = self.sets[set].replicas;
        if from == to && !always {
            return false;
        }
        let mut annotations = self.sets[set].annotations.clone();
        self.note_sizes(&mut annotations);
        if from != to || annotations != self.sets[set].annotations {
            self.sets[set].replicas = to;
            self.sets[set].annotations.clone_from(&annotations);
            self.effects.push(Effect::Scale {
                set,
                from,
                to,
                annotations,
            });
        }
        from != to
    }

    fn active_old(&self) -> Vec<usize> {
        let mut old = self.old();
        old.retain(|at| self.sets[*at].replicas > 0);
        old
    }

    /// One step of a rolling update.
    pub(super) fn roll(&mut self) {
        self.sync_revision(true);
        if self.grow_new() || self.shrink_old() {
            return;
        }
        if self.deployment.is_complete(&self.status) {
            self.clean_up();
        }
    }

    fn grow_new(&mut self) -> bool {
        let Some(new) = self.new else { return false };
        let (size, wanted) = (self.sets[new].replicas, self.deployment.replicas);
        match size.cmp(&wanted) {
            Ordering::Equal => false,
            Ordering::Greater => self.resize(new, wanted, false),
            Ordering::Less => {
                let to = self.size_of_new();
                self.resize(new, to, false)
            }
        }
    }

    /// Takes pods that do not serve first, then as many as availability allows.
    fn shrink_old(&mut self) -> bool {
        let Some(new) = self.new else { return false };
        let old = self.active_old();
        if old.is_empty() {
            return false;
        }
        let least = self.deployment.replicas - self.deployment.max_unavailable();
        let new_unavailable = self.sets[new].replicas - self.sets[new].available;
        let most = self.total() - least - new_unavailable;
        if most <= 0 {
            return false;
        }
        let mut gone = 0;
        for at in &old {
            let set = &self.sets[*at];
            let sick = (set.replicas - set.available).min(most - gone);
            if sick > 0 {
                let to = set.replicas - sick;
                self.resize(*at, to, false);
                gone += sick;
            }
        }
        let in_play = old.iter().copied().chain([new]);
        let available: i64 = in_play.map(|at| self.sets[at].available).sum();
        let mut spare = available - least;
        for at in old {
            let size = self.sets[at].replicas;
            let fewer = size.min(spare);
            if fewer > 0 {
                self.resize(at, size - fewer, false);
                spare -= fewer;
                gone += fewer;
            }
        }
        gone > 0
    }

    /// One step of an update that lets all old pods end first.
    pub(super) fn recreate(&mut self) {
        let mut shrunk = false;
        for at in self.active_old() {
            shrunk |= self.resize(at, 0, false);
        }
        let old_runs = self
            .old()
            .iter()
            .any(|at| self.sets[*at].observed > 0 || self.sets[*at].pods_run);
        if shrunk || old_runs {
            return;
        }
        if self.new.is_none() {
            self.sync_revision(true);
        }
        if let Some(new) = self.new {
            self.resize(new, self.deployment.replicas, false);
        }
        if self.deployment.is_complete(&self.status) {
            self.clean_up();
        }
    }

    /// The Deployment was resized: some set remembers another size.
    ///
    /// Where all old pods end first, nothing is resized in proportion. More than one set there
    /// (one was made that the cache did not show yet when the template changed again) is for
    /// [`Roll::recreate`] to end. Upstream's isScalingEvent says yes, its scale does nothing, and
    /// the Deployment stays so for ever.
    pub(super) fn was_scaled(&self) -> bool {
        let wanted = self.deployment.replicas;
        let active: Vec<_> = self.sets.iter().filter(|set| set.replicas > 0).collect();
        if self.deployment.strategy == Strategy::Recreate && active.len() > 1 {
            return false;
        }
        active.iter().any(|set| {
            set.count(DESIRED_REPLICAS)
                .is_some_and(|size| size != wanted)
        })
    }

    /// Resizes the only set there is, or all of them in proportion, so that a resize is no step
    /// of the update.
    pub(super) fn scale(&mut self) {
        let wanted = self.deployment.replicas;
        let mut active: Vec<usize> = self.order.clone();
        active.retain(|at| self.sets[*at].replicas > 0);
        let only = match active.as_slice() {
            [] => self.new.or_else(|| self.old().last().copied()),
            [only] => Some(*only),
            _ => None,
        };
        if let Some(only) = only {
            self.resize(only, wanted, false);
            return;
        }
        if active.is_empty() {
            return;
        }
        let saturated = self.new.is_some_and(|new| {
            let set = &self.sets[new];
            set.replicas == wanted
                && set.count(DESIRED_REPLICAS) == Some(wanted)
                && set.available == wanted
        });
        if saturated {
            for at in self.active_old() {
                self.resize(at, 0, false);
            }
            return;
        }
        if matches!(self.deployment.strategy, Strategy::Rolling { .. }) {
            self.scale_in_proportion(active);
        }
    }

    fn scale_in_proportion(&mut self, mut active: Vec<usize>) {
        let wanted = self.deployment.replicas;
        let allowed = match wanted {
            0 => 0,
            wanted => wanted + self.deployment.max_surge(),
        };
        let sum: i64 = active.iter().map(|at| self.sets[*at].replicas).sum();
        let change = allowed - sum;
        active.sort_by(|a, b| {
            let (a, b) = (&self.sets[*a], &self.sets[*b]);
            let age = if change > 0 {
                by_age(b, a)
            } else {
                by_age(a, b)
            };
            b.replicas.cmp(&a.replicas).then(age)
        });
        let mut done = 0;
        let mut sizes: Vec<i64> = Vec::new();
        for at in &active {
            let part = match change {
                0 => 0,
                _ if change == done => 0,
                1.. => self.share(*at, allowed).min(change - done),
                _ => self.share(*at, allowed).max(change - done),
            };
            sizes.push(self.sets[*at].replicas + part);
            done += part;
        }
        // What rounding left over goes to the largest.
        if let Some(first) = sizes.first_mut() {
            *first = (*first + change - done).max(0);
        }
        for (at, size) in active.into_iter().zip(sizes) {
            self.resize(at, size, true);
        }
    }

    /// How much a set grows or shrinks when all grow from what they knew as the most to `most`.
    fn share(&self, set: usize, most: i64) -> i64 {
        let set = &self.sets[set];
        if self.deployment.replicas == 0 {
            return -set.replicas;
        }
        let before = set.count(MAX_REPLICAS).filter(|most| *most > 0);
        let before = before.unwrap_or(self.deployment.status.replicas);
        if before <= 0 {
            return 0;
        }
        // Rounded to the nearest; nothing here is negative.
        let size = (2 * set.replicas * most + before) / (2 * before);
        size - set.replicas
    }
}
