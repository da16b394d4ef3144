//! Where the ledger lies: the files of tests/conformance and the page that shows them.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::super::page;
use super::{Ledger, Texts};

pub(in crate::conformance) struct Files {
    folder: PathBuf,
    page: PathBuf,
}

impl Files {
    pub(in crate::conformance) fn of(root: &Path) -> Files {
        Files {
            folder: root.join("tests/conformance"),
            page: root.join("docs/CONFORMANCE.md"),
        }
    }

    pub(in crate::conformance) fn read(&self) -> Result<Ledger> {
        Ledger::parse(&Texts {
            specs: self.text("specs.txt")?,
            passing: self.text("passing.txt")?,
            runs: self.text("runs.jsonl")?,
            suspects: self.text("suspects.jsonl")?,
        })
    }

    /// Writes what grew; `runs` and `suspects` are lines to append.
    pub(in crate::conformance) fn write(
        &self,
        ledger: &Ledger,
        runs: &str,
        suspects: &str,
    ) -> Result<()> {
        self.append("runs.jsonl", runs)?;
        self.append("suspects.jsonl", suspects)?;
        replace(&self.folder.join("passing.txt"), &ledger.passing_text())?;
        self.show(ledger)
    }

    /// Brings docs/CONFORMANCE.md up to date.
    pub(in crate::conformance) fn show(&self, ledger: &Ledger) -> Result<()> {
        let before = read(&self.page)?;
        replace(&self.page, &page::update(&before, ledger))
    }

    pub(in crate::conformance) fn write_specs(&self, names: &str) -> Result<()> {
        replace(&self.folder.join("specs.txt"), names)
    }

    fn text(&self, name: &str) -> Result<String> {
        read(&self.folder.join(name))
    }

    fn append(&self, name: &str, lines: &str) -> Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let path = self.folder.join(name);
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let written = file.and_then(|mut file| file.write_all(lines.as_bytes()));
        written.with_context(|| format!("write {}", path.display()))
    }
}

/// A file that is not there yet is empty.
fn read(path: &Path) -> Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        other => other.with_context(|| format!("read {}", path.display())),
    }
}

/// A run that is killed while it writes leaves the old file.
fn replace(path: &Path, text: &str) -> Result<()> {
    let next = path.with_extension("next");
    fs::write(&next, text).with_context(|| format!("write {}", next.display()))?;
    fs::rename(&next, path).with_context(|| format!("rename {}", next.display()))
}
