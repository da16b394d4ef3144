//! Whether one sequence of states explains everything that clients were told.
//!
//! Revisions give the sequence, so nothing has to be searched: each key is a register with
//! compare-and-swap, a write stands at its revision, and what is left to ask is whether real time
//! agrees. Example: `update key-1 at 7 → 9` ended before `get key-1` began and that answers
//! version 7 → a stale read. A call without an answer may stand anywhere, or nowhere.

use std::collections::{BTreeMap, HashMap};

use crate::finding::{Finding, holds};
use crate::history::{Answer, Asked, Call, History, Item, Kind, Seen, Span};

/// A change of a key, from the watches.
struct Event<'a> {
    at: u64,
    value: Option<&'a str>,
    /// Revision of the version before it.
    before: u64,
    /// When the call began that did it.
    begun: u64,
}

/// What happened, by key and in order.
struct Sequence<'a> {
    keys: BTreeMap<&'a str, Vec<Event<'a>>>,
}

impl Sequence<'_> {
    fn of(&self, key: &str) -> &[Event<'_>] {
        self.keys.get(key).map_or(&[], Vec::as_slice)
    }

    /// What the key was at a revision.
    fn version(&self, key: &str, at: u64) -> Option<&Event<'_>> {
        let events = self.of(key);
        let behind = events.partition_point(|event| event.at <= at);
        let last = behind.checked_sub(1).map(|index| &events[index]);
        last.filter(|event| event.value.is_some())
    }

    /// Changes behind `at` that had begun before `time`.
    fn changes(&self, key: &str, at: u64, time: u64) -> impl Iterator<Item = &Event<'_>> {
        let events = self.of(key);
        let behind = events.partition_point(|event| event.at <= at);
        events[behind..]
            .iter()
            .filter(move |event| event.begun < time)
    }
}

/// Looks at a history; the number of events in it.
pub(crate) fn check(history: &History) -> Result<usize, Finding> {
    let seen = union(&history.spans)?;
    for span in &history.spans {
        whole(span, &seen)?;
    }
    let last = history.calls.iter().filter_map(revision).max();
    let mut told: BTreeMap<usize, u64> = BTreeMap::new();
    for span in &history.spans {
        let upto = told.entry(span.watcher).or_default();
        *upto = span.upto.max(*upto);
    }
    for (watcher, upto) in told {
        holds("watch-complete", Some(upto) >= last, || {
            format!("watcher {watcher} was told up to {upto}, the last write is {last:?}")
        })?;
    }
    let sequence = sequence(&seen, &history.calls)?;
    let mut ended: Vec<(u64, u64)> = Vec::new();
    for call in &history.calls {
        ended.extend(revision(call).map(|at| (call.ended, at)));
    }
    ended.sort_unstable();
    let mut newest = 0;
    for (_, at) in &mut ended {
        newest = newest.max(*at);
        *at = newest;
    }
    for call in &history.calls {
        // The newest revision that anybody knew when the call began.
        let before = ended.partition_point(|(time, _)| *time < call.begun);
        let known = before.checked_sub(1).map_or(0, |index| ended[index].1);
        answered(call, known, &sequence)?;
    }
    Ok(seen.len())
}

/// Everything that any watcher saw; they must agree.
fn union(spans: &[Span]) -> Result<BTreeMap<u64, &Seen>, Finding> {
    let mut all: BTreeMap<u64, &Seen> = BTreeMap::new();
    for span in spans {
        let mut last = span.from;
        for seen in &span.seen {
            let grows = seen.at > last || seen.kind == Kind::Bookmark && seen.at == last;
            holds("watch-ordered", grows, || {
                format!("watcher {}: {seen:?} behind {last}", span.watcher)
            })?;
            last = seen.at;
            if seen.kind == Kind::Bookmark {
                continue;
            }
            let other = all.insert(seen.at, seen);
            holds(
                "watches-agree",
                other.is_none_or(|other| other == seen),
                || format!("watcher {}: {seen:?}, another: {other:?}", span.watcher),
            )?;
        }
    }
    Ok(all)
}

/// A watcher misses nothing of what another saw, nor tells a bookmark before its events.
fn whole(span: &Span, all: &BTreeMap<u64, &Seen>) -> Result<(), Finding> {
    let mut expected = all.range(span.from + 1..).map(|(_, seen)| *seen).peekable();
    for seen in &span.seen {
        if seen.kind == Kind::Bookmark {
            let early = expected.peek().filter(|next| next.at <= seen.at);
            holds("progress-true", early.is_none(), || {
                format!(
                    "watcher {}: bookmark {} before {early:?}",
                    span.watcher, seen.at
                )
            })?;
            continue;
        }
        let next = expected.next();
        holds("watch-complete", next == Some(seen), || {
            format!("watcher {}: {seen:?} instead of {next:?}", span.watcher)
        })?;
    }
    Ok(())
}

/// Each key's changes, each explained by the one call that did it.
fn sequence<'a>(
    seen: &BTreeMap<u64, &'a Seen>,
    calls: &'a [Call],
) -> Result<Sequence<'a>, Finding> {
    let mut writers: HashMap<&str, &Call> = HashMap::new();
    let mut deleters: HashMap<(&str, u64), Vec<&Call>> = HashMap::new();
    for call in calls {
        match &call.asked {
            Asked::Create { value } | Asked::Update { value, .. } => {
                writers.insert(value, call);
            }
            Asked::Delete { at } => {
                let key = (call.key.as_str(), *at);
                deleters.entry(key).or_default().push(call);
            }
            Asked::Get | Asked::List => {}
        }
    }
    let mut keys: BTreeMap<&str, Vec<Event<'_>>> = BTreeMap::new();
    let mut used: HashMap<&str, u64> = HashMap::new();
    for (&at, seen) in seen {
        let events = keys.entry(&seen.key).or_default();
        let current = events.last().filter(|event| event.value.is_some());
        let before = current.map_or(0, |event| event.at);
        let fits = match seen.kind {
            Kind::Added => current.is_none(),
            Kind::Modified => current.is_some(),
            Kind::Deleted => current.is_some_and(|event| event.value == Some(&*seen.value)),
            Kind::Bookmark => false,
        };
        holds("watch-complete", fits, || {
            let current = current.map(|event| (event.at, event.value));
            format!("{seen:?}, but the key was {current:?}")
        })?;
        let begun = if seen.kind == Kind::Deleted {
            let by = deleters.get(&(seen.key.as_str(), before));
            let begun = by.and_then(|calls| calls.iter().map(|call| call.begun).min());
            begun.ok_or_else(|| unexplained(seen))?
        } else {
            let call = writers.get(&*seen.value).ok_or_else(|| unexplained(seen))?;
            let twice = used.insert(&seen.value, at);
            holds("written-once", twice.is_none(), || {
                format!("{seen:?}, and before at {twice:?}")
            })?;
            holds("refused-not-done", call.answer != Answer::Refused, || {
                format!("{call:?} was refused, and done: {seen:?}")
            })?;
            let expected = match call.asked {
                Asked::Update { at, .. } => at,
                _ => 0,
            };
            holds("compare-and-swap", expected == before, || {
                format!("{call:?} replaced {before}")
            })?;
            call.begun
        };
        let value = (seen.kind != Kind::Deleted).then_some(&*seen.value);
        events.push(Event {
            at,
            value,
            before,
            begun,
        });
    }
    Ok(Sequence { keys })
}

fn unexplained(seen: &Seen) -> Finding {
    Finding {
        check: "nothing-from-nowhere",
        detail: format!("nobody asked for {seen:?}"),
    }
}

/// The revision that an answer proves to exist.
fn revision(call: &Call) -> Option<u64> {
    match &call.answer {
        Answer::Object { at, .. } | Answer::Listed { at, .. } => Some(*at),
        _ => None,
    }
}

/// An answer is right if it was true at some moment between the call's begin and end.
fn answered(call: &Call, known: u64, sequence: &Sequence<'_>) -> Result<(), Finding> {
    let key = &call.key;
    match (&call.asked, &call.answer) {
        (_, Answer::Unknown(_)) => Ok(()),
        (Asked::Create { .. } | Asked::Update { .. }, Answer::Object { at, .. }) => {
            let version = sequence.version(key, *at).filter(|event| event.at == *at);
            holds("acknowledged-is-told", version.is_some(), || {
                format!("{call:?}: no watcher saw it")
            })?;
            holds("real-time", *at > known, || {
                format!("{call:?}, but {known} was known before it began")
            })
        }
        (Asked::Delete { at }, Answer::Deleted) => {
            let mut events = sequence.of(key).iter();
            let done = events.any(|event| event.value.is_none() && event.before == *at);
            holds("acknowledged-is-told", done, || {
                format!("{call:?}: no watcher saw it")
            })
        }
        (Asked::Get, Answer::Object { at, value }) => {
            let version = sequence.version(key, *at);
            let same = version.is_some_and(|e| e.at == *at && e.value == Some(value.as_str()));
            holds("read-is-true", same, || format!("{call:?}: never was"))?;
            let newer = sequence.of(key).iter().find(|event| event.before == *at);
            let newer = newer.filter(|newer| newer.at <= known);
            holds("no-stale-read", newer.is_none(), || {
                let newer = newer.map(|event| event.at);
                format!("{call:?}: was {newer:?}, and {known} was known before it began")
            })?;
            let begun = version.is_some_and(|event| event.begun < call.ended);
            holds("real-time", begun, || {
                format!("{call:?}: read before it was written")
            })
        }
        (Asked::List, Answer::Listed { at, items }) => {
            holds("no-stale-read", *at >= known, || {
                format!("list at {at}, but {known} was known before it began")
            })?;
            let state = sequence.keys.keys().filter_map(|key| {
                let event = sequence.version(key, *at)?;
                Some(Item {
                    key: (*key).to_owned(),
                    at: event.at,
                    value: event.value?.to_owned(),
                })
            });
            let state: Vec<Item> = state.collect();
            holds("list-whole", *items == state, || {
                format!("list at {at}: {items:?}, expected {state:?}")
            })
        }
        // It was not there, or not so, at some moment.
        (asked, Answer::Absent | Answer::Refused) => {
            let version = sequence.version(key, known);
            let truth = |version: Option<u64>| match asked {
                Asked::Create { .. } => version.is_some(),
                Asked::Update { at, .. } | Asked::Delete { at } => version != Some(*at),
                Asked::Get | Asked::List => version.is_none(),
            };
            let mut later = sequence.changes(key, known, call.ended);
            let right = truth(version.map(|event| event.at))
                || later.any(|event| truth(event.value.map(|_| event.at)));
            holds("refusal-is-true", right, || {
                let version = version.map(|event| event.at);
                format!("{call:?}: the key was at {version:?} (known: {known})")
            })
        }
        (_, answer) => Err(Finding {
            check: "harness",
            detail: format!("{answer:?} to {:?}", call.asked),
        }),
    }
}
