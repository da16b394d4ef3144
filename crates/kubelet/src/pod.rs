//! One pod: what is wanted, what is there, what to do, what to report.

mod actions;
mod backoff;
mod observed;
mod spec;
mod status;

pub use actions::{Action, KillReason, Plan, actions};
pub use backoff::CrashBackoff;
pub use observed::{Container, ContainerState, Observed, Sandbox, User};
pub use spec::{
    ContainerSpec, Deletion, Handler, Kind, Lifecycle, Limits, MountSpec, PodSpec, Probe,
    RestartPolicy, RestartRule,
};
pub use status::{Knowledge, Resize, Verdict, Waiting, phase, status};
