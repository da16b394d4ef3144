//! Terms of the pods that are on nodes: pods of one template share theirs.
//!
//! What an existing pod wants of newcomers is asked once for all pods with the same term, and
//! the group knows on which nodes they are.

use std::collections::HashMap;
use std::sync::Arc;

use crate::pod::{PodInfo, PodTerm};

/// What kind of term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Nobody whom the term speaks of may come near.
    RequiredAnti,
    /// A draw (positive) or repulsion (negative) of that weight. A required affinity draws
    /// with weight 1.
    Weight(i64),
}

type Identity = (Kind, PodTerm);

/// All pods with one term.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) identity: Arc<Identity>,
    pub(crate) on: HashMap<usize, i64>,
    pods: u32,
}

/// See the module's header.
#[derive(Clone, Debug, Default)]
pub(crate) struct Groups {
    all: Vec<Option<Group>>,
    ids: HashMap<Arc<Identity>, usize>,
    free: Vec<usize>,
}

impl Groups {
    /// Adds a pod's terms; what comes back is for [`Self::remove`].
    pub(crate) fn add(&mut self, pod: &PodInfo, slot: usize) -> Vec<usize> {
        let mut ids = Vec::new();
        for identity in terms(pod) {
            let id = match self.ids.get(&identity) {
                Some(id) => *id,
                None => self.make(identity),
            };
            if let Some(group) = &mut self.all[id] {
                group.pods += 1;
                *group.on.entry(slot).or_default() += 1;
            }
            ids.push(id);
        }
        ids
    }

    /// Takes a pod's terms away.
    pub(crate) fn remove(&mut self, ids: &[usize], slot: usize) {
        for id in ids {
            let Some(group) = self.all.get_mut(*id).and_then(Option::as_mut) else {
                continue;
            };
            group.pods -= 1;
            if let Some(count) = group.on.get_mut(&slot) {
                *count -= 1;
                if *count == 0 {
                    group.on.remove(&slot);
                }
            }
            if group.pods == 0 {
                self.ids.remove(&group.identity);
                self.all[*id] = None;
                self.free.push(*id);
            }
        }
    }

    fn make(&mut self, identity: Identity) -> usize {
        let identity = Arc::new(identity);
        let group = Group {
            identity: identity.clone(),
            on: HashMap::new(),
            pods: 0,
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.all[id] = Some(group);
                id
            }
            None => {
                self.all.push(Some(group));
                self.all.len() - 1
            }
        };
        self.ids.insert(identity, id);
        id
    }

    /// All groups with their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Group)> {
        let all = self.all.iter().enumerate();
        all.filter_map(|(id, group)| Some((id, group.as_ref()?)))
    }

    pub(crate) fn get(&self, id: usize) -> Option<&Group> {
        self.all.get(id)?.as_ref()
    }
}

fn terms(pod: &PodInfo) -> impl Iterator<Item = Identity> {
    let affinity = pod.affinity.as_deref();
    affinity.into_iter().flat_map(|affinity| {
        let anti = affinity.required_anti.iter();
        let anti = anti.map(|term| (Kind::RequiredAnti, term.clone()));
        let required = affinity.required.iter();
        let required = required.map(|term| (Kind::Weight(1), term.clone()));
        let preferred = affinity.preferred.iter();
        let preferred = preferred.map(|(weight, term)| (Kind::Weight(*weight), term.clone()));
        anti.chain(required).chain(preferred)
    })
}
