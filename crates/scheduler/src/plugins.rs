//! The plugins: each a row with its filter and score, upstream's defaults.
//!
//! A filter looks at one node and says what is against it; the first plugin with something to
//! say speaks for the node. A score fills one number a node for all candidates at once. What a
//! plugin works out once a decision is its `State` in the [`Cycle`](crate::decide::Cycle).
//! Source: kubernetes v1.36.3 pkg/scheduler/apis/config/v1/default_plugins.go.

pub(crate) mod claims;
pub(crate) mod disks;
pub(crate) mod fit;
mod image;
pub(crate) mod node_affinity;
pub(crate) mod pod_affinity;
pub(crate) mod reason;
pub(crate) mod spread;
pub(crate) mod taints;
mod zone;

pub(crate) use reason::Against;

use crate::decide::{Cycle, View};

/// The highest score of one plugin for one node.
pub(crate) const MAX_SCORE: i64 = 100;

type Filter = fn(&Cycle<'_>, &View<'_>) -> Option<Against>;

/// Fills the score of each candidate, 0 to 100; false: this pod does not concern the plugin.
type Score = fn(&Cycle<'_>, &[u32], &mut [i64]) -> bool;

/// A filter and/or a score.
pub struct Plugin {
    /// Upstream's name.
    pub name: &'static str,
    /// Factor of the score in the sum.
    pub weight: i64,
    /// Whether the filter has anything to do for the pod.
    pub(crate) concerns: fn(&Cycle<'_>) -> bool,
    pub(crate) filter: Option<Filter>,
    pub(crate) score: Option<Score>,
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Plugin {
    const DEFAULT: Self = Self {
        name: "",
        weight: 1,
        concerns: |_| true,
        filter: None,
        score: None,
    };
}

/// Rows of [`PLUGINS`] by name, for what refers to one.
pub(crate) mod row {
    pub(crate) const NODE_UNSCHEDULABLE: usize = 0;
    pub(crate) const NODE_NAME: usize = 1;
    pub(crate) const TAINT_TOLERATION: usize = 2;
    pub(crate) const NODE_AFFINITY: usize = 3;
    pub(crate) const NODE_PORTS: usize = 4;
    pub(crate) const FIT: usize = 5;
    pub(crate) const VOLUME_RESTRICTIONS: usize = 6;
    pub(crate) const VOLUME_BINDING: usize = 7;
    pub(crate) const VOLUME_ZONE: usize = 8;
    pub(crate) const SPREAD: usize = 9;
    pub(crate) const POD_AFFINITY: usize = 10;
    /// After the table: what says no before any plugin.
    pub(crate) const NO_NODES: usize = 30;
    pub(crate) const CLAIMED_DEVICES: usize = 31;
}

/// In order of filtering.
pub const PLUGINS: &[Plugin] = &[
    Plugin {
        name: "NodeUnschedulable",
        filter: Some(taints::unschedulable),
        ..Plugin::DEFAULT
    },
    Plugin {
        name: "NodeName",
        concerns: |cycle| !cycle.pod.node_name.is_empty(),
        filter: Some(node_affinity::node_name),
        ..Plugin::DEFAULT
    },
    Plugin {
        name: "TaintToleration",
        weight: 3,
        filter: Some(taints::filter),
        score: Some(taints::score),
        ..Plugin::DEFAULT
    },
    Plugin {
        name: "NodeAffinity",
        weight: 2,
        concerns: |cycle| cycle.node_affinity.restricts(),
        filter: Some(node_affinity::filter),
        score: Some(node_affinity::score),
    },
    Plugin {
        name: "NodePorts",
        concerns: |cycle| !cycle.pod.host_ports.is_empty(),
        filter: Some(fit::ports),
        ..Plugin::DEFAULT
    },
    Plugin {
        name: "NodeResourcesFit",
        filter: Some(fit::filter),
        score: Some(fit::least_allocated),
        ..Plugin::DEFAULT
    },
    Plugin {
        name: "VolumeRestrictions",
        concerns: |cycle| cycle.disks.concerns(cycle.pod),
        filter: Some(disks::filter),
        ..Plugin::DEFAULT
    },
    Plugin {
        name: "VolumeBinding",
        concerns: |cycle| cycle.claims.concerns(),
        filter: Some(claims::filter),
        ..Plugin::DEFAULT
    },
    Plugin {
        name: "VolumeZone",
        concerns: |cycle| cycle.claims.has_zones(),
        filter: Some(zone::filter),
        ..Plugin::DEFAULT
    },
    Plugin {
        name: "PodTopologySpread",
        weight: 2,
        concerns: |cycle| cycle.spread.restricts(),
        filter: Some(spread::filter),
        score: Some(spread::score),
    },
    Plugin {
        name: "InterPodAffinity",
        weight: 2,
        concerns: |cycle| cycle.affinity.restricts(),
        filter: Some(pod_affinity::filter),
        score: Some(pod_affinity::score),
    },
    Plugin {
        name: "NodeResourcesBalancedAllocation",
        score: Some(fit::balanced),
        ..Plugin::DEFAULT
    },
    Plugin {
        name: "ImageLocality",
        score: Some(image::score),
        ..Plugin::DEFAULT
    },
];

/// Scales to 0–100 against the largest; `reverse`: the largest becomes the worst.
/// Source: kubernetes v1.36.3 pkg/scheduler/framework/plugins/helper/normalize_score.go.
pub(crate) fn normalize(scores: &mut [i64], reverse: bool) {
    let most = scores.iter().copied().max().unwrap_or(0);
    if most <= 0 {
        if reverse {
            scores.fill(MAX_SCORE);
        }
        return;
    }
    for score in scores {
        let scaled = MAX_SCORE * *score / most;
        *score = if reverse { MAX_SCORE - scaled } else { scaled };
    }
}

#[cfg(test)]
mod tests;
