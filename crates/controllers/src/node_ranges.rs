//! Gives nodes their share of the cluster's pod ranges, unless they carry one already.
//!
//! What a node carries is never changed. A share that is being written is remembered until the
//! node shows it, so that two nodes never get the same one. When all are given out nodes wait: a
//! share that is free again brings one of them, and whoever got one brings the next, until one
//! finds nothing. Example: 256 shares, 1,000 nodes; one with a share goes → one of 744 gets it, a
//! second finds nothing, the others are not looked at.
//! Source: kubernetes v1.36.3 pkg/controller/nodeipam/ipam/range_allocator.go.

mod plan;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use api::Gvr;
use client::{Error, EventType, Key, Patch, Reference, WorkQueue};
use ipnet::IpNet;
use parking_lot::Mutex;
use schema::Dom;

use crate::context::{Context, work};
use crate::facts::Facts;
use crate::node_ranges::plan::share;
use crate::nodes::{self, Node};

/// The ranges that pods of all nodes share. Without ranges nodes get none from here.
#[derive(Clone, Debug, Default)]
pub struct PodRanges {
    /// At most one a family.
    pub ranges: Vec<IpNet>,
    /// Length of a node's share of an IPv4 range.
    pub mask_v4: u8,
    /// Length of a node's share of an IPv6 range.
    pub mask_v6: u8,
    /// Shares that are settled before their node registers.
    pub settled: Vec<(String, Vec<IpNet>)>,
}

struct Shares {
    context: Context,
    ranges: Arc<PodRanges>,
    nodes: Facts<Node>,
    queue: Arc<WorkQueue<String>>,
    state: Mutex<State>,
}

/// Behind one lock: who finds nothing waits before anything can become free.
#[derive(Default)]
struct State {
    /// Shares on their way to their nodes.
    sent: HashMap<String, Vec<IpNet>>,
    /// Nodes that found none and were not called since.
    waiting: BTreeSet<String>,
}

impl State {
    /// Who looks next when `node` is done: nobody when it had neither a share nor a turn.
    fn next_after(&mut self, node: &str) -> Option<String> {
        match self.waiting.remove(node) {
            true => None,
            false => self.waiting.pop_first(),
        }
    }
}

pub(crate) fn start(context: Context) {
    let ranges = context.pod_ranges.clone();
    if ranges.ranges.is_empty() {
        return;
    }
    let queue: Arc<WorkQueue<String>> = Arc::new(WorkQueue::new());
    let add = queue.clone();
    let nodes = nodes::nodes(&context).on_step(move |step| {
        let has_share = |node: &Arc<Node>| !node.pod_ranges.is_empty();
        if !step.new.as_ref().is_some_and(has_share) {
            add.add(step.key.name.clone());
        }
    });
    let all = Arc::new(Shares {
        context: context.clone(),
        ranges,
        nodes,
        queue: queue.clone(),
        state: Mutex::default(),
    });
    work("node-ipam-controller", &context, &queue, move |name| {
        let all = all.clone();
        async move { all.sync(&name).await }
    });
}

impl Shares {
    async fn sync(&self, name: &str) -> Result<(), Error> {
        self.nodes.synced().await;
        let Some(node) = self.nodes.get(&Key::new("", name)) else {
            self.give_up(name);
            return Ok(());
        };
        if !node.pod_ranges.is_empty() || node.terminating {
            self.call_next(name);
            return Ok(());
        }
        let Some(chosen) = self.choose(name) else {
            let about = Reference::node(name, &node.uid);
            let reason = "CIDRNotAvailable";
            let message = format!("Node {name} status is now: {reason}");
            self.context
                .recorder
                .record(&about, EventType::Normal, reason, message);
            return Ok(());
        };
        let nodes = self.context.client.resource(&Gvr::new("", "v1", "nodes"));
        let patch = Patch::Strategic(patch(&node.uid, &chosen).into());
        match nodes.patch(name, "", patch).await {
            Ok(_) => {
                self.call_next(name);
                Ok(())
            }
            // Gone, or somebody else gave it one.
            Err(error) if error.is_not_found() || error.is_conflict() || error.code() == 422 => {
                self.give_up(name);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Nothing is on its way to the node any more.
    fn give_up(&self, name: &str) {
        self.state.lock().sent.remove(name);
        self.call_next(name);
    }

    fn call_next(&self, name: &str) {
        let next = self.state.lock().next_after(name);
        next.into_iter().for_each(|next| self.queue.add(next));
    }

    /// A share for the node; without one it waits.
    fn choose(&self, name: &str) -> Option<Vec<IpNet>> {
        let mut state = self.state.lock();
        let State { sent, waiting } = &mut *state;
        waiting.remove(name);
        if let Some(known) = sent.get(name) {
            return Some(known.clone());
        }
        let settled = self.ranges.settled.iter().find(|(node, _)| node == name);
        let chosen = match settled {
            Some((_, share)) => share.clone(),
            None => {
                let mut used: Vec<IpNet> = Vec::new();
                for node in self.nodes.all() {
                    // Shown by its node: no need to remember it here.
                    if !node.pod_ranges.is_empty() {
                        sent.remove(&node.name);
                    }
                    used.extend(
                        node.pod_ranges
                            .iter()
                            .filter_map(|text| text.parse::<IpNet>().ok()),
                    );
                }
                used.extend(sent.values().flatten());
                let reserved = self.ranges.settled.iter().flat_map(|(_, share)| share);
                used.extend(reserved);
                let Some(free) = share(&self.ranges, &used) else {
                    waiting.insert(name.to_owned());
                    return None;
                };
                free
            }
        };
        sent.insert(name.to_owned(), chosen.clone());
        Some(chosen)
    }
}

fn patch(uid: &str, ranges: &[IpNet]) -> Vec<u8> {
    let mut dom = Dom::new();
    let root = dom.new_map();
    dom.set_root(root);
    let metadata = dom.ensure_map(root, "metadata");
    dom.set_str(metadata, "uid", uid);
    let spec = dom.ensure_map(root, "spec");
    for (index, range) in ranges.iter().enumerate() {
        let text = range.to_string();
        if index == 0 {
            dom.set_str(spec, "podCIDR", &text);
        }
        let list = dom.ensure_list(spec, "podCIDRs");
        let entry = dom.new_str(&text);
        dom.push(list, entry);
    }
    dom.to_json(root)
}

#[cfg(test)]
mod tests;
