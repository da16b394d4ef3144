//! Runs containers: what to run (`spec`), the shim that runs it (`client`), nodes (`node_init`).
//!
//! The daemon never forks containers itself: a small static shim beside every pod does
//! (`ShimBinary`, embedded here), keeps their output and exit codes, and survives the daemon.
//! Blocking and free of tokio; knows no Kubernetes object and no image.
//! ```text
//! ShimBinary::install -> Shim::spawn(Pod) -> create(Container) -> start -> Events -> delete
//!                        Shim::connect(directory) after a restart
//! ```

mod binary;
pub mod capabilities;
pub mod client;
pub mod defaults;
mod error;
#[cfg(test)]
mod leftovers;
pub mod node_init;
pub mod seccomp;

pub use binary::ShimBinary;
pub use client::{Attached, Events, ExecIo, Running, Shim};
pub use error::Error;
pub use shim::wire::{Blob, Record};
pub use shim::{message, spec};
