//! How specs ended: from ginkgo's report, from its log when a run was killed before the report, or
//! from both when some of its processes never reported. Pure.
//!
//! Example of the log that ginkgo writes with `-v`, a block a spec:
//! `• [FAILED] [1.500 seconds]`, and in the next line the name with the labels once more.

use std::collections::BTreeMap;

use serde_json::Value;

/// Of a failure's message, what is kept.
const MESSAGE_LIMIT: usize = 4096;

/// One spec's name and how it ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Outcome {
    pub(super) name: String,
    pub(super) seconds: f64,
    pub(super) end: End,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum End {
    Passed,
    /// With what the spec said.
    Failed(String),
    /// The run ended first: interrupted, out of time, or its process was killed. No verdict.
    Unfinished(String),
}

impl Outcome {
    pub(super) fn passed(&self) -> bool {
        self.end == End::Passed
    }

    pub(super) fn failure(&self) -> Option<&str> {
        match &self.end {
            End::Failed(message) => Some(message),
            End::Passed | End::Unfinished(_) => None,
        }
    }
}

/// `sig-node` of `[sig-node] Pods …`.
pub(super) fn sig(name: &str) -> &str {
    let rest = name.strip_prefix('[').unwrap_or_default();
    rest.split_once(']').map_or("other", |(sig, _)| sig)
}

/// What report and log say together; the report knows better.
pub(super) fn merge(report: Vec<Outcome>, log: Vec<Outcome>) -> Vec<Outcome> {
    let by_name = |outcome: Outcome| (outcome.name.clone(), outcome);
    let mut found: BTreeMap<String, Outcome> = log.into_iter().map(by_name).collect();
    for outcome in report {
        let unfinished = matches!(outcome.end, End::Unfinished(_));
        if !(unfinished && found.contains_key(&outcome.name)) {
            found.insert(outcome.name.clone(), outcome);
        }
    }
    found.into_values().collect()
}

/// `None` if it holds no specs: ginkgo writes an empty one when a process of it was killed.
pub(super) fn of_report(report: &Value) -> Option<Vec<Outcome>> {
    let specs = report[0]["SpecReports"].as_array()?;
    let mut found = Vec::new();
    for spec in specs.iter().filter(|spec| spec["LeafNodeType"] == "It") {
        let containers = spec["ContainerHierarchyTexts"].as_array();
        let texts = containers
            .into_iter()
            .flatten()
            .chain([&spec["LeafNodeText"]]);
        let name: Vec<&str> = texts.filter_map(Value::as_str).collect();
        let message = spec["Failure"]["Message"].as_str().unwrap_or_default();
        let message: String = message.chars().take(MESSAGE_LIMIT).collect();
        let end = match spec["State"].as_str().unwrap_or_default() {
            "skipped" | "pending" => continue,
            "passed" => End::Passed,
            state @ ("interrupted" | "aborted" | "timedout") => {
                End::Unfinished(format!("{state}: {message}"))
            }
            state => End::Failed(format!("{state}: {message}")),
        };
        found.push(Outcome {
            name: name.join(" "),
            seconds: spec["RunTime"].as_f64().unwrap_or_default() / 1e9,
            end,
        });
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Some(found)
}

/// Every spec's block stands whole in the log before ginkgo prints anything of that process' next.
pub(super) fn of_log(log: &str) -> Vec<Outcome> {
    let mut found = BTreeMap::new();
    let mut lines = log.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(rest) = line.strip_prefix("• [") else {
            continue;
        };
        let (state, rest) = match rest.split_once("] [") {
            Some((state, rest)) => (state, rest),
            None => ("", rest),
        };
        let seconds = rest.split_once(" seconds]").map(|(text, _)| text.parse());
        let (Some(Ok(seconds)), Some(name)) = (seconds, lines.peek()) else {
            continue;
        };
        // Behind the name stand the labels once more, all in one pair of brackets.
        let name = name.rsplit_once(" [").map_or(*name, |(name, _)| name);
        let name = name.replace(" [It]", "");
        let end = match state {
            "" => End::Passed,
            "INTERRUPTED" | "ABORTED" | "TIMEDOUT" => End::Unfinished(state.to_lowercase()),
            _ => End::Failed(format!("{}: see the log", state.to_lowercase())),
        };
        let outcome = Outcome {
            name: name.clone(),
            seconds,
            end,
        };
        found.insert(name, outcome);
    }
    found.into_values().collect()
}

#[cfg(test)]
mod tests;
