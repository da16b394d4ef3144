//! What the machine is and has, read from the kernel.

use std::fs;
use std::path::Path;

use schema::{Dom, Node};

use crate::config::Config;

/// Below this much free memory the node says so (upstream's default eviction threshold).
pub(crate) const LEAST_MEMORY_BYTES: u64 = 100 << 20;
/// Below this much free disk the node says so. An absolute bound: local nodes share a disk.
const LEAST_DISK_BYTES: u64 = 256 << 20;
/// Below this share of free process ids the node says so.
const LEAST_PIDS_PERCENT: u64 = 5;

const SIMULATED_DISK_BYTES: u64 = 100 << 30;

/// Which machine a kubelet reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Machine {
    /// The one that it runs on.
    #[default]
    Own,
    /// One that is never short of anything and the same everywhere: for the simulator.
    Simulated,
}

/// A reading of the machine.
pub(crate) struct Facts {
    disk_bytes: u64,
    disk_free_bytes: u64,
    memory_free_bytes: u64,
    pids: (u64, u64),
}

impl Facts {
    pub(crate) fn read(config: &Config, machine: Machine) -> Self {
        if machine == Machine::Simulated {
            return Self {
                disk_bytes: SIMULATED_DISK_BYTES,
                disk_free_bytes: SIMULATED_DISK_BYTES,
                memory_free_bytes: u64::MAX,
                pids: (0, 1 << 22),
            };
        }
        let disk = rustix::fs::statvfs(&config.root).ok();
        let disk = disk.or_else(|| rustix::fs::statvfs("/").ok());
        let (disk_bytes, disk_free_bytes) = disk.map_or((0, 0), |disk| {
            (disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize)
        });
        Self {
            disk_bytes,
            disk_free_bytes,
            memory_free_bytes: meminfo("MemAvailable:").unwrap_or(u64::MAX),
            pids: processes(),
        }
    }

    pub(crate) fn memory_is_short(&self) -> bool {
        self.memory_free_bytes < LEAST_MEMORY_BYTES
    }

    pub(crate) fn disk_is_short(&self) -> bool {
        self.disk_bytes > 0 && self.disk_free_bytes < LEAST_DISK_BYTES
    }

    pub(crate) fn pids_are_short(&self) -> bool {
        let (used, most) = self.pids;
        most.saturating_sub(used) < most / 100 * LEAST_PIDS_PERCENT
    }

    pub(crate) fn write_resources(&self, dom: &mut Dom, status: Node, config: &Config) {
        let memory_bytes = u64::try_from(config.memory_bytes).unwrap_or(0);
        let usable_memory_bytes = memory_bytes.saturating_sub(LEAST_MEMORY_BYTES);
        // As upstream: what evictions keep free is not for pods.
        let usable_disk_bytes = self.disk_bytes / 10 * 9;
        let cpu = match config.millicores % 1000 {
            0 => (config.millicores / 1000).to_string(),
            _ => format!("{}m", config.millicores),
        };
        let rows = [
            (
                "capacity",
                memory_bytes,
                format!("{}Ki", self.disk_bytes >> 10),
            ),
            (
                "allocatable",
                usable_memory_bytes,
                usable_disk_bytes.to_string(),
            ),
        ];
        for (list, memory, disk) in rows {
            let amounts = dom.ensure_map(status, list);
            dom.set_str(amounts, "cpu", &cpu);
            dom.set_str(amounts, "ephemeral-storage", &disk);
            for size in huge_page_sizes() {
                dom.set_str(amounts, &format!("hugepages-{size}"), "0");
            }
            dom.set_str(amounts, "memory", &format!("{}Ki", memory >> 10));
            dom.set_str(amounts, "pods", &config.max_pods.to_string());
        }
    }

    pub(crate) fn write_node_info(&self, dom: &mut Dom, status: Node, config: &Config) {
        let system = rustix::system::uname();
        let info = dom.ensure_map(status, "nodeInfo");
        let machine = text("/etc/machine-id");
        let product = text("/sys/class/dmi/id/product_uuid");
        let boot = text("/proc/sys/kernel/random/boot_id");
        let kernel = system.release().to_string_lossy().into_owned();
        for (key, value) in [
            ("machineID", machine.trim()),
            (
                "systemUUID",
                if product.trim().is_empty() {
                    machine.trim()
                } else {
                    product.trim()
                },
            ),
            ("bootID", boot.trim()),
            ("kernelVersion", &kernel),
            ("osImage", &os_image()),
            (
                "containerRuntimeVersion",
                concat!("transom://", env!("CARGO_PKG_VERSION")),
            ),
            ("kubeletVersion", &config.version),
            ("kubeProxyVersion", ""),
            ("operatingSystem", "linux"),
            ("architecture", architecture()),
        ] {
            dom.set_str(info, key, value);
        }
    }
}

/// Go's name of the processor.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Memory of the machine.
pub(crate) fn memory_bytes() -> u64 {
    meminfo("MemTotal:").unwrap_or(0)
}

pub(crate) fn meminfo(name: &str) -> Option<u64> {
    let text = text("/proc/meminfo");
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes << 10)
}

/// Processes and threads that there are, and that there can be.
pub(crate) fn processes() -> (u64, u64) {
    let used = text("/proc/loadavg")
        .split('/')
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0);
    let most = text("/proc/sys/kernel/pid_max").trim().parse();
    (used, most.unwrap_or(u64::MAX))
}

fn os_image() -> String {
    let text = text("/etc/os-release");
    text.lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map(|name| name.trim_matches('"').to_owned())
        .unwrap_or_else(|| "Linux".to_owned())
}

/// `2Mi`, `1Gi`: the sizes that the kernel knows.
fn huge_page_sizes() -> Vec<String> {
    let Ok(entries) = fs::read_dir("/sys/kernel/mm/hugepages") else {
        return Vec::new();
    };
    let mut sizes: Vec<u64> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            name.strip_prefix("hugepages-")?
                .strip_suffix("kB")?
                .parse()
                .ok()
        })
        .collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    sizes
        .into_iter()
        .map(|kibibytes| match kibibytes {
            _ if kibibytes % (1 << 20) == 0 => format!("{}Gi", kibibytes >> 20),
            _ if kibibytes % (1 << 10) == 0 => format!("{}Mi", kibibytes >> 10),
            _ => format!("{kibibytes}Ki"),
        })
        .collect()
}

fn text(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
