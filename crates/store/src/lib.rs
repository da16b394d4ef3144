//! Revisioned key-value store: MVCC core over bytes, its durable log, watch, compaction, TTL.
//!
//! Bytes in, bytes out: knows nothing of kinds, encodings, tenants or sockets. A key is a path
//! such as `/registry/pods/default/web`; whoever calls decides what stands in front of it.
//!
//! Way of a write: [`Store::txn`] → writer (compares against the speculative head, numbers the
//! batch) → log → [`Mvcc`] → watchers and the caller's answer. Nothing shows a revision that the
//! log has not taken.
//! Source of the semantics: etcd v3.6 server/storage/mvcc.

mod codec;
mod error;
mod log;
mod marks;
#[cfg(not(feature = "mutants"))]
mod mutants;
#[cfg(feature = "mutants")]
pub mod mutants;
mod mvcc;
mod record;
mod seal;
mod store;
mod txn;
mod watch;
mod writer;

pub use crate::error::{Retry, StoreError};
pub use crate::marks::{Marker, Marks};
pub use crate::mvcc::Mvcc;
pub use crate::seal::{KeyFile, NoSeal, SealError, Sealer};
pub use crate::store::{Config, Retention, Seal, Stats, Store};
pub use crate::txn::{
    Compare, Durability, Event, EventKind, KeyValue, MAX_KEY_BYTES, MAX_OPS, MAX_VALUE_BYTES, Op,
    Outcome, Page, Range, Revision, Txn,
};
pub use crate::watch::{ProgressRequester, WatchBatch, Watcher};
