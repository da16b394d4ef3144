//! Chooses a node for each pod: queue → snapshot → plugins → decision → binding.
//!
//! The decision is a pure function of the snapshot, the pod and a random generator; the shell
//! keeps the snapshot equal to the API's objects, posts bindings and ends victims. Meets the
//! rest of the system only in API objects.

mod decide;
mod labels;
mod node;
mod plugins;
mod pod;
mod queue;
mod resources;
mod run;
mod snapshot;
#[cfg(test)]
mod testing;

pub use decide::{Decision, Failure, Nomination, Preemption, decide};
pub use labels::Labels;
pub use node::{Effect, NodeInfo, Taint};
pub use plugins::{PLUGINS, Plugin};
pub use pod::{
    ClaimName, Disk, HostPort, NodeTerm, Operator, PodAffinity, PodInfo, PodTerm, Requirement,
    Spread, Toleration, Who,
};
pub use queue::{Event, Millis, Queue};
pub use resources::Resources;
pub use run::{Config, run};
pub use snapshot::{Budget, Claim, Class, Objects, Snapshot, Volume};
