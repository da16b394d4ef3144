//! Whether the node takes a pod that was given to it. Pure, but for the table of who is here.
//!
//! The scheduler has looked before, at what it knew; pods whose `nodeName` somebody else wrote were
//! never looked at. A refused pod fails for good, with upstream's reason: its controller makes
//! another. Example: two pods with `hostPort: 80` and the same `nodeName`; the second fails with
//! `NodePorts`. Nothing is evicted for a critical pod.
//! Source: kubernetes v1.36.3 pkg/kubelet/lifecycle/predicate.go; pkg/kubelet/kubelet.go, rejectPod.

use std::collections::HashMap;

use api::pod::{RequestOptions, requests};
use parking_lot::Mutex;
use schema::Ref;

use crate::config::Config;
use crate::node::LEAST_MEMORY_BYTES;

/// What a node has for pods.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pods: i64,
    millicores: i64,
    memory_bytes: i64,
}

impl Room {
    pub(crate) fn of(config: &Config) -> Self {
        let reserved_bytes = i64::try_from(LEAST_MEMORY_BYTES).unwrap_or(0);
        Self {
            pods: i64::from(config.max_pods),
            millicores: config.millicores,
            memory_bytes: config.memory_bytes - reserved_bytes,
        }
    }
}

/// What a pod takes of its node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Share {
    millicores: i64,
    memory_bytes: i64,
    /// Protocol, address on the node, port.
    ports: Vec<(String, String, u16)>,
}

impl Share {
    pub(crate) fn of(pod: Ref<'_>) -> Self {
        let wanted = requests(pod, &RequestOptions::default());
        let amount = |name: &str| wanted.get(name);
        let spec = pod.get("spec");
        let ports = spec.into_iter().flat_map(api::pod::ports);
        let on_node = ports.filter(|port| port.host_port > 0).map(|port| {
            let address = match port.host_ip {
                "" | "0.0.0.0" | "::" => "",
                address => address,
            };
            (port.protocol.to_owned(), address.to_owned(), port.host_port)
        });
        Self {
            millicores: amount("cpu").map_or(0, api::Quantity::millis),
            memory_bytes: amount("memory").map_or(0, api::Quantity::value),
            ports: on_node.collect(),
        }
    }

    fn meets(&self, other: &Self) -> bool {
        self.ports.iter().any(|(protocol, address, port)| {
            other.ports.iter().any(|(p, a, n)| {
                let same = a == address || a.is_empty() || address.is_empty();
                p == protocol && n == port && same
            })
        })
    }
}

/// Why a pod is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Refusal {
    fn of(predicate: &'static str, why: &str) -> Self {
        Self {
            reason: predicate,
            message: format!("Predicate {predicate} failed: {why}"),
        }
    }

    /// The node is not one that the pod accepts.
    pub(crate) fn of_affinity() -> Self {
        Self::of(
            "NodeAffinity",
            "node(s) didn't match Pod's node affinity/selector",
        )
    }
}

/// The pods that the node has taken, by uid.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    shares: Mutex<HashMap<String, Share>>,
}

impl Taken {
    /// Counts a pod that is here already, or that has changed.
    pub(crate) fn keep(&self, uid: &str, share: Share) {
        self.shares.lock().insert(uid.to_owned(), share);
    }

    /// The pod has ended.
    pub(crate) fn release(&self, uid: &str) {
        self.shares.lock().remove(uid);
    }

    /// Takes a pod in, or says why not.
    pub(crate) fn take(&self, uid: &str, share: Share, room: Room) -> Result<(), Refusal> {
        let mut shares = self.shares.lock();
        shares.remove(uid);
        if let Some(refusal) = refusal(&share, &shares, room) {
            return Err(refusal);
        }
        shares.insert(uid.to_owned(), share);
        Ok(())
    }
}

fn refusal(share: &Share, taken: &HashMap<String, Share>, room: Room) -> Option<Refusal> {
    let sum = |of: fn(&Share) -> i64| taken.values().map(of).sum::<i64>();
    let count = i64::try_from(taken.len()).unwrap_or(i64::MAX);
    let rows = [
        ("OutOfpods", "pods", 1, count, room.pods),
        (
            "OutOfcpu",
            "cpu",
            share.millicores,
            sum(|other| other.millicores),
            room.millicores,
        ),
        (
            "OutOfmemory",
            "memory",
            share.memory_bytes,
            sum(|other| other.memory_bytes),
            room.memory_bytes,
        ),
    ];
    let short = rows
        .into_iter()
        .find(|(_, _, wanted, used, capacity)| *wanted > 0 && wanted + used > *capacity);
    if let Some((reason, name, wanted, used, capacity)) = short {
        return Some(Refusal {
            reason,
            message: format!(
                "Node didn't have enough resource: {name}, requested: {wanted}, used: {used}, capacity: {capacity}"
            ),
        });
    }
    taken.values().any(|other| other.meets(share)).then(|| {
        Refusal::of(
            "NodePorts",
            "node(s) didn't have free ports for the requested pod ports",
        )
    })
}

#[cfg(test)]
mod tests;
