//! Progress for a terminal.

#[expect(clippy::print_stdout, reason = "a task talks to a terminal")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}
