//! The front door: reads from the committed view, writes through the writer, watches.
//!
//! Cheap to clone; all clones are one store. The last one to go closes it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base::Clock;
use parking_lot::{Mutex, RwLock};
use tokio::sync::oneshot;

use crate::codec::Encoder;
use crate::log::sqlite::Sqlite;
use crate::log::{checkpoint, files};
use crate::mvcc::{Mvcc, Stage};
use crate::record::Entry;
use crate::seal::{KeyFile, NoSeal, Sealer};
use crate::watch::{Hub, Watcher};
use crate::writer::{Parts, Queue, Request, Writer};
use crate::{KeyValue, Marker, Op, Outcome, Page, Range, Revision, StoreError, Txn, marks};

/// Keys that a range reads under one read lock.
const STEP: usize = 1024;

/// How values are protected on disk.
#[derive(Clone, Debug)]
pub enum Seal {
    /// AES-256-GCM with the keys of this file, which is made together with the database.
    KeyFile(PathBuf),
    /// Something else.
    With(Arc<dyn Sealer>),
    /// Not at all.
    Off,
}

/// How much history is kept for watches and reads at a revision, whichever ends first.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Age.
    pub age: Duration,
    /// Changes.
    pub events: usize,
    /// Bytes of replaced and deleted values.
    pub bytes: usize,
}

impl Default for Retention {
    fn default() -> Retention {
        Retention {
            // As often as upstream compacts (--etcd-compaction-interval).
            age: Duration::from_secs(300),
            events: 200_000,
            bytes: 64 << 20,
        }
    }
}

/// A store on disk.
#[derive(Clone, Debug)]
pub struct Config {
    /// The database; files with the same beginning stand beside it.
    pub path: PathBuf,
    /// Protection of values.
    pub seal: Seal,
    /// Puts are refused above this size.
    pub ceiling_bytes: u64,
    /// Bytes written between two moves of the write-ahead log into the database.
    pub checkpoint_bytes: usize,
    /// How much history is kept.
    pub retention: Retention,
    /// Tells what values may be asked for ([`Range::having`]); by default nobody knows.
    pub marker: Marker,
    /// Called by the writer, which waits for it, when some MiB of history were freed: whoever owns
    /// the process may give them back to the kernel.
    pub freed: fn(),
    /// Tells the time that times to live are counted in.
    pub clock: Arc<dyn Clock>,
    /// Names this boot of the machine, by default the kernel's id: after an unclean stop under
    /// another name, what was not flushed counts as lost.
    pub boot_id: String,
}

impl Config {
    /// Defaults: sealed with a key file beside the database, 8 GiB.
    pub fn new(path: &Path) -> Config {
        Config {
            path: path.to_owned(),
            seal: Seal::KeyFile(files::beside(path, ".key")),
            ceiling_bytes: 8 << 30,
            checkpoint_bytes: checkpoint::EVERY_BYTES,
            retention: Retention::default(),
            marker: marks::unknown,
            freed: || (),
            clock: Arc::new(base::SystemClock),
            boot_id: files::boot_id(),
        }
    }

    fn sealer(&self, exists: bool) -> Result<Arc<dyn Sealer>, StoreError> {
        Ok(match &self.seal {
            Seal::Off => Arc::new(NoSeal),
            Seal::With(sealer) => Arc::clone(sealer),
            // A new key for an old database would only hide that the old one is gone; an old key
            // for a new database may seal others too.
            Seal::KeyFile(path) if exists || path.exists() => Arc::new(KeyFile::load(path)?),
            Seal::KeyFile(path) => Arc::new(KeyFile::create(path)?),
        })
    }
}

/// What readers, watchers and the writer share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) view: RwLock<Mvcc>,
    pub(crate) hub: Hub,
}

/// Sizes, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Keys.
    pub keys: usize,
    /// Bytes of keys and values.
    pub live_bytes: usize,
    /// Changes in the history.
    pub history_events: usize,
    /// Bytes that only the history keeps.
    pub history_bytes: usize,
}

/// A revisioned key-value store.
#[derive(Clone, Debug)]
pub struct Store {
    core: Arc<Core>,
    way: Arc<Way>,
}

/// How a transaction gets done.
#[derive(Debug)]
enum Way {
    /// At once, by the caller.
    Inline {
        clock: Arc<dyn Clock>,
        one: Mutex<()>,
        full: AtomicBool,
    },
    /// By the writer, through the log.
    Logged {
        writer: Writer,
        encoder: Arc<Encoder>,
    },
}

impl Store {
    /// Opens a store, or makes it. Reads all of it: blocks.
    pub fn open(config: &Config) -> Result<Store, StoreError> {
        let sealer = |exists| config.sealer(exists);
        let (log, loaded, sealer) = Sqlite::open(
            &config.path,
            config.ceiling_bytes,
            config.checkpoint_bytes,
            sealer,
            &config.boot_id,
            config.marker,
        )?;
        let compacted = loaded.mvcc.compacted().0;
        let core = Core::new(loaded.mvcc);
        let encoder = Arc::new(Encoder::new(sealer));
        let writer = Writer::start(Parts {
            core: Arc::clone(&core),
            clock: Arc::clone(&config.clock),
            log: Box::new(log),
            encoder: Arc::clone(&encoder),
            retention: config.retention,
            freed: config.freed,
            path: config.path.clone(),
            compacted,
            garbage: loaded.garbage,
        })?;
        Ok(Store {
            core,
            way: Arc::new(Way::Logged { writer, encoder }),
        })
    }

    /// A store on another log, that has nothing in it.
    #[cfg(test)]
    pub(crate) fn with_log(
        log: Box<dyn crate::log::Log>,
        encoder: Arc<Encoder>,
        clock: Arc<dyn Clock>,
        retention: Retention,
    ) -> Result<Store, StoreError> {
        let core = Core::new(Mvcc::new());
        let writer = Writer::start(Parts {
            core: Arc::clone(&core),
            clock,
            log,
            encoder: Arc::clone(&encoder),
            retention,
            freed: || (),
            path: PathBuf::from("memory"),
            compacted: 0,
            garbage: Vec::new(),
        })?;
        Ok(Store {
            core,
            way: Arc::new(Way::Logged { writer, encoder }),
        })
    }

    /// A store without a disk or a thread, for tests and the simulator: keys expire and history
    /// ends only when told to.
    pub fn in_memory(clock: Arc<dyn Clock>) -> Store {
        Store::in_memory_marked(clock, marks::unknown)
    }

    /// The same with the marks that [`Config::marker`] would tell.
    pub fn in_memory_marked(clock: Arc<dyn Clock>, marker: Marker) -> Store {
        let core = Core::new(Mvcc::at_compaction(0, marker));
        Store {
            core,
            way: Arc::new(Way::Inline {
                clock,
                one: Mutex::new(()),
                full: AtomicBool::new(false),
            }),
        }
    }

    /// Makes an in-memory store refuse puts as one on a full disk does, or take them again.
    pub fn fill(&self, is_full: bool) {
        if let Way::Inline { full, .. } = &*self.way {
            full.store(is_full, Ordering::Relaxed);
        }
    }

    /// Runs a transaction. Nothing happens until the future is polled; dropping it after that does
    /// not undo anything.
    pub fn txn(
        &self,
        txn: Txn,
    ) -> impl Future<Output = Result<Outcome, StoreError>> + Send + 'static {
        let store = self.clone();
        async move {
            txn.check()?;
            match &*store.way {
                Way::Inline { .. } => store.apply(&txn),
                Way::Logged { writer, encoder } => enqueue(&writer.queue, encoder, txn).await,
            }
        }
    }

    fn apply(&self, txn: &Txn) -> Result<Outcome, StoreError> {
        let Way::Inline { clock, one, full } = &*self.way else {
            return Err(StoreError::Closed);
        };
        let _one = one.lock();
        let put = |op: &&Op| matches!(op, Op::Put { .. });
        if full.load(Ordering::Relaxed)
            && let Some(Op::Put { key, .. }) = txn.ops.iter().find(put)
        {
            return Err(StoreError::Full {
                key: String::from_utf8_lossy(key).into_owned(),
                path: "memory".into(),
                reason: "as it was told".to_owned(),
                next_step: "tell it that there is room",
            });
        }
        let now_ms = clock.now().as_millisecond();
        let (outcome, stage) = {
            let view = self.core.view.read();
            let mut stage = view.stage();
            (view.evaluate(&mut stage, txn, now_ms), stage)
        };
        self.core.publish(stage);
        Ok(outcome)
    }

    /// The newest committed version of a key.
    pub fn get(&self, key: &[u8]) -> Option<KeyValue> {
        self.core.view.read().get(key)
    }

    /// Reads a range as it was at one revision.
    pub fn range(&self, range: &Range) -> Result<Page, StoreError> {
        let mut scan = self.core.view.read().scan(range)?;
        loop {
            // Writers get their turn between two steps.
            match self.core.view.read().step(&mut scan, STEP) {
                Ok(false) => {}
                Ok(true) => return Ok(scan.into_page()),
                // Compacted away while it was being read: whoever wants the newest gets it whole.
                Err(StoreError::Compacted { .. }) if range.at.is_none() => break,
                Err(error) => return Err(error),
            }
        }
        self.core.view.read().range(range)
    }

    /// Everything that happens to keys with `prefix` behind `from`, the last revision already
    /// known (of a list, an event or a bookmark).
    pub fn watch(&self, prefix: &[u8], from: Revision) -> Result<Watcher, StoreError> {
        self.core.view.read().check_watchable(from.0)?;
        Ok(Watcher::new(Arc::clone(&self.core), prefix, from.0))
    }

    /// The newest committed revision.
    pub fn current_revision(&self) -> Revision {
        self.core.view.read().revision()
    }

    /// The oldest revision that can be read or watched from.
    pub fn compacted_revision(&self) -> Revision {
        self.core.view.read().compacted()
    }

    /// Forgets history up to `revision`, whose state stays readable.
    pub fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        let rows = self.core.view.write().compact(revision.0)?;
        if let Way::Logged { writer, .. } = &*self.way {
            writer.queue.purge(revision.0, rows);
        }
        Ok(())
    }

    /// Deletes the keys whose time is up; only an in-memory store needs to be told.
    pub fn expire(&self) {
        let Way::Inline { clock, .. } = &*self.way else {
            return;
        };
        let due = self
            .core
            .view
            .read()
            .expired(clock.now().as_millisecond(), usize::MAX);
        for key in due {
            let done = self.apply(&Txn {
                ops: vec![Op::Delete { key }],
                ..Txn::default()
            });
            base::always!(done.is_ok(), "a delete without compares cannot fail");
        }
    }

    /// Sizes, for metrics.
    pub fn stats(&self) -> Stats {
        let view = self.core.view.read();
        let (history_events, history_bytes) = view.history();
        Stats {
            keys: view.len(),
            live_bytes: view.live_bytes(),
            history_events,
            history_bytes,
        }
    }

    /// Writes what is queued, ends all watches and marks a clean stop. Blocks. Reads go on
    /// working; transactions fail with [`StoreError::Closed`].
    pub fn close(&self) {
        match &*self.way {
            Way::Inline { .. } => self.core.hub.close(),
            Way::Logged { writer, .. } => writer.close(),
        }
    }
}

/// Seals in the caller's thread, then waits for the writer.
async fn enqueue(queue: &Queue, encoder: &Encoder, txn: Txn) -> Result<Outcome, StoreError> {
    let room = queue.room(txn.bytes()).await?;
    let mut sealed = Vec::with_capacity(txn.ops.len());
    for op in &txn.ops {
        sealed.push(match op {
            Op::Delete { .. } => Vec::new(),
            Op::Put { key, value, .. } => {
                encoder
                    .encode(key, value)
                    .map_err(|cause| StoreError::Seal {
                        key: crate::txn::display(key),
                        cause,
                    })?
            }
        });
    }
    let (reply, answer) = oneshot::channel();
    queue.push(Request {
        txn,
        sealed,
        reply,
        _room: room,
    })?;
    answer.await.map_err(|_| StoreError::Closed)?
}

impl Core {
    fn new(mvcc: Mvcc) -> Arc<Core> {
        let hub = Hub::default();
        hub.start(mvcc.revision().0);
        Arc::new(Core {
            view: RwLock::new(mvcc),
            hub,
        })
    }

    /// Shows what the log has taken to readers, then to watchers.
    pub(crate) fn publish(&self, stage: Stage) {
        if stage.entries().is_empty() {
            return;
        }
        let entries: Vec<Entry> = stage.entries().to_vec();
        let revision = stage.revision();
        self.view.write().publish(stage);
        self.hub
            .publish(revision, || entries.iter().map(Entry::to_event).collect());
    }
}
