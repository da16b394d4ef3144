//! fsGroup: everything in a volume belongs to a group and can be used by it.
//!
//! Every step goes by descriptor and none through a link: a container of the pod may be swapping
//! files at the same time. Stays on the volume's file system.
//! Source: kubernetes v1.36 pkg/volume/volume_linux.go (masks, OnRootMismatch).

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::VolumeError;

/// Folders in folders.
const MAX_DEPTH: usize = 1000;

/// Gives `dir` and all in it to `group`. With `on_root_mismatch` nothing is done where the
/// topmost folder is right already. True if there was something to do.
pub fn set_group(
    dir: &Path,
    group: u32,
    read_only: bool,
    on_root_mismatch: bool,
) -> Result<bool, VolumeError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root =
        rustix::fs::open(dir, flags, Mode::empty()).map_err(VolumeError::errno("open", dir))?;
    let stat = rustix::fs::fstat(&root).map_err(VolumeError::errno("inspect", dir))?;
    let change = Change {
        group,
        read_only,
        device: stat.st_dev,
    };
    if on_root_mismatch && change.is_right(&stat) {
        return Ok(false);
    }
    // The topmost folder last: it tells that the rest is done.
    change.contents(root.as_fd(), dir, 0)?;
    change
        .apply(root.as_fd(), &stat)
        .map_err(VolumeError::errno("give to the group", dir))?;
    Ok(true)
}

struct Change {
    group: u32,
    read_only: bool,
    device: u64,
}

impl Change {
    fn mask(&self, folder: bool) -> u32 {
        let access = if self.read_only { 0o440 } else { 0o660 };
        if folder { access | 0o2110 } else { access }
    }

    fn is_right(&self, stat: &Stat) -> bool {
        let mask = self.mask(true);
        stat.st_gid == self.group && stat.st_mode & mask == mask
    }

    fn contents(
        &self,
        folder: BorrowedFd<'_>,
        path: &Path,
        depth: usize,
    ) -> Result<(), VolumeError> {
        if depth == MAX_DEPTH {
            return Err(VolumeError::errno("descend into", path)(Errno::LOOP));
        }
        let list = Dir::read_from(folder).map_err(VolumeError::errno("list", path))?;
        for item in list {
            let item = item.map_err(VolumeError::errno("list", path))?;
            let name = OsStr::from_bytes(item.file_name().to_bytes());
            if name != "." && name != ".." {
                self.item(folder, name, path.join(name), depth)?;
            }
        }
        Ok(())
    }

    fn item(
        &self,
        folder: BorrowedFd<'_>,
        name: &OsStr,
        path: PathBuf,
        depth: usize,
    ) -> Result<(), VolumeError> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = match rustix::fs::openat(folder, name, flags, Mode::empty()) {
            Ok(handle) => handle,
            Err(Errno::NOENT) => return Ok(()), // removed in the meantime
            Err(error) => return Err(VolumeError::errno("open", path)(error)),
        };
        let stat = rustix::fs::fstat(&handle).map_err(VolumeError::errno("inspect", &path))?;
        if stat.st_dev != self.device {
            return Ok(());
        }
        if FileType::from_raw_mode(stat.st_mode).is_dir() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let inner = rustix::fs::openat(&handle, ".", flags, Mode::empty())
                .map_err(VolumeError::errno("open", &path))?;
            self.contents(inner.as_fd(), &path, depth + 1)?;
        }
        self.apply(handle.as_fd(), &stat)
            .map_err(VolumeError::errno("give to the group", path))
    }

    /// Group first: changing it clears setuid and setgid.
    fn apply(&self, handle: BorrowedFd<'_>, stat: &Stat) -> Result<(), Errno> {
        let group = Some(Gid::from_raw(self.group));
        rustix::fs::chownat(handle, "", None, group, AtFlags::EMPTY_PATH)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind.is_symlink() {
            return Ok(());
        }
        let mode = (stat.st_mode & 0o7777) | self.mask(kind.is_dir());
        // The descriptor's own link leads to this very file, whatever its name is now.
        let link = format!("/proc/self/fd/{}", handle.as_raw_fd());
        rustix::fs::chmod(link, Mode::from_raw_mode(mode))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use expect_test::expect;

    use super::*;

    #[test]
    fn everything_goes_to_the_group_and_nothing_outside() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped everything_goes_to_the_group_and_nothing_outside: needs root");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (volume, outside) = (dir.path().join("volume"), dir.path().join("outside"));
        fs::create_dir_all(volume.join("a/b")).unwrap();
        fs::write(volume.join("a/b/f"), "x").unwrap();
        fs::write(&outside, "x").unwrap();
        for (path, mode) in [("a", 0o700), ("a/b", 0o755), ("a/b/f", 0o4700)] {
            fs::set_permissions(volume.join(path), fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::set_permissions(&outside, fs::Permissions::from_mode(0o600)).unwrap();
        symlink(&outside, volume.join("link")).unwrap();
        assert!(set_group(&volume, 3000, false, true).unwrap());
        let show = |path: &Path| {
            let meta = fs::symlink_metadata(path).unwrap();
            format!("{:o} {}", meta.mode() & 0o7777, meta.gid())
        };
        let names = ["", "a", "a/b", "a/b/f", "link"];
        let shown: Vec<String> = names.iter().map(|name| show(&volume.join(name))).collect();
        expect!["2775 3000, 2770 3000, 2775 3000, 4760 3000, 777 3000"]
            .assert_eq(&shown.join(", "));
        assert_eq!(show(&outside), "600 0");
        // The next time the topmost folder says that all is done.
        fs::write(volume.join("late"), "x").unwrap();
        assert!(!set_group(&volume, 3000, false, true).unwrap());
        assert!(set_group(&volume, 3000, false, false).unwrap());
        assert!(set_group(&volume.join("link"), 3000, false, false).is_err());
    }
}
