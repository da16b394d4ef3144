//! The committed record: `passing.txt` holds every spec that passed, and only grows by itself;
//! `runs.jsonl` says which commit showed what.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::json;

use super::outcome::Outcome;
use super::read_list;
use crate::tool::command;

pub(super) struct Ledger {
    folder: PathBuf,
    passing: BTreeSet<String>,
}

impl Ledger {
    pub(super) fn open(folder: &Path) -> Result<Ledger> {
        let path = folder.join("passing.txt");
        let passing = if path.exists() {
            read_list(&path)?.into_iter().collect()
        } else {
            BTreeSet::new()
        };
        Ok(Ledger {
            folder: folder.to_owned(),
            passing,
        })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.passing.contains(name)
    }

    pub(super) fn record(mut self, root: &Path, outcomes: &[Outcome]) -> Result<()> {
        let output = command("git", root)
            .args(["rev-parse", "--short", "HEAD"])
            .output()?;
        let commit = String::from_utf8(output.stdout)?.trim().to_owned();
        let path = self.folder.join("runs.jsonl");
        let mut runs = OpenOptions::new().create(true).append(true).open(&path)?;
        for outcome in outcomes {
            let line = json!({
                "commit": commit,
                "spec": outcome.name,
                "result": if outcome.passed() { "passed" } else { "failed" },
                "seconds": (outcome.seconds * 10.0).round() / 10.0,
            });
            writeln!(runs, "{line}").with_context(|| format!("write {}", path.display()))?;
            if outcome.passed() {
                self.passing.insert(outcome.name.clone());
            }
        }
        let mut text = String::new();
        for name in &self.passing {
            text.push_str(name);
            text.push('\n');
        }
        fs::write(self.folder.join("passing.txt"), text)?;
        Ok(())
    }
}
