//! Memory file systems for volumes, and taking a pod's folder apart again.

use std::ffi::CString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::VolumeError;

/// Mounts a memory file system on `dir`, at most `size_bytes` large, unless one is there.
pub fn make_tmpfs(dir: &Path, size_bytes: Option<u64>) -> Result<(), VolumeError> {
    fs::create_dir_all(dir).map_err(VolumeError::io("create folder", dir))?;
    if mounts_below(dir)?.iter().any(|mounted| mounted == dir) {
        return Ok(());
    }
    let options = size_bytes
        .map(|size| format!("size={size}"))
        .unwrap_or_default();
    let options = CString::new(options).unwrap_or_default();
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", dir, "tmpfs", flags, options.as_c_str())
        .map_err(VolumeError::errno("mount tmpfs on", dir))
}

/// Takes away every mount at or below `dir`, the innermost first.
pub fn unmount_below(dir: &Path) -> Result<(), VolumeError> {
    let mut targets = mounts_below(dir)?;
    targets.reverse();
    for target in targets {
        unmount(&target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
            .map_err(VolumeError::errno("unmount", &target))?;
    }
    Ok(())
}

/// Removes a folder with its mounts; symbolic links are removed, never followed.
pub fn remove_tree(dir: &Path) -> Result<(), VolumeError> {
    unmount_below(dir)?;
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(VolumeError::io("remove", dir)),
    }
}

/// Mount points at or below `dir` in the order in which they were mounted.
fn mounts_below(dir: &Path) -> Result<Vec<PathBuf>, VolumeError> {
    let file = Path::new("/proc/self/mountinfo");
    let text = fs::read_to_string(file).map_err(VolumeError::io("read", file))?;
    Ok(parse(&text)
        .filter(|target| target.starts_with(dir))
        .collect())
}

fn parse(mountinfo: &str) -> impl Iterator<Item = PathBuf> + '_ {
    mountinfo
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|field| unescape(field).into())
}

/// Undoes the kernel's `\040` for space, tab, newline and backslash.
fn unescape(field: &str) -> String {
    let mut result = String::with_capacity(field.len());
    let mut rest = field;
    while let Some(at) = rest.find('\\') {
        result.push_str(&rest[..at]);
        let code = rest
            .get(at + 1..at + 4)
            .and_then(|octal| u8::from_str_radix(octal, 8).ok());
        match code {
            Some(code) => {
                result.push(char::from(code));
                rest = &rest[at + 4..];
            }
            None => {
                result.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    result.push_str(rest);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_is_read_with_its_escapes() {
        let text = "36 35 98:0 / /mnt/a\\040b rw - ext4 /dev/root rw\n\
                    37 36 0:5 / /mnt/c rw - tmpfs tmpfs rw\n";
        let targets: Vec<PathBuf> = parse(text).collect();
        assert_eq!(
            targets,
            [PathBuf::from("/mnt/a b"), PathBuf::from("/mnt/c")]
        );
    }
}
