//! CRI service of the node: pod sandboxes and containers over `oci`, images and a network.
//!
//! [`Runtime`] implements `nodeapi::RuntimeService` and `nodeapi::Streams`. Sandboxes are a shim
//! and bind-mounted namespaces, no pause process. Everything a restart needs is on disk, written
//! atomically: a killed agent finds its pods again, running ones untouched. Knows no Kubernetes
//! object; images come through [`Images`], addresses through `nodeapi::cni::Cni`.
//! ```text
//! root/bin/transom-shim-HASH
//! root/sandboxes/ID/{config,record,shim.sock,state,net,ipc,uts,shm/,hosts,hostname,resolv.conf}
//! root/sandboxes/ID/containers/ID/{config,record,upper/,work/,root/}
//! ```
//! Source: containerd 2.x internal/cri/server (behaviour), k8s.io/cri-api v0.36.3.

mod container;
mod events;
mod exec;
mod files;
mod image_volumes;
mod images;
mod localhost;
mod lookup;
mod node_images;
mod persist;
mod pod;
mod recover;
mod service;
mod socket;
mod spec;
mod state;
mod stats;
mod streams;

pub use images::{Image, ImageConfig, Images};
pub use node_images::NodeImages;
pub use socket::{SocketError, connect, serve};
pub use state::{Config, OpenError, Runtime};

#[cfg(test)]
mod tests;
