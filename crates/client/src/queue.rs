//! The work queue of a controller: each key at most once in line, never worked on twice at a time.
//!
//! A key added while it is worked on comes again when its worker is done. Failures come back with
//! exponential delay; success forgets the failures. Source for the semantics: kubernetes v1.36
//! client-go util/workqueue/{queue,delaying_queue,default_rate_limiters}.go.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// See the module's header.
#[derive(Debug)]
pub struct WorkQueue<K> {
    state: Mutex<State<K>>,
    changed: Notify,
}

#[derive(Debug)]
struct State<K> {
    line: VecDeque<K>,
    waiting: HashSet<K>,
    active: HashSet<K>,
    later: BinaryHeap<Reverse<(Instant, u64)>>,
    later_keys: HashMap<u64, K>,
    /// The earliest due time of each delayed key: adding it again only brings it forward.
    due: HashMap<K, (Instant, u64)>,
    failures: HashMap<K, u32>,
    sequence: u64,
}

const FIRST_DELAY: Duration = Duration::from_millis(5);
const LONGEST_DELAY: Duration = Duration::from_secs(1000);

impl<K: Clone + Eq + Hash> Default for WorkQueue<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Clone + Eq + Hash> WorkQueue<K> {
    /// Empty.
    pub fn new() -> Self {
        Self {
            state: Mutex::new(State {
                line: VecDeque::new(),
                waiting: HashSet::new(),
                active: HashSet::new(),
                later: BinaryHeap::new(),
                later_keys: HashMap::new(),
                due: HashMap::new(),
                failures: HashMap::new(),
                sequence: 0,
            }),
            changed: Notify::new(),
        }
    }

    /// Puts `key` in line unless it waits already.
    pub fn add(&self, key: K) {
        self.state.lock().add(key);
        self.changed.notify_one();
    }

    /// Puts `key` in line after `delay`.
    pub fn add_after(&self, key: K, delay: Duration) {
        {
            let mut state = self.state.lock();
            let at = Instant::now() + delay;
            if state.due.get(&key).is_some_and(|(due, _)| *due <= at) {
                return;
            }
            if let Some((_, stale)) = state.due.get(&key).copied() {
                state.later_keys.remove(&stale);
            }
            state.sequence += 1;
            let ticket = state.sequence;
            state.later.push(Reverse((at, ticket)));
            state.later_keys.insert(ticket, key.clone());
            state.due.insert(key, (at, ticket));
        }
        self.changed.notify_one();
    }

    /// Puts `key` in line after a delay that doubles with each failure since [`Self::forget`].
    pub fn retry(&self, key: K) {
        let delay = {
            let mut state = self.state.lock();
            let failures = state.failures.entry(key.clone()).or_insert(0);
            let delay = FIRST_DELAY
                .saturating_mul(1 << (*failures).min(20))
                .min(LONGEST_DELAY);
            *failures += 1;
            delay
        };
        self.add_after(key, delay);
    }

    /// How often `key` failed since it was last forgotten.
    pub fn failures(&self, key: &K) -> u32 {
        self.state.lock().failures.get(key).copied().unwrap_or(0)
    }

    /// Clears the failures of `key`.
    pub fn forget(&self, key: &K) {
        self.state.lock().failures.remove(key);
    }

    /// The next key; the caller calls [`Self::done`] with it afterwards.
    pub async fn next(&self) -> K {
        loop {
            let wake_at = {
                let mut state = self.state.lock();
                let now = Instant::now();
                while let Some(Reverse((at, ticket))) = state.later.peek().copied() {
                    let stale = !state.later_keys.contains_key(&ticket);
                    if !stale && at > now {
                        break;
                    }
                    state.later.pop();
                    if let Some(key) = state.later_keys.remove(&ticket) {
                        state.due.remove(&key);
                        state.add(key);
                    }
                }
                if let Some(key) = state.line.pop_front() {
                    state.waiting.remove(&key);
                    state.active.insert(key.clone());
                    if !state.line.is_empty() {
                        // Another worker may sleep although there is more to do.
                        self.changed.notify_one();
                    }
                    return key;
                }
                state.later.peek().map(|Reverse((at, _))| *at)
            };
            match wake_at {
                Some(at) => tokio::select! {
                    biased;
                    () = self.changed.notified() => {}
                    () = tokio::time::sleep_until(at) => {}
                },
                None => self.changed.notified().await,
            }
        }
    }

    /// Ends the work on `key`; if it was added meanwhile it gets in line again.
    pub fn done(&self, key: &K) {
        let again = {
            let mut state = self.state.lock();
            state.active.remove(key);
            let again = state.waiting.contains(key);
            if again {
                state.line.push_back(key.clone());
            }
            again
        };
        if again {
            self.changed.notify_one();
        }
    }

    /// How many keys wait, delayed ones not counted.
    pub fn len(&self) -> usize {
        self.state.lock().line.len()
    }

    /// Whether no key waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K: Clone + Eq + Hash> State<K> {
    fn add(&mut self, key: K) {
        if !self.waiting.insert(key.clone()) || self.active.contains(&key) {
            return;
        }
        self.line.push_back(key);
    }
}

#[cfg(test)]
mod tests;
