//! The crate's one error: which operation failed on which file or group.

use std::io;
use std::path::PathBuf;

/// Failure of an operation on control groups.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A control file or `/proc` file could not be read.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        cause: io::Error,
    },
    /// A control file refused a value.
    #[error("write {value:?} to {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What was written.
        value: String,
        /// Cause.
        #[source]
        cause: io::Error,
    },
    /// A group's directory could not be made.
    #[error("create control group {}", path.display())]
    Create {
        /// The directory.
        path: PathBuf,
        /// Cause.
        #[source]
        cause: io::Error,
    },
    /// A group's directory could not be removed.
    #[error("remove control group {}", path.display())]
    Remove {
        /// The directory.
        path: PathBuf,
        /// Cause.
        #[source]
        cause: io::Error,
    },
    /// Text of the kernel that this crate does not understand.
    #[error("parse {what}: {text:?}")]
    Parse {
        /// Which file.
        what: &'static str,
        /// The offending text.
        text: String,
    },
    /// No cgroup file system is mounted.
    #[error("no cgroup hierarchy is mounted")]
    NotMounted,
    /// A group path that climbs or is not absolute.
    #[error("control group path {path:?} is not absolute and clean")]
    BadPath {
        /// The path.
        path: String,
    },
    /// The kernel refused the device program of a group.
    #[error("restrict the devices of control group {path}")]
    Devices {
        /// The group.
        path: String,
        /// Cause.
        #[source]
        cause: io::Error,
    },
    /// The host has no hierarchy with this controller.
    #[error("the {controller} controller is not available on this host")]
    NoController {
        /// Its name.
        controller: &'static str,
    },
}

impl Error {
    /// The errno behind the failure, if there is one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Error::Read { cause, .. }
            | Error::Write { cause, .. }
            | Error::Create { cause, .. }
            | Error::Remove { cause, .. } => cause.raw_os_error(),
            _ => None,
        }
    }
}
