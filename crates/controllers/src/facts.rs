//! What a controller knows of one kind of object: read once per revision, filed in bins.
//!
//! A sync that looks at a thousand pods must not parse a thousand documents each time. Knows no
//! kind: readers give the facts and the bin that an object is found in (mostly its namespace).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};

use client::{Cache, Key, Object};
use parking_lot::RwLock;

use crate::context::Context;

/// A local table of facts, shared by all controllers that read the same. Cheap to clone.
pub(crate) struct Facts<T> {
    state: Arc<RwLock<State<T>>>,
    /// The informer holds them. Handlers hold tables, their own too: held here, they would hold
    /// themselves, and nothing would be dropped when the controllers end.
    handlers: Weak<RwLock<Vec<StepHandler<T>>>>,
    cache: Cache,
}

type StepHandler<T> = Box<dyn Fn(&Step<'_, T>) + Send + Sync>;

struct State<T> {
    all: BTreeMap<Key, Arc<T>>,
    bins: HashMap<String, BTreeMap<Key, Arc<T>>>,
}

/// How facts come out of an object.
pub(crate) struct Reader<T> {
    pub(crate) read: fn(&Object) -> Option<T>,
    /// Where [`Facts::bin`] finds it.
    pub(crate) bin: fn(&Key, &T) -> String,
}

/// One step of a table, as [`client::Change`] but with facts.
pub(crate) struct Step<'a, T> {
    pub(crate) key: &'a Key,
    pub(crate) old: Option<Arc<T>>,
    pub(crate) new: Option<Arc<T>>,
}

impl<T> Clone for Facts<T> {
    fn clone(&self) -> Self {
        Self {
            state: self.state.clone(),
            handlers: self.handlers.clone(),
            cache: self.cache.clone(),
        }
    }
}

impl<T> Reader<T> {
    pub(crate) fn by_namespace(read: fn(&Object) -> Option<T>) -> Self {
        Self {
            read,
            bin: |key, _| key.namespace.clone(),
        }
    }
}

impl<T: Send + Sync + 'static> Facts<T> {
    /// The facts of a resource; they are told apart by their type, so one resource and reader
    /// for each.
    pub(crate) fn of(context: &Context, gvr: [&str; 3], reader: Reader<T>) -> Self {
        context.informers.shared(|| {
            let state = Arc::new(RwLock::new(State {
                all: BTreeMap::new(),
                bins: HashMap::new(),
            }));
            let handlers: Arc<RwLock<Vec<StepHandler<T>>>> = Arc::default();
            let (table, told) = (state.clone(), Arc::downgrade(&handlers));
            let [group, version, resource] = gvr;
            let cache = context
                .informers
                .of(group, version, resource)
                .on_change(move |change| {
                    let key = change.key();
                    let new = change.new.as_deref().and_then(reader.read).map(Arc::new);
                    let listeners = handlers.read();
                    let old = table.write().put(key, new.clone(), reader.bin);
                    if old.is_some() || new.is_some() {
                        let step = Step { key, old, new };
                        listeners.iter().for_each(|listener| listener(&step));
                    }
                })
                .cache();
            Self {
                state,
                handlers: told,
                cache,
            }
        })
    }

    /// Tells `on_step` of what is there and of every change after the table has it.
    pub(crate) fn on_step(self, on_step: impl Fn(&Step<'_, T>) + Send + Sync + 'static) -> Self {
        let handlers = self.handlers.upgrade();
        let mut handlers = handlers.as_ref().map(|handlers| handlers.write());
        let known: Vec<(Key, Arc<T>)> = {
            let state = self.state.read();
            let all = state.all.iter();
            all.map(|(key, facts)| (key.clone(), facts.clone()))
                .collect()
        };
        for (key, facts) in &known {
            on_step(&Step {
                key,
                old: None,
                new: Some(facts.clone()),
            });
        }
        if let Some(handlers) = &mut handlers {
            handlers.push(Box::new(on_step));
        }
        drop(handlers);
        self
    }

    pub(crate) async fn synced(&self) {
        self.cache.synced().await;
    }

    /// Is the first list still being read?
    pub(crate) fn is_starting(&self) -> bool {
        !self.cache.is_synced()
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Arc<T>> {
        self.state.read().all.get(key).cloned()
    }

    /// The object behind the facts.
    pub(crate) fn object(&self, key: &Key) -> Option<Arc<Object>> {
        self.cache.get(key)
    }

    /// All in a bin, ordered by key.
    pub(crate) fn bin(&self, bin: &str) -> Vec<Arc<T>> {
        let state = self.state.read();
        let here = state.bins.get(bin);
        here.into_iter()
            .flat_map(|objects| objects.values().cloned())
            .collect()
    }

    /// All, ordered by key.
    pub(crate) fn all(&self) -> Vec<Arc<T>> {
        self.state.read().all.values().cloned().collect()
    }
}

impl<T> State<T> {
    fn put(
        &mut self,
        key: &Key,
        new: Option<Arc<T>>,
        bin: fn(&Key, &T) -> String,
    ) -> Option<Arc<T>> {
        let old = match &new {
            Some(new) => self.all.insert(key.clone(), new.clone()),
            None => self.all.remove(key),
        };
        if let Some(old) = &old {
            let name = bin(key, old);
            if let Some(objects) = self.bins.get_mut(&name) {
                objects.remove(key);
                if objects.is_empty() {
                    self.bins.remove(&name);
                }
            }
        }
        if let Some(new) = new {
            let objects = self.bins.entry(bin(key, &new)).or_default();
            objects.insert(key.clone(), new);
        }
        old
    }
}
