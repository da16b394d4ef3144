//! Numbers per group and kind, causes by size: Markdown for people, text with examples for work.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::case::Case;
use crate::compare::Difference;

/// How many examples of a cause are kept.
const EXAMPLES: usize = 3;
/// How many causes the document lists.
const LISTED: usize = 40;

#[derive(Default)]
struct Count {
    requests: usize,
    different: usize,
}

#[derive(Default)]
struct Cause {
    requests: usize,
    examples: Vec<String>,
}

/// What a run found.
#[derive(Default)]
pub(crate) struct Report {
    groups: BTreeMap<String, Count>,
    kinds: BTreeMap<String, Count>,
    causes: BTreeMap<String, Cause>,
}

impl Report {
    pub(crate) fn add(&mut self, case: &Case, differences: Vec<Difference>) {
        for count in [
            self.groups.entry(case.group.to_owned()).or_default(),
            self.kinds.entry(case.kind.clone()).or_default(),
        ] {
            count.requests += 1;
            count.different += usize::from(!differences.is_empty());
        }
        let mut seen: Vec<String> = Vec::new();
        for difference in differences {
            let key = format!("[{}] {}", case.group, difference.cause);
            if seen.contains(&key) {
                continue;
            }
            let cause = self.causes.entry(key.clone()).or_default();
            cause.requests += 1;
            if cause.examples.len() < EXAMPLES {
                let body = String::from_utf8_lossy(&case.body[..case.body.len().min(700)]);
                let indent = |text: &str| text.replace('\n', "\n             ");
                cause.examples.push(format!(
                    "    {} {} {} {}\n      sent   {}\n      ours   {}\n      theirs {}\n",
                    case.kind,
                    case.method,
                    case.path
                        .get(..case.path.len().min(200))
                        .unwrap_or_default(),
                    case.note,
                    body,
                    indent(&difference.ours),
                    indent(&difference.theirs),
                ));
            }
            seen.push(key);
        }
    }

    pub(crate) fn write(&self, folder: &Path, document: Option<&Path>) -> Result<()> {
        let markdown = self.markdown();
        say(&markdown);
        let put = |path: &Path, text: &str| {
            fs::write(path, text).with_context(|| format!("write {}", path.display()))
        };
        put(&folder.join("causes.txt"), &self.text())?;
        if let Some(path) = document {
            put(path, &format!("{INTRODUCTION}\n{markdown}"))?;
            let beside = path.with_file_name("CONFORMANCE.md");
            if let Ok(text) = fs::read_to_string(&beside) {
                put(&beside, &self.summarised(&text))?;
            }
        }
        Ok(())
    }

    /// The document with the numbers per group in one paragraph.
    fn summarised(&self, document: &str) -> String {
        let group = |(name, count): (&String, &Count)| {
            format!("{name} {} of {}", count.different, count.requests)
        };
        let groups: Vec<String> = self.groups.iter().map(group).collect();
        let (different, requests) = self.groups.values().fold((0, 0), |sum, count| {
            (sum.0 + count.different, sum.1 + count.requests)
        });
        let own = format!(
            "{BEGIN}\n## Beside upstream's API server\n\nOf {requests} requests {different} are answered differently ([DIFFERENTIAL.md](DIFFERENTIAL.md)): {}.\n{END}",
            groups.join(", ")
        );
        match (document.find(BEGIN), document.find(END)) {
            (Some(begin), Some(end)) => {
                let rest = &document[end + END.len()..];
                format!("{}{own}{rest}", &document[..begin])
            }
            _ => format!("{}\n\n{own}\n", document.trim_end()),
        }
    }

    fn ranked(&self) -> Vec<(&String, &Cause)> {
        let mut causes: Vec<_> = self.causes.iter().collect();
        causes.sort_by_key(|(name, cause)| (std::cmp::Reverse(cause.requests), *name));
        causes
    }

    fn text(&self) -> String {
        let mut out = String::new();
        for (name, cause) in self.ranked() {
            let _infallible = writeln!(
                out,
                "{} × {name}\n{}",
                cause.requests,
                cause.examples.concat()
            );
        }
        out
    }

    fn markdown(&self) -> String {
        let mut out = String::new();
        let mut table = |title: &str, counts: &BTreeMap<String, Count>, all: bool| {
            let _infallible = writeln!(
                out,
                "| {title} | requests | equal | different |\n|---|---|---|---|"
            );
            let mut sum = Count::default();
            for (name, count) in counts {
                sum.requests += count.requests;
                sum.different += count.different;
                if !name.is_empty() && (all || count.different > 0) {
                    row(&mut out, name, count);
                }
            }
            row(&mut out, "all", &sum);
            out.push('\n');
        };
        table("group", &self.groups, true);
        table("kind", &self.kinds, false);
        let causes = self.ranked();
        let _infallible = writeln!(
            out,
            "{} causes; the largest:\n\n| requests | group and cause |\n|---|---|",
            causes.len()
        );
        for (name, cause) in causes.iter().take(LISTED) {
            let name = name.replace('|', "\\|").replace('<', "&lt;");
            let _infallible = writeln!(out, "| {} | {name} |", cause.requests);
        }
        out
    }
}

fn row(out: &mut String, name: &str, count: &Count) {
    let Count {
        requests,
        different,
    } = count;
    let _infallible = writeln!(
        out,
        "| {name} | {requests} | {} | {different} |",
        requests - different
    );
}

const BEGIN: &str = "<!-- differences: written by `cargo xtask differential` -->";
const END: &str = "<!-- differences: end -->";

const INTRODUCTION: &str = "# Beside upstream, request by request

`cargo xtask differential --upstream DIR` (a folder with upstream's `etcd` and `kube-apiserver`
v1.36.3) sends the same requests to upstream's API server and to ours, both without controllers,
and compares status code, content type, warnings and body. Uids, times and revisions count as
present or absent only. The requests of a kind are made from its minimal valid object
(`tests/differential/cases/objects.yaml`) and the type table: every field with plausible, empty,
negative and wrong values, and every verb; hand-picked ones are in `tests/differential/cases/*.http`.
What is said in words is compared in OpenAPI documents by a group of its own, since descriptions
are in our own words. `make differential` repeats it; the numbers below are written by `--report docs/DIFFERENTIAL.md`; examples of each cause are in
`.build/differential/causes.txt` after a run.
";

#[expect(clippy::print_stdout, reason = "a task talks to a terminal")]
fn say(text: &str) {
    println!("{text}");
}
