//! The decision for one pod. Pure.

use std::collections::BTreeMap;
use std::fmt;

use base::Rng;

use crate::{NodeInfo, PLUGINS, PodInfo, Snapshot};

/// Where a pod goes, or why nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Bind to this node.
    Node(String),
    /// No node takes it.
    Unschedulable {
        /// How many nodes were looked at.
        nodes: usize,
        /// Reason → number of nodes.
        reasons: BTreeMap<String, usize>,
    },
}

/// Chooses among the nodes that pass all filters the one with the highest sum of scores; equal
/// sums are decided by `rng`.
pub fn decide(snapshot: &Snapshot, pod: &PodInfo, rng: &mut Rng) -> Decision {
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let mut best: Option<(&NodeInfo, i64)> = None;
    let mut equal = 1_u64;
    for node in snapshot.nodes() {
        let against = PLUGINS
            .iter()
            .filter_map(|plugin| plugin.filter)
            .map(|filter| filter(pod, node))
            .find(|reasons| !reasons.is_empty());
        if let Some(against) = against {
            for reason in against {
                *reasons.entry(reason).or_default() += 1;
            }
            continue;
        }
        let sum = PLUGINS
            .iter()
            .filter_map(|plugin| Some((plugin.score?, plugin.weight)))
            .map(|(score, weight)| weight * score(pod, node, snapshot))
            .sum();
        match best {
            Some((_, highest)) if sum < highest => {}
            // Reservoir sampling keeps each of the equal nodes with the same chance.
            Some((_, highest)) if sum == highest => {
                equal += 1;
                if rng.below(equal) == 0 {
                    best = Some((node, sum));
                }
            }
            _ => {
                equal = 1;
                best = Some((node, sum));
            }
        }
    }
    match best {
        Some((node, _)) => Decision::Node(node.name.clone()),
        None => Decision::Unschedulable {
            nodes: snapshot.len(),
            reasons,
        },
    }
}

impl fmt::Display for Decision {
    /// Upstream's words: `0/2 nodes are available: 1 Insufficient cpu, 1 Too many pods.`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => f.write_str(node),
            Self::Unschedulable { nodes: 0, .. } => {
                f.write_str("no nodes available to schedule pods")
            }
            Self::Unschedulable { nodes, reasons } => {
                let mut parts: Vec<String> = reasons
                    .iter()
                    .map(|(reason, count)| format!("{count} {reason}"))
                    .collect();
                parts.sort();
                write!(f, "0/{nodes} nodes are available: {}.", parts.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests;
