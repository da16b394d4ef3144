//! Scenarios for the simulated cluster: Markdown whose `sim` blocks are commands with what they
//! must print.
//!
//! ```text
//! ```yaml file=a.yaml      a file for `apply`
//! ```sim nodes=2 seed=7    options count in the first block; latency=20s: the longest time that
//!                          the runtime takes for a sandbox, a container, a start
//! $ apply a.yaml
//! $ tick 10s
//! $ get pods               the lines below are all that it prints; `...` stands for anything
//! NAME   READY ...
//! $! delete pod b          must fail
//! ```
//! Commands: `apply FILE`; `tick N[s|m|h]`; `get KIND [NAME] [-n NS]`; `show KIND NAME PATH`, a
//! path like `.status.conditions[Ready].status`; `delete KIND NAME [--grace N]`; `events NAME`;
//! `patch KIND NAME JSON` (a merge patch; `status` for its status: `patch status KIND NAME JSON`);
//! `own KIND NAME pod POD`, makes a pod that the object owns (its uid is known only then);
//! `trace SUBJECT [WORD]`, facts with times since the first command; `kill kubelet NODE`;
//! `start kubelet NODE`; `node-lost NODE` (power); `cut NODE`, `mend NODE` (network); `add node`.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use schema::{Ref, Value};

use crate::cluster::{Options, SimCluster, simulate};
use crate::trace::Fact;

/// A parsed scenario.
#[derive(Clone, Debug)]
pub struct Scenario {
    files: BTreeMap<String, String>,
    steps: Vec<Step>,
    /// Nodes, seed, latency.
    pub options: Options,
}

#[derive(Clone, Debug)]
struct Step {
    line: usize,
    command: String,
    must_fail: bool,
    expected: Vec<String>,
}

impl Scenario {
    /// Reads a scenario file.
    pub fn parse(text: &str) -> Result<Self> {
        let mut scenario = Self {
            files: BTreeMap::new(),
            steps: Vec::new(),
            options: Options::default(),
        };
        let mut lines = text.lines().enumerate();
        while let Some((_, line)) = lines.next() {
            let Some(info) = line.strip_prefix("```") else {
                continue;
            };
            let block: Vec<(usize, &str)> = lines
                .by_ref()
                .take_while(|(_, line)| !line.starts_with("```"))
                .map(|(index, line)| (index + 1, line))
                .collect();
            if let Some((_, file)) = info.split_once("file=") {
                let body = block.iter().map(|(_, line)| format!("{line}\n")).collect();
                scenario.files.insert(file.trim().to_owned(), body);
            } else if let Some(options) = info.strip_prefix("sim") {
                scenario.options(options)?;
                scenario.block(&block)?;
            }
        }
        ensure!(!scenario.steps.is_empty(), "the scenario has no commands");
        Ok(scenario)
    }

    fn options(&mut self, text: &str) -> Result<()> {
        for option in text.split_whitespace() {
            let number = |value: &str| value.parse().with_context(|| format!("option {option}"));
            match option.split_once('=') {
                Some(("nodes", value)) => self.options.nodes = number(value)?,
                Some(("seed", value)) => self.options.seed = value.parse()?,
                Some(("latency", value)) => self.options.latency = duration(value)?,
                _ => bail!("unknown option {option}"),
            }
        }
        Ok(())
    }

    fn block(&mut self, block: &[(usize, &str)]) -> Result<()> {
        for (line, text) in block {
            let command = text.strip_prefix("$! ").map(|c| (c, true));
            let command = command.or_else(|| text.strip_prefix("$ ").map(|c| (c, false)));
            if let Some((command, must_fail)) = command {
                self.steps.push(Step {
                    line: *line,
                    command: command.to_owned(),
                    must_fail,
                    expected: Vec::new(),
                });
            } else if !text.trim().is_empty() {
                let step = self.steps.last_mut();
                let step = step.ok_or_else(|| anyhow!("line {line}: output before a command"))?;
                step.expected.push((*text).to_owned());
            }
        }
        Ok(())
    }

    /// Runs it in a cluster of its own; gives the trace. An error names the line.
    pub fn run(&self) -> Result<Vec<Fact>> {
        let scenario = self.clone();
        simulate(self.options.clone(), |mut cluster| async move {
            let since_ms = cluster.now_ms();
            for step in &scenario.steps {
                let outcome = scenario.step(&mut cluster, since_ms, step).await;
                outcome.with_context(|| {
                    let facts = cluster.trace().facts();
                    let facts: String = facts.iter().map(|fact| format!("  {fact}\n")).collect();
                    format!("line {}: $ {}\ntrace:\n{facts}", step.line, step.command)
                })?;
            }
            let violations = cluster.trace().violations();
            ensure!(violations.is_empty(), "invariants: {violations:#?}");
            Ok(cluster.trace().facts())
        })
    }

    async fn step(&self, cluster: &mut SimCluster, since_ms: u64, step: &Step) -> Result<()> {
        let printed = match (
            self.perform(cluster, since_ms, &step.command).await,
            step.must_fail,
        ) {
            (Ok(printed), false) => printed,
            (Err(error), true) => format!("{error:#}"),
            (Ok(printed), true) => bail!("must fail, printed:\n{printed}"),
            (Err(error), false) => return Err(error),
        };
        compare(&step.expected, &printed)
    }

    async fn perform(&self, cluster: &mut SimCluster, since_ms: u64, line: &str) -> Result<String> {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        let namespace = option(&mut words, "-n").unwrap_or("default");
        let grace = option(&mut words, "--grace").map(str::parse).transpose()?;
        match words.as_slice() {
            ["apply", file] => {
                let text = self
                    .files
                    .get(*file)
                    .ok_or_else(|| anyhow!("no file {file}"))?;
                cluster.apply(text).await?;
            }
            ["tick", time] => cluster.tick(duration(time)?).await,
            ["get", kind] => return cluster.table(kind, namespace, "").await,
            ["get", kind, name] => return cluster.table(kind, namespace, name).await,
            ["show", kind, name, path] => {
                let object = cluster.find(kind, namespace, name).await?;
                let object = object.ok_or_else(|| anyhow!("no {kind} {name}"))?;
                let dom = object.parse().map_err(|error| anyhow!("{error}"))?;
                return Ok(look_up(dom.as_ref(), path).map_or_else(String::new, text_of));
            }
            ["own", kind, owner, "pod", name] => {
                let object = cluster.find(kind, namespace, owner).await?;
                let object = object.ok_or_else(|| anyhow!("no {kind} {owner}"))?;
                let dom = object.parse().map_err(|error| anyhow!("{error}"))?;
                let (version, kind) = (dom.as_ref().str("apiVersion"), dom.as_ref().str("kind"));
                cluster
                    .apply(&owned_pod(version, kind, owner, object.uid(), name))
                    .await?;
            }
            ["delete", kind, name] => cluster.delete(kind, namespace, name, grace).await?,
            ["patch", "status", kind, name, json @ ..] => {
                let json = json.join(" ");
                cluster.patch(kind, namespace, name, "status", json).await?;
            }
            ["patch", kind, name, json @ ..] => {
                let json = json.join(" ");
                cluster.patch(kind, namespace, name, "", json).await?;
            }
            ["events", name] => return events(cluster, namespace, name).await,
            ["trace", subject, words @ ..] => {
                let facts = cluster.trace().facts();
                let chosen = facts.into_iter().filter(|fact| {
                    fact.at_ms >= since_ms
                        && fact.subject.starts_with(subject)
                        && words.iter().all(|word| fact.what.contains(word))
                });
                return Ok(chosen
                    .map(|fact| Fact {
                        at_ms: fact.at_ms - since_ms,
                        ..fact
                    })
                    .map(|fact| format!("{fact}\n"))
                    .collect());
            }
            ["kill", "kubelet", node] => cluster.kill_kubelet(node)?,
            ["start", "kubelet", node] => cluster.start_kubelet(node)?,
            ["node-lost", node] => cluster.power_off(node)?,
            ["cut", node] => cluster.cut(node)?,
            ["mend", node] => cluster.mend(node)?,
            ["add", "node"] => return cluster.add_node(),
            _ => bail!("unknown command"),
        }
        Ok(String::new())
    }
}

fn owned_pod(version: &str, kind: &str, owner: &str, uid: &str, name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  ownerReferences:\n  - {{apiVersion: {version}, kind: {kind}, name: {owner}, uid: {uid}}}\nspec:\n  automountServiceAccountToken: false\n  containers:\n  - {{name: app, image: 'busybox:1.36'}}\n"
    )
}

/// Takes `flag VALUE` out of the words.
fn option<'a>(words: &mut Vec<&'a str>, flag: &str) -> Option<&'a str> {
    let at = words.iter().position(|word| *word == flag)?;
    words.remove(at);
    (at < words.len()).then(|| words.remove(at))
}

fn duration(text: &str) -> Result<Duration> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => match text.split_at(text.len().saturating_sub(1)) {
            (number, "s") => (number, 1000),
            (number, "m") => (number, 60_000),
            (number, "h") => (number, 3_600_000),
            _ => bail!("{text} is no time"),
        },
    };
    Ok(Duration::from_millis(number.parse::<u64>()? * unit))
}

/// The events about objects with this name: type, reason, count, message; oldest first.
async fn events(cluster: &SimCluster, namespace: &str, name: &str) -> Result<String> {
    let mut lines = Vec::new();
    for object in cluster.list("events", namespace).await? {
        let dom = object.parse().map_err(|error| anyhow!("{error}"))?;
        let event = dom.as_ref();
        if event
            .get("involvedObject")
            .is_some_and(|about| about.str("name") == name)
        {
            let count = event.int("count").unwrap_or(1);
            let text = format!(
                "{} {} x{count} {}\n",
                event.str("type"),
                event.str("reason"),
                event.str("message")
            );
            let revision: u64 = object.resource_version().parse().unwrap_or(0);
            lines.push((event.str("firstTimestamp").to_owned(), revision, text));
        }
    }
    lines.sort();
    Ok(lines.into_iter().map(|(_, _, text)| text).collect())
}

/// `.status.conditions[Ready].status`: members by name, list entries by their type, name, key or
/// number.
fn look_up<'a>(object: Ref<'a>, path: &str) -> Option<Ref<'a>> {
    let (mut place, mut rest) = (object, path);
    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix('[') {
            let (wanted, after) = inside.split_once(']')?;
            place = match wanted.parse::<usize>() {
                Ok(number) => place.list().nth(number)?,
                Err(_) => place.list().find(|entry| {
                    ["type", "name", "key"]
                        .iter()
                        .any(|key| entry.str(key) == wanted)
                })?,
            };
            rest = after;
        } else {
            let inside = rest.strip_prefix('.').unwrap_or(rest);
            let end = inside.find(['.', '[']).unwrap_or(inside.len());
            place = place.get(&inside[..end])?;
            rest = &inside[end..];
        }
    }
    Some(place)
}

fn text_of(value: Ref<'_>) -> String {
    match value.value() {
        Value::Str(text) => text.to_owned(),
        _ => String::from_utf8_lossy(&value.dom().to_json(value.node())).into_owned(),
    }
}

/// All lines in order; a line of `...` stands for any lines.
fn compare(expected: &[String], printed: &str) -> Result<()> {
    if expected.is_empty() {
        return Ok(());
    }
    let printed_lines: Vec<String> = printed.lines().map(squeeze).collect();
    let expected_lines: Vec<String> = expected.iter().map(|line| squeeze(line)).collect();
    if lines_match(&expected_lines, &printed_lines) {
        return Ok(());
    }
    bail!("expected:\n{}\nprinted:\n{printed}", expected.join("\n"))
}

fn lines_match(expected: &[String], printed: &[String]) -> bool {
    match (expected.split_first(), printed.split_first()) {
        (None, rest) => rest.is_none(),
        (Some((wanted, others)), first) if wanted == "..." => {
            lines_match(others, printed)
                || first.is_some_and(|(_, rest)| lines_match(expected, rest))
        }
        (Some(_), None) => false,
        (Some((wanted, others)), Some((line, rest))) => {
            matches(wanted, line) && lines_match(others, rest)
        }
    }
}

fn squeeze(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `...` stands for anything.
fn matches(pattern: &str, line: &str) -> bool {
    let mut rest = line;
    for (index, part) in pattern.split("...").enumerate() {
        match rest.find(part) {
            Some(0) => rest = &rest[part.len()..],
            Some(at) if index > 0 => rest = &rest[at + part.len()..],
            _ => return false,
        }
    }
    rest.is_empty() || pattern.ends_with("...")
}
