//! The words after `cargo xtask conformance`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use regex::Regex;

const KNOWN: &str = "--specs, --record, --gate SECONDS, --report FOLDER, --page, --kubeconfig, \
    --binaries, --list, --filter, --focus, --skip, --focus-file, --nodes, --procs, --timeout";

/// What to run, and against what.
pub(super) struct Options {
    pub(super) task: Task,
    /// Write down what specs the suite has.
    pub(super) specs: bool,
    pub(super) kubeconfig: Option<PathBuf>,
    pub(super) binaries: PathBuf,
    /// Specs of which all must pass.
    pub(super) list: Option<PathBuf>,
    pub(super) filter: String,
    /// Further words for ginkgo: `--focus=…`, `--skip=…`, `--focus-file=…`.
    pub(super) selection: Vec<String>,
    pub(super) nodes: usize,
    pub(super) procs: usize,
    /// Seconds of a whole run.
    pub(super) timeout: u64,
    pub(super) record: bool,
}

pub(super) enum Task {
    Run,
    /// What continuous integration holds a change to, in so many seconds.
    Gate(u64),
    /// The table of an earlier run, from its folder.
    Report(PathBuf),
    /// Only bring docs/CONFORMANCE.md up to date.
    Page,
}

pub(super) fn parse(mut arguments: impl Iterator<Item = String>, root: &Path) -> Result<Options> {
    let mut options = Options {
        task: Task::Run,
        specs: false,
        kubeconfig: None,
        binaries: root.join(".build"),
        list: None,
        filter: "Conformance".to_owned(),
        selection: Vec::new(),
        nodes: 2,
        procs: 4,
        timeout: 2 * 3600,
        record: false,
    };
    while let Some(argument) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .with_context(|| format!("{argument} needs a value"))
        };
        match argument.as_str() {
            "--specs" => options.specs = true,
            "--record" => options.record = true,
            "--gate" => options.task = Task::Gate(value()?.parse().context("--gate")?),
            "--report" => options.task = Task::Report(PathBuf::from(value()?)),
            "--page" => options.task = Task::Page,
            "--kubeconfig" => options.kubeconfig = Some(fs::canonicalize(value()?)?),
            "--binaries" => options.binaries = fs::canonicalize(value()?)?,
            "--list" => options.list = Some(PathBuf::from(value()?)),
            "--filter" => options.filter = value()?,
            "--focus" | "--skip" | "--focus-file" => {
                let word = format!("{argument}={}", value()?);
                options.selection.push(word);
            }
            "--nodes" => options.nodes = value()?.parse().context("--nodes")?,
            "--procs" => options.procs = value()?.parse().context("--procs")?,
            "--timeout" => options.timeout = seconds(&value()?).context("--timeout")?,
            other => bail!("unknown option {other}; known: {KNOWN}"),
        }
    }
    // Without a node only the specs that need none can pass.
    if options.nodes == 0 && options.list.is_none() && options.selection.is_empty() {
        options.list = Some(root.join("tests/conformance/no-node.txt"));
    }
    Ok(options)
}

impl Options {
    /// Would ginkgo run this spec? Files are unknown here: then no.
    pub(super) fn selects(&self, name: &str) -> bool {
        let mut focused = None;
        for word in &self.selection {
            let Some((flag, pattern)) = word.split_once('=') else {
                continue;
            };
            let hit = Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(name));
            match flag {
                "--skip" if hit => return false,
                "--skip" => {}
                _ => focused = Some(focused.unwrap_or(false) || hit),
            }
        }
        focused.unwrap_or(true)
    }
}

/// `90`, `90s`, `20m`, `2h`.
fn seconds(text: &str) -> Option<u64> {
    let number = text.trim_end_matches(['s', 'm', 'h']);
    let unit = match &text[number.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}
