//! Which specs continuous integration runs: a fixed core and a part that changes with the commit.
//! Pure.
//!
//! The core takes the fastest steady spec of every sig in turn until its seconds are used up, so
//! that each sig is seen however slow its specs are. The rest is ordered by a hash of commit and
//! spec: every change sees other ones, and the same commit the same ones.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::ledger::Ledger;
use super::outcome::sig;

/// What a spec without a run on record is taken to need.
const UNKNOWN_SECONDS: f64 = 20.0;
/// Parallel processes never end together, and the machine has other things to do.
const SLACK: f64 = 1.3;

/// Adds up what specs need when `procs` run at once and serial ones alone.
struct Clock {
    procs: f64,
    parallel: f64,
    longest: f64,
    serial: f64,
}

impl Clock {
    fn new(procs: usize) -> Clock {
        let procs = u32::try_from(procs.max(1)).unwrap_or(u32::MAX);
        Clock {
            procs: procs.into(),
            parallel: 0.0,
            longest: 0.0,
            serial: 0.0,
        }
    }

    /// False if `spec` would go past `limit`.
    fn take(&mut self, spec: &str, seconds: f64, limit: Duration) -> bool {
        let (mut parallel, mut longest, mut serial) = (self.parallel, self.longest, self.serial);
        if spec.contains("[Serial]") {
            serial += seconds;
        } else {
            parallel += seconds;
            longest = longest.max(seconds);
        }
        if (parallel / self.procs * SLACK).max(longest) + serial > limit.as_secs_f64() {
            return false;
        }
        (self.parallel, self.longest, self.serial) = (parallel, longest, serial);
        true
    }
}

fn seconds(ledger: &Ledger, spec: &str) -> f64 {
    // The slowest of them: a budget that is kept in the worst case is kept.
    let slowest = ledger.history(spec).map(|entry| entry.seconds);
    slowest.reduce(f64::max).unwrap_or(UNKNOWN_SECONDS)
}

/// The same specs for every commit of a ledger.
pub(super) fn core(ledger: &Ledger, limit: Duration, procs: usize) -> Vec<String> {
    let mut sigs: BTreeMap<&str, Vec<(f64, &String)>> = BTreeMap::new();
    for spec in ledger.specs.iter().filter(|spec| ledger.is_steady(spec)) {
        let of_sig = sigs.entry(sig(spec)).or_default();
        of_sig.push((seconds(ledger, spec), spec));
    }
    let mut turns: VecDeque<VecDeque<(f64, &String)>> = VecDeque::new();
    for (_, mut of_sig) in sigs {
        of_sig.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(other.1)));
        turns.push_back(of_sig.into());
    }
    let mut clock = Clock::new(procs);
    let mut chosen = Vec::new();
    while let Some(mut turn) = turns.pop_front() {
        let Some((seconds, spec)) = turn.pop_front() else {
            continue;
        };
        // What a sig's fastest does not fit, its next does not either.
        if clock.take(spec, seconds, limit) {
            chosen.push(spec.clone());
            turns.push_back(turn);
        }
    }
    chosen.sort();
    chosen
}

/// What of the other steady specs fits, in an order that `commit` decides.
pub(super) fn rotating(
    ledger: &Ledger,
    core: &[String],
    commit: &str,
    limit: Duration,
    procs: usize,
) -> Vec<String> {
    let core: BTreeSet<&String> = core.iter().collect();
    let mut order: Vec<([u8; 32], &String)> = ledger
        .specs
        .iter()
        .filter(|spec| ledger.is_steady(spec) && !core.contains(spec))
        .map(|spec| (Sha256::digest(format!("{commit}\n{spec}")).into(), spec))
        .collect();
    order.sort();
    let mut clock = Clock::new(procs);
    let mut chosen: Vec<String> = order
        .into_iter()
        .filter(|(_, spec)| clock.take(spec, seconds(ledger, spec), limit))
        .map(|(_, spec)| spec.clone())
        .collect();
    chosen.sort();
    chosen
}

#[cfg(test)]
mod tests;
