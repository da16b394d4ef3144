//! The one thread that writes.
//!
//! Takes what waits in the queue as one batch, evaluates it on a [`Stage`], logs it in one
//! transaction, publishes it, answers. While a batch is being flushed the next one gathers: group
//! commit needs no timer. Between batches it expires keys, forgets old history, flushes relaxed
//! writes that waited for a second, and tidies the log when nobody waits.

mod engine;
mod queue;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::thread::JoinHandle;

use base::Clock;

use crate::StoreError;
use crate::codec::Encoder;
use crate::log::Log;
use crate::mvcc::RowName;
use crate::store::Core;
use crate::store::Retention;
use crate::writer::engine::Engine;
pub(crate) use crate::writer::queue::{Queue, Request};

/// The thread and the way to it. Dropping it writes what is queued and closes the log.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) queue: Arc<Queue>,
    thread: parking_lot::Mutex<Option<JoinHandle<()>>>,
}

/// All that the thread needs.
pub(crate) struct Parts {
    pub(crate) core: Arc<Core>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) log: Box<dyn Log>,
    pub(crate) encoder: Arc<Encoder>,
    pub(crate) retention: Retention,
    /// Told when much of the history was freed.
    pub(crate) freed: fn(),
    /// Where the log is, for messages.
    pub(crate) path: std::path::PathBuf,
    /// How far the log is compacted.
    pub(crate) compacted: u64,
    /// Rows to delete that were found at start.
    pub(crate) garbage: Vec<RowName>,
}

impl Writer {
    pub(crate) fn start(parts: Parts) -> Result<Writer, StoreError> {
        let queue = Arc::new(Queue::new());
        let theirs = Arc::clone(&queue);
        let path = parts.path.clone();
        let thread = std::thread::Builder::new().name("store-writer".into());
        let thread = thread.spawn(move || {
            // Also when it panics: nobody may wait for ever.
            let _closed = Closed(Arc::clone(&theirs), Arc::clone(&parts.core));
            Engine::new(parts).run(&theirs);
        });
        let thread = thread.map_err(|cause| StoreError::File {
            operation: "start the writer of",
            path,
            cause: Arc::new(cause),
        })?;
        Ok(Writer {
            queue,
            thread: parking_lot::Mutex::new(Some(thread)),
        })
    }

    /// Writes what is queued, closes the log, ends the watches.
    pub(crate) fn close(&self) {
        self.queue.close();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the store's writer panicked");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

struct Closed(Arc<Queue>, Arc<Core>);

impl Drop for Closed {
    fn drop(&mut self) {
        self.0.abandon();
        self.1.hub.close();
    }
}
