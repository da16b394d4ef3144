//! One group: the same path in every hierarchy.
//!
//! The path is absolute below what the mounts show. Ancestors are made as needed and never
//! removed; on v1 a new cpuset takes its processors and memory nodes from its parent (an empty
//! one accepts nobody), on v2 every ancestor hands its controllers down.

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};

use crate::device::DeviceRule;
use crate::error::Error;
use crate::files::{keyed, number, read, read_optional, write};
use crate::layout::{Layout, Mode};
use crate::limits::Limits;
use crate::stats::Stats;

/// Attempts to remove a directory whose last task is on its way out (EBUSY); with the pauses
/// between them about 250 ms.
const REMOVE_ATTEMPTS: u32 = 8;

/// A control group in all hierarchies of a host.
#[derive(Clone, Debug)]
pub struct Group {
    layout: Arc<Layout>,
    path: String,
}

impl Group {
    /// Names a group; nothing is created.
    pub fn new(layout: &Arc<Layout>, path: &str) -> Result<Group, Error> {
        let clean = path.starts_with('/')
            && path
                .split('/')
                .skip(1)
                .all(|part| part != ".." && part != "." && !part.is_empty());
        if !clean && path != "/" {
            return Err(Error::BadPath { path: path.into() });
        }
        Ok(Group {
            layout: layout.clone(),
            path: path.into(),
        })
    }

    /// The group below this one.
    pub fn child(&self, name: &str) -> Result<Group, Error> {
        if name.contains('/') {
            return Err(Error::BadPath { path: name.into() });
        }
        Group::new(
            &self.layout,
            &format!("{}/{name}", self.path.trim_end_matches('/')),
        )
    }

    /// Its path below the mounts.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The host's hierarchies.
    #[must_use]
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// Its directories in the v1 hierarchies.
    #[must_use]
    pub fn v1_dirs(&self) -> Vec<PathBuf> {
        self.layout.v1().iter().map(|h| h.dir(&self.path)).collect()
    }

    /// Its directory in the unified tree (v2 and hybrid).
    #[must_use]
    pub fn unified_dir(&self) -> Option<PathBuf> {
        self.layout.unified().map(|h| h.dir(&self.path))
    }

    /// Its directory in the hierarchy that has `controller`.
    #[must_use]
    pub fn dir_of(&self, controller: &str) -> Option<PathBuf> {
        match self.layout.v1_of(controller) {
            Some(hierarchy) => Some(hierarchy.dir(&self.path)),
            None if self.layout.mode() == Mode::V2 => self.unified_dir(),
            None => None,
        }
    }

    /// Whether it exists in every hierarchy.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.v1_dirs()
            .iter()
            .chain(self.unified_dir().iter())
            .all(|dir| dir.is_dir())
    }

    /// Creates it and its ancestors; existing ones are kept.
    pub fn create(&self) -> Result<(), Error> {
        for hierarchy in self.layout.v1() {
            let cpuset = hierarchy.controllers.iter().any(|c| c == "cpuset");
            let mut dir = hierarchy.mount.clone();
            for part in self.path.split('/').filter(|p| !p.is_empty()) {
                let parent = dir.clone();
                dir.push(part);
                make_dir(&dir)?;
                if cpuset {
                    inherit_cpuset(&parent, &dir)?;
                }
            }
        }
        if let Some(unified) = self.layout.unified() {
            let mut dir = unified.mount.clone();
            for part in self.path.split('/').filter(|p| !p.is_empty()) {
                if self.layout.mode() == Mode::V2 {
                    delegate_controllers(&dir)?;
                }
                dir.push(part);
                make_dir(&dir)?;
            }
        }
        Ok(())
    }

    /// Removes it with all groups below it; absent ones are no error. Tasks must be gone or
    /// going: see [`Group::kill`].
    pub fn remove(&self) -> Result<(), Error> {
        if self.path == "/" {
            return Err(Error::BadPath {
                path: self.path.clone(),
            });
        }
        if let Some(dir) = self.unified_dir() {
            wait_unpopulated(&dir, Duration::from_secs(2));
            remove_tree(&dir)?;
        }
        for dir in self.v1_dirs() {
            remove_tree(&dir)?;
        }
        Ok(())
    }

    /// Removes it where it has neither processes nor groups of its own; where it has, it stays.
    pub fn remove_empty(&self) -> Result<(), Error> {
        for dir in self.v1_dirs().into_iter().chain(self.unified_dir()) {
            let busy =
                |kind| matches!(kind, ErrorKind::ResourceBusy | ErrorKind::DirectoryNotEmpty);
            match fs::remove_dir(&dir) {
                Err(e) if e.kind() == ErrorKind::NotFound || busy(e.kind()) => {}
                Err(cause) => return Err(Error::Remove { path: dir, cause }),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// Moves a process into it in the v1 hierarchies, and in the unified tree if `unified`
    /// (needed only for a process not born there by `CLONE_INTO_CGROUP`).
    pub fn join(&self, pid: u32, unified: bool) -> Result<(), Error> {
        let text = pid.to_string();
        for dir in self.v1_dirs() {
            write(&dir.join("cgroup.procs"), &text)?;
        }
        match self.unified_dir() {
            Some(dir) if unified => write(&dir.join("cgroup.procs"), &text),
            _ => Ok(()),
        }
    }

    /// Directory descriptor in the unified tree for `CLONE_INTO_CGROUP`.
    pub fn unified_fd(&self) -> Result<Option<OwnedFd>, Error> {
        let Some(dir) = self.unified_dir() else {
            return Ok(None);
        };
        match fs::File::open(&dir) {
            Ok(file) => Ok(Some(file.into())),
            Err(cause) => Err(Error::Read { path: dir, cause }),
        }
    }

    /// Applies limits; files of controllers that the host lacks are skipped only when they
    /// would be unlimited anyway.
    pub fn apply(&self, limits: &Limits) -> Result<(), Error> {
        if self.layout.mode() == Mode::V2 {
            let Some(dir) = self.unified_dir() else {
                return Err(Error::NotMounted);
            };
            for file in limits.plan_v2() {
                let result = write(&dir.join(&file.file), &file.value);
                // No swap in the kernel, or a controller that was not delegated.
                let optional = file.file == "memory.swap.max" || file.value == "max";
                if !(optional && is_missing(&result)) {
                    result?;
                }
            }
            return Ok(());
        }
        let mut deferred = None;
        for file in limits.plan_v1() {
            let Some(dir) = self.dir_of(file.controller) else {
                if file.value == "-1" || file.value == "max" {
                    continue;
                }
                return Err(Error::NoController {
                    controller: file.controller,
                });
            };
            let result = write(&dir.join(&file.file), &file.value);
            match file.file.as_str() {
                // Raising: the limit with swap has to go first.
                "memory.limit_in_bytes" if has_errno(&result, EINVAL) => {
                    deferred = Some((dir.join(&file.file), file.value));
                    continue;
                }
                // Swap accounting may be off.
                "memory.memsw.limit_in_bytes" if is_missing(&result) => {}
                _ => result?,
            }
            if let Some((path, value)) = deferred.take() {
                write(&path, &value)?;
            }
        }
        match deferred {
            Some((path, value)) => write(&path, &value),
            None => Ok(()),
        }
    }

    /// Applies device rules, the last match counting: by the v1 controller where there is one,
    /// else by a BPF program on the unified group. Once per group.
    pub fn apply_devices(&self, rules: &[DeviceRule]) -> Result<(), Error> {
        let Some(hierarchy) = self.layout.v1_of("devices") else {
            return self.apply_devices_by_program(rules);
        };
        let dir = hierarchy.dir(&self.path);
        for rule in rules {
            let file = if rule.allow {
                "devices.allow"
            } else {
                "devices.deny"
            };
            write(&dir.join(file), &rule.text())?;
        }
        Ok(())
    }

    pub(crate) fn apply_devices_by_program(&self, rules: &[DeviceRule]) -> Result<(), Error> {
        if rules == [DeviceRule::allow_all()] {
            return Ok(());
        }
        let Some(group) = self.unified_fd()? else {
            return Err(Error::NoController {
                controller: "devices",
            });
        };
        let program = crate::program::assemble(rules);
        crate::program::attach(&group, &program).map_err(|cause| Error::Devices {
            path: self.path.clone(),
            cause,
        })
    }

    /// Kills every task of the group and of the groups below it. `cgroup.kill` where the
    /// unified tree has it (no race with fork), else signal by signal.
    pub fn kill(&self) -> Result<(), Error> {
        if let Some(dir) = self.unified_dir()
            && dir.join("cgroup.kill").exists()
        {
            return write(&dir.join("cgroup.kill"), "1");
        }
        // A fork bomb needs several rounds; frozen tasks die on thaw.
        for _ in 0..16 {
            let pids = self.processes()?;
            if pids.is_empty() {
                break;
            }
            for pid in pids {
                let pid = i32::try_from(pid)
                    .ok()
                    .and_then(rustix::process::Pid::from_raw);
                if let Some(pid) = pid {
                    // The task may be gone already: nothing to do then.
                    let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                }
            }
        }
        self.freeze(false)
    }

    /// Stops or continues all tasks.
    pub fn freeze(&self, frozen: bool) -> Result<(), Error> {
        if let Some(dir) = self.unified_dir()
            && dir.join("cgroup.freeze").exists()
        {
            return write(&dir.join("cgroup.freeze"), if frozen { "1" } else { "0" });
        }
        match self.layout.v1_of("freezer") {
            Some(hierarchy) => {
                let file = hierarchy.dir(&self.path).join("freezer.state");
                write(&file, if frozen { "FROZEN" } else { "THAWED" })
            }
            None if frozen => Err(Error::NoController {
                controller: "freezer",
            }),
            None => Ok(()),
        }
    }

    /// All processes of the group and of the groups below it.
    pub fn processes(&self) -> Result<Vec<u32>, Error> {
        let dir = self
            .unified_dir()
            .or_else(|| self.dir_of("memory").or_else(|| self.dir_of("pids")));
        let mut pids = Vec::new();
        if let Some(dir) = dir {
            collect_processes(&dir, &mut pids)?;
        }
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// How often the kernel's OOM killer took a task of this group.
    pub fn oom_kills(&self) -> Result<u64, Error> {
        let Some(dir) = self.dir_of("memory") else {
            return Ok(0);
        };
        let file = match self.layout.mode() {
            Mode::V2 => "memory.events",
            Mode::V1 | Mode::Hybrid => "memory.oom_control",
        };
        let text = read_optional(&dir.join(file))?.unwrap_or_default();
        Ok(keyed(&text, "oom_kill").unwrap_or(0))
    }

    /// The file that [`Group::oom_kills`] reads: other processes (a shim) may read it too.
    #[must_use]
    pub fn oom_file(&self) -> Option<PathBuf> {
        let file = match self.layout.mode() {
            Mode::V2 => "memory.events",
            Mode::V1 | Mode::Hybrid => "memory.oom_control",
        };
        self.dir_of("memory").map(|dir| dir.join(file))
    }

    /// Usage of the group and the groups below it; absent controllers leave zeros.
    pub fn stats(&self) -> Result<Stats, Error> {
        let mut stats = Stats::default();
        let optional = |dir: &Option<PathBuf>, file: &'static str| -> Result<Option<u64>, Error> {
            let Some(dir) = dir else { return Ok(None) };
            match read_optional(&dir.join(file))? {
                Some(text) => number(file, &text).map(Some),
                None => Ok(None),
            }
        };
        let text = |dir: &Option<PathBuf>, file: &str| -> Result<String, Error> {
            let Some(dir) = dir else {
                return Ok(String::new());
            };
            Ok(read_optional(&dir.join(file))?.unwrap_or_default())
        };
        let memory = self.dir_of("memory");
        if self.layout.mode() == Mode::V2 {
            stats.cpu_v2(&text(&self.unified_dir(), "cpu.stat")?);
            stats.memory_limit = optional(&memory, "memory.max")?.unwrap_or(u64::MAX);
            let usage = optional(&memory, "memory.current")?.unwrap_or(0);
            let swap = optional(&memory, "memory.swap.current")?;
            stats.memory_v2(usage, swap, &text(&memory, "memory.stat")?);
        } else {
            let cpu = self.dir_of("cpuacct");
            stats.cpu_usage_ns = optional(&cpu, "cpuacct.usage")?.unwrap_or(0);
            let throttled = text(&self.dir_of("cpu"), "cpu.stat")?;
            stats.cpu_throttled_periods = keyed(&throttled, "nr_throttled").unwrap_or(0);
            stats.memory_limit = optional(&memory, "memory.limit_in_bytes")?.unwrap_or(u64::MAX);
            let usage = optional(&memory, "memory.usage_in_bytes")?.unwrap_or(0);
            let total = optional(&memory, "memory.memsw.usage_in_bytes")?;
            stats.memory_v1(usage, total, &text(&memory, "memory.stat")?);
        }
        stats.pids = optional(&self.dir_of("pids"), "pids.current")?.unwrap_or(0);
        Ok(stats)
    }
}

const EINVAL: i32 = 22;

fn has_errno(result: &Result<(), Error>, errno: i32) -> bool {
    result.as_ref().err().and_then(Error::errno) == Some(errno)
}

/// ENOENT: the kernel has no such file; EOPNOTSUPP: it has, but switched off.
fn is_missing(result: &Result<(), Error>) -> bool {
    has_errno(result, 2) || has_errno(result, 95)
}

fn make_dir(dir: &Path) -> Result<(), Error> {
    match fs::create_dir(dir) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(cause) => Err(Error::Create {
            path: dir.into(),
            cause,
        }),
    }
}

fn inherit_cpuset(parent: &Path, dir: &Path) -> Result<(), Error> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if read(&dir.join(file))?.trim().is_empty() {
            let value = read(&parent.join(file))?;
            write(&dir.join(file), value.trim())?;
        }
    }
    Ok(())
}

/// Lets the children of `dir` use every controller that `dir` has.
fn delegate_controllers(dir: &Path) -> Result<(), Error> {
    let available = read(&dir.join("cgroup.controllers"))?;
    let enabled = read(&dir.join("cgroup.subtree_control"))?;
    for controller in available.split_whitespace() {
        let wanted = matches!(
            controller,
            "cpu" | "cpuset" | "io" | "memory" | "pids" | "hugetlb"
        );
        if !wanted || enabled.split_whitespace().any(|e| e == controller) {
            continue;
        }
        // One that cannot be handed down here (processes inside, threaded) shows as a missing
        // file when a limit needs it; the others stay usable.
        let _refused = write(
            &dir.join("cgroup.subtree_control"),
            &format!("+{controller}"),
        );
    }
    Ok(())
}

fn children(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => {
            return Err(Error::Read {
                path: dir.into(),
                cause,
            });
        }
    };
    Ok(entries
        .filter_map(Result::ok)
        .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
        .map(|e| e.path())
        .collect())
}

fn collect_processes(dir: &Path, pids: &mut Vec<u32>) -> Result<(), Error> {
    let text = read_optional(&dir.join("cgroup.procs"))?.unwrap_or_default();
    pids.extend(
        text.lines()
            .filter_map(|line| line.parse::<u32>().ok())
            .filter(|p| *p != 0),
    );
    for child in children(dir)? {
        collect_processes(&child, pids)?;
    }
    Ok(())
}

/// Waits for the kernel's word that the last task left (`cgroup.events` wakes pollers).
fn wait_unpopulated(dir: &Path, limit: Duration) {
    let Ok(mut file) = fs::File::open(dir.join("cgroup.events")) else {
        return;
    };
    let slice = Timespec {
        tv_sec: i64::try_from(limit.as_secs()).unwrap_or(1),
        tv_nsec: 0,
    };
    // Each wake is a change; a killed subtree needs one or two.
    for _ in 0..8 {
        let mut text = String::new();
        let read = std::io::Seek::rewind(&mut file).and_then(|()| file.read_to_string(&mut text));
        if read.is_err() || keyed(&text, "populated") != Some(1) {
            return;
        }
        let mut fds = [PollFd::new(&file, PollFlags::PRI)];
        match rustix::event::poll(&mut fds, Some(&slice)) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

fn remove_tree(dir: &Path) -> Result<(), Error> {
    for child in children(dir)? {
        remove_tree(&child)?;
    }
    let mut pause = Duration::from_millis(1);
    for attempt in 1.. {
        match fs::remove_dir(dir) {
            Ok(()) => break,
            Err(e) if e.kind() == ErrorKind::NotFound => break,
            Err(e) if e.kind() == ErrorKind::ResourceBusy && attempt < REMOVE_ATTEMPTS => {
                std::thread::sleep(pause);
                pause *= 2;
            }
            Err(cause) => {
                return Err(Error::Remove {
                    path: dir.into(),
                    cause,
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
