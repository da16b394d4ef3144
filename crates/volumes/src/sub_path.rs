//! A part of a volume, bound to a place that the pod cannot change.
//!
//! The path inside the volume is the pod's: it may hold symbolic links to anywhere, and may be
//! swapped at any time. It is opened once with `openat2(RESOLVE_BENEATH)`, and what was opened is
//! bound by its descriptor, never by its name (CVE-2017-1002101, CVE-2021-25741).
//! Source for the behaviour: kubernetes v1.36 staging/src/k8s.io/mount-utils, pkg/volume/util/subpath.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat2};
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

/// Opens a path below `volume`; what does not exist becomes a folder.
fn open(volume: &Path, sub_path: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let stay = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let root = rustix::fs::open(volume, flags | OFlags::DIRECTORY, Mode::empty())?;
    match openat2(&root, sub_path, flags, Mode::empty(), stay) {
        Ok(opened) => return Ok(opened),
        Err(rustix::io::Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let mut at = root;
    for part in Path::new(sub_path).components() {
        let Component::Normal(name) = part else {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        };
        match mkdirat(&at, name, Mode::from_raw_mode(0o750)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let no_links = stay | ResolveFlags::NO_SYMLINKS;
        at = openat2(
            &at,
            name,
            flags | OFlags::DIRECTORY,
            Mode::empty(),
            no_links,
        )?;
    }
    Ok(at)
}
