//! Volumes with zone labels keep their pods in their zone.
//! Source: kubernetes v1.36.3 pkg/scheduler/framework/plugins/volumezone/volume_zone.go.

use crate::decide::{Cycle, View};
use crate::plugins::Against;
use crate::plugins::reason::Reason;
use crate::snapshot::zone_keys;

pub(super) fn filter(cycle: &Cycle<'_>, view: &View<'_>) -> Option<Against> {
    let labels = &view.facts().labels;
    // A node without any zone label is in a cluster of one zone.
    if zone_keys().iter().all(|key| labels.get(key).is_none()) {
        return None;
    }
    let elsewhere = |(key, values): &(String, Vec<String>)| {
        let own = labels.get(key).or_else(|| labels.get(new_key(key)));
        own.is_none_or(|own| !values.iter().any(|value| value == own))
    };
    let refused = cycle.claims.zones().any(elsewhere);
    refused.then(|| Against::for_good(Reason::VolumeZone))
}

fn new_key(key: &str) -> &str {
    match key {
        "failure-domain.beta.kubernetes.io/zone" => "topology.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region" => "topology.kubernetes.io/region",
        key => key,
    }
}
