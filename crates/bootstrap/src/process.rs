//! Processes of the host: a pid with its start time, so that a reused pid is never mistaken for it.
//!
//! Source: proc_pid_stat(5).

use std::fs;

/// A process that cannot be mistaken for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    start: u64,
}

impl Process {
    /// The running process `pid`; `None` if there is none, or only its remains.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        Self::with_parent(pid).map(|(process, _)| process)
    }

    fn with_parent(pid: u32) -> Option<(Self, u32)> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name before may hold blanks and brackets.
        let (_, rest) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        if matches!(*fields.first()?, "Z" | "X") {
            return None;
        }
        let start = fields.get(19)?.parse().ok()?;
        Some((Self { pid, start }, fields.get(1)?.parse().ok()?))
    }

    /// A running child of `parent`.
    pub(crate) fn child_of(parent: u32) -> Option<Self> {
        let entries = fs::read_dir("/proc").ok()?.flatten();
        let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.find_map(|pid| {
            Self::with_parent(pid)
                .filter(|(_, of)| *of == parent)
                .map(|(process, _)| process)
        })
    }
}
