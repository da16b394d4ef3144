//! A part of a volume, bound to a place that the pod cannot change.
//!
//! The path inside the volume is the pod's: it may hold symbolic links to anywhere, and may be
//! swapped at any time. It is opened once with `openat2(RESOLVE_BENEATH)`, and what was opened is
//! bound by its descriptor, never by its name (CVE-2017-1002101, CVE-2021-25741).
//! Source for the behaviour: kubernetes v1.36 staging/src/k8s.io/mount-utils, pkg/volume/util/subpath.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use base::open_below;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use crate::VolumeError;

/// Binds `sub_path` of the folder `volume` onto `target`, creating missing folders on the way.
pub fn bind_sub_path(volume: &Path, sub_path: &str, target: &Path) -> Result<(), VolumeError> {
    let refused = |cause: io::Error| VolumeError::SubPath {
        sub_path: sub_path.to_owned(),
        volume: volume.to_owned(),
        cause,
    };
    let opened = open(volume, sub_path).map_err(refused)?;
    let is_dir = fstat(&opened)
        .map(|stat| FileType::from_raw_mode(stat.st_mode).is_dir())
        .map_err(VolumeError::errno("inspect", volume))?;
    if is_dir {
        fs::create_dir_all(target).map_err(VolumeError::io("create folder", target))?;
    } else {
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(VolumeError::io("create folder", parent))?;
        }
        fs::File::create(target).map_err(VolumeError::io("create file", target))?;
    }
    let tree = open_tree(
        &opened,
        "",
        OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH
            | OpenTreeFlags::AT_RECURSIVE,
    )
    .map_err(VolumeError::errno("clone the mount of", volume))?;
    move_mount(
        &tree,
        "",
        rustix::fs::CWD,
        target,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )
    .map_err(VolumeError::errno("bind onto", target))
}

/// Opens a path below `volume`; what does not exist becomes a folder with the volume's mode.
/// Links are followed as long as they stay inside; new folders are never made through one.
fn open(volume: &Path, sub_path: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let stay = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let folder = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(volume, folder, Mode::empty())?;
    match open_below(&root, sub_path, flags, stay) {
        Ok(opened) => return Ok(opened),
        Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let mode = Mode::from_raw_mode(fstat(&root)?.st_mode & 0o7777);
    let mut at = rustix::io::dup(&root)?;
    let mut path = PathBuf::new();
    for part in Path::new(sub_path).components() {
        let Component::Normal(name) = part else {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        };
        path.push(name);
        at = match open_below(&root, &path, folder, stay) {
            Ok(next) => next,
            Err(Errno::NOENT) => {
                match mkdirat(&at, name, Mode::from_raw_mode(0o700)) {
                    Ok(()) => {
                        let no_links = stay | ResolveFlags::NO_SYMLINKS;
                        let made = open_below(&at, name, folder, no_links)?;
                        rustix::fs::fchmod(&made, mode)?;
                        made
                    }
                    // Somebody else made it, or a link leads to nowhere.
                    Err(Errno::EXIST) => open_below(&at, name, folder, stay)?,
                    Err(error) => return Err(error.into()),
                }
            }
            Err(error) => return Err(error.into()),
        };
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use expect_test::{Expect, expect};

    use super::*;

    /// Opens `sub_path` of a volume with traps in it; says what was found, or the error.
    #[track_caller]
    fn check(sub_path: &str, expect: Expect) {
        let dir = tempfile::tempdir().unwrap();
        let volume = dir.path().join("volume");
        fs::create_dir_all(volume.join("inside")).unwrap();
        fs::set_permissions(&volume, fs::Permissions::from_mode(0o1777)).unwrap();
        fs::write(volume.join("inside/file"), "x").unwrap();
        symlink("inside", volume.join("near")).unwrap();
        symlink("/etc", volume.join("far")).unwrap();
        symlink("../..", volume.join("up")).unwrap();
        symlink("nowhere", volume.join("dangling")).unwrap();
        let got = match open(&volume, sub_path) {
            Ok(opened) => {
                let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&opened));
                let path = fs::read_link(link).unwrap();
                let path = path.strip_prefix(&volume).unwrap().display().to_string();
                format!("{path} {:o}", fstat(&opened).unwrap().st_mode)
            }
            Err(error) => format!("error: {:?}", error.kind()),
        };
        expect.assert_eq(&got);
        let mut outside = fs::read_dir(dir.path()).unwrap();
        assert!(outside.next().is_some() && outside.next().is_none());
    }

    #[test]
    fn what_exists_is_opened_and_the_rest_made() {
        check("inside", expect!["inside 40755"]);
        check("inside/file", expect!["inside/file 100644"]);
        check("near/file", expect!["inside/file 100644"]);
        check("new/deep", expect!["new/deep 41777"]);
        check("near/new", expect!["inside/new 41777"]);
    }

    #[test]
    fn nothing_leads_outside() {
        check("far", expect!["error: CrossesDevices"]);
        check("far/new", expect!["error: CrossesDevices"]);
        check("up/x", expect!["error: CrossesDevices"]);
        check("../x", expect!["error: CrossesDevices"]);
        check("/etc", expect!["error: CrossesDevices"]);
        check("inside/../../x", expect!["error: CrossesDevices"]);
        check("new/../x", expect!["error: InvalidInput"]);
        check("dangling/x", expect!["error: NotFound"]);
        check("inside/file/x", expect!["error: NotADirectory"]);
    }

    /// They make the kernel unsure of every path that goes up.
    #[test]
    fn renames_elsewhere_do_not_matter() {
        use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
        let dir = tempfile::tempdir().unwrap();
        let (volume, elsewhere) = (dir.path().join("volume"), dir.path().join("elsewhere"));
        fs::create_dir_all(volume.join("a/b")).unwrap();
        fs::create_dir(&elsewhere).unwrap();
        symlink("b/../..", volume.join("a/back")).unwrap();
        let (one, other) = (elsewhere.join("1"), elsewhere.join("2"));
        fs::write(&one, "").unwrap();
        let stop = AtomicBool::new(false);
        let failed = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(SeqCst) {
                    fs::rename(&one, &other).unwrap();
                    fs::rename(&other, &one).unwrap();
                }
            });
            let failed = (0..20_000).find_map(|_| open(&volume, "a/back/a").err());
            stop.store(true, SeqCst);
            failed
        });
        assert!(failed.is_none(), "{failed:?}");
    }

    /// CVE-2021-25741: a container exchanges a folder of its volume for a link to the host while
    /// the folder is bound. Whoever looks first and then uses the name is led away.
    #[test]
    fn exchanged_links_lead_nowhere() {
        use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped exchanged_links_lead_nowhere: needs root");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let volume = dir.path().canonicalize().unwrap().join("volume");
        let outside = dir.path().join("outside");
        let (part, link) = (volume.join("part"), volume.join("link"));
        for (folder, text) in [(&part, "inside"), (&outside, "outside")] {
            fs::create_dir_all(folder).unwrap();
            fs::write(folder.join("f"), text).unwrap();
        }
        symlink(&outside, &link).unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (flags, here) = (rustix::fs::RenameFlags::EXCHANGE, rustix::fs::CWD);
                while !stop.load(SeqCst) {
                    rustix::fs::renameat_with(here, &part, here, &link, flags).unwrap();
                }
            });
            let naive = (0..1_000_000).any(|_| {
                let inside = part.canonicalize().is_ok_and(|p| p.starts_with(&volume));
                inside && fs::read_to_string(part.join("f")).is_ok_and(|text| text == "outside")
            });
            let (mut bound, mut refused) = (0, 0);
            let targets = dir.path().join("targets");
            // A refusal takes no time: thousands fit in while the exchanging thread stands still.
            for number in 0..1_000_000 {
                if !(0..100).contains(&bound) {
                    break;
                }
                let target = targets.join(number.to_string());
                match bind_sub_path(&volume, "part", &target) {
                    Ok(()) if fs::read_to_string(target.join("f")).unwrap() == "inside" => {
                        bound += 1;
                    }
                    Ok(()) => bound -= 1000,
                    Err(_) => {
                        refused += 1;
                        std::thread::yield_now();
                    }
                }
            }
            stop.store(true, SeqCst);
            crate::remove_tree(&targets).unwrap();
            assert!(naive, "the race is one");
            assert!(bound >= 100, "{bound} bound, {refused} refused");
        });
    }

    #[test]
    fn a_bind_shows_the_sub_path() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped a_bind_shows_the_sub_path: needs root");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (volume, target) = (dir.path().join("volume"), dir.path().join("target/0"));
        fs::create_dir_all(volume.join("a")).unwrap();
        fs::write(volume.join("a/f"), "x").unwrap();
        bind_sub_path(&volume, "a", &target).unwrap();
        assert_eq!(fs::read_to_string(target.join("f")).unwrap(), "x");
        crate::remove_tree(&dir.path().join("target")).unwrap();
        assert_eq!(fs::read_to_string(volume.join("a/f")).unwrap(), "x");
    }
}
