//! `make faults`: every part once, with fresh seeds, and a table of what was done.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use base::Rng;
use tokio::time::Instant;

use crate::say::say;

/// Runs everything; goes on after a broken promise, and fails at the end.
pub(crate) fn run(seed: u64, transom: Option<PathBuf>) -> Result<()> {
    let mut rng = Rng::new(seed);
    let mut fresh = || (rng.u64() >> 16).to_string();
    say(&format!("faults: seed {seed}"));
    let mut table = Table::default();
    for _ in 0..2 {
        table.part(
            "power cuts",
            &[
                "power",
                "--images",
                "5200",
                "--lives",
                "6",
                "--seed",
                &fresh(),
            ],
        )?;
    }
    for _ in 0..3 {
        let seed = fresh();
        table.part(
            "model in memory",
            &["model", "--operations", "150000", "--seed", &seed],
        )?;
        let disk = [
            "model",
            "--operations",
            "15000",
            "--disk",
            "1",
            "--seed",
            &seed,
        ];
        table.part("model on disk", &disk)?;
        table.part(
            "history in process",
            &["history", "--calls", "6000", "--seed", &seed],
        )?;
    }
    if let Some(transom) = transom {
        let seed = fresh();
        over_tls(&mut table, &transom, &seed)?;
    }
    if cfg!(feature = "mutants") {
        table.part("mutants", &["mutants", "--seed", &fresh()])?;
    }
    table.end()
}

/// A real cluster of its own, gone afterwards.
fn over_tls(table: &mut Table, transom: &Path, seed: &str) -> Result<()> {
    let name = format!("faults-{seed}");
    let folder = tempfile::tempdir().context("make a folder")?;
    let kubeconfig = folder.path().join("kubeconfig");
    let kubeconfig = kubeconfig.to_str().context("a readable path")?;
    let up = [
        "up",
        "--name",
        &name,
        "--kubeconfig",
        kubeconfig,
        "--detach",
    ];
    let started = program(transom, &up);
    if started.as_ref().is_ok_and(|output| output.0) {
        let calls = [
            "history",
            "--calls",
            "3000",
            "--kubeconfig",
            kubeconfig,
            "--seed",
            seed,
        ];
        table.part("history over TLS", &calls)?;
    }
    let ended = program(transom, &["down", "--name", &name])?;
    let (up, said) = started?;
    if !up || !ended.0 {
        bail!("a cluster for the history over TLS: {said}{}", ended.1);
    }
    Ok(())
}

#[derive(Default)]
struct Table {
    rows: Vec<String>,
    failed: usize,
}

impl Table {
    /// One part, in a process of its own; its last line but errors is the row.
    fn part(&mut self, name: &str, arguments: &[&str]) -> Result<()> {
        let this = std::env::current_exe().context("find this program")?;
        let began = Instant::now();
        let (well, said) = program(&this, arguments)?;
        let seconds = began.elapsed().as_secs_f32();
        say(said.trim_end());
        let result = if well {
            let last = said.lines().last().unwrap_or_default();
            last.trim_start_matches(name)
                .trim_start_matches(": ")
                .to_owned()
        } else {
            self.failed += 1;
            format!("FAILED: faults {}", arguments.join(" "))
        };
        self.rows
            .push(format!("{name:<20} {seconds:>6.1} s  {result}"));
        Ok(())
    }

    fn end(self) -> Result<()> {
        say("\nsummary");
        for row in &self.rows {
            say(row);
        }
        match self.failed {
            0 => Ok(()),
            failed => bail!("{failed} parts found a broken promise"),
        }
    }
}

/// Whether it ended well, and all that it said.
#[expect(
    clippy::disallowed_methods,
    reason = "parts are processes: one that crashes is one row of the table"
)]
fn program(program: &Path, arguments: &[&str]) -> Result<(bool, String)> {
    let mut command = std::process::Command::new(program);
    let output = command.args(arguments).output();
    let output = output.with_context(|| format!("start {}", program.display()))?;
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.push_str(&String::from_utf8_lossy(&output.stderr));
    Ok((output.status.success(), said))
}
