//! One run as Markdown: a row a sig, then what failed, what has no verdict and what changed. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::ledger::{Ledger, State};
use super::outcome::{End, Outcome, sig};

/// Characters of a failure's message.
const MESSAGE_LIMIT: usize = 600;

#[derive(Default)]
struct Row {
    passed: usize,
    failed: usize,
    unfinished: usize,
    seconds: f64,
    /// Against what the ledger says of the spec's last run.
    gained: usize,
    lost: usize,
    seconds_before: f64,
    seconds_since: f64,
}

impl Row {
    fn count(&mut self, outcome: &Outcome, ledger: &Ledger) {
        let before = ledger.state(&outcome.name);
        match &outcome.end {
            End::Passed => {
                self.passed += 1;
                self.gained += usize::from(before != State::Passed);
            }
            End::Failed(_) => {
                self.failed += 1;
                self.lost += usize::from(before == State::Passed);
            }
            End::Unfinished(_) => self.unfinished += 1,
        }
        self.seconds += outcome.seconds;
        if let Some(last) = ledger.last(&outcome.name) {
            self.seconds_before += last.seconds;
            self.seconds_since += outcome.seconds;
        }
    }

    /// `+2 −1, −14 s`: newly passed, newly failed, and seconds of the specs that ran before.
    fn change(&self) -> String {
        let mut parts = Vec::new();
        if self.gained > 0 {
            parts.push(format!("+{}", self.gained));
        }
        if self.lost > 0 {
            parts.push(format!("−{}", self.lost));
        }
        let mut text = parts.join(" ");
        let more = self.seconds_since - self.seconds_before;
        if more.abs() >= 1.0 {
            let sign = if more < 0.0 { "−" } else { "+" };
            let comma = if text.is_empty() { "" } else { ", " };
            let _ = write!(text, "{comma}{sign}{:.0} s", more.abs());
        }
        text
    }
}

pub(super) fn render(outcomes: &[Outcome], ledger: &Ledger) -> String {
    let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
    for outcome in outcomes {
        for key in [sig(&outcome.name), "~all"] {
            rows.entry(key).or_default().count(outcome, ledger);
        }
    }
    let mut text = "| sig | passed | failed | unfinished | seconds | change |\n\
                    |---|---|---|---|---|---|\n"
        .to_owned();
    for (sig, row) in rows {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {:.0} | {} |",
            sig.trim_start_matches('~'),
            row.passed,
            row.failed,
            row.unfinished,
            row.seconds,
            row.change(),
        );
    }
    for outcome in outcomes {
        let (word, message) = match &outcome.end {
            End::Passed => continue,
            End::Failed(message) => ("FAILED", message),
            End::Unfinished(message) => ("UNFINISHED", message),
        };
        let known = if ledger.passing.contains(&outcome.name) {
            " (passed before)"
        } else {
            ""
        };
        let first: String = message.chars().take(MESSAGE_LIMIT).collect();
        let first = first.trim_end().replace('\n', "\n    ");
        let _ = writeln!(text, "\n{word}{known} {}\n    {first}", outcome.name);
    }
    text
}

/// The same as JUnit's XML, for a run whose own was never written.
pub(super) fn junit(outcomes: &[Outcome]) -> String {
    let escape = |text: &str| {
        let text: String = text
            .chars()
            .filter(|c| !c.is_control() || "\n\t".contains(*c))
            .collect();
        text.replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
            .replace('"', "&quot;")
    };
    let failed = outcomes.iter().filter(|o| o.failure().is_some()).count();
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"conformance\" tests=\"{}\" failures=\"{failed}\">\n",
        outcomes.len()
    );
    for outcome in outcomes {
        let end = match &outcome.end {
            End::Passed => String::new(),
            End::Failed(message) => format!("<failure message=\"{}\"/>", escape(message)),
            End::Unfinished(message) => format!("<skipped message=\"{}\"/>", escape(message)),
        };
        let _ = writeln!(
            text,
            "  <testcase classname=\"{}\" name=\"{}\" time=\"{:.1}\">{end}</testcase>",
            sig(&outcome.name),
            escape(&outcome.name),
            outcome.seconds,
        );
    }
    text + "</testsuite>\n"
}

#[cfg(test)]
mod tests;
