//! Reading a range at a revision, and the history behind one.
//!
//! A long range is read in steps, so that the caller can let writers in between: a revision
//! looks the same in every step until it is compacted.

use std::collections::VecDeque;
use std::iter::Peekable;
use std::ops::Bound;

use bytes::Bytes;

use crate::mutants::{Mutant, planted};
use crate::mvcc::{Mvcc, Past};
use crate::record::{Entry, Record};
use crate::{Event, Marks, Page, Range, Revision, StoreError};

/// A range that is being read.
#[derive(Debug)]
pub(crate) struct Scan {
    start: Bytes,
    end: Bytes,
    at: u64,
    having: Marks,
    limit: usize,
    count: bool,
    page: Page,
    done: bool,
}

impl Scan {
    /// The page, once a step said that it is done.
    pub(crate) fn into_page(self) -> Page {
        self.page
    }
}

impl Mvcc {
    /// Reads a range in one go.
    pub fn range(&self, range: &Range) -> Result<Page, StoreError> {
        let mut scan = self.scan(range)?;
        while !self.step(&mut scan, usize::MAX)? {}
        Ok(scan.into_page())
    }

    /// Starts reading a range.
    pub(crate) fn scan(&self, range: &Range) -> Result<Scan, StoreError> {
        let at = range.at.map_or(self.revision, |at| at.0);
        self.check_readable(at)?;
        let page = Page {
            items: Vec::new(),
            more: false,
            remaining: 0,
            revision: Revision(at),
        };
        let limit = if range.limit == 0 {
            usize::MAX
        } else {
            range.limit
        };
        let at = if planted(Mutant::PageDrifts) {
            self.revision
        } else {
            at
        };
        let (start, end) = (range.start.clone(), range.end.clone());
        Ok(Scan {
            start,
            end,
            at,
            having: range.having,
            limit,
            count: range.count,
            page,
            done: false,
        })
    }

    /// Looks at up to `most` keys; true when all is read.
    pub(crate) fn step(&self, scan: &mut Scan, most: usize) -> Result<bool, StoreError> {
        self.check_readable(scan.at)?;
        let mut next = None;
        for (seen, record) in self.at(&scan.start, &scan.end, scan.at).enumerate() {
            if seen == most {
                next = Some(Bytes::copy_from_slice(record.key()));
                break;
            }
            if !record.marks().hold(scan.having) {
                continue;
            }
            if scan.page.items.len() < scan.limit {
                scan.page.items.push(record.to_kv());
                continue;
            }
            scan.page.more = true;
            if !scan.count {
                break;
            }
            scan.page.remaining += 1;
        }
        scan.done = next.is_none();
        if let Some(next) = next {
            scan.start = next;
        }
        Ok(scan.done)
    }

    /// Everything that happened behind `from` to keys with `prefix`, looking at no more than
    /// about `most` changes; with the revision up to which that is all.
    pub(crate) fn changes(
        &self,
        prefix: &[u8],
        from: u64,
        most: usize,
    ) -> Result<(Vec<Event>, u64), StoreError> {
        self.check_watchable(from)?;
        let from_entry = from + u64::from(planted(Mutant::LateWatch));
        let first = self
            .log
            .partition_point(|entry| entry.record.modified() <= from_entry);
        let mut events = Vec::new();
        let mut upto = from;
        for (seen, entry) in self.log.range(first..).enumerate() {
            // A revision is never cut in two.
            if seen >= most && entry.record.modified() > upto {
                return Ok((events, upto));
            }
            upto = entry.record.modified();
            if entry.record.key().starts_with(prefix) {
                events.push(entry.to_event());
            }
        }
        Ok((events, self.revision))
    }

    /// Refuses a revision that a watch cannot start behind.
    pub(crate) fn check_watchable(&self, from: u64) -> Result<(), StoreError> {
        if planted(Mutant::FutureWatch) && from > self.revision {
            return Ok(());
        }
        self.check_readable(from)
    }

    fn check_readable(&self, at: u64) -> Result<(), StoreError> {
        let requested = Revision(at);
        if at > self.revision {
            return Err(StoreError::Future {
                requested,
                current: self.revision(),
            });
        }
        let lost = self
            .gaps
            .iter()
            .find(|&&(start, end)| start < at && at < end);
        if let Some(&(_, end)) = lost {
            return Err(StoreError::Compacted {
                requested,
                oldest: Revision(end),
            });
        }
        if at < self.compacted {
            return Err(StoreError::Compacted {
                requested,
                oldest: self.compacted(),
            });
        }
        Ok(())
    }

    /// The versions that were current at `at`, in order of keys.
    fn at<'a>(&'a self, start: &[u8], end: &[u8], at: u64) -> impl Iterator<Item = &'a Record> {
        let end = if end.is_empty() {
            Bound::Unbounded
        } else {
            Bound::Excluded(end)
        };
        let valid = !matches!(end, Bound::Excluded(end) if end <= start);
        let bounds = (Bound::Included(start), end);
        let live = valid
            .then(|| self.live.range::<[u8], _>(bounds))
            .into_iter()
            .flatten();
        let live = live.filter(move |record| record.modified() <= at);
        // Nothing in the past can be current at the newest revision.
        let old = valid && at < self.revision;
        let past = old
            .then(|| self.past.range::<[u8], _>(bounds))
            .into_iter()
            .flatten();
        let past = past.filter_map(move |(_, versions)| version_at(versions, at));
        Merge {
            live: live.peekable(),
            past: past.peekable(),
        }
    }

    /// History behind the compaction point, for a log that has lost its end.
    pub(crate) fn entries_behind(&self, from: u64) -> impl Iterator<Item = &Entry> {
        let first = self
            .log
            .partition_point(|entry| entry.record.modified() <= from);
        self.log.range(first..)
    }
}

fn version_at(versions: &VecDeque<Past>, at: u64) -> Option<&Record> {
    let index = versions.partition_point(|past| past.until <= at);
    versions
        .get(index)
        .map(|past| &past.record)
        .filter(|record| record.modified() <= at)
}

/// Two sources in order of keys; no key is in both, for a key has one version at a time.
struct Merge<A: Iterator, B: Iterator> {
    live: Peekable<A>,
    past: Peekable<B>,
}

impl<'a, A, B> Iterator for Merge<A, B>
where
    A: Iterator<Item = &'a Record>,
    B: Iterator<Item = &'a Record>,
{
    type Item = &'a Record;

    fn next(&mut self) -> Option<&'a Record> {
        match (self.live.peek(), self.past.peek()) {
            (Some(live), Some(past)) if past < live => self.past.next(),
            (Some(_), _) => self.live.next(),
            (None, _) => self.past.next(),
        }
    }
}
