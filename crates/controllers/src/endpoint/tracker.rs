//! What a controller itself wrote last: a cache that does not show it yet is not to be believed.
//!
//! Example: a slice is created at 12; the cache at 11 has no slice; a sync now would create a
//! second one. `is_stale` says so, the sync comes again, at 12 it finds the slice. Created at 12 and
//! taken by somebody at 13, both seen before the answer: the answer tells of what is gone, and is
//! not waited for.
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
    /// Services whose writes are under way, with the slices that went meanwhile.
    sending: HashMap<Key, HashSet<String>>,
}

impl Tracker {
    /// Writes begin, of which one sync at a time makes some.
    pub(crate) fn begin(&mut self, service: &Key) {
        self.sending.insert(service.clone(), HashSet::new());
    }

    /// All have their answers.
    pub(crate) fn end(&mut self, service: &Key) {
        self.sending.remove(service);
    }

    fn went_meanwhile(&self, service: &Key, uid: &str) -> bool {
        let gone = self.sending.get(service);
        gone.is_some_and(|gone| gone.contains(uid))
    }

    /// A slice was written with this result.
    pub(crate) fn wrote(&mut self, service: &Key, uid: &str, revision: u64) {
        if self.went_meanwhile(service, uid) {
            return;
        }
        let slices = self.services.entry(service.clone()).or_default();
        slices.insert(uid.to_owned(), Last::Written(revision));
    }

    pub(crate) fn deleted(&mut self, service: &Key, uid: &str) {
        if self.went_meanwhile(service, uid) {
            return;
        }
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

    /// A slice is gone; true when somebody else deleted it, or may have: while writes are under way
    /// its answer may be missing.
    pub(crate) fn gone(&mut self, service: &Key, uid: &str) -> bool {
        if let Some(gone) = self.sending.get_mut(service) {
            gone.insert(uid.to_owned());
            if let Some(slices) = self.services.get_mut(service) {
                slices.remove(uid);
            }
            return true;
        }
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
