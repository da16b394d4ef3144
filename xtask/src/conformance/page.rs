//! docs/CONFORMANCE.md: what the ledger says, for people. Pure.
//!
//! Owns what stands between its two marks; the rest of the page is written by hand or by others.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::cause::cause;
use super::ledger::{FULL_RUNS, Ledger, State};
use super::outcome::sig;
use crate::page::with_part;

const BEGIN: &str = "<!-- ledger: written by `cargo xtask conformance` -->";
const END: &str = "<!-- ledger: end -->";
/// Causes that the page names, and specs of each.
const CAUSES: usize = 40;
const SPECS_OF_CAUSE: usize = 5;
/// What the page says before anybody wrote more.
const INTRODUCTION: &str = "# Conformance\n\nUpstream's own suite (kubernetes v1.36.3, the specs that certification runs) against Transom. `make conformance` repeats it; [CONTRIBUTING.md](../CONTRIBUTING.md) says how.";

/// The page with its part of the ledger brought up to date.
pub(super) fn update(page: &str, ledger: &Ledger) -> String {
    let part = format!("\n{}", render(ledger));
    with_part(page, (BEGIN, END), &part).unwrap_or_else(|| {
        let before = match page.trim_end() {
            "" => INTRODUCTION,
            page => page,
        };
        format!("{before}\n\n{BEGIN}{part}{END}\n")
    })
}

#[derive(Default)]
struct Row {
    specs: usize,
    passed: usize,
    failed: usize,
    fell: usize,
    never: usize,
    steady: usize,
}

fn render(ledger: &Ledger) -> String {
    let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
    for spec in &ledger.specs {
        for key in [sig(spec), "~all"] {
            let row = rows.entry(key).or_default();
            row.specs += 1;
            row.steady += usize::from(ledger.is_steady(spec));
            match ledger.state(spec) {
                State::Passed => row.passed += 1,
                State::Failed => {
                    row.failed += 1;
                    row.fell += usize::from(ledger.passing.contains(spec));
                }
                State::NeverRun => row.never += 1,
            }
        }
    }
    let mut text =
        "| sig | specs | passed | failed | of these passed before | never run | steady |\n\
         |---|---|---|---|---|---|---|\n"
            .to_owned();
    for (sig, row) in rows {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} |",
            sig.trim_start_matches('~'),
            row.specs,
            row.passed,
            row.failed,
            row.fell,
            row.never,
            row.steady,
        );
    }
    let full = ledger.full_runs().len();
    let steady = if full < FULL_RUNS {
        format!("passed in every run on record (full runs so far: {full} of {FULL_RUNS})")
    } else {
        format!("passed the last {FULL_RUNS} full runs and all since")
    };
    let _ = writeln!(
        text,
        "\nA spec's state is that of its last run; steady ones {steady}, and continuous \
         integration holds a change to them."
    );
    if let Some((run, commit, passed, failed)) = ledger.last_run() {
        let _ = writeln!(
            text,
            "The last of the runs on record is number {run}, of commit {commit}: {passed} passed, \
             {failed} failed."
        );
    }
    failures(&mut text, ledger);
    suspects(&mut text, ledger);
    text
}

/// What to mend next: the cause that most specs share first.
fn failures(text: &mut String, ledger: &Ledger) {
    let mut causes: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for spec in &ledger.specs {
        if let Some(last) = ledger.last(spec).filter(|last| !last.passed) {
            causes.entry(cause(&last.cause)).or_default().push(spec);
        }
    }
    if causes.is_empty() {
        return;
    }
    let mut causes: Vec<(String, Vec<&str>)> = causes.into_iter().collect();
    causes.sort_by_key(|(_, specs)| std::cmp::Reverse(specs.len()));
    text.push_str("\n## Next failures by cause\n| specs | cause | which |\n|---|---|---|\n");
    for (cause, specs) in causes.iter().take(CAUSES) {
        let mut which: Vec<String> = specs
            .iter()
            .take(SPECS_OF_CAUSE)
            .map(|spec| spec.replace('|', "/"))
            .collect();
        if specs.len() > SPECS_OF_CAUSE {
            which.push(format!("and {} more", specs.len() - SPECS_OF_CAUSE));
        }
        let _ = writeln!(
            text,
            "| {} | {cause} | {} |",
            specs.len(),
            which.join("<br>")
        );
    }
    if causes.len() > CAUSES {
        let _ = writeln!(text, "\n{} more causes.", causes.len() - CAUSES);
    }
}

/// What continuous integration saw fail twice on one build and could not blame on the change.
fn suspects(text: &mut String, ledger: &Ledger) {
    if ledger.suspects.is_empty() {
        return;
    }
    text.push_str("\n## Suspects\nFailed twice on one build, after a history of both verdicts; their logs are in `tests/conformance/suspects.jsonl`.\n");
    for (spec, suspect) in &ledger.suspects {
        let _ = writeln!(
            text,
            "- {spec} ({}: {})",
            suspect.commit,
            cause(&suspect.log)
        );
    }
}

#[cfg(test)]
mod tests;
