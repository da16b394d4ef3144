//! Runs of this program under instruments.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// One run of `profile work`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run<'a> {
    pub(crate) name: &'a str,
    pub(crate) requests: usize,
    pub(crate) writers: usize,
    pub(crate) watchers: usize,
}

impl Run<'_> {
    fn words(self) -> [String; 5] {
        let Run {
            name,
            requests,
            writers,
            watchers,
        } = self;
        [
            "work".to_owned(),
            name.to_owned(),
            requests.to_string(),
            writers.to_string(),
            watchers.to_string(),
        ]
    }
}

/// Standard output and error of this program below `tool`, which may be nothing.
#[expect(clippy::disallowed_methods, reason = "the tools are found by PATH")]
fn output<S: AsRef<OsStr>>(tool: &[&str], words: &[S]) -> Result<(String, String)> {
    let own = std::env::current_exe().context("find this program")?;
    let mut command = match tool {
        [] => Command::new(&own),
        [program, rest @ ..] => {
            let mut command = Command::new(program);
            command.args(rest).arg(&own);
            command
        }
    };
    let output = command
        .args(words)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("run {}", tool.first().unwrap_or(&"profile")))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, errors) = (text(&output.stdout), text(&output.stderr));
    if !output.status.success() {
        bail!("{tool:?}: {}: {out}{errors}", output.status);
    }
    Ok((out, errors))
}

/// The numbers that a child printed.
pub(crate) fn numbers<S: AsRef<OsStr>>(words: &[S]) -> Result<Vec<u64>> {
    let (out, _) = output(&[], words)?;
    let last = out.lines().last().unwrap_or_default();
    let all: Result<Vec<u64>, _> = last.split(' ').map(str::parse).collect();
    all.with_context(|| format!("numbers, not {last:?}"))
}

/// Allocations and bytes.
pub(crate) fn allocations(run: Run<'_>) -> Result<(u64, u64)> {
    match numbers(&run.words())?[..] {
        [allocations, bytes] => Ok((allocations, bytes)),
        ref other => bail!("two numbers, not {other:?}"),
    }
}

/// Instructions of the whole run, in user space.
pub(crate) fn instructions(run: Run<'_>) -> Result<u64> {
    let tool = [
        "valgrind",
        "--tool=cachegrind",
        "--cache-sim=no",
        "--branch-sim=no",
        "--cachegrind-out-file=/dev/null",
    ];
    let (_, errors) = output(&tool, &run.words())?;
    let found = errors.lines().find_map(|line| {
        let (_, rest) = line.split_once("refs:")?;
        line.contains(" I ").then(|| rest.trim().replace(',', ""))
    });
    let found = found.with_context(|| format!("valgrind counts no instructions: {errors}"))?;
    found.parse().context("a number of instructions")
}

/// Calls of the kernel by name. `only`: these alone, and nothing else is slowed down.
pub(crate) fn calls(run: Run<'_>, only: &str) -> Result<BTreeMap<String, u64>> {
    let file = tempfile::NamedTempFile::new().context("make a file for strace")?;
    let path = file.path().to_str().context("a path in UTF-8")?;
    let trace = format!("trace={only}");
    let mut tool = vec!["strace", "-f", "-c", "-o", path];
    if only != "all" {
        tool.extend(["--seccomp-bpf", "-e", &trace]);
    }
    output(&tool, &run.words())?;
    let text = std::fs::read_to_string(path).context("read what strace counted")?;
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split_whitespace().collect();
        let calls = cells.get(3)?.parse().ok()?;
        let name = cells.last().filter(|name| **name != "total")?;
        Some(((*name).to_owned(), calls))
    });
    Ok(rows.collect())
}
