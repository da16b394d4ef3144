//! The commit protocol against a log that fails where it is told to.

use std::sync::Arc;

use bytes::Bytes;
use expect_test::{Expect, expect};
use parking_lot::Mutex;

use crate::codec::Encoder;
use crate::log::tests::{dump, put, wait};
use crate::log::{Log, LogError, Row};
use crate::mvcc::RowName;
use crate::record::Record;
use crate::{Durability, NoSeal, Outcome, Retention, Store, Txn};

/// How the next commit goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Full,
    /// Broken, and the batch did not get there.
    Lost,
    /// Broken, but the batch got there.
    Kept,
    /// Broken, and older relaxed rows are gone with it.
    LostMore,
}

#[derive(Debug, Default)]
struct Disk {
    rows: Vec<(Record, Option<Vec<u8>>)>,
    faults: Vec<Fault>,
    unopenable: bool,
    calls: Vec<String>,
}

impl Disk {
    fn newest(&self) -> u64 {
        self.rows.last().map_or(1, |(record, _)| record.modified())
    }
}

struct FaultyLog(Arc<Mutex<Disk>>);

fn broken() -> LogError {
    let error = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_FSYNC);
    LogError::Broken(Arc::new(rusqlite::Error::SqliteFailure(error, None)))
}

impl Log for FaultyLog {
    fn commit(&mut self, rows: &[Row<'_>], durability: Durability) -> Result<(), LogError> {
        let mut disk = self.0.lock();
        let fault = (!disk.faults.is_empty()).then(|| disk.faults.remove(0));
        disk.calls.push(format!("{durability:?} {}", rows.len()));
        if matches!(fault, None | Some(Fault::Kept)) {
            let rows = rows.iter();
            disk.rows
                .extend(rows.map(|row| (row.entry.record.clone(), row.value.map(<[u8]>::to_vec))));
        }
        match fault {
            None => Ok(()),
            Some(Fault::Full) => {
                let error = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
                Err(LogError::Full(Arc::new(rusqlite::Error::SqliteFailure(
                    error, None,
                ))))
            }
            Some(Fault::LostMore) => {
                disk.rows.pop();
                Err(broken())
            }
            Some(Fault::Lost | Fault::Kept) => Err(broken()),
        }
    }

    fn flush(&mut self, _revision: u64) -> Result<(), LogError> {
        self.0.lock().calls.push("flush".into());
        Ok(())
    }

    fn purge(&mut self, _: u64, _: u64, _: &[RowName]) -> Result<(), LogError> {
        Ok(())
    }

    fn reopen(&mut self) -> Result<u64, LogError> {
        let mut disk = self.0.lock();
        disk.calls.push("reopen".into());
        if disk.unopenable {
            Err(broken())
        } else {
            Ok(disk.newest())
        }
    }

    fn full(&self) -> Option<String> {
        None
    }

    fn relieve(&mut self) -> Result<(), LogError> {
        Ok(())
    }

    fn tidy(&mut self) -> Result<bool, LogError> {
        Ok(false)
    }

    fn close(&mut self, _revision: u64) -> Result<(), LogError> {
        Ok(())
    }
}

fn store(faults: &[Fault]) -> (Store, Arc<Mutex<Disk>>) {
    let disk = Arc::new(Mutex::new(Disk {
        faults: faults.to_vec(),
        ..Disk::default()
    }));
    let encoder = Arc::new(Encoder::new(Arc::new(NoSeal)));
    let log = Box::new(FaultyLog(Arc::clone(&disk)));
    let clock = Arc::new(base::SystemClock);
    (
        Store::with_log(log, encoder, clock, Retention::default()).unwrap(),
        disk,
    )
}

/// One line a transaction, then the view; the disk has to hold what the view holds.
#[track_caller]
fn check(faults: &[Fault], txns: Vec<Txn>, expect: Expect) {
    let (store, disk) = store(faults);
    let mut lines = String::new();
    let mut watcher = store.watch(b"", crate::Revision(1)).unwrap();
    for txn in txns {
        let line = match wait(store.txn(txn)) {
            Ok(Outcome::Committed { revision }) => revision.to_string(),
            Ok(Outcome::Conflict { .. }) => "conflict".into(),
            Err(error) => base::Chain(&error).to_string(),
        };
        lines.push_str(&line);
        lines.push('\n');
    }
    lines.push_str(&dump(&store, None));
    let mut told = Vec::new();
    while let Some(batch) = watcher.try_next().unwrap() {
        told.extend(batch.events.iter().map(|event| event.kv.mod_revision.0));
    }
    let disk = disk.lock();
    let kept: Vec<u64> = disk
        .rows
        .iter()
        .map(|(record, _)| record.modified())
        .collect();
    assert_eq!(told, kept, "watchers and the disk agree");
    lines.push_str(&format!("\n{}\n", disk.calls.join(", ")));
    expect.assert_eq(&lines);
}

fn three() -> Vec<Txn> {
    vec![put("/a", "1"), put("/b", "2"), put("/c", "3")]
}

/// The head goes back; the number is free again, for nobody saw it.
#[test]
fn full() {
    check(
        &[Fault::Full],
        three(),
        expect![[r#"
            write /a: memory is full (Error code 13: database or disk is full); nothing was written: free space on its file system
            2
            3
            at 3: /b=2@2/2 /c=3@3/3
            Durable 1, Durable 1, Durable 1
        "#]],
    );
}

/// The log is opened again; the batch is not there.
#[test]
fn broken_and_lost() {
    check(
        &[Fault::Lost],
        three(),
        expect![[r#"
            write /a to memory: Error code 1034: disk I/O error: Error code 1034: disk I/O error
            2
            3
            at 3: /b=2@2/2 /c=3@3/3
            Durable 1, reopen, Durable 1, Durable 1
        "#]],
    );
}

/// The log is opened again, and the batch turns out to be there: it was committed.
#[test]
fn broken_but_kept() {
    check(
        &[Fault::Kept],
        three(),
        expect![[r#"
        2
        3
        4
        at 4: /a=1@2/2 /b=2@3/3 /c=3@4/4
        Durable 1, reopen, Durable 1, Durable 1
    "#]],
    );
}

/// What readers have seen is written again.
#[test]
fn relaxed_writes_lost_by_a_failed_flush() {
    let mut txns = three();
    txns[0] = put("/a", "1").relaxed();
    let (store, disk) = store(&[]);
    wait(store.txn(txns.remove(0))).unwrap();
    disk.lock().faults.push(Fault::LostMore);
    let error = wait(store.txn(txns.remove(0))).unwrap_err();
    expect!["write /b to memory"].assert_eq(&error.to_string());
    wait(store.txn(txns.remove(0))).unwrap();
    expect!["at 3: /a=1@2/2 /c=3@3/3"].assert_eq(&dump(&store, None));
    let disk = disk.lock();
    let kept: Vec<Bytes> = disk
        .rows
        .iter()
        .map(|(record, _)| record.key_bytes())
        .collect();
    assert_eq!(kept, ["/a", "/c"]);
    expect!["Relaxed 1, Durable 1, reopen, Durable 1, Durable 1"].assert_eq(&disk.calls.join(", "));
}

/// While it does not open, writes are refused and reads go on; then the doubtful batch shows.
#[test]
fn does_not_open() {
    let (store, disk) = store(&[Fault::Kept]);
    disk.lock().unopenable = true;
    let error = wait(store.txn(put("/a", "1"))).unwrap_err();
    expect!["write /a to memory: outcome unknown until the database opens again"]
        .assert_eq(&error.to_string());
    assert_eq!(error.retry(), crate::Retry::Unknown);
    assert!(store.get(b"/a").is_none());
    let error = wait(store.txn(put("/b", "1"))).unwrap_err();
    expect!["write /b to memory"].assert_eq(&error.to_string());
    let mut watcher = store.watch(b"", crate::Revision(1)).unwrap();
    disk.lock().unopenable = false;
    let batch = wait(watcher.next()).unwrap();
    assert_eq!(batch.events.len(), 1);
    expect!["at 2: /a=1@2/2"].assert_eq(&dump(&store, None));
}

/// A relaxed write is flushed within a second though nobody writes any more.
#[test]
fn relaxed_writes_are_flushed() {
    let (store, disk) = store(&[]);
    wait(store.txn(put("/a", "1").relaxed())).unwrap();
    assert!(!disk.lock().calls.contains(&"flush".to_owned()));
    wait(tokio_sleep(1200));
    expect!["Relaxed 1, flush"].assert_eq(&disk.lock().calls.join(", "));
}

async fn tokio_sleep(ms: u64) {
    tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
}
