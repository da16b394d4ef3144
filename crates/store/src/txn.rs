//! What goes in and what comes out: transactions, ranges, events.
//!
//! Plain data; the rules that act on it live in `mvcc`.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::{Marks, StoreError};

/// Longest key.
pub const MAX_KEY_BYTES: usize = 4096;
/// Largest value.
pub const MAX_VALUE_BYTES: usize = 8 << 20;
/// Most operations in one transaction.
pub const MAX_OPS: usize = 1024;

/// A point in the history of the whole store; 0 is "never".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A key with its value. Key and value share one buffer; a clone copies nothing, and either of
/// them kept alone keeps both in memory.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// The value; empty in a delete event.
    pub value: Bytes,
    /// When the key was created (after its last deletion); 0 in a delete event.
    pub create_revision: Revision,
    /// When this value was written.
    pub mod_revision: Revision,
}

impl fmt::Debug for KeyValue {
    /// Without the value, which may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let KeyValue {
            key,
            value,
            create_revision,
            mod_revision,
        } = self;
        write!(
            f,
            "{key:?}@{create_revision}/{mod_revision} ({} bytes)",
            value.len()
        )
    }
}

/// A condition on the state before the transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The key was last modified at this revision; 0: the key is absent.
    Revision {
        /// The key.
        key: Bytes,
        /// Its expected `mod_revision`.
        revision: Revision,
    },
}

/// One change.
#[derive(Clone, PartialEq, Eq)]
pub enum Op {
    /// Writes a value.
    Put {
        /// The key.
        key: Bytes,
        /// The value.
        value: Bytes,
        /// Deletes the key that long after the write; a later put starts anew.
        ttl: Option<Duration>,
    },
    /// Deletes a key; an absent key is left alone.
    Delete {
        /// The key.
        key: Bytes,
    },
}

impl fmt::Debug for Op {
    /// Without the value, which may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::Put { key, value, .. } => write!(f, "put {key:?} ({} bytes)", value.len()),
            Op::Delete { key } => write!(f, "delete {key:?}"),
        }
    }
}

impl Op {
    /// The key that it changes.
    pub fn key(&self) -> &Bytes {
        match self {
            Op::Put { key, .. } | Op::Delete { key } => key,
        }
    }
}

/// How much an answer promises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// On disk: survives a power cut.
    #[default]
    Durable,
    /// With the operating system: survives `kill -9`, and a power cut after at most one second.
    /// For Events, node Leases and heartbeats.
    Relaxed,
}

/// All of `ops`, in one revision, if all of `compares` hold. No key twice in `ops`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// Conditions.
    pub compares: Vec<Compare>,
    /// Changes.
    pub ops: Vec<Op>,
    /// Promise.
    pub durability: Durability,
}

impl Txn {
    /// Creates `key`; a conflict if it exists.
    pub fn create(key: Bytes, value: Bytes) -> Txn {
        Txn::update(key, value, Revision(0))
    }

    /// Replaces `key` as it was at `revision`.
    pub fn update(key: Bytes, value: Bytes, revision: Revision) -> Txn {
        let compares = vec![Compare::Revision {
            key: key.clone(),
            revision,
        }];
        Txn {
            compares,
            ops: vec![Op::Put {
                key,
                value,
                ttl: None,
            }],
            ..Txn::default()
        }
    }

    /// Deletes `key` as it was at `revision`.
    pub fn delete(key: Bytes, revision: Revision) -> Txn {
        let compares = vec![Compare::Revision {
            key: key.clone(),
            revision,
        }];
        Txn {
            compares,
            ops: vec![Op::Delete { key }],
            ..Txn::default()
        }
    }

    /// The same with the weaker promise.
    pub fn relaxed(mut self) -> Txn {
        self.durability = Durability::Relaxed;
        self
    }

    /// The same with a time to live on every put.
    pub fn with_ttl(mut self, lifetime: Duration) -> Txn {
        for op in &mut self.ops {
            if let Op::Put { ttl, .. } = op {
                *ttl = Some(lifetime);
            }
        }
        self
    }

    /// Key of the first operation or compare, for messages.
    pub(crate) fn name(&self) -> String {
        let first = self.ops.first().map(Op::key);
        let key = first.or_else(|| {
            self.compares
                .first()
                .map(|Compare::Revision { key, .. }| key)
        });
        key.map_or_else(String::new, |key| String::from_utf8_lossy(key).into_owned())
    }

    /// Bytes of keys and values.
    pub(crate) fn bytes(&self) -> usize {
        let of = |op: &Op| match op {
            Op::Put { key, value, .. } => key.len() + value.len(),
            Op::Delete { key } => key.len(),
        };
        self.ops.iter().map(of).sum()
    }

    /// Refuses what no state of the store could accept.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        if self.ops.len() > MAX_OPS || self.compares.len() > MAX_OPS {
            let ops = self.ops.len().max(self.compares.len());
            return Err(StoreError::TooManyOps {
                ops,
                limit: MAX_OPS,
            });
        }
        let mut keys: Vec<&Bytes> = self.ops.iter().map(Op::key).collect();
        keys.sort_unstable();
        if let Some(pair) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(StoreError::DuplicateKey {
                key: display(pair[0]),
            });
        }
        for op in &self.ops {
            let key = op.key();
            if key.is_empty() {
                return Err(StoreError::EmptyKey);
            }
            let value = if let Op::Put { value, .. } = op {
                value.len()
            } else {
                0
            };
            for (bytes, limit) in [(key.len(), MAX_KEY_BYTES), (value, MAX_VALUE_BYTES)] {
                if bytes > limit {
                    let key = display(&key[..key.len().min(256)]);
                    return Err(StoreError::TooLarge { key, bytes, limit });
                }
            }
        }
        Ok(())
    }
}

/// A key for a message.
pub(crate) fn display(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All operations took effect at this revision (the head, if there was nothing to change).
    Committed {
        /// The `mod_revision` of every key written.
        revision: Revision,
    },
    /// A compare did not hold; nothing changed.
    Conflict {
        /// The first key that differs.
        key: Bytes,
        /// What is there instead.
        current: Option<KeyValue>,
    },
}

/// Which keys to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// First key.
    pub start: Bytes,
    /// First key that no longer belongs to the range; empty: no end.
    pub end: Bytes,
    /// State to read; the newest without it.
    pub at: Option<Revision>,
    /// Passes over values that surely lack some of these, if the store knows its values' marks
    /// ([`Config::marker`](crate::Config::marker)); of the others some lack them too.
    pub having: Marks,
    /// Most items; 0: all.
    pub limit: usize,
    /// Whether [`Page::remaining`] is wanted (counting costs a walk over the rest).
    pub count: bool,
}

impl Range {
    /// All keys that start with `prefix`.
    pub fn prefix(prefix: &[u8]) -> Range {
        Range {
            start: Bytes::copy_from_slice(prefix),
            end: Bytes::from(end_of_prefix(prefix)),
            at: None,
            having: Marks::NONE,
            limit: 0,
            count: false,
        }
    }

    /// The same, at a revision.
    pub fn at(mut self, revision: Revision) -> Range {
        self.at = Some(revision);
        self
    }

    /// The same without values that surely lack some of these marks.
    pub fn having(mut self, marks: Marks) -> Range {
        self.having = marks;
        self
    }

    /// The same, at most `limit` items, with a count of the rest.
    pub fn limit(mut self, limit: usize) -> Range {
        self.limit = limit;
        self.count = limit > 0;
        self
    }

    /// The same, starting behind `key`: the next page.
    pub fn after(mut self, key: &[u8]) -> Range {
        let mut start = Vec::with_capacity(key.len() + 1);
        start.extend_from_slice(key);
        start.push(0);
        self.start = Bytes::from(start);
        self
    }
}

/// The first key that is behind every key with this prefix; empty if there is none.
pub(crate) fn end_of_prefix(prefix: &[u8]) -> Vec<u8> {
    let kept = prefix
        .iter()
        .rposition(|&byte| byte != 0xff)
        .map_or(0, |last| last + 1);
    let mut end = prefix[..kept].to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

/// A part of the answer to a [`Range`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// In order of keys.
    pub items: Vec<KeyValue>,
    /// The range holds more than `items`.
    pub more: bool,
    /// How many more; 0 unless [`Range::count`] was set.
    pub remaining: usize,
    /// The state that was read: pass it as [`Range::at`] for the next page.
    pub revision: Revision,
}

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// Created or updated (created: no previous value).
    Put,
    /// Deleted or expired.
    Delete,
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The key as it is now; after a delete only `key` and `mod_revision` mean something.
    pub kv: KeyValue,
    /// The key as it was before.
    pub prev: Option<KeyValue>,
}
