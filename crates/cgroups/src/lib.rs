//! Control groups of one host: v1, hybrid and v2 behind one `Group`.
//!
//! Owns detection at run time, the tree of groups, limits, membership, killing, freezing,
//! statistics and OOM counters; and gives what this process has freed back to the group that is
//! charged for it. Knows nothing of pods or containers; nothing is remounted.
//! Example: on a hybrid host `Group::new(layout, "/a/b").create()` makes `a/b` in every v1
//! hierarchy and in the unified one; a process joins v1 by pid and v2 by `CLONE_INTO_CGROUP`.
//! Source: cgroups(7); kernel Documentation/admin-guide/{cgroup-v1,cgroup-v2.rst};
//! opencontainers/cgroups v0.0.x (conversions, order of the memory files).

mod device;
mod error;
mod files;
mod group;
mod heap;
mod layout;
mod limits;
mod program;
mod stats;

pub use device::{DeviceKind, DeviceRule};
pub use error::Error;
pub use group::Group;
pub use heap::give_back_free_memory;
pub use layout::{Hierarchy, Layout, Mode};
pub use limits::{Limits, cpu_weight_from_shares};
pub use stats::Stats;
