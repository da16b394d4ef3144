//! Pods that wait for a decision: active → (failed) unschedulable or back-off → active again.
//!
//! Active pods are ordered by priority, then by arrival. A pod that did not fit waits until an
//! event could have changed that, at most five minutes, and not before its back-off (1 s … 10 s)
//! is over. Pure: time is handed in. Source for the semantics: kubernetes v1.36
//! pkg/scheduler/backend/queue/scheduling_queue.go.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use client::Key;

use crate::PodInfo;

const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Milliseconds on the caller's monotonic clock.
pub type Millis = u64;

/// What may let a waiting pod fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A node appeared or changed in a way that counts.
    Node,
    /// A pod left a node.
    PodGone,
}

/// See the module's header.
#[derive(Debug, Default)]
pub struct Queue {
    entries: HashMap<Key, Entry>,
    /// Ordered by negated priority, arrival.
    active: BTreeSet<(i64, u64, Key)>,
    /// Ordered by the time at which they become active.
    delayed: BTreeSet<(Millis, Key)>,
    arrivals: u64,
}

#[derive(Debug)]
struct Entry {
    pod: PodInfo,
    arrival: u64,
    attempts: u32,
    place: Place,
    backoff_until: Millis,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Active,
    Delayed { until: Millis, by_event: bool },
    Deciding { moved: bool },
    Gated,
}

impl Queue {
    /// Takes a new pod or the newer revision of a waiting one.
    pub fn set(&mut self, pod: PodInfo) {
        let key = pod.key.clone();
        let attempts_before = self.take(&key);
        let gated = !pod.gates.is_empty();
        self.arrivals += 1;
        let (arrival, attempts, backoff_until) = attempts_before.unwrap_or((self.arrivals, 0, 0));
        let entry = Entry {
            pod,
            arrival,
            attempts,
            place: Place::Gated,
            backoff_until,
        };
        self.entries.insert(key.clone(), entry);
        if !gated {
            self.activate(&key);
        }
    }

    /// Forgets a pod: bound or gone.
    pub fn remove(&mut self, key: &Key) {
        self.take(key);
    }

    /// The next pod to decide on.
    pub fn pop(&mut self, now: Millis) -> Option<PodInfo> {
        while let Some((until, key)) = self.delayed.first().cloned() {
            if until > now {
                break;
            }
            self.delayed.pop_first();
            self.activate(&key);
        }
        let (_, _, key) = self.active.pop_first()?;
        let entry = self.entries.get_mut(&key)?;
        entry.attempts += 1;
        entry.place = Place::Deciding { moved: false };
        Some(entry.pod.clone())
    }

    /// When [`Self::pop`] has something next, if only time passes.
    pub fn wakes_at(&self) -> Option<Millis> {
        if !self.active.is_empty() {
            return Some(0);
        }
        self.delayed.first().map(|(until, _)| *until)
    }

    /// The pod that [`Self::pop`] gave did not fit, or its binding failed (`retry_soon`).
    pub fn failed(&mut self, key: &Key, now: Millis, retry_soon: bool) {
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        let Place::Deciding { moved } = entry.place else {
            return;
        };
        let factor = 1_u32 << entry.attempts.saturating_sub(1).min(10);
        let backoff = FIRST_BACKOFF.saturating_mul(factor).min(LONGEST_BACKOFF);
        entry.backoff_until = now + millis(backoff);
        let until = if moved || retry_soon {
            entry.backoff_until
        } else {
            now + millis(LONGEST_WAIT)
        };
        entry.place = Place::Delayed {
            until,
            by_event: !(moved || retry_soon),
        };
        self.delayed.insert((until, key.clone()));
    }

    /// Something changed: pods that wait for an event get their next try.
    pub fn on_event(&mut self, _event: Event) {
        let mut moved = Vec::new();
        for (key, entry) in &mut self.entries {
            match &mut entry.place {
                Place::Delayed { until, by_event } if *by_event => {
                    moved.push((*until, entry.backoff_until, key.clone()));
                    (*until, *by_event) = (entry.backoff_until, false);
                }
                Place::Deciding { moved } => *moved = true,
                _ => {}
            }
        }
        for (old, new, key) in moved {
            self.delayed.remove(&(old, key.clone()));
            self.delayed.insert((new, key));
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

    fn activate(&mut self, key: &Key) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.place = Place::Active;
            self.active
                .insert((-entry.pod.priority, entry.arrival, key.clone()));
        }
    }

    fn take(&mut self, key: &Key) -> Option<(u64, u32, Millis)> {
        let entry = self.entries.remove(key)?;
        match entry.place {
            Place::Active => {
                self.active
                    .remove(&(-entry.pod.priority, entry.arrival, key.clone()));
            }
            Place::Delayed { until, .. } => {
                self.delayed.remove(&(until, key.clone()));
            }
            Place::Deciding { .. } | Place::Gated => {}
        }
        Some((entry.arrival, entry.attempts, entry.backoff_until))
    }
}

fn millis(duration: Duration) -> Millis {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests;
