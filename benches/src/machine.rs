//! Where figures were taken: they mean nothing elsewhere.

use std::fs;

use jiff::Timestamp;

/// A sentence about this machine and moment.
pub(crate) fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpu = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned());
    let memory = field("/proc/meminfo", "MemTotal")
        .and_then(|value| value.trim_end_matches(" kB").parse::<u64>().ok())
        .map_or(0, |kib| kib.div_ceil(1024 * 1024));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let control_groups = match fs::read_to_string("/sys/fs/cgroup/cgroup.controllers") {
        Ok(_) => "v2",
        Err(_) => "v1 or hybrid",
    };
    format!(
        "{cores} cores ({cpu}), {memory} GiB, kernel {}, control groups {control_groups}",
        kernel.trim()
    )
}

/// Runnable processes over the last minute.
pub(crate) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// Today, in UTC.
pub(crate) fn date() -> String {
    let now = Timestamp::now().to_string();
    now.split('T').next().unwrap_or_default().to_owned()
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(value.trim_start_matches([' ', '\t', ':']).to_owned())
}
