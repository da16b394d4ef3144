//! The state of the store and its history, as pure data.
//!
//! Owns what every revision since the last compaction looked like. Knows no thread, disk or
//! clock: time comes in as a number. Example, with `a` created at 1, updated at 2, deleted at 4
//! and `b` created at 3:
//! ```text
//! live   b@3
//! past   a → [(a@1, until 2), (a@2, until 4)]
//! log    [put a@1] [put a@2 ← a@1] [put b@3] [delete a@4 ← a@2]
//! ```
//! A read at 2 walks `live` (b is newer: skipped) and `past` (a@2 lived in 2..4: taken). A watch
//! from 2 gets the log behind 2. `compact(3)` forgets the log up to 3 and what was gone by then:
//! `a@1`. `compact(4)` forgets `a` altogether.
//! Source of the semantics: etcd v3.6 server/storage/mvcc/{kvstore_txn,key_index}.go.

mod expiry;
mod scan;
mod stage;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use bytes::Bytes;

pub(crate) use self::stage::Stage;
use crate::mutants::{Mutant, planted};
use crate::mvcc::expiry::Expiry;
use crate::record::{Entry, Record};
use crate::{Event, KeyValue, Marker, Outcome, Revision, StoreError, Txn, marks};

/// The core: every key, every version since the last compaction.
pub struct Mvcc {
    marker: Marker,
    live: BTreeSet<Record>,
    /// Versions that were replaced or deleted behind the compaction point, oldest first.
    past: BTreeMap<Bytes, VecDeque<Past>>,
    log: VecDeque<Entry>,
    expiry: Expiry,
    revision: u64,
    compacted: u64,
    /// Revisions that were given out but did not survive a power cut: between, both exclusive.
    gaps: Vec<(u64, u64)>,
    live_bytes: usize,
    log_bytes: usize,
}

impl Default for Mvcc {
    fn default() -> Mvcc {
        Mvcc::at_compaction(0, marks::unknown)
    }
}

impl fmt::Debug for Mvcc {
    /// Sizes only: values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Mvcc");
        debug
            .field("revision", &self.revision)
            .field("compacted", &self.compacted);
        debug
            .field("keys", &self.live.len())
            .finish_non_exhaustive()
    }
}

/// Room for so many changes is kept even when there are few.
const MANY: usize = 1024;

/// A version that was current in `record.modified()..until`.
#[derive(Debug)]
struct Past {
    record: Record,
    until: u64,
}

/// The name of a record's row in the durable log.
pub(crate) type RowName = (u64, u16);

impl Mvcc {
    /// An empty store at revision 1, as etcd starts, whose values nobody reads.
    pub fn new() -> Mvcc {
        Mvcc::default()
    }

    /// An empty store whose history is gone up to `compacted`.
    pub(crate) fn at_compaction(compacted: u64, marker: Marker) -> Mvcc {
        Mvcc {
            marker,
            live: BTreeSet::new(),
            past: BTreeMap::new(),
            log: VecDeque::new(),
            expiry: Expiry::default(),
            revision: compacted.max(1),
            compacted,
            gaps: Vec::new(),
            live_bytes: 0,
            log_bytes: 0,
        }
    }

    /// Where changes on top of this state are collected.
    pub(crate) fn stage(&self) -> Stage {
        Stage::new(self.revision, self.marker)
    }

    pub(crate) fn marker(&self) -> Marker {
        self.marker
    }

    /// Goes to a later revision in which nothing changed.
    pub(crate) fn advance(&mut self, revision: u64) {
        self.revision = self.revision.max(revision);
    }

    /// Revisions between the two are lost: nobody may go on from them.
    pub(crate) fn add_gap(&mut self, low: u64, high: u64) {
        self.gaps.push((low, high));
        self.compacted = self.behind_gap(self.compacted);
    }

    /// The first revision from `revision` on that was not lost; the state is the same.
    fn behind_gap(&self, revision: u64) -> u64 {
        let lost = |&&(low, high): &&(u64, u64)| low < revision && revision < high;
        let gap = self.gaps.iter().find(lost);
        gap.map_or(revision, |&(_, high)| high)
    }

    pub(crate) fn current(&self, key: &[u8]) -> Option<Record> {
        self.live.get(key).cloned()
    }

    /// The revision up to which history goes when its older half is forgotten.
    pub(crate) fn middle(&self) -> Option<u64> {
        self.log
            .get(self.log.len() / 2)
            .map(|entry| entry.record.modified())
    }

    /// The newest revision.
    pub fn revision(&self) -> Revision {
        Revision(self.revision)
    }

    /// The oldest revision that can be read or watched from.
    pub fn compacted(&self) -> Revision {
        Revision(self.compacted)
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// Evaluates and applies one transaction. `now_ms` is wall time, for times to live.
    pub fn apply(&mut self, txn: &Txn, now_ms: i64) -> Result<(Outcome, Vec<Event>), StoreError> {
        txn.check()?;
        let mut stage = self.stage();
        let outcome = self.evaluate(&mut stage, txn, now_ms);
        let events = stage.entries().iter().map(Entry::to_event).collect();
        self.publish(stage);
        Ok((outcome, events))
    }

    /// The newest version of a key.
    pub fn get(&self, key: &[u8]) -> Option<KeyValue> {
        self.live.get(key).map(Record::to_kv)
    }

    /// Evaluates `txn` against this state with `stage` on top, and adds its changes to `stage`.
    pub(crate) fn evaluate(&self, stage: &mut Stage, txn: &Txn, now_ms: i64) -> Outcome {
        stage.evaluate(txn, now_ms, |key| self.live.get(key))
    }

    /// Makes staged changes visible: all or none, in order.
    pub(crate) fn publish(&mut self, stage: Stage) {
        for entry in stage.into_entries() {
            self.push(entry);
        }
    }

    /// Adds one change at the end of history.
    pub(crate) fn push(&mut self, entry: Entry) {
        base::always!(
            entry.record.modified() >= self.revision,
            "revisions never go back"
        );
        self.revision = entry.record.modified();
        self.settle(entry.record.clone(), entry.expires);
        if let Some(prev) = &entry.prev {
            let past = Past {
                record: prev.clone(),
                until: self.revision,
            };
            self.log_bytes += prev.len();
            match self.past.get_mut(prev.key()) {
                Some(versions) => versions.push_back(past),
                None => {
                    // A copy of the key: a slice would keep the first version's buffer alive.
                    let key = Bytes::copy_from_slice(prev.key());
                    self.past.insert(key, VecDeque::from([past]));
                }
            }
        }
        self.log.push_back(entry);
    }

    /// Brings the live keys up to date with one change, without history. By value: a clone would
    /// cost each record a shared header on the heap.
    pub(crate) fn settle(&mut self, record: Record, expires: Option<i64>) {
        self.expiry.set(&record, expires);
        let replaced = if record.deleted() {
            self.live.take(record.key())
        } else {
            self.live_bytes += record.len();
            self.live.replace(record)
        };
        self.live_bytes -= replaced.map_or(0, |replaced| replaced.len());
    }

    /// Forgets history up to and including `revision`; the state at `revision` stays readable.
    /// Returns the rows that nothing needs any more.
    pub(crate) fn compact(&mut self, revision: u64) -> Result<Vec<RowName>, StoreError> {
        let (requested, current) = (Revision(revision), self.revision());
        if requested > current {
            return Err(StoreError::Future { requested, current });
        }
        if revision < self.compacted {
            return Err(StoreError::Compacted {
                requested,
                oldest: self.compacted(),
            });
        }
        let mut unneeded = Vec::new();
        while self
            .log
            .front()
            .is_some_and(|entry| entry.record.modified() <= revision)
        {
            let Some(entry) = self.log.pop_front() else {
                break;
            };
            if entry.record.deleted() {
                unneeded.push((entry.record.modified(), entry.record.sub()));
            }
            let Some(prev) = entry.prev else { continue };
            unneeded.push((prev.modified(), prev.sub()));
            self.log_bytes -= prev.len();
            if let Some(versions) = self.past.get_mut(prev.key()) {
                versions.pop_front();
                if versions.is_empty() {
                    self.past.remove(prev.key());
                }
            }
        }
        if self.log.capacity() > 4 * self.log.len().max(MANY) {
            self.log.shrink_to(2 * self.log.len());
        }
        let after = self.log.front().and_then(|entry| entry.prev.as_ref());
        if planted(Mutant::CompactDeleteWatch)
            && after.is_some_and(|prev| prev.modified() <= revision)
            && self.log[0].record.deleted()
        {
            self.log.pop_front();
        }
        // Nobody may go on from inside a gap, so the oldest revision is never there.
        self.compacted = self.behind_gap(revision);
        let compacted = self.compacted;
        self.gaps.retain(|&(_, end)| end > compacted);
        Ok(unneeded)
    }

    /// Keys whose time is up, at most `limit`.
    pub(crate) fn expired(&self, now_ms: i64, limit: usize) -> Vec<Bytes> {
        self.expiry.due(now_ms, limit)
    }

    /// When the next key expires.
    pub(crate) fn next_expiry(&self) -> Option<i64> {
        self.expiry.next()
    }

    /// Number and bytes of what only history keeps.
    pub(crate) fn history(&self) -> (usize, usize) {
        (self.log.len(), self.log_bytes)
    }

    /// Bytes of live keys and values.
    pub(crate) fn live_bytes(&self) -> usize {
        self.live_bytes
    }
}
