//! Writes what the API shows of pods and nodes into the trace, and watches invariants that need
//! the API and the runtimes: nothing is overcommitted, no object goes before its containers.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::Gvr;
use base::Shutdown;
use client::{Cache, Change, Client, ListOptions, Object, Reflector};
use parking_lot::Mutex;

use crate::FakeRuntime;
use crate::cluster::node::{MAX_PODS, MEMORY_BYTES, MILLICORES};
use crate::trace::Trace;

/// The runtimes of all nodes, present and future.
#[derive(Clone, Default)]
pub(super) struct Runtimes {
    by_node: Arc<Mutex<BTreeMap<String, FakeRuntime>>>,
}

impl Runtimes {
    pub(super) fn insert(&self, node: &str, runtime: FakeRuntime) {
        self.by_node.lock().insert(node.to_owned(), runtime);
    }

    fn running_of(&self, uid: &str) -> Vec<String> {
        self.by_node
            .lock()
            .values()
            .flat_map(|runtime| runtime.running_of(uid))
            .collect()
    }
}

pub(super) fn start(client: &Client, trace: &Trace, runtimes: &Runtimes, shutdown: &Shutdown) {
    let (notes, runtimes) = (trace.clone(), runtimes.clone());
    let cache = Cache::new(Vec::new());
    let pods = cache.clone();
    let resource = client.resource(&Gvr::new("", "v1", "pods"));
    Reflector::new(resource, ListOptions::default(), cache)
        .on_change(move |change| on_pod(change, &notes, &runtimes, &pods))
        .start(shutdown);
    let notes = trace.clone();
    let resource = client.resource(&Gvr::new("", "v1", "nodes"));
    Reflector::new(resource, ListOptions::default(), Cache::new(Vec::new()))
        .on_change(move |change| {
            let before = change.old.as_deref().map(node_summary);
            let now = change.new.as_deref().map(node_summary);
            if before != now {
                let name = change.key().name.clone();
                notes.note(name, now.unwrap_or_else(|| "object gone".to_owned()));
            }
        })
        .start(shutdown);
}

fn on_pod(change: &Change, trace: &Trace, runtimes: &Runtimes, pods: &Cache) {
    let key = change.key().to_string();
    if let Some(old) = &change.old
        && change.new.as_ref().is_none_or(|new| new.uid() != old.uid())
    {
        trace.note(&key, "object gone");
        let left = runtimes.running_of(old.uid());
        if !left.is_empty() && !was_forced(old) {
            trace.violation(format!("{key}: the object is gone, {left:?} still run"));
        }
    }
    if let Some(new) = &change.new {
        let now = pod_summary(new);
        if change.old.as_deref().map(pod_summary).as_ref() != Some(&now) {
            trace.note(&key, now);
        }
        check_room(new, trace, runtimes, pods);
    }
}

fn was_forced(pod: &Object) -> bool {
    pod.parse().is_ok_and(|dom| {
        let metadata = dom.as_ref().get("metadata");
        metadata.and_then(|m| m.int("deletionGracePeriodSeconds")) == Some(0)
    })
}

fn pod_summary(pod: &Object) -> String {
    let Ok(dom) = pod.parse() else {
        return "malformed".to_owned();
    };
    let pod = dom.as_ref();
    let mut text = String::new();
    if let Some(node) = pod
        .at(&["spec"])
        .map(|spec| spec.str("nodeName"))
        .filter(|n| !n.is_empty())
    {
        text.push_str(&format!("node={node} "));
    }
    let status = pod.get("status");
    text.push_str(&format!(
        "phase={}",
        status.map_or("", |status| status.str("phase"))
    ));
    if api::pod::is_ready(pod) {
        text.push_str(" ready");
    }
    let lists = ["initContainerStatuses", "containerStatuses"];
    for container in status
        .into_iter()
        .flat_map(|s| lists.into_iter().flat_map(move |l| s.items(l)))
    {
        let restarts = container.int("restartCount").unwrap_or(0);
        let state = container.get("state");
        let state = state.and_then(|state| state.map().next());
        let state = state.map_or_else(String::new, |(kind, detail)| match detail.str("reason") {
            "" => kind.to_owned(),
            reason => reason.to_owned(),
        });
        text.push_str(&format!(" {}#{restarts}={state}", container.str("name")));
    }
    if api::meta::of(pod).is_deleting() {
        text.push_str(" deleting");
    }
    text
}

fn node_summary(node: &Object) -> String {
    let Ok(dom) = node.parse() else {
        return "malformed".to_owned();
    };
    let node = dom.as_ref();
    let ready = api::meta::condition(node, "Ready").map_or("", |ready| ready.str("status"));
    let spec = node.get("spec");
    let taints = spec.into_iter().flat_map(|spec| spec.items("taints"));
    let mut taints: Vec<String> = taints
        .map(|t| format!("{}:{}", t.str("key"), t.str("effect")))
        .collect();
    taints.sort();
    format!("Ready={ready} taints={}", taints.join(","))
}

/// What runs on `changed`'s node fits on it. Not all that is bound to it: a scheduler whose binding
/// was done but never answered gives the room away twice, and the node refuses the second pod.
fn check_room(changed: &Object, trace: &Trace, runtimes: &Runtimes, pods: &Cache) {
    let node_of = |object: &Object| {
        let dom = object.parse().ok()?;
        let node = dom.as_ref().get("spec")?.str("nodeName").to_owned();
        (!node.is_empty() && !api::pod::is_terminal(dom.as_ref())).then_some((node, dom))
    };
    let Some((node, _)) = node_of(changed) else {
        return;
    };
    let (mut millicores, mut memory_bytes, mut count) = (0, 0, 0);
    for pod in pods.list() {
        let Some((own, dom)) = node_of(&pod) else {
            continue;
        };
        if own == node && !runtimes.running_of(pod.uid()).is_empty() {
            let amounts = api::pod::requests(dom.as_ref(), &api::pod::RequestOptions::default());
            millicores += amounts.get("cpu").map_or(0, api::Quantity::millis);
            memory_bytes += amounts.get("memory").map_or(0, api::Quantity::value);
            count += 1;
        }
    }
    if millicores > MILLICORES || memory_bytes > MEMORY_BYTES || count > MAX_PODS {
        trace.violation(format!(
            "{node} is overcommitted: {millicores}m, {memory_bytes} bytes, {count} pods"
        ));
    }
}
