//! Reading and writing of control files, with the file named in every error.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use crate::error::Error;

pub(crate) fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|cause| Error::Read {
        path: path.into(),
        cause,
    })
}

/// `None` if the file or its directory is not there.
pub(crate) fn read_optional(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == ErrorKind::NotFound || e.raw_os_error() == Some(ENODEV) => Ok(None),
        Err(cause) => Err(Error::Read {
            path: path.into(),
            cause,
        }),
    }
}

/// A group removed while its file is read answers ENODEV.
const ENODEV: i32 = 19;

/// Writes `value` in one write(2), as the kernel demands.
pub(crate) fn write(path: &Path, value: &str) -> Result<(), Error> {
    let attempt = || -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).open(path)?;
        file.write_all(value.as_bytes())
    };
    attempt().map_err(|cause| Error::Write {
        path: path.into(),
        value: value.into(),
        cause,
    })
}

/// The value of `key` in a flat keyed file (`memory.stat`, `cpu.stat`, `memory.events`).
pub(crate) fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        (name == key).then(|| value.trim().parse().ok()).flatten()
    })
}

/// A single number; `max` is `u64::MAX`.
pub(crate) fn number(what: &'static str, text: &str) -> Result<u64, Error> {
    let text = text.trim();
    if text == "max" {
        return Ok(u64::MAX);
    }
    text.parse().map_err(|_| Error::Parse {
        what,
        text: text.into(),
    })
}
