//! Hints of a slice's endpoints: who should prefer them, as `trafficDistribution` says.
//!
//! Source: endpointslice v0.36.3 trafficdist/trafficdist.go. Hints by the annotation
//! `service.kubernetes.io/topology-mode` are not made.

use crate::endpoint::slice::{Endpoint, Hints, Slice};

/// What a Service asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Preference {
    None,
    Zone,
    Node,
}

impl Preference {
    pub(crate) fn parse(text: &str) -> Self {
        match text {
            "PreferClose" | "PreferSameZone" => Self::Zone,
            "PreferSameNode" => Self::Node,
            _ => Self::None,
        }
    }
}

/// Puts the hints right; true when something changed.
pub(crate) fn set_hints(slice: &mut Slice, preference: Preference) -> bool {
    let mut changed = false;
    for endpoint in &mut slice.endpoints {
        let unready = endpoint.ready != Some(true);
        if preference != Preference::None && unready {
            continue;
        }
        let wanted = hints(endpoint, preference);
        if endpoint.hints != wanted {
            endpoint.hints = wanted;
            changed = true;
        }
    }
    changed
}

fn hints(endpoint: &Endpoint, preference: Preference) -> Option<Hints> {
    let zone = endpoint
        .zone
        .clone()
        .filter(|_| preference != Preference::None);
    let node = endpoint
        .node
        .clone()
        .filter(|_| preference == Preference::Node);
    if zone.is_none() && node.is_none() {
        return None;
    }
    Some(Hints {
        zones: zone.into_iter().collect(),
        nodes: node.into_iter().collect(),
    })
}
