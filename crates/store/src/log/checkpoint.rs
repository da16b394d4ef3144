//! Moves the write-ahead log into the database, on a thread and connection of its own.
//!
//! Passive: never in the way of a write. Under an endless stream of writes the log would still
//! grow, for it starts over only when all of it was moved; past [`LIMIT_TIMES`] the writer itself
//! moves the small rest between two batches.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;

use crate::mutants::{Mutant, planted};

/// Bytes written between two checkpoints, roughly, by default.
pub(crate) const EVERY_BYTES: usize = if cfg!(test) { 64 << 10 } else { 4 << 20 };
/// The writer helps when the log is so many times longer than that.
pub(crate) const LIMIT_TIMES: usize = if cfg!(test) { 4 } else { 8 };

/// The thread. Dropping it waits for the running checkpoint.
#[derive(Debug)]
pub(crate) struct Checkpointer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    wanted: Mutex<Wanted>,
    ready: Condvar,
    frames: AtomicI64,
}

#[derive(Debug, Default)]
struct Wanted {
    checkpoint: bool,
    end: bool,
}

impl Checkpointer {
    pub(crate) fn start(path: &Path) -> std::io::Result<Checkpointer> {
        let shared = Arc::new(Shared::default());
        let (theirs, path) = (Arc::clone(&shared), path.to_owned());
        let thread = std::thread::Builder::new().name("store-checkpoint".into());
        let thread = Some(thread.spawn(move || run(&theirs, &path))?);
        Ok(Checkpointer { shared, thread })
    }

    /// Asks for a checkpoint soon.
    pub(crate) fn request(&self) {
        self.shared.wanted.lock().checkpoint = true;
        self.shared.ready.notify_one();
    }

    /// Length of the log at the last checkpoint; once only.
    pub(crate) fn take_frames(&self) -> i64 {
        self.shared.frames.swap(0, Ordering::Relaxed)
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.shared.wanted.lock().end = true;
        self.shared.ready.notify_one();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            base::always!(ended.is_ok(), "the checkpoint thread does not panic");
        }
    }
}

fn run(shared: &Shared, path: &Path) {
    let mut connection = None;
    loop {
        let mut wanted = shared.wanted.lock();
        while !wanted.checkpoint && !wanted.end {
            shared.ready.wait(&mut wanted);
        }
        if wanted.end {
            return;
        }
        wanted.checkpoint = false;
        drop(wanted);
        match checkpoint(&mut connection, path) {
            Ok(frames) => shared.frames.store(frames, Ordering::Relaxed),
            Err(error) => {
                connection = None;
                let err = base::Chain(&error).to_string();
                tracing::warn!(path = %path.display(), err, "checkpoint failed, will retry");
            }
        }
    }
}

fn checkpoint(connection: &mut Option<Connection>, path: &Path) -> rusqlite::Result<i64> {
    let connection = match connection {
        Some(connection) => connection,
        None => {
            let new = Connection::open(path)?;
            new.execute_batch("PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0")?;
            if planted(Mutant::NoFlush) {
                new.execute_batch("PRAGMA synchronous = OFF")?;
            }
            connection.insert(new)
        }
    };
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(1))
}
