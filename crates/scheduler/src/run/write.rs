//! What the scheduler writes: bindings, the PodScheduled condition, nominations, victims' ends.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use api::Gvr;
use base::{Chain, Clock, Shutdown, tasks};
use client::{Client, DeleteOptions, Error, EventType, Patch, Recorder, Reference};
use schema::Dom;
use tokio::sync::mpsc;

use crate::PodInfo;
use crate::decide::{Nomination, Preemption};
use crate::run::world::World;

/// Reports of one pod are written one after the other; so many pods' at once.
const LANES: usize = 16;
/// Reports that wait in a lane at most; then decisions wait.
const LANE_LIMIT: usize = 256;
/// Longest message of an event.
const MESSAGE_LIMIT: usize = 1024;

/// See the module's header.
pub(super) struct Writer {
    pub(super) client: Client,
    pub(super) recorder: Recorder,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) scheduler_name: String,
}

/// News about a pod that has no node.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) pod: Arc<PodInfo>,
    /// Reason and message; `None`: only the nomination changes.
    condition: Option<(&'static str, String)>,
    nomination: Nomination,
}

impl Report {
    pub(super) fn unschedulable(
        pod: Arc<PodInfo>,
        message: String,
        nomination: Nomination,
    ) -> Self {
        Self {
            pod,
            condition: Some(("Unschedulable", message)),
            nomination,
        }
    }

    fn error(pod: Arc<PodInfo>, message: String) -> Self {
        Self {
            pod,
            condition: Some(("SchedulerError", message)),
            nomination: Nomination::Clear,
        }
    }

    pub(super) fn cleared(pod: Arc<PodInfo>) -> Self {
        Self {
            pod,
            condition: None,
            nomination: Nomination::Clear,
        }
    }
}

/// Writes reports in the background, those of one pod in order.
pub(super) struct Reports {
    lanes: Vec<mpsc::Sender<Report>>,
}

impl Reports {
    pub(super) fn start(writer: &Arc<Writer>, world: &Arc<World>, shutdown: &Shutdown) -> Self {
        let lanes = (0..LANES).map(|_| {
            let (sender, mut receiver) = mpsc::channel(LANE_LIMIT);
            let (writer, world) = (writer.clone(), world.clone());
            tasks::spawn("scheduling-reports", shutdown, async move {
                while let Some(report) = receiver.recv().await {
                    writer.report(&world, report).await;
                }
            });
            sender
        });
        Self {
            lanes: lanes.collect(),
        }
    }

    pub(super) async fn send(&self, report: Report) {
        let mut hasher = DefaultHasher::new();
        report.pod.key.hash(&mut hasher);
        let lane = usize::try_from(hasher.finish() % LANES as u64).unwrap_or(0);
        // A closed lane means shutdown.
        let _ = self.lanes[lane].send(report).await;
    }
}

impl Writer {
    fn pods(&self, pod: &PodInfo) -> client::Api {
        let pods = Gvr::new("", "v1", "pods");
        self.client.namespaced(&pods, &pod.key.namespace)
    }

    fn event(&self, pod: &PodInfo, kind: EventType, reason: &str, message: &str) {
        let about = Reference::pod(&pod.key, &pod.uid);
        self.recorder.record(&about, kind, reason, cut(message));
    }

    pub(super) async fn bind(&self, world: &World, pod: &Arc<PodInfo>, node: &str) {
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
        let name = &pod.key.name;
        let bound = self
            .pods(pod)
            .create_subresource(name, "binding", dom.to_json(root))
            .await;
        match bound {
            Ok(_) => {
                let text = format!("Successfully assigned {} to {node}", pod.key);
                self.event(pod, EventType::Normal, "Scheduled", &text);
            }
            Err(error) => {
                tracing::debug!(pod = %pod.key, node, err = %Chain(&error), "binding failed");
                world.binding_failed(pod);
                if !error.is_not_found() {
                    let text = format!("binding rejected: {}", Chain(&error));
                    self.report(world, Report::error(pod.clone(), text)).await;
                }
            }
        }
    }

    /// Says in an event and in the PodScheduled condition why the pod has no node, and in its
    /// status for which it waits.
    async fn report(&self, world: &World, report: Report) {
        let known = world.newest(&report.pod);
        let pod = known.as_ref().unwrap_or(&report.pod);
        let mut dom = Dom::new();
        let root = dom.new_map();
        dom.set_root(root);
        let status = dom.ensure_map(root, "status");
        let mut changes = false;
        if let Some((reason, message)) = &report.condition {
            self.event(pod, EventType::Warning, "FailedScheduling", message);
            let now = ("False".to_owned(), (*reason).to_owned(), message.clone());
            if pod.condition.as_ref() != Some(&now) {
                changes = true;
                let condition = new_condition(&mut dom, status, "PodScheduled", "False");
                dom.set_str(condition, "reason", reason);
                dom.set_str(condition, "message", message);
                if pod.generation > 0 {
                    dom.set_int(condition, "observedGeneration", pod.generation);
                }
                let before = pod.condition.as_ref().map(|(status, _, _)| status.as_str());
                if before != Some("False") {
                    let time = api::time::format_seconds(self.clock.now());
                    dom.set_str(condition, "lastTransitionTime", &time);
                }
            }
        }
        match &report.nomination {
            Nomination::To(node) if *node != pod.nominated => {
                changes = true;
                dom.set_str(status, "nominatedNodeName", node);
            }
            Nomination::Clear if !pod.nominated.is_empty() => {
                changes = true;
                let null = dom.new_null();
                dom.set(status, "nominatedNodeName", null);
            }
            _ => {}
        }
        if !changes {
            return;
        }
        if let Err(error) = self.patch_status(pod, &dom).await
            && !error.is_not_found()
        {
            tracing::warn!(pod = %pod.key, err = %Chain(&error), "status of a pending pod not written");
        }
    }

    async fn patch_status(&self, pod: &PodInfo, dom: &Dom) -> Result<(), Error> {
        let patch = Patch::Strategic(dom.to_json(dom.root()).into());
        let done = self.pods(pod).patch(&pod.key.name, "status", patch).await;
        done.map(|_| ())
    }

    /// Ends the victims. When that fails for one, the pod is tried again at once.
    pub(super) async fn preempt(&self, world: &World, pod: &PodInfo, preemption: Preemption) {
        let node = &preemption.node;
        for victim in &preemption.victims {
            if victim.terminating {
                continue;
            }
            match self.end(victim).await {
                Ok(()) => {
                    let text = format!("Preempted by pod {} on node {node}", pod.uid);
                    self.event(victim, EventType::Normal, "Preempted", &text);
                }
                Err(error) if error.is_not_found() => {}
                Err(error) => {
                    tracing::warn!(pod = %pod.key, victim = %victim.key, node, err = %Chain(&error), "victim not ended");
                    world.change(|state, _| state.queue.activate_now(&pod.key));
                    return;
                }
            }
        }
    }

    async fn end(&self, victim: &PodInfo) -> Result<(), Error> {
        let mut dom = Dom::new();
        let root = dom.new_map();
        dom.set_root(root);
        let metadata = dom.ensure_map(root, "metadata");
        dom.set_str(metadata, "uid", &victim.uid);
        let status = dom.ensure_map(root, "status");
        let condition = new_condition(&mut dom, status, "DisruptionTarget", "True");
        dom.set_str(condition, "reason", "PreemptionByScheduler");
        let message = "preempting to accommodate a higher priority pod";
        let message = format!("{}: {message}", self.scheduler_name);
        dom.set_str(condition, "message", &message);
        if victim.generation > 0 {
            dom.set_int(condition, "observedGeneration", victim.generation);
        }
        let time = api::time::format_seconds(self.clock.now());
        dom.set_str(condition, "lastTransitionTime", &time);
        self.patch_status(victim, &dom).await?;
        let options = DeleteOptions {
            uid: Some(victim.uid.clone()),
            ..DeleteOptions::default()
        };
        let pods = self.pods(victim);
        pods.delete(&victim.key.name, &options).await
    }
}

fn new_condition(dom: &mut Dom, status: schema::Node, kind: &str, value: &str) -> schema::Node {
    let conditions = dom.ensure_list(status, "conditions");
    let condition = dom.new_map();
    dom.push(conditions, condition);
    dom.set_str(condition, "type", kind);
    dom.set_str(condition, "status", value);
    let null = dom.new_null();
    dom.set(condition, "lastProbeTime", null);
    condition
}

fn cut(message: &str) -> String {
    const END: &str = " ...";
    if message.len() <= MESSAGE_LIMIT {
        return message.to_owned();
    }
    let mut at = MESSAGE_LIMIT - END.len();
    while !message.is_char_boundary(at) {
        at -= 1;
    }
    format!("{}{END}", &message[..at])
}
