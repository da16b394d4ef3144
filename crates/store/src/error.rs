//! What can go wrong, in the words of whoever has to act on it.

use crate::Revision;

/// A failed operation on the store.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// History before `oldest` is gone.
    #[error("revision {requested} has been compacted: the oldest available is {oldest}")]
    Compacted {
        /// What was asked for.
        requested: Revision,
        /// The oldest revision that can be read or watched from.
        oldest: Revision,
    },
    /// A revision that does not exist yet.
    #[error("revision {requested} is in the future: the current revision is {current}")]
    Future {
        /// What was asked for.
        requested: Revision,
        /// The newest.
        current: Revision,
    },
    /// A key or value above its bound.
    #[error("{key}: {bytes} bytes are more than the limit of {limit}")]
    TooLarge {
        /// The key.
        key: String,
        /// Size of the key or value.
        bytes: usize,
        /// The bound.
        limit: usize,
    },
    /// A transaction above its bound.
    #[error("transaction of {ops} operations: the limit is {limit}")]
    TooManyOps {
        /// How many there are.
        ops: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A transaction that changes a key twice.
    #[error("transaction changes {key} twice")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// A key without bytes.
    #[error("empty key")]
    EmptyKey,
    /// The store was shut down.
    #[error("the store is closed")]
    Closed,
}

/// What a caller may do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same request cannot succeed.
    Never,
    /// Start over from the current state (relist).
    Restart,
    /// The same request may succeed later; nothing was written.
    Later,
    /// Look first: it may have been written.
    Unknown,
}

impl StoreError {
    /// What a caller may do about it.
    pub fn retry(&self) -> Retry {
        match self {
            StoreError::Compacted { .. } => Retry::Restart,
            StoreError::Future { .. } => Retry::Later,
            StoreError::TooLarge { .. }
            | StoreError::TooManyOps { .. }
            | StoreError::DuplicateKey { .. }
            | StoreError::EmptyKey
            | StoreError::Closed => Retry::Never,
        }
    }
}
