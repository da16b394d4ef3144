//! Planted faults, and which check finds each.
//!
//! A mutant runs in a process of its own, so that one that crashes is caught too. The table at the
//! end is the one of docs/RELIABILITY.md. First every part runs with nothing planted: it must pass.

use anyhow::{Context as _, Result, bail};

use crate::say::say;

/// Where a mutant has to be found.
struct Row {
    mutant: &'static str,
    command: &'static str,
    arguments: &'static [&'static str],
}

const POWER: &[&str] = &["--images", "900", "--lives", "3"];
const MEMORY: &[&str] = &["--operations", "60000"];
const DISK: &[&str] = &["--operations", "20000", "--disk", "1"];
const CALLS: &[&str] = &["--calls", "4000", "--clients", "12"];

const fn row(
    mutant: &'static str,
    command: &'static str,
    arguments: &'static [&'static str],
) -> Row {
    Row {
        mutant,
        command,
        arguments,
    }
}

const ROWS: &[Row] = &[
    row("NoFlush", "power", POWER),
    row("AnswerBeforeFlush", "power", POWER),
    row("NeverFlushed", "power", POWER),
    row("HalfTransaction", "power", POWER),
    row("NoJump", "power", POWER),
    row("ApplyWithoutIndex", "power", POWER),
    row("ApplyWithoutIndex", "model", DISK),
    row("TimeTravel", "model", DISK),
    row("TimeTravel", "history", CALLS),
    row("HistoryForgotten", "model", DISK),
    row("HistoryForgotten", "history", CALLS),
    row("RevisionTwice", "model", MEMORY),
    row("AnswerBeforeView", "history", CALLS),
    row("LostUpdate", "history", CALLS),
    row("LostDelete", "model", MEMORY),
    row("LostDelete", "history", CALLS),
    row("CompactDeleteWatch", "model", MEMORY),
    row("ProgressAhead", "model", MEMORY),
    row("FutureWatch", "model", MEMORY),
    row("LateWatch", "model", MEMORY),
    row("LateWatch", "history", CALLS),
    row("StuckSkips", "model", MEMORY),
    row("PageDrifts", "model", MEMORY),
    row("OldExpiry", "model", MEMORY),
    row("OldMarks", "model", MEMORY),
];

/// Plants them one after the other; how many were caught.
pub(crate) fn run(seed: u64, only: Option<&str>) -> Result<usize> {
    if !cfg!(feature = "mutants") {
        bail!("this build has no mutants (--features mutants)");
    }
    say(&format!("mutants: seed {seed}"));
    // A check that fails without a mutant finds nothing.
    for (command, arguments) in [
        ("power", POWER),
        ("model", MEMORY),
        ("model", DISK),
        ("history", CALLS),
    ] {
        if let Some((check, after)) = attempt_one(&row("", command, arguments), seed)? {
            bail!("{check} does not hold after {after}, and nothing was planted: faults {command}");
        }
    }
    let mut missed = Vec::new();
    let mut caught = 0;
    say("| mutant | found by | promise | after |\n| --- | --- | --- | --- |");
    for row in ROWS {
        if only.is_some_and(|only| only != row.mutant) {
            continue;
        }
        let mut found = None;
        // What threads decide may need a second try.
        for attempt in 0..3 {
            found = attempt_one(row, seed + attempt)?;
            if found.is_some() {
                break;
            }
        }
        let part = if row.arguments == DISK {
            "model, on disk"
        } else {
            row.command
        };
        match found {
            Some((check, after)) => {
                caught += 1;
                say(&format!("| {} | {part} | {check} | {after} |", row.mutant));
            }
            None => {
                missed.push(format!("{} by {part}", row.mutant));
                say(&format!("| {} | {part} | MISSED | |", row.mutant));
            }
        }
    }
    if !missed.is_empty() {
        bail!("not found: {}", missed.join(", "));
    }
    say(&format!(
        "mutants: {caught} of {caught} rows found what was planted"
    ));
    Ok(caught)
}

/// The promise that broke, and after how much.
#[expect(
    clippy::disallowed_methods,
    reason = "a mutant may take the process with it"
)]
fn attempt_one(row: &Row, seed: u64) -> Result<Option<(String, String)>> {
    let this = std::env::current_exe().context("find this program")?;
    let scratch = crate::scratch()?;
    let mut command = std::process::Command::new(this);
    command
        .arg(row.command)
        .args(row.arguments)
        .args(["--seed", &seed.to_string()])
        // What it leaves for a closer look goes with this folder.
        .env("TRANSOM_FAULTS_SCRATCH", scratch.path())
        .env("RUST_BACKTRACE", "0");
    if !row.mutant.is_empty() {
        command.args(["--mutant", row.mutant]);
    }
    let output = command.output().context("start a mutant")?;
    if output.status.success() {
        return Ok(None);
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let broken = said.lines().find_map(|line| line.strip_prefix("after "));
    if let Some((after, rest)) = broken.and_then(|line| line.split_once(": ")) {
        let check = rest.split(':').next().unwrap_or_default();
        return Ok(Some((check.to_owned(), after.to_owned())));
    }
    let failed = String::from_utf8_lossy(&output.stderr);
    let reason = failed.lines().find(|line| line.contains("panicked"));
    match reason {
        Some(_) => Ok(Some((
            "no-panic".to_owned(),
            "an assertion of the store".to_owned(),
        ))),
        None => bail!("{} failed without a finding: {failed}", row.mutant),
    }
}
