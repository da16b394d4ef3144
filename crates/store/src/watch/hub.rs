//! Who gets which event, and the bounded queue of each watcher.
//!
//! Lock order: hub, then channel; never either together with the view.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::mutants::{Mutant, planted};
use crate::watch::WatchBatch;
use crate::{Event, Revision};

/// Events that wait in one watcher's queue before it counts as stuck. One batch more than that
/// may wait: a single batch is always taken.
pub(crate) const QUEUE_EVENTS: usize = if cfg!(test) { 32 } else { 1024 };

/// All watchers of a store.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    published: u64,
    closed: bool,
    /// Current watchers by prefix.
    current: BTreeMap<Bytes, Vec<Arc<Channel>>>,
    /// All watchers that are not current; woken only by the end of the store.
    others: Vec<Arc<Channel>>,
}

/// The writer's end and the watcher's end of one watch.
#[derive(Debug)]
pub(crate) struct Channel {
    prefix: Bytes,
    queue: Mutex<Queue>,
    notify: Notify,
}

#[derive(Debug)]
struct Queue {
    place: Place,
    batches: VecDeque<WatchBatch>,
    events: usize,
    /// Everything up to here was delivered or queued.
    upto: u64,
    progress_wanted: bool,
    closed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Current,
    /// With batches still queued: stuck.
    Lagging,
}

/// What a watcher found in its channel.
pub(crate) enum Taken {
    Batch(WatchBatch),
    Nothing,
    Lagging(u64),
    ProgressWanted,
    Closed,
}

impl Channel {
    pub(crate) fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    pub(crate) async fn wait(&self) {
        self.notify.notified().await;
    }

    pub(crate) fn request_progress(&self) {
        self.queue.lock().progress_wanted = true;
        self.notify.notify_one();
    }

    pub(crate) fn take(&self) -> Taken {
        let mut queue = self.queue.lock();
        if planted(Mutant::ProgressAhead) && queue.progress_wanted {
            return Taken::ProgressWanted;
        }
        if let Some(batch) = queue.batches.pop_front() {
            queue.events -= batch.events.len();
            return Taken::Batch(batch);
        }
        match queue.place {
            _ if queue.closed => Taken::Closed,
            Place::Lagging => Taken::Lagging(queue.upto),
            Place::Current if queue.progress_wanted => Taken::ProgressWanted,
            Place::Current => Taken::Nothing,
        }
    }

    /// Takes `events` into the queue; false: it is full, and the watcher is now stuck.
    fn push(&self, events: &Arc<[Event]>, revision: Revision) -> bool {
        let mut queue = self.queue.lock();
        let seen = events.partition_point(|event| event.kv.mod_revision.0 <= queue.upto);
        let fresh = events.len() - seen;
        if fresh > 0 {
            if !queue.batches.is_empty() && queue.events + fresh > QUEUE_EVENTS {
                if planted(Mutant::StuckSkips) {
                    queue.upto = queue.upto.max(revision.0);
                    return true;
                }
                queue.place = Place::Lagging;
                return false;
            }
            let events = if seen == 0 {
                Arc::clone(events)
            } else {
                Arc::from(&events[seen..])
            };
            queue.events += fresh;
            queue.batches.push_back(WatchBatch { events, revision });
        }
        queue.upto = queue.upto.max(revision.0);
        drop(queue);
        self.notify.notify_one();
        true
    }
}

impl Hub {
    /// Starts at a revision without telling anybody: what was loaded is not news.
    pub(crate) fn start(&self, revision: u64) {
        self.state.lock().published = revision;
    }

    pub(crate) fn subscribe(&self, prefix: Bytes, from: u64) -> Arc<Channel> {
        let mut state = self.state.lock();
        let queue = Queue {
            place: Place::Lagging,
            batches: VecDeque::new(),
            events: 0,
            upto: from,
            progress_wanted: false,
            closed: state.closed,
        };
        let channel = Arc::new(Channel {
            prefix,
            queue: Mutex::new(queue),
            notify: Notify::new(),
        });
        state.others.push(Arc::clone(&channel));
        channel
    }

    pub(crate) fn unsubscribe(&self, channel: &Arc<Channel>) {
        let mut state = self.state.lock();
        state.others.retain(|other| !Arc::ptr_eq(other, channel));
        if let Some(group) = state.current.get_mut(&channel.prefix) {
            group.retain(|other| !Arc::ptr_eq(other, channel));
            if group.is_empty() {
                state.current.remove(&channel.prefix);
            }
        }
    }

    /// A lagging watcher has read the history up to `upto`.
    pub(crate) fn caught_up(&self, channel: &Arc<Channel>, upto: u64) {
        let mut state = self.state.lock();
        let mut queue = channel.queue.lock();
        base::always!(upto >= queue.upto, "a watcher never goes back");
        queue.upto = upto;
        if upto >= state.published && queue.place == Place::Lagging {
            queue.place = Place::Current;
            drop(queue);
            state.others.retain(|other| !Arc::ptr_eq(other, channel));
            state
                .current
                .entry(channel.prefix.clone())
                .or_default()
                .push(Arc::clone(channel));
        }
    }

    /// The answer to a request for progress, if the watcher is current and has read all.
    pub(crate) fn progress(&self, channel: &Arc<Channel>) -> Option<WatchBatch> {
        let state = self.state.lock();
        let mut queue = channel.queue.lock();
        if planted(Mutant::ProgressAhead) {
            queue.progress_wanted = false;
            let (events, revision) = (Arc::from([]), Revision(state.published));
            return Some(WatchBatch { events, revision });
        }
        if let Some(batch) = queue.batches.pop_front() {
            queue.events -= batch.events.len();
            return Some(batch);
        }
        queue.progress_wanted = false;
        queue.upto = queue.upto.max(state.published);
        Some(WatchBatch {
            events: Arc::from([]),
            revision: Revision(queue.upto),
        })
    }

    /// Hands a published batch to the current watchers.
    pub(crate) fn publish(&self, revision: u64, events: impl FnOnce() -> Vec<Event>) {
        let mut state = self.state.lock();
        base::always!(revision >= state.published, "revisions never go back");
        state.published = revision;
        if state.current.is_empty() {
            return;
        }
        let mut events = events();
        if planted(Mutant::LostDelete) && revision.is_multiple_of(5) {
            events.retain(|event| event.kind == crate::EventKind::Put);
        }
        for (prefix, matched) in state.matches(&events) {
            let shared: Arc<[Event]> = if matched.len() == events.len() {
                Arc::from(&events[..])
            } else {
                matched
                    .into_iter()
                    .map(|index| events[index].clone())
                    .collect()
            };
            let state = &mut *state;
            let Some(group) = state.current.get_mut(&prefix) else {
                continue;
            };
            let full = group.extract_if(.., |channel| !channel.push(&shared, Revision(revision)));
            state.others.extend(full);
            if group.is_empty() {
                state.current.remove(&prefix);
            }
        }
    }

    /// Ends all watches.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        for channel in state.current.values().flatten().chain(&state.others) {
            channel.queue.lock().closed = true;
            channel.notify.notify_one();
        }
    }
}

impl State {
    /// For each watched prefix, which of the events it has.
    fn matches(&self, events: &[Event]) -> BTreeMap<Bytes, Vec<usize>> {
        let mut matches: BTreeMap<Bytes, Vec<usize>> = BTreeMap::new();
        for (index, event) in events.iter().enumerate() {
            let key = &event.kv.key[..];
            let mut bound = Bound::Included(key);
            // The greatest watched prefix that is not behind the key either matches, or says how
            // much of the key a shorter one can share.
            while let Some((prefix, _)) = self
                .current
                .range::<[u8], _>((Bound::Unbounded, bound))
                .next_back()
            {
                let common = prefix.iter().zip(key).take_while(|(a, b)| a == b).count();
                if common == prefix.len() {
                    match matches.get_mut(prefix) {
                        Some(indices) => indices.push(index),
                        None => {
                            matches.insert(prefix.clone(), vec![index]);
                        }
                    }
                    bound = Bound::Excluded(prefix);
                } else {
                    bound = Bound::Included(&key[..common]);
                }
            }
        }
        matches
    }
}
