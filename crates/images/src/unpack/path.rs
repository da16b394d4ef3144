//! Paths as archives write them: what is accepted, in parts, and how a refusal reads.

use crate::error::ImageError;

/// A path has at most this many parts.
pub(super) const MAX_DEPTH: usize = 256;
/// A path is at most this long.
pub(super) const MAX_PATH: usize = 4095;
/// One name is at most this long.
const MAX_NAME: usize = 255;

/// The parts of a path as archives write it; `./` and doubled slashes are dropped.
pub(super) fn split(path: &[u8]) -> Result<Vec<&[u8]>, &'static str> {
    if path.starts_with(b"/") {
        return Err("its path is absolute");
    }
    if path.is_empty() || path.len() > MAX_PATH {
        return Err("its path is empty or longer than 4095 bytes");
    }
    if path.contains(&0) {
        return Err("its path has a zero byte");
    }
    let parts: Vec<&[u8]> = path
        .split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
        .collect();
    if parts.contains(&b"..".as_slice()) {
        return Err("its path has a '..'");
    }
    if parts.len() > MAX_DEPTH {
        return Err("it is more than 256 folders deep");
    }
    if parts.iter().any(|part| part.len() > MAX_NAME) {
        return Err("a name in its path is longer than 255 bytes");
    }
    Ok(parts)
}

pub(super) fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() {
        name.to_vec()
    } else {
        [path, b"/", name].concat()
    }
}

pub(super) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned()
}

pub(super) fn refuse(entry: &[u8], reason: &str) -> ImageError {
    ImageError::Entry {
        entry: lossy(entry),
        reason: reason.to_owned(),
    }
}
