//! What the layers below show at a path: the first one that has it, unless it is hidden.
//!
//! Needed where a layer leaves something out: parents of an entry, targets of hard links.
//! Every look is relative to a layer's descriptor and never follows a link.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// Flags under which a path can neither leave its root nor pass a link.
pub(super) const STRICT: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

pub(super) const OPAQUE: &str = "trusted.overlay.opaque";

/// Opens a path of whole components below `root`; the empty path is the root itself.
pub(super) fn open(root: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() {
        b".".as_slice()
    } else {
        path
    };
    let flags = flags | OFlags::CLOEXEC;
    rustix::fs::openat2(root, OsStr::from_bytes(path), flags, Mode::empty(), STRICT)
}

/// A character device 0/0: what overlayfs hides a name with.
pub(super) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Something found in a lower layer.
pub(super) struct Found {
    pub(super) stat: Stat,
    /// Opened with O_PATH.
    pub(super) handle: OwnedFd,
    /// Which layer, counted from the top.
    pub(super) layer: usize,
}

impl Found {
    pub(super) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }
}

/// Looks `path` (no links in it) up in the layers below, topmost first.
pub(super) fn look(parents: &[OwnedFd], path: &[u8]) -> Result<Option<Found>, Errno> {
    for (layer, root) in parents.iter().enumerate() {
        match open(root.as_fd(), path, OFlags::PATH | OFlags::NOFOLLOW) {
            Ok(handle) => {
                let stat = rustix::fs::fstat(&handle)?;
                let found = Found {
                    stat,
                    handle,
                    layer,
                };
                return Ok(if is_whiteout(&stat) {
                    None
                } else {
                    Some(found)
                });
            }
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Err(error) => return Err(error),
        }
        if hides(root.as_fd(), path)? {
            return Ok(None);
        }
    }
    Ok(None)
}

/// Whether this layer hides a path that it does not have from the layers below it.
fn hides(root: BorrowedFd<'_>, path: &[u8]) -> Result<bool, Errno> {
    let ends = path
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'/')
        .map(|(end, _)| end);
    for end in ends {
        let handle = match open(root, &path[..end], OFlags::PATH | OFlags::NOFOLLOW) {
            Ok(handle) => handle,
            Err(Errno::NOENT) => return Ok(false),
            Err(Errno::NOTDIR | Errno::LOOP) => return Ok(true),
            Err(error) => return Err(error),
        };
        let stat = rustix::fs::fstat(&handle)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Ok(true);
        }
        let folder = open(root, &path[..end], OFlags::RDONLY | OFlags::DIRECTORY)?;
        if is_opaque(folder.as_fd()) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_opaque(folder: BorrowedFd<'_>) -> bool {
    let mut value = [0; 1];
    matches!(rustix::fs::fgetxattr(folder, OPAQUE, &mut value), Ok(1)) && value == *b"y"
}
