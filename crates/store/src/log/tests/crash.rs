//! `kill -9` of a process under write load, again and again.
//!
//! The child is this test binary, told by its environment to write and to report every answer on
//! its standard output. What it reported has to be there afterwards.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;

use crate::log::tests::{put, wait};
use crate::{Compare, Config, Durability, EventKind, Op, Outcome, Range, Revision, Store, Txn};

const ROUNDS: u64 = 25;
const WRITERS: u64 = 8;
pub(crate) const DIRECTORY: &str = "TRANSOM_STORE_CRASH_DIR";
pub(crate) const ROUND: &str = "TRANSOM_STORE_CRASH_ROUND";
/// Writes a writer after which the child ends by itself; for ever without it.
pub(crate) const WRITES: &str = "TRANSOM_STORE_CRASH_WRITES";

/// Starts the ignored test `name` of this binary as a process of its own.
#[expect(
    clippy::disallowed_methods,
    reason = "a process that can be killed is what is tested"
)]
pub(crate) fn child(name: &str, wrapper: &[&str], variables: &[(&str, &Path)]) -> Child {
    let this = std::env::current_exe().unwrap();
    let mut command = match wrapper.split_first() {
        None => Command::new(this),
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(this);
            command
        }
    };
    command.args([
        "--exact",
        name,
        "--ignored",
        "--nocapture",
        "--test-threads=1",
    ]);
    command
        .envs(variables.iter().copied())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
#[ignore = "the child of survives_kill_minus_nine"]
fn writes_until_killed() {
    let Some(dir) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let number = |name| std::env::var(name).map_or(u64::MAX, |text| text.parse().unwrap());
    let (round, writes) = (number(ROUND), number(WRITES));
    let store = Store::open(&Config::new(&PathBuf::from(dir).join("store.db"))).unwrap();
    let writers = (0..WRITERS).map(|writer| {
        let store = store.clone();
        std::thread::spawn(move || wait(write(store, writer, round, writes)))
    });
    let writers: Vec<_> = writers.collect();
    for writer in writers {
        writer.join().unwrap();
    }
}

pub(crate) fn is_durable(writer: u64) -> bool {
    writer.is_multiple_of(2)
}

async fn write(store: Store, writer: u64, round: u64, writes: u64) {
    // Relaxed writers go on for longer: at the end nothing is flushed for them.
    let writes = if is_durable(writer) {
        writes
    } else {
        writes.saturating_mul(2)
    };
    for n in 0..writes {
        let value = format!("{round}.{n}.{}", "x".repeat(300));
        let mut txn = put(&format!("/x/{writer}"), &value);
        // Two keys that have to stay alike, and some that come and go.
        txn.ops.extend(put(&format!("/y/{writer}"), &value).ops);
        let extra = Bytes::from(format!("/z/{writer}/{}", n % 5));
        let current = store.get(&extra).map_or(Revision(0), |kv| kv.mod_revision);
        txn.compares.push(Compare::Revision {
            key: extra.clone(),
            revision: current,
        });
        txn.ops.push(match current {
            Revision(0) => Op::Put {
                key: extra,
                value: value.into(),
                ttl: None,
            },
            _ => Op::Delete { key: extra },
        });
        if !is_durable(writer) {
            txn.durability = Durability::Relaxed;
        }
        match store.txn(txn).await.unwrap() {
            Outcome::Committed { revision } => {
                let line = format!("ack {writer} {n} {revision}\n");
                std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
            }
            conflict @ Outcome::Conflict { .. } => panic!("{conflict:?}"),
        }
    }
}

/// Every acknowledged write is there, at its revision; no revision is used twice; the history
/// has no hole; what was written together is there together.
#[test]
fn survives_kill_minus_nine() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = base::Rng::new(7);
    // Revision → who wrote what.
    let mut acknowledged: BTreeMap<u64, (u64, u64, u64)> = BTreeMap::new();
    for round in 0..ROUNDS {
        let number = PathBuf::from(round.to_string());
        let variables = [(DIRECTORY, dir.path()), (ROUND, &*number)];
        let name = "log::tests::crash::writes_until_killed";
        let mut child = child(name, &[], &variables);
        let output = BufReader::new(child.stdout.take().unwrap());
        let enough = 1 + rng.below(200);
        let mut seen = 0;
        for line in output.lines() {
            let line = line.unwrap();
            let Some(rest) = line.strip_prefix("ack ") else {
                continue;
            };
            let numbers: Vec<u64> = rest.split(' ').map(|n| n.parse().unwrap()).collect();
            let [writer, n, revision] = numbers[..] else {
                panic!("{line}")
            };
            let old = acknowledged.insert(revision, (writer, round, n));
            assert_eq!(old, None, "revision {revision} was given out twice");
            seen += 1;
            if seen == enough {
                std::thread::sleep(Duration::from_micros(rng.below(3000)));
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(seen >= enough, "the child of round {round} ended by itself");
        verify(&dir.path().join("store.db"), &acknowledged);
    }
}

fn verify(path: &Path, acknowledged: &BTreeMap<u64, (u64, u64, u64)>) {
    let store = Store::open(&Config::new(path)).unwrap();
    let mut watcher = store.watch(b"/x/", Revision(1)).unwrap();
    let mut written: BTreeMap<u64, Bytes> = BTreeMap::new();
    let mut last = 1;
    while let Some(batch) = watcher.try_next().unwrap() {
        for event in batch.events.iter() {
            assert_eq!(event.kind, EventKind::Put);
            let revision = event.kv.mod_revision.0;
            assert_eq!(revision, last + 1, "a hole in the history");
            last = revision;
            written.insert(revision, event.kv.value.clone());
        }
    }
    for (revision, (writer, round, n)) in acknowledged {
        let value = written.get(revision);
        let value = value.unwrap_or_else(|| panic!("acknowledged revision {revision} is lost"));
        assert!(
            value.starts_with(format!("{round}.{n}.").as_bytes()),
            "writer {writer}"
        );
    }
    let page = |prefix: &[u8]| store.range(&Range::prefix(prefix)).unwrap().items;
    for (x, y) in page(b"/x/").iter().zip(page(b"/y/")) {
        assert_eq!((&x.value, x.mod_revision), (&y.value, y.mod_revision));
    }
    // Writes go on behind everything that was ever given out.
    let outcome = wait(store.txn(Txn {
        ops: put("/x/probe", "").ops,
        ..Txn::default()
    }))
    .unwrap();
    assert_eq!(
        outcome,
        Outcome::Committed {
            revision: Revision(last + 1)
        }
    );
}
