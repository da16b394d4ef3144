//! Pods that wait for a decision.
//!
//! ```text
//! new ─→ active ─pop→ popped ─bound→ gone
//!          ↑            │ failed            │ error
//!          │            ↓                   ↓
//!          ├─ backoff ←─ waiting        error backoff ─→ active
//!          └─────── 5 minutes ──┘
//! gated: out of the game until its scheduling gates are gone
//! ```
//! Active pods are ordered by priority, then by arrival. A pod that did not fit waits for an
//! event that helps against what refused it ([`hints`]), at most five minutes, and not before
//! its back-off (1 s … 10 s) is over, unless nothing else is to do. Pure: time is handed in.
//! Source: kubernetes v1.36.3 pkg/scheduler/backend/queue/{scheduling_queue,backoff_queue}.go.

mod hints;

pub use hints::Event;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use client::Key;

use crate::PodInfo;

const FIRST_BACKOFF: Millis = 1_000;
const LONGEST_BACKOFF: Millis = 10_000;
const LONGEST_WAIT: Millis = 300_000;
/// Pods whose back-off ends in the same second go by priority.
const WINDOW: Millis = 1_000;

/// Milliseconds on the caller's monotonic clock.
pub type Millis = u64;

/// See the module's header.
#[derive(Debug, Default)]
pub struct Queue {
    entries: HashMap<Key, Entry>,
    /// Ordered by negated priority, arrival.
    active: BTreeSet<(i64, u64, Key)>,
    /// Ordered by the end of the back-off, negated priority, arrival.
    backoff: BTreeSet<(Millis, i64, u64, Key)>,
    /// After errors: ordered by the end of the back-off. Nothing shortens it.
    errors: BTreeSet<(Millis, Key)>,
    /// Ordered by when they are tried again without any event.
    waiting: BTreeSet<(Millis, Key)>,
    /// How many waiting pods each plugin refused.
    refused_by: [u32; 32],
    arrivals: u64,
}

#[derive(Debug)]
struct Entry {
    pod: Arc<PodInfo>,
    arrival: u64,
    place: Place,
    failures: u32,
    errors: u32,
    /// Rows of the plugins that refused it last, as bits.
    plugins: u32,
    backoff_until: Millis,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Active,
    Backoff { until: Millis },
    Errors { until: Millis },
    Waiting { until: Millis },
    Popped,
    Gated,
}

impl Queue {
    /// Takes a new pod or the newer revision of a known one; gives back the older.
    pub fn set(&mut self, pod: impl Into<Arc<PodInfo>>, now: Millis) -> Option<Arc<PodInfo>> {
        let pod: Arc<PodInfo> = pod.into();
        let key = pod.key.clone();
        let Some(entry) = self.entries.get_mut(&key) else {
            self.add(pod);
            return None;
        };
        if entry.pod.uid != pod.uid {
            let old = entry.pod.clone();
            self.remove(&key);
            self.add(pod);
            return Some(old);
        }
        let old = std::mem::replace(&mut entry.pod, pod.clone());
        match entry.place {
            Place::Gated if pod.gates.is_empty() => self.activate(&key),
            Place::Waiting { .. } if hints::helps_itself(entry.plugins, &old, &pod) => {
                self.bring_back(&key, now);
            }
            _ => {}
        }
        Some(old)
    }

    fn add(&mut self, pod: Arc<PodInfo>) {
        let key = pod.key.clone();
        let gated = !pod.gates.is_empty();
        self.arrivals += 1;
        let entry = Entry {
            pod,
            arrival: self.arrivals,
            place: Place::Gated,
            failures: 0,
            errors: 0,
            plugins: 0,
            backoff_until: 0,
        };
        self.entries.insert(key.clone(), entry);
        if !gated {
            self.activate(&key);
        }
    }

    /// Forgets a pod: bound or gone.
    pub fn remove(&mut self, key: &Key) -> Option<Arc<PodInfo>> {
        self.leave(key);
        self.entries.remove(key).map(|entry| entry.pod)
    }

    /// A pod that is here, newest revision.
    pub fn get(&self, key: &Key) -> Option<&Arc<PodInfo>> {
        self.entries.get(key).map(|entry| &entry.pod)
    }

    /// The next pod to decide on.
    pub fn pop(&mut self, now: Millis) -> Option<Arc<PodInfo>> {
        self.wake(now);
        let first = self.active.first().map(|(_, _, key)| key);
        let early = || self.backoff.first().map(|(_, _, _, key)| key);
        let key = first.or_else(early)?.clone();
        self.leave(&key);
        let entry = self.entries.get_mut(&key)?;
        entry.place = Place::Popped;
        Some(entry.pod.clone())
    }

    /// Moves what has waited long enough.
    fn wake(&mut self, now: Millis) {
        let mut due: Vec<Key> = Vec::new();
        let backoff = self.backoff.iter().take_while(|entry| entry.0 <= now);
        due.extend(backoff.map(|entry| entry.3.clone()));
        for set in [&self.errors, &self.waiting] {
            let over = set.iter().take_while(|entry| entry.0 <= now);
            due.extend(over.map(|entry| entry.1.clone()));
        }
        for key in due {
            self.activate(&key);
        }
    }

    /// When [`Self::pop`] has something next, if only time passes.
    pub fn wakes_at(&self) -> Option<Millis> {
        if !self.active.is_empty() || !self.backoff.is_empty() {
            return Some(0);
        }
        let errors = self.errors.first().map(|entry| entry.0);
        let waiting = self.waiting.first().map(|entry| entry.0);
        errors.into_iter().chain(waiting).min()
    }

    /// The pod that [`Self::pop`] gave did not fit; `plugins` refused it (bits).
    pub fn failed(&mut self, key: &Key, now: Millis, plugins: u32) {
        self.arrivals += 1;
        let Some(entry) = popped(&mut self.entries, key) else {
            return;
        };
        entry.arrival = self.arrivals;
        entry.failures += 1;
        entry.errors = 0;
        entry.plugins = plugins;
        entry.backoff_until = now + backoff(entry.failures);
        let until = now + LONGEST_WAIT;
        entry.place = Place::Waiting { until };
        self.waiting.insert((until, key.clone()));
        self.count_refusals(plugins, true);
    }

    /// Something else went wrong with the pod that [`Self::pop`] gave.
    pub fn errored(&mut self, key: &Key, now: Millis) {
        self.arrivals += 1;
        let Some(entry) = popped(&mut self.entries, key) else {
            return;
        };
        entry.arrival = self.arrivals;
        entry.errors += 1;
        entry.plugins = 0;
        let until = now + backoff(entry.errors);
        entry.backoff_until = until;
        entry.place = Place::Errors { until };
        self.errors.insert((until, key.clone()));
    }

    /// Something changed: pods for which that helps come back.
    pub fn on_event(&mut self, event: &Event<'_>, now: Millis) {
        let interested = hints::interested(event);
        let anybody = |(row, count): (usize, &u32)| *count > 0 && interested & (1 << row) != 0;
        if !self.refused_by.iter().enumerate().any(anybody) {
            return;
        }
        let helped: Vec<Key> = self
            .waiting
            .iter()
            .filter(|(_, key)| {
                self.entries.get(key).is_some_and(|entry| {
                    hints::helps(event, entry.plugins & interested, &entry.pod)
                })
            })
            .map(|(_, key)| key.clone())
            .collect();
        for key in helped {
            self.bring_back(&key, now);
        }
    }

    /// Lets a waiting pod be tried next.
    pub fn activate_now(&mut self, key: &Key) {
        let waits = |entry: &Entry| matches!(entry.place, Place::Waiting { .. });
        if self.entries.get(key).is_some_and(waits) {
            self.activate(key);
        }
    }

    /// How many pods wait in any place.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn bring_back(&mut self, key: &Key, now: Millis) {
        let Some(entry) = self.entries.get(key) else {
            return;
        };
        let until = entry.backoff_until - entry.backoff_until % WINDOW;
        if until <= now {
            self.activate(key);
            return;
        }
        self.leave(key);
        if let Some(entry) = self.entries.get_mut(key) {
            entry.place = Place::Backoff { until };
            let priority = -entry.pod.priority;
            let place = (until, priority, entry.arrival, key.clone());
            self.backoff.insert(place);
        }
    }

    fn activate(&mut self, key: &Key) {
        self.leave(key);
        if let Some(entry) = self.entries.get_mut(key) {
            entry.place = Place::Active;
            let place = (-entry.pod.priority, entry.arrival, key.clone());
            self.active.insert(place);
        }
    }

    /// Out of whichever order it is in.
    fn leave(&mut self, key: &Key) {
        let Some(entry) = self.entries.get(key) else {
            return;
        };
        let priority = -entry.pod.priority;
        let (arrival, plugins) = (entry.arrival, entry.plugins);
        match entry.place {
            Place::Active => {
                self.active.remove(&(priority, arrival, key.clone()));
            }
            Place::Backoff { until } => {
                let place = (until, priority, arrival, key.clone());
                self.backoff.remove(&place);
            }
            Place::Errors { until } => {
                self.errors.remove(&(until, key.clone()));
            }
            Place::Waiting { until } => {
                self.waiting.remove(&(until, key.clone()));
                self.count_refusals(plugins, false);
            }
            Place::Popped | Place::Gated => {}
        }
    }

    fn count_refusals(&mut self, plugins: u32, more: bool) {
        for (row, count) in self.refused_by.iter_mut().enumerate() {
            if plugins & (1 << row) != 0 {
                *count = if more {
                    *count + 1
                } else {
                    count.saturating_sub(1)
                };
            }
        }
    }
}

fn popped<'a>(entries: &'a mut HashMap<Key, Entry>, key: &Key) -> Option<&'a mut Entry> {
    let entry = entries.get_mut(key)?;
    (entry.place == Place::Popped).then_some(entry)
}

fn backoff(times: u32) -> Millis {
    let factor = 1 << times.saturating_sub(1).min(10);
    (FIRST_BACKOFF * factor).min(LONGEST_BACKOFF)
}

#[cfg(test)]
mod tests;
