//! The result as Markdown: a row a sig, then what failed and what changed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::ledger::Ledger;
use super::outcome::Outcome;

#[derive(Default)]
struct Row {
    passed: usize,
    failed: usize,
    seconds: f64,
    gained: usize,
    lost: usize,
}

pub(super) fn render(outcomes: &[Outcome], ledger: &Ledger) -> String {
    let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
    for outcome in outcomes {
        for key in [outcome.sig(), "~all"] {
            let row = rows.entry(key).or_default();
            row.seconds += outcome.seconds;
            match (outcome.passed(), ledger.has(&outcome.name)) {
                (true, known) => {
                    row.passed += 1;
                    row.gained += usize::from(!known);
                }
                (false, known) => {
                    row.failed += 1;
                    row.lost += usize::from(known);
                }
            }
        }
    }
    let mut text =
        "| sig | passed | failed | seconds | new | lost |\n|---|---|---|---|---|---|\n".to_owned();
    for (sig, row) in rows {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {:.0} | {} | {} |",
            sig.trim_start_matches('~'),
            row.passed,
            row.failed,
            row.seconds,
            row.gained,
            row.lost
        );
    }
    for outcome in outcomes {
        let Some(failure) = &outcome.failure else {
            continue;
        };
        let first: String = failure.chars().take(600).collect();
        let lost = if ledger.has(&outcome.name) {
            " (passed before)"
        } else {
            ""
        };
        let _ = writeln!(
            text,
            "\nFAILED{lost} {}\n    {}",
            outcome.name,
            first.replace('\n', "\n    ")
        );
    }
    text
}
