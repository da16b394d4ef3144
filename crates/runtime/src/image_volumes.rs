//! Images as volumes: their layers as one read-only file system, bound into a container.
//!
//! ```text
//! CONTAINER/images/N/all    the image: overlay, read-only, no programs, devices or setuid
//! CONTAINER/images/N/none   an empty layer below: overlayfs wants two when nothing is writable
//! CONTAINER/images/N/part   what a sub path leads to
//! ```
//! The mounts are the container's own and go with its pod's end. Nothing in an image is trusted: a
//! sub path is opened once inside the image and bound by its descriptor. Blocking.
//! Source: containerd 2.x internal/cri/server/container_image_mount.go; KEP-4639 (ro, noexec).

use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use nodeapi::{CriError, cri};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen, mount, move_mount,
    open_tree, unmount,
};
use serde::{Deserialize, Serialize};

use crate::persist::make_dir;

const FOLDER: &str = "images";

/// An image that one of a container's mounts names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ImageVolume {
    /// Which of the configuration's mounts.
    pub(crate) index: usize,
    /// The image's layers, topmost first.
    pub(crate) lowers: Vec<PathBuf>,
}

impl ImageVolume {
    /// Who holds the layers.
    pub(crate) fn holder(&self, container: &str) -> String {
        format!("{container}/{FOLDER}/{}", self.index)
    }

    /// Mounts it below a container's folder: the path on the host that is to be bound.
    pub(crate) fn mount(&self, dir: &Path, sub_path: &str) -> Result<PathBuf, CriError> {
        let dir = dir.join(FOLDER).join(self.index.to_string());
        let (all, none) = (dir.join("all"), dir.join("none"));
        make_dir(&all)?;
        let mut lowers = self.lowers.clone();
        if lowers.len() < 2 {
            make_dir(&none)?;
            lowers.push(none);
        }
        overlay(&lowers, &all).map_err(|e| failed(&format!("mount on {}: {e}", all.display())))?;
        if sub_path.is_empty() {
            return Ok(all);
        }
        let part = dir.join("part");
        make_dir(&part)?;
        bind_part(&all, sub_path, &part)
            .map_err(|e| failed(&format!("sub path {sub_path:?} of the image: {e}")))?;
        Ok(part)
    }
}

/// What kubelet and people recognize the failure by.
pub(crate) fn failed(why: &str) -> CriError {
    CriError::unknown(format!("ImageVolumeMountFailed: {why}"))
}

/// The image that a mount asks for, if it asks for one.
pub(crate) fn wanted(mount: &cri::Mount) -> Result<Option<&str>, CriError> {
    let Some(image) = &mount.image else {
        return Ok(None);
    };
    match (mount.host_path.is_empty(), mount.readonly) {
        (false, _) => Err(failed("a mount of an image has no path on the host")),
        (_, false) => Err(failed("a mount of an image is read-only")),
        _ if image.image.is_empty() => Err(failed("the mount names no image")),
        _ => Ok(Some(&image.image)),
    }
}

/// Takes away the mounts of a container's or of a whole sandbox's folder.
pub(crate) fn unmount_all(dir: &Path) {
    let children = |dir: PathBuf| {
        let entries = fs::read_dir(dir).into_iter().flatten();
        entries.filter_map(Result::ok).map(|entry| entry.path())
    };
    let containers = children(dir.join("containers"));
    for container in containers.chain([dir.to_owned()]) {
        for volume in children(container.join(FOLDER)) {
            for name in ["part", "all"] {
                let place = volume.join(name);
                match unmount(&place, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
                    // It is not mounted, or not there.
                    Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
                    Err(err) => {
                        tracing::warn!(path = %place.display(), %err, "image not unmounted");
                    }
                }
            }
        }
    }
}

/// Mounts layers, topmost first, on `at`.
fn overlay(lowers: &[PathBuf], at: &Path) -> io::Result<()> {
    match overlay_by_layers(lowers, at) {
        // The kernel is older than 6.7, or a path is longer than 255 bytes.
        Err(Errno::INVAL) => overlay_by_page(lowers, at),
        other => Ok(other?),
    }
}

fn overlay_by_layers(lowers: &[PathBuf], at: &Path) -> rustix::io::Result<()> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", "overlay")?;
    for lower in lowers {
        fsconfig_set_string(&context, "lowerdir+", lower)?;
    }
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let made = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    attach(&made, at)
}

/// All options in one page: layers go by descriptor, so that some two hundred fit.
fn overlay_by_page(lowers: &[PathBuf], at: &Path) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = lowers
        .iter()
        .map(|lower| rustix::fs::open(lower, flags, Mode::empty()))
        .collect::<rustix::io::Result<Vec<OwnedFd>>>()?;
    let paths: Vec<String> = opened
        .iter()
        .map(|fd| format!("/proc/self/fd/{}", fd.as_raw_fd()))
        .collect();
    let data = std::ffi::CString::new(format!("lowerdir={}", paths.join(":")))?;
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("overlay", at, "overlay", flags, data.as_c_str())?;
    Ok(())
}

/// Binds what a path inside the image leads to; links stay inside.
fn bind_part(all: &Path, sub_path: &str, at: &Path) -> io::Result<()> {
    let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(all, folder, Mode::empty())?;
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let opened = match base::open_below(&root, sub_path, folder, inside) {
        Err(Errno::NOTDIR) => return Err(io::Error::other("only a directory can be mounted")),
        opened => opened?,
    };
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    Ok(attach(&open_tree(&opened, "", flags)?, at)?)
}

fn attach(tree: &OwnedFd, at: &Path) -> rustix::io::Result<()> {
    move_mount(tree, "", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

#[cfg(test)]
mod tests;
