//! What can go wrong with a volume.

use std::io;
use std::path::PathBuf;

/// A failed step, with the path it was about.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// A system call on a path failed.
    #[error("{operation} {path}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        cause: io::Error,
    },
    /// A hostPath is not of the type asked for.
    #[error("hostPath type check failed: {path} is not a {wanted}")]
    HostPathType {
        /// The path.
        path: PathBuf,
        /// The type in words.
        wanted: &'static str,
    },
    /// A file name that would leave the volume.
    #[error("volume file name {name:?} leaves the volume")]
    FileName {
        /// The name.
        name: String,
    },
    /// A subPath that would leave the volume.
    #[error("subPath {sub_path:?} leaves the volume {volume}")]
    SubPath {
        /// The path as given.
        sub_path: String,
        /// The volume's folder.
        volume: PathBuf,
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
}

impl VolumeError {
    pub(crate) fn io(
        operation: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |cause| Self::Io {
            operation,
            path,
            cause,
        }
    }

    pub(crate) fn errno(
        operation: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(rustix::io::Errno) -> Self {
        let path = path.into();
        move |errno| Self::Io {
            operation,
            path,
            cause: errno.into(),
        }
    }
}
