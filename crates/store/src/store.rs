//! The front door: reads from the committed view, writes through the writer, watches.
//!
//! Cheap to clone; all clones are one store.

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use base::Clock;

use crate::mvcc::{Mvcc, Stage};
use crate::record::Entry;
use crate::watch::{Hub, Watcher};
use crate::{KeyValue, Outcome, Page, Range, Revision, StoreError, Txn};

/// Keys that a range reads under one read lock.
const STEP: usize = 1024;

/// What readers, watchers and the writer share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) view: RwLock<Mvcc>,
    pub(crate) hub: Hub,
}

/// A revisioned key-value store.
#[derive(Clone, Debug)]
pub struct Store {
    core: Arc<Core>,
    clock: Arc<dyn Clock>,
    writer: Arc<Mutex<()>>,
}

impl Store {
    /// A store without a disk or a thread, for tests and the simulator: a transaction is done
    /// when [`Store::txn`] returns, keys expire when [`Store::expire`] is called.
    pub fn in_memory(clock: Arc<dyn Clock>) -> Store {
        let mvcc = Mvcc::new();
        let hub = Hub::default();
        hub.start(mvcc.revision().0);
        let core = Arc::new(Core {
            view: RwLock::new(mvcc),
            hub,
        });
        Store {
            core,
            clock,
            writer: Arc::new(Mutex::new(())),
        }
    }

    /// Runs a transaction. Dropping the future does not undo it.
    pub fn txn(
        &self,
        txn: Txn,
    ) -> impl Future<Output = Result<Outcome, StoreError>> + Send + 'static {
        let outcome = self.apply(&txn);
        async move { outcome }
    }

    fn apply(&self, txn: &Txn) -> Result<Outcome, StoreError> {
        txn.check()?;
        let _one = self.writer.lock();
        let now_ms = self.clock.now().as_millisecond();
        let (outcome, stage) = {
            let view = self.core.view.read();
            let mut stage = Stage::new(view.revision().0);
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
        while !self.core.view.read().step(&mut scan, STEP)? {}
        Ok(scan.into_page())
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
        self.core.view.write().compact(revision.0).map(drop)
    }

    /// Deletes the keys whose time is up; only an in-memory store needs to be told.
    pub fn expire(&self) {
        let now_ms = self.clock.now().as_millisecond();
        let due = self.core.view.read().expired(now_ms, usize::MAX);
        for key in due {
            let ops = vec![crate::Op::Delete { key }];
            let done = self.apply(&Txn {
                ops,
                ..Txn::default()
            });
            base::always!(done.is_ok(), "a delete without compares cannot fail");
        }
    }
}

impl Core {
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
