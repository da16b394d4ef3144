//! Rows into the core, with two threads: one reads SQLite, one opens values and fills the tree.
//!
//! Rows up to the compaction point make the state there; those behind it are replayed and become
//! history, so that watches resume over a restart. A row that compaction left behind because the
//! process ended in the middle is recognised and handed back for deletion.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use rusqlite::Connection;
use rusqlite::types::FromSqlError;

use crate::StoreError;
use crate::codec::Decoder;
use crate::log::load::{checksum, row_name, sqlite_error};
use crate::mutants::{Mutant, planted};
use crate::mvcc::{Mvcc, RowName};
use crate::record::{Entry, Record};
use crate::seal::Sealer;

/// Bytes of rows handed over at once.
const CHUNK_BYTES: usize = 128 << 10;
/// Chunks under way between the threads.
const CHUNKS: usize = 4;

/// Rows in one buffer.
#[derive(Debug, Default)]
struct Chunk {
    bytes: Vec<u8>,
    rows: Vec<Raw>,
}

#[derive(Debug)]
struct Raw {
    id: i64,
    created: i64,
    expires: Option<i64>,
    key: Range<usize>,
    value: Option<Range<usize>>,
}

/// All rows in the core, empty at first, and the names of those that nothing needs.
pub(crate) fn read(
    connection: &Connection,
    path: &Path,
    sealer: &Arc<dyn Sealer>,
    mvcc: Mvcc,
) -> Result<(Mvcc, Vec<RowName>), StoreError> {
    let file = |operation| {
        move |cause| StoreError::File {
            operation,
            path: path.to_owned(),
            cause: Arc::new(cause),
        }
    };
    let decoder = Decoder::new(Arc::clone(sealer)).map_err(file("decompress"))?;
    let (sender, receiver) = sync_channel(CHUNKS);
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("store-load".into());
        let fill = move || fill(&receiver, decoder, path, mvcc);
        let filling = thread
            .spawn_scoped(scope, fill)
            .map_err(file("start loading"))?;
        let selected = select(connection, path, &sender);
        drop(sender);
        let filled = filling
            .join()
            .map_err(|_| damaged(path, "loading it panicked".into()))?;
        // If the other end gave up, its reason is the one that counts.
        let filled = filled?;
        selected?;
        Ok(filled)
    })
}

/// Reads and checks rows.
fn select(
    connection: &Connection,
    path: &Path,
    sender: &SyncSender<Chunk>,
) -> Result<(), StoreError> {
    let failed = |cause| sqlite_error("read", path, cause);
    let wrong = |cause: FromSqlError| damaged(path, cause.to_string());
    let without_newest = planted(Mutant::ApplyWithoutIndex) || planted(Mutant::TimeTravel);
    let select = if without_newest {
        "SELECT id, key, created, expires, sum, value FROM log
         WHERE id >> 12 < (SELECT max(id) >> 12 FROM log) ORDER BY id"
    } else {
        "SELECT id, key, created, expires, sum, value FROM log ORDER BY id"
    };
    let mut select = connection.prepare(select).map_err(failed)?;
    let mut rows = select.query([]).map_err(failed)?;
    let mut chunk = Chunk::default();
    while let Some(row) = rows.next().map_err(failed)? {
        let id: i64 = row.get(0).map_err(failed)?;
        let key = row.get_ref(1).map_err(failed)?.as_blob().map_err(wrong)?;
        let created: i64 = row.get(2).map_err(failed)?;
        let expires: Option<i64> = row.get(3).map_err(failed)?;
        let sum: i64 = row.get(4).map_err(failed)?;
        let value = row
            .get_ref(5)
            .map_err(failed)?
            .as_blob_or_null()
            .map_err(wrong)?;
        if checksum(id, key, created, expires, value) != sum {
            return Err(damaged(path, format!("checksum of row {id} is wrong")));
        }
        let mut add = |bytes: &[u8]| {
            let start = chunk.bytes.len();
            chunk.bytes.extend_from_slice(bytes);
            start..chunk.bytes.len()
        };
        let (key, value) = (add(key), value.map(add));
        chunk.rows.push(Raw {
            id,
            created,
            expires,
            key,
            value,
        });
        // Nobody there any more: it failed, and says so itself.
        if chunk.bytes.len() >= CHUNK_BYTES && sender.send(std::mem::take(&mut chunk)).is_err() {
            return Ok(());
        }
    }
    drop(sender.send(chunk));
    Ok(())
}

/// Opens values and builds the core.
fn fill(
    receiver: &Receiver<Chunk>,
    mut decoder: Decoder,
    path: &Path,
    mut mvcc: Mvcc,
) -> Result<(Mvcc, Vec<RowName>), StoreError> {
    let (compacted, marker) = (mvcc.compacted().0, mvcc.marker());
    let mut garbage = Vec::new();
    for Chunk { bytes, rows } in receiver {
        for Raw {
            id,
            created,
            expires,
            key,
            value,
        } in rows
        {
            let key = &bytes[key];
            let (revision, sub) = row_name(id);
            let record = match value {
                None => Record::tombstone(key, revision, sub),
                Some(sealed) => {
                    let value = decoder.decode(key, &bytes[sealed]).map_err(|cause| {
                        let key = crate::txn::display(key);
                        damaged(path, format!("value of {key} at {revision}: {cause}"))
                    })?;
                    let created = created.cast_unsigned();
                    Record::put(key, value, created, revision, sub).marked(marker(value))
                }
            };
            if revision <= compacted || planted(Mutant::HistoryForgotten) {
                mvcc.settle_at_start(record, expires, &mut garbage);
            } else {
                mvcc.replay(record, expires);
            }
        }
    }
    Ok((mvcc, garbage))
}

fn damaged(path: &Path, detail: String) -> StoreError {
    StoreError::Damaged {
        path: path.to_owned(),
        detail,
    }
}

impl Mvcc {
    /// Takes a row up to the compaction point: state without history. Of several rows of a key
    /// only the last is needed, and not even that if it is a deletion.
    fn settle_at_start(
        &mut self,
        record: Record,
        expires: Option<i64>,
        garbage: &mut Vec<RowName>,
    ) {
        let name = |record: &Record| (record.modified(), record.sub());
        garbage.extend(self.current(record.key()).as_ref().map(name));
        if record.deleted() {
            garbage.push(name(&record));
        }
        self.settle(record, expires);
    }

    /// Adds a change whose predecessor is what the key is now.
    fn replay(&mut self, record: Record, expires: Option<i64>) {
        let prev = self.current(record.key());
        self.push(Entry {
            record,
            prev,
            expires,
        });
    }
}
