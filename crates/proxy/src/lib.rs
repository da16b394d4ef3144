//! Services on a node: cluster addresses, node ports, external addresses, by nftables.
//!
//! `World` holds the facts of Services and EndpointSlices, `Plan` decides what the kernel's maps
//! hold (pure), `Engine` commits the difference, `Proxy` follows the API. Meets the rest of the
//! system in API objects and the kernel only; pods, policies and the pod network are not known.
//! Source: kubernetes v1.36 pkg/proxy (facts: which endpoints serve what, when to masquerade).

mod choose;
mod engine;
mod health;
mod kernel;
mod plan;
mod pool;
mod rules;
mod run;
mod service;
mod slice;
mod stale;
mod world;

#[cfg(test)]
mod testing;

pub use engine::{Committed, Engine, EngineError};
pub use plan::{Changes, Class, Plan, Source};
pub use rules::{Frontend, IpSet, Key, PoolRef, PortSet, Protocol, Value};
pub use run::{Parts, Proxy, ProxyError};
pub use service::{Affinity, Policy, Port, Service};
pub use slice::{Endpoint, Slice};
pub use world::World;

use std::net::IpAddr;

use ipnet::IpNet;

/// Namespace and name of a Service.
pub type ServiceKey = client::Key;

/// What the plan knows of its node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// Name of the Node object.
    pub name: String,
    /// Label `topology.kubernetes.io/zone`; empty when it has none.
    pub zone: String,
    /// The node's addresses.
    pub addresses: Vec<IpAddr>,
    /// The cluster's pod ranges: what comes from there keeps its source address.
    pub pod_ranges: Vec<IpNet>,
    /// The cluster's Service ranges: what goes to an address of them that no Service has is
    /// dropped.
    pub service_ranges: Vec<IpNet>,
}
