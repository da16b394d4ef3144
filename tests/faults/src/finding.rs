//! What a check has to say when a promise is broken.

use std::fmt;

/// A broken promise: which check saw it, and what it saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The promise, in the words of docs/RELIABILITY.md.
    pub(crate) check: &'static str,
    /// Revisions, keys, values.
    pub(crate) detail: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check, self.detail)
    }
}

impl std::error::Error for Finding {}

/// Holds, or is a [`Finding`].
pub(crate) fn holds(
    check: &'static str,
    truth: bool,
    detail: impl FnOnce() -> String,
) -> Result<(), Finding> {
    if truth {
        return Ok(());
    }
    let detail = detail();
    Err(Finding { check, detail })
}
