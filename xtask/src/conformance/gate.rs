//! What continuous integration holds a change to: the core, then what fits of the rest.
//!
//! `select` chooses, this runs. What fails is run once more on the same build and cluster. Failing
//! twice is a failure of the change, unless the ledger knows the spec to change its verdict by
//! itself: then it becomes a suspect, with what it said.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::Instant;

use super::ledger::{FULL_RUNS, Ledger};
use super::outcome::{End, Outcome};
use super::select;
use crate::tool::say;

/// Of the core's specs: with the cluster's start and end it stays below eight minutes.
const CORE: Duration = Duration::from_secs(400);
/// What the core gets of a budget that is smaller.
const LEAST_CORE: Duration = Duration::from_secs(60);
/// A slow machine shows in the seconds, not in verdicts that never come.
const CORE_LIMIT: Duration = Duration::from_secs(1800);
/// What one more call of the suite and the end of a run need beside the specs.
const OVERHEAD: Duration = Duration::from_secs(40);
/// Below this the rotating part is left out.
const LEAST: Duration = Duration::from_secs(30);

/// Runs the named specs within a time, into a folder of the report's.
pub(super) type Runner<'a> = dyn Fn(&str, &[String], Duration) -> Result<Vec<Outcome>> + 'a;

/// What a gate found.
#[derive(Default)]
pub(super) struct Verdict {
    /// Of each spec the last; of what had no time none.
    pub(super) outcomes: Vec<Outcome>,
    /// First outcomes of what was run twice.
    pub(super) first: Vec<Outcome>,
    /// Failures that the change must answer for.
    pub(super) red: Vec<String>,
    /// Failures of specs that are known to change by themselves, with what they said.
    pub(super) suspects: Vec<(String, String)>,
    core: usize,
    core_seconds: u64,
    rotating: usize,
    rotating_seconds: u64,
}

/// `budget` is for all of it; with little the core is smaller, and never less than its least.
pub(super) fn run(
    ledger: &Ledger,
    commit: &str,
    budget: Duration,
    procs: usize,
    runner: &Runner<'_>,
) -> Result<Verdict> {
    let start = Instant::now();
    let core = select::core(ledger, budget.clamp(LEAST_CORE, CORE), procs);
    ensure!(!core.is_empty(), "the ledger holds no steady spec");
    let full = ledger.full_runs().len();
    if full < FULL_RUNS {
        say(&format!(
            "full runs on record: {full} of {FULL_RUNS}; until then steady is what passed in every run on record"
        ));
    }
    say(&format!("core: {} specs", core.len()));
    let mut verdict = Verdict {
        core: core.len(),
        ..Verdict::default()
    };
    verdict.part(ledger, &core, "core", CORE_LIMIT, runner)?;
    verdict.core_seconds = start.elapsed().as_secs();

    let left = budget.saturating_sub(start.elapsed() + OVERHEAD);
    let rest = match left >= LEAST {
        true => select::rotating(ledger, &core, commit, left, procs),
        false => Vec::new(),
    };
    if !rest.is_empty() {
        let since = Instant::now();
        say(&format!(
            "rotating part: {} specs for {} s",
            rest.len(),
            left.as_secs()
        ));
        verdict.rotating = rest.len();
        verdict.part(ledger, &rest, "rotating", left, runner)?;
        verdict.rotating_seconds = since.elapsed().as_secs();
    }
    Ok(verdict)
}

impl Verdict {
    fn part(
        &mut self,
        ledger: &Ledger,
        wanted: &[String],
        folder: &str,
        limit: Duration,
        runner: &Runner<'_>,
    ) -> Result<()> {
        let mut outcomes = complete(wanted, runner(folder, wanted, limit)?);
        if folder == "rotating" {
            // The time was up, not the spec's fault: another commit brings it back.
            outcomes.retain(|outcome| !matches!(outcome.end, End::Unfinished(_)));
        }
        let (passed, again): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Outcome::passed);
        self.outcomes.extend(passed);
        if again.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = again.iter().map(|outcome| outcome.name.clone()).collect();
        say(&format!("once more: {names:#?}"));
        self.first.extend(again);
        let folder = format!("{folder}-again");
        for outcome in complete(&names, runner(&folder, &names, CORE_LIMIT)?) {
            match &outcome.end {
                End::Passed => {}
                End::Failed(message) if ledger.is_flaky(&outcome.name) => {
                    self.suspects.push((outcome.name.clone(), message.clone()));
                }
                End::Failed(_) | End::Unfinished(_) => self.red.push(outcome.name.clone()),
            }
            self.outcomes.push(outcome);
        }
        Ok(())
    }

    /// The end of the gate's output.
    pub(super) fn summary(&self) -> String {
        let mut text = format!(
            "conformance gate: core {} specs in {} s, rotating part {} specs in {} s\n",
            self.core, self.core_seconds, self.rotating, self.rotating_seconds
        );
        for outcome in &self.first {
            let healed = !self.red.contains(&outcome.name)
                && !self.suspects.iter().any(|(name, _)| *name == outcome.name);
            if healed {
                let _ = writeln!(text, "passed only when run again: {}", outcome.name);
            }
        }
        for (name, _) in &self.suspects {
            let _ = writeln!(text, "suspect: {name}");
        }
        for name in &self.red {
            let _ = writeln!(text, "failed twice: {name}");
        }
        text
    }
}

/// An outcome for every name, in their order.
fn complete(wanted: &[String], outcomes: Vec<Outcome>) -> Vec<Outcome> {
    let find = |name: &String| {
        let found = outcomes.iter().find(|outcome| outcome.name == *name);
        found.cloned().unwrap_or_else(|| Outcome {
            name: name.clone(),
            seconds: 0.0,
            end: End::Unfinished("the suite did not come to it".to_owned()),
        })
    };
    wanted.iter().map(find).collect()
}

#[cfg(test)]
mod tests;
