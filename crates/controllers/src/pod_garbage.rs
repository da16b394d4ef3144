//! Deletes pods that nobody else will: those of nodes that are gone or out of service, those that
//! end before they had a node, and the oldest of too many that have ended.
//!
//! Steps of pods and nodes bring work into the queue; upstream looks at everything every 20 s.
//! Source: kubernetes v1.36.3 pkg/controller/podgc/gc_controller.go.

mod plan;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use api::Gvr;
use client::{Error, Key, WorkQueue};

use crate::context::{Context, work};
use crate::facts::Facts;
use crate::nodes::{self, Condition, Node, Placed};
use crate::pod_garbage::plan::{OUT_OF_SERVICE, THRESHOLD, ends_at_once, oldest};

/// A node that is missing may only be late: so long it is waited for.
const QUARANTINE: Duration = Duration::from_secs(40);
/// Ended pods are counted at most so often.
const COUNT_EVERY: Duration = Duration::from_secs(20);
const ORPHANED: Condition = Condition {
    reason: "DeletionByPodGC",
    message: "PodGC: node no longer exists",
};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Work {
    /// Is this node there? Its pods otherwise.
    Node(String),
    /// A pod that ends and may have nobody to end it.
    Pod(Key),
    /// Have too many ended?
    Ended,
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(name) => write!(f, "pods of node {name}"),
            Self::Pod(key) => write!(f, "pod {key}"),
            Self::Ended => f.write_str("ended pods"),
        }
    }
}

struct Garbage {
    context: Context,
    nodes: Facts<Node>,
    pods: Facts<Placed>,
}

pub(crate) fn start(context: Context) {
    let queue: Arc<WorkQueue<Work>> = Arc::new(WorkQueue::new());
    let add = queue.clone();
    let nodes = nodes::nodes(&context);
    let (known, ended) = (nodes.clone(), AtomicUsize::new(0));
    let pods = nodes::placed(&context).on_step(move |step| {
        let has_ended = |pod: &Option<Arc<Placed>>| pod.as_ref().is_some_and(|pod| pod.ended);
        match (has_ended(&step.old), has_ended(&step.new)) {
            (false, true) if ended.fetch_add(1, Ordering::Relaxed) >= THRESHOLD => {
                add.add_after(Work::Ended, COUNT_EVERY);
            }
            (true, false) => {
                ended.fetch_sub(1, Ordering::Relaxed);
            }
            _ => {}
        }
        let Some(pod) = &step.new else { return };
        if pod.terminating {
            add.add(Work::Pod(step.key.clone()));
        }
        let is_new = step.old.as_ref().is_none_or(|old| old.node != pod.node);
        if is_new && !pod.node.is_empty() && known.get(&Key::new("", pod.node.as_str())).is_none() {
            add.add_after(Work::Node(pod.node.clone()), QUARANTINE);
        }
    });
    let (add, on_node) = (queue.clone(), pods.clone());
    let nodes = nodes.on_step(move |step| match &step.new {
        None => add.add_after(Work::Node(step.key.name.clone()), QUARANTINE),
        Some(node) if node.has_taint(OUT_OF_SERVICE) => {
            for pod in on_node.bin(&node.name).iter().filter(|pod| pod.terminating) {
                add.add(Work::Pod(pod.key.clone()));
            }
        }
        Some(_) => {}
    });
    let all = Arc::new(Garbage {
        context: context.clone(),
        nodes,
        pods,
    });
    work("pod-garbage-collector", &context, &queue, move |item| {
        let all = all.clone();
        async move { all.sync(&item).await }
    });
}

impl Garbage {
    async fn sync(&self, item: &Work) -> Result<(), Error> {
        self.nodes.synced().await;
        self.pods.synced().await;
        match item {
            Work::Node(name) => {
                let key = Key::new("", name.as_str());
                if self.nodes.get(&key).is_some() || self.exists(name).await? {
                    return Ok(());
                }
                for pod in self.pods.bin(name) {
                    tracing::info!(pod = %pod.key, node = name, "deletes a pod of a node that is gone");
                    self.end(&pod, Some(&ORPHANED)).await?;
                }
                Ok(())
            }
            Work::Pod(key) => {
                let Some(pod) = self.pods.get(key) else {
                    return Ok(());
                };
                let node = self.nodes.get(&Key::new("", pod.node.as_str()));
                if ends_at_once(&pod, node.as_deref()) {
                    self.end(&pod, None).await?;
                }
                Ok(())
            }
            Work::Ended => {
                for pod in oldest(self.pods.all(), THRESHOLD) {
                    self.end(&pod, None).await?;
                }
                Ok(())
            }
        }
    }

    /// The cache may lag: a node is gone only when the server says so.
    async fn exists(&self, name: &str) -> Result<bool, Error> {
        let nodes = self.context.client.resource(&Gvr::new("", "v1", "nodes"));
        Ok(nodes.find(name).await?.is_some())
    }

    async fn end(&self, pod: &Placed, condition: Option<&Condition>) -> Result<(), Error> {
        let (client, now) = (&self.context.client, self.context.clock.now());
        if !pod.ended {
            nodes::mark(client, pod, condition, true, now).await?;
        }
        nodes::delete(client, pod, true).await
    }
}
