//! Recounts what namespaces use, for the status of their ResourceQuotas.
//!
//! Admission charges what a create adds in the create's own transaction; here usage shrinks again
//! and follows the quota's own changes. Resources are watched from the first quota on that names
//! them, so that a cluster without quotas keeps no copies.
//! Source: kubernetes v1.36.3 pkg/controller/resourcequota/resource_quota_controller.go.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use api::{Format, Gr, Gvr, Quantity};
use client::{Cache, Error, ListOptions, Reflector, WorkQueue};
use parking_lot::Mutex;
use schema::{Dom, Ref};

use crate::context::{Context, work};
use crate::discovery;

/// Resources that are watched at most: every kind of a big cluster.
const WATCHED: usize = 512;

type Queue = Arc<WorkQueue<String>>;

struct Counted {
    kind: String,
    cache: Cache,
}

struct Quotas {
    context: Context,
    queue: Queue,
    quotas: Cache,
    counted: Mutex<HashMap<Gr, Arc<Counted>>>,
}

pub(crate) fn start(context: Context) {
    let queue: Queue = Arc::new(WorkQueue::new());
    let add = queue.clone();
    let quotas = Reflector::new(
        context
            .client
            .resource(&Gvr::new("", "v1", "resourcequotas")),
        ListOptions::default(),
        Cache::new(Vec::new()),
    )
    .on_change(move |change| {
        if change.new.is_some() {
            add.add(change.key().namespace.clone());
        }
    })
    .start(&context.shutdown);
    let all = Arc::new(Quotas {
        context: context.clone(),
        queue: queue.clone(),
        quotas,
        counted: Mutex::new(HashMap::new()),
    });
    work(
        "resourcequota-controller",
        &context,
        &queue,
        move |namespace| {
            let all = all.clone();
            async move { all.sync(&namespace).await }
        },
    );
}

impl Quotas {
    async fn sync(&self, namespace: &str) -> Result<(), Error> {
        for quota in self.quotas.list_namespace(namespace) {
            let Ok(mut dom) = quota.parse() else { continue };
            let names: Vec<String> = limits(dom.as_ref())
                .map(|(name, _)| name.to_owned())
                .collect();
            let mut used = BTreeMap::new();
            let mut resources: Vec<Gr> =
                names.iter().map(|name| api::quota::counted(name)).collect();
            resources.sort_by(|a, b| (&a.group, &a.resource).cmp(&(&b.group, &b.resource)));
            resources.dedup();
            for resource in &resources {
                let Some(counted) = self.counted(resource).await? else {
                    continue;
                };
                for object in counted.cache.list_namespace(namespace) {
                    let Ok(object) = object.parse() else { continue };
                    if api::quota::selects(dom.as_ref(), &counted.kind, object.as_ref()) {
                        add(&mut used, resource, object.as_ref());
                    }
                }
            }
            if !write(&mut dom, &names, &used) {
                continue;
            }
            let gvr = Gvr::new("", "v1", "resourcequotas");
            let api = self.context.client.namespaced(&gvr, namespace);
            let json = dom.to_json(dom.root());
            match api.update_subresource(quota.name(), "status", json).await {
                Ok(_) => {}
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The copy of a resource, from now on watched; none when it is not served.
    async fn counted(&self, resource: &Gr) -> Result<Option<Arc<Counted>>, Error> {
        let known = self.counted.lock().get(resource).cloned();
        if let Some(known) = known {
            known.cache.synced().await;
            return Ok(Some(known));
        }
        let (served, _) = discovery::served(&self.context.client).await?;
        let found = served.into_iter().find(|served| {
            served.gvr.group == resource.group
                && served.gvr.resource == resource.resource
                && served.namespaced
                && served.can("watch")
        });
        let Some(found) = found else { return Ok(None) };
        let counted = {
            let mut all = self.counted.lock();
            if all.len() >= WATCHED {
                return Ok(None);
            }
            let start = || {
                let (queue, quotas) = (self.queue.clone(), self.quotas.clone());
                let api = self.context.client.resource(&found.gvr);
                let cache = Cache::new(Vec::new());
                let cache = Reflector::new(api, ListOptions::default(), cache)
                    .on_change(move |change| {
                        let namespace = &change.key().namespace;
                        if !quotas.list_namespace(namespace).is_empty() {
                            queue.add(namespace.clone());
                        }
                    })
                    .start(&self.context.shutdown);
                Arc::new(Counted {
                    kind: found.kind.clone(),
                    cache,
                })
            };
            all.entry(resource.clone()).or_insert_with(start).clone()
        };
        counted.cache.synced().await;
        Ok(Some(counted))
    }
}

fn limits(quota: Ref<'_>) -> impl Iterator<Item = (&str, Ref<'_>)> {
    quota
        .get("spec")
        .into_iter()
        .flat_map(|spec| spec.entries("hard"))
}

fn add(used: &mut BTreeMap<String, Quantity>, resource: &Gr, object: Ref<'_>) {
    for (name, amount) in api::quota::usage(resource, object) {
        // `requests.storage` of a pod is not `requests.storage` of claims.
        if api::quota::counted(&name) == *resource {
            used.entry(name).or_default().add(&amount);
        }
    }
}

/// Puts limits and usage into the status; false when they are there already.
fn write(quota: &mut Dom, names: &[String], used: &BTreeMap<String, Quantity>) -> bool {
    let root = quota.root();
    let hard = quota.at(root, &["spec", "hard"]);
    let same_hard = match (hard, quota.at(root, &["status", "hard"])) {
        (Some(wanted), Some(observed)) => quota.equal(wanted, quota, observed),
        (wanted, observed) => wanted.is_none() && observed.is_none(),
    };
    let zero = Quantity::new(0, Format::DecimalSi);
    let before: BTreeMap<String, String> = quota
        .as_ref()
        .at(&["status", "used"])
        .into_iter()
        .flat_map(Ref::map)
        .map(|(name, value)| {
            (
                name.to_owned(),
                value.as_str().unwrap_or_default().to_owned(),
            )
        })
        .collect();
    let after: BTreeMap<String, String> = names
        .iter()
        .map(|name| (name.clone(), used.get(name).unwrap_or(&zero).to_string()))
        .collect();
    if same_hard && before == after {
        return false;
    }
    let status = quota.ensure_map(root, "status");
    match hard {
        Some(hard) => {
            let copy = quota.copy(hard);
            quota.set(status, "hard", copy);
        }
        None => {
            quota.remove(status, "hard");
        }
    }
    let map = quota.new_map();
    for (name, amount) in &after {
        quota.set_str(map, name, amount);
    }
    quota.set(status, "used", map);
    true
}

#[cfg(test)]
mod tests;
