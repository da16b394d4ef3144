//! The host as a local cluster could have changed it: taken before `up` and after `down`, compared
//! by tests and by `transom doctor`.
//!
//! Lists processes, mounts, links, addresses, routes, nft tables with chains and rule counts,
//! control groups, kernel settings of the network and files. What others do in between shows up
//! too; `Difference` keeps the words, so that the reader can filter.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use netlink::{Handle, Nft};

use crate::error::Error;
use crate::host::mounts;

const SETTINGS: [&str; 4] = ["forwarding", "rp_filter", "proxy_arp", "route_localnet"];
const CGROUP_DEPTH: usize = 3;

/// What to look at besides the kernel's tables.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Folders whose files count.
    pub folders: Vec<PathBuf>,
    /// Processes count when their command line contains one of these.
    pub commands: Vec<String>,
}

/// One look at the host: a line per thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostState {
    lines: BTreeSet<String>,
}

impl HostState {
    /// Looks at the host now.
    pub fn take(scope: &Scope) -> Result<Self, Error> {
        let mut lines = BTreeSet::new();
        for target in mounts::all()? {
            lines.insert(format!("mount {}", target.display()));
        }
        links(&mut lines)?;
        tables(&mut lines)?;
        control_groups(&mut lines);
        settings(&mut lines);
        processes(scope, &mut lines);
        for folder in &scope.folders {
            tree("file", folder, usize::MAX, true, &mut lines);
        }
        Ok(Self { lines })
    }

    /// What came (`+`) and what went (`-`) since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Vec<String> {
        let came = self
            .lines
            .difference(&before.lines)
            .map(|line| format!("+ {line}"));
        let went = before
            .lines
            .difference(&self.lines)
            .map(|line| format!("- {line}"));
        came.chain(went).collect()
    }
}

fn links(lines: &mut BTreeSet<String>) -> Result<(), Error> {
    let mut handle = Handle::open()?;
    let links = handle.links()?;
    for link in &links {
        lines.insert(format!("link {} {} up={}", link.name, link.kind, link.up));
    }
    for address in handle.addresses()? {
        lines.insert(format!("address {}", address.prefix));
    }
    for route in handle.routes()? {
        lines.insert(format!("route {route} table {}", route.table));
    }
    Ok(())
}

fn tables(lines: &mut BTreeSet<String>) -> Result<(), Error> {
    let mut nft = Nft::open()?;
    for table in nft.tables()? {
        let rules = nft.rules(&table)?.len();
        let (chains, sets) = (nft.chains(&table)?, nft.sets(&table)?);
        lines.insert(format!(
            "nft {table} chains {chains:?} sets {sets:?} rules {rules}"
        ));
    }
    Ok(())
}

fn control_groups(lines: &mut BTreeSet<String>) {
    let Ok(layout) = cgroups::Layout::detect() else {
        return;
    };
    for hierarchy in layout.v1().iter().chain(layout.unified()) {
        tree("cgroup", &hierarchy.mount, CGROUP_DEPTH, false, lines);
    }
}

fn settings(lines: &mut BTreeSet<String>) {
    let mut add = |path: &Path| {
        if let Ok(value) = fs::read_to_string(path) {
            lines.insert(format!("setting {} {}", path.display(), value.trim()));
        }
    };
    add(Path::new("/proc/sys/net/ipv4/ip_forward"));
    for family in ["ipv4", "ipv6"] {
        let folder = Path::new("/proc/sys/net").join(family).join("conf");
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            for name in SETTINGS {
                add(&entry.path().join(name));
            }
        }
    }
}

fn processes(scope: &Scope, lines: &mut BTreeSet<String>) {
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|n| n.parse::<u32>().ok())
        else {
            continue;
        };
        let Ok(line) = fs::read(entry.path().join("cmdline")) else {
            continue;
        };
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if pid != std::process::id() && scope.commands.iter().any(|part| line.contains(part)) {
            lines.insert(format!("process {pid} {}", line.trim()));
        }
    }
}

fn tree(what: &str, folder: &Path, depth: usize, files: bool, lines: &mut BTreeSet<String>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder || files {
            lines.insert(format!("{what} {}", entry.path().display()));
        }
        if is_folder && depth > 1 {
            tree(what, &entry.path(), depth - 1, files, lines);
        }
    }
}
