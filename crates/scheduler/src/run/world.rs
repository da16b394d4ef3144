//! Queue and snapshot behind one lock, and the step that decides.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base::Rng;
use client::Key;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::decide::{Decision, Failure, Nomination, Preemption, decide};
use crate::run::millis;
use crate::run::write::Report;
use crate::{Event, Millis, NodeInfo, PodInfo, Queue, Snapshot};

/// See the module's header.
pub(super) struct World {
    state: Mutex<State>,
    changed: Notify,
    start: Instant,
    name: String,
}

/// What everything is decided from.
#[derive(Default)]
pub(super) struct State {
    pub(super) queue: Queue,
    pub(super) snapshot: Snapshot,
    /// Decided, not yet seen bound: key → uid.
    assumed: HashMap<Key, String>,
}

/// What the loop does next.
pub(super) enum Next {
    Bind(Arc<PodInfo>, String),
    Failed(Box<Failed>),
    /// Nothing before that time, unless something changes.
    Wait(Option<Millis>),
}

/// A pod that has no node now.
pub(super) struct Failed {
    pub(super) report: Report,
    pub(super) preemption: Option<Preemption>,
    /// Pods of lower priority that waited for the node.
    pub(super) cleared: Vec<Report>,
}

impl World {
    pub(super) fn new(name: String) -> Self {
        Self {
            state: Mutex::new(State::default()),
            changed: Notify::new(),
            start: Instant::now(),
            name,
        }
    }

    pub(super) fn now(&self) -> Millis {
        millis(self.start.elapsed())
    }

    /// Changes the state and lets the loop look again.
    pub(super) fn change(&self, change: impl FnOnce(&mut State, Millis)) {
        change(&mut self.state.lock(), self.now());
        self.changed.notify_one();
    }

    pub(super) async fn wait(&self, until: Option<Millis>) {
        match until {
            Some(at) => {
                let at = self.start + Duration::from_millis(at + 1);
                tokio::select! {
                    biased;
                    () = self.changed.notified() => {}
                    () = tokio::time::sleep_until(at) => {}
                }
            }
            None => self.changed.notified().await,
        }
    }

    pub(super) fn decide_next(&self, rng: &mut Rng) -> Next {
        let mut state = self.state.lock();
        let now = self.now();
        let Some(pod) = state.queue.pop(now) else {
            return Next::Wait(state.queue.wakes_at());
        };
        match decide(&mut state.snapshot, &pod, rng) {
            Decision::Node(node) => {
                // Counts at once, so that the next decision sees it.
                state.snapshot.nominate(&pod, None);
                let mut assumed = PodInfo::clone(&pod);
                assumed.node_name.clone_from(&node);
                state.snapshot.set_pod(assumed);
                state.assumed.insert(pod.key.clone(), pod.uid.clone());
                Next::Bind(pod, node)
            }
            Decision::Unschedulable(failure) => state.failed(pod, *failure, now),
        }
    }

    /// The newest revision of a pending pod.
    pub(super) fn newest(&self, pod: &PodInfo) -> Option<Arc<PodInfo>> {
        let state = self.state.lock();
        let newest = state.queue.get(&pod.key);
        newest.filter(|newest| newest.uid == pod.uid).cloned()
    }

    pub(super) fn binding_failed(&self, pod: &PodInfo) {
        self.change(|state, now| {
            if state.assumed.remove(&pod.key).is_none() {
                return;
            }
            if let Some(assumed) = state.snapshot.remove_pod(&pod.key) {
                state.queue.on_event(&Event::PodRemoved(&assumed), now);
            }
            state.queue.errored(&pod.key, now);
        });
    }

    pub(super) fn on_pod(&self, key: &Key, new: Option<PodInfo>) {
        self.change(|state, now| match new {
            Some(pod) if !pod.node_name.is_empty() => state.pod_on_node(pod, now),
            Some(pod) if !pod.terminating && !pod.finished && pod.scheduler_name == self.name => {
                state.pod_pending(pod, now);
            }
            _ => state.pod_gone(key, now),
        });
    }

    pub(super) fn on_node(&self, name: &str, new: Option<NodeInfo>) {
        self.change(|state, now| match new {
            Some(node) => {
                let old = state.snapshot.set_node(node);
                let (queue, snapshot) = (&mut state.queue, &state.snapshot);
                match (old, snapshot.node(name)) {
                    (Some(old), Some(new)) if old != *new => {
                        queue.on_event(&Event::NodeUpdated(&old, new), now);
                    }
                    (None, Some(new)) => queue.on_event(&Event::NodeAdded(new), now),
                    _ => {}
                }
            }
            None => {
                if let Some(old) = state.snapshot.remove_node(name) {
                    state.queue.on_event(&Event::NodeRemoved(&old), now);
                }
            }
        });
    }
}

impl State {
    fn failed(&mut self, pod: Arc<PodInfo>, failure: Failure, now: Millis) -> Next {
        self.queue.failed(&pod.key, now, failure.plugins);
        let mut cleared = Vec::new();
        match &failure.nomination {
            Nomination::Keep => {}
            Nomination::Clear => self.snapshot.nominate(&pod, None),
            Nomination::To(node) => {
                let lower: Vec<_> = self.snapshot.nominated_to(node).to_vec();
                for other in lower.into_iter().filter(|o| o.priority < pod.priority) {
                    self.snapshot.nominate(&other, None);
                    self.queue.activate_now(&other.key);
                    cleared.push(Report::cleared(other));
                }
                self.snapshot.nominate(&pod, Some(node));
            }
        }
        Next::Failed(Box::new(Failed {
            report: Report::unschedulable(pod, failure.message, failure.nomination),
            preemption: failure.preemption,
            cleared,
        }))
    }

    fn pod_on_node(&mut self, pod: PodInfo, now: Millis) {
        let key = pod.key.clone();
        let waited = self.queue.remove(&key);
        if let Some(waited) = waited {
            self.snapshot.nominate(&waited, None);
        }
        let assumed = self.assumed.remove(&key).is_some();
        let finished = pod.finished;
        let old = self.snapshot.set_pod(pod);
        let (queue, new) = (&mut self.queue, self.snapshot.pod(&key));
        match (old, new) {
            (Some(old), _) if finished => queue.on_event(&Event::PodRemoved(&old), now),
            (Some(old), Some(new)) if !assumed => {
                queue.on_event(&Event::PodUpdated(&old, new), now);
            }
            (_, Some(new)) => queue.on_event(&Event::PodAdded(new), now),
            _ => {}
        }
    }

    fn pod_pending(&mut self, pod: PodInfo, now: Millis) {
        let key = pod.key.clone();
        if self.assumed.get(&key) == Some(&pod.uid) {
            self.queue.set(pod, now);
            return;
        }
        let pod = Arc::new(pod);
        let old = self.queue.set(pod.clone(), now);
        let before = old.as_ref().map_or("", |old| old.nominated.as_str());
        if pod.nominated.is_empty() && before.is_empty() {
            // What was decided here may not have been written yet: it stays.
            if let Some(node) = self.snapshot.nomination(&key).map(str::to_owned) {
                self.snapshot.nominate(&pod, Some(&node));
            }
            return;
        }
        let node = Some(pod.nominated.as_str()).filter(|node| !node.is_empty());
        self.snapshot.nominate(&pod, node);
        if let Some(old) = old.filter(|old| !old.nominated.is_empty())
            && old.nominated != pod.nominated
        {
            self.queue.on_event(&Event::PodRemoved(&old), now);
        }
    }

    fn pod_gone(&mut self, key: &Key, now: Millis) {
        self.assumed.remove(key);
        if let Some(waited) = self.queue.remove(key)
            && self.snapshot.nomination(key).is_some()
        {
            self.snapshot.nominate(&waited, None);
            self.queue.on_event(&Event::PodRemoved(&waited), now);
        }
        if let Some(old) = self.snapshot.remove_pod(key) {
            self.queue.on_event(&Event::PodRemoved(&old), now);
        }
    }
}

#[cfg(test)]
mod tests;
