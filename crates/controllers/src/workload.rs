//! What the controllers of workloads share: pods as facts, ownership, expectations, creation.
//!
//! ReplicaSets, Jobs, DaemonSets and StatefulSets differ in which pods they want; how pods are
//! claimed, made, deleted and counted is the same for all of them and lives here.

pub(crate) mod amount;
pub(crate) mod claiming;
pub(crate) mod claims;
pub(crate) mod control;
pub(crate) mod expectations;
pub(crate) mod living;
pub(crate) mod pods;
pub(crate) mod revisions;
pub(crate) mod template;

use std::sync::Arc;

use client::{Cache, Change, Key, Object};
use schema::Dom;

/// A key in a work queue.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Name(pub(crate) Key);

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Who may own a dependent: its kind, and where its objects are.
#[derive(Clone)]
pub(crate) struct Owners {
    /// `ReplicaSet` …
    pub(crate) kind: &'static str,
    /// All of them.
    pub(crate) cache: Cache,
    /// Where an owner keeps its selector; gives what matches labels.
    pub(crate) selector: fn(schema::Ref<'_>) -> Option<api::LabelSelector>,
}

/// What a change of a dependent (a pod, a ReplicaSet) means to the owners of one kind.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// Owner of a dependent that appeared.
    pub(crate) created: Option<Key>,
    /// Owner of a dependent that began to go or went.
    pub(crate) deleted: Option<Key>,
    /// Every owner to look at.
    pub(crate) touched: Vec<Key>,
}

impl Owners {
    /// The owner that an object names, if it exists with that uid.
    pub(crate) fn resolve(&self, dependent: &Dom, namespace: &str) -> Option<Arc<Object>> {
        let owner = api::meta::of(dependent.as_ref()).controller()?;
        if owner.kind != self.kind {
            return None;
        }
        let object = self.cache.get(&Key::new(namespace, owner.name))?;
        (object.uid() == owner.uid).then_some(object)
    }

    /// Owners whose selector matches an orphan's labels.
    fn wanting(&self, dependent: &Dom, namespace: &str) -> Vec<Key> {
        let meta = api::meta::of(dependent.as_ref());
        let all = self.cache.list_namespace(namespace);
        let wanting = all.into_iter().filter(|owner| {
            owner.parse().is_ok_and(|dom| {
                (self.selector)(dom.as_ref())
                    .is_some_and(|selector| !selector.is_empty() && meta.matches(&selector))
            })
        });
        wanting.map(|owner| owner.key().clone()).collect()
    }

    /// Reads a change.
    ///
    /// Source: kubernetes v1.36.3 pkg/controller/replicaset/replica_set.go, addPod, updatePod,
    /// deletePod.
    pub(crate) fn told(&self, change: &Change) -> Told {
        let mut told = Told::default();
        let namespace = change.key().namespace.as_str();
        let old = change.old.as_ref().and_then(|old| old.parse().ok());
        let new = change.new.as_ref().and_then(|new| new.parse().ok());
        let owner = |dom: &Option<Dom>| {
            let object = self.resolve(dom.as_ref()?, namespace)?;
            Some(object.key().clone())
        };
        let (before, after) = (owner(&old), owner(&new));
        let Some(dom) = &new else {
            told.touched.extend(before.clone());
            told.deleted = before;
            return told;
        };
        let meta = api::meta::of(dom.as_ref());
        if meta.is_deleting() {
            told.deleted.clone_from(&after);
        } else if old.is_none() {
            told.created.clone_from(&after);
        }
        if let Some(before) = before.filter(|before| Some(before) != after.as_ref()) {
            told.touched.push(before);
        }
        if meta.controller().is_none() {
            let changed = old.as_ref().is_none_or(|old| {
                let was = api::meta::of(old.as_ref());
                was.controller().is_some() || !was.labels().eq(meta.labels())
            });
            if changed && !meta.is_deleting() {
                told.touched.extend(self.wanting(dom, namespace));
            }
        }
        told.touched.extend(after);
        told
    }
}

/// `spec.selector` as a LabelSelector.
pub(crate) fn label_selector(owner: schema::Ref<'_>) -> Option<api::LabelSelector> {
    api::meta::label_selector(owner.get("spec")?.get("selector")).ok()
}
