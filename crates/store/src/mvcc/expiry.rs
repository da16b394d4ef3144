//! Which keys end by themselves, and when.
//!
//! Knows no clock; the writer asks what is due and deletes it like any other key.

use std::collections::BTreeSet;

use bytes::Bytes;
use hashbrown::HashMap;

use crate::mutants::{Mutant, planted};
use crate::record::Record;

#[derive(Debug, Default)]
pub(crate) struct Expiry {
    by_time: BTreeSet<(i64, Bytes)>,
    by_key: HashMap<Bytes, i64>,
}

impl Expiry {
    /// `record` is now the key's version, and ends at `expires`.
    pub(crate) fn set(&mut self, record: &Record, expires: Option<i64>) {
        // Removed first: a kept key would keep the replaced version's buffer alive.
        if planted(Mutant::OldExpiry) && !record.deleted() && self.by_key.contains_key(record.key())
        {
            return;
        }
        if let Some((key, old)) = self.by_key.remove_entry(record.key()) {
            self.by_time.remove(&(old, key));
        }
        if let Some(expires) = expires {
            let key = record.key_bytes();
            self.by_key.insert(key.clone(), expires);
            self.by_time.insert((expires, key));
        }
    }

    pub(crate) fn due(&self, now_ms: i64, limit: usize) -> Vec<Bytes> {
        let due = self
            .by_time
            .iter()
            .take_while(|(expires, _)| *expires <= now_ms);
        due.take(limit).map(|(_, key)| key.clone()).collect()
    }

    pub(crate) fn next(&self) -> Option<i64> {
        self.by_time.first().map(|(expires, _)| *expires)
    }
}
