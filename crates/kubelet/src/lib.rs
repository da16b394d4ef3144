//! The node's agent for pods: desired pods from the API, observed ones from the runtime, and the
//! steps between them.
//!
//! Each pod has a worker. It observes, asks the pure [`pod::actions`] what to do, does it, and
//! reports the pure [`pod::status`]. It meets the container runtime in `nodeapi` only.

mod admit;
mod config;
pub mod container;
mod http_probe;
pub mod logs;
mod node;
mod observe;
pub mod pod;
pub mod probe;
mod rotate;
mod run;
pub mod server;
mod volume;
mod worker;

pub use config::Config;
pub use node::Machine;
pub use run::{Kubelet, Parts, machine_resources};
