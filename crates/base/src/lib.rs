//! What every component needs and what knows no Kubernetes: clock, randomness, back-off, shutdown,
//! named tasks, error chains, invariants, telemetry, paths that stay below a folder.

mod assert;
mod backoff;
mod below;
mod chain;
mod clock;
mod latch;
mod random;
mod shutdown;
pub mod tasks;
pub mod telemetry;

pub use assert::violated;
pub use backoff::Backoff;
pub use below::open_below;
pub use chain::Chain;
pub use clock::{Clock, ManualClock, SystemClock, after};
pub use latch::Latch;
pub use random::Rng;
pub use shutdown::Shutdown;
