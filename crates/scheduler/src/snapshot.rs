//! The scheduler's picture of the cluster: nodes with the sums over their pods, changed by events.
//!
//! Assumed pods (decided, binding not yet seen) count like bound ones. A pod whose node is not
//! known yet waits in `orphans` and is counted when the node appears.

use std::collections::{BTreeMap, HashMap};

use client::Key;

use crate::{NodeInfo, PodInfo};

/// See the module's header.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    nodes: BTreeMap<String, NodeInfo>,
    pods: HashMap<Key, PodInfo>,
    image_holders: HashMap<String, i64>,
}

impl Snapshot {
    /// All nodes, ordered by name.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeInfo> {
        self.nodes.values()
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// How many nodes have the image.
    pub fn image_holders(&self, image: &str) -> i64 {
        self.image_holders.get(image).copied().unwrap_or(0)
    }

    /// Adds or replaces a node; the pods known to be on it are counted.
    pub fn set_node(&mut self, mut node: NodeInfo) {
        self.forget_images(&node.name);
        for pod in self.pods.values() {
            if pod.node_name == node.name {
                node.add_pod(pod);
            }
        }
        for image in node.images.keys() {
            *self.image_holders.entry(image.clone()).or_default() += 1;
        }
        self.nodes.insert(node.name.clone(), node);
    }

    /// Removes a node; its pods stay known.
    pub fn remove_node(&mut self, name: &str) {
        self.forget_images(name);
        self.nodes.remove(name);
    }

    /// Counts a bound or assumed pod, replacing what was known of it.
    pub fn set_pod(&mut self, pod: PodInfo) {
        self.remove_pod(&pod.key);
        if pod.node_name.is_empty() || pod.finished {
            return;
        }
        if let Some(node) = self.nodes.get_mut(&pod.node_name) {
            node.add_pod(&pod);
        }
        self.pods.insert(pod.key.clone(), pod);
    }

    /// Counts a pod out; false when it was not counted.
    pub fn remove_pod(&mut self, key: &Key) -> bool {
        let Some(pod) = self.pods.remove(key) else {
            return false;
        };
        if let Some(node) = self.nodes.get_mut(&pod.node_name) {
            node.remove_pod(&pod);
        }
        true
    }

    fn forget_images(&mut self, node: &str) {
        for image in self
            .nodes
            .get(node)
            .into_iter()
            .flat_map(|node| node.images.keys())
        {
            if let Some(count) = self.image_holders.get_mut(image) {
                *count -= 1;
                if *count == 0 {
                    self.image_holders.remove(image);
                }
            }
        }
    }
}
