//! Stores on disk: what survives what.

mod crash;
mod disk_full;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use expect_test::expect;
use rusqlite::Connection;

use crate::log::load::JUMP;
use crate::{
    Config, Durability, Event, Op, Outcome, Range, Retry, Revision, Seal, Store, StoreError, Txn,
};

/// Runs a future on a small runtime.
pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(future)
}

pub(crate) fn put(key: &str, value: &str) -> Txn {
    let (key, value) = (Bytes::from(key.to_owned()), Bytes::from(value.to_owned()));
    Txn {
        ops: vec![Op::Put {
            key,
            value,
            ttl: None,
        }],
        ..Txn::default()
    }
}

#[track_caller]
pub(crate) fn commit(store: &Store, txn: Txn) -> Revision {
    match wait(store.txn(txn)).unwrap() {
        Outcome::Committed { revision } => revision,
        conflict @ Outcome::Conflict { .. } => panic!("{conflict:?}"),
    }
}

pub(crate) fn dump(store: &Store, at: Option<Revision>) -> String {
    let page = store
        .range(&Range {
            at,
            ..Range::prefix(b"")
        })
        .unwrap();
    let mut text = format!("at {}:", page.revision);
    for kv in page.items {
        let (key, value) = (
            String::from_utf8_lossy(&kv.key),
            String::from_utf8_lossy(&kv.value),
        );
        let (created, modified) = (kv.create_revision, kv.mod_revision);
        text.push_str(&format!(" {key}={value}@{created}/{modified}"));
    }
    text
}

fn events(store: &Store, from: u64) -> Vec<Event> {
    let mut watcher = store.watch(b"", Revision(from)).unwrap();
    let mut events = Vec::new();
    while let Some(batch) = watcher.try_next().unwrap() {
        events.extend(batch.events.iter().cloned());
    }
    events
}

fn config(dir: &Path) -> Config {
    Config::new(&dir.join("store.db"))
}

/// State, history with previous values, old revisions and times to live come back.
#[test]
fn comes_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let store = Store::open(&config).unwrap();
    let long = "compressible ".repeat(1000);
    commit(&store, put("/a", "1"));
    commit(&store, put("/b", "1").with_ttl(Duration::from_secs(3600)));
    let mut both = put("/a", "2");
    both.ops.extend(put("/c", &long).ops);
    commit(&store, both);
    commit(&store, Txn::delete("/a".into(), Revision(4)));
    let before: Vec<String> = (1..=5).map(|at| dump(&store, Some(Revision(at)))).collect();
    let history = events(&store, 1);
    drop(store);
    let store = Store::open(&config).unwrap();
    let after: Vec<String> = (1..=5).map(|at| dump(&store, Some(Revision(at)))).collect();
    assert_eq!(before, after);
    assert_eq!(history, events(&store, 1));
    assert_eq!(store.current_revision(), Revision(5));
    // Compacted to 4: the state there stays, what came before is gone, also after a restart.
    store.compact(Revision(4)).unwrap();
    drop(store);
    let store = Store::open(&config).unwrap();
    assert_eq!(
        before[3..],
        [dump(&store, Some(Revision(4))), dump(&store, None)]
    );
    assert_eq!(history[4..], events(&store, 4));
    let gone = store.watch(b"", Revision(3)).unwrap_err();
    expect!["revision 3 has been compacted: the oldest available is 4"]
        .assert_eq(&gone.to_string());
    assert_eq!(gone.retry(), Retry::Restart);
    // All compacted, the newest row (a deletion) included: its revision is not used again.
    store.compact(Revision(5)).unwrap();
    drop(store);
    let count = |sql| -> i64 {
        let db = Connection::open(&config.path).unwrap();
        db.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(count("SELECT count(*) FROM log"), 2);
    let store = Store::open(&config).unwrap();
    assert_eq!(commit(&store, put("/d", "")), Revision(6));
}

/// Neither keys' values nor anything else readable lies on the disk; keys do.
#[test]
fn values_are_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let store = Store::open(&config).unwrap();
    commit(&store, put("/secrets/a", "hunter2hunter2"));
    for name in ["store.db", "store.db-wal", "store.db.key"] {
        let mode = std::fs::metadata(dir.path().join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    drop(store);
    let bytes = std::fs::read(&config.path).unwrap();
    let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
    assert!(holds(b"/secrets/a") && !holds(b"hunter2"));
    // Without its key file the database stays as it is.
    let key = dir.path().join("store.db.key");
    std::fs::rename(&key, dir.path().join("elsewhere")).unwrap();
    let error = Store::open(&config).unwrap_err().to_string();
    assert!(
        error.starts_with("read key file") && error.ends_with("cannot be read"),
        "{error}"
    );
    assert!(!key.exists());
    // Another key does not open it.
    crate::KeyFile::create(&key).unwrap();
    let error = Store::open(&config).unwrap_err().to_string();
    assert!(
        error.contains("value of /secrets/a at 2: sealed with key"),
        "{error}"
    );
}

type Damage = fn(&mut Vec<u8>);

/// A changed byte anywhere is found, named, and left alone.
#[test]
fn damage_is_named_and_nothing_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config {
        seal: Seal::Off,
        ..config(dir.path())
    };
    let store = Store::open(&config).unwrap();
    for n in 0..200 {
        commit(
            &store,
            put(&format!("/k/{n:03}"), &"x".repeat(200)).relaxed(),
        );
    }
    drop(store);
    let intact = std::fs::read(&config.path).unwrap();
    assert!(intact.len() > 10 * 4096);
    let damages: [(&str, Damage); 4] = [
        ("header", |bytes| bytes[..16].fill(7)),
        ("cut", |bytes| bytes.truncate(5 * 4096 + 17)),
        ("empty", Vec::clear),
        ("value", |bytes| {
            let at = bytes
                .windows(50)
                .rposition(|window| window == [b'x'; 50])
                .unwrap();
            bytes[at] = b'y';
        }),
    ];
    for (name, damage) in damages {
        let mut bytes = intact.clone();
        damage(&mut bytes);
        std::fs::write(&config.path, &bytes).unwrap();
        let error = Store::open(&config).unwrap_err();
        assert!(
            matches!(error, StoreError::Damaged { .. }),
            "{name}: {error}"
        );
        assert!(error.to_string().contains("store.db is damaged"), "{error}");
        assert_eq!(std::fs::read(&config.path).unwrap(), bytes, "{name}");
    }
    // The log of a database that is gone is not thrown away either.
    std::fs::remove_file(&config.path).unwrap();
    let wal = dir.path().join("store.db-wal");
    std::fs::write(&wal, b"frames").unwrap();
    let error = Store::open(&config).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("missing while its write-ahead log is there"),
        "{error}"
    );
    assert!(wal.exists());
    std::fs::remove_file(&wal).unwrap();
    // Another program's database, and one of a later version.
    std::fs::write(&config.path, &intact).unwrap();
    let alter = |sql| {
        Connection::open(&config.path)
            .unwrap()
            .execute_batch(sql)
            .unwrap()
    };
    alter("PRAGMA user_version = 99");
    let error = Store::open(&config).unwrap_err().to_string();
    assert!(
        error.ends_with("has format 99, this version reads up to 1"),
        "{error}"
    );
    alter("PRAGMA application_id = 1");
    let error = Store::open(&config).unwrap_err().to_string();
    assert!(error.contains("it is not a transom store"), "{error}");
}

#[test]
fn one_owner() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let store = Store::open(&config).unwrap();
    let error = Store::open(&config).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("store.db.lock is in use by another process"),
        "{error}"
    );
    drop(store);
    Store::open(&config).unwrap();
}

/// A copy of the files of a running store: what a power cut (or `kill -9`) leaves.
fn crash(from: &Config, to: &Path) -> Config {
    for name in ["store.db", "store.db-wal", "store.db.key"] {
        let source = from.path.with_file_name(name);
        if source.exists() {
            std::fs::copy(source, to.join(name)).unwrap();
        }
    }
    Config {
        path: to.join("store.db"),
        seal: Seal::KeyFile(to.join("store.db.key")),
        ..from.clone()
    }
}

/// After a power cut the counter jumps, and nobody goes on from a revision that may be lost.
#[test]
fn revisions_are_not_reused_after_a_power_cut() {
    let dirs = [(); 4].map(|()| tempfile::tempdir().unwrap());
    let first = Config {
        boot_id: "one".into(),
        ..config(dirs[0].path())
    };
    let store = Store::open(&first).unwrap();
    commit(&store, put("/a", "1"));
    commit(&store, put("/a", "2"));
    // The same boot: a killed process. Nothing is lost, nothing jumps.
    let killed = crash(&first, dirs[1].path());
    let again = Store::open(&killed).unwrap();
    assert_eq!(dump(&again, None), dump(&store, None));
    // Another boot.
    let cut = Config {
        boot_id: "two".into(),
        ..crash(&first, dirs[2].path())
    };
    let after = Store::open(&cut).unwrap();
    assert_eq!(after.current_revision(), Revision(3 + JUMP));
    assert_eq!(events(&after, 1).len(), 2);
    assert!(events(&after, 3).is_empty());
    for lost in [4, 2 + JUMP] {
        let error = after.watch(b"", Revision(lost)).unwrap_err();
        assert!(matches!(error, StoreError::Compacted { .. }), "{error}");
        let error = after
            .range(&Range::prefix(b"").at(Revision(lost)))
            .unwrap_err();
        assert!(matches!(error, StoreError::Compacted { .. }), "{error}");
    }
    // Cut again before a single write: the same numbers; after one: further.
    let cut_again = Config {
        boot_id: "three".into(),
        ..crash(&cut, dirs[3].path())
    };
    assert_eq!(
        Store::open(&cut_again).unwrap().current_revision(),
        Revision(3 + JUMP)
    );
    assert_eq!(commit(&after, put("/b", "")), Revision(4 + JUMP));
    let cut_again = Config {
        boot_id: "four".into(),
        ..crash(&cut, dirs[3].path())
    };
    let last = Store::open(&cut_again).unwrap();
    assert_eq!(last.current_revision(), Revision(4 + 2 * JUMP));
    assert!(last.watch(b"", Revision(5)).is_err());
    assert_eq!(events(&last, 3 + JUMP).len(), 1);
    drop(last);
    // A clean stop keeps the number, on whatever boot.
    let next = Store::open(&Config {
        boot_id: "five".into(),
        ..cut_again
    })
    .unwrap();
    assert_eq!(next.current_revision(), Revision(4 + 2 * JUMP));
}

/// Relaxed writes are with the operating system when they are answered.
#[test]
fn relaxed_writes_survive_a_kill() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let first = config(dirs[0].path());
    let store = Store::open(&first).unwrap();
    for n in 0..10 {
        commit(&store, put(&format!("/{n}"), "v").relaxed());
    }
    let again = Store::open(&crash(&first, dirs[1].path())).unwrap();
    assert_eq!(dump(&again, None), dump(&store, None));
}

/// Above the ceiling puts fail by name, and reads and deletes go on; compaction makes room.
#[test]
fn ceiling() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config {
        ceiling_bytes: 1 << 20,
        seal: Seal::Off,
        ..config(dir.path())
    };
    let store = Store::open(&config).unwrap();
    let noise = |n: u64| {
        let mut rng = base::Rng::new(n);
        let mut bytes = vec![0; 20_000];
        rng.bytes(&mut bytes);
        Bytes::from(bytes)
    };
    let fill = |store: &Store| -> (u64, StoreError) {
        for n in 0.. {
            let txn = Txn::create(Bytes::from(format!("/{n}")), noise(n));
            if let Err(error) = wait(store.txn(txn)) {
                return (n, error);
            }
        }
        unreachable!()
    };
    let (count, error) = fill(&store);
    assert!((40..60).contains(&count), "{count}");
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("write /{count}: ")) && text.contains("is full"),
        "{text}"
    );
    assert_eq!(error.retry(), Retry::Later);
    assert_eq!(store.stats().keys as u64, count);
    let revision = store.current_revision();
    for n in 0..count {
        let key = Bytes::from(format!("/{n}"));
        let at = store.get(&key).unwrap().mod_revision;
        commit(&store, Txn::delete(key, at));
    }
    assert_eq!(store.current_revision().0, revision.0 + count);
    store.compact(store.current_revision()).unwrap();
    drop(store);
    let store = Store::open(&config).unwrap();
    assert_eq!(fill(&store).0, count);
}

/// Keys end by themselves, also after a restart.
#[test]
fn expiry() {
    let dir = tempfile::tempdir().unwrap();
    let clock = std::sync::Arc::new(base::ManualClock::new(jiff::Timestamp::UNIX_EPOCH));
    let config = Config {
        clock: clock.clone(),
        ..config(dir.path())
    };
    let store = Store::open(&config).unwrap();
    commit(&store, put("/a", "").with_ttl(Duration::from_secs(10)));
    commit(&store, put("/b", ""));
    drop(store);
    let store = Store::open(&config).unwrap();
    clock.advance(Duration::from_secs(11));
    let mut watcher = store.watch(b"/a", Revision(3)).unwrap();
    commit(&store, put("/b", ""));
    let batch = wait(watcher.next()).unwrap();
    assert_eq!(batch.events[0].kind, crate::EventKind::Delete);
    assert!(store.get(b"/a").is_none());
    store.close();
    assert!(matches!(wait(watcher.next()), Err(StoreError::Closed)));
    assert!(matches!(
        wait(store.txn(put("/c", ""))),
        Err(StoreError::Closed)
    ));
}

/// History ends by number without anybody asking.
#[test]
fn retention() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.retention.events = 100;
    let store = Store::open(&config).unwrap();
    for _ in 0..250 {
        commit(&store, put("/a", "").relaxed());
    }
    let oldest = store.compacted_revision().0;
    assert!((100..=200).contains(&oldest), "{oldest}");
    assert!(store.stats().history_events <= 100);
}

/// Who owns the process is told of history that was freed, and not of every change.
#[test]
fn freed_history_is_told() {
    static TOLD: AtomicUsize = AtomicUsize::new(0);
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.retention.events = 100;
    config.freed = || {
        TOLD.fetch_add(1, Ordering::Relaxed);
    };
    let store = Store::open(&config).unwrap();
    let value = "v".repeat(2000);
    for _ in 0..100 {
        commit(&store, put("/a", &value).relaxed());
    }
    assert_eq!(TOLD.load(Ordering::Relaxed), 0, "nothing was freed yet");
    for _ in 0..200 {
        commit(&store, put("/a", &value).relaxed());
    }
    store.close();
    let told = TOLD.load(Ordering::Relaxed);
    assert!((1..=10).contains(&told), "{told}");
}

/// What is gone is given back to the disk although nobody writes any more: pages that the database
/// no longer has count only once the log is moved into it.
#[test]
fn an_idle_database_is_as_small_as_its_content() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.checkpoint_bytes = 4 << 20;
    config.retention.events = 10;
    let store = Store::open(&config).unwrap();
    let mut rng = base::Rng::new(7);
    let mut noise = || -> String { (0..1000).map(|_| format!("{:016x}", rng.u64())).collect() };
    for n in 0..1200 {
        commit(&store, put(&format!("/{n}"), &noise()).relaxed());
    }
    // The log is moved by another thread, and the length of a file announces nothing.
    let size = || std::fs::metadata(&config.path).unwrap().len();
    let until = |reached: &dyn Fn(u64) -> bool| {
        let looks = (0..6000).map(|_| {
            std::thread::sleep(Duration::from_millis(10));
            size()
        });
        looks.into_iter().find(|&size| reached(size))
    };
    assert!(
        until(&|size| size > 4 << 20).is_some(),
        "{} bytes: nothing was moved",
        size()
    );
    for n in 0..1200 {
        let key = Bytes::from(format!("/{n}"));
        let gone = Txn {
            ops: vec![Op::Delete { key }],
            durability: Durability::Relaxed,
            ..Txn::default()
        };
        commit(&store, gone);
    }
    assert!(
        until(&|size| size < 3 << 20).is_some(),
        "{} bytes are left",
        size()
    );
}

/// Writers and readers at once: nobody sees a revision before it is committed, or goes back, or
/// sees half a transaction; an answer means that it can be read.
#[test]
fn readers_see_whole_commits_only() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&config(dir.path())).unwrap();
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let store = store.clone();
                scope.spawn(move || {
                    for n in 0..60 {
                        let value = format!("{writer}.{n}");
                        let mut both = put("/l", &value);
                        both.ops.extend(put("/r", &value).ops);
                        let both = if n % 3 == 0 { both.relaxed() } else { both };
                        let revision = commit(&store, both);
                        assert!(store.current_revision() >= revision);
                        assert!(store.get(b"/l").unwrap().mod_revision >= revision);
                    }
                })
            })
            .collect();
        let mut last = Revision(0);
        let mut watcher = store.watch(b"/", Revision(1)).unwrap();
        let mut told = 1;
        while !writers
            .iter()
            .all(std::thread::ScopedJoinHandle::is_finished)
        {
            let page = store.range(&Range::prefix(b"/")).unwrap();
            assert!(page.revision >= last);
            last = page.revision;
            assert!(page.items.iter().all(|kv| kv.mod_revision <= page.revision));
            if let [left, right] = &page.items[..] {
                assert_eq!(
                    (&left.value, left.mod_revision),
                    (&right.value, right.mod_revision)
                );
            }
            while let Some(batch) = watcher.try_next().unwrap() {
                assert!(batch.revision <= store.current_revision());
                for pair in batch.events.chunks(2) {
                    told += 1;
                    assert!(
                        pair.iter()
                            .all(|event| event.kv.mod_revision == Revision(told))
                    );
                }
            }
        }
    });
    assert_eq!(store.current_revision(), Revision(241));
}

/// Compaction under way when the process ends leaves rows that the next start cleans up.
#[test]
fn half_done_compaction() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let store = Store::open(&config).unwrap();
    for n in 0..50 {
        commit(
            &store,
            put(&format!("/{}", n % 5), &n.to_string()).relaxed(),
        );
    }
    commit(&store, Txn::delete("/0".into(), Revision(47)));
    let (head, half) = (dump(&store, None), dump(&store, Some(Revision(30))));
    drop(store);
    let alter = |sql: &str| {
        Connection::open(&config.path)
            .unwrap()
            .execute_batch(sql)
            .unwrap()
    };
    alter("UPDATE meta SET value = 30 WHERE name = 'compacted'");
    let store = Store::open(&config).unwrap();
    assert_eq!(
        (&head, &half),
        (&dump(&store, None), &dump(&store, Some(Revision(30))))
    );
    assert_eq!(store.compacted_revision(), Revision(30));
    drop(store);
    // Five keys as they were at 30, and 22 changes since.
    let count: i64 = Connection::open(&config.path)
        .unwrap()
        .query_row("SELECT count(*) FROM log", [], |row| row.get(0))
        .unwrap();
    assert_eq!(count, 27);
    let store = Store::open(&config).unwrap();
    assert_eq!(
        (&head, &half),
        (&dump(&store, None), &dump(&store, Some(Revision(30))))
    );
}

/// Room is given back to the file system once history has let go of it.
#[test]
fn files_shrink() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config {
        seal: Seal::Off,
        ..config(dir.path())
    };
    let store = Store::open(&config).unwrap();
    let mut rng = base::Rng::new(5);
    for n in 0..100 {
        let mut value = vec![0; 100_000];
        rng.bytes(&mut value);
        commit(
            &store,
            Txn::create(Bytes::from(format!("/{n}")), value.into()).relaxed(),
        );
    }
    let store = {
        drop(store);
        Store::open(&config).unwrap()
    };
    let size = || std::fs::metadata(&config.path).unwrap().len();
    assert!(size() > 10_000_000);
    for n in 0..100 {
        commit(
            &store,
            Txn::delete(Bytes::from(format!("/{n}")), Revision(n + 2)).relaxed(),
        );
    }
    store.compact(store.current_revision()).unwrap();
    // Turn by turn, while nobody asks for anything.
    let until = tokio::time::Instant::now() + Duration::from_secs(20);
    let pages = || -> i64 {
        let db = Connection::open(&config.path).unwrap();
        db.query_row("PRAGMA page_count", [], |row| row.get(0))
            .unwrap()
    };
    while pages() > 900 && tokio::time::Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(store);
    assert!(size() < 4_000_000, "{}", size());
}

/// A compaction right after the start, and the end right after it: kept all the same.
#[test]
fn compaction_before_the_writer_got_going() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    commit(&Store::open(&config).unwrap(), put("/a", ""));
    for n in 0..20 {
        let store = Store::open(&config).unwrap();
        store.compact(store.current_revision()).unwrap();
        drop(store);
        let store = Store::open(&config).unwrap();
        assert_eq!(store.compacted_revision().0, 2 + n);
        commit(&store, put("/a", ""));
    }
}

/// A day of node Leases: ten nodes, a renewal every ten seconds, history for five minutes of it
/// (here counted in changes). The files and the history end as large as they were after an hour.
#[test]
fn a_day_of_leases_leaves_nothing() {
    const NODES: usize = 10;
    const HOUR: usize = 360;
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.retention.events = 30 * NODES;
    let store = Store::open(&config).unwrap();
    let names: Vec<String> = (0..NODES)
        .map(|node| format!("/registry/leases/kube-node-lease/node-{node}"))
        .collect();
    let size = || -> u64 {
        let files = std::fs::read_dir(dir.path()).unwrap();
        files
            .map(|file| file.unwrap().metadata().unwrap().len())
            .sum()
    };
    let kept = || store.current_revision().0 - store.compacted_revision().0;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let mut after_an_hour = (0, 0);
    let padding = "x".repeat(600);
    for round in 0..24 * HOUR {
        // In one transaction, as the writer would put them together.
        let mut renewals = Txn {
            durability: crate::Durability::Relaxed,
            ..Txn::default()
        };
        for name in &names {
            let value = format!("renewed {round} {padding}");
            renewals.ops.extend(put(name, &value).ops);
        }
        runtime.block_on(store.txn(renewals)).unwrap();
        if round == HOUR {
            after_an_hour = (size(), kept());
        }
    }
    // The day is 60 MB of values. How much of it the files hold at their largest depends on how
    // far a writer without a pause gets ahead of its purge, and the rows come back to be used.
    let bound = after_an_hour.0 + (16 << 20);
    for _ in 0..400 {
        if size() <= bound {
            break;
        }
        std::thread::sleep(Duration::from_millis(25));
    }
    let (bytes, revisions) = (size(), kept());
    println!(
        "after an hour {after_an_hour:?}, after a day ({bytes}, {revisions}) bytes, revisions"
    );
    let slack = u64::try_from(2 * 30 * NODES).unwrap();
    assert!(
        revisions <= after_an_hour.1 + slack,
        "{revisions} revisions are kept"
    );
    assert!(bytes <= bound, "{bytes} bytes after {after_an_hour:?}");
    drop(store);
    let store = Store::open(&config).unwrap();
    assert_eq!(dump(&store, None).matches("renewed 8639 ").count(), NODES);
}
