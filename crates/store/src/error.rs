//! What can go wrong, in the words of whoever has to act on it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::Revision;
use crate::seal::SealError;

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
    /// No room, by the configured ceiling or on the disk. Nothing was written.
    #[error("write {key}: {path} is full ({reason}); nothing was written: {next_step}")]
    Full {
        /// First key of the transaction.
        key: String,
        /// The database.
        path: PathBuf,
        /// Which limit was met.
        reason: String,
        /// What makes room.
        next_step: &'static str,
    },
    /// The log could not take the transaction. Nothing was written.
    #[error("write {key} to {path}")]
    Write {
        /// First key of the transaction.
        key: String,
        /// The database.
        path: PathBuf,
        /// Why.
        #[source]
        cause: Arc<rusqlite::Error>,
    },
    /// The disk failed in the middle: the transaction may or may not be there.
    #[error("write {key} to {path}: outcome unknown until the database opens again")]
    Unknown {
        /// First key of the transaction.
        key: String,
        /// The database.
        path: PathBuf,
        /// Why.
        #[source]
        cause: Arc<rusqlite::Error>,
    },
    /// A value could not be sealed.
    #[error("seal {key}")]
    Seal {
        /// The key.
        key: String,
        /// Why.
        #[source]
        cause: SealError,
    },
    /// A file of the store cannot be used.
    #[error("{operation} {path}")]
    File {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: Arc<io::Error>,
    },
    /// The key file cannot be used.
    #[error("{operation} key file {path}: without it the store cannot be read")]
    KeyFile {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: Arc<io::Error>,
    },
    /// The database could not be opened.
    #[error("{operation} {path}")]
    Open {
        /// What was tried.
        operation: &'static str,
        /// The database.
        path: PathBuf,
        /// Why.
        #[source]
        cause: Arc<rusqlite::Error>,
    },
    /// Another process has it open.
    #[error("{path} is in use by another process")]
    InUse {
        /// The lock file.
        path: PathBuf,
    },
    /// The database does not hold together. It was not changed.
    #[error(
        "{path} is damaged: {detail}; nothing was changed: restore a snapshot, \
         or move the file away to start empty"
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// Written by a newer version.
    #[error("{path} has format {found}, this version reads up to {supported}")]
    Format {
        /// The database.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest one known.
        supported: i64,
    },
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
            StoreError::Future { .. } | StoreError::Full { .. } | StoreError::Write { .. } => {
                Retry::Later
            }
            StoreError::Unknown { .. } => Retry::Unknown,
            StoreError::TooLarge { .. }
            | StoreError::TooManyOps { .. }
            | StoreError::DuplicateKey { .. }
            | StoreError::EmptyKey
            | StoreError::Seal { .. }
            | StoreError::File { .. }
            | StoreError::KeyFile { .. }
            | StoreError::Open { .. }
            | StoreError::InUse { .. }
            | StoreError::Damaged { .. }
            | StoreError::Format { .. }
            | StoreError::Closed => Retry::Never,
        }
    }
}
