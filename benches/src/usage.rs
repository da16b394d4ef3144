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
}

/// Waits, then measures.
pub(crate) async fn idle(fixture: &Fixture) -> Result<Vec<Figure>> {
    sleep(SETTLE).await;
    let processes = of_cluster(&fixture.name)?;
    let total_mib = pss_mib(&processes)?;
    let (before, start) = (ticks(&processes), Instant::now());
    sleep(WATCH).await;
    let used = ticks(&processes).saturating_sub(before);
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
        line(&format!("  {:>7} KiB  {}", kib, process.name));
    }
    Ok(total_kib as f64 / 1024.0)
}

/// Clock ticks as a share of one core, in percent.
pub(crate) fn share(ticks: u64, span: Duration) -> f64 {
    let per_second = rustix::param::clock_ticks_per_second() as f64;
    ticks as f64 / per_second / span.as_secs_f64() * 100.0
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

/// User and system time so far, in clock ticks; of a process that ended: nothing.
pub(crate) fn ticks(processes: &[Process]) -> u64 {
    let of = |process: &Process| -> Option<u64> {
        let text = fs::read_to_string(process.folder.join("stat")).ok()?;
        // The name in brackets may hold spaces; utime and stime are fields 14 and 15 of proc(5).
        let (_, fields) = text.rsplit_once(") ")?;
        let mut fields = fields.split(' ').skip(11);
        let user: u64 = fields.next()?.parse().ok()?;
        let system: u64 = fields.next()?.parse().ok()?;
        Some(user + system)
    };
    processes.iter().filter_map(of).sum()
}
