//! Faults planted on purpose, to see that the checks of `make faults` find them.
//!
//! One at a time, for the whole process. Without the feature `mutants`, which only the crate
//! `faults` ever asks for, [`planted`] is `false` at compile time and nothing of this is in the
//! program.
//! Source of the classes: etcd v3.6 tests/robustness/README.md (the bugs that it reproduces).

#[cfg(feature = "mutants")]
use std::sync::atomic::{AtomicUsize, Ordering};

/// What can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "mutants"),
    expect(unreachable_pub, reason = "public with the feature")
)]
pub enum Mutant {
    /// `synchronous=OFF`: nothing is flushed.
    NoFlush,
    /// A durable write is acknowledged before its flush.
    AnswerBeforeFlush,
    /// Relaxed writes are never flushed.
    NeverFlushed,
    /// A transaction of several keys reaches the log in two.
    HalfTransaction,
    /// After a power cut the lost revisions are given out again.
    NoJump,
    /// The log has the newest change at start, the state has not.
    ApplyWithoutIndex,
    /// After a restart the newest revision never was.
    TimeTravel,
    /// A restart keeps the state and forgets the history, and does not say so.
    HistoryForgotten,
    /// Two transactions get one revision.
    RevisionTwice,
    /// A write is acknowledged before readers see it.
    AnswerBeforeView,
    /// Compares do not see what came before in the same batch.
    LostUpdate,
    /// Watchers are not told of some deletions.
    LostDelete,
    /// Compaction takes a deletion behind it along, if it deleted what was older.
    CompactDeleteWatch,
    /// Progress is told before the events that it covers.
    ProgressAhead,
    /// A watch from a revision that does not exist yet is taken.
    FutureWatch,
    /// A watch begins one revision too late.
    LateWatch,
    /// A watcher whose queue is full misses what did not fit.
    StuckSkips,
    /// A read at a revision shows the newest state.
    PageDrifts,
    /// A later put does not renew the time to live.
    OldExpiry,
    /// A later put is passed over by who asks for what only the new value has.
    OldMarks,
}

#[cfg(feature = "mutants")]
impl Mutant {
    /// All of them.
    pub const ALL: &[Mutant] = &[
        Mutant::NoFlush,
        Mutant::AnswerBeforeFlush,
        Mutant::NeverFlushed,
        Mutant::HalfTransaction,
        Mutant::NoJump,
        Mutant::ApplyWithoutIndex,
        Mutant::TimeTravel,
        Mutant::HistoryForgotten,
        Mutant::RevisionTwice,
        Mutant::AnswerBeforeView,
        Mutant::LostUpdate,
        Mutant::LostDelete,
        Mutant::CompactDeleteWatch,
        Mutant::ProgressAhead,
        Mutant::FutureWatch,
        Mutant::LateWatch,
        Mutant::StuckSkips,
        Mutant::PageDrifts,
        Mutant::OldExpiry,
        Mutant::OldMarks,
    ];

    /// By the name that `Debug` writes.
    pub fn named(name: &str) -> Option<Mutant> {
        let mut all = Mutant::ALL.iter();
        all.find(|mutant| format!("{mutant:?}") == name).copied()
    }
}

/// The planted one's number, from 1.
#[cfg(feature = "mutants")]
static PLANTED: AtomicUsize = AtomicUsize::new(0);

/// Breaks this process's stores that way; nothing: mends them.
#[cfg(feature = "mutants")]
pub fn plant(mutant: Option<Mutant>) {
    let number = mutant.map_or(0, |mutant| 1 + mutant as usize);
    PLANTED.store(number, Ordering::SeqCst);
}

#[cfg(feature = "mutants")]
pub(crate) fn planted(mutant: Mutant) -> bool {
    PLANTED.load(Ordering::Relaxed) == 1 + mutant as usize
}

#[cfg(not(feature = "mutants"))]
pub(crate) const fn planted(_: Mutant) -> bool {
    false
}
