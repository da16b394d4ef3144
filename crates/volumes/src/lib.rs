//! Volumes on the node's disk: what is written where, mounted how, and removed again.
//!
//! Knows plain folders, files and mounts; the kubelet resolves ConfigMaps, Secrets and claims and
//! hands their contents over. Nothing here follows a path that a pod controls by name.

mod atomic;
mod error;
mod group;
mod host_path;
mod mounts;
mod sub_path;

pub use atomic::{File, Files, write_files};
pub use error::VolumeError;
pub use group::set_group;
pub use host_path::{HostPathType, check_host_path};
pub use mounts::{make_tmpfs, remove_tree, unmount_below};
pub use sub_path::bind_sub_path;
