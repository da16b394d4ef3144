//! What can go wrong with an image: each variant names the operation and its object.

use std::io;
use std::path::PathBuf;

use crate::digest::Digest;

/// A failed image operation.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The reference does not parse.
    #[error("invalid image reference {reference:?}: {reason}")]
    Reference {
        /// As given.
        reference: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// The text is no digest.
    #[error("invalid digest {0:?}: want sha256: and 64 hexadecimal digits")]
    Digest(String),
    /// The image is not in the store.
    #[error("image {0:?} is not present")]
    NotPresent(String),
    /// The registry does not have it.
    #[error("{reference}: not found in the registry")]
    NotFound {
        /// What was asked for.
        reference: String,
    },
    /// The registry wants other credentials.
    #[error("{reference}: the registry refused access ({status}): {reason}")]
    Unauthorized {
        /// What was asked for.
        reference: String,
        /// HTTP status.
        status: u16,
        /// What the registry or its token service said.
        reason: String,
    },
    /// The registry does not answer.
    #[error("cannot reach registry {registry}: {reason}")]
    Unreachable {
        /// `host:port`.
        registry: String,
        /// The cause chain.
        reason: String,
    },
    /// The registry answered something else than expected.
    #[error("registry answered {status} to {url}: {reason}")]
    Registry {
        /// What was asked for.
        url: String,
        /// HTTP status.
        status: u16,
        /// What it said.
        reason: String,
    },
    /// The bytes are not the ones that the digest names.
    #[error("digest mismatch of {what}: expected {expected}, got {actual}")]
    DigestMismatch {
        /// Which blob.
        what: String,
        /// The promise.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// The number of bytes is not as promised.
    #[error("size mismatch of {what}: expected {expected} bytes, got {actual}")]
    SizeMismatch {
        /// Which blob.
        what: String,
        /// The promise.
        expected: u64,
        /// What came.
        actual: u64,
    },
    /// A manifest, index or configuration that cannot be used.
    #[error("unusable {what}: {reason}")]
    Malformed {
        /// Which document.
        what: String,
        /// What is wrong.
        reason: String,
    },
    /// No variant for this machine.
    #[error("{reference} has no image for {wanted}; it has {offered}")]
    NoPlatform {
        /// What was asked for.
        reference: String,
        /// os/architecture of this machine.
        wanted: String,
        /// What the index offers.
        offered: String,
    },
    /// An archive that is damaged or hostile.
    #[error("refused archive entry {entry:?}: {reason}")]
    Entry {
        /// Path in the archive.
        entry: String,
        /// Why it is refused.
        reason: String,
    },
    /// The archive is damaged.
    #[error("damaged archive: {0}")]
    Archive(String),
    /// A bound was met.
    #[error("{what} exceeds the limit of {limit}")]
    Limit {
        /// What is too big.
        what: String,
        /// The bound.
        limit: u64,
    },
    /// A call to the file system failed.
    #[error("{operation} {}", path.display())]
    File {
        /// What was tried.
        operation: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A read from a stream (archive, network) failed.
    #[error("read {what}")]
    Read {
        /// Which stream.
        what: String,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A worker ended without an answer.
    #[error("{0} was interrupted")]
    Interrupted(&'static str),
}

impl ImageError {
    /// Whether the same call may succeed later without any change by the user.
    pub fn transient(&self) -> bool {
        match self {
            ImageError::Unreachable { .. } | ImageError::Interrupted(_) => true,
            ImageError::Read { .. } | ImageError::SizeMismatch { .. } => true,
            ImageError::Registry { status, .. } => *status >= 500 || *status == 429,
            _ => false,
        }
    }

    pub(crate) fn malformed(what: impl Into<String>, reason: impl ToString) -> ImageError {
        ImageError::Malformed {
            what: what.into(),
            reason: reason.to_string(),
        }
    }
}

/// `map_err` shape for file system calls.
pub(crate) fn at<E: Into<io::Error>>(
    operation: &'static str,
    path: impl Into<PathBuf>,
) -> impl FnOnce(E) -> ImageError {
    let path = path.into();
    move |cause| ImageError::File {
        operation,
        path,
        cause: cause.into(),
    }
}
