//! Running developers' tools and talking to a terminal.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context as _, Result, ensure};

#[expect(
    clippy::disallowed_methods,
    reason = "a task runs the tools of developers"
)]
pub(crate) fn command(program: impl AsRef<OsStr>, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder);
    command
}

/// The commit that is checked out, in short.
pub(crate) fn commit(root: &Path) -> Result<String> {
    let output = command("git", root)
        .args(["rev-parse", "--short=10", "HEAD"])
        .output()
        .context("run git")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "git rev-parse: {}", said.trim());
    let commit = String::from_utf8(output.stdout).context("git's answer")?;
    Ok(commit.trim().to_owned())
}

#[expect(clippy::print_stdout, reason = "a task talks to a terminal")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}

/// When a file was changed last; none where there is no such file.
pub(crate) fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|meta| meta.modified()).ok()
}
