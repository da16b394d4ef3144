//! One thing that a client did, and how it ended.

use std::time::Instant;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// A row of a suite's table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Check {
    pub(super) name: String,
    /// Why it failed; the first line goes into the table.
    pub(super) failure: Option<String>,
    pub(super) seconds: f64,
    /// A figure or a remark beside the result.
    pub(super) note: String,
}

impl Check {
    /// Runs `what` and takes its time; what it returns is the note.
    #[expect(clippy::disallowed_methods, reason = "real time is what is shown")]
    pub(super) fn of(name: &str, what: impl FnOnce() -> Result<String>) -> Check {
        let began = Instant::now();
        let (failure, note) = match what() {
            Ok(note) => (None, note),
            Err(error) => (Some(format!("{error:#}")), String::new()),
        };
        Check {
            name: name.to_owned(),
            failure,
            seconds: began.elapsed().as_secs_f64(),
            note,
        }
    }
}

/// What a script in another language wrote: a JSON object a line with `check`, `seconds`, and
/// `failure` or `note` where there is one.
pub(super) fn of_lines(text: &str) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let value: Value = serde_json::from_str(line).with_context(|| format!("read {line:?}"))?;
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        checks.push(Check {
            name: text("check").with_context(|| format!("no check in {line:?}"))?,
            failure: text("failure"),
            seconds: value["seconds"].as_f64().unwrap_or_default(),
            note: text("note").unwrap_or_default(),
        });
    }
    Ok(checks)
}

#[cfg(test)]
mod tests {
    use super::{Check, of_lines};

    #[test]
    fn a_script_reports_a_line_a_check() {
        let text = "{\"check\":\"watch\",\"seconds\":0.5,\"note\":\"3 events\"}\n\n{\"check\":\"exec\",\"failure\":\"404\"}\n";
        let check = |name: &str, failure: Option<&str>, seconds, note: &str| Check {
            name: name.to_owned(),
            failure: failure.map(str::to_owned),
            seconds,
            note: note.to_owned(),
        };
        let expected = [
            check("watch", None, 0.5, "3 events"),
            check("exec", Some("404"), 0.0, ""),
        ];
        assert_eq!(of_lines(text).unwrap(), expected);
        assert!(of_lines("Traceback").is_err());
    }
}
