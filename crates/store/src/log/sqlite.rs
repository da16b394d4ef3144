//! The log in a SQLite database.
//!
//! One table of changes in the order of their revisions, only ever appended to; compaction deletes
//! rows. There is no index by key: the core in memory answers every read. A batch is one
//! transaction; `synchronous` is FULL for durable batches (the write-ahead log is flushed before
//! the commit returns) and NORMAL for relaxed ones (they ride on the next flush).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, params};

use crate::log::checkpoint::{Checkpointer, LIMIT_TIMES};
use crate::log::load::{self, Loaded, checksum, row_id, sqlite_error};
use crate::log::{Log, LogError, Row, files};
use crate::mutants::{Mutant, planted};
use crate::mvcc::RowName;
use crate::seal::Sealer;
use crate::{Durability, Marker, StoreError};

const PAGE_BYTES: u64 = 4096;
/// Free pages given back to the file system in one step.
const VACUUM_PAGES: i64 = 256;

/// A database and the connection that writes it.
#[derive(Debug)]
pub(crate) struct Sqlite {
    path: PathBuf,
    /// Gone while the log is broken.
    connection: Option<Connection>,
    /// As set on the connection, if known.
    synchronous: Option<Durability>,
    /// Puts are refused above it; deletions may go a little further.
    ceiling_bytes: u64,
    /// As counted last, and with an estimate of what was written since then.
    used_bytes: u64,
    measured_bytes: u64,
    free_pages: i64,
    /// The next batch must say that this boot has written.
    mark: bool,
    gap: Option<(u64, u64)>,
    boot: String,
    unmoved_bytes: usize,
    /// Pages were taken off the database, and its file may still have them.
    vacuumed: bool,
    /// Written between two checkpoints.
    checkpoint_bytes: usize,
    checkpointer: Checkpointer,
    _lock: files::Lock,
}

impl Sqlite {
    /// Opens or makes a database and reads it.
    pub(crate) fn open(
        path: &Path,
        ceiling_bytes: u64,
        checkpoint_bytes: usize,
        sealer: impl FnOnce(bool) -> Result<Arc<dyn Sealer>, StoreError>,
        boot: &str,
        marker: Marker,
    ) -> Result<(Sqlite, Loaded, Arc<dyn Sealer>), StoreError> {
        let lock = files::lock(path)?;
        let exists = files::exists(path)?;
        let sealer = sealer(exists)?;
        if !exists {
            files::create(path)?;
        }
        let failed = |cause| sqlite_error("open", path, cause);
        let connection = connect(path, ceiling_bytes).map_err(failed)?;
        let loaded = load::load(&connection, path, &sealer, boot, marker)?;
        // Until here nothing was to change, not even by moving the log on the way out.
        let moving = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false);
        moving.map_err(failed)?;
        let checkpointer = Checkpointer::start(path).map_err(|cause| StoreError::File {
            operation: "start checkpoints of",
            path: path.to_owned(),
            cause: Arc::new(cause),
        })?;
        let mut log = Sqlite {
            path: path.to_owned(),
            connection: Some(connection),
            synchronous: None,
            ceiling_bytes,
            used_bytes: 0,
            measured_bytes: 0,
            free_pages: 0,
            mark: loaded.mark,
            gap: loaded.gap,
            boot: boot.to_owned(),
            unmoved_bytes: 0,
            vacuumed: false,
            checkpoint_bytes,
            checkpointer,
            _lock: lock,
        };
        log.measure().map_err(failed)?;
        Ok((log, loaded, sealer))
    }

    /// Runs `work` in one transaction under the given promise.
    fn transaction(
        &mut self,
        durability: Durability,
        work: impl FnOnce(&Connection) -> rusqlite::Result<()>,
    ) -> Result<(), LogError> {
        let Some(connection) = &self.connection else {
            return Err(LogError::Broken(Arc::new(closed())));
        };
        // The mark has to be on disk before anything can be lost.
        let durability = if self.mark {
            Durability::Durable
        } else {
            durability
        };
        let attempt = || {
            if self.synchronous != Some(durability) {
                let mode = match durability {
                    _ if planted(Mutant::NoFlush) => "OFF",
                    Durability::Durable => "FULL",
                    Durability::Relaxed => "NORMAL",
                };
                connection.pragma_update(None, "synchronous", mode)?;
            }
            let transaction = connection.unchecked_transaction()?;
            if self.mark {
                mark(connection, &self.boot, self.gap)?;
            }
            work(connection)?;
            transaction.commit()
        };
        let result = attempt();
        match result {
            Ok(()) => {
                self.synchronous = Some(durability);
                self.mark = false;
                self.gap = None;
                Ok(())
            }
            Err(error) => {
                self.synchronous = None;
                if is_full(&error) && connection.is_autocommit() {
                    return Err(LogError::Full(Arc::new(error)));
                }
                // Closing it is the only way to forget what the failed flush left behind.
                self.connection = None;
                Err(LogError::Broken(Arc::new(error)))
            }
        }
    }

    fn measure(&mut self) -> rusqlite::Result<()> {
        let Some(connection) = &self.connection else {
            return Ok(());
        };
        let count = |sql| {
            connection
                .prepare_cached(sql)?
                .query_row([], |row| row.get::<_, i64>(0))
        };
        let pages = count("PRAGMA page_count")?;
        self.free_pages = count("PRAGMA freelist_count")?;
        self.used_bytes = (pages - self.free_pages).cast_unsigned() * PAGE_BYTES;
        self.measured_bytes = self.used_bytes;
        Ok(())
    }

    /// The file becomes shorter only when all of the log is moved into it, and nobody may write for
    /// long. What is written meanwhile keeps a checkpoint from it: the next housekeeping looks again.
    fn shorten(&mut self) -> rusqlite::Result<()> {
        self.measure()?;
        // Without its length the file counts as short: the next checkpoint comes anyway.
        let length = std::fs::metadata(&self.path).map_or(0, |metadata| metadata.len());
        let free_bytes = self.free_pages.cast_unsigned() * PAGE_BYTES;
        self.vacuumed = length > self.used_bytes + free_bytes;
        if self.vacuumed {
            self.unmoved_bytes = 0;
            self.checkpointer.request();
        }
        Ok(())
    }

    fn written(&mut self, bytes: usize) {
        self.unmoved_bytes += bytes;
        if self.unmoved_bytes >= self.checkpoint_bytes {
            self.unmoved_bytes = 0;
            self.checkpointer.request();
        }
        // Counting costs a dozen system calls; the estimate will do for a while.
        self.used_bytes += bytes as u64;
        if self.used_bytes < self.ceiling_bytes && self.used_bytes < self.measured_bytes + (1 << 20)
        {
            return;
        }
        let measured = self.measure();
        base::always!(measured.is_ok(), "counting pages cannot fail");
    }
}

impl Log for Sqlite {
    fn commit(&mut self, rows: &[Row<'_>], durability: Durability) -> Result<(), LogError> {
        if planted(Mutant::HalfTransaction) && rows.len() > 1 {
            let (first, rest) = rows.split_at(rows.len() / 2);
            self.commit(first, durability)?;
            return self.commit(rest, durability);
        }
        self.transaction(durability, |connection| {
            let mut insert = connection.prepare_cached(
                "INSERT INTO log(id, key, created, expires, sum, value) VALUES(?, ?, ?, ?, ?, ?)",
            )?;
            for row in rows {
                let record = &row.entry.record;
                let id = row_id((record.modified(), record.sub()));
                let (key, created) = (record.key(), record.created().cast_signed());
                let expires = row.entry.expires;
                let sum = checksum(id, key, created, expires, row.value);
                insert.execute(params![id, key, created, expires, sum, row.value])?;
            }
            Ok(())
        })?;
        let bytes = |row: &Row<'_>| row.value.map_or(0, <[u8]>::len) + 128;
        self.written(2048 + rows.iter().map(bytes).sum::<usize>());
        Ok(())
    }

    fn flush(&mut self, revision: u64) -> Result<(), LogError> {
        self.transaction(Durability::Durable, |connection| {
            set(connection, "revision", revision)
        })
    }

    fn purge(&mut self, compacted: u64, revision: u64, rows: &[RowName]) -> Result<(), LogError> {
        self.transaction(Durability::Relaxed, |connection| {
            set(connection, "compacted", compacted)?;
            // The newest row may be among the deleted.
            set(connection, "revision", revision)?;
            connection.execute("DELETE FROM gap WHERE high <= ?", [compacted.cast_signed()])?;
            let mut delete = connection.prepare_cached("DELETE FROM log WHERE id = ?")?;
            for &name in rows {
                delete.execute([row_id(name)])?;
            }
            Ok(())
        })?;
        self.written(rows.len() * 512);
        self.measure()
            .map_err(|error| LogError::Broken(Arc::new(error)))
    }

    fn reopen(&mut self) -> Result<u64, LogError> {
        self.connection = None;
        let broken = |error| LogError::Broken(Arc::new(error));
        let connection = connect(&self.path, self.ceiling_bytes).map_err(broken)?;
        let check = "PRAGMA quick_check(1)";
        let verdict: String = connection
            .query_row(check, [], |row| row.get(0))
            .map_err(broken)?;
        if verdict != "ok" {
            return Err(broken(rusqlite::Error::ToSqlConversionFailure(
                verdict.into(),
            )));
        }
        // After a failed flush the kernel may call pages clean that never reached the disk. Moving
        // the whole log writes and flushes every one of them anew, somewhere else.
        let moved: (i64, i64, i64) = connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .map_err(broken)?;
        if moved.0 != 0 {
            return Err(broken(rusqlite::Error::ToSqlConversionFailure(
                "log is busy".into(),
            )));
        }
        connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)
            .map_err(broken)?;
        let newest = load::newest(&connection).map_err(broken)?;
        self.connection = Some(connection);
        self.synchronous = None;
        self.measure().map_err(broken)?;
        Ok(newest)
    }

    fn full(&self) -> Option<String> {
        let full = self.used_bytes >= self.ceiling_bytes;
        full.then(|| format!("{} of {} bytes used", self.used_bytes, self.ceiling_bytes))
    }

    fn relieve(&mut self) -> Result<(), LogError> {
        let Some(connection) = &self.connection else {
            return Ok(());
        };
        let limit = (LIMIT_TIMES * self.checkpoint_bytes) as u64 / PAGE_BYTES;
        if self.checkpointer.take_frames() <= limit.cast_signed() {
            return Ok(());
        }
        let moved = connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()));
        moved.map_err(|error| match is_full(&error) {
            // What found no room to be moved stays where it is.
            true => LogError::Full(Arc::new(error)),
            false => LogError::Broken(Arc::new(error)),
        })
    }

    fn tidy(&mut self) -> Result<bool, LogError> {
        let broken = |error| LogError::Broken(Arc::new(error));
        let pages = self.used_bytes / PAGE_BYTES;
        if self.free_pages < 2 * VACUUM_PAGES || self.free_pages.cast_unsigned() < pages / 4 {
            if self.vacuumed {
                self.shorten().map_err(broken)?;
            }
            return Ok(false);
        }
        let before = self.free_pages;
        self.transaction(Durability::Relaxed, |connection| {
            let vacuum = format!("PRAGMA incremental_vacuum({VACUUM_PAGES})");
            let mut vacuum = connection.prepare_cached(&vacuum)?;
            let mut steps = vacuum.query([])?;
            while steps.next()?.is_some() {}
            Ok(())
        })?;
        self.vacuumed = true;
        self.measure().map_err(broken)?;
        Ok(self.free_pages < before)
    }

    fn close(&mut self, revision: u64) -> Result<(), LogError> {
        // Nothing was written since a clean stop: it still is one.
        if !self.mark || self.gap.is_some() {
            self.transaction(Durability::Durable, |connection| {
                set(connection, "revision", revision)?;
                set(connection, "clean", 1)
            })?;
        }
        self.connection = None;
        Ok(())
    }
}

fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

fn mark(connection: &Connection, boot: &str, gap: Option<(u64, u64)>) -> rusqlite::Result<()> {
    set(connection, "clean", 0)?;
    connection.execute("DELETE FROM boot", [])?;
    connection.execute("INSERT INTO boot VALUES(?)", [boot])?;
    if let Some((low, high)) = gap {
        let (low, high) = (low.cast_signed(), high.cast_signed());
        connection.execute("INSERT OR REPLACE INTO gap VALUES(?, ?)", [low, high])?;
    }
    Ok(())
}

fn set(connection: &Connection, name: &str, value: u64) -> rusqlite::Result<()> {
    let mut update = connection.prepare_cached("UPDATE meta SET value = ? WHERE name = ?")?;
    update.execute(params![value.cast_signed(), name]).map(drop)
}

fn connect(path: &Path, ceiling_bytes: u64) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    // Deletions and compaction need room when puts have none left.
    let pages = (ceiling_bytes + ceiling_bytes / 16) / PAGE_BYTES + 1024;
    connection.execute_batch(&format!(
        "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; PRAGMA temp_store = MEMORY;
         PRAGMA journal_size_limit = 67108864; PRAGMA cache_size = -1024;
         PRAGMA max_page_count = {pages};"
    ))?;
    Ok(connection)
}

fn closed() -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure("the database is not open".into())
}
