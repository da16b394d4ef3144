//! Writes what the API shows of pods and nodes into the trace, and watches invariants that need
//! the API and the runtimes: nothing is overcommitted, no object goes before its containers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::Gvr;
use base::Shutdown;
use client::{Cache, Change, Client, Key, ListOptions, Object, Reflector};
use parking_lot::Mutex;
use schema::Ref;

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

    pub(super) fn remove(&self, node: &str) {
        self.by_node.lock().remove(node);
    }

    /// Uids of the pods of which something runs.
    fn running(&self) -> BTreeSet<String> {
        let all = self.by_node.lock();
        all.values()
            .flat_map(|runtime| runtime.uids_running())
            .collect()
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
    let seen: Mutex<BTreeMap<Key, Seen>> = Mutex::default();
    let resource = client.resource(&Gvr::new("", "v1", "pods"));
    Reflector::new(resource, ListOptions::default(), Cache::new(Vec::new()))
        .on_change(move |change| on_pod(change, &notes, &runtimes, &mut seen.lock()))
        .start(shutdown);
    let notes = trace.clone();
    let resource = client.resource(&Gvr::new("", "v1", "nodes"));
    let summaries: Mutex<BTreeMap<Key, String>> = Mutex::default();
    Reflector::new(resource, ListOptions::default(), Cache::new(Vec::new()))
        .on_change(move |change| {
            let (mut summaries, key) = (summaries.lock(), change.key());
            let now = change.new.as_deref().map(node_summary);
            if summaries.get(key) == now.as_ref() {
                return;
            }
            match &now {
                Some(now) => summaries.insert(key.clone(), now.clone()),
                None => summaries.remove(key),
            };
            let gone = || "object gone".to_owned();
            notes.note(key.name.clone(), now.unwrap_or_else(gone));
        })
        .start(shutdown);
}

/// What the API said of a pod last; parsed once, for each change looks at all pods of a node.
struct Seen {
    summary: String,
    uid: String,
    /// Empty: it has none, or takes no room there any more.
    node: String,
    millicores: i64,
    memory_bytes: i64,
}

impl Seen {
    fn read(pod: &Object) -> Self {
        let dom = pod.parse().unwrap_or_default();
        let amounts = api::pod::requests(dom.as_ref(), &api::pod::RequestOptions::default());
        let node = dom.as_ref().get("spec").map_or("", |s| s.str("nodeName"));
        Self {
            summary: pod_summary(dom.as_ref()),
            uid: pod.uid().to_owned(),
            node: match api::pod::is_terminal(dom.as_ref()) {
                true => String::new(),
                false => node.to_owned(),
            },
            millicores: amounts.get("cpu").map_or(0, api::Quantity::millis),
            memory_bytes: amounts.get("memory").map_or(0, api::Quantity::value),
        }
    }
}

fn on_pod(change: &Change, trace: &Trace, runtimes: &Runtimes, seen: &mut BTreeMap<Key, Seen>) {
    let key = change.key();
    let subject = key.to_string();
    if let Some(old) = &change.old
        && change.new.as_ref().is_none_or(|new| new.uid() != old.uid())
    {
        seen.remove(key);
        trace.note(&subject, "object gone");
        let left = runtimes.running_of(old.uid());
        if !left.is_empty() && !was_forced(old) {
            trace.violation(format!("{subject}: the object is gone, {left:?} still run"));
        }
    }
    if let Some(new) = &change.new {
        let now = Seen::read(new);
        let node = now.node.clone();
        if seen.get(key).map(|before| &before.summary) != Some(&now.summary) {
            trace.note(&subject, now.summary.clone());
        }
        seen.insert(key.clone(), now);
        check_room(&node, trace, runtimes, seen);
    }
}

/// Deleted by force: with no grace left, or from one revision to the next. Whoever is asked to end
/// is there a while with the time by which it does.
fn was_forced(pod: &Object) -> bool {
    pod.parse().is_ok_and(|dom| {
        let metadata = dom.as_ref().get("metadata");
        let grace = metadata.and_then(|m| m.int("deletionGracePeriodSeconds"));
        grace == Some(0) || !api::meta::of(dom.as_ref()).is_deleting()
    })
}

fn pod_summary(pod: Ref<'_>) -> String {
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

/// What runs on a node fits on it. Not all that is bound to it: a scheduler whose binding was done
/// but never answered gives the room away twice, and the node refuses the second pod.
fn check_room(node: &str, trace: &Trace, runtimes: &Runtimes, seen: &BTreeMap<Key, Seen>) {
    if node.is_empty() {
        return;
    }
    let (mut millicores, mut memory_bytes, mut count) = (0, 0, 0);
    let running = runtimes.running();
    let here = seen.values().filter(|pod| pod.node == node);
    for pod in here.filter(|pod| running.contains(&pod.uid)) {
        millicores += pod.millicores;
        memory_bytes += pod.memory_bytes;
        count += 1;
    }
    if millicores > MILLICORES || memory_bytes > MEMORY_BYTES || count > MAX_PODS {
        trace.violation(format!(
            "{node} is overcommitted: {millicores}m, {memory_bytes} bytes, {count} pods"
        ));
    }
}
