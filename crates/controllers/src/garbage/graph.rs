//! Objects and their owners, both ways. Pure.
//!
//! Example: `rs(uid 1) ← pod(uid 2)`. Setting the pod files 2 under the dependents of 1 even when
//! 1 is unknown; removing 1 names 2 as changed, because its owner is gone.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// One object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) uid: String,
    pub(super) api_version: String,
    pub(super) kind: String,
    /// Path of the resource that it was seen under.
    pub(super) resource: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) deleting: bool,
    pub(super) finalizers: Vec<String>,
    pub(super) owners: Vec<Owner>,
}

/// One owner reference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) uid: String,
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) name: String,
    /// The owner's foreground deletion waits for this object.
    pub(super) blocks: bool,
}

/// See the module's header.
#[derive(Debug, Default)]
pub(super) struct Graph {
    entries: BTreeMap<String, Entry>,
    dependents: HashMap<String, BTreeSet<String>>,
}

impl Entry {
    pub(super) fn has_finalizer(&self, name: &str) -> bool {
        self.finalizers.iter().any(|finalizer| finalizer == name)
    }
}

impl Graph {
    pub(super) fn get(&self, uid: &str) -> Option<&Entry> {
        self.entries.get(uid)
    }

    pub(super) fn dependents(&self, uid: &str) -> Vec<Entry> {
        let uids = self.dependents.get(uid).into_iter().flatten();
        uids.filter_map(|uid| self.entries.get(uid).cloned())
            .collect()
    }

    /// Takes a new state of an object; gives the uids to look at.
    pub(super) fn set(&mut self, entry: Entry) -> Vec<String> {
        let uid = entry.uid.clone();
        let before = self.entries.insert(uid.clone(), entry.clone());
        let mut look_at = Vec::new();
        for owner in before.iter().flat_map(|before| &before.owners) {
            match entry.owners.iter().find(|kept| kept.uid == owner.uid) {
                None => {
                    self.unlink(&owner.uid, &uid);
                    look_at.push(owner.uid.clone());
                }
                // It no longer waits.
                Some(kept) if owner.blocks && !kept.blocks => look_at.push(owner.uid.clone()),
                Some(_) => {}
            }
        }
        for owner in &entry.owners {
            self.dependents
                .entry(owner.uid.clone())
                .or_default()
                .insert(uid.clone());
        }
        let began_to_end = entry.deleting && !before.is_some_and(|before| before.deleting);
        if began_to_end || !entry.owners.is_empty() || entry.deleting {
            look_at.push(uid);
        }
        look_at
    }

    /// Forgets an object; gives the uids to look at: what it owned and what waited for it.
    pub(super) fn remove(&mut self, uid: &str) -> Vec<String> {
        let Some(entry) = self.entries.remove(uid) else {
            return Vec::new();
        };
        let mut look_at: Vec<String> = self
            .dependents
            .get(uid)
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        for owner in entry.owners {
            self.unlink(&owner.uid, uid);
            look_at.push(owner.uid);
        }
        look_at
    }

    /// Forgets all objects of a resource that is no longer served.
    pub(super) fn forget_resource(&mut self, path: &str) -> Vec<String> {
        let uids: Vec<String> = self
            .entries
            .values()
            .filter(|entry| entry.resource == path)
            .map(|entry| entry.uid.clone())
            .collect();
        uids.iter().flat_map(|uid| self.remove(uid)).collect()
    }

    fn unlink(&mut self, owner: &str, dependent: &str) {
        if let Some(list) = self.dependents.get_mut(owner) {
            list.remove(dependent);
            if list.is_empty() {
                self.dependents.remove(owner);
            }
        }
    }
}
