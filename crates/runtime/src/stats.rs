//! Statistics of containers and pods from control groups, files and network counters.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use cgroups::Stats;
use nodeapi::{CriError, cri};

use crate::state::{Container, Inner, Sandbox, cgroup_error};

/// Most files of a writable layer that are counted: a bound for one call, not for the layer.
const MAX_FILES: u64 = 200_000;

fn value(value: u64) -> Option<cri::UInt64Value> {
    Some(cri::UInt64Value { value })
}

impl Inner {
    pub(crate) fn container_stats(&self, c: &Container) -> Result<cri::ContainerStats, CriError> {
        let (now, path) = (self.now(), c.record.lock().cgroup.clone());
        let stats = self
            .group(&path)?
            .stats()
            .map_err(|e| cgroup_error("read statistics", &e))?;
        let (used, inodes) = usage(&c.dir.join("upper"));
        let config = c.config.read();
        Ok(cri::ContainerStats {
            attributes: Some(cri::ContainerAttributes {
                id: c.id.clone(),
                metadata: config.metadata.clone(),
                labels: config.labels.clone(),
                annotations: config.annotations.clone(),
            }),
            cpu: Some(cpu(&stats, now)),
            memory: Some(memory(&stats, now)),
            writable_layer: Some(cri::FilesystemUsage {
                timestamp: now,
                fs_id: Some(cri::FilesystemIdentifier {
                    mountpoint: self.config.root.to_string_lossy().into_owned(),
                }),
                used_bytes: value(used),
                inodes_used: value(inodes),
            }),
            swap: Some(cri::SwapUsage {
                timestamp: now,
                swap_available_bytes: None,
                swap_usage_bytes: value(stats.swap_usage),
            }),
            ..Default::default()
        })
    }

    pub(crate) fn list_container_stats(
        &self,
        filter: &cri::ContainerStatsFilter,
    ) -> Vec<cri::ContainerStats> {
        let filter = cri::ContainerFilter {
            id: filter.id.clone(),
            pod_sandbox_id: filter.pod_sandbox_id.clone(),
            label_selector: filter.label_selector.clone(),
            state: Some(cri::ContainerStateValue {
                state: cri::ContainerState::ContainerRunning as i32,
            }),
        };
        let listed = self.list_containers(Some(&filter));
        // One that ended meanwhile has nothing to tell.
        let find = |c: cri::Container| self.container(&c.id).ok();
        listed
            .into_iter()
            .filter_map(find)
            .filter_map(|(_, c)| self.container_stats(&c).ok())
            .collect()
    }

    pub(crate) fn sandbox_stats(
        &self,
        sandbox: &Arc<Sandbox>,
    ) -> Result<cri::PodSandboxStats, CriError> {
        let now = self.now();
        let group = self.group(&self.pod_group(sandbox))?;
        let stats = group
            .stats()
            .map_err(|e| cgroup_error("read statistics", &e))?;
        let running: Vec<Arc<Container>> = sandbox
            .containers
            .read()
            .values()
            .filter(|c| c.is_running())
            .cloned()
            .collect();
        let pid = running.first().map(|c| c.record.lock().pid);
        let containers = running
            .iter()
            .filter_map(|c| self.container_stats(c).ok())
            .collect();
        let network = pid.filter(|_| !sandbox.is_host_network()).map(|pid| {
            let text = fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default();
            network(&text, now)
        });
        let processes = group
            .processes()
            .map_err(|e| cgroup_error("count processes", &e))?
            .len();
        Ok(cri::PodSandboxStats {
            attributes: Some(cri::PodSandboxAttributes {
                id: sandbox.id.clone(),
                metadata: sandbox.config.metadata.clone(),
                labels: sandbox.config.labels.clone(),
                annotations: sandbox.config.annotations.clone(),
            }),
            linux: Some(cri::LinuxPodSandboxStats {
                cpu: Some(cpu(&stats, now)),
                memory: Some(memory(&stats, now)),
                network,
                process: Some(cri::ProcessUsage {
                    timestamp: now,
                    process_count: value(u64::try_from(processes).unwrap_or(u64::MAX)),
                }),
                containers,
                ..Default::default()
            }),
            windows: None,
        })
    }
}

fn cpu(stats: &Stats, timestamp: i64) -> cri::CpuUsage {
    cri::CpuUsage {
        timestamp,
        usage_core_nano_seconds: value(stats.cpu_usage_ns),
        ..Default::default()
    }
}

fn memory(stats: &Stats, timestamp: i64) -> cri::MemoryUsage {
    let available = (stats.memory_limit != u64::MAX)
        .then(|| stats.memory_limit.saturating_sub(stats.memory_working_set));
    cri::MemoryUsage {
        timestamp,
        working_set_bytes: value(stats.memory_working_set),
        available_bytes: available.and_then(value),
        usage_bytes: value(stats.memory_usage),
        rss_bytes: value(stats.memory_rss),
        page_faults: value(stats.page_faults),
        major_page_faults: value(stats.major_page_faults),
        ..Default::default()
    }
}

/// Interfaces of `/proc/PID/net/dev` but the loopback; `eth0` is the default one. Pure.
fn network(text: &str, timestamp: i64) -> cri::NetworkUsage {
    let interfaces: Vec<cri::NetworkInterfaceUsage> = text
        .lines()
        .filter_map(|line| {
            let (name, counters) = line.split_once(':')?;
            let counters: Vec<u64> = counters
                .split_whitespace()
                .map_while(|n| n.parse().ok())
                .collect();
            let at = |i: usize| counters.get(i).copied().and_then(value);
            let name = name.trim().to_string();
            (name != "lo" && counters.len() >= 16).then(|| cri::NetworkInterfaceUsage {
                name,
                rx_bytes: at(0),
                rx_errors: at(2),
                tx_bytes: at(8),
                tx_errors: at(10),
            })
        })
        .collect();
    let default_interface = interfaces.iter().find(|i| i.name == "eth0").cloned();
    cri::NetworkUsage {
        timestamp,
        default_interface,
        interfaces,
    }
}

/// Bytes and inodes below a directory.
fn usage(dir: &Path) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt as _;
    let (mut bytes, mut inodes) = (0, 0);
    let mut open = vec![dir.to_path_buf()];
    while let Some(dir) = open.pop() {
        let Ok(entries) = fs::read_dir(&dir) else {
            continue;
        };
        for entry in entries.filter_map(Result::ok) {
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            bytes += metadata.blocks() * 512;
            inodes += 1;
            if inodes >= MAX_FILES {
                return (bytes, inodes);
            }
            if metadata.is_dir() {
                open.push(entry.path());
            }
        }
    }
    (bytes, inodes)
}

#[cfg(test)]
mod tests {
    use super::network;

    #[test]
    fn counters_of_interfaces() {
        let text = "Inter-|   Receive   |  Transmit\n face |bytes packets\n\
            lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n\
            eth0: 100 2 3 0 0 0 0 0 200 4 5 0 0 0 0 0\n";
        let usage = network(text, 7);
        let eth0 = usage.default_interface.unwrap();
        assert_eq!(usage.interfaces.len(), 1);
        assert_eq!(eth0.rx_bytes.unwrap().value, 100);
        assert_eq!(
            (eth0.rx_errors.unwrap().value, eth0.tx_errors.unwrap().value),
            (3, 5)
        );
        assert_eq!(eth0.tx_bytes.unwrap().value, 200);
    }
}
