//! Routes to the pods of other nodes on the same link, kept as the Node objects say.
//!
//! `plan` is pure: Node objects and the kernel's routes in, changes out. Ours are told from others
//! by their protocol number, so that those of a node that is gone are found again after a restart.
//! A node can only attract its own pod ranges: a range that holds a node's address, or meets
//! one of ours or of an earlier node, gets no route and a warning. A node behind a router gets none
//! either: that takes an overlay. Example: node b, InternalIP 192.0.2.3, podCIDR 10.244.1.0/24,
//! our link 192.0.2.2/24 → `10.244.1.0/24 via 192.0.2.3`.
//! Source: kubernetes v1.36 staging/src/k8s.io/cloud-provider/controllers/route (the same idea for
//! clouds); flannel's host-gw backend.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use api::Gvr;
use base::{Chain, Shutdown, tasks};
use client::{Cache, Client, ListOptions, Object, Reflector};
use ipnet::IpNet;
use netlink::rt::{Prefix, Route};
use netlink::{Handle, Namespace};
use tokio::sync::Notify;

use crate::Network;

/// `rtm_protocol` of our routes: none of those that the kernel or a known daemon has.
const PROTOCOL: u8 = 84;
/// Routes are compared with what they should be at least this often: someone else may have
/// removed one.
const REPAIR_AFTER: Duration = Duration::from_secs(60);
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// What a Node object says about where its pods are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    /// Name of the node.
    pub name: String,
    /// Its internal addresses.
    pub addresses: Vec<IpAddr>,
    /// Its `spec.podCIDRs`.
    pub ranges: Vec<IpNet>,
}

/// A route of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hop {
    /// Pods' range.
    pub range: IpNet,
    /// Their node.
    pub gateway: IpAddr,
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} via {}", self.range, self.gateway)
    }
}

/// What is to be changed, and what cannot be had.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Routes to make, or to turn to another gateway.
    pub set: Vec<Hop>,
    /// Routes to remove.
    pub remove: Vec<Hop>,
    /// Ranges without a route, and why.
    pub refused: Vec<String>,
}

/// The changes that lead from `has` to what `peers` need, seen from node `own` with `links`, the
/// prefixes of its links. Pure.
#[must_use]
pub fn plan(own: &str, peers: &[Peer], links: &[IpNet], has: &[Hop]) -> Plan {
    let mut peers: Vec<&Peer> = peers.iter().collect();
    peers.sort();
    let mut taken: Vec<(IpNet, &str)> = Vec::new();
    let mine = peers.iter().filter(|peer| peer.name == own);
    taken.extend(mine.flat_map(|peer| peer.ranges.iter().map(|range| (*range, own))));
    let nodes: Vec<(IpAddr, &str)> = peers
        .iter()
        .flat_map(|peer| peer.addresses.iter().map(|ip| (*ip, peer.name.as_str())))
        .collect();
    let (mut wanted, mut plan) = (BTreeSet::new(), Plan::default());
    for peer in peers.iter().filter(|peer| peer.name != own) {
        for range in &peer.ranges {
            let refusal = if let Some((_, other)) = taken.iter().find(|(r, _)| meet(*r, *range)) {
                Some(format!("meets a range of node {other}"))
            } else if let Some((ip, other)) = nodes.iter().find(|(ip, _)| range.contains(ip)) {
                Some(format!("holds {ip}, an address of node {other}"))
            } else if let Some(link) = links.iter().find(|link| meet(**link, *range)) {
                Some(format!("meets {link}, which is on a link of this node"))
            } else {
                let same = |ip: &&IpAddr| ip.is_ipv4() == range.addr().is_ipv4();
                let on_link = |ip: &&IpAddr| links.iter().any(|link| link.contains(*ip));
                match peer.addresses.iter().filter(same).find(on_link) {
                    Some(gateway) => {
                        taken.push((*range, &peer.name));
                        wanted.insert(Hop {
                            range: *range,
                            gateway: *gateway,
                        });
                        None
                    }
                    None => Some("none of its addresses is on a link of this node".to_owned()),
                }
            };
            if let Some(why) = refusal {
                plan.refused
                    .push(format!("pod range {range} of node {}: {why}", peer.name));
            }
        }
    }
    let has: BTreeSet<Hop> = has.iter().copied().collect();
    let still = |hop: &&Hop| wanted.iter().any(|other| other.range == hop.range);
    // A range with another gateway is replaced, not removed.
    plan.remove = has.iter().filter(|hop| !still(hop)).copied().collect();
    plan.set = wanted.difference(&has).copied().collect();
    plan
}

fn meet(a: IpNet, b: IpNet) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

/// What a Node object says; parts that cannot be read are left out.
fn peer(node: &Object) -> Option<Peer> {
    let dom = node.parse().ok()?;
    let node_ref = dom.as_ref();
    let spec = node_ref.get("spec");
    let mut ranges: Vec<IpNet> = spec
        .iter()
        .flat_map(|spec| spec.items("podCIDRs"))
        .filter_map(|range| range.as_str()?.parse().ok())
        .collect();
    if ranges.is_empty() {
        let only: Option<IpNet> = spec.and_then(|spec| spec.str("podCIDR").parse().ok());
        ranges.extend(only);
    }
    let status = node_ref.get("status");
    let addresses = status
        .iter()
        .flat_map(|status| status.items("addresses"))
        .filter(|address| address.str("type") == "InternalIP")
        .filter_map(|address| address.str("address").parse().ok());
    Some(Peer {
        name: node.name().to_owned(),
        addresses: addresses.collect(),
        ranges,
    })
}

/// How a node follows the others.
#[derive(Debug, Clone)]
pub struct Follow {
    /// Name of the node.
    pub node: String,
    /// Take the node's own pod ranges from its Node object.
    pub ranges: bool,
    /// Keep routes to the pods of other nodes.
    pub routes: bool,
}

/// Follows the Node objects until shutdown. Works in the network namespace of `network`.
pub fn follow(client: &Client, network: &Network, follow: Follow, shutdown: &Shutdown) {
    let changed = Arc::new(Notify::new());
    let wake = changed.clone();
    let cache = Reflector::new(
        client.resource(&Gvr::new("", "v1", "nodes")),
        ListOptions::default(),
        Cache::new(Vec::new()),
    )
    .on_change(move |_| wake.notify_one())
    .start(shutdown);
    let network = network.clone();
    tasks::spawn("node-routes", shutdown, async move {
        cache.synced().await;
        let mut told = Vec::new();
        loop {
            let peers: Vec<Peer> = cache.list().iter().filter_map(|node| peer(node)).collect();
            let (network, what) = (network.clone(), follow.clone());
            let done = tokio::task::spawn_blocking(move || step(&network, &what, &peers)).await;
            let pause = match done {
                Ok(Ok(refused)) => {
                    for line in refused.iter().filter(|line| !told.contains(*line)) {
                        tracing::warn!(cause = %line, "no route to the pods of a node");
                    }
                    told = refused;
                    REPAIR_AFTER
                }
                Ok(Err(error)) => {
                    tracing::warn!(err = %Chain(&*error), "routes to other nodes not kept");
                    RETRY_AFTER
                }
                Err(error) => {
                    tracing::error!(err = %Chain(&error), "routes to other nodes not kept");
                    RETRY_AFTER
                }
            };
            // Either way it is time for the next step.
            let _ = tokio::time::timeout(pause, changed.notified()).await;
        }
    });
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// One step; gives what was refused.
fn step(network: &Network, what: &Follow, peers: &[Peer]) -> Result<Vec<String>, Failure> {
    if what.ranges
        && let Some(own) = peers.iter().find(|peer| peer.name == what.node)
        && !own.ranges.is_empty()
    {
        network.set_ranges(own.ranges.clone())?;
    }
    if !what.routes {
        return Ok(Vec::new());
    }
    keep(network.namespace(), &what.node, peers)
}

/// Makes the kernel's routes what `peers` need.
pub(crate) fn keep(
    namespace: &Namespace,
    own: &str,
    peers: &[Peer],
) -> Result<Vec<String>, Failure> {
    let mut handle = Handle::open_in(namespace.as_fd())?;
    let links: Vec<IpNet> = handle
        .addresses()?
        .into_iter()
        .filter_map(|address| net(address.prefix))
        // A host's own address is no link to others.
        .filter(|net| net.prefix_len() < net.max_prefix_len())
        .collect();
    let has: Vec<Hop> = handle
        .routes()?
        .into_iter()
        .filter(|route| route.protocol == PROTOCOL && route.table == Route::MAIN)
        .filter_map(|route| {
            Some(Hop {
                range: net(route.destination)?,
                gateway: route.gateway?,
            })
        })
        .collect();
    let plan = plan(own, peers, &links, &has);
    for hop in &plan.remove {
        netlink::ignore_not_found(handle.delete_route(&route(hop)))?;
        tracing::info!(route = %hop, "route to a node's pods removed");
    }
    for hop in &plan.set {
        handle.replace_route(&route(hop))?;
        tracing::info!(route = %hop, "route to a node's pods set");
    }
    Ok(plan.refused)
}

fn route(hop: &Hop) -> Route {
    let destination = Prefix::new(hop.range.network(), hop.range.prefix_len());
    let mut route = Route::via(destination, hop.gateway);
    route.protocol = PROTOCOL;
    route
}

fn net(prefix: Prefix) -> Option<IpNet> {
    IpNet::new(prefix.address, prefix.length)
        .ok()
        .map(|net| net.trunc())
}

#[cfg(test)]
mod tests;
