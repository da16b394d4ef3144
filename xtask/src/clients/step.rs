//! A suite that is a list of commands: each must end well, or badly where that is the point, and
//! say what is expected of it.

use std::fs::{File, OpenOptions};
use std::io::Write as _;

use anyhow::{Context as _, Result, ensure};

use super::check::Check;
use super::suite::Setting;
use crate::tool::command;

/// One command and what it must say.
pub(super) struct Step {
    pub(super) name: &'static str,
    /// The program and its words; `{files}` stands for the suite's folder.
    pub(super) words: &'static str,
    pub(super) fails: bool,
    /// What its output must hold; with `!` in front what it must not.
    pub(super) says: &'static [&'static str],
}

/// A command that must end well.
pub(super) const fn step(
    name: &'static str,
    words: &'static str,
    says: &'static [&'static str],
) -> Step {
    Step {
        name,
        words,
        fails: false,
        says,
    }
}

/// A command that must fail.
pub(super) const fn fails(
    name: &'static str,
    words: &'static str,
    says: &'static [&'static str],
) -> Step {
    Step {
        name,
        words,
        fails: true,
        says,
    }
}

/// Runs all steps in turn, also after one that failed: what follows shows how much is lost.
pub(super) fn run(setting: &Setting, steps: &[Step]) -> Result<Vec<Check>> {
    let log = setting.work.join("log");
    File::create(&log).with_context(|| log.display().to_string())?;
    let mut checks: Vec<Check> = Vec::new();
    for step in steps {
        let check = Check::of(step.name, || one(setting, step));
        match checks.last_mut() {
            // Several commands in a row that show one thing are one check.
            Some(last) if last.name == check.name => {
                last.seconds += check.seconds;
                last.failure = last.failure.take().or(check.failure);
            }
            _ => checks.push(check),
        }
    }
    Ok(checks)
}

fn one(setting: &Setting, step: &Step) -> Result<String> {
    let files = setting.folder.display().to_string();
    let words: Vec<String> = step
        .words
        .split_whitespace()
        .map(|word| word.replace("{files}", &files))
        .collect();
    let mut program = command(setting.programs.join(&words[0]), &setting.work);
    let output = program
        .args(&words[1..])
        .env("KUBECONFIG", &setting.kubeconfig)
        .env("HOME", &setting.work)
        .output()
        .with_context(|| format!("run {}", words[0]))?;
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let mut log = OpenOptions::new()
        .append(true)
        .open(setting.work.join("log"))?;
    writeln!(log, "$ {}\n{text}[{}]\n", words.join(" "), output.status)?;
    judge(step, output.status.success(), &text).with_context(|| format!("`{}`", step.words))?;
    Ok(String::new())
}

fn judge(step: &Step, succeeded: bool, text: &str) -> Result<()> {
    let last = text.trim().lines().last().unwrap_or_default();
    ensure!(
        succeeded != step.fails,
        "{}: {last}",
        if succeeded { "succeeded" } else { "failed" }
    );
    for expected in step.says {
        match expected.strip_prefix('!') {
            Some(unwanted) => ensure!(!text.contains(unwanted), "says {unwanted:?}"),
            None => ensure!(text.contains(expected), "does not say {expected:?}"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Step, judge};

    #[track_caller]
    fn check(fails: bool, says: &'static [&'static str], succeeded: bool, expected: &str) {
        let step = Step {
            name: "a step",
            words: "helm list",
            fails,
            says,
        };
        let got = judge(&step, succeeded, "NAME\nweb deployed\n");
        let got = got.map_or_else(|error| error.to_string(), |()| String::new());
        assert_eq!(got, expected);
    }

    #[test]
    fn what_a_command_says_is_judged() {
        check(false, &["deployed", "!failed"], true, "");
        check(false, &["failed"], true, "does not say \"failed\"");
        check(false, &["!web"], true, "says \"web\"");
        check(false, &[], false, "failed: web deployed");
        check(true, &[], true, "succeeded: web deployed");
    }
}
