//! What a controller has asked for and not yet seen, so that it never asks twice.
//!
//! Between the answer to a create and its event in the cache the world looks as if nothing had
//! been done. Until every expected creation and deletion was seen, or five minutes went by, the
//! owner's pods are not touched again.
//! Example: wants 3, has 0 → expects 3 creations, creates; two events → 1 outstanding, no plan;
//! the third → satisfied, plan again.
//! Source: kubernetes v1.36.3 pkg/controller/controller_utils.go, ControllerExpectations,
//! UIDTrackingControllerExpectations.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use client::Key;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::workload::Told;

/// Upstream's ExpectationsTimeout.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(300);

/// By owner.
#[derive(Debug, Default)]
pub(crate) struct Expectations {
    entries: Mutex<HashMap<Key, Entry>>,
}

#[derive(Debug)]
struct Entry {
    creations: usize,
    /// Uids.
    deletions: HashSet<String>,
    since: Instant,
}

impl Expectations {
    /// Whether the owner's pods may be touched.
    pub(crate) fn satisfied(&self, owner: &Key) -> bool {
        self.entries.lock().get(owner).is_none_or(|entry| {
            entry.creations == 0 && entry.deletions.is_empty() || entry.since.elapsed() > TIMEOUT
        })
    }

    /// Sets what is expected from now on.
    pub(crate) fn expect(
        &self,
        owner: &Key,
        creations: usize,
        deletions: impl IntoIterator<Item = String>,
    ) {
        let entry = Entry {
            creations,
            deletions: deletions.into_iter().collect(),
            since: Instant::now(),
        };
        self.entries.lock().insert(owner.clone(), entry);
    }

    /// So many creations were seen, or will never be.
    pub(crate) fn created(&self, owner: &Key, count: usize) {
        if let Some(entry) = self.entries.lock().get_mut(owner) {
            entry.creations = entry.creations.saturating_sub(count);
        }
    }

    /// A deletion was seen, or will never be.
    pub(crate) fn deleted(&self, owner: &Key, uid: &str) {
        if let Some(entry) = self.entries.lock().get_mut(owner) {
            entry.deletions.remove(uid);
        }
    }

    /// What a change of the dependent with `uid` shows to have happened.
    pub(crate) fn hear(&self, told: &Told, uid: &str) {
        if let Some(owner) = &told.created {
            self.created(owner, 1);
        }
        if let Some(owner) = &told.deleted {
            self.deleted(owner, uid);
        }
    }

    /// The owner is gone.
    pub(crate) fn forget(&self, owner: &Key) {
        self.entries.lock().remove(owner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn nothing_is_touched_until_all_was_seen_or_it_takes_too_long() {
        let expectations = Expectations::default();
        let key = Key::new("default", "web");
        assert!(expectations.satisfied(&key));
        expectations.expect(&key, 2, []);
        expectations.created(&key, 1);
        assert!(!expectations.satisfied(&key));
        expectations.created(&key, 1);
        assert!(expectations.satisfied(&key));
        expectations.expect(&key, 0, ["a".to_owned()]);
        expectations.deleted(&key, "b");
        assert!(!expectations.satisfied(&key));
        tokio::time::advance(TIMEOUT + Duration::from_secs(1)).await;
        assert!(expectations.satisfied(&key));
    }

    #[test]
    fn what_is_told_is_seen() {
        let expectations = Expectations::default();
        let key = Key::new("default", "web");
        expectations.expect(&key, 1, ["a".to_owned()]);
        let told = Told {
            deleted: Some(key.clone()),
            ..Told::default()
        };
        expectations.hear(&told, "a");
        assert!(!expectations.satisfied(&key));
        let told = Told {
            created: Some(key.clone()),
            ..Told::default()
        };
        expectations.hear(&told, "b");
        assert!(expectations.satisfied(&key));
    }
}
