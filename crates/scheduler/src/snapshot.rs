//! The scheduler's picture of the cluster: nodes, the pods on them, and counters over both,
//! changed by events.
//!
//! Assumed pods (decided, binding not yet seen) count like bound ones. A pod whose node is not
//! known yet waits in `orphans` and is counted when the node appears. A node has a slot, a small
//! number; everything that decisions sum up is an array by slot.

mod classes;
mod columns;
mod groups;
mod objects;
mod order;

pub(crate) use classes::{Counter, Matcher};
pub(crate) use columns::{ABSENT, Column};
pub(crate) use groups::Kind;
pub use objects::{Budget, Claim, Class, Objects, Volume};
pub(crate) use objects::{controller, service, zone_keys};

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use client::Key;

use crate::node::{Hot, Load};
use crate::snapshot::classes::Classes;
use crate::snapshot::columns::Columns;
use crate::snapshot::groups::{Group, Groups};
use crate::{Labels, NodeInfo, PodInfo};

/// See the module's header.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Other objects that decisions read.
    pub objects: Objects,
    slots: HashMap<String, usize>,
    facts: Vec<Option<Arc<NodeInfo>>>,
    hot: Vec<Hot>,
    loads: Vec<Load>,
    free: Vec<usize>,
    /// Slots in the order of search; empty when it must be made anew.
    order: Vec<u32>,
    pub(crate) cursor: usize,
    pods: HashMap<Key, Placed>,
    orphans: HashMap<String, Vec<Key>>,
    columns: Columns,
    classes: Classes,
    groups: Groups,
    namespaces: HashMap<String, Labels>,
    image_holders: HashMap<String, i64>,
    claims_in_use: HashMap<Key, i64>,
    /// Node → pods that wait for room there.
    nominated: BTreeMap<String, Vec<Arc<PodInfo>>>,
}

#[derive(Clone, Debug)]
struct Placed {
    pod: Arc<PodInfo>,
    /// Where it is counted. `None`: the node is not known.
    at: Option<Place>,
}

#[derive(Clone, Debug)]
struct Place {
    slot: usize,
    class: usize,
    groups: Vec<usize>,
}

impl Snapshot {
    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// A node by name.
    pub fn node(&self, name: &str) -> Option<&Arc<NodeInfo>> {
        self.facts[*self.slots.get(name)?].as_ref()
    }

    /// A bound or assumed pod.
    pub fn pod(&self, key: &Key) -> Option<&Arc<PodInfo>> {
        self.pods.get(key).map(|placed| &placed.pod)
    }

    /// The pods on a node.
    pub fn pods_on(&self, node: &str) -> &[Arc<PodInfo>] {
        match self.slots.get(node) {
            Some(slot) => &self.loads[*slot].pods,
            None => &[],
        }
    }

    /// Adds or replaces a node; gives back what was known of it.
    pub fn set_node(&mut self, node: NodeInfo) -> Option<Arc<NodeInfo>> {
        let node = Arc::new(node);
        let slot = match self.slots.get(&node.name) {
            Some(slot) => *slot,
            None => self.new_slot(&node.name),
        };
        let old = self.facts[slot].replace(node.clone());
        self.hot[slot].set_facts(&node);
        let same_labels = old.as_ref().is_some_and(|old| old.labels == node.labels);
        if !same_labels {
            self.columns.set_node(slot, |key| node.labels.get(key));
            self.order.clear();
        }
        if old.as_ref().is_none_or(|old| old.images != node.images) {
            self.count_images(old.as_deref(), -1);
            self.count_images(Some(&node), 1);
        }
        for key in self.orphans.remove(&node.name).unwrap_or_default() {
            self.place(&key);
        }
        old
    }

    fn new_slot(&mut self, name: &str) -> usize {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.facts.push(None);
            self.hot.push(Hot::default());
            self.loads.push(Load::default());
            self.facts.len() - 1
        });
        self.slots.insert(name.to_owned(), slot);
        slot
    }

    /// Removes a node; its pods stay known.
    pub fn remove_node(&mut self, name: &str) -> Option<Arc<NodeInfo>> {
        let slot = *self.slots.get(name)?;
        let pods = std::mem::take(&mut self.loads[slot].pods);
        let keys: Vec<Key> = pods.iter().map(|pod| pod.key.clone()).collect();
        for key in &keys {
            self.displace(key);
        }
        self.orphans.insert(name.to_owned(), keys);
        self.slots.remove(name);
        self.free.push(slot);
        self.order.clear();
        self.columns.set_node(slot, |_| None);
        self.hot[slot] = Hot::default();
        self.loads[slot] = Load::default();
        let old = self.facts[slot].take();
        self.count_images(old.as_deref(), -1);
        old
    }

    fn count_images(&mut self, node: Option<&NodeInfo>, sign: i64) {
        for image in node.into_iter().flat_map(|node| node.images.keys()) {
            let count = self.image_holders.entry(image.clone()).or_default();
            *count += sign;
            if *count == 0 {
                self.image_holders.remove(image);
            }
        }
    }

    /// Counts a bound or assumed pod, replacing what was known of it, which comes back.
    pub fn set_pod(&mut self, pod: impl Into<Arc<PodInfo>>) -> Option<Arc<PodInfo>> {
        let pod = pod.into();
        let old = self.remove_pod(&pod.key);
        if pod.node_name.is_empty() || pod.finished {
            return old;
        }
        let key = pod.key.clone();
        self.pods.insert(key.clone(), Placed { pod, at: None });
        self.place(&key);
        old
    }

    /// Counts a pod out; what was known of it comes back.
    pub fn remove_pod(&mut self, key: &Key) -> Option<Arc<PodInfo>> {
        self.displace(key);
        let placed = self.pods.remove(key)?;
        if let Some(orphans) = self.orphans.get_mut(&placed.pod.node_name) {
            orphans.retain(|own| own != key);
            if orphans.is_empty() {
                self.orphans.remove(&placed.pod.node_name);
            }
        }
        Some(placed.pod)
    }

    fn place(&mut self, key: &Key) {
        let Some(placed) = self.pods.get_mut(key) else {
            return;
        };
        let pod = placed.pod.clone();
        let Some(slot) = self.slots.get(&pod.node_name).copied() else {
            let orphans = self.orphans.entry(pod.node_name.clone()).or_default();
            orphans.push(key.clone());
            return;
        };
        self.hot[slot].count(&pod, 1);
        let least = &mut self.hot[slot].least_priority;
        *least = pod.priority.min(*least);
        self.loads[slot].add(&pod);
        placed.at = Some(Place {
            slot,
            class: self.classes.add(&pod, slot, &self.namespaces),
            groups: self.groups.add(&pod, slot),
        });
        for claim in &pod.claims {
            let claim = Key::new(key.namespace.clone(), claim.name.clone());
            *self.claims_in_use.entry(claim).or_default() += 1;
        }
    }

    fn displace(&mut self, key: &Key) {
        let Some(placed) = self.pods.get_mut(key) else {
            return;
        };
        let (Some(at), pod) = (placed.at.take(), placed.pod.clone()) else {
            return;
        };
        self.hot[at.slot].count(&pod, -1);
        self.loads[at.slot].remove(&pod);
        if self.hot[at.slot].least_priority >= pod.priority {
            self.hot[at.slot].least_priority = self.loads[at.slot].least_priority();
        }
        self.classes.remove(at.class, at.slot, &self.namespaces);
        self.groups.remove(&at.groups, at.slot);
        for claim in &pod.claims {
            let claim = Key::new(key.namespace.clone(), claim.name.clone());
            if let Some(count) = self.claims_in_use.get_mut(&claim) {
                *count -= 1;
                if *count == 0 {
                    self.claims_in_use.remove(&claim);
                }
            }
        }
    }

    /// The labels of a namespace; `None` when it went.
    pub fn set_namespace(&mut self, name: &str, labels: Option<Labels>) {
        if self.namespaces.get(name) == labels.as_ref() {
            return;
        }
        match labels {
            Some(labels) => self.namespaces.insert(name.to_owned(), labels),
            None => self.namespaces.remove(name),
        };
        self.classes.namespaces_changed();
    }

    /// Notes for which node a pod waits (`None`: none any more). What it was before comes back.
    pub fn nominate(&mut self, pod: &Arc<PodInfo>, node: Option<&str>) {
        self.nominated.retain(|_, pods| {
            pods.retain(|own| own.key != pod.key);
            !pods.is_empty()
        });
        if let Some(node) = node {
            let pods = self.nominated.entry(node.to_owned()).or_default();
            pods.push(pod.clone());
        }
    }

    /// The node that a pod waits for.
    pub fn nomination(&self, key: &Key) -> Option<&str> {
        let waits = |pods: &Vec<Arc<PodInfo>>| pods.iter().any(|pod| pod.key == *key);
        let found = self.nominated.iter().find(|(_, pods)| waits(pods));
        found.map(|(node, _)| node.as_str())
    }

    /// The pods that wait for a node.
    pub fn nominated_to(&self, node: &str) -> &[Arc<PodInfo>] {
        self.nominated.get(node).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn all_nominated(&self) -> impl Iterator<Item = &Arc<PodInfo>> {
        self.nominated.values().flatten()
    }

    pub(crate) fn nobody_nominated(&self) -> bool {
        self.nominated.is_empty()
    }

    pub(crate) fn slot(&self, node: &str) -> Option<usize> {
        self.slots.get(node).copied()
    }

    pub(crate) fn facts(&self, slot: usize) -> &NodeInfo {
        self.facts[slot]
            .as_deref()
            .expect("slots in the order belong to nodes")
    }

    pub(crate) fn hot(&self, slot: usize) -> &Hot {
        &self.hot[slot]
    }

    pub(crate) fn load(&self, slot: usize) -> &Load {
        &self.loads[slot]
    }

    /// Slots in the order of search: zone after zone in turn.
    pub(crate) fn order(&self) -> &[u32] {
        &self.order
    }

    pub(crate) fn prepare(&mut self) {
        if self.order.is_empty() {
            let nodes = self.facts.iter().enumerate();
            let nodes = nodes.filter_map(|(slot, node)| Some((slot, node.as_deref()?)));
            self.order = order::by_zone(nodes);
        }
    }

    pub(crate) fn column(&mut self, key: &str) -> Arc<Column> {
        let nodes = self.facts.iter().enumerate();
        self.columns.get(
            key,
            nodes.map(|(slot, node)| (slot, node.as_ref().and_then(|n| n.labels.get(key)))),
        )
    }

    pub(crate) fn counter(&mut self, matcher: &Matcher) -> Arc<Counter> {
        self.classes.counter(matcher, &self.namespaces)
    }

    pub(crate) fn groups(&self) -> impl Iterator<Item = (usize, &Group)> {
        self.groups.iter()
    }

    pub(crate) fn group(&self, id: usize) -> Option<&Group> {
        self.groups.get(id)
    }

    pub(crate) fn namespace_labels(&self, name: &str) -> Labels {
        self.namespaces.get(name).cloned().unwrap_or_default()
    }

    pub(crate) fn image_holders(&self, image: &str) -> i64 {
        self.image_holders.get(image).copied().unwrap_or(0)
    }

    pub(crate) fn claim_is_used(&self, claim: &Key) -> bool {
        self.claims_in_use.contains_key(claim)
    }
}

#[cfg(test)]
mod tests;
