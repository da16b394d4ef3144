//! Topology spread constraints of a pod.
//!
//! Source: kubernetes v1.36.3 pkg/scheduler/framework/plugins/podtopologyspread/{common,plugin}.go.

use api::labels::{Operator, Requirement, Selector};
use schema::Ref;

use crate::Labels;
use crate::pod::terms;

/// One constraint, its selector complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spread {
    /// How far a place may be above the emptiest.
    pub max_skew: i64,
    /// Nodes with the same value of this label are one place.
    pub topology_key: String,
    /// DoNotSchedule instead of ScheduleAnyway.
    pub hard: bool,
    /// Which pods count; always of the pod's own namespace.
    pub selector: Selector,
    /// With fewer places the emptiest counts as empty.
    pub min_domains: usize,
    /// Only nodes count that the pod's selector and affinity match.
    pub honor_affinity: bool,
    /// Only nodes count whose taints the pod tolerates.
    pub honor_taints: bool,
}

impl Spread {
    /// A constraint over all pods that `selector` matches.
    pub fn new(topology_key: &str, max_skew: i64, hard: bool, selector: Selector) -> Self {
        Self {
            max_skew,
            topology_key: topology_key.to_owned(),
            hard,
            selector,
            min_domains: 1,
            honor_affinity: true,
            honor_taints: false,
        }
    }

    pub(crate) fn read(constraint: Ref<'_>, labels: &Labels) -> Self {
        let mut selector = terms::selector(constraint.get("labelSelector"));
        let keys = terms::strings(constraint, "matchLabelKeys");
        if !keys.is_empty() && !selector.is_nothing() {
            let mut all = selector.requirements().to_vec();
            all.extend(keys.iter().filter_map(|key| {
                let value = labels.get(key)?;
                Requirement::new(key, Operator::Equals, vec![value.to_owned()]).ok()
            }));
            selector = Selector::of(all);
        }
        Self {
            max_skew: constraint.int("maxSkew").unwrap_or(1),
            topology_key: constraint.str("topologyKey").to_owned(),
            hard: constraint.str("whenUnsatisfiable") != "ScheduleAnyway",
            selector,
            min_domains: constraint
                .int("minDomains")
                .and_then(|n| usize::try_from(n).ok())
                .unwrap_or(1),
            honor_affinity: constraint.str("nodeAffinityPolicy") != "Ignore",
            honor_taints: constraint.str("nodeTaintsPolicy") == "Honor",
        }
    }
}
