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
    let size = size_bytes.map(|size| format!("size={size}"));
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    let try_mount = |options: Vec<&str>| {
        let options = CString::new(options.join(",")).unwrap_or_default();
        mount("tmpfs", dir, "tmpfs", flags, options.as_c_str())
    };
    // Secrets do not belong on a disk; kernels before 6.3 do not know the word.
    match try_mount(size.as_deref().into_iter().chain(["noswap"]).collect()) {
        Err(rustix::io::Errno::INVAL) => try_mount(size.as_deref().into_iter().collect()),
        result => result,
    }
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
    fn memory_is_bounded_and_taken_away() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped memory_is_bounded_and_taken_away: needs root");
            return;
        }
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("precious"), "x").unwrap();
        let (pod, dir) = (root.path().join("pod"), root.path().join("pod/vol ume"));
        make_tmpfs(&dir, Some(64 << 10)).unwrap();
        make_tmpfs(&dir, Some(64 << 10)).unwrap();
        assert_eq!(mounts_below(&pod).unwrap(), std::slice::from_ref(&dir));
        assert!(fs::write(dir.join("big"), vec![1; 1 << 20]).is_err());
        std::os::unix::fs::symlink(outside.path(), pod.join("link")).unwrap();
        remove_tree(&pod).unwrap();
        remove_tree(&pod).unwrap();
        assert!(!pod.exists() && outside.path().join("precious").exists());
    }

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
