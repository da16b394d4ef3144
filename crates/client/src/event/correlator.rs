//! Which events are written, and how: repeated ones are counted, similar ones combined, those of an
//! object that makes too many left out.
//!
//! Pure: occurrences in, writes out. An event whose write is under way counts on; the next write
//! brings all that has gathered. Example: `Failed` three times while the first is written: one
//! create (count 1), then one patch (count 3).
//! Source: kubernetes v1.36.3 client-go tools/record/events_cache.go.

use std::collections::VecDeque;

use jiff::Timestamp;

use super::recent::Recent;
use super::{EventType, Occurrence, Reference};

/// Events, groups and objects that are remembered. An event with its group and bucket takes about
/// 2 KiB, so that upstream's 4,096 of them are 8 MiB in each recorder: a quarter of a node's agent.
/// These are nine events for each of a node's 110 pods. What is forgotten is made anew: an event that
/// comes again gets a second object with count 1, and an object a full bucket; nothing is lost.
const REMEMBERED_LIMIT: usize = 1024;
/// So many different messages of one reason within the interval are combined to one event.
const COMBINED_FROM: usize = 10;
const COMBINED_WITHIN_SECONDS: i64 = 600;
/// Events about one object at once, and how often a further one is allowed after them.
const BURST: i64 = 25;
const REFILL_SECONDS: i64 = 300;

/// What makes two events the same one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct EventKey {
    about: Reference,
    event_type: EventType,
    reason: String,
    /// `None`: the event in which similar ones are combined.
    message: Option<String>,
}

/// An event to be created, or brought up to date when it exists already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) key: EventKey,
    /// Number of the event among those that this correlator has seen: names it.
    pub(super) number: u64,
    pub(super) what: Occurrence,
    pub(super) count: i64,
    pub(super) first: Timestamp,
    /// The message of an event that combines others changes.
    pub(super) is_combined: bool,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    /// The newest occurrence.
    what: Occurrence,
    count: i64,
    first: Timestamp,
    is_under_way: bool,
    has_more: bool,
}

#[derive(Debug)]
struct Group {
    messages: VecDeque<String>,
    last: Timestamp,
}

/// Tokens of an object's bucket in seconds of refill.
#[derive(Debug)]
struct Bucket {
    tokens: i64,
    at: Timestamp,
}

#[derive(Debug)]
pub(super) struct Correlator {
    events: Recent<EventKey, Entry>,
    groups: Recent<EventKey, Group>,
    objects: Recent<(Reference, EventType), Bucket>,
    seen: u64,
}

impl Correlator {
    pub(super) fn new() -> Self {
        Self {
            events: Recent::new(REMEMBERED_LIMIT),
            groups: Recent::new(REMEMBERED_LIMIT),
            objects: Recent::new(REMEMBERED_LIMIT),
            seen: 0,
        }
    }

    /// Takes an occurrence in; what is to be written for it now, if anything.
    pub(super) fn observe(&mut self, mut what: Occurrence) -> Option<Write> {
        let key = self.group(&mut what);
        let is_combined = key.message.is_none();
        let seen = &mut self.seen;
        let now = what.at;
        let (entry, was_there) = self.events.entry(&key, || {
            *seen += 1;
            Entry {
                number: *seen,
                what: what.clone(),
                count: 1,
                first: now,
                is_under_way: false,
                has_more: false,
            }
        });
        if was_there {
            entry.count += 1;
            entry.what = what.clone();
        }
        if !allowed(&mut self.objects, &what) {
            return None;
        }
        if entry.is_under_way {
            entry.has_more = true;
            return None;
        }
        entry.is_under_way = true;
        Some(Write::of(key, entry, is_combined))
    }

    /// A write has ended; what has gathered meanwhile.
    pub(super) fn written(&mut self, key: EventKey) -> Option<Write> {
        let is_combined = key.message.is_none();
        let entry = self.events.peek(&key)?;
        entry.is_under_way = std::mem::take(&mut entry.has_more);
        entry
            .is_under_way
            .then(|| Write::of(key, entry, is_combined))
    }

    /// The event that `what` counts for: its own, or that of its group, whose message it then gets.
    fn group(&mut self, what: &mut Occurrence) -> EventKey {
        let mut about = what.about.clone();
        // The revision is no part of what makes two events equal.
        about.resource_version.clear();
        let own = EventKey {
            about: about.clone(),
            event_type: what.event_type,
            reason: what.reason.clone(),
            message: Some(what.message.clone()),
        };
        about.field_path.clear();
        let common = EventKey {
            about,
            message: None,
            ..own.clone()
        };
        let fresh = || Group {
            messages: VecDeque::new(),
            last: what.at,
        };
        let (group, _) = self.groups.entry(&common, fresh);
        if what.at.as_second() - group.last.as_second() > COMBINED_WITHIN_SECONDS {
            group.messages.clear();
        }
        group.last = what.at;
        if !group.messages.contains(&what.message) {
            group.messages.push_back(what.message.clone());
        }
        if group.messages.len() < COMBINED_FROM {
            return own;
        }
        group.messages.pop_front();
        what.message = format!("(combined from similar events): {}", what.message);
        common
    }
}

impl Write {
    fn of(key: EventKey, entry: &Entry, is_combined: bool) -> Self {
        Self {
            key,
            number: entry.number,
            what: entry.what.clone(),
            count: entry.count,
            first: entry.first,
            is_combined,
        }
    }
}

/// Takes a token of the object's bucket.
fn allowed(objects: &mut Recent<(Reference, EventType), Bucket>, what: &Occurrence) -> bool {
    let about = Reference {
        resource_version: String::new(),
        field_path: String::new(),
        ..what.about.clone()
    };
    let full = BURST * REFILL_SECONDS;
    let (bucket, _) = objects.entry(&(about, what.event_type), || Bucket {
        tokens: full,
        at: what.at,
    });
    let passed = (what.at.as_second() - bucket.at.as_second()).max(0);
    bucket.tokens = bucket.tokens.saturating_add(passed).min(full);
    bucket.at = bucket.at.max(what.at);
    let good = bucket.tokens >= REFILL_SECONDS;
    if good {
        bucket.tokens -= REFILL_SECONDS;
    }
    good
}

#[cfg(test)]
mod tests;
