//! Watchers of one store: who is current, who lags, who is stuck.
//!
//! Owns the three groups and their order of delivery. Knows nothing of kinds, encodings or
//! sockets. Example: watcher at 5, store at 9 → lagging: reads 6..=9 from the history in steps,
//! then is current and gets what the writer publishes.
//! ```text
//!            history read up to the newest revision
//!   lagging ───────────────────────────────────────▶ current
//!      ▲                                                │ queue full
//!      │ own queue drained                              ▼
//!      └──────────────────────────────────────────── stuck
//! ```
//! A lagging watcher whose place was compacted ends with [`StoreError::Compacted`].
//! Source: etcd v3.6 server/storage/mvcc/watchable_store.go (synced, unsynced, victims).

mod hub;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;

pub(crate) use self::hub::Hub;
use crate::store::Core;
use crate::watch::hub::{Channel, Taken};
use crate::{Event, Revision, StoreError};

/// Changes looked at under one read lock by a lagging watcher.
const STEP: usize = 1024;

/// Some of what happened, in order; a revision is never split over two batches.
#[derive(Clone, Debug)]
pub struct WatchBatch {
    /// What happened; empty: progress only. Shared by all watchers of the same prefix.
    pub events: Arc<[Event]>,
    /// Everything up to here has now been delivered: what a bookmark may say.
    pub revision: Revision,
}

/// The changes under a prefix.
#[derive(Debug)]
pub struct Watcher {
    core: Arc<Core>,
    channel: Arc<Channel>,
}

impl Watcher {
    pub(crate) fn new(core: Arc<Core>, prefix: &[u8], from: u64) -> Watcher {
        let channel = core.hub.subscribe(Bytes::copy_from_slice(prefix), from);
        Watcher { core, channel }
    }

    /// The next changes. Cancelling it loses nothing.
    pub async fn next(&mut self) -> Result<WatchBatch, StoreError> {
        loop {
            if let Some(batch) = self.try_next()? {
                return Ok(batch);
            }
            self.channel.wait().await;
        }
    }

    /// The next changes if there are some now.
    pub fn try_next(&mut self) -> Result<Option<WatchBatch>, StoreError> {
        loop {
            match self.channel.take() {
                Taken::Batch(batch) => return Ok(Some(batch)),
                Taken::Nothing => return Ok(None),
                Taken::Closed => return Err(StoreError::Closed),
                Taken::ProgressWanted => return Ok(self.core.hub.progress(&self.channel)),
                Taken::Lagging(from) => {
                    let view = self.core.view.read();
                    let (events, upto) = view.changes(self.channel.prefix(), from, STEP)?;
                    drop(view);
                    self.core.hub.caught_up(&self.channel, upto);
                    if !events.is_empty() {
                        let revision = Revision(upto);
                        return Ok(Some(WatchBatch {
                            events: events.into(),
                            revision,
                        }));
                    }
                }
            }
        }
    }

    /// A handle with which another task asks this watcher for a sign of progress.
    pub fn progress_requester(&self) -> ProgressRequester {
        ProgressRequester {
            channel: Arc::clone(&self.channel),
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.core.hub.unsubscribe(&self.channel);
    }
}

/// Asks a [`Watcher`] for a batch, if need be an empty one, that says how far it is.
#[derive(Clone, Debug)]
pub struct ProgressRequester {
    channel: Arc<Channel>,
}

impl ProgressRequester {
    /// Makes [`Watcher::next`] return soon, with the newest revision once all before is delivered.
    pub fn request(&self) {
        self.channel.request_progress();
    }
}
