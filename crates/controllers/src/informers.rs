//! One watch and one copy of each resource, shared by all controllers.
//!
//! A controller asks for an informer while it starts, adds its indexes and handlers, and keeps the
//! cache. Watches begin when every controller has asked, so that nobody misses a change; who comes
//! later hears of what is there already as if it were new. An object may then be told twice:
//! handlers put keys in queues. Filtered watches are nobody else's: for them there is
//! [`Informers::client`].

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use api::Gvr;
use base::Shutdown;
use client::{Api, Cache, Change, Client, Handler, IndexFn, ListOptions, Object, Reflector};
use parking_lot::{Mutex, RwLock};

/// Index of objects by the uid of their managing owner; see [`controller_uid`].
pub(crate) const BY_CONTROLLER: &str = "controller";

/// Every informer of the controllers. Cheap to clone.
#[derive(Clone)]
pub struct Informers {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    shutdown: Shutdown,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    started: bool,
    /// In the order in which their watches begin.
    rows: BTreeMap<Gvr, Informer>,
    /// What controllers made of the informers to share it: one value of a type.
    shared: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
}

/// One resource, watched once. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Informer {
    cache: Cache,
    handlers: Arc<RwLock<Vec<Handler>>>,
}

impl Informers {
    /// Lists and watches with `client` until shutdown.
    pub fn new(client: Client, shutdown: &Shutdown) -> Self {
        Self {
            inner: Arc::new(Inner {
                client,
                shutdown: shutdown.clone(),
                table: Mutex::new(Table::default()),
            }),
        }
    }

    /// The identity that lists and watches, for a filtered watch of one's own.
    pub fn client(&self) -> &Client {
        &self.inner.client
    }

    /// All namespaces of a resource, or a cluster-scoped one, for a watch of one's own.
    pub(crate) fn resource(&self, gvr: &Gvr) -> Api {
        self.inner.client.resource(gvr)
    }

    /// One namespace of a resource, for a watch of one's own.
    pub(crate) fn namespaced(&self, gvr: &Gvr, namespace: &str) -> Api {
        self.inner.client.namespaced(gvr, namespace)
    }

    /// The shared informer of a resource, made when it is first asked for.
    pub(crate) fn of(&self, group: &str, version: &str, resource: &str) -> Informer {
        let gvr = Gvr::new(group, version, resource);
        let mut table = self.inner.table.lock();
        if let Some(known) = table.rows.get(&gvr) {
            return known.clone();
        }
        let informer = Informer {
            cache: Cache::new(Vec::new()),
            handlers: Arc::default(),
        };
        if table.started {
            self.watch(&gvr, &informer);
        }
        table.rows.insert(gvr, informer.clone());
        informer
    }

    /// The one value of this type that all controllers share, made when it is first asked for.
    pub(crate) fn shared<T: Clone + Send + Sync + 'static>(&self, make: impl FnOnce() -> T) -> T {
        let kind = TypeId::of::<T>();
        let known = self.inner.table.lock().shared.get(&kind).cloned();
        if let Some(known) = known.and_then(|known| known.downcast_ref::<T>().cloned()) {
            return known;
        }
        // Without the lock: making it asks for informers. Controllers start one after another.
        let made = make();
        let mut table = self.inner.table.lock();
        table.shared.insert(kind, Arc::new(made.clone()));
        made
    }

    /// Begins all watches.
    pub(crate) fn start(&self) {
        let mut table = self.inner.table.lock();
        if !table.started {
            table.started = true;
            for (gvr, informer) in &table.rows {
                self.watch(gvr, informer);
            }
        }
    }

    fn watch(&self, gvr: &Gvr, informer: &Informer) {
        let api = self.inner.client.resource(gvr);
        let handlers = informer.handlers.clone();
        Reflector::new(api, ListOptions::default(), informer.cache.clone())
            .on_change(move |change| {
                for handler in handlers.read().iter() {
                    handler(change);
                }
            })
            .start(&self.inner.shutdown);
    }
}

impl Informer {
    /// Calls `handler` with every change, in order. It must be quick, and must not add handlers.
    pub(crate) fn on_change(self, handler: impl Fn(&Change) + Send + Sync + 'static) -> Self {
        let mut handlers = self.handlers.write();
        for known in self.cache.list() {
            handler(&Change {
                old: None,
                new: Some(known),
            });
        }
        handlers.push(Arc::new(handler));
        drop(handlers);
        self
    }

    /// Adds an index; those of the same name must be the same function.
    pub(crate) fn index(self, name: &'static str, index: IndexFn) -> Self {
        self.cache.add_index(name, index);
        self
    }

    /// The copy.
    pub(crate) fn cache(self) -> Cache {
        self.cache
    }
}

/// The uid of the managing owner; `orphan/` and the namespace for an object without one.
pub(crate) fn controller_uid(object: &Object) -> Vec<String> {
    let Ok(dom) = object.parse() else {
        return Vec::new();
    };
    match api::meta::of(dom.as_ref()).controller() {
        Some(owner) => vec![owner.uid.to_owned()],
        None => vec![orphans_of(object.namespace())],
    }
}

/// Where [`controller_uid`] files what nobody manages.
pub(crate) fn orphans_of(namespace: &str) -> String {
    format!("orphan/{namespace}")
}

#[cfg(test)]
mod tests;
