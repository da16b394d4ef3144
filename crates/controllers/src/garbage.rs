//! The garbage collector: who owns whom, and what follows when an owner goes.
//!
//! A reflector per served resource feeds the pure [`graph`]; keys in the queue are uids. What to
//! do with one object is the pure decision [`decide`]; this shell applies it.
//! Source: kubernetes v1.36 pkg/controller/garbagecollector/{garbagecollector,graph_builder}.go.

mod decide;
mod graph;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use base::{Chain, Shutdown, tasks};
use client::{
    Cache, DeleteOptions, Error, ListOptions, Object, Patch, Propagation, Reflector, WorkQueue,
};
use parking_lot::Mutex;
use schema::Dom;

use crate::context::{Context, work};
use crate::discovery::{self, Served};
use crate::garbage::decide::{Decision, Policy, decide};
use crate::garbage::graph::{Entry, Graph, Owner};

/// How often the set of served resources is read again when no CRD tells of a change.
const REDISCOVER: Duration = Duration::from_secs(30);

/// When an object is looked at again whose owner is there, but not in the graph.
const OWNER_UNSEEN: Duration = Duration::from_secs(30);

/// The watch of one resource; it ends with what holds this. Whoever waits for the controllers'
/// shutdown to pass it on may be ended by that before.
struct Monitor {
    life: Shutdown,
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.life.trigger();
    }
}

struct World {
    context: Context,
    graph: Mutex<Graph>,
    /// (apiVersion, kind) → resource.
    kinds: Mutex<HashMap<(String, String), Served>>,
    queue: Arc<WorkQueue<String>>,
}

/// Resources that are never collected: they come and go too often and own nothing.
const IGNORED: &[(&str, &str)] = &[("", "events"), ("events.k8s.io", "events")];

pub(crate) fn start(context: Context) {
    let queue: Arc<WorkQueue<String>> = Arc::new(WorkQueue::new());
    let world = Arc::new(World {
        context: context.clone(),
        graph: Mutex::new(Graph::default()),
        kinds: Mutex::new(HashMap::new()),
        queue: queue.clone(),
    });
    let (monitors, wake) = (world.clone(), Arc::new(tokio::sync::Notify::new()));
    let crds = wake.clone();
    let gvr = api::Gvr::new("apiextensions.k8s.io", "v1", "customresourcedefinitions");
    Reflector::new(
        context.informers.resource(&gvr),
        ListOptions::default(),
        Cache::new(Vec::new()),
    )
    .on_change(move |_| crds.notify_one())
    .start(&context.shutdown);
    tasks::supervise("garbage-monitors", &context.shutdown, move || {
        let (world, wake) = (monitors.clone(), wake.clone());
        Box::pin(async move { world.monitor(&wake).await })
    });
    work("garbage-collector", &context, &queue, move |uid| {
        let world = world.clone();
        async move { world.collect(&uid).await }
    });
}

impl World {
    /// Keeps one reflector for each served resource.
    async fn monitor(self: Arc<Self>, wake: &tokio::sync::Notify) {
        let mut running: BTreeMap<String, (Served, Monitor)> = BTreeMap::new();
        loop {
            match discovery::served(&self.context.client).await {
                Ok((served, failed)) => {
                    let wanted: BTreeMap<String, Served> = served
                        .into_iter()
                        .filter(|one| {
                            let ignored = (one.gvr.group.as_str(), one.gvr.resource.as_str());
                            ["list", "watch", "delete"].iter().all(|verb| one.can(verb))
                                && !IGNORED.contains(&ignored)
                        })
                        .map(|one| (one.gvr.path(""), one))
                        .collect();
                    let gone: Vec<String> = running
                        .keys()
                        .filter(|path| !wanted.contains_key(*path))
                        .filter(|path| !failed.iter().any(|group| path.starts_with(group.as_str())))
                        .cloned()
                        .collect();
                    for path in gone {
                        if let Some((served, monitor)) = running.remove(&path) {
                            drop(monitor);
                            self.kinds.lock().remove(&kind_key(&served));
                            let changed = self.graph.lock().forget_resource(&path);
                            changed.into_iter().for_each(|uid| self.queue.add(uid));
                        }
                    }
                    for (path, served) in wanted {
                        self.kinds.lock().insert(kind_key(&served), served.clone());
                        running.entry(path).or_insert_with_key(|path| {
                            let monitor = self.clone().reflect(&served, path);
                            (served, monitor)
                        });
                    }
                }
                Err(error) => {
                    tracing::debug!(err = %Chain(&error), "discovery failed, retries");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    continue;
                }
            }
            tokio::select! {
                biased;
                // A new CRD is served a moment after its object appears.
                () = wake.notified() => tokio::time::sleep(Duration::from_millis(500)).await,
                () = tokio::time::sleep(REDISCOVER) => {}
            }
        }
    }

    fn reflect(self: Arc<Self>, served: &Served, path: &str) -> Monitor {
        let api = self.context.informers.resource(&served.gvr);
        let (world, path, served) = (self.clone(), path.to_owned(), served.clone());
        let monitor = Monitor {
            life: Shutdown::new(),
        };
        Reflector::new(api, ListOptions::default(), Cache::new(Vec::new()))
            .on_change(move |change| {
                let changed = match &change.new {
                    Some(new) => match entry(new, &served, &path) {
                        Some(entry) => world.graph.lock().set(entry),
                        None => Vec::new(),
                    },
                    None => world.graph.lock().remove(change.object().uid()),
                };
                changed.into_iter().for_each(|uid| world.queue.add(uid));
            })
            .start(&monitor.life);
        monitor
    }

    /// Looks at one object.
    async fn collect(&self, uid: &str) -> Result<(), Error> {
        let Some(entry) = self.graph.lock().get(uid).cloned() else {
            return Ok(());
        };
        let served = {
            let kinds = self.kinds.lock();
            kinds
                .get(&(entry.api_version.clone(), entry.kind.clone()))
                .cloned()
        };
        let Some(served) = served else { return Ok(()) };
        // Owners that the graph does not know are looked up: they may be new, or gone.
        let mut absent = Vec::new();
        for owner in &entry.owners {
            if self.graph.lock().get(&owner.uid).is_some() {
                continue;
            }
            if self.exists(owner, &entry.namespace).await? {
                // The watch of its kind is behind. If it goes before that has caught up, nobody
                // ever tells that it went (kubernetes issue 56121).
                self.queue.add_after(uid.to_owned(), OWNER_UNSEEN);
            } else {
                absent.push(owner.uid.clone());
            }
        }
        let decision = {
            let graph = self.graph.lock();
            decide(&entry, &graph, &absent)
        };
        let api = self
            .context
            .client
            .namespaced(&served.gvr, &entry.namespace);
        match decision {
            Decision::Nothing => Ok(()),
            Decision::Dependents(uids) => {
                uids.into_iter().for_each(|uid| self.queue.add(uid));
                Ok(())
            }
            Decision::Delete(policy) => delete(&api, &entry, policy).await,
            Decision::BreakCircle => {
                self.edit(&api, &entry, unblock_owners).await?;
                delete(&api, &entry, Policy::Foreground).await
            }
            Decision::RemoveOwners(owners) => {
                let remove = |list: &mut Dom| edit_owners(list, &owners);
                self.edit(&api, &entry, remove).await
            }
            Decision::RemoveFinalizer(name) => {
                self.edit(&api, &entry, |dom| remove_finalizer(dom, name))
                    .await
            }
            Decision::Orphan => {
                let dependents = self.graph.lock().dependents(uid);
                for dependent in dependents {
                    let served = {
                        let kinds = self.kinds.lock();
                        kinds
                            .get(&(dependent.api_version.clone(), dependent.kind.clone()))
                            .cloned()
                    };
                    let Some(served) = served else { continue };
                    let api = self
                        .context
                        .client
                        .namespaced(&served.gvr, &dependent.namespace);
                    let owners = [uid.to_owned()];
                    self.edit(&api, &dependent, |dom| edit_owners(dom, &owners))
                        .await?;
                }
                self.edit(&api, &entry, |dom| remove_finalizer(dom, decide::ORPHAN))
                    .await
            }
        }
    }

    /// Whether an owner that the graph does not know is there.
    async fn exists(&self, owner: &Owner, namespace: &str) -> Result<bool, Error> {
        let served = {
            let kinds = self.kinds.lock();
            kinds
                .get(&(owner.api_version.clone(), owner.kind.clone()))
                .cloned()
        };
        // A kind that is not served (yet): never taken for gone.
        let Some(served) = served else {
            return Ok(true);
        };
        let namespace = if served.namespaced { namespace } else { "" };
        let api = self.context.client.namespaced(&served.gvr, namespace);
        Ok(api
            .find(&owner.name)
            .await?
            .is_some_and(|found| found.uid() == owner.uid))
    }

    /// Changes an object's metadata by a merge patch that carries uid and revision.
    async fn edit(
        &self,
        api: &client::Api,
        entry: &Entry,
        change: impl Fn(&mut Dom),
    ) -> Result<(), Error> {
        let Some(object) = api.find(&entry.name).await? else {
            return Ok(());
        };
        if object.uid() != entry.uid {
            return Ok(());
        }
        let Ok(mut dom) = object.parse() else {
            return Ok(());
        };
        change(&mut dom);
        let mut patch = Dom::new();
        let root = patch.new_map();
        patch.set_root(root);
        let metadata = patch.ensure_map(root, "metadata");
        patch.set_str(metadata, "uid", object.uid());
        patch.set_str(metadata, "resourceVersion", object.resource_version());
        for list in ["ownerReferences", "finalizers"] {
            let value = dom
                .at(dom.root(), &["metadata", list])
                .filter(|value| !dom.is_empty(*value));
            let copy = match value {
                Some(value) => patch.import(&dom, value),
                None => patch.new_null(),
            };
            patch.set(metadata, list, copy);
        }
        let patch = Patch::Merge(patch.to_json(root).into());
        gone_is_fine(api.patch(&entry.name, "", patch).await.map(|_| ()))
    }
}

fn kind_key(served: &Served) -> (String, String) {
    (served.gvr.api_version(), served.kind.clone())
}

async fn delete(api: &client::Api, entry: &Entry, policy: Policy) -> Result<(), Error> {
    tracing::info!(
        kind = entry.kind,
        ns = entry.namespace,
        name = entry.name,
        uid = entry.uid,
        "deletes an object whose owners are gone"
    );
    let options = DeleteOptions {
        uid: Some(entry.uid.clone()),
        propagation: Some(match policy {
            Policy::Background => Propagation::Background,
            Policy::Foreground => Propagation::Foreground,
            Policy::Orphan => Propagation::Orphan,
        }),
        ..DeleteOptions::default()
    };
    gone_is_fine(api.delete(&entry.name, &options).await)
}

fn gone_is_fine(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(error) if error.is_not_found() => Ok(()),
        other => other,
    }
}

fn edit_owners(dom: &mut Dom, gone: &[String]) {
    let Some(list) = dom.at(dom.root(), &["metadata", "ownerReferences"]) else {
        return;
    };
    while let Some(at) = dom
        .items(list)
        .position(|item| gone.iter().any(|uid| dom.at_node(item).str("uid") == uid))
    {
        dom.remove_item(list, at);
    }
}

/// No owner waits for the object's end any more.
fn unblock_owners(dom: &mut Dom) {
    let Some(list) = dom.at(dom.root(), &["metadata", "ownerReferences"]) else {
        return;
    };
    let owners: Vec<_> = dom.items(list).collect();
    for owner in owners {
        dom.set_bool(owner, "blockOwnerDeletion", false);
    }
}

fn remove_finalizer(dom: &mut Dom, name: &str) {
    let Some(list) = dom.at(dom.root(), &["metadata", "finalizers"]) else {
        return;
    };
    if let Some(at) = dom
        .items(list)
        .position(|item| dom.as_str(item) == Some(name))
    {
        dom.remove_item(list, at);
    }
}

fn entry(object: &Object, served: &Served, path: &str) -> Option<Entry> {
    let dom = object.parse().ok()?;
    let metadata = dom.as_ref().get("metadata")?;
    Some(Entry {
        uid: object.uid().to_owned(),
        api_version: served.gvr.api_version(),
        kind: served.kind.clone(),
        resource: path.to_owned(),
        namespace: object.namespace().to_owned(),
        name: object.name().to_owned(),
        deleting: !metadata.str("deletionTimestamp").is_empty(),
        finalizers: metadata
            .items("finalizers")
            .filter_map(|finalizer| finalizer.as_str().map(str::to_owned))
            .collect(),
        owners: metadata
            .items("ownerReferences")
            .map(|owner| Owner {
                uid: owner.str("uid").to_owned(),
                api_version: owner.str("apiVersion").to_owned(),
                kind: owner.str("kind").to_owned(),
                name: owner.str("name").to_owned(),
                blocks: owner.bool("blockOwnerDeletion").unwrap_or(false),
            })
            .collect(),
    })
}

#[cfg(test)]
mod tests;
