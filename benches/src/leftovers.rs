//! One run at a time, and an end to what a killed run left.
//!
//! A run holds a lock that the kernel gives back when its process ends, however it ends. Who has
//! it knows that every other bench folder belongs to nobody: its clusters, upstream's programs
//! that were started in it, and its files go. Knows nothing of what is measured.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bootstrap::local::{Options, clusters, down};
use rustix::process::{Pid, Signal, kill_process};

use crate::report::line;

/// Where folders of runs are: a real file system, since a memory disk would flatter.
pub(crate) const PARENT: &str = "/var/lib";
/// What their names begin with.
pub(crate) const PREFIX: &str = "transom-bench";
const LOCK: &str = "/run/transom-bench.lock";
/// How long a program may take to end after its kill.
const END_WITHIN: Duration = Duration::from_secs(5);

/// Held as long as this run lives.
pub(crate) struct Lock {
    _file: File,
}

/// Refuses a second run beside the first, since both would measure each other.
pub(crate) fn begin() -> Result<Lock> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(LOCK)
        .with_context(|| format!("open {LOCK}"))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            bail!("another run measures this machine (it holds {LOCK}): wait for its end")
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("lock {LOCK}"));
        }
    }
    for folder in folders()? {
        clear(&folder)
            .with_context(|| format!("clear what a killed run left in {}", folder.display()))?;
        line(&format!(
            "a killed run had left {}: removed",
            folder.display()
        ));
    }
    Ok(Lock { _file: file })
}

fn folders() -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(PARENT).with_context(|| format!("list {PARENT}"))? {
        let entry = entry.with_context(|| format!("list {PARENT}"))?;
        let name = entry.file_name();
        if name.to_string_lossy().starts_with(PREFIX) && entry.path().is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn clear(folder: &Path) -> Result<()> {
    for pid in started_in(folder)? {
        kill_process(pid, Signal::KILL).or_else(|error| match error {
            rustix::io::Errno::SRCH => Ok(()),
            error => Err(error).with_context(|| format!("end process {pid}")),
        })?;
    }
    let mut waited = Duration::ZERO;
    while !started_in(folder)?.is_empty() {
        if waited > END_WITHIN {
            bail!("its programs do not end");
        }
        let step = Duration::from_millis(20);
        std::thread::sleep(step);
        waited += step;
    }
    let options = Options {
        root: Some(folder.join("data")),
        program: None,
    };
    let (clusters, damaged) = clusters(&options)?;
    if let Some(error) = damaged.into_iter().next() {
        return Err(error.into());
    }
    for cluster in clusters {
        down(&cluster.name, &options, &mut |_| {})?;
    }
    fs::remove_dir_all(folder).context("remove its files")
}

/// Upstream's programs name the folder that they work in.
fn started_in(folder: &Path) -> Result<Vec<Pid>> {
    let needle = format!("{}/upstream", folder.display());
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("list /proc")? {
        let entry = entry.context("list /proc")?;
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else {
            continue;
        };
        let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&words).contains(&needle) {
            found.extend(Pid::from_raw(pid));
        }
    }
    Ok(found)
}
