//! What the writer does between two waits.
//!
//! ```text
//! work ─▶ evaluate on a stage ─▶ log ──ok──▶ publish ─▶ answer
//!                                 ├─full──▶ drop the stage, fail its requests by name
//!                                 └─broken▶ reopen: the batch is there → publish, answer
//!                                                   it is not          → fail its requests
//!                                                   cannot reopen      → outcome unknown; refuse
//!                                                                        writes, try again later
//! ```

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::log::{LogError, Row};
use crate::mutants::{Mutant, planted};
use crate::mvcc::{RowName, Stage};
use crate::record::Entry;
use crate::writer::{Parts, Queue, Request};
use crate::{Durability, Op, Outcome, Revision, StoreError, Txn};

/// How long a relaxed write may wait for a flush.
const RELAXED: Duration = Duration::from_secs(1);
/// Rest between two tries to open a broken log, and between two rounds of expiry.
const REST: Duration = Duration::from_millis(500);
/// Longest sleep while keys have a time to live: wall time may jump.
const WATCHFUL: Duration = Duration::from_secs(60);
/// Keys that expire in one batch.
const EXPIRE: usize = 256;
/// Rows deleted in one transaction.
const PURGE: usize = 512;
/// What history keeps of a change besides the bytes of the record that it replaced, roughly.
const EVENT_BYTES: usize = 256;
/// So much freed history is told at once.
const FREED_BYTES: usize = if cfg!(test) { 64 << 10 } else { 4 << 20 };

pub(crate) struct Engine {
    parts: Parts,
    /// Since when relaxed writes wait for a flush.
    unflushed: Option<Instant>,
    /// Of history since `Parts::freed` was called.
    freed_bytes: usize,
    /// When which revision was the newest: what age means.
    samples: VecDeque<(Instant, u64)>,
    purged: u64,
    unneeded: VecDeque<RowName>,
    broken: Option<Broken>,
    expired: Option<Instant>,
    /// The last batch found no room.
    out_of_room: bool,
}

/// The log failed, and did not open again yet.
struct Broken {
    cause: Arc<rusqlite::Error>,
    /// The batch that may or may not be in it.
    doubtful: Option<Stage>,
    tried: Instant,
}

/// What to tell a request whose batch was taken.
type Answered = (Request, Outcome, Range<usize>);

impl Engine {
    pub(crate) fn new(mut parts: Parts) -> Engine {
        let unneeded = VecDeque::from(std::mem::take(&mut parts.garbage));
        let revision = parts.core.view.read().revision().0;
        // Not the view's: somebody may have compacted it before this thread got going.
        let purged = parts.compacted;
        Engine {
            parts,
            unflushed: None,
            freed_bytes: 0,
            samples: VecDeque::from([(Instant::now(), revision)]),
            purged,
            unneeded,
            broken: None,
            expired: None,
            out_of_room: false,
        }
    }

    /// Works until the queue is closed.
    pub(crate) fn run(mut self, queue: &Queue) {
        let mut expected = 0;
        loop {
            let work = queue.take(self.patience(), expected);
            expected = work.requests.len().max(expected / 2);
            self.turn(work.requests);
            self.forget(work.purge, work.rows);
            while queue.is_idle() && self.tidy() {}
            if work.closing {
                break;
            }
        }
        // What is left after that is recognised as garbage at the next start.
        for _ in 0..8 {
            self.purge();
        }
        let revision = self.revision();
        if self.broken.is_none()
            && let Err(error) = self.parts.log.close(revision)
        {
            self.warn(&error, "close failed, the next start checks the database");
        }
    }

    /// One batch, with what is due beside it.
    fn turn(&mut self, requests: Vec<Request>) {
        if self.broken.is_some() && !self.mend() {
            for request in requests {
                let error = self.refusal(&request.txn);
                answer(request, Err(error));
            }
            return;
        }
        if let Err(error) = self.parts.log.relieve() {
            self.settled(Err(error), Durability::Relaxed);
        }
        self.expire();
        if !requests.is_empty() {
            self.batch(requests);
        }
        if self
            .unflushed
            .is_some_and(|since| since.elapsed() >= RELAXED)
        {
            let revision = self.revision();
            let flushed = self.parts.log.flush(revision);
            self.settled(flushed, Durability::Durable);
        }
    }

    /// How long to wait for requests before something is due.
    fn patience(&self) -> Option<Duration> {
        let mut patience: Option<Duration> = None;
        let mut due = |after: Duration| {
            patience = Some(patience.map_or(after, |patience| patience.min(after)));
        };
        if let Some(since) = self.unflushed {
            due(RELAXED.saturating_sub(since.elapsed()));
        }
        if let Some(broken) = &self.broken {
            due(REST.saturating_sub(broken.tried.elapsed()));
        }
        let view = self.parts.core.view.read();
        if let Some(next) = view.next_expiry() {
            let left = next.saturating_sub(self.now_ms()).max(0);
            let left = Duration::from_millis(left.cast_unsigned()).min(WATCHFUL);
            let rest = self
                .expired
                .map_or(Duration::ZERO, |at| REST.saturating_sub(at.elapsed()));
            due(left.max(rest));
        }
        let (events, _) = view.history();
        if events > 0
            && let Some((at, _)) = self.samples.front()
        {
            due(self.parts.retention.age.saturating_sub(at.elapsed()));
        }
        patience
    }

    fn batch(&mut self, requests: Vec<Request>) {
        let full = self.parts.log.full();
        let now_ms = self.now_ms();
        let mut durability = Durability::Relaxed;
        let mut answered: Vec<Answered> = Vec::with_capacity(requests.len());
        let view = self.parts.core.view.read();
        let mut stage = view.stage();
        for request in requests {
            let puts = request
                .txn
                .ops
                .iter()
                .any(|op| matches!(op, Op::Put { .. }));
            if let Some(reason) = full.as_ref().filter(|_| puts) {
                let (key, path) = (request.txn.name(), self.parts.path.clone());
                answer(
                    request,
                    Err(StoreError::Full {
                        key,
                        path,
                        reason: reason.clone(),
                        next_step: "delete objects or raise the limit; \
                                    history is given back by compaction",
                    }),
                );
                continue;
            }
            let start = stage.entries().len();
            let outcome = view.evaluate(&mut stage, &request.txn, now_ms);
            let rows = start..stage.entries().len();
            if request.txn.durability == Durability::Durable
                && !rows.is_empty()
                && !planted(Mutant::AnswerBeforeFlush)
            {
                durability = Durability::Durable;
            }
            answered.push((request, outcome, rows));
        }
        drop(view);
        self.log(stage, answered, durability);
    }

    /// Logs and publishes a stage, and answers.
    fn log(&mut self, stage: Stage, answered: Vec<Answered>, durability: Durability) {
        if stage.entries().is_empty() {
            for (request, outcome, _) in answered {
                answer(request, Ok(outcome));
            }
            return;
        }
        let batch = rows(stage.entries(), &answered);
        let logged = self.parts.log.commit(&batch, durability);
        drop(batch);
        let mut answered = answered;
        if planted(Mutant::AnswerBeforeView) && logged.is_ok() {
            for (request, outcome, _) in answered.drain(..) {
                answer(request, Ok(outcome));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let in_log = match &logged {
            Ok(()) => {
                self.settled(Ok(()), durability);
                if std::mem::take(&mut self.out_of_room) {
                    tracing::info!(path = %self.parts.path.display(), "there is room again");
                }
                self.parts.core.publish(stage);
                self.retain();
                true
            }
            Err(LogError::Full(cause)) => {
                if !std::mem::replace(&mut self.out_of_room, true) {
                    tracing::error!(
                        path = %self.parts.path.display(),
                        err = %base::Chain(cause),
                        "no room for writes: free space on the store's file system"
                    );
                }
                false
            }
            Err(LogError::Broken(cause)) => {
                tracing::error!(
                    path = %self.parts.path.display(),
                    err = %base::Chain(cause),
                    "the store's log failed, opening it again"
                );
                let (before, cause) = (self.revision(), Arc::clone(cause));
                let doubtful = Some(stage);
                self.broken = Some(Broken {
                    cause,
                    doubtful,
                    tried: Instant::now(),
                });
                self.reopen() && self.revision() > before
            }
        };
        for (request, outcome, rows) in answered {
            // Nothing staged before it: the answer rests on what is committed.
            let result = if in_log || rows.end == 0 {
                Ok(outcome)
            } else {
                Err(self.failure(&request.txn, &logged))
            };
            answer(request, result);
        }
    }

    /// Keeps the books after something reached the log, or did not.
    fn settled(&mut self, result: Result<(), LogError>, durability: Durability) {
        match result {
            Ok(()) if durability == Durability::Durable => self.unflushed = None,
            Ok(()) if planted(Mutant::NeverFlushed) => {}
            Ok(()) => {
                self.unflushed.get_or_insert_with(Instant::now);
            }
            Err(LogError::Full(cause)) => {
                // Room may come; a relaxed write waits a little longer for its flush.
                self.unflushed = self.unflushed.map(|_| Instant::now());
                self.warn(&LogError::Full(cause), "no room for housekeeping");
            }
            Err(LogError::Broken(cause)) => {
                self.warn(
                    &LogError::Broken(Arc::clone(&cause)),
                    "log failed, opening it again",
                );
                self.broken = Some(Broken {
                    cause,
                    doubtful: None,
                    tried: Instant::now(),
                });
                self.reopen();
            }
        }
    }

    /// Tries to reopen, but not too often.
    fn mend(&mut self) -> bool {
        match &mut self.broken {
            Some(broken) if broken.tried.elapsed() < REST => false,
            Some(broken) => {
                broken.tried = Instant::now();
                self.reopen()
            }
            None => true,
        }
    }

    /// Opens the log again and brings log and view together; false: still broken.
    fn reopen(&mut self) -> bool {
        let newest = match self.parts.log.reopen() {
            Ok(newest) => newest,
            Err(error) => {
                self.warn(&error, "the log does not open");
                return false;
            }
        };
        let doubtful = self
            .broken
            .as_mut()
            .and_then(|broken| broken.doubtful.take());
        let (revision, compacted) = {
            let view = self.parts.core.view.read();
            (view.revision().0, view.compacted().0)
        };
        if newest > revision {
            let Some(stage) = doubtful.filter(|stage| stage.revision() == newest) else {
                let cause = "the database holds revisions that this process did not write";
                tracing::error!(newest, revision, "{cause}");
                return false;
            };
            self.parts.core.publish(stage);
        }
        if newest < revision {
            // Relaxed writes were lost in the failed flush, but they are still here.
            if newest < compacted || !self.write_again(newest) {
                tracing::error!(newest, revision, "history that the log lost is gone");
                return false;
            }
        }
        self.broken = None;
        self.unflushed = None;
        tracing::info!(revision = self.revision(), "the store's log is open again");
        true
    }

    /// Logs once more what the view has and the log has lost.
    fn write_again(&mut self, from: u64) -> bool {
        let view = self.parts.core.view.read();
        let entries: Vec<Entry> = view.entries_behind(from).cloned().collect();
        drop(view);
        let mut values = Vec::with_capacity(entries.len());
        for entry in &entries {
            let record = &entry.record;
            let Ok(value) = self.parts.encoder.encode(record.key(), record.value()) else {
                return false;
            };
            values.push(value);
        }
        let rows: Vec<Row<'_>> = entries
            .iter()
            .zip(&values)
            .map(|(entry, value)| row(entry, value))
            .collect();
        self.parts.log.commit(&rows, Durability::Durable).is_ok()
    }

    /// Deletes keys whose time is up.
    fn expire(&mut self) {
        let now_ms = self.now_ms();
        let view = self.parts.core.view.read();
        if view.next_expiry().is_none_or(|next| next > now_ms) {
            return;
        }
        if self.expired.is_some_and(|at| at.elapsed() < REST) {
            return;
        }
        self.expired = Some(Instant::now());
        let keys: Vec<Bytes> = view.expired(now_ms, EXPIRE);
        let mut stage = view.stage();
        for key in keys {
            let txn = Txn {
                ops: vec![Op::Delete { key }],
                ..Txn::default()
            };
            view.evaluate(&mut stage, &txn, now_ms);
        }
        drop(view);
        self.log(stage, Vec::new(), Durability::Relaxed);
    }

    /// Ends history that is too old or too much.
    fn retain(&mut self) {
        let retention = self.parts.retention;
        let view = self.parts.core.view.read();
        let (events, bytes) = view.history();
        let mut upto = None;
        if events > retention.events || bytes > retention.bytes {
            upto = view.middle();
        }
        let revision = view.revision().0;
        drop(view);
        let recent = self
            .samples
            .back()
            .map_or(Duration::MAX, |(at, _)| at.elapsed());
        if recent >= retention.age / 8 {
            self.samples.push_back((Instant::now(), revision));
        }
        if let Some(upto) = upto {
            self.compact(upto);
        }
    }

    fn compact(&mut self, upto: u64) {
        let mut view = self.parts.core.view.write();
        let (events, bytes) = view.history();
        let compacted = view.compact(upto);
        let (events_left, bytes_left) = view.history();
        drop(view);
        // Somebody else may have compacted further: then there is nothing to do.
        if let Ok(rows) = compacted {
            self.unneeded.extend(rows);
        }
        self.freed_bytes += bytes - bytes_left + EVENT_BYTES * (events - events_left);
        if self.freed_bytes >= FREED_BYTES {
            self.freed_bytes = 0;
            (self.parts.freed)();
        }
    }

    /// Takes note of a compaction, and does the one that age asks for.
    fn forget(&mut self, purge: Option<u64>, rows: Vec<RowName>) {
        base::always!(
            purge.is_some() || rows.is_empty(),
            "rows come with a compaction"
        );
        self.unneeded.extend(rows);
        let mut upto = None;
        while let Some((at, revision)) = self.samples.front().copied() {
            if at.elapsed() < self.parts.retention.age {
                break;
            }
            upto = Some(revision);
            self.samples.pop_front();
        }
        if self.samples.is_empty() {
            let revision = self.revision();
            self.samples.push_back((Instant::now(), revision));
        }
        if let Some(upto) = upto {
            self.compact(upto);
        }
        // A writer that is never idle still has to give room back.
        if self.unneeded.len() > 16 * PURGE {
            self.purge();
        }
    }

    /// Deletes some rows that compaction made useless; false: there are none.
    fn purge(&mut self) -> bool {
        let (revision, compacted) = {
            let view = self.parts.core.view.read();
            (view.revision().0, view.compacted().0)
        };
        if self.broken.is_some() || (self.unneeded.is_empty() && self.purged == compacted) {
            return false;
        }
        let count = self.unneeded.len().min(PURGE);
        let rows: Vec<RowName> = self.unneeded.drain(..count).collect();
        let purged = self.parts.log.purge(compacted, revision, &rows);
        let done = purged.is_ok();
        if done {
            self.purged = compacted;
        } else {
            self.unneeded.extend(rows);
        }
        self.settled(purged, Durability::Relaxed);
        done
    }

    /// One step of housekeeping; false: nothing left to do.
    fn tidy(&mut self) -> bool {
        if self.broken.is_some() {
            return false;
        }
        if self.purge() {
            return true;
        }
        match self.parts.log.tidy() {
            Ok(more) => more,
            Err(error) => {
                self.settled(Err(error), Durability::Relaxed);
                false
            }
        }
    }

    fn revision(&self) -> u64 {
        let Revision(revision) = self.parts.core.view.read().revision();
        revision
    }

    fn now_ms(&self) -> i64 {
        self.parts.clock.now().as_millisecond()
    }

    /// For a request whose batch failed.
    fn failure(&self, txn: &Txn, logged: &Result<(), LogError>) -> StoreError {
        let (key, path) = (txn.name(), self.parts.path.clone());
        match logged {
            Err(LogError::Full(cause)) => StoreError::Full {
                key,
                path,
                reason: cause.to_string(),
                next_step: "free space on its file system",
            },
            Err(LogError::Broken(cause)) if self.broken.is_some() => StoreError::Unknown {
                key,
                path,
                cause: Arc::clone(cause),
            },
            Err(LogError::Broken(cause)) => StoreError::Write {
                key,
                path,
                cause: Arc::clone(cause),
            },
            Ok(()) => StoreError::Closed,
        }
    }

    /// For a request that came while the log is broken.
    fn refusal(&self, txn: &Txn) -> StoreError {
        let (key, path) = (txn.name(), self.parts.path.clone());
        match &self.broken {
            Some(broken) => StoreError::Write {
                key,
                path,
                cause: Arc::clone(&broken.cause),
            },
            None => StoreError::Closed,
        }
    }

    fn warn(&self, error: &LogError, message: &'static str) {
        let (LogError::Full(cause) | LogError::Broken(cause)) = error;
        tracing::warn!(path = %self.parts.path.display(), err = %base::Chain(cause), "{message}");
    }
}

fn answer(request: Request, result: Result<Outcome, StoreError>) {
    // Nobody waits any more: nothing to tell.
    drop(request.reply.send(result));
}

/// Each entry with the sealed value of the operation that made it.
fn rows<'a>(entries: &'a [Entry], answered: &'a [Answered]) -> Vec<Row<'a>> {
    if answered.is_empty() {
        return entries.iter().map(|entry| row(entry, &[])).collect();
    }
    let of = |(request, _, range): &'a Answered| {
        entries[range.clone()].iter().map(|entry| {
            let value = &request.sealed[usize::from(entry.record.sub())];
            row(entry, value)
        })
    };
    answered.iter().flat_map(of).collect()
}

fn row<'a>(entry: &'a Entry, value: &'a [u8]) -> Row<'a> {
    Row {
        entry,
        value: (!entry.record.deleted()).then_some(value),
    }
}
