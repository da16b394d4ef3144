//! Histories of concurrent clients of the real API, and whether one sequence explains them.
//!
//! Owns the run: clients that create, read, update, delete and list a few ConfigMaps, watchers
//! that follow them all, and what disturbs them: compaction, restarts, watchers that sleep.
//! [`check`] decides afterwards. The server is in this process, over a store on disk, or the one
//! of a kubeconfig, over TLS; then nobody disturbs.

mod check;
mod client;
mod server;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use base::Rng;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::finding::Finding;

/// Everything that was asked and answered.
#[derive(Debug, Default)]
pub(crate) struct History {
    calls: Vec<Call>,
    spans: Vec<Span>,
}

/// A call of one client. Times are numbers of a common counter.
#[derive(Clone, Debug)]
struct Call {
    key: String,
    asked: Asked,
    begun: u64,
    ended: u64,
    answer: Answer,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked {
    Create { value: String },
    Update { value: String, at: u64 },
    Delete { at: u64 },
    Get,
    List,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    /// The object is this now, or was when it was read.
    Object {
        at: u64,
        value: String,
    },
    Deleted,
    Absent,
    /// Not what the caller thought: conflict, or exists already.
    Refused,
    Listed {
        at: u64,
        items: Vec<Item>,
    },
    /// No answer: it may have been done.
    Unknown(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Item {
    key: String,
    at: u64,
    value: String,
}

/// What one watcher was told without a list in between: all behind `from`, up to `upto`.
#[derive(Clone, Debug, Default)]
struct Span {
    watcher: usize,
    from: u64,
    upto: u64,
    seen: Vec<Seen>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    kind: Kind,
    at: u64,
    key: String,
    value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Added,
    Modified,
    Deleted,
    /// No event: everything up to here was told.
    Bookmark,
}

/// What to do.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) seed: u64,
    /// Calls of all clients together.
    pub(crate) calls: u64,
    pub(crate) clients: u64,
    /// The cluster; without it a server in this process.
    pub(crate) kubeconfig: Option<PathBuf>,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) calls: usize,
    pub(crate) events: usize,
    pub(crate) unknown: usize,
    pub(crate) spans: usize,
    pub(crate) restarts: u64,
    pub(crate) compactions: u64,
    pub(crate) resumed: u64,
    pub(crate) expired: u64,
}

/// How a run ended.
pub(crate) type Ended = std::result::Result<Figures, (Finding, Figures)>;

/// What all tasks of a run share.
struct Shared {
    time: AtomicU64,
    left: AtomicU64,
    /// What the first watcher knows: nobody compacts behind its back.
    known: AtomicU64,
    ending: AtomicBool,
    resumed: AtomicU64,
    expired: AtomicU64,
}

impl Shared {
    fn tick(&self) -> u64 {
        self.time.fetch_add(1, Ordering::SeqCst)
    }
}

/// Runs clients and watchers, then looks at what they were told.
pub(crate) fn run(options: &Options, folder: &Path) -> Result<Ended> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the async runtime")?;
    let (history, mut figures) = runtime.block_on(record(options, folder))?;
    runtime.shutdown_timeout(Duration::from_secs(1));
    figures.calls = history.calls.len();
    figures.spans = history.spans.len();
    let unknown = |call: &&Call| matches!(call.answer, Answer::Unknown(_));
    figures.unknown = history.calls.iter().filter(unknown).count();
    Ok(match check::check(&history) {
        Ok(events) => {
            figures.events = events;
            Ok(figures)
        }
        Err(finding) => {
            let path = folder.join("history.txt");
            std::fs::write(&path, format!("{history:#?}"))
                .with_context(|| format!("write {}", path.display()))?;
            Err((finding, figures))
        }
    })
}

async fn record(options: &Options, folder: &Path) -> Result<(History, Figures)> {
    let mut rng = Rng::new(options.seed);
    let server = match &options.kubeconfig {
        Some(_) => None,
        None => Some(server::Restarting::start(folder, rng.u64()).await?),
    };
    let connected = match (&server, &options.kubeconfig) {
        (Some(server), _) => server.client(),
        (None, Some(path)) => kubectl::connect(path, None)?.client,
        (None, None) => bail!("neither server nor kubeconfig"),
    };
    let namespace = format!("faults-{:x}", options.seed);
    let api = client::namespace(&connected, &namespace).await?;
    let shared = Arc::new(Shared {
        time: AtomicU64::new(1),
        left: AtomicU64::new(options.calls),
        known: AtomicU64::new(0),
        ending: AtomicBool::new(false),
        resumed: AtomicU64::new(0),
        expired: AtomicU64::new(0),
    });
    let mut watchers = JoinSet::new();
    for number in 0..4 {
        let rng = rng.child("watcher");
        watchers.spawn(client::follow(
            number,
            api.clone(),
            Arc::clone(&shared),
            rng,
        ));
    }
    // The first one has to see everything.
    while shared.known.load(Ordering::SeqCst) == 0 {
        sleep(Duration::from_millis(5)).await;
    }
    let mut clients = JoinSet::new();
    for number in 0..options.clients {
        let rng = rng.child("client");
        clients.spawn(client::work(number, api.clone(), Arc::clone(&shared), rng));
    }
    let mut history = History::default();
    let mut figures = Figures::default();
    loop {
        let pause = Duration::from_millis(30 + rng.below(150));
        match timeout(pause, clients.join_next()).await {
            Ok(Some(calls)) => history.calls.extend(calls.context("a client")?),
            Ok(None) => break,
            Err(_) => {
                let Some(server) = &server else { continue };
                if rng.below(3) == 0 {
                    server.restart().await?;
                    figures.restarts += 1;
                } else {
                    let known = shared.known.load(Ordering::SeqCst);
                    server.compact(known.saturating_sub(rng.below(30)));
                    figures.compactions += 1;
                }
            }
        }
    }
    // One more write, that every watcher has to see.
    let last = client::last(&api, &shared).await?;
    history.calls.push(last);
    let patience = Duration::from_secs(20);
    loop {
        match timeout(patience, watchers.join_next()).await {
            Ok(Some(spans)) => history.spans.extend(spans.context("a watcher")?),
            Ok(None) => break,
            // It is silent, and the checker will say so.
            Err(_) => {
                shared.ending.store(true, Ordering::SeqCst);
                if timeout(patience, watchers.join_next()).await.is_err() {
                    break;
                }
            }
        }
    }
    if !watchers.is_empty() {
        // Silent for ever: as if it had been told nothing.
        history.spans.push(Span {
            watcher: usize::MAX,
            ..Span::default()
        });
    }
    client::forget(&connected, &namespace).await;
    figures.resumed = shared.resumed.load(Ordering::SeqCst);
    figures.expired = shared.expired.load(Ordering::SeqCst);
    if let Some(server) = &server {
        server.stop().await;
    }
    Ok((history, figures))
}
