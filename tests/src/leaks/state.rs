//! All of a cluster that can be counted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use netlink::{Handle, Namespace, Nft};

use crate::fixture::Fixture;

/// Descriptors more or fewer: connections that are open at the moment.
const DESCRIPTORS: i64 = 12;
/// Memory, in KiB, that a process may keep of what it did: pages of its allocator and caches with
/// a bound.
const MEMORY_KIB: i64 = 24 << 10;
/// The database may keep so many free pages, in KiB.
const DATABASE_KIB: i64 = 4 << 10;
/// Its write-ahead log keeps the size that it once needed, in KiB: 32 MiB and a large transaction.
const DATABASE_LOG_KIB: i64 = 64 << 10;
/// The kernel's table of Services has a chain of two rules, and an element that leads to it, for each
/// number of endpoints up to the most that one of them ever had: a batch of pods.
const ELEMENTS: i64 = 30;

/// Number by name.
#[derive(Debug, Default)]
pub(super) struct State {
    counts: BTreeMap<String, i64>,
    /// Below the data folder; which of them are new says what a number does not.
    files: BTreeSet<PathBuf>,
}

/// The control plane and the agents: (name, pid).
pub(super) fn processes(fixture: &Fixture) -> Vec<(String, u32)> {
    let cluster = fixture.cluster();
    let server = cluster
        .server_pid
        .map(|pid| ("control plane".to_owned(), pid));
    let agents = cluster
        .nodes
        .iter()
        .enumerate()
        .filter_map(|(number, node)| {
            let agent = children(node.pid?).into_iter().find(|pid| {
                let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                line.split('\0').any(|word| word == "agent")
            });
            Some((format!("agent {number}"), agent?))
        });
    server.into_iter().chain(agents).collect()
}

fn children(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

/// A process with everything below it.
fn descendants(root: u32) -> Vec<u32> {
    let (mut found, mut next) = (vec![root], 0);
    while let Some(pid) = found.get(next) {
        // Children of all threads: a runtime starts them from any.
        let tasks = fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten()
            .flatten();
        let more: Vec<u32> = tasks
            .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
            .flat_map(|text| {
                text.split_whitespace()
                    .filter_map(|p| p.parse().ok())
                    .collect::<Vec<_>>()
            })
            .collect();
        found.extend(more);
        next += 1;
    }
    found
}

fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let mut open = vec![folder.to_owned()];
    let mut found = BTreeSet::new();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            found.insert(entry.path());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(entry.path());
            }
        }
    }
    found
}

fn length(number: usize) -> i64 {
    i64::try_from(number).unwrap()
}

impl State {
    pub(super) fn take(fixture: &Fixture) -> Self {
        let mut state = Self::default();
        let cluster = fixture.cluster();
        for (name, pid) in processes(fixture) {
            let open = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
            state.add(format!("descriptors, {name}"), length(open));
            let rollup =
                fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
            let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
            let kib = pss.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok());
            state.add(format!("memory KiB, {name}"), kib.unwrap_or(0));
        }
        let data = fixture.data();
        state.files = files(&data);
        state.add("files", length(state.files.len()));
        let marker = data.display().to_string();
        let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let own = text.lines().filter(|line| line.contains(&marker)).count();
        state.add("mounts of the host", length(own));
        for (name, file) in [("database", "store.db"), ("database's log", "store.db-wal")] {
            let path = cluster.folder.join("server").join(file);
            let bytes = fs::metadata(path).map_or(0, |meta| meta.len());
            state.add(format!("{name} KiB"), i64::try_from(bytes >> 10).unwrap());
        }
        let mut groups = 0;
        for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
            let own = |path: &PathBuf| {
                let name = path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                name.contains(&format!("-{}-", fixture.name))
            };
            let below = fs::read_dir(hierarchy.path())
                .into_iter()
                .flatten()
                .flatten();
            let roots: Vec<PathBuf> = below.map(|entry| entry.path()).filter(own).collect();
            groups += roots.iter().map(|path| folders(path)).sum::<i64>();
            groups += if own(&hierarchy.path()) {
                folders(&hierarchy.path())
            } else {
                0
            };
        }
        state.add("control groups", groups);
        for pid in cluster.nodes.iter().filter_map(|node| node.pid) {
            state.node(pid);
        }
        state
    }

    fn node(&mut self, pid: u32) {
        let all = descendants(pid);
        self.add("processes", length(all.len()));
        let mut namespaces = BTreeSet::new();
        for pid in &all {
            for entry in fs::read_dir(format!("/proc/{pid}/ns"))
                .into_iter()
                .flatten()
                .flatten()
            {
                namespaces.extend(fs::read_link(entry.path()).ok());
            }
        }
        self.add("namespaces of processes", length(namespaces.len()));
        let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
        self.add("mounts of the node", length(mounts.lines().count()));
        let held = mounts
            .lines()
            .filter(|line| line.contains(" - nsfs "))
            .count();
        self.add("namespaces held by files", length(held));
        let network = Namespace::open(Path::new(&format!("/proc/{pid}/ns/net"))).unwrap();
        let (mut handle, mut nft) = network
            .run(|| (Handle::open().unwrap(), Nft::open().unwrap()))
            .unwrap();
        self.add("links", length(handle.links().unwrap().len()));
        self.add("addresses", length(handle.addresses().unwrap().len()));
        self.add("routes", length(handle.routes().unwrap().len()));
        let tables = nft.tables().unwrap();
        self.add("nft tables", length(tables.len()));
        for table in &tables {
            self.add("nft rules", length(nft.rules(table).unwrap().len()));
            for set in nft.sets(table).unwrap() {
                let elements = nft.elements(table, &set).unwrap();
                self.add("nft elements", length(elements.len()));
            }
        }
    }

    fn add(&mut self, name: impl Into<String>, number: i64) {
        *self.counts.entry(name.into()).or_default() += number;
    }

    fn slack(name: &str) -> i64 {
        match name.split(' ').next() {
            Some("descriptors,") => DESCRIPTORS,
            Some("memory") => MEMORY_KIB,
            Some("database") => DATABASE_KIB,
            Some("database's") => DATABASE_LOG_KIB,
            Some("nft") if name.ends_with("elements") => ELEMENTS,
            Some("nft") if name.ends_with("rules") => 2 * ELEMENTS,
            _ => 0,
        }
    }

    /// What is more than it was, beyond its slack; memory and the database only when they count.
    pub(super) fn grown(&self, now: &Self, memory: bool) -> Vec<String> {
        let counts =
            |name: &str| memory || !(name.starts_with("memory") || name.starts_with("database"));
        now.counts
            .iter()
            .filter(|(name, _)| counts(name))
            .filter_map(|(name, number)| {
                let before = self.counts.get(name).copied().unwrap_or(0);
                let new = match name.as_str() {
                    "files" => format!(", new {:?}", now.files.difference(&self.files)),
                    _ => String::new(),
                };
                (*number > before + Self::slack(name))
                    .then(|| format!("{name}: {before} → {number}{new}"))
            })
            .collect()
    }

    /// Of control plane and agents.
    pub(super) fn memory(&self) -> Vec<i64> {
        let all = self
            .counts
            .iter()
            .filter(|(name, _)| name.starts_with("memory"));
        all.map(|(_, kib)| *kib).collect()
    }

    /// A line a number: before, now, slack.
    pub(super) fn table(&self, now: &Self) -> String {
        let mut text =
            "| what | before | after | slack |\n| --- | ---: | ---: | ---: |\n".to_owned();
        for (name, number) in &now.counts {
            let before = self.counts.get(name).copied().unwrap_or(0);
            let _ = writeln!(
                text,
                "| {name} | {before} | {number} | {} |",
                Self::slack(name)
            );
        }
        text
    }
}

fn folders(root: &Path) -> i64 {
    let below = fs::read_dir(root).into_iter().flatten().flatten();
    let inner = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    1 + inner.map(|entry| folders(&entry.path())).sum::<i64>()
}
