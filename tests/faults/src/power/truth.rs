//! What the store has told the world, and what it therefore has to hold.
//!
//! Owns the promises: [`Truth`] is the history as watchers saw it, [`Owed`] what a cut at one
//! place may not take away, [`verify`] the comparison with a store opened from what is left.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use store::{EventKind, Op, Outcome, Range, Revision, Store, StoreError, Txn};

use crate::finding::{Finding, holds};
use crate::power::writer::{config, sum};

/// A change as a watcher was told of it: put or not, key, checksum.
pub(crate) type Told = (bool, String, u32);

/// Key → checksum, created, modified.
type State = BTreeMap<String, (u32, u64, u64)>;

/// What was said on standard output.
#[derive(Clone, Debug)]
pub(crate) enum Fact {
    Ack {
        durable: bool,
        revision: u64,
    },
    Saw(u64, Told),
    Compacted(u64),
    /// Relaxed writes so far are as good as durable ones.
    Settled,
}

/// Reads what one write said.
pub(crate) fn facts(said: &str) -> Vec<Fact> {
    let number = |text: &str| text.parse().unwrap_or_default();
    let fact = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        Some(match words[..] {
            ["ack", class, revision] => Fact::Ack {
                durable: class == "D",
                revision: number(revision),
            },
            ["saw", at, kind, key, sum] => {
                let sum = u32::from_str_radix(sum, 16).unwrap_or_default();
                Fact::Saw(number(at), (kind == "P", key.to_owned(), sum))
            }
            ["compacted", upto] => Fact::Compacted(number(upto)),
            ["quiet" | "closed"] => Fact::Settled,
            _ => return None,
        })
    };
    said.lines().filter_map(fact).collect()
}

/// Everything that ever happened to the store, as far as it is still true.
#[derive(Clone, Debug, Default)]
pub(crate) struct Truth {
    pub(crate) events: BTreeMap<u64, Vec<Told>>,
    /// The newest revision that anybody was ever told, lost or not.
    pub(crate) given: u64,
    /// How far history may be gone.
    pub(crate) compacted: u64,
}

impl Truth {
    /// Adds what a life of the process told; it began above `self.given`.
    pub(crate) fn learn(&mut self, all: &[Fact]) -> Result<(), Finding> {
        let before = self.given;
        for fact in all {
            match fact {
                Fact::Saw(at, told) => {
                    holds("revision-once", *at > before, || {
                        format!("{told:?} at {at}, but {before} had been given out before")
                    })?;
                    self.events.entry(*at).or_default().push(told.clone());
                    self.given = self.given.max(*at);
                }
                Fact::Ack { revision, .. } => {
                    holds("revision-once", *revision > before, || {
                        format!("acknowledged {revision}, but {before} had been given out before")
                    })?;
                    self.given = self.given.max(*revision);
                }
                Fact::Compacted(upto) => self.compacted = self.compacted.max(*upto),
                Fact::Settled => {}
            }
        }
        Ok(())
    }

    /// The state at `last`.
    pub(crate) fn state(&self, last: u64) -> State {
        let mut state = State::new();
        for (&at, events) in self.events.range(..=last) {
            for (put, key, sum) in events {
                if *put {
                    let created = state.get(key).map_or(at, |(_, created, _)| *created);
                    state.insert(key.clone(), (*sum, created, at));
                } else {
                    state.remove(key);
                }
            }
        }
        state
    }
}

/// What a cut at one place leaves the store owing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Owed {
    /// Everything up to here has to be there.
    pub(crate) kept: u64,
    /// Nothing up to here may be given out again.
    pub(crate) given: u64,
}

/// What an image turned out to hold.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Held {
    pub(crate) last: u64,
    pub(crate) compacted: u64,
}

/// Opens what is left in `dir` and looks for all that is owed.
pub(crate) fn verify(dir: &Path, boot: &str, owed: Owed, truth: &Truth) -> Result<Held, Finding> {
    let opened = Store::open(&config(dir, boot));
    let store = opened.map_err(|error| broken("opens", &error))?;
    let compacted = store.compacted_revision().0;
    let history = history(&store, compacted).map_err(|error| broken("history-whole", &error))?;
    let last = history.last_key_value().map_or(compacted, |(at, _)| *at);
    let held = Held { last, compacted };
    holds("durable-kept", last >= owed.kept, || {
        format!(
            "{} was acknowledged, the newest change is {last}",
            owed.kept
        )
    })?;
    holds("history-whole", compacted <= truth.compacted, || {
        format!(
            "history is gone up to {compacted}, asked for was {}",
            truth.compacted
        )
    })?;
    let expected = truth
        .events
        .range(compacted + 1..)
        .take_while(|(at, _)| **at <= last);
    let mut found = history.iter();
    for expected in expected {
        let found = found.next();
        holds("history-whole", found == Some(expected), || {
            format!("watchers saw {expected:?}, the history has {found:?}")
        })?;
    }
    let more = found.next();
    holds("history-whole", more.is_none(), || {
        format!("nobody ever saw {more:?}")
    })?;
    let page = store
        .range(&Range::prefix(b""))
        .map_err(|error| broken("state", &error))?;
    let mut state = State::new();
    for kv in page.items {
        let meta = (sum(&kv.value), kv.create_revision.0, kv.mod_revision.0);
        state.insert(String::from_utf8_lossy(&kv.key).into_owned(), meta);
    }
    let expected = truth.state(last);
    holds("state", state == expected, || {
        let differs = |(key, meta): &(&String, &(u32, u64, u64))| state.get(*key) != Some(*meta);
        let first = expected.iter().find(differs);
        let found = first.and_then(|(key, _)| state.get(key));
        format!("at {last}: expected {first:?}, found {found:?}")
    })?;
    // A client that knows a lost revision must list again.
    for lost in [last + 1, owed.given] {
        if lost > last && lost <= owed.given {
            let refused = store.watch(b"", Revision(lost));
            let compacted = matches!(refused, Err(StoreError::Compacted { .. }));
            holds("lost-is-410", compacted, || {
                format!("watch from {lost}, which is lost behind {last}: not refused")
            })?;
        }
    }
    let next = probe(&store)?;
    holds("revision-once", next > owed.given, || {
        format!("{next} is given out, {} had been before", owed.given)
    })?;
    Ok(held)
}

fn broken(check: &'static str, error: &StoreError) -> Finding {
    let detail = base::Chain(error).to_string();
    Finding { check, detail }
}

fn history(store: &Store, from: u64) -> Result<BTreeMap<u64, Vec<Told>>, StoreError> {
    let mut history: BTreeMap<u64, Vec<Told>> = BTreeMap::new();
    let mut watcher = store.watch(b"", Revision(from))?;
    while let Some(batch) = watcher.try_next()? {
        for event in batch.events.iter() {
            let key = String::from_utf8_lossy(&event.kv.key).into_owned();
            let told = (event.kind == EventKind::Put, key, sum(&event.kv.value));
            history
                .entry(event.kv.mod_revision.0)
                .or_default()
                .push(told);
        }
    }
    Ok(history)
}

/// The revision of one more write.
fn probe(store: &Store) -> Result<u64, Finding> {
    let put = Op::Put {
        key: Bytes::from_static(b"/probe"),
        value: Bytes::new(),
        ttl: None,
    };
    let txn = Txn {
        ops: vec![put],
        ..Txn::default()
    };
    match crate::power::writer::wait(store.txn(txn)) {
        Ok(Outcome::Committed { revision }) => Ok(revision.0),
        other => Err(Finding {
            check: "writes-again",
            detail: format!("{other:?}"),
        }),
    }
}
