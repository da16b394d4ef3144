//! Routed pod network: one veth and one host route a pod, no bridge, addresses from the node's
//! pod ranges.
//!
//! Owns address management, the wiring of one sandbox and its repair. Implements
//! `nodeapi::cni::Cni`; knows neither the runtime nor the kubelet: the agent passes in the node's
//! ranges and, after a restart, the sandboxes that live. Services and policies are elsewhere.

pub mod ipam;
mod link;
mod plugin;
mod sysctl;

pub use plugin::{Config, Network, OpenError};
