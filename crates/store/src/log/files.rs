//! The files around the database: its lock, its making, what to refuse before opening it.

use std::fs::{File, TryLockError};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;

use crate::StoreError;

/// "Tran" in ASCII.
pub(crate) const APPLICATION_ID: i64 = 0x5472_616e;
/// Of the tables below.
pub(crate) const FORMAT: i64 = 1;

const TABLES: &str = "
    CREATE TABLE log(
        id INTEGER PRIMARY KEY, key BLOB NOT NULL, created INTEGER NOT NULL,
        expires INTEGER, sum INTEGER NOT NULL, value BLOB
    ) STRICT;
    CREATE TABLE meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE boot(id TEXT NOT NULL) STRICT;
    CREATE TABLE gap(low INTEGER PRIMARY KEY, high INTEGER NOT NULL) STRICT;
    INSERT INTO meta VALUES('clean', 1), ('compacted', 0), ('revision', 1);
";

/// Makes this process the owner of a database.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Drop for Lock {
    /// Unlocks by name: closing is not enough while a child that was just forked, and has not
    /// called exec yet, holds the same file.
    fn drop(&mut self) {
        drop(self.0.unlock());
    }
}

/// Takes the lock that makes one process the owner; held as long as the file is.
pub(crate) fn lock(database: &Path) -> Result<Lock, StoreError> {
    let path = beside(database, ".lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path);
    let file = file.map_err(|cause| failed("create", &path, cause))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path }),
        Err(TryLockError::Error(cause)) => Err(failed("lock", &path, cause)),
    }
}

/// Whether there is a database. Refuses a write-ahead log without one: SQLite would delete it.
pub(crate) fn exists(database: &Path) -> Result<bool, StoreError> {
    let size = |path: &Path| match std::fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(failed("look at", path, cause)),
    };
    let detail = match (size(database)?, size(&beside(database, "-wal"))?) {
        (None, None | Some(0)) => return Ok(false),
        (Some(0), _) => "it is empty",
        (None, Some(_)) => "it is missing while its write-ahead log is there",
        (Some(_), _) => return Ok(true),
    };
    Err(StoreError::Damaged {
        path: database.to_owned(),
        detail: detail.into(),
    })
}

/// Makes an empty database, complete or not at all.
pub(crate) fn create(database: &Path) -> Result<(), StoreError> {
    let unfinished = beside(database, ".new");
    let sql = |operation| {
        let path = unfinished.clone();
        move |cause| StoreError::Open {
            operation,
            path,
            cause: Arc::new(cause),
        }
    };
    match std::fs::remove_file(&unfinished) {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
            return Err(failed("remove", &unfinished, cause));
        }
        _ => {}
    }
    let connection = Connection::open(&unfinished).map_err(sql("create"))?;
    let setup = format!(
        "PRAGMA page_size = 4096; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA synchronous = OFF;
         PRAGMA journal_mode = MEMORY; PRAGMA application_id = {APPLICATION_ID};
         PRAGMA user_version = {FORMAT}; BEGIN; {TABLES} COMMIT; PRAGMA journal_mode = WAL;"
    );
    connection.execute_batch(&setup).map_err(sql("create"))?;
    connection
        .close()
        .map_err(|(_, cause)| sql("create")(cause))?;
    // Its companions get the same rights from SQLite.
    let owner_only = std::fs::Permissions::from_mode(0o600);
    let file = File::open(&unfinished).and_then(|file| {
        file.set_permissions(owner_only)
            .and_then(|()| file.sync_all())
    });
    file.map_err(|cause| failed("flush", &unfinished, cause))?;
    let renamed = std::fs::rename(&unfinished, database);
    renamed.map_err(|cause| failed("create", database, cause))?;
    let parent = database
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    let flushed = File::open(parent).and_then(|directory| directory.sync_all());
    flushed.map_err(|cause| failed("flush", parent, cause))
}

/// Names this boot of the machine; empty if the system does not tell.
pub(crate) fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

/// The file whose name is the database's with something behind it.
pub(crate) fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn failed(operation: &'static str, path: &Path, cause: std::io::Error) -> StoreError {
    StoreError::File {
        operation,
        path: path.to_owned(),
        cause: Arc::new(cause),
    }
}
