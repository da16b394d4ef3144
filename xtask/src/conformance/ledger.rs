//! The committed record of upstream's suite, as text in and text out. Pure; `files` reads and writes.
//!
//! - `specs.txt`: the Conformance specs there are.
//! - `passing.txt`: every spec that ever passed; only grows.
//! - `runs.jsonl`: a line a spec and run, `{"run":3,"commit":"c","spec":"s","result":"passed",
//!   "seconds":1.5}`, with the first words of a failure as `cause`. Only grows.
//! - `suspects.jsonl`: specs that failed in CI twice on one build and whose history shows a flake.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::outcome::{End, Outcome};

mod files;

pub(super) use files::Files;

/// A run is full when it has a verdict on so many of a hundred specs.
const FULL_PERCENT: usize = 95;
/// Full runs that a spec must have passed before a failure of it means the change.
pub(super) const FULL_RUNS: usize = 3;
/// Characters of a failure's message in `runs.jsonl`.
const CAUSE_LIMIT: usize = 300;
/// Characters of a suspect's log.
const LOG_LIMIT: usize = 2000;

#[derive(Default)]
pub(super) struct Ledger {
    pub(super) specs: Vec<String>,
    pub(super) passing: BTreeSet<String>,
    /// In the order of the file, which is that of time.
    entries: Vec<Entry>,
    pub(super) suspects: BTreeMap<String, Suspect>,
}

/// One spec in one run.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    run: u64,
    pub(super) commit: String,
    spec: String,
    pub(super) passed: bool,
    pub(super) seconds: f64,
    pub(super) cause: String,
}

/// When and how a spec became one.
pub(super) struct Suspect {
    pub(super) commit: String,
    pub(super) log: String,
}

/// What the ledger says of a spec.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum State {
    Passed,
    Failed,
    NeverRun,
}

/// The ledger's files.
#[derive(Default)]
pub(super) struct Texts {
    pub(super) specs: String,
    pub(super) passing: String,
    pub(super) runs: String,
    pub(super) suspects: String,
}

impl Ledger {
    pub(super) fn parse(texts: &Texts) -> Result<Ledger> {
        let mut ledger = Ledger {
            specs: names(&texts.specs),
            passing: names(&texts.passing).into_iter().collect(),
            ..Ledger::default()
        };
        for (number, line) in texts.runs.lines().enumerate() {
            let entry = Entry::parse(line).with_context(|| format!("runs.jsonl:{}", number + 1))?;
            ledger.entries.push(entry);
        }
        for (number, line) in texts.suspects.lines().enumerate() {
            let (spec, suspect) =
                Suspect::parse(line).with_context(|| format!("suspects.jsonl:{}", number + 1))?;
            ledger.suspects.insert(spec, suspect);
        }
        Ok(ledger)
    }

    /// Takes a run's outcomes in. The lines to append to `runs.jsonl`.
    pub(super) fn add(&mut self, commit: &str, outcomes: &[Outcome]) -> String {
        let run = 1 + self
            .entries
            .iter()
            .map(|entry| entry.run)
            .max()
            .unwrap_or(0);
        let mut lines = String::new();
        for outcome in outcomes {
            if matches!(outcome.end, End::Unfinished(_)) {
                continue;
            }
            let failure = outcome.failure().unwrap_or_default();
            let entry = Entry {
                run,
                commit: commit.to_owned(),
                spec: outcome.name.clone(),
                passed: outcome.passed(),
                seconds: (outcome.seconds * 10.0).round() / 10.0,
                cause: shorten(failure, CAUSE_LIMIT),
            };
            lines.push_str(&entry.line());
            lines.push('\n');
            self.entries.push(entry);
            if outcome.passed() {
                self.passing.insert(outcome.name.clone());
            }
        }
        lines
    }

    /// The line to append to `suspects.jsonl`; none when the spec is there already.
    pub(super) fn suspect(&mut self, spec: &str, commit: &str, log: &str) -> Option<String> {
        if self.suspects.contains_key(spec) {
            return None;
        }
        let suspect = Suspect {
            commit: commit.to_owned(),
            log: log.chars().take(LOG_LIMIT).collect(),
        };
        let line = json!({"commit": suspect.commit, "spec": spec, "log": suspect.log});
        self.suspects.insert(spec.to_owned(), suspect);
        Some(format!("{line}\n"))
    }

    /// `passing.txt`.
    pub(super) fn passing_text(&self) -> String {
        let lines = self.passing.iter().flat_map(|name| [name.as_str(), "\n"]);
        lines.collect()
    }

    /// All that is on record of a spec, in the order of time.
    pub(super) fn history<'a>(&'a self, spec: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(move |entry| entry.spec == spec)
    }

    pub(super) fn last(&self, spec: &str) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.spec == spec)
    }

    /// The last run decides; before there were any on record, the list of those that passed.
    pub(super) fn state(&self, spec: &str) -> State {
        match self.last(spec) {
            Some(entry) if entry.passed => State::Passed,
            Some(_) => State::Failed,
            None if self.passing.contains(spec) => State::Passed,
            None => State::NeverRun,
        }
    }

    /// Did it ever change its verdict by itself: both ways on one commit, or failed between two
    /// passes?
    pub(super) fn is_flaky(&self, spec: &str) -> bool {
        let history: Vec<&Entry> = self.history(spec).collect();
        let both = |entry: &&Entry| {
            let other = |more: &&Entry| more.commit == entry.commit && more.passed != entry.passed;
            history.iter().any(other)
        };
        let healed = history
            .iter()
            .skip_while(|entry| !entry.passed)
            .skip_while(|entry| entry.passed)
            .any(|entry| entry.passed);
        healed || history.iter().any(both)
    }

    /// May a failure of it be held against the change at hand? It passed the last three full runs
    /// and all since; until there are three, it passed in every run on record.
    pub(super) fn is_steady(&self, spec: &str) -> bool {
        let full = self.full_runs();
        let steady = match full.len().checked_sub(FULL_RUNS) {
            None => self.history(spec).all(|entry| entry.passed),
            Some(first) => {
                let since: Vec<&Entry> = self
                    .history(spec)
                    .filter(|entry| entry.run >= full[first])
                    .collect();
                let passed_in = |run: &u64| since.iter().any(|entry| entry.run == *run);
                since.iter().all(|entry| entry.passed) && full[first..].iter().all(passed_in)
            }
        };
        steady && self.passing.contains(spec) && !self.suspects.contains_key(spec)
    }

    /// The full runs on record, oldest first.
    pub(super) fn full_runs(&self) -> Vec<u64> {
        let specs: BTreeSet<&str> = self.specs.iter().map(String::as_str).collect();
        let mut seen: BTreeMap<u64, BTreeSet<&str>> = BTreeMap::new();
        for entry in &self.entries {
            if specs.contains(entry.spec.as_str()) {
                seen.entry(entry.run).or_default().insert(&entry.spec);
            }
        }
        let is_full = |count: usize| count > 0 && count * 100 >= specs.len() * FULL_PERCENT;
        seen.retain(|_, names| is_full(names.len()));
        seen.into_keys().collect()
    }

    /// Number, commit, passed and failed specs of the last run.
    pub(super) fn last_run(&self) -> Option<(u64, &str, usize, usize)> {
        let last = self.entries.last()?;
        let of_run = |passed: bool| {
            let same = |entry: &&Entry| entry.run == last.run && entry.passed == passed;
            self.entries.iter().filter(same).count()
        };
        Some((last.run, &last.commit, of_run(true), of_run(false)))
    }
}

impl Entry {
    fn parse(line: &str) -> Result<Entry> {
        let value: Value = serde_json::from_str(line)?;
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        Ok(Entry {
            run: value["run"].as_u64().unwrap_or(0),
            commit: text("commit").context("commit")?,
            spec: text("spec").context("spec")?,
            passed: text("result").context("result")? == "passed",
            seconds: value["seconds"].as_f64().context("seconds")?,
            cause: text("cause").unwrap_or_default(),
        })
    }

    fn line(&self) -> String {
        let mut line = json!({
            "run": self.run,
            "commit": self.commit,
            "spec": self.spec,
            "result": if self.passed { "passed" } else { "failed" },
            "seconds": self.seconds,
        });
        if !self.cause.is_empty() {
            line["cause"] = json!(self.cause);
        }
        line.to_string()
    }
}

impl Suspect {
    fn parse(line: &str) -> Result<(String, Suspect)> {
        let value: Value = serde_json::from_str(line)?;
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let suspect = Suspect {
            commit: text("commit"),
            log: text("log"),
        };
        Ok((value["spec"].as_str().context("spec")?.to_owned(), suspect))
    }
}

/// Names of specs, a line each; `#` begins a remark.
pub(super) fn names(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim);
    let names = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    names.map(str::to_owned).collect()
}

fn shorten(message: &str, limit: usize) -> String {
    let words: Vec<&str> = message.split_whitespace().collect();
    words.join(" ").chars().take(limit).collect()
}

#[cfg(test)]
pub(in crate::conformance) mod tests;
