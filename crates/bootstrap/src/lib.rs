//! Clusters come and go: local clusters on this host, their keys, addresses, processes and nodes; and
//! the services of a machine that is a cluster.
//!
//! `local` holds the commands (`up`, `stop`, `start`, `down`, `clusters`, `node_exec`); the other
//! modules own one kind of resource each, with its undoing. `config` is what the server and the
//! agent read at their start. Knows no Kubernetes object and runs no outside program but systemctl
//! (`install`): links, mounts, namespaces and processes by system calls only.

pub mod config;
mod error;
pub mod ranges;

pub use error::{Error, Finding};

pub mod certs;
mod cluster;
mod files;
#[doc(hidden)]
pub mod fuzz;
mod host;
pub mod install;
pub mod kubeconfig;
mod lives;
pub mod local;
pub mod node;
pub mod preflight;
mod process;
pub mod snapshot;
mod sysctl;
