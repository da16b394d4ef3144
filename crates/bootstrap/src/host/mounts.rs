//! What is mounted below a folder, as the kernel's mountinfo tells it.
//!
//! Source: proc_pid_mountinfo(5).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use crate::error::Error;

const MOUNTINFO: &str = "/proc/self/mountinfo";

/// All mount points, in mount order.
pub(crate) fn all() -> Result<Vec<PathBuf>, Error> {
    let path = Path::new(MOUNTINFO);
    let text = std::fs::read_to_string(path).map_err(Error::file("read", path))?;
    Ok(parse(&text))
}

fn parse(text: &str) -> Vec<PathBuf> {
    text.lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(unescape)
        .collect()
}

/// Mount points at or below `folder`, in mount order.
pub(crate) fn below(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    Ok(all()?
        .into_iter()
        .filter(|target| target.starts_with(folder))
        .collect())
}

/// Unmounts everything at or below `folder`, last mounted first.
pub(crate) fn unmount_below(folder: &Path) -> Result<(), Error> {
    for target in below(folder)?.iter().rev() {
        match rustix::mount::unmount(target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
            Err(errno) => return Err(Error::errno("unmount", target.display())(errno)),
        }
    }
    Ok(())
}

/// Undoes mountinfo's octal escapes (`\040` is a space).
fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let code = tail
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                bytes.push(code);
                rest = &tail[3..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(bytes).into()
}
