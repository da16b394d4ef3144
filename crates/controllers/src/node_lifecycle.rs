//! Follows nodes: a node whose lease is not renewed is Unknown, and what a node's conditions say
//! is told to the scheduler as taints.
//!
//! Source: kubernetes v1.36 pkg/controller/nodelifecycle/node_lifecycle_controller.go.

mod plan;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use api::Gvr;
use client::{Cache, Error, EventType, Key, ListOptions, Patch, Reference, Reflector, WorkQueue};
use parking_lot::Mutex;
use schema::Dom;
use tokio::time::Instant;

use crate::context::{Context, work};
use crate::node_lifecycle::plan::{GRACE, plan};

struct World {
    context: Context,
    nodes: Cache,
    leases: Cache,
    /// When a sign of life (lease or status) was last seen, on this process's clock: the clocks
    /// of nodes are not trusted.
    seen: Mutex<HashMap<String, (String, Instant)>>,
    queue: Arc<WorkQueue<String>>,
}

pub(crate) fn start(context: Context) {
    let queue: Arc<WorkQueue<String>> = Arc::new(WorkQueue::new());
    let add = queue.clone();
    let nodes = context.informers.of("", "v1", "nodes");
    let nodes = nodes.on_change(move |change| add.add(change.key().name.clone()));
    let nodes = nodes.cache();
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
        leases,
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
        let Some(object) = self.nodes.get(&Key::new("", name)) else {
            self.seen.lock().remove(name);
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
        let now = self.context.clock.now();
        let plan = plan(node.as_ref(), silent_for, now);
        let nodes = self.context.client.resource(&Gvr::new("", "v1", "nodes"));
        if let Some(status) = plan.status {
            let patch = Patch::Strategic(status.to_json(status.root()).into());
            nodes.patch(name, "status", patch).await?;
            let about = Reference {
                kind: "Node".to_owned(),
                name: name.to_owned(),
                uid: object.uid().to_owned(),
                ..Reference::default()
            };
            let message = format!("Node {name} status is now: NodeNotReady");
            self.context
                .recorder
                .record(&about, EventType::Normal, "NodeNotReady", message);
        }
        if let Some(taints) = plan.taints {
            let mut dom = Dom::new();
            let root = dom.new_map();
            dom.set_root(root);
            let metadata = dom.ensure_map(root, "metadata");
            dom.set_str(metadata, "resourceVersion", object.resource_version());
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
