//! A cluster in one thread on virtual time: for scenarios, random walks and benches.
//!
//! Everything is the real code except the container runtime and the clock. The same seed gives
//! the same trace. Used by tests and benches only; nothing else may depend on it.

mod clock;
mod cluster;
mod link;
mod panics;
mod resource;
mod runtime;
mod scenario;
mod script;
mod trace;
mod walk;

pub use clock::{EPOCH, SimClock};
pub use cluster::{Component, Options, SimCluster, simulate};
pub use link::Weather;
pub use runtime::FakeRuntime;
pub use scenario::Scenario;
pub use script::{OnTerm, Script, Step, UnknownProgram};
pub use trace::{Fact, Request, Trace};
pub use walk::{Report, small_walk, walk};
