//! A container runtime in memory, behind the same CRI traits as a real one.
//!
//! Containers do what their [`Script`] says, on virtual time. State outlives a kubelet, as with
//! real containers; [`FakeRuntime::power_off`] ends everything, as a node that loses power.
//! Watches the runtime's side of the invariants: never two containers of one pod's container.

mod cri_service;
mod image_service;
mod streams;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use base::{Clock, Latch, Rng, Shutdown, tasks};
use nodeapi::cri::{
    self, ContainerConfig, ContainerEventResponse, ContainerEventType, PodSandboxConfig,
};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::clock::SimClock;
use crate::script::Script;
use crate::trace::Trace;

/// A listener that lags this far is closed and lists again, as CRI says.
const EVENTS_LIMIT: usize = 1024;
/// Exit code of a process that SIGKILL ended.
const KILLED: i32 = 137;

/// Cheap to clone; clones are the same runtime.
#[derive(Clone)]
pub struct FakeRuntime {
    inner: Arc<Inner>,
}

struct Inner {
    node: String,
    /// `10.244.N.`: addresses of pods begin so.
    prefix: String,
    clock: SimClock,
    trace: Trace,
    shutdown: Shutdown,
    /// Calls take up to so long, drawn by what they are about.
    latency: Duration,
    seed: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    serial: u64,
    sandboxes: BTreeMap<String, Sandbox>,
    containers: BTreeMap<String, Container>,
    images: BTreeMap<String, cri::Image>,
    listeners: Vec<mpsc::Sender<ContainerEventResponse>>,
}

struct Sandbox {
    config: PodSandboxConfig,
    ready: bool,
    created_at: i64,
    ip: String,
}

struct Container {
    sandbox: String,
    config: ContainerConfig,
    script: Script,
    state: cri::ContainerState,
    created_at: i64,
    started_at: i64,
    started: Option<Instant>,
    finished_at: i64,
    exit_code: i32,
    ended: Arc<Latch>,
    told_to_end: bool,
}

impl Container {
    fn name(&self) -> &str {
        self.config
            .metadata
            .as_ref()
            .map_or("", |metadata| &metadata.name)
    }

    fn attempt(&self) -> u32 {
        self.config
            .metadata
            .as_ref()
            .map_or(0, |metadata| metadata.attempt)
    }

    fn runs(&self) -> bool {
        self.state == cri::ContainerState::ContainerRunning
    }

    /// The node's file behind a path in the container.
    fn host_path(&self, path: &str) -> Option<&str> {
        let mount = self
            .config
            .mounts
            .iter()
            .find(|mount| mount.container_path == path)?;
        Some(&mount.host_path)
    }
}

impl Sandbox {
    fn uid(&self) -> &str {
        self.config
            .metadata
            .as_ref()
            .map_or("", |metadata| &metadata.uid)
    }

    /// `default/web`.
    fn pod(&self) -> String {
        let metadata = self.config.metadata.as_ref();
        metadata.map_or_else(String::new, |m| format!("{}/{}", m.namespace, m.name))
    }
}

impl FakeRuntime {
    /// An empty runtime of the node with this number.
    pub fn new(
        node: &str,
        number: usize,
        seed: u64,
        latency: Duration,
        clock: SimClock,
        trace: Trace,
        shutdown: Shutdown,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                node: node.to_owned(),
                prefix: format!("10.244.{number}."),
                clock,
                trace,
                shutdown,
                latency,
                seed,
                state: Mutex::default(),
            }),
        }
    }

    /// Ends all processes and forgets all sandboxes at once.
    pub fn power_off(&self) {
        let running: Vec<String> = {
            let state = self.inner.state.lock();
            let running = state.containers.iter().filter(|(_, c)| c.runs());
            running.map(|(id, _)| id.clone()).collect()
        };
        for id in running {
            self.inner.end(&id, KILLED);
        }
        for sandbox in self.inner.state.lock().sandboxes.values_mut() {
            sandbox.ready = false;
        }
    }

    /// Containers that run of the pod with this uid.
    pub fn running_of(&self, uid: &str) -> Vec<String> {
        let state = self.inner.state.lock();
        let of_pod = |c: &&Container| {
            let sandbox = state.sandboxes.get(&c.sandbox);
            c.runs() && sandbox.is_some_and(|sandbox| sandbox.uid() == uid)
        };
        state
            .containers
            .values()
            .filter(of_pod)
            .map(|c| c.name().to_owned())
            .collect()
    }

    /// Uids of the pods of which something runs.
    pub fn uids_running(&self) -> BTreeSet<String> {
        let state = self.inner.state.lock();
        let running = state.containers.values().filter(|c| c.runs());
        let sandboxes = running.filter_map(|c| state.sandboxes.get(&c.sandbox));
        sandboxes.map(|s| s.uid().to_owned()).collect()
    }

    /// Uids of all pods that the runtime has something of.
    pub fn uids(&self) -> BTreeSet<String> {
        let state = self.inner.state.lock();
        state
            .sandboxes
            .values()
            .map(|sandbox| sandbox.uid().to_owned())
            .collect()
    }
}

impl Inner {
    fn now(&self) -> i64 {
        i64::try_from(self.clock.now().as_nanosecond()).unwrap_or(i64::MAX)
    }

    /// Takes as long as a call about `what` takes.
    async fn take_time(&self, what: &str) {
        let most_ms = u64::try_from(self.latency.as_millis()).unwrap_or(0);
        if most_ms > 0 {
            let mut rng = Rng::new(self.seed ^ self.clock.elapsed_ms()).child(what);
            tokio::time::sleep(Duration::from_millis(rng.below(most_ms))).await;
        }
    }

    async fn make_sandbox(&self, config: PodSandboxConfig) -> String {
        let name = config.metadata.clone().unwrap_or_default().name;
        self.take_time(&format!("sandbox {name}")).await;
        let now = self.now();
        let mut state = self.state.lock();
        let id = state.next_id("5a");
        let ip = state.free_address(&self.prefix);
        let sandbox = Sandbox {
            config,
            ready: true,
            created_at: now,
            ip,
        };
        let mut others = state.sandboxes.values();
        if others.any(|s| s.ready && s.uid() == sandbox.uid()) {
            self.trace
                .violation(format!("{}: two sandboxes at once", sandbox.pod()));
        }
        self.note(&sandbox.pod(), "", "sandbox made");
        state.sandboxes.insert(id.clone(), sandbox);
        id
    }

    /// Ends what runs in a sandbox, then the sandbox.
    fn stop_sandbox(&self, id: &str) {
        let running: Vec<String> = {
            let state = self.state.lock();
            let inside = state.containers.iter();
            let inside = inside.filter(|(_, c)| c.sandbox == id && c.runs());
            inside.map(|(id, _)| id.clone()).collect()
        };
        for container in running {
            self.end(&container, KILLED);
        }
        let mut state = self.state.lock();
        if let Some(sandbox) = state.sandboxes.get_mut(id)
            && sandbox.ready
        {
            sandbox.ready = false;
            self.note(&sandbox.pod(), "", "sandbox stopped");
        }
    }

    fn note(&self, pod: &str, container: &str, what: &str) {
        let what = format!("{container} {what} on {}", self.node);
        self.trace.note(pod, what.trim_start());
    }

    /// Starts a created container's process.
    fn launch(self: &Arc<Self>, id: &str) {
        let mut state = self.state.lock();
        let state = &mut *state;
        let Some(container) = state.containers.get(id) else {
            return;
        };
        let (name, attempt) = (container.name().to_owned(), container.attempt());
        let Some(sandbox) = state.sandboxes.get(&container.sandbox) else {
            return;
        };
        let (pod, uid) = (sandbox.pod(), sandbox.uid().to_owned());
        let twin = state.containers.values().any(|other| {
            let sandbox = state.sandboxes.get(&other.sandbox);
            other.runs() && other.name() == name && sandbox.is_some_and(|s| s.uid() == uid)
        });
        if twin {
            self.trace
                .violation(format!("{pod} {name}: two containers run at once"));
        }
        let now = self.now();
        let Some(container) = state.containers.get_mut(id) else {
            return;
        };
        container.state = cri::ContainerState::ContainerRunning;
        container.started_at = now;
        container.started = Some(Instant::now());
        if let Some((after, code)) = container.script.end {
            self.end_later(id, after, code);
        }
        self.note(&pod, &format!("{name}#{attempt}"), "started");
        state.tell(id, ContainerEventType::ContainerStartedEvent, now);
    }

    fn end_later(self: &Arc<Self>, id: &str, after: Duration, code: i32) {
        let (inner, id) = (Arc::clone(self), id.to_owned());
        let at = Instant::now() + after;
        tasks::spawn("container", &self.shutdown, async move {
            tokio::time::sleep_until(at).await;
            inner.end(&id, code);
        });
    }

    /// The process ends; nothing if it has.
    fn end(&self, id: &str, code: i32) {
        let mut state = self.state.lock();
        let state = &mut *state;
        let now = self.now();
        let Some(container) = state.containers.get_mut(id).filter(|c| c.runs()) else {
            return;
        };
        container.state = cri::ContainerState::ContainerExited;
        container.finished_at = now;
        container.exit_code = code;
        container.ended.set();
        let lived = container.started.map_or(Duration::ZERO, |at| at.elapsed());
        for (file, text) in container.script.files(lived) {
            // Last words; other files exist in the script only.
            if let Some(path) = container.host_path(file)
                && let Err(error) = std::fs::write(path, text)
            {
                self.trace.violation(format!("write {path}: {error}"));
            }
        }
        let label = format!("{}#{}", container.name(), container.attempt());
        let sandbox = container.sandbox.clone();
        if let Some(sandbox) = state.sandboxes.get(&sandbox) {
            self.note(&sandbox.pod(), &label, &format!("ended with {code}"));
        }
        state.tell(id, ContainerEventType::ContainerStoppedEvent, now);
    }
}

impl State {
    fn next_id(&mut self, kind: &str) -> String {
        self.serial += 1;
        format!("{kind}{:060x}", self.serial)
    }

    /// The lowest address that no sandbox has.
    fn free_address(&self, prefix: &str) -> String {
        let taken: BTreeSet<&str> = self.sandboxes.values().map(|s| s.ip.as_str()).collect();
        let free = (2..255)
            .map(|n| format!("{prefix}{n}"))
            .find(|ip| !taken.contains(ip.as_str()));
        free.unwrap_or_default()
    }

    fn tell(&mut self, id: &str, kind: ContainerEventType, now: i64) {
        let Some(container) = self.containers.get(id) else {
            return;
        };
        let sandbox = self.sandboxes.get(&container.sandbox);
        let event = ContainerEventResponse {
            container_id: id.to_owned(),
            container_event_type: i32::from(kind),
            created_at: now,
            pod_sandbox_status: sandbox.map(|s| s.status(&container.sandbox)),
            containers_statuses: Vec::new(),
        };
        self.listeners
            .retain(|listener| listener.try_send(event.clone()).is_ok());
    }
}
