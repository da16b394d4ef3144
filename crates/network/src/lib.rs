//! Routed pod network: one veth and one host route a pod, no bridge, addresses from the node's
//! pod ranges.
//!
//! Owns address management, the wiring of one sandbox and its repair. Implements
//! `nodeapi::cni::Cni`; knows neither the runtime nor the kubelet: the agent passes in, after a
//! restart, the sandboxes that live. `peers` follows Node objects: the node's own ranges, and
//! routes to the pods of nodes on the same link. Services and policies are elsewhere.

mod host_ports;
pub mod ipam;
mod link;
pub mod masquerade;
pub mod peers;
mod plugin;
mod sources;
mod sysctl;

pub use plugin::{Config, Network, OpenError};
