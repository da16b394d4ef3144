//! What the trials gave, kept below .build/vm/results, and docs/VM.md with all of them.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{Init, TRIALS, Trial};

/// What a guest reported.
#[derive(Default)]
pub(super) struct Outcome {
    /// (step, seconds), in order.
    steps: Vec<(String, String)>,
    /// First lines of a machine: its kernel and so on.
    about: Vec<String>,
    /// The rolling update's count of requests.
    notes: Vec<String>,
    current: Option<String>,
    pub(super) failure: Option<String>,
    pub(super) seconds: u64,
}

impl Outcome {
    pub(super) fn fail(&mut self, why: String) {
        let at = self.current.take();
        let at = at.map_or_else(String::new, |step| format!("{step}: "));
        self.failure.get_or_insert(format!("{at}{why}"));
    }

    /// One line of the report; true at its end.
    pub(super) fn hear(&mut self, line: &str) -> bool {
        let Some(words) = line.strip_prefix('@') else {
            match self.current.as_deref() {
                Some("the machine") => self.about.push(line.to_owned()),
                _ if line.starts_with("Rolling update") => self.notes.push(line.to_owned()),
                _ => {}
            }
            return false;
        };
        let (word, rest) = words.split_once(' ').unwrap_or((words, ""));
        match word {
            "begin" => self.current = Some(rest.to_owned()),
            "ok" => {
                self.current = None;
                let (step, seconds) = rest.rsplit_once(' ').unwrap_or((rest, ""));
                self.steps.push((step.to_owned(), seconds.to_owned()));
            }
            "fail" => self.fail("failed".to_owned()),
            // The step that reboots has no other end.
            "reboot" => self
                .steps
                .extend(self.current.take().map(|step| (step, String::new()))),
            "end" => {
                if let Some(step) = self.current.take() {
                    self.fail(format!("{step} has no end"));
                }
                return true;
            }
            _ => {}
        }
        false
    }

    pub(super) fn save(&self, work: &Path, commit: &str, trial: &Trial) -> Result<()> {
        let folder = work.join("results");
        fs::create_dir_all(&folder)?;
        let value = json!({
            "commit": commit,
            "steps": self.steps,
            "about": self.about,
            "notes": self.notes,
            "failure": self.failure,
            "seconds": self.seconds,
        });
        let path = folder.join(format!("{}.json", trial.name));
        fs::write(&path, serde_json::to_vec_pretty(&value)?).context("keep the result")
    }
}

const HEAD: &str = "# Virtual machines

Written by `make vm-test`: the README's main job on machines that no build machine is. Each row is \
a QEMU guest (TCG: no acceleration, so minutes long) made from Debian packages, with two \
processors, 1.5 GiB and no way to the outside; `make vm-test TRIALS=\"v2 systemd\"` runs some of \
them. Seconds are those of an emulated machine on shared cores: they say that it works, not how \
fast. `xtask/vm/trial.sh` is what the guests do.

";

/// Writes the page from all results that there are.
pub(super) fn write(root: &Path, work: &Path) -> Result<()> {
    let mut table = "| trial | machine | pid 1 | kernel command line | what is checked | result | \
                     commit |\n|---|---|---|---|---|---|---|\n"
        .to_owned();
    let mut steps = String::new();
    for trial in &TRIALS {
        let text = fs::read_to_string(work.join(format!("results/{}.json", trial.name)));
        let seen: Value = text
            .ok()
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default();
        let result = match (&seen["failure"], &seen["seconds"]) {
            (_, Value::Null) => "not run".to_owned(),
            (Value::String(why), _) => format!("**failed**: {why}"),
            (_, seconds) => format!("passed in {seconds} s"),
        };
        let init = match trial.init {
            Init::Script => "a script",
            Init::Systemd => "systemd",
        };
        let commit = seen["commit"].as_str().unwrap_or("–");
        writeln!(
            table,
            "| {} | {} | {init} | `{}` | {} | {result} | {commit} |",
            trial.name, trial.machine, trial.kernel, trial.checks
        )?;
        if !seen["seconds"].is_null() {
            section(&mut steps, trial, &seen)?;
        }
    }
    let page = format!("{HEAD}{table}{steps}");
    fs::write(root.join("docs/VM.md"), page).context("write docs/VM.md")
}

fn section(page: &mut String, trial: &Trial, seen: &Value) -> Result<()> {
    writeln!(page, "\n## {}\n", trial.name)?;
    for line in seen["about"].as_array().into_iter().flatten() {
        writeln!(page, "    {}", line.as_str().unwrap_or_default())?;
    }
    writeln!(page, "\n| step | seconds |\n|---|---|")?;
    for step in seen["steps"].as_array().into_iter().flatten() {
        let part = |index: usize| step[index].as_str().unwrap_or_default();
        writeln!(page, "| {} | {} |", part(0), part(1))?;
    }
    for note in seen["notes"].as_array().into_iter().flatten() {
        writeln!(page, "\n{}", note.as_str().unwrap_or_default())?;
    }
    Ok(())
}
