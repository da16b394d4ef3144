//! What the kernel's maps should hold for the Services of the cluster, in one family. Pure.
//!
//! A Service is planned by itself: its elements are compared with those that it had, and what
//! differs is the change for the kernel. An element that two Services claim (an external address
//! used twice) belongs to the one whose name sorts first, until that gives it up.
//!
//! Load balancing needs no chain a Service. A frontend maps to (count, stickiness, pool); rules
//! shared by all frontends with the same count draw a number below it and look the endpoint up
//! by (pool, number). Why this and not upstream's chain a Service: a change of one endpoint
//! replaces one or two elements whatever the Service's or the cluster's size, adds no rule and no
//! chain, and, since no element holds a verdict that names a chain, makes the kernel validate
//! nothing (it walks every element of every verdict map after an element that jumps is added).
//! The price is a second map lookup in the first packet of a connection.
//! Source: kubernetes v1.36 pkg/proxy/nftables/proxier.go (syncProxyRules: which frontends get
//! which endpoints, reject, drop, masquerade, source ranges).

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;

use crate::choose::choose;
use crate::pool::Pool;
use crate::rules::{Frontend, IpSet, Key, PoolRef, PortSet, Protocol, Value};
use crate::service::{Affinity, Policy, Port, Service};
use crate::slice::{self, Slice};
use crate::{NodeFacts, ServiceKey};

/// Where a frontend's pool is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// `service-ips`.
    ServiceIps,
    /// `inside-ips`.
    InsideIps,
    /// `node-ports`.
    NodePorts,
    /// `inside-ports`.
    InsidePorts,
}

/// Frontends that share their rules. Made when the first of them comes, and kept: at most as many
/// as there ever were different counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Class {
    /// Where the pool is looked up.
    pub source: Source,
    /// Endpoints of the pool.
    pub count: u32,
    /// How long clients stay with their endpoint; 0 means they do not.
    pub sticky_seconds: u32,
}

/// What to commit.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// New classes.
    pub classes: Vec<Class>,
    /// Elements that go; a value that changes goes and comes.
    pub remove: Vec<Key>,
    /// Elements that come.
    pub add: Vec<(Key, Value)>,
    /// Services with UDP ports whose endpoints or frontends changed.
    pub udp: BTreeSet<ServiceKey>,
}

impl Changes {
    /// Whether the kernel has nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty() && self.remove.is_empty() && self.add.is_empty()
    }
}

/// A UDP port as connection tracking sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct UdpPort {
    pub(crate) frontends: Vec<SocketAddr>,
    pub(crate) node_port: u16,
    pub(crate) serving: HashSet<SocketAddr>,
}

/// A port of a Service under a policy.
type PoolName = (String, Protocol, bool);

#[derive(Debug, Default)]
struct Programmed {
    pools: BTreeMap<PoolName, Pool>,
    elements: BTreeMap<Key, Value>,
    udp: Vec<UdpPort>,
}

/// The desired state of one family, and what of it changed since the last `take`.
#[derive(Debug)]
pub struct Plan {
    ipv4: bool,
    node: NodeFacts,
    services: HashMap<ServiceKey, Programmed>,
    pool_ids: HashSet<u32>,
    elements: BTreeMap<Key, Vec<(Arc<str>, Value)>>,
    /// What touched keys were before.
    touched: BTreeMap<Key, Option<Value>>,
    classes: BTreeSet<Class>,
    new_classes: BTreeSet<Class>,
    udp: BTreeSet<ServiceKey>,
}

impl Plan {
    /// An empty plan.
    #[must_use]
    pub fn new(ipv4: bool, node: NodeFacts) -> Self {
        Self {
            ipv4,
            node,
            services: HashMap::new(),
            pool_ids: HashSet::new(),
            elements: BTreeMap::new(),
            touched: BTreeMap::new(),
            classes: BTreeSet::new(),
            new_classes: BTreeSet::new(),
            udp: BTreeSet::new(),
        }
    }

    /// The node's facts.
    #[must_use]
    pub fn node(&self) -> &NodeFacts {
        &self.node
    }

    /// Whether this is the plan of IPv4.
    #[must_use]
    pub fn is_ipv4(&self) -> bool {
        self.ipv4
    }

    /// Another zone: every Service has to be planned again.
    pub fn set_zone(&mut self, zone: &str) {
        zone.clone_into(&mut self.node.zone);
    }

    /// Plans one Service again; no facts means that it is gone.
    pub fn set(&mut self, key: &ServiceKey, service: Option<&Service>, slices: &[&Slice]) {
        let mut old = self.services.remove(key).unwrap_or_default();
        let mut new = Programmed::default();
        if let Some(service) = service {
            let name = key.to_string();
            for port in &service.ports {
                self.program(&name, service, port, slices, &mut old, &mut new);
            }
        }
        for pool in old.pools.values() {
            self.pool_ids.remove(&pool.id);
        }
        let owner: Arc<str> = key.to_string().into();
        for (key, value) in &old.elements {
            if new.elements.get(key) != Some(value) {
                self.retract(*key, &owner);
            }
        }
        for (key, value) in &new.elements {
            if old.elements.get(key) != Some(value) {
                self.assert(*key, *value, &owner);
            }
        }
        if old.udp != new.udp {
            self.udp.insert(key.clone());
        }
        if service.is_some() {
            self.services.insert(key.clone(), new);
        }
    }

    /// What changed since the last call.
    pub fn take(&mut self) -> Changes {
        let mut changes = Changes {
            classes: std::mem::take(&mut self.new_classes).into_iter().collect(),
            udp: std::mem::take(&mut self.udp),
            ..Changes::default()
        };
        for (key, before) in std::mem::take(&mut self.touched) {
            let now = self.get(&key);
            if now == before {
                continue;
            }
            if before.is_some() {
                changes.remove.push(key);
            }
            if let Some(value) = now {
                changes.add.push((key, value));
            }
        }
        changes
    }

    /// All elements, ordered.
    pub fn elements(&self) -> impl Iterator<Item = (Key, Value)> {
        let first = |(key, owners): (&Key, &Vec<(Arc<str>, Value)>)| {
            owners.first().map(|(_, value)| (*key, *value))
        };
        self.elements.iter().filter_map(first)
    }

    /// All classes, ordered.
    pub fn classes(&self) -> impl Iterator<Item = Class> {
        self.classes.iter().copied()
    }

    /// The value of an element.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Value> {
        Some(self.elements.get(key)?.first()?.1)
    }

    /// A Service's UDP ports.
    pub(crate) fn udp_ports(&self, key: &ServiceKey) -> &[UdpPort] {
        self.services
            .get(key)
            .map_or(&[], |programmed| &programmed.udp)
    }

    fn touch(&mut self, key: Key) {
        let before = self.get(&key);
        self.touched.entry(key).or_insert(before);
    }

    fn assert(&mut self, key: Key, value: Value, owner: &Arc<str>) {
        self.touch(key);
        let owners = self.elements.entry(key).or_default();
        let at = owners.partition_point(|(other, _)| other < owner);
        owners.insert(at, (owner.clone(), value));
    }

    fn retract(&mut self, key: Key, owner: &Arc<str>) {
        self.touch(key);
        if let Entry::Occupied(mut entry) = self.elements.entry(key) {
            entry.get_mut().retain(|(other, _)| other != owner);
            if entry.get().is_empty() {
                entry.remove();
            }
        }
    }

    /// A pool of these endpoints under the number that it had, or a new one.
    fn pool(
        &mut self,
        service: &str,
        name: PoolName,
        endpoints: &[SocketAddr],
        (old, new): (&mut Programmed, &mut Programmed),
    ) -> Option<Pool> {
        if endpoints.is_empty() {
            return None;
        }
        let mut pool = match old.pools.remove(&name) {
            Some(pool) => pool,
            None => {
                let (port, protocol, local) = &name;
                // The same number after a restart, so that clients stay with their endpoints.
                let mut id = fnv(&format!("{service}:{port}/{protocol}/{local}"));
                while !self.pool_ids.insert(id) {
                    id = id.wrapping_add(1);
                }
                Pool {
                    id,
                    slots: Vec::new(),
                }
            }
        };
        pool.become_of(endpoints);
        new.pools.insert(name, pool.clone());
        Some(pool)
    }

    fn program(
        &mut self,
        name: &str,
        service: &Service,
        port: &Port,
        slices: &[&Slice],
        old: &mut Programmed,
        new: &mut Programmed,
    ) {
        let ipv4 = self.ipv4;
        let Some(cluster_ip) = service.cluster_ips.iter().find(|ip| ip.is_ipv4() == ipv4) else {
            return;
        };
        let endpoints = slice::of_port(slices, &port.name, port.protocol, ipv4);
        let is_external = service.is_external(port, ipv4);
        let internal_local = service.internal == Policy::Local;
        let external_local = service.external == Policy::Local;
        let wants = (
            !internal_local || is_external,
            internal_local || (external_local && is_external),
        );
        let chosen = choose(&endpoints, wants, &self.node.name, &self.node.zone);

        for address in chosen.cluster.iter().chain(&chosen.local) {
            let here = endpoints
                .get(address)
                .is_some_and(|endpoint| endpoint.node == self.node.name);
            if here {
                put(new, Key::Hairpin(address.ip()), Value::Present);
            }
        }
        let sticky_seconds = match service.affinity {
            Affinity::None => 0,
            Affinity::ClientIp(seconds) => seconds,
        };
        let mut reference = |plan: &mut Self, local: bool, of: &[SocketAddr], new: &mut _| {
            let pool_name = (port.name.clone(), port.protocol, local);
            let pool = plan.pool(name, pool_name, of, (old, new))?;
            for (index, endpoint) in (0_u32..).zip(&pool.slots) {
                let key = Key::Slot {
                    pool: pool.id,
                    index,
                };
                put(new, key, Value::Endpoint(*endpoint));
                if sticky_seconds > 0 {
                    let key = Key::Member {
                        pool: pool.id,
                        endpoint: *endpoint,
                    };
                    put(new, key, Value::Present);
                }
            }
            Some(PoolRef {
                count: u32::try_from(pool.slots.len()).unwrap_or(u32::MAX),
                sticky_seconds,
                pool: pool.id,
            })
        };
        let cluster = reference(self, false, &chosen.cluster, new);
        let local = reference(self, true, &chosen.local, new);
        let refusal = |of_ip: bool| match (chosen.any, of_ip) {
            (true, true) => (Some(IpSet::Drop), None),
            (true, false) => (None, Some(PortSet::Drop)),
            (false, true) => (Some(IpSet::Reject), None),
            (false, false) => (None, Some(PortSet::Reject)),
        };

        let frontend = |address: IpAddr| Frontend {
            address,
            protocol: port.protocol,
            port: port.port,
        };
        put(new, Key::ClusterIp(*cluster_ip), Value::Present);
        let key = |set| Key::Ip(set, frontend(*cluster_ip));
        match if internal_local { local } else { cluster } {
            Some(pool) => self.lead(new, key(IpSet::Service), Source::ServiceIps, pool),
            None => {
                if let (Some(set), _) = refusal(true) {
                    put(new, key(set), Value::Present);
                }
            }
        }

        for address in service.external_addresses(ipv4) {
            let key = |set| Key::Ip(set, frontend(address));
            let outside = if external_local { local } else { cluster };
            if let Some(pool) = outside {
                self.lead(new, key(IpSet::Service), Source::ServiceIps, pool);
            } else if let (Some(set), _) = refusal(true) {
                put(new, key(set), Value::Present);
            }
            match cluster {
                Some(pool) if external_local => {
                    self.lead(new, key(IpSet::Inside), Source::InsideIps, pool);
                }
                Some(_) => put(new, key(IpSet::Masquerade), Value::Present),
                None => {}
            }
        }
        self.guard(service, &frontend, new);

        if port.node_port != 0 {
            let key = |set| Key::Port(set, port.protocol, port.node_port);
            let outside = if external_local { local } else { cluster };
            if let Some(pool) = outside {
                self.lead(new, key(PortSet::Node), Source::NodePorts, pool);
            } else if let (_, Some(set)) = refusal(false) {
                put(new, key(set), Value::Present);
            }
            match cluster {
                Some(pool) if external_local => {
                    self.lead(new, key(PortSet::Inside), Source::InsidePorts, pool);
                }
                Some(_) => put(new, key(PortSet::Masquerade), Value::Present),
                None => {}
            }
        }

        if port.protocol == Protocol::Udp {
            let addresses = std::iter::once(*cluster_ip).chain(service.external_addresses(ipv4));
            let serving = endpoints.iter().filter(|(_, endpoint)| endpoint.serving);
            new.udp.push(UdpPort {
                frontends: addresses
                    .map(|address| SocketAddr::new(address, port.port))
                    .collect(),
                node_port: port.node_port,
                serving: serving.map(|(address, _)| *address).collect(),
            });
        }
    }

    /// A frontend's way to its pool, and the class that makes it work.
    fn lead(&mut self, new: &mut Programmed, key: Key, source: Source, pool: PoolRef) {
        let class = Class {
            source,
            count: pool.count,
            sticky_seconds: pool.sticky_seconds,
        };
        if self.classes.insert(class) {
            self.new_classes.insert(class);
        }
        put(new, key, Value::Pool(pool));
    }

    /// Source ranges of the load balancer's addresses.
    fn guard(
        &self,
        service: &Service,
        frontend: &impl Fn(IpAddr) -> Frontend,
        new: &mut Programmed,
    ) {
        let ranges: Vec<IpNet> = service
            .source_ranges
            .iter()
            .map(IpNet::trunc)
            .filter(|range| range.addr().is_ipv4() == self.ipv4)
            .collect();
        // A range of everything is the same as none.
        if ranges.is_empty() || ranges.iter().any(|range| range.prefix_len() == 0) {
            return;
        }
        let ours = |address: &IpAddr| address.is_ipv4() == self.ipv4;
        let balancer: Vec<IpAddr> = service.balancer_ips.iter().copied().filter(ours).collect();
        let node_allowed = self
            .node
            .addresses
            .iter()
            .any(|address| ranges.iter().any(|range| range.contains(address)));
        let mut sources = ranges;
        if node_allowed {
            // A request of this node to an address that it owns itself comes from that address.
            sources.extend(balancer.iter().map(|address| IpNet::from(*address)));
        }
        // The kernel refuses ranges that overlap; of prefixes one contains the other.
        let all = sources.clone();
        sources.retain(|range| {
            let wider = |other: &IpNet| other != range && other.contains(range);
            !all.iter().any(wider)
        });
        for address in balancer {
            let frontend = frontend(address);
            put(new, Key::Ip(IpSet::Firewalled, frontend), Value::Present);
            for range in &sources {
                put(new, Key::Allowed(frontend, *range), Value::Present);
            }
        }
    }
}

/// The first claim within a Service holds.
fn put(new: &mut Programmed, key: Key, value: Value) {
    new.elements.entry(key).or_insert(value);
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, value) in self.elements() {
            writeln!(f, "{key}{value}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for class in &self.classes {
            writeln!(
                f,
                "class {:?} of {} sticky {}",
                class.source, class.count, class.sticky_seconds
            )?;
        }
        for key in &self.remove {
            writeln!(f, "- {key}")?;
        }
        for (key, value) in &self.add {
            writeln!(f, "+ {key}{value}")?;
        }
        Ok(())
    }
}

/// FNV-1a, 32 bits.
fn fnv(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests;
