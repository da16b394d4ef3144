//! The speculative head: changes that are numbered but not yet in the log.
//!
//! A batch is staged, logged, then published; a batch that the log refuses is dropped, and with
//! it the head goes back.

use bytes::Bytes;
use hashbrown::HashMap;

use crate::mutants::{Mutant, planted};
use crate::record::{Entry, Record};
use crate::{Compare, Marker, Op, Outcome, Revision, Txn};

/// Changes on top of an [`Mvcc`](crate::Mvcc).
#[derive(Debug)]
pub(crate) struct Stage {
    revision: u64,
    marker: Marker,
    entries: Vec<Entry>,
    /// Key → its last entry.
    newest: HashMap<Bytes, usize>,
}

impl Stage {
    pub(crate) fn new(revision: u64, marker: Marker) -> Stage {
        Stage {
            revision,
            marker,
            entries: Vec::new(),
            newest: HashMap::new(),
        }
    }

    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(crate) fn into_entries(self) -> Vec<Entry> {
        self.entries
    }

    /// Adds the changes of `txn` if its compares hold; `committed` looks below this stage.
    pub(crate) fn evaluate<'a>(
        &mut self,
        txn: &Txn,
        now_ms: i64,
        committed: impl Fn(&[u8]) -> Option<&'a Record>,
    ) -> Outcome {
        for Compare::Revision { key, revision } in &txn.compares {
            let current = if planted(Mutant::LostUpdate) {
                committed(key).cloned()
            } else {
                self.current(key, &committed)
            };
            if current.as_ref().map_or(0, Record::modified) != revision.0 {
                let current = current.as_ref().map(Record::to_kv);
                return Outcome::Conflict {
                    key: key.clone(),
                    current,
                };
            }
        }
        let mut revision = self.revision + 1;
        if planted(Mutant::RevisionTwice) && revision.is_multiple_of(64) {
            revision -= 1;
        }
        // Numbered by operation: the writer finds the sealed value of a record by it.
        for (sub, op) in (0..).zip(&txn.ops) {
            let prev = self.current(op.key(), &committed);
            let (record, expires) = match op {
                Op::Put { key, value, ttl } => {
                    let created = prev.as_ref().map_or(revision, Record::created);
                    let lifetime = ttl.map(|ttl| i64::try_from(ttl.as_millis()));
                    let lifetime = lifetime.map(|ttl| ttl.unwrap_or(i64::MAX));
                    let expires = lifetime.map(|ttl| now_ms.saturating_add(ttl));
                    let record = Record::put(key, value, created, revision, sub);
                    let marks = match &prev {
                        Some(prev) if planted(Mutant::OldMarks) => prev.marks(),
                        _ => (self.marker)(value),
                    };
                    (record.marked(marks), expires)
                }
                Op::Delete { .. } if prev.is_none() => continue,
                Op::Delete { key } => (Record::tombstone(key, revision, sub), None),
            };
            self.newest.insert(op.key().clone(), self.entries.len());
            self.entries.push(Entry {
                record,
                prev,
                expires,
            });
            self.revision = revision;
        }
        Outcome::Committed {
            revision: Revision(self.revision),
        }
    }

    fn current<'a>(
        &self,
        key: &[u8],
        committed: impl Fn(&[u8]) -> Option<&'a Record>,
    ) -> Option<Record> {
        match self.newest.get(key) {
            Some(&index) => Some(&self.entries[index].record)
                .filter(|r| !r.deleted())
                .cloned(),
            None => committed(key).cloned(),
        }
    }
}
