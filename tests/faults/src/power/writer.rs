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
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use base::Rng;
use bytes::Bytes;
use store::{
    Compare, Config, Durability, EventKind, Marks, Op, Outcome, Revision, Store, StoreError, Txn,
    Watcher,
};
use tokio::sync::watch;

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
        marker,
        ..Config::new(&dir.join("store.db"))
    }
}

/// A value has one term: the last bits of its first byte.
pub(crate) fn marker(value: &[u8]) -> Marks {
    value.first().map_or(Marks::NONE, |first| term(*first))
}

/// What is asked for to see the values whose first byte ends so.
pub(crate) fn term(bits: u8) -> Marks {
    Marks::of(&[&[bits & 3]])
}

/// Checksum by which values are compared.
pub(crate) fn sum(value: &[u8]) -> u32 {
    crc32fast::hash(value)
}

/// Writes, then ends.
pub(crate) fn run(dir: &Path, boot: &str, load: Load) -> Result<()> {
    let store = Store::open(&config(dir, boot)).context("open the store")?;
    let from = store.current_revision();
    let watcher = store.watch(b"", from).context("watch")?;
    let (tell, told) = watch::channel(from.0);
    let mut rng = Rng::new(load.seed);
    let rngs: Vec<Rng> = (0..WRITERS).map(|_| rng.child("writer")).collect();
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| wait(follow(watcher, tell)));
        let writers = rngs.into_iter().zip(0..).map(|(rng, writer)| {
            let (store, told) = (&store, told.clone());
            scope.spawn(move || wait(write(store, writer, rng, load, &told)))
        });
        let writers: Vec<_> = writers.collect();
        let mut wrote = Ok(());
        for writer in writers {
            wrote = wrote.and(joined(writer));
        }
        // What was committed shall also be told.
        let last = store.current_revision().0;
        let all_told = wait(told.clone().wait_for(|told| *told >= last)).is_ok();
        if wrote.is_err() || !all_told {
            // Else the watcher waits for more, and this process for the watcher.
            store.close();
            wrote?;
            joined(watching)?;
            bail!("the watcher ended before it was told of {last}");
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
        joined(watching)
    })
}

fn joined(thread: ScopedJoinHandle<'_, Result<()>>) -> Result<()> {
    let result = thread.join();
    result.map_err(|_| anyhow::anyhow!("a thread panicked"))?
}

/// Reports what the watcher is told, until the store is closed.
async fn follow(mut watcher: Watcher, tell: watch::Sender<u64>) -> Result<()> {
    loop {
        let batch = match watcher.next().await {
            Ok(batch) => batch,
            Err(StoreError::Closed) => return Ok(()),
            Err(error) => return Err(error).context("the watcher is told no more"),
        };
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
        tell.send_replace(batch.revision.0);
    }
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

async fn write(
    store: &Store,
    writer: u64,
    mut rng: Rng,
    load: Load,
    told: &watch::Receiver<u64>,
) -> Result<()> {
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
            // What the watcher was not told yet stays: what it saw is the truth of this test.
            let upto = store.current_revision().0.saturating_sub(rng.below(60));
            let upto = upto.min(*told.borrow());
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
