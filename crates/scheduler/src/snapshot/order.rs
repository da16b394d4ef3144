//! The order in which nodes are searched: one of each zone in turn, so that a search that stops
//! early has seen all zones.
//! Source: kubernetes v1.36.3 pkg/scheduler/backend/cache/node_tree.go.

use std::collections::BTreeMap;

use crate::NodeInfo;

/// Slots in turn by zone, by name within a zone.
pub(crate) fn by_zone<'a>(nodes: impl Iterator<Item = (usize, &'a NodeInfo)>) -> Vec<u32> {
    let mut zones: BTreeMap<(&str, &str), Vec<(&str, u32)>> = BTreeMap::new();
    let mut count = 0;
    for (slot, node) in nodes {
        let label = |new: &str, old: &str| {
            let label = node.labels.get(old).or_else(|| node.labels.get(new));
            label.unwrap_or_default()
        };
        let zone = (
            label(
                "topology.kubernetes.io/region",
                "failure-domain.beta.kubernetes.io/region",
            ),
            label(
                "topology.kubernetes.io/zone",
                "failure-domain.beta.kubernetes.io/zone",
            ),
        );
        let slot = u32::try_from(slot).unwrap_or(u32::MAX);
        zones.entry(zone).or_default().push((&node.name, slot));
        count += 1;
    }
    let mut zones: Vec<_> = zones.into_values().collect();
    for zone in &mut zones {
        zone.sort_unstable();
    }
    let mut order = Vec::with_capacity(count);
    let mut row = 0;
    while order.len() < count {
        let slots = zones.iter().filter_map(|zone| zone.get(row));
        order.extend(slots.map(|(_, slot)| *slot));
        row += 1;
    }
    order
}
