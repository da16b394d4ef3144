//! Memory and processor time of everything that a cluster runs.
//!
//! The cluster's processes are those of its control group; each one's share of pages (PSS) is the
//! kernel's, so that the pages of the binary that they share count once.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::time::{Instant, sleep};

use crate::cluster::Fixture;
use crate::report::{Figure, line};

const SETTLE: Duration = Duration::from_secs(10);
/// More processes are not shown one by one.
const SHOWN: usize = 12;
const WATCH: Duration = Duration::from_secs(20);

/// A process under measurement.
pub(crate) struct Process {
    folder: PathBuf,
    name: String,
}

impl Process {
    pub(crate) fn new(id: u32, name: &str) -> Self {
        Self {
            folder: PathBuf::from(format!("/proc/{id}")),
            name: name.to_owned(),
        }
    }

    /// Inodes of the sockets that it holds; none when it has ended.
    pub(crate) fn sockets(&self) -> Result<Vec<u64>> {
        let folder = self.folder.join("fd");
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.with_context(|| format!("list {}", folder.display()))?,
        };
        let inode = |entry: std::io::Result<fs::DirEntry>| {
            let target = fs::read_link(entry.ok()?.path()).ok()?;
            let text = target.to_str()?.strip_prefix("socket:[")?;
            text.strip_suffix(']')?.parse().ok()
        };
        Ok(entries.filter_map(inode).collect())
    }
}

/// Waits, then measures.
pub(crate) async fn idle(fixture: &Fixture) -> Result<Vec<Figure>> {
    sleep(SETTLE).await;
    let processes = of_cluster(&fixture.name)?;
    let total_mib = pss_mib(&processes)?;
    let (before, start) = (busy(&processes), Instant::now());
    sleep(WATCH).await;
    let used = busy(&processes).saturating_sub(before);
    let share = share(used, start.elapsed());
    Ok(vec![
        Figure::new(
            format!("idle node PSS, {} processes", processes.len()),
            "MiB",
            total_mib,
        )
        .limit(100.0),
        Figure::new("idle processor time over 20 s", "% of core", share).limit(0.5),
    ])
}

/// Proportional set size of all together.
pub(crate) fn pss_mib(processes: &[Process]) -> Result<f64> {
    let mut total_kib = 0;
    for process in processes {
        let kib = pss_kib(&process.folder)?;
        total_kib += kib;
        if processes.len() <= SHOWN {
            line(&format!("  {:>7} KiB  {}", kib, process.name));
        }
    }
    Ok(total_kib as f64 / 1024.0)
}

/// A share of one core, in percent; what is less than a tick counts as one.
pub(crate) fn share(busy: Duration, span: Duration) -> f64 {
    let tick = 1.0 / rustix::param::clock_ticks_per_second() as f64;
    busy.as_secs_f64().max(tick) / span.as_secs_f64() * 100.0
}

/// All whose control group carries the cluster's name.
pub(crate) fn of_cluster(cluster: &str) -> Result<Vec<Process>> {
    let group = format!("/transom-{cluster}-");
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("read /proc")? {
        let folder = entry.context("read /proc")?.path();
        let groups = fs::read_to_string(folder.join("cgroup")).unwrap_or_default();
        if !groups.contains(&group) {
            continue;
        }
        let words = fs::read(folder.join("cmdline")).unwrap_or_default();
        let mut words = words.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        let program = words.next().unwrap_or_default();
        let program = program.rsplit('/').next().unwrap_or_default();
        let name = format!("{program} {}", words.next().unwrap_or_default());
        found.push(Process { folder, name });
    }
    ensure!(!found.is_empty(), "found no process of the cluster");
    Ok(found)
}

fn pss_kib(process: &Path) -> Result<u64> {
    let path = process.join("smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let value = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let value = value.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok());
    value.with_context(|| format!("find Pss in {}", path.display()))
}

/// User and system time so far; of a process that ended: none. The kernel counts in ticks of 10 ms.
pub(crate) fn busy(processes: &[Process]) -> Duration {
    let of = |process: &Process| -> Option<u64> {
        let text = fs::read_to_string(process.folder.join("stat")).ok()?;
        // The name in brackets may hold spaces; utime and stime are fields 14 and 15 of proc(5).
        let (_, fields) = text.rsplit_once(") ")?;
        let mut fields = fields.split(' ').skip(11);
        let user: u64 = fields.next()?.parse().ok()?;
        let system: u64 = fields.next()?.parse().ok()?;
        Some(user + system)
    };
    let ticks: u64 = processes.iter().filter_map(of).sum();
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}
