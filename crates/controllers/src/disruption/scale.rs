//! How many pods the controllers of some pods want.
//!
//! Known kinds are read from the shared copies; others are asked for their scale.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::Gvk;
use client::{Cache, Error, Key};
use http::Method;
use schema::Dom;

use crate::context::Context;
use crate::discovery;
use crate::endpoint::{Owner, Pod};

/// See the fields.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    pub(super) pods: i64,
    /// Pods without a controller.
    pub(super) unmanaged: usize,
}

pub(super) struct Scales {
    context: Context,
    /// By group and kind.
    known: BTreeMap<(&'static str, &'static str), Cache>,
}

impl Scales {
    pub(super) fn new(context: &Context) -> Self {
        let rows = [
            ("", "ReplicationController", "replicationcontrollers"),
            ("apps", "ReplicaSet", "replicasets"),
            ("apps", "Deployment", "deployments"),
            ("apps", "StatefulSet", "statefulsets"),
        ];
        let known = rows.map(|(group, kind, resource)| {
            let cache = context.informers.of(group, "v1", resource).cache();
            ((group, kind), cache)
        });
        Self {
            context: context.clone(),
            known: known.into(),
        }
    }

    /// The inner error is the API's fault or the pods': it belongs into the status.
    pub(super) async fn sum(&self, pods: &[Arc<Pod>]) -> Result<Result<Sum, String>, Error> {
        let mut wanted: BTreeMap<String, i64> = BTreeMap::new();
        let mut seen: BTreeMap<String, String> = BTreeMap::new();
        let mut unmanaged = 0;
        for pod in pods {
            let Some(owner) = &pod.controller else {
                unmanaged += 1;
                continue;
            };
            if seen.contains_key(&owner.uid) {
                continue;
            }
            let Some((uid, replicas)) = self.find(&pod.namespace, owner).await? else {
                return Ok(Err(format!(
                    "found no controllers for pod \"{}\"",
                    pod.name
                )));
            };
            seen.insert(owner.uid.clone(), uid.clone());
            wanted.insert(uid, replicas);
        }
        Ok(Ok(Sum {
            pods: wanted.values().sum(),
            unmanaged,
        }))
    }

    /// The controller's uid, or that of the Deployment behind it, and what it wants.
    async fn find(&self, namespace: &str, owner: &Owner) -> Result<Option<(String, i64)>, Error> {
        let group = owner
            .api_version
            .split_once('/')
            .map_or("", |(group, _)| group);
        let Some(cache) = self.known.get(&(group, owner.kind.as_str())) else {
            return self.ask(namespace, owner).await;
        };
        cache.synced().await;
        let object = cache.get(&Key::new(namespace, owner.name.as_str()));
        let Some(object) = object.filter(|object| object.uid() == owner.uid) else {
            return Ok(None);
        };
        let Ok(dom) = object.parse() else {
            return Ok(None);
        };
        let above = api::meta::of(dom.as_ref()).controller();
        if let Some(above) = above.filter(|above| above.kind == "Deployment") {
            let Some(deployments) = self.known.get(&("apps", "Deployment")) else {
                return Ok(None);
            };
            deployments.synced().await;
            let object = deployments.get(&Key::new(namespace, above.name));
            let object = object.filter(|object| object.uid() == above.uid);
            let dom = object.and_then(|object| object.parse().ok());
            return Ok(dom.map(|dom| (above.uid.to_owned(), replicas(&dom))));
        }
        Ok(Some((owner.uid.clone(), replicas(&dom))))
    }

    async fn ask(&self, namespace: &str, owner: &Owner) -> Result<Option<(String, i64)>, Error> {
        let Some(gvk) = Gvk::from_fields(&owner.api_version, &owner.kind).ok() else {
            return Ok(None);
        };
        let (served, _) = discovery::served(&self.context.client).await?;
        let found = served
            .into_iter()
            .find(|one| one.gvr.group == gvk.group && one.kind == gvk.kind && one.namespaced);
        let Some(found) = found else { return Ok(None) };
        let api = self.context.client.namespaced(&found.gvr, namespace);
        let path = api.path(&owner.name, "scale", &[]);
        let bytes = match self.context.client.bytes(Method::GET, &path, None).await {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let Ok(dom) = Dom::parse_json(&bytes) else {
            return Ok(None);
        };
        let same = api::meta::of(dom.as_ref()).uid() == owner.uid;
        Ok(same.then(|| (owner.uid.clone(), replicas(&dom))))
    }
}

/// `spec.replicas`, of workloads and of scales alike.
fn replicas(dom: &Dom) -> i64 {
    let spec = dom.as_ref().get("spec");
    spec.and_then(|spec| spec.int("replicas")).unwrap_or(0)
}
