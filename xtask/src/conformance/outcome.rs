//! How specs ended: from ginkgo's report, or from its log when a run was killed before the report.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// One spec's name and how it ended.
#[derive(Debug, PartialEq)]
pub(super) struct Outcome {
    pub(super) name: String,
    pub(super) seconds: f64,
    pub(super) failure: Option<String>,
}

impl Outcome {
    pub(super) fn passed(&self) -> bool {
        self.failure.is_none()
    }

    /// `sig-node` of `[sig-node] Pods …`.
    pub(super) fn sig(&self) -> &str {
        let rest = self.name.strip_prefix('[').unwrap_or_default();
        rest.split_once(']').map_or("other", |(sig, _)| sig)
    }
}

pub(super) fn of_report(report: &Value) -> Result<Vec<Outcome>> {
    let specs = report[0]["SpecReports"]
        .as_array()
        .context("a report of ginkgo's")?;
    let mut found = Vec::new();
    for spec in specs.iter().filter(|spec| spec["LeafNodeType"] == "It") {
        let state = spec["State"].as_str().unwrap_or_default();
        if matches!(state, "skipped" | "pending") {
            continue;
        }
        let containers = spec["ContainerHierarchyTexts"].as_array();
        let texts = containers
            .into_iter()
            .flatten()
            .chain([&spec["LeafNodeText"]]);
        let name: Vec<&str> = texts.filter_map(Value::as_str).collect();
        let message = spec["Failure"]["Message"].as_str().unwrap_or_default();
        found.push(Outcome {
            name: name.join(" "),
            seconds: spec["RunTime"].as_f64().unwrap_or_default() / 1e9,
            failure: (state != "passed").then(|| format!("{state}: {message}")),
        });
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

/// With `-v` ginkgo prints `• [2.001 seconds]` or `• [FAILED] [2.001 seconds]`, and the name in
/// the next line, before it prints anything of the next spec of that process.
pub(super) fn of_log(log: &str) -> Vec<Outcome> {
    let mut found = BTreeMap::new();
    let mut lines = log.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(rest) = line.strip_prefix("• [") else {
            continue;
        };
        let (failed, rest) = match rest.strip_prefix("FAILED] [") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let seconds = rest.split_once(" seconds]").map(|(text, _)| text.parse());
        let (Some(Ok(seconds)), Some(name)) = (seconds, lines.peek()) else {
            continue;
        };
        // Behind the name stand the labels once more, all in one pair of brackets.
        let name = name.rsplit_once(" [").map_or(*name, |(name, _)| name);
        let name = name.replace(" [It]", "");
        let failure = failed.then(|| "failed: see the log".to_owned());
        let outcome = Outcome {
            name: name.clone(),
            seconds,
            failure,
        };
        found.insert(name, outcome);
    }
    found.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::{Outcome, of_log};

    #[test]
    fn a_killed_run_still_counts() {
        let log = "S\n• [2.001 seconds]\n[sig-node] Pods [It] should run [Conformance] [sig-node, Conformance]\n\
                   x\n• [FAILED] [1.500 seconds]\n[sig-apps] Jobs [It] end [Conformance] [sig-apps, Conformance]\n";
        let outcome = |name: &str, seconds, failure: Option<&str>| Outcome {
            name: name.to_owned(),
            seconds,
            failure: failure.map(str::to_owned),
        };
        let expected = [
            outcome(
                "[sig-apps] Jobs end [Conformance]",
                1.5,
                Some("failed: see the log"),
            ),
            outcome("[sig-node] Pods should run [Conformance]", 2.001, None),
        ];
        assert_eq!(of_log(log), expected);
    }
}
