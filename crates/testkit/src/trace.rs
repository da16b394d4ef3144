//! What happened and when, in words that are equal for equal runs; and what must never happen.
//!
//! Facts name no uid and no revision. Facts of one instant are sorted: tasks that run at the same
//! virtual time have no order that anybody may rely on.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clock::SimClock;

/// More than this happens only when something goes round in circles: a walk has a few thousand.
const FACTS_LIMIT: usize = 5_000;
/// The same of requests.
const REQUESTS_LIMIT: usize = 300_000;
/// Of these so many are shown.
const LAST_SHOWN: usize = 20;

/// One observation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fact {
    /// Milliseconds since the beginning.
    pub at_ms: u64,
    /// `default/web` and the like: what it is about.
    pub subject: String,
    /// What happened.
    pub what: String,
}

impl std::fmt::Display for Fact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (seconds, millis) = (self.at_ms / 1000, self.at_ms % 1000);
        match millis {
            0 => write!(f, "{seconds}s {} {}", self.subject, self.what),
            _ => write!(f, "{seconds}.{millis:03}s {} {}", self.subject, self.what),
        }
    }
}

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Trace {
    clock: SimClock,
    inner: Arc<Mutex<Inner>>,
    overrun: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Inner {
    facts: Vec<Fact>,
    violations: Vec<String>,
    requests: Vec<Request>,
}

/// When the API server was asked for what: user, method and path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Milliseconds since the beginning.
    pub at_ms: u64,
    /// `system:node:node-0 GET /api/v1/pods` and the like.
    pub what: String,
}

impl std::fmt::Display for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}ms {}", self.at_ms, self.what)
    }
}

fn last_of(all: &[impl std::fmt::Display]) -> String {
    let last = &all[all.len().saturating_sub(LAST_SHOWN)..];
    let lines: String = last.iter().map(|one| format!("\n    {one}")).collect();
    format!(", the last ones:{lines}")
}

impl Trace {
    /// Empty.
    pub fn new(clock: SimClock) -> Self {
        Self {
            clock,
            inner: Arc::default(),
            overrun: Arc::default(),
        }
    }

    /// Its time.
    pub(crate) fn clock(&self) -> &SimClock {
        &self.clock
    }

    /// Takes a fact down.
    pub fn note(&self, subject: impl Into<String>, what: impl Into<String>) {
        let fact = Fact {
            at_ms: self.clock.elapsed_ms(),
            subject: subject.into(),
            what: what.into(),
        };
        let mut inner = self.inner.lock();
        if inner.facts.len() >= FACTS_LIMIT {
            return;
        }
        inner.facts.push(fact);
        if inner.facts.len() == FACTS_LIMIT {
            let last = last_of(&inner.facts);
            inner.violations.push(format!("{FACTS_LIMIT} facts{last}"));
            self.overrun.notify_one();
        }
    }

    /// Whether so much happened that nobody counts it any more.
    pub(crate) fn is_overrun(&self) -> bool {
        let inner = self.inner.lock();
        inner.facts.len() >= FACTS_LIMIT || inner.requests.len() >= REQUESTS_LIMIT
    }

    /// Waits until too much has happened, also while virtual time stands still.
    pub(crate) async fn overrun(&self) {
        self.overrun.notified().await;
    }

    /// Takes down that a request reaches the API server.
    pub(crate) fn request(&self, what: String) {
        let at_ms = self.clock.elapsed_ms();
        let mut inner = self.inner.lock();
        if inner.requests.len() >= REQUESTS_LIMIT {
            return;
        }
        inner.requests.push(Request { at_ms, what });
        if inner.requests.len() == REQUESTS_LIMIT {
            let last = last_of(&inner.requests);
            inner
                .violations
                .push(format!("{REQUESTS_LIMIT} requests{last}"));
            self.overrun.notify_one();
        }
    }

    /// All requests in the order in which they came.
    pub fn requests(&self) -> Vec<Request> {
        self.inner.lock().requests.clone()
    }

    /// Takes down that an invariant does not hold.
    pub fn violation(&self, what: impl std::fmt::Display) {
        let text = format!("{}ms: {what}", self.clock.elapsed_ms());
        self.inner.lock().violations.push(text);
    }

    /// All facts, by time, then by text.
    pub fn facts(&self) -> Vec<Fact> {
        let mut facts = self.inner.lock().facts.clone();
        facts.sort();
        facts
    }

    /// Invariants that did not hold.
    pub fn violations(&self) -> Vec<String> {
        self.inner.lock().violations.clone()
    }

    /// The facts whose subject begins with `subject`, a line each.
    pub fn text(&self, subject: &str) -> String {
        let facts = self.facts();
        let chosen = facts
            .iter()
            .filter(|fact| fact.subject.starts_with(subject));
        chosen.map(|fact| format!("{fact}\n")).collect()
    }
}
