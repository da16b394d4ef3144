//! The process whose power is cut: writers and a watcher on one store, reporting on standard
//! output.
//!
//! Every line is one write, so that the trace has it in its place among the flushes:
//! ```text
//! ack D 17             a durable transaction was acknowledged at revision 17 (R: relaxed)
//! saw 17 P /x/3 9f0c   a watcher was told: put of /x/3 at 17, checksum of its value
//! compacted 9          history up to 9 may be gone
//! quiet                all that was acknowledged is more than a second old
//! closed               the store was closed
//! ```

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use base::Rng;
use bytes::Bytes;
use store::{
    Compare, Config, Durability, EventKind, Op, Outcome, Revision, Store, StoreError, Txn,
};

const WRITERS: u64 = 6;

/// What the parent tells on the command line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) seed: u64,
    /// Transactions of each writer.
    pub(crate) writes: u64,
    /// Rests before the end for longer than a relaxed write waits for its flush.
    pub(crate) rest: bool,
    /// Ends as it should; otherwise just ends.
    pub(crate) close: bool,
}

/// The store's configuration in writer and checker.
pub(crate) fn config(dir: &Path, boot: &str) -> Config {
    Config {
        boot_id: boot.to_owned(),
        checkpoint_bytes: 64 << 10,
        ..Config::new(&dir.join("store.db"))
    }
}

/// Checksum by which values are compared.
pub(crate) fn sum(value: &[u8]) -> u32 {
    crc32fast::hash(value)
}

/// Writes, then ends.
pub(crate) fn run(dir: &Path, boot: &str, load: Load) -> Result<()> {
    let store = Store::open(&config(dir, boot)).context("open the store")?;
    let told = AtomicU64::new(store.current_revision().0);
    let mut rng = Rng::new(load.seed);
    let rngs: Vec<Rng> = (0..WRITERS).map(|_| rng.child("writer")).collect();
    std::thread::scope(|scope| -> Result<()> {
        let mut watcher = store
            .watch(b"", store.current_revision())
            .context("watch")?;
        let told = &told;
        scope.spawn(move || {
            wait(async {
                while let Ok(batch) = watcher.next().await {
                    let mut lines = String::new();
                    for event in batch.events.iter() {
                        let kind = if event.kind == EventKind::Put {
                            'P'
                        } else {
                            'D'
                        };
                        let key = String::from_utf8_lossy(&event.kv.key);
                        let (at, sum) = (event.kv.mod_revision, sum(&event.kv.value));
                        let written = writeln!(lines, "saw {at} {kind} {key} {sum:x}");
                        base::always!(written.is_ok(), "a string takes everything");
                    }
                    say(&lines);
                    told.store(batch.revision.0, Ordering::Release);
                }
            });
        });
        let writers = rngs.into_iter().zip(0..).map(|(rng, writer)| {
            let store = &store;
            scope.spawn(move || wait(write(store, writer, rng, load)))
        });
        let writers: Vec<_> = writers.collect();
        for writer in writers {
            writer
                .join()
                .map_err(|_| anyhow::anyhow!("a writer panicked"))??;
        }
        // What was committed shall also be told.
        while told.load(Ordering::Acquire) < store.current_revision().0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        if load.rest {
            std::thread::sleep(Duration::from_millis(1700));
            say("quiet\n");
        }
        if !load.close {
            // As a process ends that nobody asked: no destructor runs.
            say("killed\n");
            end();
        }
        store.close();
        say("closed\n");
        Ok(())
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "a process that does not tidy up is what is tested"
)]
fn end() -> ! {
    std::process::exit(0)
}

pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime without drivers needs nothing");
    runtime.block_on(future)
}

fn say(lines: &str) {
    if !lines.is_empty() {
        let said = std::io::stdout().lock().write_all(lines.as_bytes());
        base::always!(said.is_ok(), "the parent reads what is said");
    }
}

async fn write(store: &Store, writer: u64, mut rng: Rng, load: Load) -> Result<()> {
    let relaxed = writer % 2 == 1;
    // Relaxed writers go on for longer: at the end nothing is flushed for them.
    let writes = if relaxed {
        2 * load.writes
    } else {
        load.writes
    };
    for n in 0..writes {
        let txn = transaction(store, writer, n, relaxed, &mut rng);
        match store.txn(txn).await {
            Ok(Outcome::Committed { revision }) => {
                let class = if relaxed { 'R' } else { 'D' };
                say(&format!("ack {class} {revision}\n"));
            }
            // Somebody else's compare was faster, which is no news.
            Ok(Outcome::Conflict { .. }) => {}
            Err(StoreError::Closed) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        if writer == 0 && rng.below(24) == 0 {
            let upto = store.current_revision().0.saturating_sub(rng.below(60));
            if store.compact(Revision(upto)).is_ok() {
                // Further than asked for where a power cut left a gap.
                say(&format!("compacted {}\n", store.compacted_revision()));
            }
        }
    }
    Ok(())
}

/// Two keys that have to stay alike, one that comes and goes, one that all fight for.
fn transaction(store: &Store, writer: u64, n: u64, relaxed: bool, rng: &mut Rng) -> Txn {
    let mut noise = vec![0; usize::try_from(rng.below(1500)).unwrap_or_default()];
    rng.bytes(&mut noise);
    let mut value = format!("{writer}.{n}.").into_bytes();
    value.extend(noise);
    let value = Bytes::from(value);
    let put = |key: String| Op::Put {
        key: key.into(),
        value: value.clone(),
        ttl: None,
    };
    let mut txn = Txn {
        ops: vec![put(format!("/x/{writer}")), put(format!("/y/{writer}"))],
        durability: if relaxed {
            Durability::Relaxed
        } else {
            Durability::Durable
        },
        ..Txn::default()
    };
    let key = if rng.below(4) == 0 {
        "/shared".to_owned()
    } else {
        format!("/z/{writer}/{}", n % 5)
    };
    let current = store
        .get(key.as_bytes())
        .map_or(Revision(0), |kv| kv.mod_revision);
    txn.compares.push(Compare::Revision {
        key: key.clone().into(),
        revision: current,
    });
    txn.ops.push(match current {
        Revision(0) => put(key),
        _ => Op::Delete { key: key.into() },
    });
    txn
}
