//! The folder of one layer while it is being filled.
//!
//! Owns every call that touches the file system, all relative to a descriptor and none through a
//! link, so that no entry can reach outside. A parent folder that the layer itself does not name
//! is looked up in the merged view: a link in a lower layer is followed inside the root, a folder
//! there lends its owner and mode. Example: layer 1 has `bin -> usr/bin`; `bin/foo` of layer 2
//! lands in `usr/bin/foo`. `a -> ../../..` followed by `a/x` is refused: it climbs.
//! Source: OCI image specification 1.1 layer.md; kernel Documentation/filesystems/overlayfs.rst.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::{Read, Seek as _, SeekFrom, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

use super::below::{self, Found, OPAQUE, is_whiteout};
use super::path::{MAX_DEPTH, MAX_PATH, join, lossy, refuse, split};
use super::{Limits, Unpacked};
use crate::error::{ImageError, at};
use crate::tar::{Entry, Kind};

/// Links that one lookup follows.
const MAX_LINKS: usize = 40;
/// Bytes written between two looks at the free space.
const CHECK_EVERY: u64 = 32 << 20;

/// See the module.
pub(super) struct Tree {
    target: PathBuf,
    root: OwnedFd,
    parents: Vec<OwnedFd>,
    limits: Limits,
    done: Unpacked,
    unchecked: u64,
    /// The folder that the last entry was in.
    last: Option<(Vec<u8>, Rc<OwnedFd>)>,
    /// Folders of this layer that hide those below.
    opaque: HashSet<Vec<u8>>,
    /// Times of folders, set at the end because every entry changes them.
    times: Vec<(Vec<u8>, (i64, u32))>,
}

/// Where an entry goes: a real folder of this layer and a name in it.
struct Place {
    /// The folder's path without links.
    path: Vec<u8>,
    folder: Rc<OwnedFd>,
    name: Vec<u8>,
}

impl Place {
    fn full(&self) -> Vec<u8> {
        join(&self.path, &self.name)
    }
    fn name(&self) -> &OsStr {
        OsStr::from_bytes(&self.name)
    }
    fn fd(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }
}

impl Tree {
    pub(super) fn open(
        target: &Path,
        parents: &[PathBuf],
        limits: Limits,
    ) -> Result<Tree, ImageError> {
        let folder = |path: &Path| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::open(path, flags, Mode::empty()).map_err(at("open", path))
        };
        let tree = Tree {
            target: target.to_owned(),
            root: folder(target)?,
            parents: parents
                .iter()
                .map(|path| folder(path))
                .collect::<Result<_, _>>()?,
            limits,
            done: Unpacked {
                entries: 0,
                bytes: 0,
            },
            unchecked: 0,
            last: None,
            opaque: HashSet::new(),
            times: Vec::new(),
        };
        // The topmost layer's root decides owner and mode of `/`.
        let root = match tree.parents.first() {
            Some(parent) => Some(rustix::fs::fstat(parent).map_err(at("stat", target))?),
            None => None,
        };
        let mode = root.map_or(0o755, |stat| stat.st_mode & 0o7777);
        let (uid, gid) = root.map_or((0, 0), |stat| (stat.st_uid, stat.st_gid));
        let owned = rustix::fs::fchown(&tree.root, Some(raw_uid(uid)), Some(raw_gid(gid)));
        owned.map_err(at("change the owner of", target))?;
        let moded = rustix::fs::fchmod(&tree.root, Mode::from_raw_mode(mode));
        moded.map_err(at("change the mode of", target))?;
        Ok(tree)
    }

    /// Puts one entry in place.
    pub(super) fn apply(&mut self, entry: &Entry, data: &mut dyn Read) -> Result<(), ImageError> {
        self.done.entries += 1;
        if self.done.entries > self.limits.entries {
            let what = "number of entries of the layer".to_owned();
            return Err(ImageError::Limit {
                what,
                limit: self.limits.entries,
            });
        }
        let refuse = |reason: &str| refuse(&entry.path, reason);
        let parts = split(&entry.path).map_err(refuse)?;
        let id = |id: u64| u32::try_from(id).ok().filter(|id| *id != u32::MAX);
        let (Some(uid), Some(gid)) = (id(entry.uid), id(entry.gid)) else {
            return Err(refuse("its owner is not a 32-bit id"));
        };
        let Some((name, folders)) = parts.split_last() else {
            if entry.kind != Kind::Directory {
                return Err(refuse("it replaces the root"));
            }
            self.times.push((Vec::new(), entry.mtime));
            let root = self.root.as_fd();
            return self
                .attributes(root, entry, uid, gid)
                .map_err(|cause| self.io(entry, cause));
        };
        let (path, folder) = self.folder(folders, &entry.path)?;
        let place = Place {
            path,
            folder,
            name: name.to_vec(),
        };
        if let Some(hidden) = name.strip_prefix(b".wh.") {
            return self.whiteout(&place, hidden, entry);
        }
        match entry.kind {
            Kind::Directory => self.directory(&place, entry, uid, gid),
            Kind::HardLink => self.hard_link(&place, entry),
            Kind::Other(flag) => Err(refuse(&format!("unknown type {:?}", char::from(flag)))),
            _ => {
                self.clear(&place).map_err(|cause| self.io(entry, cause))?;
                self.leaf(&place, entry, data, uid, gid)
            }
        }
    }

    /// Sets the folders' times and tells what there is.
    pub(super) fn finish(mut self) -> Result<Unpacked, ImageError> {
        for (path, time) in std::mem::take(&mut self.times).into_iter().rev() {
            // A later entry may have replaced the folder.
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            if let Ok(folder) = below::open(self.root.as_fd(), &path, flags) {
                let set = rustix::fs::futimens(&folder, &timestamps(time));
                set.map_err(at("set times in", &self.target))?;
            }
        }
        Ok(self.done)
    }

    fn leaf(
        &mut self,
        place: &Place,
        entry: &Entry,
        data: &mut dyn Read,
        uid: u32,
        gid: u32,
    ) -> Result<(), ImageError> {
        let io = |cause: Errno| ImageError::File {
            operation: "create",
            path: self.target.join(OsStr::from_bytes(&entry.path)),
            cause: cause.into(),
        };
        let mode = Mode::from_raw_mode(entry.mode);
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        if entry.kind == Kind::File {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            let private = Mode::RUSR | Mode::WUSR;
            let file =
                rustix::fs::openat(place.fd(), place.name(), flags | OFlags::NOFOLLOW, private)
                    .map_err(io)?;
            let mut file = std::fs::File::from(file);
            self.contents(&mut file, entry, data)?;
            self.attributes(file.as_fd(), entry, uid, gid)
                .map_err(|cause| self.io(entry, cause))?;
            let set = rustix::fs::futimens(&file, &timestamps(entry.mtime));
            return set.map_err(|cause| self.io(entry, cause));
        }
        let kind = match entry.kind {
            Kind::Symlink => {
                if entry.link.is_empty() || entry.link.len() > MAX_PATH {
                    return Err(refuse(&entry.path, "its target is empty or too long"));
                }
                let target = OsStr::from_bytes(&entry.link);
                rustix::fs::symlinkat(target, place.fd(), place.name()).map_err(io)?;
                None
            }
            Kind::Character => Some(FileType::CharacterDevice),
            Kind::Block => Some(FileType::BlockDevice),
            _ => Some(FileType::Fifo),
        };
        if let Some(kind) = kind {
            let number = |number: u64| {
                u32::try_from(number).map_err(|_| refuse(&entry.path, "bad device number"))
            };
            let device = rustix::fs::makedev(number(entry.device.0)?, number(entry.device.1)?);
            let made = rustix::fs::mknodat(place.fd(), place.name(), kind, Mode::empty(), device);
            made.map_err(io)?;
        }
        let (owner, group) = (Some(raw_uid(uid)), Some(raw_gid(gid)));
        rustix::fs::chownat(place.fd(), place.name(), owner, group, nofollow).map_err(io)?;
        if kind.is_some() {
            // Just made, and no link.
            rustix::fs::chmodat(place.fd(), place.name(), mode, AtFlags::empty()).map_err(io)?;
        }
        let times = timestamps(entry.mtime);
        rustix::fs::utimensat(place.fd(), place.name(), &times, nofollow).map_err(io)
    }

    fn contents(
        &mut self,
        file: &mut std::fs::File,
        entry: &Entry,
        data: &mut dyn Read,
    ) -> Result<(), ImageError> {
        if entry.size > self.limits.bytes {
            let what = format!("size of {:?}", String::from_utf8_lossy(&entry.path));
            return Err(ImageError::Limit {
                what,
                limit: self.limits.bytes,
            });
        }
        let whole = [(0, entry.stored)];
        let mut buffer = vec![0; usize::try_from(entry.stored.clamp(1, 128 << 10)).unwrap_or(4096)];
        let path = self.target.join(OsStr::from_bytes(&entry.path));
        for (offset, length) in entry.pieces.as_deref().unwrap_or(&whole) {
            if entry.pieces.is_some() {
                file.seek(SeekFrom::Start(*offset))
                    .map_err(at("seek in", &path))?;
            }
            let mut left = *length;
            while left > 0 {
                let most = usize::try_from(left)
                    .unwrap_or(usize::MAX)
                    .min(buffer.len());
                let read = data.read(&mut buffer[..most]);
                let read = read.map_err(|cause| ImageError::Read {
                    what: "the layer".into(),
                    cause,
                })?;
                if read == 0 {
                    return Err(ImageError::Archive("it ends inside a file".into()));
                }
                file.write_all(&buffer[..read])
                    .map_err(at("write", &path))?;
                left -= read as u64;
                self.account(read as u64)?;
            }
        }
        if entry.pieces.is_some() {
            file.set_len(entry.size).map_err(at("resize", &path))?;
        }
        Ok(())
    }

    /// Counts bytes and looks at the free space now and then.
    fn account(&mut self, bytes: u64) -> Result<(), ImageError> {
        self.done.bytes += bytes;
        self.unchecked += bytes;
        if self.unchecked >= CHECK_EVERY {
            self.unchecked = 0;
            let space = rustix::fs::fstatvfs(&self.root).map_err(at("stat", &self.target))?;
            if space.f_bavail.saturating_mul(space.f_frsize) < self.limits.reserve {
                let cause = std::io::ErrorKind::StorageFull.into();
                let path = self.target.clone();
                return Err(ImageError::File {
                    operation: "unpack into",
                    path,
                    cause,
                });
            }
        }
        Ok(())
    }

    fn directory(
        &mut self,
        place: &Place,
        entry: &Entry,
        uid: u32,
        gid: u32,
    ) -> Result<(), ImageError> {
        let path = self.target.join(OsStr::from_bytes(&entry.path));
        let io = |cause: Errno| at("unpack", &path)(cause);
        let full = place.full();
        let mut hide = false;
        match rustix::fs::statat(place.fd(), place.name(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if is_directory(&stat) => {}
            Ok(_) => {
                // What a whiteout or a file hid stays hidden behind the folder.
                hide = true;
                rustix::fs::unlinkat(place.fd(), place.name(), AtFlags::empty()).map_err(io)?;
                self.make_folder(place).map_err(io)?;
            }
            Err(Errno::NOENT) => {
                // A folder over a lower file or link hides it; over a lower folder it merges.
                self.make_folder(place).map_err(io)?;
            }
            Err(error) => return Err(io(error)),
        }
        let folder = self.open_folder(&full).map_err(io)?;
        if hide {
            self.hide_below(full.clone(), folder.as_fd()).map_err(io)?;
        }
        self.times.push((full, entry.mtime));
        self.attributes(folder.as_fd(), entry, uid, gid).map_err(io)
    }

    fn hard_link(&mut self, place: &Place, entry: &Entry) -> Result<(), ImageError> {
        let refuse = |reason: &str| refuse(&entry.path, reason);
        let io = |tree: &Tree, cause: Errno| tree.io(entry, cause);
        let parts = split(&entry.link).map_err(|reason| {
            refuse(&format!("hard link to {:?}: {reason}", lossy(&entry.link)))
        })?;
        let (name, folders) = parts
            .split_last()
            .ok_or_else(|| refuse("hard link to the root"))?;
        let (path, folder) = self.folder(folders, &entry.link)?;
        let target = Place {
            path,
            folder,
            name: name.to_vec(),
        };
        if target.full() == place.full() {
            return Err(refuse("hard link to itself"));
        }
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        match rustix::fs::statat(target.fd(), target.name(), nofollow) {
            Ok(stat) if is_directory(&stat) => return Err(refuse("hard link to a folder")),
            Ok(_) => {}
            Err(Errno::NOENT) => self.copy_up(&target, entry)?,
            Err(error) => return Err(io(self, error)),
        }
        self.clear(place).map_err(|cause| io(self, cause))?;
        let none = AtFlags::empty();
        rustix::fs::linkat(target.fd(), target.name(), place.fd(), place.name(), none)
            .map_err(|cause| io(self, cause))
    }

    /// Copies a file of a lower layer into this one, so that it can be linked to.
    fn copy_up(&mut self, target: &Place, entry: &Entry) -> Result<(), ImageError> {
        let missing = || {
            refuse(
                &entry.path,
                &format!(
                    "hard link to {:?}, which does not exist",
                    lossy(&entry.link)
                ),
            )
        };
        let full = target.full();
        if self.hidden(&target.path) {
            return Err(missing());
        }
        let found = below::look(&self.parents, &full).map_err(|cause| self.io(entry, cause))?;
        let found = found.ok_or_else(missing)?;
        let (seconds, nanoseconds) = (found.stat.st_mtime, found.stat.st_mtime_nsec);
        let mut copy = Entry {
            path: full.clone(),
            link: Vec::new(),
            kind: Kind::File,
            mode: found.stat.st_mode & 0o7777,
            uid: u64::from(found.stat.st_uid),
            gid: u64::from(found.stat.st_gid),
            mtime: (seconds, u32::try_from(nanoseconds).unwrap_or(0)),
            size: u64::try_from(found.stat.st_size).unwrap_or(0),
            stored: u64::try_from(found.stat.st_size).unwrap_or(0),
            pieces: None,
            device: (0, 0),
            xattrs: Vec::new(),
        };
        let (uid, gid) = (found.stat.st_uid, found.stat.st_gid);
        match found.kind() {
            FileType::RegularFile => {
                let layer = self.parents[found.layer].as_fd();
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW;
                let source = below::open(layer, &full, flags).map_err(|c| self.io(entry, c))?;
                let mut value = vec![0; 4096];
                if let Ok(length) =
                    rustix::fs::fgetxattr(&source, "security.capability", &mut value)
                {
                    value.truncate(length);
                    copy.xattrs.push((b"security.capability".to_vec(), value));
                }
                self.leaf(target, &copy, &mut std::fs::File::from(source), uid, gid)
            }
            FileType::Symlink => {
                copy.kind = Kind::Symlink;
                copy.link = read_link(&found).map_err(|cause| self.io(entry, cause))?;
                self.leaf(target, &copy, &mut std::io::empty(), uid, gid)
            }
            _ => Err(refuse(
                &entry.path,
                "hard link to something that is no file",
            )),
        }
    }

    /// `.wh.NAME` hides NAME of the layers below; `.wh..wh..opq` hides all that is in the folder.
    fn whiteout(&mut self, place: &Place, hidden: &[u8], entry: &Entry) -> Result<(), ImageError> {
        let path = self.target.join(OsStr::from_bytes(&entry.path));
        let io = |cause: Errno| at("unpack", &path)(cause);
        if self.parents.is_empty() {
            return Ok(());
        }
        if hidden == b".wh..opq" {
            let folder = self.open_folder(&place.path).map_err(io)?;
            return self
                .hide_below(place.path.clone(), folder.as_fd())
                .map_err(io);
        }
        if hidden.starts_with(b".wh.") {
            return Ok(()); // aufs' own book-keeping
        }
        if hidden.is_empty() || hidden == b"." || hidden == b".." {
            return Err(refuse(&entry.path, "it hides no name"));
        }
        let name = OsStr::from_bytes(hidden);
        match rustix::fs::statat(place.fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
            // Whiteouts speak of lower layers only: what this layer brought stays.
            Ok(stat) if is_directory(&stat) => {
                let full = join(&place.path, hidden);
                let folder = self.open_folder(&full).map_err(io)?;
                self.hide_below(full, folder.as_fd()).map_err(io)
            }
            Ok(_) => Ok(()),
            Err(Errno::NOENT) => {
                let kind = FileType::CharacterDevice;
                rustix::fs::mknodat(place.fd(), name, kind, Mode::empty(), 0).map_err(io)
            }
            Err(error) => Err(io(error)),
        }
    }

    /// The folder of an entry in this layer, made where it is missing.
    fn folder(
        &mut self,
        parts: &[&[u8]],
        entry: &[u8],
    ) -> Result<(Vec<u8>, Rc<OwnedFd>), ImageError> {
        let path = parts.join(&b'/');
        if let Some((last, folder)) = &self.last
            && *last == path
        {
            return Ok((path, folder.clone()));
        }
        let error = |cause: Errno| ImageError::File {
            operation: "open the folder of",
            path: self.target.join(OsStr::from_bytes(entry)),
            cause: cause.into(),
        };
        let (path, folder) = match self.open_folder(&path) {
            Ok(folder) => (path, folder),
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => self.walk(parts, entry)?,
            Err(cause) => return Err(error(cause)),
        };
        let folder = Rc::new(folder);
        self.last = Some((path.clone(), folder.clone()));
        Ok((path, folder))
    }

    /// Follows `parts` through the merged view, one name at a time.
    fn walk(&mut self, parts: &[&[u8]], entry: &[u8]) -> Result<(Vec<u8>, OwnedFd), ImageError> {
        let target = self.target.clone();
        let error = |cause: Errno| ImageError::File {
            operation: "make the folder of",
            path: target.join(OsStr::from_bytes(entry)),
            cause: cause.into(),
        };
        let mut todo: Vec<Vec<u8>> = parts.iter().rev().map(|part| part.to_vec()).collect();
        let mut path: Vec<u8> = Vec::new();
        let mut links = 0;
        while let Some(name) = todo.pop() {
            if name == b".." {
                if path.is_empty() {
                    return Err(refuse(entry, "a link on its way climbs out of the root"));
                }
                path.truncate(path.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
                continue;
            }
            let folder = self.open_folder(&path).map_err(error)?;
            let place = Place {
                path: path.clone(),
                folder: Rc::new(folder),
                name,
            };
            let full = place.full();
            if full.len() > MAX_PATH
                || full.iter().filter(|byte| **byte == b'/').count() >= MAX_DEPTH
            {
                return Err(refuse(entry, "it is too deep"));
            }
            let link = match rustix::fs::statat(place.fd(), place.name(), AtFlags::SYMLINK_NOFOLLOW)
            {
                Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
                    FileType::Directory => None,
                    FileType::Symlink => {
                        let target = rustix::fs::readlinkat(place.fd(), place.name(), Vec::new());
                        Some(target.map_err(error)?.into_bytes())
                    }
                    _ if is_whiteout(&stat) => {
                        let none = AtFlags::empty();
                        rustix::fs::unlinkat(place.fd(), place.name(), none).map_err(error)?;
                        self.make_folder(&place).map_err(error)?;
                        let folder = self.open_folder(&full).map_err(error)?;
                        self.hide_below(full.clone(), folder.as_fd())
                            .map_err(error)?;
                        None
                    }
                    _ => return Err(refuse(entry, "something on its way is not a folder")),
                },
                Err(Errno::NOENT) => self.adopt(&place).map_err(error)?,
                Err(cause) => return Err(error(cause)),
            };
            let Some(link) = link else {
                path = full;
                continue;
            };
            links += 1;
            if links > MAX_LINKS {
                return Err(refuse(entry, "too many links on its way"));
            }
            if link.starts_with(b"/") {
                path.clear();
            }
            let parts = link.split(|byte| *byte == b'/').rev();
            todo.extend(
                parts
                    .filter(|part| !part.is_empty() && *part != b".")
                    .map(<[u8]>::to_vec),
            );
            if todo.len() > 2 * MAX_DEPTH {
                return Err(refuse(entry, "it is too deep"));
            }
        }
        let folder = self.open_folder(&path).map_err(error)?;
        Ok((path, folder))
    }

    /// A folder that the layer leaves out: as it is below, or a new one. A link below is returned
    /// for the caller to follow.
    fn adopt(&mut self, place: &Place) -> Result<Option<Vec<u8>>, Errno> {
        let full = place.full();
        let found = match self.hidden(&place.path) {
            true => None,
            false => below::look(&self.parents, &full)?,
        };
        if let Some(found) = &found
            && found.kind() == FileType::Symlink
        {
            return read_link(found).map(Some);
        }
        self.make_folder(place)?;
        let Some(found) = found.filter(|found| found.kind() == FileType::Directory) else {
            return Ok(None);
        };
        let folder = self.open_folder(&full)?;
        let (uid, gid) = (raw_uid(found.stat.st_uid), raw_gid(found.stat.st_gid));
        rustix::fs::fchown(&folder, Some(uid), Some(gid))?;
        rustix::fs::fchmod(&folder, Mode::from_raw_mode(found.stat.st_mode & 0o7777))?;
        let nanoseconds = u32::try_from(found.stat.st_mtime_nsec).unwrap_or(0);
        self.times.push((full, (found.stat.st_mtime, nanoseconds)));
        Ok(None)
    }

    fn make_folder(&self, place: &Place) -> Result<(), Errno> {
        rustix::fs::mkdirat(place.fd(), place.name(), Mode::from_raw_mode(0o755))?;
        // The umask has no say.
        let mode = Mode::from_raw_mode(0o755);
        rustix::fs::chmodat(place.fd(), place.name(), mode, AtFlags::empty())
    }

    fn open_folder(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        below::open(self.root.as_fd(), path, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    /// Makes a folder opaque.
    fn hide_below(&mut self, path: Vec<u8>, folder: BorrowedFd<'_>) -> Result<(), Errno> {
        if self.parents.is_empty() {
            return Ok(());
        }
        rustix::fs::fsetxattr(folder, OPAQUE, b"y", XattrFlags::empty())?;
        self.opaque.insert(path);
        Ok(())
    }

    /// Whether this layer hides the lower ones at a path.
    fn hidden(&self, path: &[u8]) -> bool {
        if self.opaque.is_empty() {
            return false;
        }
        let ends = path
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'/')
            .map(|(end, _)| end);
        ends.chain([0, path.len()])
            .any(|end| self.opaque.contains(&path[..end]))
    }

    /// Takes away what an earlier entry put at this place.
    fn clear(&mut self, place: &Place) -> Result<(), Errno> {
        match rustix::fs::statat(place.fd(), place.name(), AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error),
            Ok(stat) if is_directory(&stat) => {
                self.last = None;
                remove_tree(place.fd(), place.name())
            }
            Ok(_) => rustix::fs::unlinkat(place.fd(), place.name(), AtFlags::empty()),
        }
    }

    /// Owner, then mode (a change of owner clears setuid), then attributes.
    fn attributes(
        &self,
        fd: BorrowedFd<'_>,
        entry: &Entry,
        uid: u32,
        gid: u32,
    ) -> Result<(), Errno> {
        rustix::fs::fchown(fd, Some(raw_uid(uid)), Some(raw_gid(gid)))?;
        rustix::fs::fchmod(fd, Mode::from_raw_mode(entry.mode))?;
        for (name, value) in &entry.xattrs {
            // `trusted.overlay.*` would steer overlayfs, `security.selinux` the host's policy.
            let user = name.starts_with(b"user.") && !name.starts_with(b"user.overlay.");
            if !user && name != b"security.capability" {
                continue;
            }
            let set =
                rustix::fs::fsetxattr(fd, OsStr::from_bytes(name), value, XattrFlags::empty());
            match set {
                // A file system without user attributes: as docker does, go without.
                Err(Errno::OPNOTSUPP) if user => {}
                other => other?,
            }
        }
        Ok(())
    }

    fn io(&self, entry: &Entry, cause: Errno) -> ImageError {
        let path = self.target.join(OsStr::from_bytes(&entry.path));
        ImageError::File {
            operation: "unpack",
            path,
            cause: cause.into(),
        }
    }
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

fn read_link(found: &Found) -> Result<Vec<u8>, Errno> {
    rustix::fs::readlinkat(&found.handle, "", Vec::new()).map(std::ffi::CString::into_bytes)
}

fn raw_uid(id: u32) -> Uid {
    Uid::from_raw(id)
}

fn raw_gid(id: u32) -> Gid {
    Gid::from_raw(id)
}

fn timestamps((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: i64::from(nanoseconds),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// Removes a folder of this layer; at most [`MAX_DEPTH`] deep, never through a link.
fn remove_tree(parent: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    for item in rustix::fs::Dir::read_from(&folder)? {
        let item = item?;
        let name = OsStr::from_bytes(item.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        match rustix::fs::unlinkat(&folder, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => remove_tree(folder.as_fd(), name)?,
            other => other?,
        }
    }
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}
