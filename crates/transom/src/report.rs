//! What a person sees: progress on standard error, results on standard output.
#![expect(clippy::print_stderr, reason = "the command line's voice")]

use std::io::Write as _;

/// One step that is done or begins.
pub(crate) fn progress(line: &str) {
    eprintln!("· {line}");
}

/// A result.
pub(crate) fn result(text: &str) {
    // A closed pipe (`| head`) is no failure.
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end_matches('\n'));
}

/// An error with its causes; findings of a preflight stand one a line already.
pub(crate) fn failure(error: &anyhow::Error) {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    eprintln!("error: {text}");
}
