//! The crate's one error.

use std::io;
use std::path::PathBuf;

/// Failure of an operation on a shim or a container.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or directory could not be used.
    #[error("{operation} {}", path.display())]
    File {
        /// What was tried.
        operation: &'static str,
        /// The object.
        path: PathBuf,
        /// Cause.
        #[source]
        cause: io::Error,
    },
    /// The shim did not start.
    #[error("start the shim of {directory}: {message}")]
    Spawn {
        /// Its directory.
        directory: String,
        /// Its own words.
        message: String,
    },
    /// No shim listens (any more).
    #[error("no shim serves {}", directory.display())]
    Gone {
        /// Its directory.
        directory: PathBuf,
        /// Cause.
        #[source]
        cause: io::Error,
    },
    /// The conversation broke off.
    #[error("{operation} through the shim")]
    Connection {
        /// The request.
        operation: &'static str,
        /// Cause.
        #[source]
        cause: io::Error,
    },
    /// What the shim sent is no message.
    #[error("{operation}: the shim's answer is damaged")]
    Malformed {
        /// The request.
        operation: &'static str,
    },
    /// The object is not there.
    #[error("{0}")]
    NotFound(String),
    /// The object is in another state.
    #[error("{0}")]
    WrongState(String),
    /// The kernel or the specification refused.
    #[error("{0}")]
    Refused(String),
    /// A seccomp profile that cannot be translated.
    #[error("seccomp profile: {0}")]
    Seccomp(String),
}

impl Error {
    /// Whether the object is simply not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Error::NotFound(_))
    }

    /// Whether the shim itself is gone.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Error::Gone { .. } | Error::Connection { .. })
    }
}
