//! The store as anybody would write it who had no time: a copy of the state for every revision.

use std::collections::BTreeMap;

use bytes::Bytes;
use store::{Compare, EventKind, KeyValue, Op, Outcome, Revision, Txn};

/// A version of a key; `expires` in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) kv: KeyValue,
    pub(crate) expires: Option<i64>,
}

pub(crate) type State = BTreeMap<Bytes, Version>;

/// A change, as a watcher should be told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) kind: EventKind,
    pub(crate) key: Bytes,
    pub(crate) value: Bytes,
    pub(crate) revision: u64,
    pub(crate) prev: Option<KeyValue>,
}

/// See the module's header.
#[derive(Debug)]
pub(crate) struct Naive {
    /// State at every revision since the oldest that may still be asked for.
    pub(crate) states: BTreeMap<u64, State>,
    pub(crate) changes: BTreeMap<u64, Vec<Change>>,
    pub(crate) revision: u64,
    pub(crate) compacted: u64,
    /// Revisions between the two, exclusive, were skipped.
    pub(crate) gaps: Vec<(u64, u64)>,
}

impl Naive {
    pub(crate) fn new() -> Naive {
        Naive {
            states: BTreeMap::from([(0, State::new()), (1, State::new())]),
            changes: BTreeMap::new(),
            revision: 1,
            compacted: 0,
            gaps: Vec::new(),
        }
    }

    pub(crate) fn now(&self) -> &State {
        self.at(self.revision)
    }

    /// The state at a revision that was, or the last before it.
    pub(crate) fn at(&self, revision: u64) -> &State {
        let before = self.states.range(..=revision).next_back();
        before
            .map(|(_, state)| state)
            .expect("there is a first state")
    }

    pub(crate) fn apply(&mut self, txn: &Txn, now_ms: i64) -> Outcome {
        let mut state = self.now().clone();
        for Compare::Revision { key, revision } in &txn.compares {
            let current = state.get(key).map(|version| version.kv.clone());
            let at = current.as_ref().map_or(Revision(0), |kv| kv.mod_revision);
            if at != *revision {
                let key = key.clone();
                return Outcome::Conflict { key, current };
            }
        }
        let revision = self.revision + 1;
        let mut changes = Vec::new();
        for op in &txn.ops {
            let key = op.key().clone();
            let prev = state.get(&key).map(|version| version.kv.clone());
            let (kind, value) = match op {
                Op::Put { value, ttl, .. } => {
                    let created = prev
                        .as_ref()
                        .map_or(Revision(revision), |p| p.create_revision);
                    let kv = KeyValue {
                        key: key.clone(),
                        value: value.clone(),
                        create_revision: created,
                        mod_revision: Revision(revision),
                    };
                    let lives = ttl.map(|ttl| i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX));
                    let expires = lives.map(|lives| now_ms + lives);
                    state.insert(key.clone(), Version { kv, expires });
                    (EventKind::Put, value.clone())
                }
                Op::Delete { .. } if state.remove(&key).is_none() => continue,
                Op::Delete { .. } => (EventKind::Delete, Bytes::new()),
            };
            changes.push(Change {
                kind,
                key,
                value,
                revision,
                prev,
            });
        }
        if !changes.is_empty() {
            self.revision = revision;
            self.states.insert(revision, state);
            self.changes.insert(revision, changes);
        }
        Outcome::Committed {
            revision: Revision(self.revision),
        }
    }

    /// Deletes what is due, each in a revision of its own.
    pub(crate) fn expire(&mut self, now_ms: i64) {
        let due = self.now().values().filter_map(|version| {
            let expires = version.expires.filter(|at| *at <= now_ms)?;
            Some((expires, version.kv.key.clone()))
        });
        let mut due: Vec<_> = due.collect();
        due.sort();
        for (_, key) in due {
            let ops = vec![Op::Delete { key }];
            self.apply(
                &Txn {
                    ops,
                    ..Txn::default()
                },
                now_ms,
            );
        }
    }

    /// What a watcher of `prefix` is told behind `from`, up to and including `upto`.
    pub(crate) fn told(&self, prefix: &[u8], from: u64, upto: u64) -> Vec<Change> {
        let changes = self
            .changes
            .range(from + 1..)
            .take_while(|(at, _)| **at <= upto);
        let under = |change: &&Change| change.key.starts_with(prefix);
        let changes = changes.flat_map(|(_, changes)| changes).filter(under);
        changes.cloned().collect()
    }

    /// Whether a revision can be read and watched from.
    pub(crate) fn knows(&self, revision: u64) -> Known {
        let lost = |&(low, high): &(u64, u64)| low < revision && revision < high;
        if revision > self.revision {
            Known::Future
        } else if revision < self.compacted || self.gaps.iter().any(lost) {
            Known::Compacted
        } else {
            Known::Yes
        }
    }

    /// Forgets states that nobody may ask for, and changes that everybody was told up to `told`.
    pub(crate) fn trim(&mut self, told: u64) {
        let first = self.states.range(..=self.compacted).next_back();
        let first = first.map_or(0, |(at, _)| *at);
        self.states = self.states.split_off(&first);
        self.changes = self.changes.split_off(&(self.compacted.min(told) + 1));
    }
}

/// See [`Naive::knows`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Yes,
    Compacted,
    Future,
}
