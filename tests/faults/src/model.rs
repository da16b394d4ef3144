//! The store against a naive model, under random operations.
//!
//! Owns the walk: transactions with compares, reads at revisions, pages, watches that are read
//! now and then, compaction, times to live, restarts of all kinds. After every operation store
//! and model must have said the same. In memory everything follows from the seed; on disk the
//! writer's thread decides when rows are deleted, which nobody can see.

mod naive;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use base::{Clock as _, ManualClock, Rng};
use bytes::Bytes;
use jiff::Timestamp;
use store::{
    Compare, Durability, KeyValue, Marks, Op, Range, Revision, Store, StoreError, Txn, Watcher,
};

use self::naive::{Change, Known, Naive};
use crate::finding::{Finding, holds};
use crate::power::writer::{config, marker, term};

const PREFIXES: [&[u8]; 6] = [b"", b"/a/", b"/a/b/", b"/a", b"/b/2", b"/c/"];
/// Watchers and scans that are open at once.
const OPEN: usize = 6;
/// Steps between two looks of the lazy watcher.
const LAZY: u64 = 5000;

/// What to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) seed: u64,
    pub(crate) operations: u64,
    /// With a real database, and restarts.
    pub(crate) disk: bool,
}

/// Operations done, and why it ended early.
pub(crate) type Ended = std::result::Result<u64, (Finding, u64)>;

/// Runs a walk.
pub(crate) fn run(options: Options) -> Result<Ended> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .context("start a runtime")?;
    let folder = crate::scratch()?;
    let mut walk = Walk::new(options, folder.path().to_owned())?;
    for number in 0..options.operations {
        if let Err(finding) = runtime.block_on(walk.step()) {
            return Ok(Err((finding, number + 1)));
        }
    }
    Ok(match walk.finish() {
        Ok(()) => Ok(options.operations),
        Err(finding) => Err((finding, options.operations)),
    })
}

struct Walk {
    options: Options,
    folder: PathBuf,
    rng: Rng,
    clock: Arc<ManualClock>,
    store: Store,
    naive: Naive,
    followers: Vec<Follower>,
    /// One that is read so rarely that its queue fills.
    lazy: Option<Follower>,
    steps: u64,
    scans: Vec<Scan>,
    boot: u32,
    lives: u32,
}

/// A watcher, and how far it was told.
struct Follower {
    watcher: Watcher,
    prefix: &'static [u8],
    upto: u64,
    asked: bool,
}

/// A range that is read page by page while others write.
struct Scan {
    range: Range,
    prefix: &'static [u8],
    found: Vec<Bytes>,
}

impl Walk {
    fn new(options: Options, folder: PathBuf) -> Result<Walk> {
        let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        let mut walk = Walk {
            options,
            folder,
            rng: Rng::new(options.seed),
            store: Store::in_memory_marked(Arc::clone(&clock) as Arc<dyn base::Clock>, marker),
            clock,
            naive: Naive::new(),
            followers: Vec::new(),
            lazy: None,
            steps: 0,
            scans: Vec::new(),
            boot: 0,
            lives: 0,
        };
        if options.disk {
            walk.store = walk.open().context("open the store")?;
        }
        Ok(walk)
    }

    fn home(&self) -> PathBuf {
        self.folder.join(self.lives.to_string())
    }

    fn open(&self) -> Result<Store, StoreError> {
        drop(std::fs::create_dir_all(self.home()));
        Store::open(&config(&self.home(), &format!("boot {}", self.boot)))
    }

    async fn step(&mut self) -> Result<(), Finding> {
        if self.steps.is_multiple_of(LAZY) {
            self.wake()?;
        }
        self.steps += 1;
        match self.rng.below(100) {
            0..40 => self.txn().await,
            40..50 => self.read(),
            50..60 => self.page(),
            60..66 => self.follow(),
            66..86 => self.told(),
            86..89 => {
                let which = self.rng.below(OPEN as u64);
                if let Some(follower) = self.followers.get_mut(index(which)) {
                    follower.asked = true;
                    follower.watcher.progress_requester().request();
                }
                Ok(())
            }
            89 => self.compact(),
            90..96 => self.age(),
            96 => self.nonsense().await,
            97 if self.options.disk && self.rng.below(4) == 0 => self.restart(),
            _ => self.get(),
        }
    }

    fn key(&mut self) -> Bytes {
        let keys = ["/a/", "/a/b/", "/ab/", "/b/"];
        let (folder, number) = (keys[index(self.rng.below(4))], self.rng.below(4));
        Bytes::from(format!("{folder}{number}"))
    }

    /// A revision that is, was, or will be.
    fn revision(&mut self) -> u64 {
        let low = self.naive.compacted.saturating_sub(2);
        match self.rng.below(8) {
            0 => self.naive.revision + 1 + self.rng.below(3),
            1 => low + self.rng.below(5),
            // Not far back, or a gap would be met every time.
            2..5 => self
                .naive
                .revision
                .saturating_sub(self.rng.below(40))
                .max(low),
            _ => self
                .naive
                .revision
                .saturating_sub(self.rng.below(4))
                .max(low),
        }
    }

    async fn txn(&mut self) -> Result<(), Finding> {
        let mut txn = Txn::default();
        if self.rng.below(3) == 0 {
            txn.durability = Durability::Relaxed;
        }
        for _ in 0..self.rng.below(3) {
            let key = self.key();
            let now = self
                .naive
                .now()
                .get(&key)
                .map_or(0, |v| v.kv.mod_revision.0);
            let wrong = self.rng.below(8) == 0;
            let revision = Revision(if wrong { self.revision() } else { now });
            txn.compares.push(Compare::Revision { key, revision });
        }
        for _ in 0..1 + self.rng.below(3) {
            let key = self.key();
            if txn.ops.iter().any(|op| *op.key() == key) {
                continue;
            }
            if self.rng.below(3) == 0 {
                txn.ops.push(Op::Delete { key });
                continue;
            }
            let length = if self.rng.below(16) == 0 { 2000 } else { 20 };
            let mut value = vec![0; index(self.rng.below(length))];
            self.rng.bytes(&mut value);
            // On disk the writer ends keys when it likes: without a model of time no model.
            let mortal = !self.options.disk && self.rng.below(6) == 0;
            let ttl = mortal.then(|| Duration::from_millis(1 + self.rng.below(5000)));
            let value = value.into();
            txn.ops.push(Op::Put { key, value, ttl });
        }
        let expected = self.naive.apply(&txn, self.clock.now().as_millisecond());
        let outcome = self.store.txn(txn.clone()).await;
        let outcome = outcome.map_err(|error| said("txn-outcome", &error))?;
        holds("txn-outcome", outcome == expected, || {
            format!("{txn:?}: {outcome:?}, expected {expected:?}")
        })?;
        let now = self.store.current_revision().0;
        holds("read-newest", now == self.naive.revision, || {
            format!(
                "the newest revision is {now}, expected {}",
                self.naive.revision
            )
        })
    }

    /// What no store may take.
    async fn nonsense(&mut self) -> Result<(), Finding> {
        let key = self.key();
        let mut txn = Txn::create(key.clone(), Bytes::new());
        txn.compares.clear();
        txn.ops.push(match self.rng.below(2) {
            0 => Op::Delete { key },
            _ => Op::Delete { key: Bytes::new() },
        });
        let taken = self.store.txn(txn.clone()).await;
        holds("txn-outcome", taken.is_err(), || {
            format!("{txn:?}: {taken:?}")
        })
    }

    fn get(&mut self) -> Result<(), Finding> {
        let key = self.key();
        let found = self.store.get(&key);
        let expected = self.naive.now().get(&key).map(|version| version.kv.clone());
        holds("read-newest", found == expected, || {
            format!("get {key:?}: {found:?}, expected {expected:?}")
        })
    }

    /// A whole range, now or at a revision, or what of it has a term.
    fn read(&mut self) -> Result<(), Finding> {
        let prefix = PREFIXES[index(self.rng.below(6))];
        let at = (self.rng.below(4) > 0).then(|| self.revision());
        let mut range = Range::prefix(prefix);
        range.at = at.map(Revision);
        range.having = match self.rng.below(3) {
            0 => term(self.rng.below(4) as u8),
            _ => Marks::NONE,
        };
        let (at, known) = match at {
            Some(at) => (at, self.naive.knows(at)),
            None => (self.naive.revision, Known::Yes),
        };
        let page = match self.store.range(&range) {
            Ok(page) => page,
            Err(error) => return refused(&error, known, at),
        };
        holds("refused", known == Known::Yes, || {
            format!("read at {at}, which is {known:?}: not refused")
        })?;
        let expected = self.naive.at(at).values().map(|version| &version.kv);
        let wanted =
            |kv: &&KeyValue| kv.key.starts_with(prefix) && marker(&kv.value).hold(range.having);
        let expected: Vec<_> = expected.filter(wanted).collect();
        let found: Vec<_> = page.items.iter().collect();
        holds("read-at-revision", found == expected, || {
            format!("{prefix:?} at {at}: {found:?}, expected {expected:?}")
        })
    }

    /// One page of a range that was begun earlier, perhaps.
    fn page(&mut self) -> Result<(), Finding> {
        if self.scans.len() < OPEN && self.rng.below(3) == 0 {
            let prefix = PREFIXES[index(self.rng.below(4))];
            let limit = 1 + index(self.rng.below(4));
            self.scans.push(Scan {
                range: Range::prefix(prefix).limit(limit),
                prefix,
                found: Vec::new(),
            });
        }
        if self.scans.is_empty() {
            return Ok(());
        }
        let which = index(self.rng.below(self.scans.len() as u64));
        let mut scan = self.scans.swap_remove(which);
        let at = scan.range.at.map_or(self.naive.revision, |at| at.0);
        let known = self.naive.knows(at);
        let page = match self.store.range(&scan.range) {
            Ok(page) => page,
            Err(error) => return refused(&error, known, at),
        };
        holds("refused", known == Known::Yes, || {
            format!("page at {at}, which is {known:?}: not refused")
        })?;
        holds("pages-whole", page.revision.0 == at, || {
            format!("a page of {at} says that it is of {}", page.revision)
        })?;
        let expected = self.naive.at(at).values().map(|version| &version.kv);
        let expected: Vec<_> = expected
            .filter(|kv| kv.key.starts_with(scan.prefix))
            .collect();
        let rest = expected[scan.found.len().min(expected.len())..].iter();
        let same = rest.zip(&page.items).all(|(a, b)| *a == b);
        scan.found
            .extend(page.items.iter().map(|kv| kv.key.clone()));
        let counted = scan.found.len() + page.remaining == expected.len();
        holds("pages-whole", same && counted, || {
            format!(
                "{:?} at {at}: {:?} and {} more, expected {expected:?}",
                scan.prefix, scan.found, page.remaining
            )
        })?;
        if let Some(last) = page.items.last().filter(|_| page.more) {
            scan.range = scan.range.at(page.revision).after(&last.key);
            self.scans.push(scan);
        }
        Ok(())
    }

    /// One more watcher.
    fn follow(&mut self) -> Result<(), Finding> {
        let (prefix, from) = (PREFIXES[index(self.rng.below(6))], self.revision());
        let known = self.naive.knows(from);
        let watcher = match self.store.watch(prefix, Revision(from)) {
            Ok(watcher) => watcher,
            Err(error) => return refused(&error, known, from),
        };
        holds("refused", known == Known::Yes, || {
            format!("watch from {from}, which is {known:?}: not refused")
        })?;
        if self.followers.len() == OPEN {
            let which = index(self.rng.below(OPEN as u64));
            let mut gone = self.followers.swap_remove(which);
            read_out(&mut gone, &self.naive)?;
        }
        self.followers.push(Follower {
            watcher,
            prefix,
            upto: from,
            asked: false,
        });
        Ok(())
    }

    /// The lazy watcher reads what it missed; another takes its place.
    fn wake(&mut self) -> Result<(), Finding> {
        if let Some(mut lazy) = self.lazy.take() {
            read_out(&mut lazy, &self.naive)?;
        }
        let upto = self.naive.revision;
        let watcher = self.store.watch(b"", Revision(upto));
        let mut lazy = Follower {
            watcher: watcher.map_err(|error| said("watch-complete", &error))?,
            prefix: b"",
            upto,
            asked: false,
        };
        // From here on it is current, and gets what is written into its queue.
        take(&mut lazy, &self.naive)?;
        self.lazy = Some(lazy);
        Ok(())
    }

    /// What one watcher is told next.
    fn told(&mut self) -> Result<(), Finding> {
        if self.followers.is_empty() {
            return Ok(());
        }
        let which = index(self.rng.below(self.followers.len() as u64));
        for _ in 0..=self.rng.below(3) {
            match take(&mut self.followers[which], &self.naive)? {
                Taken::Something => {}
                Taken::Nothing => break,
                Taken::Over => {
                    self.followers.swap_remove(which);
                    break;
                }
            }
        }
        Ok(())
    }

    fn compact(&mut self) -> Result<(), Finding> {
        let upto = self.revision();
        let known = if upto > self.naive.revision {
            Known::Future
        } else if upto < self.naive.compacted {
            Known::Compacted
        } else {
            Known::Yes
        };
        match self.store.compact(Revision(upto)) {
            Ok(()) if known == Known::Yes => {
                let lost = |gap: &&(u64, u64)| gap.0 < upto && upto < gap.1;
                let gap = self.naive.gaps.iter().find(lost);
                self.naive.compacted = gap.map_or(upto, |gap| gap.1);
                let (found, expected) = (self.store.compacted_revision().0, self.naive.compacted);
                holds("refused", found == expected, || {
                    format!("the oldest revision is {found}, expected {expected}")
                })?;
                if !self.options.disk {
                    // Queues may hold what history has not.
                    let told = self.followers.iter().chain(&self.lazy);
                    let told = told.map(|follower| follower.upto).min();
                    let told = told.unwrap_or(u64::MAX - 1);
                    self.naive.trim(told);
                }
                Ok(())
            }
            Ok(()) => holds("refused", false, || {
                format!("compact {upto}: {known:?}, not refused")
            }),
            Err(error) => refused(&error, known, upto),
        }
    }

    /// Time goes by.
    fn age(&mut self) -> Result<(), Finding> {
        if self.options.disk {
            return self.get();
        }
        self.clock
            .advance(Duration::from_millis(self.rng.below(400)));
        self.naive.expire(self.clock.now().as_millisecond());
        self.store.expire();
        let (found, expected) = (self.store.current_revision().0, self.naive.revision);
        holds("expiry", found == expected, || {
            format!("after expiry at {found}, expected {expected}")
        })
    }

    /// Ends the store in one of three ways, and goes on with what is there then.
    fn restart(&mut self) -> Result<(), Finding> {
        let (before, way) = (self.home(), self.rng.below(3));
        self.lives += 1;
        let copy = |from: &PathBuf, to: &PathBuf| -> std::io::Result<()> {
            std::fs::create_dir_all(to)?;
            for name in ["store.db", "store.db-wal", "store.db.key"] {
                match std::fs::copy(from.join(name), to.join(name)) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(error);
                    }
                    _ => {}
                }
            }
            Ok(())
        };
        if way == 0 {
            self.store.close();
        }
        // The files of a store that runs are what `kill -9` leaves. It is idle by then.
        let idle = std::time::Duration::from_millis(5);
        std::thread::sleep(idle);
        let copied = copy(&before, &self.home());
        holds("harness", copied.is_ok(), || format!("{copied:?}"))?;
        self.boot += u32::from(way == 2);
        self.store = self.open().map_err(|error| said("restart-keeps", &error))?;
        drop(std::fs::remove_dir_all(before));
        let (revision, compacted) = (
            self.store.current_revision().0,
            self.store.compacted_revision().0,
        );
        if way == 2 && revision > self.naive.revision {
            self.naive.gaps.push((self.naive.revision, revision));
            self.naive.revision = revision;
        }
        holds("restart-keeps", revision == self.naive.revision, || {
            format!("way {way}: at {revision}, was at {}", self.naive.revision)
        })?;
        // A compaction may not have come to the disk: then history is longer again.
        holds("restart-keeps", compacted <= self.naive.compacted, || {
            format!(
                "history up to {compacted} is gone, was {}",
                self.naive.compacted
            )
        })?;
        self.naive.compacted = compacted;
        let told = u64::MAX - 1;
        self.naive.trim(told);
        let page = self.store.range(&Range::prefix(b""));
        let page = page.map_err(|error| said("restart-keeps", &error))?;
        let expected: Vec<_> = self.naive.now().values().map(|v| v.kv.clone()).collect();
        holds("restart-keeps", page.items == expected, || {
            format!("way {way}: {:?}, expected {expected:?}", page.items)
        })?;
        self.lazy = None;
        // Clients come back with what they know.
        for mut follower in std::mem::take(&mut self.followers) {
            let (from, known) = (follower.upto, self.naive.knows(follower.upto));
            match self.store.watch(follower.prefix, Revision(from)) {
                Err(error) => refused(&error, known, from)?,
                Ok(watcher) => {
                    holds("refused", known == Known::Yes, || {
                        format!("watch from {from}, which is {known:?}: not refused")
                    })?;
                    follower.watcher = watcher;
                    follower.asked = false;
                    self.followers.push(follower);
                }
            }
        }
        Ok(())
    }

    /// Nothing may be left untold.
    fn finish(mut self) -> Result<(), Finding> {
        let lazy = self.lazy.take();
        for mut follower in std::mem::take(&mut self.followers).into_iter().chain(lazy) {
            read_out(&mut follower, &self.naive)?;
        }
        Ok(())
    }
}

enum Taken {
    Something,
    Nothing,
    /// Its place was compacted away.
    Over,
}

/// One batch, which must be what happened since the last.
fn take(follower: &mut Follower, naive: &Naive) -> Result<Taken, Finding> {
    let upto = follower.upto;
    let batch = match follower.watcher.try_next() {
        Ok(Some(batch)) => batch,
        Ok(None) => return Ok(Taken::Nothing),
        Err(StoreError::Compacted { .. }) if upto < naive.compacted => return Ok(Taken::Over),
        Err(error) => return Err(said("watch-complete", &error)),
    };
    let now = batch.revision.0;
    holds(
        "watch-complete",
        now >= upto && now <= naive.revision,
        || {
            format!(
                "was told up to {upto}, is told up to {now} of {}",
                naive.revision
            )
        },
    )?;
    let told: Vec<Change> = batch.events.iter().map(change).collect();
    if told.is_empty() {
        holds("progress-true", follower.asked, || {
            format!("nobody asked about {now}")
        })?;
        follower.asked = false;
    }
    let expected = naive.told(follower.prefix, upto, now);
    let check = if told.is_empty() {
        "progress-true"
    } else {
        "watch-complete"
    };
    holds(check, told == expected, || {
        format!(
            "{:?} behind {upto} up to {now}: told {told:?}, expected {expected:?}",
            follower.prefix
        )
    })?;
    follower.upto = now;
    Ok(Taken::Something)
}

/// The rest, until it knows everything.
fn read_out(follower: &mut Follower, naive: &Naive) -> Result<(), Finding> {
    follower.asked = true;
    follower.watcher.progress_requester().request();
    loop {
        match take(follower, naive)? {
            Taken::Something => {}
            Taken::Over => return Ok(()),
            Taken::Nothing => break,
        }
    }
    holds("watch-complete", follower.upto == naive.revision, || {
        format!(
            "told up to {} of {}, then silence",
            follower.upto, naive.revision
        )
    })
}

fn change(event: &store::Event) -> Change {
    Change {
        kind: event.kind,
        key: event.kv.key.clone(),
        value: event.kv.value.clone(),
        revision: event.kv.mod_revision.0,
        prev: event.prev.clone(),
    }
}

/// A refusal is right if the model refuses too, for the same reason.
fn refused(error: &StoreError, known: Known, at: u64) -> Result<(), Finding> {
    let right = match error {
        StoreError::Compacted { .. } => known == Known::Compacted,
        StoreError::Future { .. } => known == Known::Future,
        _ => false,
    };
    holds("refused", right, || format!("{at} is {known:?}: {error}"))
}

fn said(check: &'static str, error: &StoreError) -> Finding {
    let detail = base::Chain(error).to_string();
    Finding { check, detail }
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or_default()
}
