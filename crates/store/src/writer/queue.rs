//! What waits for the writer, bounded in bytes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::mvcc::RowName;
use crate::{Outcome, StoreError, Txn};

/// Requests in one batch.
const BATCH_REQUESTS: usize = 512;
/// Bytes in one batch, or one request if that has more.
const BATCH_BYTES: usize = 4 << 20;
/// Longest wait for one more request while a batch gathers, and how many of them at most.
const GATHER: Duration = Duration::from_micros(50);
const GATHER_STEPS: usize = 16;
/// Room for requests that wait, in units of [`UNIT_BYTES`]: 64 MiB.
const ROOM: u32 = 64 << 10;
const UNIT_BYTES: usize = 1024;

/// A transaction that waits for its answer.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) txn: Txn,
    /// The value of each put as the log takes it.
    pub(crate) sealed: Vec<Vec<u8>>,
    pub(crate) reply: oneshot::Sender<Result<Outcome, StoreError>>,
    pub(crate) _room: OwnedSemaphorePermit,
}

#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    ready: Condvar,
    room: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct State {
    requests: VecDeque<Request>,
    /// Compaction: how far, and rows to delete.
    purge: Option<u64>,
    rows: Vec<RowName>,
    closing: bool,
}

/// What the writer found.
#[derive(Debug, Default)]
pub(crate) struct Work {
    pub(crate) requests: Vec<Request>,
    pub(crate) purge: Option<u64>,
    pub(crate) rows: Vec<RowName>,
    pub(crate) closing: bool,
}

impl Queue {
    pub(crate) fn new() -> Queue {
        let room = Arc::new(Semaphore::new(ROOM as usize));
        Queue {
            state: Mutex::default(),
            ready: Condvar::new(),
            room,
        }
    }

    /// Waits until a request of `bytes` fits.
    pub(crate) async fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, StoreError> {
        let units = u32::try_from(1 + bytes / UNIT_BYTES).map_or(ROOM, |units| units.min(ROOM));
        let room = Arc::clone(&self.room).acquire_many_owned(units).await;
        room.map_err(|_| StoreError::Closed)
    }

    pub(crate) fn push(&self, request: Request) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        if state.closing {
            return Err(StoreError::Closed);
        }
        state.requests.push_back(request);
        drop(state);
        self.ready.notify_one();
        Ok(())
    }

    /// Tells the writer of a compaction.
    pub(crate) fn purge(&self, compacted: u64, rows: Vec<RowName>) {
        let mut state = self.state.lock();
        state.purge = state.purge.max(Some(compacted));
        state.rows.extend(rows);
        drop(state);
        self.ready.notify_one();
    }

    pub(crate) fn close(&self) {
        self.state.lock().closing = true;
        self.ready.notify_one();
    }

    /// The writer is gone: drops, and so answers, whatever waits.
    pub(crate) fn abandon(&self) {
        self.room.close();
        let mut state = self.state.lock();
        state.closing = true;
        state.requests.clear();
    }

    pub(crate) fn is_idle(&self) -> bool {
        let state = self.state.lock();
        state.requests.is_empty() && state.purge.is_none() && !state.closing
    }

    /// The next batch; none if `patience` ends before (no patience: waits for ever). If fewer than
    /// `expected` requests wait it is patient a little longer: who was just answered is about to
    /// ask again, and one flush for all costs less than two.
    pub(crate) fn take(&self, patience: Option<Duration>, expected: usize) -> Work {
        let mut state = self.state.lock();
        while state.requests.is_empty() && state.purge.is_none() && !state.closing {
            match patience {
                None => self.ready.wait(&mut state),
                Some(patience) => {
                    if self.ready.wait_for(&mut state, patience).timed_out() {
                        break;
                    }
                }
            }
        }
        let mut gathering = GATHER_STEPS;
        while gathering > 0 && (1..expected).contains(&state.requests.len()) && !state.closing {
            gathering -= 1;
            let before = state.requests.len();
            self.ready.wait_for(&mut state, GATHER);
            if state.requests.len() == before {
                break;
            }
        }
        let mut bytes = 0;
        let fits = |request: &&Request| {
            bytes += request.txn.bytes();
            bytes <= BATCH_BYTES
        };
        let fitting = state
            .requests
            .iter()
            .take(BATCH_REQUESTS)
            .take_while(fits)
            .count();
        let count = fitting.max(1).min(state.requests.len());
        let requests: Vec<Request> = state.requests.drain(..count).collect();
        Work {
            requests,
            purge: state.purge.take(),
            rows: std::mem::take(&mut state.rows),
            closing: state.closing && state.requests.is_empty(),
        }
    }
}
