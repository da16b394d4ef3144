//! The plugins: each a row with its filter and score. A filter's reasons use upstream's words,
//! because people and tools search for them.
//!
//! Source: kubernetes v1.36 pkg/scheduler/framework/plugins/{nodeunschedulable,nodename,
//! tainttoleration,nodeaffinity,nodeports,noderesources,imagelocality}.

mod affinity;
mod fit;
mod image;
mod taints;

use crate::{NodeInfo, PodInfo, Snapshot};

/// Why a node is no candidate: each entry counts once in the event.
pub type Reasons = Vec<String>;

/// A filter and/or a score of 0–100.
pub struct Plugin {
    /// Upstream's name.
    pub name: &'static str,
    /// No reasons: the node is a candidate.
    pub filter: Option<fn(&PodInfo, &NodeInfo) -> Reasons>,
    /// Larger is better.
    pub score: Option<fn(&PodInfo, &NodeInfo, &Snapshot) -> i64>,
    /// Factor of the score in the sum.
    pub weight: i64,
}

impl Plugin {
    const DEFAULT: Self = Self {
        name: "",
        filter: None,
        score: None,
        weight: 1,
    };
}

/// In order of filtering: the first with reasons speaks for the node.
pub const PLUGINS: &[Plugin] = &[
    Plugin {
        name: "NodeUnschedulable",
        filter: Some(taints::unschedulable),
        ..Plugin::DEFAULT
    },
    Plugin {
        name: "NodeName",
        filter: Some(affinity::node_name),
        ..Plugin::DEFAULT
    },
    Plugin {
        name: "TaintToleration",
        filter: Some(taints::filter),
        score: Some(taints::score),
        weight: 3,
    },
    Plugin {
        name: "NodeAffinity",
        filter: Some(affinity::filter),
        score: Some(affinity::score),
        weight: 2,
    },
    Plugin {
        name: "NodePorts",
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

/// The highest score of one plugin.
pub(crate) const MAX_SCORE: i64 = 100;
