//! What can go wrong with keys, certificates and tokens.

use std::io;
use std::path::PathBuf;

/// A failed operation on a key, certificate or file of them.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// Text or bytes that are not what they should be.
    #[error("parse {what}: {reason}")]
    Parse {
        /// What was expected.
        what: &'static str,
        /// In which way it is not.
        reason: String,
    },
    /// A key of an algorithm or size that is not supported.
    #[error("{what} has an unsupported key: {reason}")]
    Unsupported {
        /// Whose key.
        what: &'static str,
        /// Which it is.
        reason: String,
    },
    /// A signature that its key did not make.
    #[error("{what} is not signed by its key")]
    Signature {
        /// What was checked.
        what: &'static str,
    },
    /// The library could not make a key or signature.
    #[error("{operation}")]
    Crypto {
        /// What was tried.
        operation: &'static str,
    },
    /// A certificate and key that do not belong together.
    #[error("certificate and private key do not match")]
    Mismatch,
    /// A time that X.509 cannot express.
    #[error("time {0} is out of range")]
    Time(String),
    /// A file could not be read or written.
    #[error("{operation} {path}")]
    File {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// The file system's error.
        #[source]
        cause: io::Error,
    },
}

impl PkiError {
    pub(crate) fn parse(what: &'static str, reason: impl ToString) -> Self {
        let reason = reason.to_string();
        Self::Parse { what, reason }
    }
}
