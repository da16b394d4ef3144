//! What a reflector knows: the newest revision of each object, with indexes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use base::Latch;
use parking_lot::RwLock;

use crate::{Key, Object};

/// Gives the index values of an object.
pub type IndexFn = fn(&Object) -> Vec<String>;

/// One step of the cache: created (no old), updated, or deleted (no new).
#[derive(Clone, Debug)]
pub struct Change {
    /// The revision known before.
    pub old: Option<Arc<Object>>,
    /// The revision known now.
    pub new: Option<Arc<Object>>,
}

impl Change {
    /// The object's key, whichever side has it.
    pub fn key(&self) -> &Key {
        self.object().key()
    }

    /// The newest revision known, also of a deleted object.
    pub fn object(&self) -> &Arc<Object> {
        self.new
            .as_ref()
            .or(self.old.as_ref())
            .expect("a change has an old or a new side")
    }
}

/// A local copy of one resource. Cheap to clone.
#[derive(Clone)]
pub struct Cache {
    inner: Arc<Inner>,
}

struct Inner {
    state: RwLock<State>,
    synced: Latch,
}

#[derive(Default)]
struct State {
    indexers: Vec<(&'static str, IndexFn)>,
    objects: BTreeMap<Key, Arc<Object>>,
    indexes: HashMap<(&'static str, String), BTreeSet<Key>>,
}

impl State {
    fn file(&mut self, index: &'static str, values: Vec<String>, key: &Key) {
        for value in values {
            let keys = self.indexes.entry((index, value)).or_default();
            keys.insert(key.clone());
        }
    }
}

impl Cache {
    /// Empty, with the named indexes.
    pub fn new(indexers: Vec<(&'static str, IndexFn)>) -> Self {
        Self {
            inner: Arc::new(Inner {
                state: RwLock::new(State {
                    indexers,
                    ..State::default()
                }),
                synced: Latch::new(),
            }),
        }
    }

    /// Adds an index over what is known and what comes; one of the same name stays as it is.
    pub fn add_index(&self, name: &'static str, index: IndexFn) {
        let mut state = self.inner.state.write();
        if state.indexers.iter().any(|(known, _)| *known == name) {
            return;
        }
        state.indexers.push((name, index));
        let known: Vec<Arc<Object>> = state.objects.values().cloned().collect();
        for object in known {
            state.file(name, index(&object), object.key());
        }
    }

    /// The object of that key.
    pub fn get(&self, key: &Key) -> Option<Arc<Object>> {
        self.inner.state.read().objects.get(key).cloned()
    }

    /// All objects, ordered by key.
    pub fn list(&self) -> Vec<Arc<Object>> {
        self.inner.state.read().objects.values().cloned().collect()
    }

    /// The objects of one namespace, ordered by name.
    pub fn list_namespace(&self, namespace: &str) -> Vec<Arc<Object>> {
        let state = self.inner.state.read();
        let behind = state.objects.range(Key::new(namespace, "")..);
        behind
            .map(|(_, object)| object)
            .take_while(|object| object.namespace() == namespace)
            .cloned()
            .collect()
    }

    /// The objects that the named index files under `value`, ordered by key.
    pub fn by_index(&self, index: &'static str, value: &str) -> Vec<Arc<Object>> {
        let state = self.inner.state.read();
        let keys = state.indexes.get(&(index, value.to_owned()));
        keys.into_iter()
            .flatten()
            .filter_map(|key| state.objects.get(key).cloned())
            .collect()
    }

    /// How many objects are known.
    pub fn len(&self) -> usize {
        self.inner.state.read().objects.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the first list is complete.
    pub fn is_synced(&self) -> bool {
        self.inner.synced.is_set()
    }

    /// Returns once the first list is complete.
    pub async fn synced(&self) {
        self.inner.synced.wait().await;
    }

    pub(crate) fn mark_synced(&self) {
        self.inner.synced.set();
    }

    /// Takes a newer revision (or, with `deleted`, the last one) and tells what changed. Indexes and
    /// whoever is told look at the same two trees.
    pub(crate) fn apply(&self, object: Arc<Object>, deleted: bool, tell: impl FnOnce(&Change)) {
        let key = object.key();
        let mut state = self.inner.state.write();
        let change = match deleted {
            true => Change {
                old: state.objects.remove(key),
                new: None,
            },
            false => Change {
                old: state.objects.insert(key.clone(), object.clone()),
                new: Some(object.clone()),
            },
        };
        let sides = [&change.old, &change.new].map(Option::as_deref);
        if sides.iter().all(Option::is_none) {
            return;
        }
        let _shared = sides.map(|side| side.map(Object::share));
        for at in 0..state.indexers.len() {
            let (name, index) = state.indexers[at];
            let [before, after] = sides.map(|side| side.map(index).unwrap_or_default());
            if before == after {
                continue;
            }
            for value in before {
                if let Some(keys) = state.indexes.get_mut(&(name, value.clone())) {
                    keys.remove(key);
                    if keys.is_empty() {
                        state.indexes.remove(&(name, value));
                    }
                }
            }
            state.file(name, after, key);
        }
        drop(state);
        tell(&change);
    }

    /// The objects that a complete list no longer has, ordered by key.
    pub(crate) fn missing_from(&self, present: &HashSet<Key>) -> Vec<Arc<Object>> {
        let state = self.inner.state.read();
        state
            .objects
            .values()
            .filter(|object| !present.contains(object.key()))
            .cloned()
            .collect()
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("objects", &self.len())
            .finish_non_exhaustive()
    }
}
