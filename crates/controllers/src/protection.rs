//! Volumes and claims that are being deleted stay until nothing uses them.
//!
//! Admission gives both a finalizer; it goes when no scheduled pod names the claim, and when the
//! volume is not bound.
//! Source: kubernetes v1.36.3 pkg/controller/volume/{pvcprotection,pvprotection}.

use std::sync::Arc;

use api::Gvr;
use client::{Cache, Error, Key, Object, WorkQueue};
use schema::{Dom, Ref};

use crate::context::{Context, work};

const CLAIM: &str = "kubernetes.io/pvc-protection";
const VOLUME: &str = "kubernetes.io/pv-protection";
const BY_CLAIM: &str = "claim";

pub(crate) fn start_claims(context: Context) {
    let queue: Arc<WorkQueue<Text>> = Arc::new(WorkQueue::new());
    let claims = watch(&context, "persistentvolumeclaims", &queue);
    let add = queue.clone();
    let pods = context.informers.of("", "v1", "pods");
    let pods = pods.index(BY_CLAIM, claims_of).on_change(move |change| {
        // Only a pod that went or ended frees a claim.
        let ended = change
            .new
            .as_ref()
            .is_none_or(|new| claims_of(new).is_empty());
        let before = change.old.as_ref().filter(|_| ended);
        for claim in before.into_iter().flat_map(|old| claims_of(old)) {
            let (namespace, name) = claim.split_once('/').unwrap_or_default();
            add.add(Text(Key::new(namespace, name)));
        }
    });
    let pods = pods.cache();
    let own = context.clone();
    work(
        "persistentvolumeclaim-protection-controller",
        &context,
        &queue,
        move |Text(key)| {
            let (context, claims, pods) = (own.clone(), claims.clone(), pods.clone());
            async move {
                pods.synced().await;
                let Some(claim) = claims.get(&key) else {
                    return Ok(());
                };
                let index = format!("{}/{}", key.namespace, key.name);
                if !pods.by_index(BY_CLAIM, &index).is_empty() {
                    return Ok(());
                }
                release(&context, "persistentvolumeclaims", CLAIM, &claim, |_| true).await
            }
        },
    );
}

pub(crate) fn start_volumes(context: Context) {
    let queue: Arc<WorkQueue<Text>> = Arc::new(WorkQueue::new());
    let volumes = watch(&context, "persistentvolumes", &queue);
    let own = context.clone();
    work(
        "persistentvolume-protection-controller",
        &context,
        &queue,
        move |Text(key)| {
            let (context, volumes) = (own.clone(), volumes.clone());
            async move {
                let Some(volume) = volumes.get(&key) else {
                    return Ok(());
                };
                let unbound = |volume: Ref<'_>| {
                    volume
                        .get("status")
                        .is_none_or(|status| status.str("phase") != "Bound")
                };
                release(&context, "persistentvolumes", VOLUME, &volume, unbound).await
            }
        },
    );
}

/// A key that prints itself.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Text(Key);

impl std::fmt::Display for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.0.namespace, self.0.name)
    }
}

fn watch(context: &Context, resource: &str, queue: &Arc<WorkQueue<Text>>) -> Cache {
    let add = queue.clone();
    let informer = context.informers.of("", "v1", resource);
    let informer = informer.on_change(move |change| {
        if change.new.is_some() {
            add.add(Text(change.key().clone()));
        }
    });
    informer.cache()
}

/// Claims that a scheduled pod which has not ended names, as `namespace/name`.
fn claims_of(pod: &Object) -> Vec<String> {
    let Ok(dom) = pod.parse() else {
        return Vec::new();
    };
    used_claims(dom.as_ref())
        .map(|claim| format!("{}/{claim}", pod.namespace()))
        .collect()
}

fn used_claims(pod: Ref<'_>) -> impl Iterator<Item = String> {
    let spec = pod
        .get("spec")
        .filter(|spec| !spec.str("nodeName").is_empty() && !api::pod::is_terminal(pod));
    let own = api::meta::of(pod).name();
    spec.into_iter()
        .flat_map(|spec| spec.items("volumes"))
        .filter_map(move |volume| {
            if volume.get("ephemeral").is_some() {
                return Some(format!("{own}-{}", volume.str("name")));
            }
            let claim = volume.get("persistentVolumeClaim")?.str("claimName");
            Some(claim.to_owned())
        })
}

/// Takes the finalizer away from an object that is being deleted and may go.
async fn release(
    context: &Context,
    resource: &str,
    finalizer: &str,
    object: &Object,
    may_go: impl Fn(Ref<'_>) -> bool,
) -> Result<(), Error> {
    let Ok(mut dom) = object.parse() else {
        return Ok(());
    };
    let meta = api::meta::of(dom.as_ref());
    if !meta.is_deleting() || !meta.has_finalizer(finalizer) || !may_go(dom.as_ref()) {
        return Ok(());
    }
    remove(&mut dom, finalizer);
    let gvr = Gvr::new("", "v1", resource);
    let api = match object.namespace() {
        "" => context.client.resource(&gvr),
        namespace => context.client.namespaced(&gvr, namespace),
    };
    match api.update(object.name(), dom.to_json(dom.root())).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

fn remove(dom: &mut Dom, finalizer: &str) {
    let root = dom.root();
    let metadata = dom.ensure_map(root, "metadata");
    let list = dom.ensure_list(metadata, "finalizers");
    let at = dom
        .items(list)
        .position(|item| dom.as_str(item) == Some(finalizer));
    if let Some(at) = at {
        dom.remove_item(list, at);
    }
}

#[cfg(test)]
mod tests;
