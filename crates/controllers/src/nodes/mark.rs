//! Says in a pod's status why it is about to be deleted, and deletes it.

use api::Gvr;
use client::{Client, DeleteOptions, Error, Patch};
use jiff::Timestamp;
use schema::Dom;

use crate::nodes::Placed;

/// The condition that a pod is told to end for a reason outside of it.
pub(crate) struct Condition {
    pub(crate) reason: &'static str,
    pub(crate) message: &'static str,
}

/// Writes condition DisruptionTarget and, with `failed`, the phase that no kubelet is there to
/// write. A pod that is gone is fine.
pub(crate) async fn mark(
    client: &Client,
    pod: &Placed,
    condition: Option<&Condition>,
    failed: bool,
    now: Timestamp,
) -> Result<(), Error> {
    let mut dom = Dom::new();
    let root = dom.new_map();
    dom.set_root(root);
    let metadata = dom.ensure_map(root, "metadata");
    dom.set_str(metadata, "uid", &pod.uid);
    let status = dom.ensure_map(root, "status");
    if failed {
        dom.set_str(status, "phase", "Failed");
        dom.set_int(status, "observedGeneration", pod.generation);
    }
    if let Some(condition) = condition {
        let list = dom.ensure_list(status, "conditions");
        let entry = dom.new_map();
        dom.set_str(entry, "type", "DisruptionTarget");
        dom.set_int(entry, "observedGeneration", pod.generation);
        dom.set_str(entry, "status", "True");
        dom.set_str(entry, "reason", condition.reason);
        dom.set_str(entry, "message", condition.message);
        let time = api::time::format_seconds(now);
        dom.set_str(entry, "lastTransitionTime", &time);
        dom.push(list, entry);
    }
    let pods = client.namespaced(&Gvr::new("", "v1", "pods"), &pod.key.namespace);
    let patch = Patch::Strategic(dom.to_json(root).into());
    gone_is_fine(pods.patch(&pod.key.name, "status", patch).await.map(|_| ()))
}

/// Deletes this incarnation; with `at_once` nobody is asked to end it.
pub(crate) async fn delete(client: &Client, pod: &Placed, at_once: bool) -> Result<(), Error> {
    let pods = client.namespaced(&Gvr::new("", "v1", "pods"), &pod.key.namespace);
    let options = DeleteOptions {
        grace_period_seconds: at_once.then_some(0),
        uid: Some(pod.uid.clone()),
        ..DeleteOptions::default()
    };
    gone_is_fine(pods.delete(&pod.key.name, &options).await)
}

/// A conflict is another incarnation of the name.
fn gone_is_fine(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
        other => other,
    }
}
