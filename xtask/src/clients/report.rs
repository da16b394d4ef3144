//! The results: tests/clients/results.json holds the last of each suite and cluster,
//! docs/CLIENTS.md shows them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};

use super::check::Check;
use super::suite::{SUITES, Suite};

/// The column of our own cluster.
pub(super) const OURS: &str = "transom";
/// How much of a failure fits into a cell.
const CELL: usize = 160;

const HEAD: &str = "# Clients that others wrote

Written by `cargo xtask clients` (`make clients [SUITE=…]`), which starts a fresh local cluster for \
each suite. `upstream` is the same suite against upstream's kube-apiserver v1.36.3 alone, without \
controllers or nodes (`--kubeconfig FILE --beside upstream`): a check that fails in both columns \
is no difference, – was not asked. A suite's files are in `tests/clients/NAME`, the last results as \
data in `tests/clients/results.json`, its log in `.build/clients/NAME/log`.
";

/// Suite → column → its checks in order.
#[derive(Default)]
pub(super) struct Results(BTreeMap<String, BTreeMap<String, Vec<Check>>>);

impl Results {
    pub(super) fn open(root: &Path) -> Result<Results> {
        let path = root.join("tests/clients/results.json");
        let Ok(text) = fs::read(&path) else {
            return Ok(Results::default());
        };
        let value: Value = serde_json::from_slice(&text).context("read results.json")?;
        let mut results = Results::default();
        for (suite, columns) in value.as_object().into_iter().flatten() {
            for (column, checks) in columns.as_object().into_iter().flatten() {
                let checks = checks.as_array().into_iter().flatten().map(parse);
                let known = results.0.entry(suite.clone()).or_default();
                known.insert(column.clone(), checks.collect());
            }
        }
        Ok(results)
    }

    /// Puts the new checks of a suite and column in place of the old ones.
    pub(super) fn with(mut self, suite: &Suite, column: &str, checks: &[Check]) -> Result<Results> {
        let known = self.0.entry(suite.name.to_owned()).or_default();
        known.insert(column.to_owned(), checks.to_vec());
        Ok(self)
    }

    fn of(&self, suite: &str, column: &str) -> &[Check] {
        let columns = self.0.get(suite);
        columns
            .and_then(|all| all.get(column))
            .map_or(&[], Vec::as_slice)
    }

    /// What fails with us and does not with upstream.
    pub(super) fn worse(&self, suite: &Suite) -> Vec<String> {
        let upstream = self.of(suite.name, "upstream");
        let fails_there = |name: &str| {
            upstream
                .iter()
                .any(|c| c.name == name && c.failure.is_some())
        };
        let ours = self.of(suite.name, OURS).iter();
        ours.filter(|check| !fails_there(&check.name))
            .filter_map(|check| {
                let failure = check.failure.as_ref()?;
                Some(format!("{}: {}: {failure}", suite.name, check.name))
            })
            .collect()
    }

    pub(super) fn table(&self, suite: &Suite) -> String {
        let columns = self.0.get(suite.name);
        let columns: Vec<&String> = columns.into_iter().flat_map(BTreeMap::keys).collect();
        let mut text = format!("\n## {}\n{}.\n\n| check |", suite.name, suite.about);
        for column in &columns {
            let checks = self.of(suite.name, column);
            let passed = checks.iter().filter(|check| check.failure.is_none());
            let _ = write!(text, " {column} ({} of {}) |", passed.count(), checks.len());
        }
        let _ = writeln!(
            text,
            " seconds | note |\n|---|{}---|---|",
            "---|".repeat(columns.len())
        );
        let mut names: Vec<&str> = Vec::new();
        for column in columns.iter().rev() {
            for check in self.of(suite.name, column) {
                if !names.contains(&check.name.as_str()) {
                    names.push(&check.name);
                }
            }
        }
        for name in names {
            let _ = write!(text, "| {} |", cell(name));
            let mut last = None;
            for column in &columns {
                let check = self.of(suite.name, column).iter().find(|c| c.name == name);
                let shown = match check {
                    None => "–".to_owned(),
                    Some(Check { failure: None, .. }) => "passed".to_owned(),
                    Some(Check {
                        failure: Some(why), ..
                    }) => format!("**failed**: {}", cell(why)),
                };
                let _ = write!(text, " {shown} |");
                last = last.or(check.filter(|_| column.as_str() == OURS));
            }
            let (seconds, note) = last.map_or((String::new(), ""), |check| {
                (format!("{:.1}", check.seconds), check.note.as_str())
            });
            let _ = writeln!(text, " {seconds} | {} |", cell(note));
        }
        text
    }

    pub(super) fn write(&self, root: &Path) -> Result<()> {
        let mut all = Map::new();
        let mut text = HEAD.to_owned();
        for suite in &SUITES {
            let Some(columns) = self.0.get(suite.name) else {
                continue;
            };
            text.push_str(&self.table(suite));
            let columns = columns.iter().map(|(column, checks)| {
                let checks: Vec<Value> = checks.iter().map(document).collect();
                (column.clone(), Value::from(checks))
            });
            all.insert(suite.name.to_owned(), Value::Object(columns.collect()));
        }
        let data = serde_json::to_string_pretty(&Value::Object(all))?;
        fs::write(root.join("tests/clients/results.json"), data + "\n")?;
        fs::write(root.join("docs/CLIENTS.md"), text)?;
        Ok(())
    }
}

fn document(check: &Check) -> Value {
    let mut value = json!({"check": check.name, "seconds": (check.seconds * 10.0).round() / 10.0});
    if let Some(failure) = &check.failure {
        value["failure"] = json!(cell(failure));
    }
    if !check.note.is_empty() {
        value["note"] = json!(check.note);
    }
    value
}

fn parse(value: &Value) -> Check {
    Check {
        name: value["check"].as_str().unwrap_or_default().to_owned(),
        failure: value["failure"].as_str().map(str::to_owned),
        seconds: value["seconds"].as_f64().unwrap_or_default(),
        note: value["note"].as_str().unwrap_or_default().to_owned(),
    }
}

/// What fits into a cell of a table: one line, no column's bar.
fn cell(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut line = line.replace('|', "\\|");
    if let Some((end, _)) = line.char_indices().nth(CELL) {
        line.truncate(end);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::{OURS, Results};
    use crate::clients::check::Check;
    use crate::clients::suite::SUITES;

    fn check(name: &str, failure: Option<&str>) -> Check {
        Check {
            name: name.to_owned(),
            failure: failure.map(str::to_owned),
            seconds: 1.25,
            note: String::new(),
        }
    }

    #[test]
    fn a_failure_counts_unless_upstream_has_it_too() {
        let suite = &SUITES[0];
        let ours = [
            check("watch", None),
            check("old versions", Some("404")),
            check("exec", Some("a|b\nc")),
        ];
        let upstream = [check("watch", None), check("old versions", Some("404"))];
        let results = Results::default().with(suite, OURS, &ours).unwrap();
        let results = results.with(suite, "upstream", &upstream).unwrap();
        assert_eq!(
            results.worse(suite),
            [format!("{}: exec: a|b\nc", suite.name)]
        );
        let table = results.table(suite);
        let rows: Vec<&str> = table.lines().skip(4).collect();
        let expected = [
            "| check | transom (1 of 3) | upstream (1 of 2) | seconds | note |",
            "|---|---|---|---|---|",
            "| watch | passed | passed | 1.2 |  |",
            "| old versions | **failed**: 404 | **failed**: 404 | 1.2 |  |",
            "| exec | **failed**: a\\|b c | – | 1.2 |  |",
        ];
        assert_eq!(rows, expected);
    }
}
