//! What a controller itself wrote last: a cache that does not show it yet is not to be believed.
//!
//! Example: a slice is created at 12; the cache at 11 has no slice; a sync now would create a
//! second one. `stale` says so, the sync comes again, at 12 it finds the slice.
//! Source: endpointslice v0.36.3 util/endpointslice_tracker.go (generations there, revisions
//! here).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use client::Key;

use crate::endpoint::slice::Slice;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    Written(u64),
    Deleted,
}

/// By Service, by uid of the slice.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    services: HashMap<Key, HashMap<String, Last>>,
    /// Services whose sync waits for the cache.
    behind: HashSet<Key>,
}

impl Tracker {
    /// A slice was written with this result.
    pub(crate) fn wrote(&mut self, service: &Key, uid: &str, revision: u64) {
        let slices = self.services.entry(service.clone()).or_default();
        slices.insert(uid.to_owned(), Last::Written(revision));
    }

    pub(crate) fn deleted(&mut self, service: &Key, uid: &str) {
        let slices = self.services.entry(service.clone()).or_default();
        slices.insert(uid.to_owned(), Last::Deleted);
    }

    /// Does the cache lag behind what was written?
    pub(crate) fn is_stale(&self, service: &Key, shown: &[Arc<Slice>]) -> bool {
        let Some(known) = self.services.get(service) else {
            return false;
        };
        let lags = shown.iter().any(|slice| match known.get(&slice.uid) {
            Some(Last::Written(revision)) => *revision > slice.revision,
            Some(Last::Deleted) => true,
            None => false,
        });
        lags || known.iter().any(|(uid, last)| {
            matches!(last, Last::Written(_)) && !shown.iter().any(|slice| slice.uid == *uid)
        })
    }

    /// Does this revision of a slice come from somebody else?
    pub(crate) fn is_foreign(&self, service: &Key, slice: &Slice) -> bool {
        let known = self.services.get(service);
        match known.and_then(|slices| slices.get(&slice.uid)) {
            Some(Last::Written(revision)) => slice.revision > *revision,
            Some(Last::Deleted) | None => true,
        }
    }

    /// A slice is gone; true when somebody else deleted it.
    pub(crate) fn gone(&mut self, service: &Key, uid: &str) -> bool {
        let Some(slices) = self.services.get_mut(service) else {
            return false;
        };
        let last = slices.remove(uid);
        if slices.is_empty() {
            self.services.remove(service);
        }
        matches!(last, Some(Last::Written(_)))
    }

    /// A sync of this Service could not go on.
    pub(crate) fn wait(&mut self, service: &Key) {
        self.behind.insert(service.clone());
    }

    /// The cache moved on: does a sync wait for that?
    pub(crate) fn moved_on(&mut self, service: &Key) -> bool {
        self.behind.remove(service)
    }

    pub(crate) fn forget(&mut self, service: &Key) {
        self.services.remove(service);
        self.behind.remove(service);
    }
}
