//! What is fuzzed: a table of targets, each a reader of something that others send, and its laws.
//!
//! Owns the targets, their budgets of heap and time, what must hold beyond not panicking, and the
//! mutants that are tried of each input (`family`, `mutate`).
//! `fuzz/engine` runs them under libFuzzer (`make fuzz`), `tests/replay.rs` runs the committed
//! corpus and all past findings as an ordinary test. Knows no engine.
//! A target panics when a law is broken; errors of the reader are as good as success.
//!
//! Features are groups of targets, so that an engine of small readers is built without what the large
//! ones need; each module has its own table, so that a binary links what it names and no more: all of
//! Transom has 220,000 edges, whose counters are cleared and looked at for every input.

#[cfg(feature = "connections")]
pub mod connections;
#[cfg(feature = "credentials")]
pub mod credentials;
#[cfg(feature = "documents")]
pub mod documents;
pub mod family;
#[cfg(feature = "files")]
pub mod files;
#[cfg(feature = "images")]
pub mod images_;
pub mod mutate;
#[cfg(feature = "names")]
pub mod names;
#[cfg(feature = "documents")]
pub mod patches;
#[cfg(feature = "requests")]
pub mod requests;
#[cfg(feature = "texts")]
pub mod texts;

use std::time::{Duration, Instant};

/// One reader.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Folder of its corpus, and its name on the command line.
    pub name: &'static str,
    /// Runs it on one input; panics when a law is broken.
    pub run: fn(&[u8]),
    /// The longest input that is tried.
    pub most: usize,
    /// Heap that a run may take at any moment.
    pub heap: Heap,
}

/// A bound on heap: so much, and so much for each byte of the input.
#[derive(Clone, Copy, Debug)]
pub struct Heap {
    /// Whatever the input.
    pub base: usize,
    /// For each byte.
    pub factor: usize,
}

impl Target {
    /// A row of a group's table.
    #[must_use]
    pub const fn new(name: &'static str, run: fn(&[u8]), most: usize, heap: Heap) -> Target {
        Target {
            name,
            run,
            most,
            heap,
        }
    }
}

impl Heap {
    /// Readers that hold little more than their input.
    pub const SMALL: Heap = Heap {
        base: 256 << 10,
        factor: 64,
    };
    /// Documents and the copies that their laws take.
    pub const DOCUMENT: Heap = Heap {
        base: 4 << 20,
        factor: 2048,
    };
    /// A connection with its buffers at both ends.
    pub const CONNECTION: Heap = Heap {
        base: 12 << 20,
        factor: 256,
    };

    /// The bound for an input of `length` bytes.
    #[must_use]
    pub const fn bound(&self, length: usize) -> usize {
        self.base + self.factor * length
    }
}

/// Processor time of one input.
pub const TIME: Duration = Duration::from_millis(500);

/// The targets of the groups that are compiled in.
pub const GROUPS: &[&[Target]] = &[
    #[cfg(feature = "documents")]
    documents::TARGETS,
    #[cfg(feature = "documents")]
    patches::TARGETS,
    #[cfg(feature = "texts")]
    texts::TARGETS,
    #[cfg(feature = "files")]
    files::TARGETS,
    #[cfg(feature = "requests")]
    requests::TARGETS,
    #[cfg(feature = "credentials")]
    credentials::TARGETS,
    #[cfg(feature = "images")]
    images_::TARGETS,
    #[cfg(feature = "names")]
    names::TARGETS,
    #[cfg(feature = "connections")]
    connections::TARGETS,
];

/// All of them.
pub fn targets() -> impl Iterator<Item = &'static Target> {
    GROUPS.iter().copied().flatten()
}

/// The target of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Target> {
    targets().find(|target| target.name == name)
}

/// Runs a target within its budgets.
///
/// # Panics
/// When a law is broken, or a budget.
#[expect(
    clippy::disallowed_methods,
    reason = "real time is what the budget is of"
)]
pub fn check(target: &Target, data: &[u8], heap: &peak_alloc::PeakAlloc) {
    let data = &data[..data.len().min(target.most)];
    let before = heap.current_usage();
    heap.reset_peak_usage();
    let start = Instant::now();
    (target.run)(data);
    let elapsed = start.elapsed();
    let held = heap.peak_usage().saturating_sub(before);
    let bound = target.heap.bound(data.len());
    assert!(
        held <= bound,
        "heap: {} took {held} bytes for {} bytes of input, more than {bound}",
        target.name,
        data.len()
    );
    if elapsed > TIME {
        // The machine may have been busy: what counts is the processor time of a second run.
        let used = processor_time(|| (target.run)(data));
        assert!(
            used <= TIME,
            "time: {} took {used:?} of processor time for {} bytes of input",
            target.name,
            data.len()
        );
    }
}

fn processor_time(work: impl FnOnce()) -> Duration {
    let now = || {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(
            u64::try_from(now.tv_sec).unwrap_or_default(),
            u32::try_from(now.tv_nsec).unwrap_or_default(),
        )
    };
    let before = now();
    work();
    now().saturating_sub(before)
}

/// Text of any bytes.
#[must_use]
pub fn text(data: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(data)
}

/// What was printed, read again.
///
/// # Panics
/// When it does not read: the law of all that is printed.
#[track_caller]
pub fn again<T, E: std::fmt::Display>(printed: &str, read: impl FnOnce(&str) -> Result<T, E>) -> T {
    read(printed).unwrap_or_else(|error| panic!("{printed:?} does not read: {error}"))
}

/// The parts between lines of three dashes.
#[must_use]
pub fn parts(data: &[u8]) -> Vec<&[u8]> {
    const MARK: &[u8] = b"\n---\n";
    let mut parts = Vec::new();
    let mut rest = data;
    while let Some(at) = rest.windows(MARK.len()).position(|window| window == MARK) {
        parts.push(&rest[..at]);
        rest = &rest[at + MARK.len()..];
    }
    parts.push(rest);
    parts
}
