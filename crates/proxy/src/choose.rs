//! Which endpoints of a port this node uses. Pure.
//!
//! Ready ones, by the hints of zone and node when all carry them; when none is ready, those that
//! terminate but still serve. Both for the whole cluster and for this node alone.
//! Source: kubernetes v1.36 pkg/proxy/topology.go (CategorizeEndpoints, topologyModeFromHints).

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::slice::Endpoint;

/// The outcome.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Chosen {
    /// For policy Cluster; empty when the port never uses it.
    pub(crate) cluster: Vec<SocketAddr>,
    /// For policy Local; empty when the port never uses it.
    pub(crate) local: Vec<SocketAddr>,
    /// Some endpoint anywhere could take traffic.
    pub(crate) any: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Topology {
    Everywhere,
    SameNode,
    SameZone,
}

/// Chooses among `endpoints`; `wants` says which of (cluster, local) the port uses.
pub(crate) fn choose(
    endpoints: &BTreeMap<SocketAddr, &Endpoint>,
    wants: (bool, bool),
    node: &str,
    zone: &str,
) -> Chosen {
    let pick = |keep: &dyn Fn(&Endpoint) -> bool| -> Vec<SocketAddr> {
        let kept = endpoints.iter().filter(|(_, endpoint)| keep(endpoint));
        kept.map(|(address, _)| *address).collect()
    };
    let draining = |endpoint: &Endpoint| endpoint.serving && endpoint.terminating;
    let mut chosen = Chosen::default();
    if wants.0 {
        let topology = topology(endpoints, node, zone);
        chosen.cluster = pick(&|endpoint| {
            endpoint.ready
                && match topology {
                    Topology::Everywhere => true,
                    Topology::SameNode => endpoint.node_hints.iter().any(|hint| hint == node),
                    Topology::SameZone => endpoint.zone_hints.iter().any(|hint| hint == zone),
                }
        });
        if chosen.cluster.is_empty() {
            chosen.cluster = pick(&draining);
        }
        chosen.any = !chosen.cluster.is_empty();
    }
    if wants.1 {
        let here = |endpoint: &Endpoint| !node.is_empty() && endpoint.node == node;
        chosen.local = pick(&|endpoint| here(endpoint) && endpoint.ready);
        if chosen.local.is_empty() {
            chosen.local = pick(&|endpoint| here(endpoint) && draining(endpoint));
        }
        chosen.any |= endpoints
            .values()
            .any(|endpoint| endpoint.ready || draining(endpoint));
    }
    chosen
}

fn topology(endpoints: &BTreeMap<SocketAddr, &Endpoint>, node: &str, zone: &str) -> Topology {
    let ready = || endpoints.values().filter(|endpoint| endpoint.ready);
    if ready().next().is_none() {
        return Topology::Everywhere;
    }
    let has = |hints: &[String], name: &str| hints.iter().any(|hint| hint == name);
    if ready().all(|endpoint| !endpoint.node_hints.is_empty())
        && ready().any(|endpoint| has(&endpoint.node_hints, node))
    {
        return Topology::SameNode;
    }
    if ready().all(|endpoint| !endpoint.zone_hints.is_empty())
        && ready().any(|endpoint| has(&endpoint.zone_hints, zone))
    {
        return Topology::SameZone;
    }
    Topology::Everywhere
}
