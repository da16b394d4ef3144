//! What a pod's shim and its client say to each other: records, requests, state.
//!
//! Owns the frozen wire format (`wire`), the description of containers and pods (`spec`) and
//! the messages (`message`). The binary of this package is the shim itself; the crate `oci`
//! embeds it and is its only client. Small on purpose: libc is the only dependency, because a
//! shim lives beside every pod.
//! Compatibility: a shim outlives the agent that started it. Tags and kinds are never reused,
//! fields are only added, unknown tags are skipped, unknown requests get an error.

pub mod message;
pub mod spec;
pub mod wire;
