//! Following a part of the store: woken by every change under a prefix, and by lost history.
//!
//! The follower says only that something changed; its owner then reads all of it again, so a
//! follower that was too slow loses nothing: where the history it still needs has been compacted,
//! it follows on from the present and wakes its owner once more.
//! Example: follows from 5, is slow; the store compacts up to 9 → wakes, follows from 12; a change
//! at 13 → wakes. Knows nothing of what is stored.

use std::borrow::Cow;
use std::sync::{Arc, Weak};

use base::{Chain, Shutdown};
use bytes::Bytes;
use store::{Retry, Revision, Store, StoreError, Watcher};

use crate::Server;

/// See the module's header.
pub(crate) struct Follower {
    store: Store,
    prefix: Bytes,
    state: State,
}

enum State {
    /// Watching.
    Watching(Watcher),
    /// What came after this revision is yet to be watched.
    From(Revision),
    /// What was watched is lost; all must be read again.
    Lost,
}

impl Follower {
    /// Follows what comes under `prefix` after `from`.
    pub(crate) fn new(store: Store, prefix: Bytes, from: Revision) -> Self {
        let state = State::From(from);
        Self {
            store,
            prefix,
            state,
        }
    }

    /// The prefix, as logs name it.
    fn name(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.prefix)
    }

    /// Runs `changed` with the server after every change, until the server or the store ends.
    pub(crate) async fn run<F, R>(mut self, server: Weak<Server>, shutdown: Shutdown, changed: F)
    where
        F: Fn(Arc<Server>) -> R,
        R: Future<Output = ()>,
    {
        let ended = loop {
            if let Err(error) = self.changed().await {
                break error;
            }
            let Some(server) = server.upgrade() else {
                tracing::debug!(prefix = %self.name(), "the server is gone");
                return;
            };
            changed(server).await;
        };
        // A store that closes while the server ends is no news.
        if !shutdown.is_triggered() {
            let (prefix, err) = (self.name(), Chain(&ended));
            tracing::error!(%prefix, %err, "changes are no longer followed");
        }
    }

    /// Waits until something changed, or may have. An error is the end: nothing will follow.
    pub(crate) async fn changed(&mut self) -> Result<(), StoreError> {
        loop {
            let result = match &mut self.state {
                State::Watching(watcher) => match watcher.next().await {
                    Ok(batch) if batch.events.is_empty() => continue,
                    result => result.map(|_| ()),
                },
                State::From(from) => match self.store.watch(&self.prefix, *from) {
                    Ok(watcher) => {
                        self.state = State::Watching(watcher);
                        continue;
                    }
                    Err(error) => Err(error),
                },
                State::Lost => {
                    // From before the owner reads: what comes meanwhile wakes it again.
                    self.state = State::From(self.store.current_revision());
                    return Ok(());
                }
            };
            match result {
                Err(error) if error.retry() == Retry::Restart => {
                    tracing::warn!(
                        prefix = %String::from_utf8_lossy(&self.prefix), err = %Chain(&error),
                        "history is gone: everything is read again"
                    );
                    self.state = State::Lost;
                }
                result => return result,
            }
        }
    }
}

#[cfg(test)]
mod tests;
