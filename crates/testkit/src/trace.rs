//! What happened and when, in words that are equal for equal runs; and what must never happen.
//!
//! Facts name no uid and no revision. Facts of one instant are sorted: tasks that run at the same
//! virtual time have no order that anybody may rely on.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::clock::SimClock;

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
}

#[derive(Debug, Default)]
struct Inner {
    facts: Vec<Fact>,
    violations: Vec<String>,
}

impl Trace {
    /// Empty.
    pub fn new(clock: SimClock) -> Self {
        Self {
            clock,
            inner: Arc::default(),
        }
    }

    /// Takes a fact down.
    pub fn note(&self, subject: impl Into<String>, what: impl Into<String>) {
        let fact = Fact {
            at_ms: self.clock.elapsed_ms(),
            subject: subject.into(),
            what: what.into(),
        };
        self.inner.lock().facts.push(fact);
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
