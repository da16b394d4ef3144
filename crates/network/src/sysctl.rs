//! Kernel settings under `/proc/sys/net`, which shows the writer's network namespace.
//!
//! Absent settings (no IPv6, another kernel) are fine; a refusal is not.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A setting that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("write {value} to {}", path.display())]
pub(crate) struct SysctlError {
    path: PathBuf,
    value: &'static str,
    #[source]
    cause: std::io::Error,
}

/// Writes `value` unless it is there already. Returns false when the setting does not exist.
pub(crate) fn set(key: &str, value: &'static str) -> Result<bool, SysctlError> {
    let path = Path::new("/proc/sys/net").join(key);
    match fs::read_to_string(&path) {
        Ok(old) if old.trim() == value => return Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        _ => {}
    }
    fs::write(&path, value)
        .map(|()| true)
        .map_err(|cause| SysctlError { path, value, cause })
}
