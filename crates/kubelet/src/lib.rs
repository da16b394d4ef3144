//! The node's agent for pods: desired pods from the API, observed ones from the runtime, and the
//! steps between them.
//!
//! Each pod has a worker. It observes, asks the pure [`pod::actions`] what to do, does it, and
//! reports the pure [`pod::status`]. It meets the container runtime in `nodeapi` only.

pub mod pod;
pub mod probe;
