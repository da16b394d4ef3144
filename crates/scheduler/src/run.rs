//! The shell: keeps queue and snapshot equal to the API, decides one pod after the other, posts
//! bindings beside that.

use std::sync::Arc;
use std::time::Duration;

use api::Gvr;
use base::{Chain, Rng, Shutdown, tasks};
use client::{Cache, Change, Client, EventType, Key, ListOptions, Recorder, Reference, Reflector};
use parking_lot::Mutex;
use schema::Dom;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::{Decision, Event, NodeInfo, PodInfo, Queue, Snapshot, decide};

/// What the scheduler needs besides the API.
#[derive(Clone)]
pub struct Config {
    /// Pods that ask for this name are ours.
    pub scheduler_name: String,
    /// Records Scheduled and FailedScheduling.
    pub recorder: Recorder,
    /// Decides between equal nodes.
    pub rng: Rng,
}

struct World {
    state: Mutex<State>,
    changed: Notify,
    start: Instant,
    name: String,
}

#[derive(Default)]
struct State {
    queue: Queue,
    snapshot: Snapshot,
}

/// Schedules until shutdown.
pub async fn run(client: Client, config: Config, shutdown: Shutdown) {
    let Config {
        scheduler_name,
        recorder,
        mut rng,
    } = config;
    let world = Arc::new(World {
        state: Mutex::new(State::default()),
        changed: Notify::new(),
        start: Instant::now(),
        name: scheduler_name,
    });
    let nodes = reflect(&client, "nodes", &world, &shutdown, World::on_node);
    let pods = reflect(&client, "pods", &world, &shutdown, World::on_pod);
    nodes.synced().await;
    pods.synced().await;
    loop {
        let pod = world.next().await;
        let decision = {
            let mut state = world.state.lock();
            let decision = decide(&state.snapshot, &pod, &mut rng);
            if let Decision::Node(node) = &decision {
                // Assumed: counts at once, so that the next decision sees it.
                let assumed = PodInfo {
                    node_name: node.clone(),
                    ..pod.clone()
                };
                state.snapshot.set_pod(assumed);
            }
            decision
        };
        match decision {
            Decision::Node(node) => {
                let (client, recorder, world) = (client.clone(), recorder.clone(), world.clone());
                tasks::spawn("bind", &shutdown, async move {
                    bind(&client, &recorder, &world, &pod, &node).await;
                });
            }
            Decision::Unschedulable { .. } => {
                let message = decision.to_string();
                let now = world.now();
                world.state.lock().queue.failed(&pod.key, now, false);
                report_failure(&client, &recorder, &pod, "Unschedulable", &message).await;
            }
        }
    }
}

fn reflect(
    client: &Client,
    resource: &str,
    world: &Arc<World>,
    shutdown: &Shutdown,
    on_change: fn(&World, &Change),
) -> Cache {
    let world = world.clone();
    Reflector::new(
        client.resource(&Gvr::new("", "v1", resource)),
        ListOptions::default(),
        Cache::new(Vec::new()),
    )
    .on_change(move |change| on_change(&world, change))
    .start(shutdown)
}

impl World {
    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX / 2)
    }

    async fn next(&self) -> PodInfo {
        loop {
            let wakes_at = {
                let mut state = self.state.lock();
                if let Some(pod) = state.queue.pop(self.now()) {
                    return pod;
                }
                state.queue.wakes_at()
            };
            match wakes_at {
                Some(at) => {
                    let at = self.start + Duration::from_millis(at + 1);
                    tokio::select! {
                        () = self.changed.notified() => {}
                        () = tokio::time::sleep_until(at) => {}
                    }
                }
                None => self.changed.notified().await,
            }
        }
    }

    fn on_node(&self, change: &Change) {
        {
            let mut state = self.state.lock();
            match change.new.as_ref().and_then(|node| NodeInfo::read(node)) {
                Some(node) => {
                    state.snapshot.set_node(node);
                    state.queue.on_event(Event::Node);
                }
                None => state.snapshot.remove_node(&change.key().name),
            }
        }
        self.changed.notify_one();
    }

    fn on_pod(&self, change: &Change) {
        {
            let mut state = self.state.lock();
            let key = change.key();
            match change.new.as_ref().and_then(|pod| PodInfo::read(pod)) {
                Some(pod) if !pod.node_name.is_empty() => {
                    state.queue.remove(key);
                    let finished = pod.finished;
                    state.snapshot.set_pod(pod);
                    if finished {
                        state.queue.on_event(Event::PodGone);
                    }
                }
                Some(pod) if pod.terminating || pod.scheduler_name != self.name => {
                    state.queue.remove(key);
                }
                Some(pod) => state.queue.set(pod),
                None => {
                    state.queue.remove(key);
                    if state.snapshot.remove_pod(key) {
                        state.queue.on_event(Event::PodGone);
                    }
                }
            }
        }
        self.changed.notify_one();
    }

    fn binding_failed(&self, key: &Key) {
        {
            let now = self.now();
            let mut state = self.state.lock();
            state.snapshot.remove_pod(key);
            state.queue.failed(key, now, true);
        }
        self.changed.notify_one();
    }
}

async fn bind(client: &Client, recorder: &Recorder, world: &World, pod: &PodInfo, node: &str) {
    let mut dom = Dom::new();
    let root = dom.new_map();
    dom.set_root(root);
    dom.set_str(root, "apiVersion", "v1");
    dom.set_str(root, "kind", "Binding");
    let metadata = dom.ensure_map(root, "metadata");
    dom.set_str(metadata, "namespace", &pod.key.namespace);
    dom.set_str(metadata, "name", &pod.key.name);
    dom.set_str(metadata, "uid", &pod.uid);
    let target = dom.ensure_map(root, "target");
    dom.set_str(target, "kind", "Node");
    dom.set_str(target, "name", node);
    let pods = client.namespaced(&Gvr::new("", "v1", "pods"), &pod.key.namespace);
    match pods
        .create_subresource(&pod.key.name, "binding", dom.to_json(root))
        .await
    {
        Ok(_) => {
            let text = format!("Successfully assigned {} to {node}", pod.key);
            recorder.record(&reference(pod), EventType::Normal, "Scheduled", text);
        }
        Err(error) => {
            tracing::debug!(pod = %pod.key, node, err = %Chain(&error), "binding failed");
            world.binding_failed(&pod.key);
            if !error.is_not_found() {
                let text = format!("{}", Chain(&error));
                report_failure(client, recorder, pod, "SchedulerError", &text).await;
            }
        }
    }
}

/// Says in an event and in the PodScheduled condition why the pod has no node.
async fn report_failure(
    client: &Client,
    recorder: &Recorder,
    pod: &PodInfo,
    reason: &str,
    message: &str,
) {
    recorder.record(
        &reference(pod),
        EventType::Warning,
        "FailedScheduling",
        message,
    );
    let mut dom = Dom::new();
    let root = dom.new_map();
    dom.set_root(root);
    let status = dom.ensure_map(root, "status");
    let conditions = dom.ensure_list(status, "conditions");
    let condition = dom.new_map();
    dom.push(conditions, condition);
    dom.set_str(condition, "type", "PodScheduled");
    dom.set_str(condition, "status", "False");
    dom.set_str(condition, "reason", reason);
    dom.set_str(condition, "message", message);
    let pods = client.namespaced(&Gvr::new("", "v1", "pods"), &pod.key.namespace);
    let patch = client::Patch::Strategic(dom.to_json(root).into());
    if let Err(error) = pods.patch(&pod.key.name, "status", patch).await
        && !error.is_not_found()
    {
        tracing::warn!(pod = %pod.key, err = %Chain(&error), "PodScheduled condition not written");
    }
}

fn reference(pod: &PodInfo) -> Reference {
    Reference {
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        namespace: pod.key.namespace.clone(),
        name: pod.key.name.clone(),
        uid: pod.uid.clone(),
        ..Reference::default()
    }
}
