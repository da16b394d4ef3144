//! From rows to the core: reading a database at start.
//!
//! Owns what is checked before anything is believed, and how an unclean stop is judged.

use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;

use crate::log::files::{APPLICATION_ID, FORMAT};
use crate::log::rows;
use crate::mutants::{Mutant, planted};
use crate::mvcc::{Mvcc, RowName};
use crate::seal::Sealer;
use crate::{Marker, StoreError};

/// Revisions skipped after a power cut: far more than can be written between two flushes.
pub(crate) const JUMP: u64 = 1_000_000;

/// What a database holds.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) mvcc: Mvcc,
    /// Rows that nothing needs.
    pub(crate) garbage: Vec<RowName>,
    /// The first batch must say that this boot has written.
    pub(crate) mark: bool,
    /// Revisions that must never be used, to be written with the mark.
    pub(crate) gap: Option<(u64, u64)>,
}

/// Position of a row: revision, then place inside it.
pub(crate) fn row_id((revision, sub): RowName) -> i64 {
    (revision << 12 | u64::from(sub)).cast_signed()
}

pub(crate) fn row_name(id: i64) -> RowName {
    let id = id.cast_unsigned();
    (id >> 12, u16::try_from(id & 0xfff).unwrap_or_default())
}

/// Guards all of a row, also what the seal does not cover.
pub(crate) fn checksum(
    id: i64,
    key: &[u8],
    created: i64,
    expires: Option<i64>,
    value: Option<&[u8]>,
) -> i64 {
    let mut hash = crc32fast::Hasher::new();
    for number in [
        id,
        created,
        expires.unwrap_or(i64::MIN),
        i64::from(value.is_some()),
    ] {
        hash.update(&number.to_le_bytes());
    }
    hash.update(key);
    hash.update(&[0]);
    hash.update(value.unwrap_or_default());
    i64::from(hash.finalize())
}

/// The newest revision of a database.
pub(crate) fn newest(connection: &Connection) -> rusqlite::Result<u64> {
    let known: i64 = connection.query_row(
        "SELECT max(value) FROM (SELECT value FROM meta WHERE name = 'revision'
         UNION ALL SELECT high AS value FROM gap)",
        [],
        |row| row.get(0),
    )?;
    let last: Option<i64> =
        connection.query_row("SELECT max(id) FROM log", [], |row| row.get(0))?;
    Ok(known
        .cast_unsigned()
        .max(last.map_or(0, |id| row_name(id).0)))
}

/// Reads everything. Changes nothing.
pub(crate) fn load(
    connection: &Connection,
    path: &Path,
    sealer: &Arc<dyn Sealer>,
    boot: &str,
    marker: Marker,
) -> Result<Loaded, StoreError> {
    let damaged = |detail: String| StoreError::Damaged {
        path: path.to_owned(),
        detail,
    };
    let failed = |cause| sqlite_error("read", path, cause);
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    if pragma("application_id").map_err(failed)? != APPLICATION_ID {
        return Err(damaged("it is not a transom store".into()));
    }
    let found = pragma("user_version").map_err(failed)?;
    if found > FORMAT {
        let path = path.to_owned();
        return Err(StoreError::Format {
            path,
            found,
            supported: FORMAT,
        });
    }
    let meta = |name: &str| {
        let row = connection.query_row("SELECT value FROM meta WHERE name = ?", [name], |row| {
            row.get::<_, i64>(0)
        });
        row.map_err(failed)
    };
    let last_boot: Result<String, _> =
        connection.query_row("SELECT id FROM boot", [], |row| row.get(0));
    let last_boot = last_boot.unwrap_or_default();
    let clean = meta("clean")? == 1;
    if !clean {
        let verdict: String = connection
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(failed)?;
        if verdict != "ok" {
            return Err(damaged(verdict));
        }
    }
    let compacted = meta("compacted")?.cast_unsigned();
    let (mut mvcc, garbage) = rows::read(
        connection,
        path,
        sealer,
        Mvcc::at_compaction(compacted, marker),
    )?;
    let mut gaps = connection
        .prepare("SELECT low, high FROM gap ORDER BY low")
        .map_err(failed)?;
    let gaps = gaps.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)));
    for gap in gaps.map_err(failed)? {
        let (low, high) = gap.map_err(failed)?;
        mvcc.add_gap(low.cast_unsigned(), high.cast_unsigned());
    }
    let mut last = newest(connection).map_err(failed)?;
    if planted(Mutant::TimeTravel) {
        last = mvcc.revision().0;
    }
    mvcc.advance(last);
    let same_boot = !boot.is_empty() && boot == last_boot;
    let jump = !clean && !same_boot && !planted(Mutant::NoJump);
    let gap = jump.then_some((last, last + JUMP));
    if let Some((low, high)) = gap {
        mvcc.add_gap(low, high);
        mvcc.advance(high);
    }
    Ok(Loaded {
        mvcc,
        garbage,
        mark: clean || !same_boot,
        gap,
    })
}

/// Tells a damaged database from one that cannot be read.
pub(crate) fn sqlite_error(
    operation: &'static str,
    path: &Path,
    cause: rusqlite::Error,
) -> StoreError {
    let path = path.to_owned();
    match cause.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
            StoreError::Damaged {
                path,
                detail: cause.to_string(),
            }
        }
        _ => StoreError::Open {
            operation,
            path,
            cause: Arc::new(cause),
        },
    }
}
