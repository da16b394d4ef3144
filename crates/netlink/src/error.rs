//! What can go wrong in a netlink exchange, with the operation, its object and the kernel's words.
//!
//! Knows nothing of what the messages mean.

use std::fmt;

use rustix::io::Errno;

/// A failed netlink operation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused the request.
    #[error("{what}{}", Colon(.text))]
    Kernel {
        /// Operation and object.
        what: What,
        /// The kernel's extended acknowledgement, often empty.
        text: String,
        /// The kernel's error number.
        #[source]
        errno: Errno,
    },
    /// A system call around the exchange failed.
    #[error("{what}: {call}")]
    System {
        /// Operation and object.
        what: What,
        /// The system call.
        call: &'static str,
        /// Its error number.
        #[source]
        errno: Errno,
    },
    /// The kernel did not answer in time.
    #[error("{what}: no answer from the kernel within {seconds} s")]
    Timeout {
        /// Operation and object.
        what: What,
        /// How long we waited.
        seconds: u64,
    },
    /// The answer was not understood or exceeded its bound.
    #[error("{what}: {reason}")]
    Answer {
        /// Operation and object.
        what: What,
        /// What is wrong with the answer.
        reason: &'static str,
    },
    /// The request cannot be expressed.
    #[error("{what}: {reason}")]
    Request {
        /// Operation and object.
        what: What,
        /// Which rule it breaks.
        reason: &'static str,
    },
}

/// The operation and the object it was about, e.g. `add link veth0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct What {
    /// The operation, e.g. `add link`.
    pub operation: &'static str,
    /// The object, e.g. `veth0`.
    pub object: String,
}

impl What {
    pub(crate) fn new(operation: &'static str, object: impl fmt::Display) -> Self {
        Self {
            operation,
            object: object.to_string(),
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.object.is_empty() {
            return f.write_str(self.operation);
        }
        write!(f, "{} {}", self.operation, self.object)
    }
}

struct Colon<'a>(&'a str);

impl fmt::Display for Colon<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            Ok(())
        } else {
            write!(f, ": {}", self.0)
        }
    }
}

impl Error {
    /// The error number, when the kernel gave one.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Kernel { errno, .. } | Self::System { errno, .. } => Some(*errno),
            _ => None,
        }
    }

    /// The object was there already.
    #[must_use]
    pub fn is_exists(&self) -> bool {
        self.errno() == Some(Errno::EXIST)
    }

    /// The ruleset is no longer at the generation that the transaction was made for.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.errno()
            .is_some_and(|errno| errno.raw_os_error() == libc::ERESTART)
    }

    /// The object was not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(
            self.errno(),
            Some(Errno::NOENT | Errno::NODEV | Errno::SRCH | Errno::ADDRNOTAVAIL | Errno::NXIO)
        )
    }
}

/// Turns "was there already" into success, for idempotent callers.
pub fn ignore_exists(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(error) if error.is_exists() => Ok(()),
        other => other,
    }
}

/// Turns "was not there" into success, for idempotent callers.
pub fn ignore_not_found(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(error) if error.is_not_found() => Ok(()),
        other => other,
    }
}
