//! Follows nodes: a node whose lease is not renewed is Unknown, and what a node's conditions say
//! is told to the scheduler as taints.
//!
//! When a node becomes Unknown its pods are reported not ready; the taint NoExecute, which ends
//! them later, is given out at the pace that [`disruption`] allows.
//! Source: kubernetes v1.36 pkg/controller/nodelifecycle/node_lifecycle_controller.go,
//! pkg/controller/util/node/controller_utils.go (MarkPodsNotReady).

mod disruption;
mod plan;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use api::Gvr;
use client::{
    Cache, Error, EventType, Key, ListOptions, Patch, Recorder, Reference, Reflector, WorkQueue,
};
use parking_lot::Mutex;
use schema::Dom;
use tokio::time::Instant;

use crate::context::{Context, work};
use crate::facts::Facts;
use crate::node_lifecycle::disruption::{Pace, pace};
use crate::node_lifecycle::plan::{Evict, GRACE, plan};
use crate::nodes::{self, Node, Placed};

struct World {
    context: Context,
    nodes: Facts<Node>,
    pods: Facts<Placed>,
    leases: Cache,
    /// Nodes whose pods have still to be reported not ready.
    unmarked: Mutex<HashSet<String>>,
    /// When the next node of a zone may lose its pods.
    turns: Mutex<HashMap<String, Instant>>,
    /// When a sign of life (lease or status) was last seen, on this process's clock: the clocks
    /// of nodes are not trusted.
    seen: Mutex<HashMap<String, (String, Instant)>>,
    queue: Arc<WorkQueue<String>>,
}

pub(crate) fn start(context: Context) {
    let queue: Arc<WorkQueue<String>> = Arc::new(WorkQueue::new());
    let nodes = nodes::nodes(&context);
    let (add, known, recorder) = (queue.clone(), nodes.clone(), context.recorder.clone());
    let nodes = nodes.on_step(move |step| {
        add.add(step.key.name.clone());
        let ready = |node: &Option<Arc<Node>>| node.as_ref().is_some_and(|node| node.is_ready());
        if ready(&step.old) != ready(&step.new) {
            // What is done about the others depends on how many live.
            let others = known.all().into_iter().filter(|node| !node.is_ready());
            others.for_each(|node| add.add(node.name.clone()));
        }
        match (&step.old, &step.new) {
            (None, Some(node)) => tell(
                &recorder,
                node,
                "RegisteredNode",
                format!(
                    "Node {0} event: Registered Node {0} in Controller",
                    node.name
                ),
            ),
            (Some(node), None) => tell(
                &recorder,
                node,
                "RemovingNode",
                format!(
                    "Node {0} event: Removing Node {0} from Controller",
                    node.name
                ),
            ),
            _ => {}
        }
    });
    let pods = nodes::placed(&context);
    let add = queue.clone();
    let gvr = Gvr::new("coordination.k8s.io", "v1", "leases");
    let leases = Reflector::new(
        context.informers.namespaced(&gvr, "kube-node-lease"),
        ListOptions::default(),
        Cache::new(Vec::new()),
    )
    .on_change(move |change| add.add(change.key().name.clone()))
    .start(&context.shutdown);
    let world = Arc::new(World {
        context: context.clone(),
        nodes,
        pods,
        leases,
        unmarked: Mutex::default(),
        turns: Mutex::default(),
        seen: Mutex::new(HashMap::new()),
        queue: queue.clone(),
    });
    work("node-lifecycle-controller", &context, &queue, move |name| {
        let world = world.clone();
        async move { world.sync(&name).await }
    });
}

impl World {
    async fn sync(&self, name: &str) -> Result<(), Error> {
        self.nodes.synced().await;
        self.leases.synced().await;
        let key = Key::new("", name);
        let (Some(state), Some(object)) = (self.nodes.get(&key), self.nodes.object(&key)) else {
            self.seen.lock().remove(name);
            self.unmarked.lock().remove(name);
            return Ok(());
        };
        let Ok(node) = object.parse() else {
            return Ok(());
        };
        let silent_for = self.silence(name, &node);
        if let Some(left) = GRACE.checked_sub(silent_for) {
            self.queue
                .add_after(name.to_owned(), left + Duration::from_millis(50));
        }
        let silent = silent_for >= GRACE;
        let lost = silent || matches!(state.ready.as_str(), "False" | "Unknown");
        let evict = match lost {
            true => self.evict(&state),
            false => Evict::GoOn,
        };
        let now = self.context.clock.now();
        let plan = plan(node.as_ref(), silent_for, now, evict);
        let nodes = self.context.client.resource(&Gvr::new("", "v1", "nodes"));
        let mut revision = object.resource_version().to_owned();
        if let Some(status) = plan.status {
            let patch = Patch::Strategic(status.to_json(status.root()).into());
            let written = nodes.patch(name, "status", patch).await?;
            written.resource_version().clone_into(&mut revision);
            if state.is_ready() {
                self.unmarked.lock().insert(name.to_owned());
                let message = format!("Node {name} status is now: NodeNotReady");
                tell(&self.context.recorder, &state, "NodeNotReady", message);
            }
        }
        if let Some(taints) = plan.taints {
            let mut dom = Dom::new();
            let root = dom.new_map();
            dom.set_root(root);
            let metadata = dom.ensure_map(root, "metadata");
            dom.set_str(metadata, "resourceVersion", &revision);
            let spec = dom.ensure_map(root, "spec");
            let list = dom.ensure_list(spec, "taints");
            for taint in taints {
                let entry = dom.import(&taint, taint.root());
                dom.push(list, entry);
            }
            let patch = Patch::Merge(dom.to_json(root).into());
            match nodes.patch(name, "", patch).await {
                // The newer revision brings the key again.
                Err(error) if error.is_conflict() || error.is_not_found() => {}
                other => other.map(|_| ())?,
            }
        }
        if lost && self.unmarked.lock().contains(name) {
            self.mark_pods(name).await?;
        }
        self.unmarked.lock().remove(name);
        Ok(())
    }

    /// May a node that is lost lose its pods now? If it is only not its turn it comes again.
    fn evict(&self, node: &Node) -> Evict {
        let all = self.nodes.all();
        let is_ready = |other: &Node| other.name != node.name && other.is_ready();
        let told = all.iter().map(|node| &**node);
        match pace(told, &node.zone, is_ready) {
            Pace::Stop => Evict::Stop,
            Pace::Halt => Evict::GoOn,
            Pace::One(interval) => {
                if node.no_execute().any(|taint| plan::is_lost(&taint.key)) {
                    return Evict::GoOn;
                }
                let now = Instant::now();
                let mut turns = self.turns.lock();
                match turns.get(&node.zone) {
                    Some(turn) if *turn > now => {
                        self.queue.add_after(node.name.clone(), *turn - now);
                        Evict::GoOn
                    }
                    _ => {
                        turns.insert(node.zone.clone(), now + interval);
                        Evict::Begin
                    }
                }
            }
        }
    }

    async fn mark_pods(&self, node: &str) -> Result<(), Error> {
        self.pods.synced().await;
        let gvr = Gvr::new("", "v1", "pods");
        for pod in self.pods.bin(node).iter().filter(|pod| pod.ready) {
            let now = api::time::format_seconds(self.context.clock.now());
            let patch = format!(
                r#"{{"metadata":{{"uid":"{}"}},"status":{{"conditions":[{{"type":"Ready","status":"False","lastTransitionTime":"{now}"}}]}}}}"#,
                pod.uid
            );
            let api = self.context.client.namespaced(&gvr, &pod.key.namespace);
            match api
                .patch(&pod.key.name, "status", Patch::Strategic(patch.into()))
                .await
            {
                Ok(_) => {}
                Err(error) if error.is_not_found() || error.is_conflict() => continue,
                Err(error) => return Err(error),
            }
            let about = Reference::pod(&pod.key, &pod.uid);
            let (reason, message) = ("NodeNotReady", "Node is not ready");
            self.context
                .recorder
                .record(&about, EventType::Warning, reason, message);
        }
        Ok(())
    }

    /// How long nothing was heard of the node.
    fn silence(&self, name: &str, node: &Dom) -> Duration {
        let lease = self.leases.get(&Key::new("kube-node-lease", name));
        let renewed = lease
            .and_then(|lease| lease.parse().ok())
            .and_then(|dom| Some(dom.as_ref().get("spec")?.str("renewTime").to_owned()))
            .unwrap_or_default();
        let heartbeat = node
            .as_ref()
            .get("status")
            .and_then(|status| {
                status
                    .items("conditions")
                    .find(|c| c.str("type") == "Ready")
            })
            .filter(|ready| ready.str("status") != "Unknown")
            .map_or("", |ready| ready.str("lastHeartbeatTime"));
        let sign = format!("{renewed} {heartbeat}");
        let mut seen = self.seen.lock();
        let entry = seen
            .entry(name.to_owned())
            .or_insert_with(|| (sign.clone(), Instant::now()));
        // The heartbeat disappears when this controller writes Unknown: that is no sign of life.
        if entry.0 != sign && !heartbeat.is_empty() || entry.0.split(' ').next() != Some(&renewed) {
            *entry = (sign, Instant::now());
        }
        entry.1.elapsed()
    }
}

fn tell(recorder: &Recorder, node: &Node, reason: &str, message: String) {
    let about = Reference::node(&node.name, &node.uid);
    recorder.record(&about, EventType::Normal, reason, message);
}
