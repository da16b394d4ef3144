//! What root tests that were killed have left: folders in /var/tmp, mounts in them, control groups,
//! shims that outlive their parents by design.
//!
//! Names tell whose it is: `<prefix><pid>-…`. Only what belongs to a process that is gone is taken
//! away. Used by the tests of `oci` and of `runtime` (which includes this file by its path).

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cgroups::{Group, Layout};
use rustix::mount::{UnmountFlags, unmount};

/// Where root tests have their folders: a real file system that programs may run from.
const PLACE: &str = "/var/tmp";

/// A folder of this process's own.
pub(crate) fn folder(prefix: &str) -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix(&format!("{prefix}{}-", std::process::id()))
        .tempdir_in(PLACE)
        .unwrap()
}

/// Takes away what dead processes have left under `prefix`; `end` ends the shim of a folder that
/// has one.
pub(crate) fn take_away(prefix: &str, end: impl Fn(&Path)) {
    for folder in of_the_dead(Path::new(PLACE), prefix) {
        for shim in with_shims(&folder, 4) {
            end(&shim);
        }
        // Also those that hide others: until none is left.
        while let Some(mounted) = last_mount_below(&folder) {
            if unmount(&mounted, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).is_err() {
                break;
            }
        }
        fs::remove_dir_all(&folder).ok();
    }
    let Ok(layout) = Layout::detect().map(Arc::new) else {
        return;
    };
    let trees = layout.v1().iter().chain(layout.unified());
    for tree in trees {
        for dir in of_the_dead(&tree.dir("/"), prefix) {
            let name = dir.file_name().unwrap().to_string_lossy().into_owned();
            if let Ok(group) = Group::new(&layout, &format!("/{name}")) {
                group.kill().ok();
                group.remove().ok();
            }
        }
    }
}

fn of_the_dead(place: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    let dead = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        let rest = name.and_then(|name| name.strip_prefix(prefix));
        let pid = rest.and_then(|rest| rest.split('-').next());
        pid.and_then(|pid| pid.parse::<u32>().ok())
            .is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
    };
    entries.map(|entry| entry.path()).filter(dead).collect()
}

fn with_shims(folder: &Path, depth: usize) -> Vec<PathBuf> {
    let mut found = Vec::new();
    if folder.join("shim.sock").exists() {
        found.push(folder.to_owned());
    }
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries.filter(|_| depth > 0) {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(with_shims(&entry.path(), depth - 1));
        }
    }
    found
}

fn last_mount_below(folder: &Path) -> Option<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let targets = text.lines().filter_map(|line| line.split(' ').nth(4));
    let mut targets = targets.map(PathBuf::from);
    targets.rfind(|target| target.starts_with(folder))
}

/// A killed test's folder, mount and group go; those of a living one stay.
#[test]
fn only_what_the_dead_left() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: not root");
        return;
    }
    let prefix = "transom-leftovers-";
    let living = folder(prefix);
    // Larger than any process id.
    let dead = Path::new(PLACE).join(format!("{prefix}4294967295-a"));
    let inner = dead.join("root");
    fs::create_dir_all(&inner).unwrap();
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("leftovers", &inner, "tmpfs", flags, c"size=1m").unwrap();
    fs::create_dir(inner.join("inside")).unwrap();
    fs::write(inner.join("inside/shim.sock"), "").unwrap();
    let layout = Arc::new(Layout::detect().unwrap());
    let group = Group::new(&layout, &format!("/{prefix}4294967295-a")).unwrap();
    group.create().unwrap();
    let ended = std::cell::RefCell::new(Vec::new());
    take_away(prefix, |dir| ended.borrow_mut().push(dir.to_owned()));
    assert_eq!(ended.into_inner(), [inner.join("inside")]);
    assert!(!dead.exists() && !group.exists() && living.path().exists());
}
