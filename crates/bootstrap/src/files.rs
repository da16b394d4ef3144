//! Files of a cluster: written whole by rename, with mode and owner, never half.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::Error;

const REMOVE_ATTEMPTS: u32 = 25;

/// Replaces `path` by `data` with `mode`.
pub(crate) fn write(path: &Path, data: &[u8], mode: u32) -> Result<(), Error> {
    let temporary = temporary(path);
    let _ = fs::remove_file(&temporary);
    let put = || -> io::Result<()> {
        let mut file: File = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&temporary)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(data)?;
        file.sync_data()?;
        fs::rename(&temporary, path)
    };
    put().map_err(|cause| {
        let _ = fs::remove_file(&temporary);
        Error::file("write", path)(cause)
    })
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

/// Makes a folder and those above it; its own mode is `mode`.
pub(crate) fn folder(path: &Path, mode: u32) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(Error::file("create", path))?;
    fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(Error::file("set the mode of", path))
}

/// Sets the mode of a file.
pub(crate) fn set_mode(path: &Path, mode: u32) -> Result<(), Error> {
    fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(Error::file("set the mode of", path))
}

/// Gives `path` to `uid`; as someone other than root only to oneself.
pub(crate) fn give(path: &Path, uid: u32, gid: u32) -> Result<(), Error> {
    std::os::unix::fs::lchown(path, Some(uid), Some(gid))
        .map_err(Error::file("change the owner of", path))
}

/// The text of a file, or `None` when there is none.
pub(crate) fn read(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(Error::file("read", path)(error)),
    }
}

/// Removes a file; absent is fine.
pub(crate) fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::file("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Removes a file and what a killed writer of it left; absent is fine.
pub(crate) fn remove_with_rest(path: &Path) -> Result<(), Error> {
    remove_rest(path)?;
    remove(path)
}

/// Removes what a killed writer of `path` left.
pub(crate) fn remove_rest(path: &Path) -> Result<(), Error> {
    remove(&temporary(path))
}

/// Removes a folder with all it holds; absent is fine. Refuses while something is mounted below,
/// so that a forgotten bind mount never costs the files behind it.
pub(crate) fn remove_tree(path: &Path) -> Result<(), Error> {
    let mounted = crate::host::mounts::below(path)?;
    if let Some(first) = mounted.first() {
        let cause = io::Error::new(
            io::ErrorKind::ResourceBusy,
            format!("{} is still mounted", first.display()),
        );
        return Err(Error::file("remove", path)(cause));
    }
    for attempt in 0.. {
        match fs::remove_dir_all(path) {
            // Someone who is ending wrote a last file meanwhile.
            Err(error)
                if error.kind() == io::ErrorKind::DirectoryNotEmpty
                    && attempt < REMOVE_ATTEMPTS =>
            {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::file("remove", path)(error));
            }
            _ => break,
        }
    }
    Ok(())
}

/// Removes a folder if it is there and empty.
pub(crate) fn remove_if_empty(path: &Path) {
    // A folder that is not empty stays: that is the point.
    let _ = fs::remove_dir(path);
}

/// The last `lines` lines of a log behind `from`, for error messages.
pub(crate) fn tail(path: &Path, from: u64, lines: usize) -> String {
    let text = fs::read(path).unwrap_or_default();
    // A log that was cut meanwhile is shorter than it was.
    let from = usize::try_from(from).unwrap_or(0);
    let from = if from <= text.len() { from } else { 0 };
    let start = from.max(text.len().saturating_sub(8192));
    let text = String::from_utf8_lossy(&text[start..]).into_owned();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// The size of a file; 0 when there is none.
pub(crate) fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |meta| meta.len())
}
