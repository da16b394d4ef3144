//! Puts a container's file system together: overlay, mounts, devices, masks, pivot.
//!
//! Runs in the child, in its own mount namespace, as root. Sources are opened before anything
//! changes (`open_sources`), every target is resolved inside the new root (`openat2`,
//! `RESOLVE_IN_ROOT`) and mounted by descriptor, so no symlink of an image leads out.
//! Source: runc 1.2 libcontainer/rootfs_linux.go (order, defaults), CVE-2019-19921 (symlinked
//! /proc), CVE-2021-30465 (mount races), CVE-2024-21626 (leaked directories).

use std::os::fd::{AsRawFd, OwnedFd};

use shim::spec::{Cgroup, Device, Mount, Rootfs};

use crate::sys::{self, During, FsContext, Result, fail};

const MS_PRIVATE: u64 = 1 << 18;

/// Detached copies of all bind sources, by index of the mount. Before the tree becomes a slave,
/// so that `MS_SHARED` binds stay peers of the host's mounts.
pub(crate) fn open_sources(mounts: &[Mount]) -> Result<Vec<Option<OwnedFd>>> {
    mounts
        .iter()
        .map(|mount| {
            if mount.kind != "bind" {
                return Ok(None);
            }
            let tree = sys::open_tree(libc::AT_FDCWD, &mount.source, mount.recursive)
                .during(|| format!("open {} to mount it on {}", mount.source, mount.target));
            match tree {
                Ok(tree) => Ok(Some(tree)),
                Err(_) if mount.optional => Ok(None),
                Err(e) => Err(e),
            }
        })
        .collect()
}

/// Cuts this mount namespace off: mounts of the host still arrive, ours do not leave.
pub(crate) fn make_slave() -> Result<()> {
    sys::mount("", "/", "", libc::MS_REC | libc::MS_SLAVE, "").during(|| "make / a slave".into())
}

/// Mounts the root file system at `rootfs.at`.
pub(crate) fn mount_root(rootfs: &Rootfs) -> Result<OwnedFd> {
    let at = sys::open(&rootfs.at, libc::O_PATH | libc::O_DIRECTORY, 0)
        .during(|| format!("open {}", rootfs.at))?;
    let tree = match rootfs.lowers.as_slice() {
        [] => sys::open_tree(libc::AT_FDCWD, &rootfs.directory, true)
            .during(|| format!("open root directory {}", rootfs.directory))?,
        [only] if rootfs.upper.is_empty() => {
            sys::open_tree(libc::AT_FDCWD, only, true).during(|| format!("open layer {only}"))?
        }
        _ => match overlay(rootfs) {
            Ok(tree) => tree,
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => return overlay_by_mount(rootfs),
            Err(e) => return Err(e).during(|| format!("mount overlay on {}", rootfs.at)),
        },
    };
    if rootfs.lowers.len() < 2 && rootfs.upper.is_empty() {
        sys::mount_setattr(&tree, true, 0, MS_PRIVATE).during(|| "make the root private".into())?;
    }
    sys::move_mount(&tree, &at).during(|| format!("mount root on {}", rootfs.at))?;
    Ok(tree)
}

/// Layer by layer, so that neither their number nor their length meets the page limit.
fn overlay(rootfs: &Rootfs) -> std::io::Result<OwnedFd> {
    let context = FsContext::open("overlay")?;
    context.set("source", Some("overlay"))?;
    for lower in &rootfs.lowers {
        context.set("lowerdir+", Some(lower))?;
    }
    if !rootfs.upper.is_empty() {
        context.set("upperdir", Some(&rootfs.upper))?;
        context.set("workdir", Some(&rootfs.work))?;
    }
    context.mount(0)
}

/// For kernels before 6.7, which know no `lowerdir+`, and for paths of more than 255 bytes. All
/// options stand in one page: layers go by descriptor, so that some two hundred fit.
fn overlay_by_mount(rootfs: &Rootfs) -> Result<OwnedFd> {
    let escape = |path: &String| {
        path.replace('\\', "\\\\")
            .replace(':', "\\:")
            .replace(',', "\\,")
    };
    let mut opened = Vec::new();
    for lower in &rootfs.lowers {
        let layer = sys::open(lower, libc::O_PATH | libc::O_DIRECTORY, 0)
            .during(|| format!("open layer {lower}"))?;
        opened.push(layer);
    }
    let lowers: Vec<String> = opened
        .iter()
        .map(|layer| format!("/proc/self/fd/{}", layer.as_raw_fd()))
        .collect();
    let mut data = format!("lowerdir={}", lowers.join(":"));
    if !rootfs.upper.is_empty() {
        data += &format!(
            ",upperdir={},workdir={}",
            escape(&rootfs.upper),
            escape(&rootfs.work)
        );
    }
    sys::mount("overlay", &rootfs.at, "overlay", 0, &data)
        .during(|| format!("mount overlay on {}", rootfs.at))?;
    sys::open(&rootfs.at, libc::O_PATH | libc::O_DIRECTORY, 0)
        .during(|| format!("open {}", rootfs.at))
}

/// Opens `target` inside `root`, making what is missing.
pub(crate) fn target(
    root: &OwnedFd,
    target: &str,
    directory: bool,
    resolve: u64,
) -> Result<OwnedFd> {
    let open = |path: &str| sys::open_in(root, path, libc::O_PATH, resolve);
    match open(target) {
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => {}
        other => return other.during(|| format!("open {target} in the container")),
    }
    let parts: Vec<&str> = target.split('/').filter(|p| !p.is_empty()).collect();
    let mut prefix = String::new();
    let mut parent = open("/").during(|| "open the container's root".into())?;
    for (i, part) in parts.iter().enumerate() {
        prefix = format!("{prefix}/{part}");
        let last = i + 1 == parts.len();
        let next = match open(&prefix) {
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => {
                if last && !directory {
                    let flags = libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY | libc::O_NOFOLLOW;
                    sys::open_at(parent.as_raw_fd(), part, flags, 0o644).map(drop)
                } else {
                    sys::mkdir_at(&parent, part, 0o755)
                }
                .during(|| format!("create {prefix} in the container"))?;
                open(&prefix)
            }
            other => other,
        };
        parent = next.during(|| format!("open {prefix} in the container"))?;
    }
    Ok(parent)
}

/// Applies one mount that is not a cgroup mount.
pub(crate) fn apply(root: &OwnedFd, mount: &Mount, source: Option<&OwnedFd>) -> Result<()> {
    match (mount.kind.as_str(), source) {
        ("bind", Some(source)) => bind(root, mount, source),
        // An optional source that is not there.
        ("bind", None) => Ok(()),
        (kind, _) => {
            let tree = new_file_system(kind, mount).during(|| format!("mount {kind}"))?;
            let strict = matches!(kind, "proc" | "sysfs");
            let resolve = if strict { sys::RESOLVE_NO_SYMLINKS } else { 0 };
            let place = target(root, &mount.target, true, resolve)?;
            sys::move_mount(&tree, &place).during(|| format!("mount {kind} on {}", mount.target))
        }
    }
}

fn bind(root: &OwnedFd, mount: &Mount, source: &OwnedFd) -> Result<()> {
    let describe = || format!("mount {} on {}", mount.source, mount.target);
    let directory = sys::stat(source).during(describe)?.st_mode & libc::S_IFMT == libc::S_IFDIR;
    let propagation = if mount.propagation == 0 {
        MS_PRIVATE
    } else {
        mount.propagation
    };
    // A copy of a shared mount is a peer: only MS_SHARED may stay one. Private needs one step,
    // a slave of the host's mounts has to be made from the peer.
    sys::mount_setattr(source, true, 0, propagation).during(describe)?;
    if mount.flags != 0 {
        sys::mount_setattr(source, mount.recursive_flags, mount.flags, 0).during(describe)?;
    }
    let place = target(root, &mount.target, directory, 0)?;
    sys::move_mount(source, &place).during(describe)
}

fn new_file_system(kind: &str, mount: &Mount) -> std::io::Result<OwnedFd> {
    let context = FsContext::open(kind)?;
    context.set(
        "source",
        Some(if mount.source.is_empty() {
            kind
        } else {
            &mount.source
        }),
    )?;
    for option in mount.data.split(',').filter(|o| !o.is_empty()) {
        match option.split_once('=') {
            Some((key, value)) => context.set(key, Some(value))?,
            None => context.set(option, None)?,
        }
    }
    context.mount(mount.flags)
}

/// The container's own groups under `/sys/fs/cgroup`: by bind, never writable unless asked.
pub(crate) fn mount_cgroups(root: &OwnedFd, mount: &Mount, cgroup: &Cgroup) -> Result<()> {
    let place = |path: &str| target(root, path, true, 0);
    let tree = |path: &str| -> Result<OwnedFd> {
        let tree = sys::open_tree(libc::AT_FDCWD, path, false).during(|| format!("open {path}"))?;
        sys::mount_setattr(&tree, false, mount.flags, MS_PRIVATE)
            .during(|| format!("set flags of {path}"))?;
        Ok(tree)
    };
    if cgroup.pure_v2 {
        return sys::move_mount(&tree(&cgroup.unified)?, &place(&mount.target)?)
            .during(|| format!("mount control groups on {}", mount.target));
    }
    let tmpfs = Mount {
        kind: "tmpfs".into(),
        data: "mode=755,size=64k".into(),
        ..Mount::default()
    };
    let top = new_file_system("tmpfs", &tmpfs).during(|| "mount tmpfs".into())?;
    sys::move_mount(&top, &place(&mount.target)?)
        .during(|| format!("mount tmpfs on {}", mount.target))?;
    for (dir, name) in cgroup.v1.iter().zip(&cgroup.names) {
        let path = format!("{}/{name}", mount.target);
        sys::move_mount(&tree(dir)?, &place(&path)?).during(|| format!("mount {dir} on {path}"))?;
        for alias in name.split(',').filter(|a| *a != name) {
            sys::symlink_at(name, &top, alias).during(|| format!("link {alias}"))?;
        }
    }
    // Not the unified tree of a hybrid layout: it holds no controllers, and who finds one takes the
    // machine for a pure one.
    sys::mount_setattr(&top, false, mount.flags, 0).during(|| "set flags of the tmpfs".into())
}

/// name, major, minor of what every container has.
const DEVICES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// Fills `/dev`.
pub(crate) fn make_devices(root: &OwnedFd, devices: &[Device]) -> Result<()> {
    let dev = target(root, "/dev", true, 0)?;
    for (name, major, minor) in DEVICES {
        make_device(
            &dev,
            name,
            libc::S_IFCHR | 0o666,
            major,
            minor,
            &format!("/dev/{name}"),
        )?;
    }
    for device in devices {
        let (parent, name) = device
            .path
            .rsplit_once('/')
            .unwrap_or(("/dev", &device.path));
        let parent = target(root, if parent.is_empty() { "/" } else { parent }, true, 0)?;
        let kind = if device.block {
            libc::S_IFBLK
        } else {
            libc::S_IFCHR
        };
        make_device(
            &parent,
            name,
            kind | device.mode,
            device.major,
            device.minor,
            &device.path,
        )?;
        // In a user namespace the node is the host's, with its owner.
        let _kept = sys::chown_at(&parent, name, device.uid, device.gid);
    }
    let links = [
        ("/proc/self/fd", "fd"),
        ("/proc/self/fd/0", "stdin"),
        ("/proc/self/fd/1", "stdout"),
        ("/proc/self/fd/2", "stderr"),
        ("pts/ptmx", "ptmx"),
    ];
    for (to, name) in links {
        match sys::symlink_at(to, &dev, name) {
            Err(e) if e.raw_os_error() != Some(libc::EEXIST) => {
                return Err(e).during(|| format!("link /dev/{name}"));
            }
            _ => {}
        }
    }
    Ok(())
}

fn make_device(
    dir: &OwnedFd,
    name: &str,
    mode: u32,
    major: u32,
    minor: u32,
    host: &str,
) -> Result<()> {
    match sys::mknod_at(dir, name, mode, major, minor) {
        Ok(()) => Ok(()),
        Err(e) if e.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        Err(e) if e.raw_os_error() == Some(libc::EPERM) => {
            let tree = sys::open_tree(libc::AT_FDCWD, host, false)
                .during(|| format!("open device {host}"))?;
            let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_NOFOLLOW;
            let place = sys::open_at(dir.as_raw_fd(), name, flags, 0o644)
                .and_then(|_| {
                    let flags = libc::O_PATH | libc::O_NOFOLLOW;
                    sys::open_at(dir.as_raw_fd(), name, flags, 0)
                })
                .during(|| format!("create {host}"))?;
            sys::move_mount(&tree, &place).during(|| format!("mount device {host}"))
        }
        Err(e) => Err(e).during(|| format!("create device {host}")),
    }
}

/// Opens a new terminal of the container's own devpts: master and slave.
pub(crate) fn open_terminal(root: &OwnedFd) -> Result<(OwnedFd, OwnedFd)> {
    const DEVPTS_SUPER_MAGIC: i64 = 0x1cd1;
    let describe = || "open a terminal of the container".to_string();
    let flags = libc::O_RDWR | libc::O_NOCTTY;
    let master =
        sys::open_in(root, "/dev/pts/ptmx", flags, sys::RESOLVE_NO_SYMLINKS).during(describe)?;
    if sys::fs_type(&master).during(describe)? != DEVPTS_SUPER_MAGIC {
        return fail("/dev/pts/ptmx of the container is no terminal");
    }
    let (slave, _) = sys::terminal_peer(&master).during(describe)?;
    Ok((master, slave))
}

/// Shows the terminal as `/dev/console`, which may be in a folder that the pod brought: no link of
/// its may lead the mount elsewhere (CVE-2025-52565).
pub(crate) fn bind_console(root: &OwnedFd, slave: &OwnedFd) -> Result<()> {
    let describe = || "mount the terminal on /dev/console".to_string();
    let tree = sys::open_tree(slave.as_raw_fd(), "", false).during(describe)?;
    let place = target(root, "/dev/console", false, sys::RESOLVE_NO_SYMLINKS)?;
    sys::move_mount(&tree, &place).during(describe)
}

/// Makes `root` the root directory; the host's tree is gone afterwards.
pub(crate) fn pivot(root: &OwnedFd) -> Result<()> {
    sys::change_dir(root).during(|| "enter the new root".into())?;
    sys::pivot_to_current().during(|| "pivot to the new root".into())
}

/// Hides paths: a file behind /dev/null, a directory behind an empty read-only tmpfs.
pub(crate) fn mask(root: &OwnedFd, paths: &[String]) -> Result<()> {
    for path in paths {
        let Some(place) = existing(root, path)? else {
            continue;
        };
        let describe = || format!("mask {path}");
        let directory = sys::stat(&place).during(describe)?.st_mode & libc::S_IFMT == libc::S_IFDIR;
        let cover = if directory {
            let tmpfs = Mount {
                data: "size=0".into(),
                flags: sys::MOUNT_ATTR_RDONLY,
                ..Mount::default()
            };
            new_file_system("tmpfs", &tmpfs).during(describe)?
        } else {
            let null = sys::open_in(root, "/dev/null", libc::O_PATH, sys::RESOLVE_NO_SYMLINKS)
                .during(describe)?;
            let stat = sys::stat(&null).during(describe)?;
            if stat.st_mode & libc::S_IFMT != libc::S_IFCHR || stat.st_rdev != libc::makedev(1, 3) {
                return fail(format!(
                    "mask {path}: /dev/null of the container is something else"
                ));
            }
            sys::open_tree(null.as_raw_fd(), "", false).during(describe)?
        };
        sys::move_mount(&cover, &place).during(describe)?;
    }
    Ok(())
}

/// Makes paths read-only.
pub(crate) fn read_only(root: &OwnedFd, paths: &[String]) -> Result<()> {
    for path in paths {
        let Some(place) = existing(root, path)? else {
            continue;
        };
        let describe = || format!("make {path} read-only");
        let tree = sys::open_tree(place.as_raw_fd(), "", true).during(describe)?;
        sys::mount_setattr(&tree, true, sys::MOUNT_ATTR_RDONLY, 0).during(describe)?;
        sys::move_mount(&tree, &place).during(describe)?;
    }
    Ok(())
}

fn existing(root: &OwnedFd, path: &str) -> Result<Option<OwnedFd>> {
    match sys::open_in(root, path, libc::O_PATH, sys::RESOLVE_NO_SYMLINKS) {
        Ok(place) => Ok(Some(place)),
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => Ok(None),
        Err(e) => Err(e).during(|| format!("open {path}")),
    }
}

/// Writes a kernel setting of this process's namespaces through a verified procfs.
pub(crate) fn set_sysctl(setting: &str) -> Result<()> {
    const PROC_SUPER_MAGIC: i64 = 0x9fa0;
    let Some((key, value)) = setting.split_once('=') else {
        return fail(format!("kernel setting {setting:?} has no value"));
    };
    let swapped: String = key
        .chars()
        .map(|c| match c {
            '.' => '/',
            '/' => '.',
            other => other,
        })
        .collect();
    let describe = || format!("set kernel setting {key} to {value}");
    if swapped
        .split('/')
        .any(|part| part == ".." || part.is_empty())
    {
        return fail(format!("kernel setting {key:?} is not a name"));
    }
    let sys_root = sys::open("/proc/sys", libc::O_PATH, 0).during(describe)?;
    if sys::fs_type(&sys_root).during(describe)? != PROC_SUPER_MAGIC {
        return fail("/proc/sys is not a procfs");
    }
    let file = sys::open_in(
        &sys_root,
        &swapped,
        libc::O_WRONLY,
        sys::RESOLVE_NO_SYMLINKS,
    )
    .during(describe)?;
    sys::write(&file, value.as_bytes())
        .during(describe)
        .map(drop)
}
