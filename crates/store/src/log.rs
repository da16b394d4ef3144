//! What the writer asks of a durable log.
//!
//! A log keeps rows, one a change, named by revision and position. It evaluates nothing.

pub(crate) mod checkpoint;
pub(crate) mod files;
pub(crate) mod load;
mod rows;
pub(crate) mod sqlite;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use crate::Durability;
use crate::mvcc::RowName;
use crate::record::Entry;

/// One change on its way to the log.
pub(crate) struct Row<'a> {
    pub(crate) entry: &'a Entry,
    /// The sealed value; nothing for a deletion.
    pub(crate) value: Option<&'a [u8]>,
}

/// Takes batches, one transaction each.
pub(crate) trait Log: Send {
    /// All rows or none. `Ok` means what `durability` says.
    fn commit(&mut self, rows: &[Row<'_>], durability: Durability) -> Result<(), LogError>;
    /// Makes durable what was only relaxed.
    fn flush(&mut self, revision: u64) -> Result<(), LogError>;
    /// Deletes rows that compaction up to `compacted` made useless; relaxed.
    fn purge(&mut self, compacted: u64, revision: u64, rows: &[RowName]) -> Result<(), LogError>;
    /// After [`LogError::Broken`]: opens again from nothing, makes durable what is there, and
    /// returns the newest revision found.
    fn reopen(&mut self) -> Result<u64, LogError>;
    /// Why puts are refused just now, if they are.
    fn full(&self) -> Option<String>;
    /// Shortens what has grown too long, even if somebody waits.
    fn relieve(&mut self) -> Result<(), LogError>;
    /// One small step of housekeeping; false: nothing left to do.
    fn tidy(&mut self) -> Result<bool, LogError>;
    /// Flushes and marks a clean stop.
    fn close(&mut self, revision: u64) -> Result<(), LogError>;
}

/// Why a log did not take something.
#[derive(Clone, Debug)]
pub(crate) enum LogError {
    /// No room; rolled back.
    Full(Arc<rusqlite::Error>),
    /// The state on disk is unknown until the log was reopened.
    Broken(Arc<rusqlite::Error>),
}
