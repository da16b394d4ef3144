//! Ends pods on nodes with a NoExecute taint that they do not tolerate, or no longer.
//!
//! What to do with a pod is the pure [`plan`]; a queue wakes when time is over. The time counts
//! from when this controller first saw the taint, as upstream's does.
//! Source: kubernetes v1.36.3 pkg/controller/tainteviction/taint_eviction.go.

mod plan;

use std::collections::HashMap;
use std::sync::Arc;

use client::{Error, EventType, Key, Reference, WorkQueue};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::context::{Context, work};
use crate::facts::Facts;
use crate::nodes::{self, Condition, Node, Placed, Taint};
use crate::taint_eviction::plan::{Verdict, verdict};

const EVENT: &str = "TaintManagerEviction";
const CONDITION: Condition = Condition {
    reason: "DeletionByTaintManager",
    message: "Taint manager: deleting due to NoExecute taint",
};

struct Evictions {
    context: Context,
    queue: Arc<WorkQueue<Key>>,
    nodes: Facts<Node>,
    pods: Facts<Placed>,
    /// Pods whose time runs: uid, and since when.
    pending: Mutex<HashMap<Key, (String, Instant)>>,
}

pub(crate) fn start(context: Context) {
    let queue: Arc<WorkQueue<Key>> = Arc::new(WorkQueue::new());
    let add = queue.clone();
    let pods = nodes::placed(&context).on_step(move |step| {
        let same = match (&step.old, &step.new) {
            (Some(old), Some(new)) => {
                old.uid == new.uid && old.node == new.node && old.tolerations == new.tolerations
            }
            _ => false,
        };
        if !same {
            add.add(step.key.clone());
        }
    });
    let (add, on_node) = (queue.clone(), pods.clone());
    let nodes = nodes::nodes(&context).on_step(move |step| {
        let taints = |node: &Option<Arc<Node>>| -> Vec<Taint> {
            let taints = node.iter().flat_map(|node| node.no_execute());
            taints.cloned().collect()
        };
        if taints(&step.old) != taints(&step.new) {
            for pod in on_node.bin(&step.key.name) {
                add.add(pod.key.clone());
            }
        }
    });
    let all = Arc::new(Evictions {
        context: context.clone(),
        queue: queue.clone(),
        nodes,
        pods,
        pending: Mutex::default(),
    });
    work("taint-eviction-controller", &context, &queue, move |key| {
        let all = all.clone();
        async move { all.sync(&key).await }
    });
}

impl Evictions {
    async fn sync(&self, key: &Key) -> Result<(), Error> {
        self.nodes.synced().await;
        self.pods.synced().await;
        let Some(pod) = self.pods.get(key) else {
            self.cancel(key, None);
            return Ok(());
        };
        let node = self.nodes.get(&Key::new("", pod.node.as_str()));
        let taints: Vec<&Taint> = node.iter().flat_map(|node| node.no_execute()).collect();
        match verdict(&taints, &pod.tolerations) {
            // It is on its way out already.
            _ if pod.terminating => {
                self.pending.lock().remove(key);
                Ok(())
            }
            Verdict::Stays => {
                self.cancel(key, Some(&pod));
                Ok(())
            }
            Verdict::Goes => {
                self.cancel(key, Some(&pod));
                self.evict(&pod).await
            }
            Verdict::GoesAfter(time) => {
                let since = self.since(key, &pod);
                match time.checked_sub(since.elapsed()) {
                    Some(left) if !left.is_zero() => {
                        self.queue.add_after(key.clone(), left);
                        Ok(())
                    }
                    _ => {
                        self.evict(&pod).await?;
                        self.pending.lock().remove(key);
                        Ok(())
                    }
                }
            }
        }
    }

    /// Since when the pod's time runs.
    fn since(&self, key: &Key, pod: &Placed) -> Instant {
        let mut pending = self.pending.lock();
        let fresh = (pod.uid.clone(), Instant::now());
        let entry = pending.entry(key.clone()).or_insert_with(|| fresh.clone());
        if entry.0 != pod.uid {
            *entry = fresh;
        }
        entry.1
    }

    fn cancel(&self, key: &Key, pod: Option<&Placed>) {
        if self.pending.lock().remove(key).is_some() {
            let uid = pod.map_or("", |pod| &pod.uid);
            self.tell(key, uid, format!("Cancelling deletion of Pod {key}"));
        }
    }

    async fn evict(&self, pod: &Placed) -> Result<(), Error> {
        let message = format!("Marking for deletion Pod {}", pod.key);
        self.tell(&pod.key, &pod.uid, message);
        let (client, now) = (&self.context.client, self.context.clock.now());
        nodes::mark(client, pod, Some(&CONDITION), false, now).await?;
        nodes::delete(client, pod, false).await
    }

    fn tell(&self, key: &Key, uid: &str, message: String) {
        let about = Reference::pod(key, uid);
        self.context
            .recorder
            .record(&about, EventType::Normal, EVENT, message);
    }
}
