//! Node contracts: CRI v1 messages and service traits, in-process streams, the CNI seam.
//!
//! kubelet and runtime meet here, and so do runtime and network. Holds no behaviour: a service
//! is a dyn-safe trait (message in, message or [`CriError`] out) and, for the socket, an adapter
//! between that trait and gRPC. Knows no Kubernetes object.
//! Source: k8s.io/cri-api v0.36.3; CNI specification 1.1.

pub mod cni;
mod error;
mod service;
pub mod socket;
pub mod streams;

/// CRI v1 messages (generated) and gRPC stubs.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::wildcard_imports,
    reason = "generated from upstream's api.proto"
)]
#[rustfmt::skip]
#[path = "cri/generated.rs"]
pub mod cri;

pub use error::{Code, CriError};
pub use service::{ImageService, RuntimeService};
pub use streams::{ExitStatus, Io, Streams, TerminalSize};
