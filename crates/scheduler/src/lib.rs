//! Chooses a node for each pod: queue → snapshot → plugins → decision → binding.
//!
//! The decision is a pure function of the snapshot, the pod and a random generator; the shell
//! keeps the snapshot equal to the API's pods and nodes and posts bindings. Meets the rest of the
//! system only in API objects.

mod decide;
mod node;
mod plugins;
mod pod;
mod queue;
mod resources;
mod run;
mod snapshot;

pub use decide::{Decision, decide};
pub use node::NodeInfo;
pub use plugins::{PLUGINS, Plugin, Reasons};
pub use pod::PodInfo;
pub use queue::{Event, Millis, Queue};
pub use resources::Resources;
pub use run::{Config, run};
pub use snapshot::Snapshot;
