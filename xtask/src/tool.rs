//! Running developers' tools and talking to a terminal.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

#[expect(
    clippy::disallowed_methods,
    reason = "a task runs the tools of developers"
)]
pub(crate) fn command(program: impl AsRef<OsStr>, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder);
    command
}

#[expect(clippy::print_stdout, reason = "a task talks to a terminal")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}
