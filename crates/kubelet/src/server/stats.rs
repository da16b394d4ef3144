//! What node, pods and containers use: `/stats/summary` as JSON, `/metrics/resource` as text.
//!
//! Owns the shape of both and the rate of processor time between two readings; the readings are
//! the runtime's and the kernel's. Source: kubernetes v1.36
//! pkg/kubelet/metrics/collectors/resource_metrics.go, pkg/kubelet/server/stats/{summary,handler}.go.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use cgroups::{Group, Layout};
use nodeapi::CriError;
use nodeapi::cri::{
    CpuUsage, ListContainersRequest, ListPodSandboxStatsRequest, MemoryUsage, PodSandboxStats,
    UInt64Value,
};
use parking_lot::Mutex;
use schema::{Dom, Node};

use crate::container::label;
use crate::worker::Shared;

/// Two readings closer than this give the rate of the earlier ones.
const RATE_AFTER_NANOSECONDS: i64 = 1_000_000_000;

/// Keeps earlier readings, for rates.
#[derive(Default)]
pub(super) struct Stats {
    earlier: Mutex<HashMap<String, Reading>>,
}

#[derive(Clone, Copy)]
struct Reading {
    used: u64,
    at: i64,
    per_second: Option<u64>,
}

/// Everything read once.
struct Snapshot {
    now: jiff::Timestamp,
    node: Usage,
    pods: Vec<PodSandboxStats>,
    /// Runtime's id → when the container was made, in nanoseconds.
    started: HashMap<String, i64>,
}

#[derive(Clone, Copy, Default)]
struct Usage {
    cpu_nanoseconds: u64,
    memory_bytes: u64,
    working_set_bytes: u64,
    rss_bytes: u64,
}

async fn read(shared: &Shared) -> Result<Snapshot, CriError> {
    let pods = shared
        .runtime
        .list_pod_sandbox_stats(ListPodSandboxStatsRequest::default())
        .await?;
    let listed = shared
        .runtime
        .list_containers(ListContainersRequest::default())
        .await?;
    let started = listed
        .containers
        .into_iter()
        .map(|container| (container.id, container.created_at))
        .collect();
    Ok(Snapshot {
        now: shared.clock.now(),
        node: node(),
        pods: pods.stats,
        started,
    })
}

/// The node's own group: in a local cluster the part of the machine that is this node.
fn node() -> Usage {
    let group = Layout::detect().and_then(|layout| Group::new(&Arc::new(layout), "/"));
    match group.and_then(|group| group.stats()) {
        Ok(stats) if stats.memory_usage > 0 && stats.cpu_usage_ns > 0 => Usage {
            cpu_nanoseconds: stats.cpu_usage_ns,
            memory_bytes: stats.memory_usage,
            working_set_bytes: stats.memory_working_set,
            rss_bytes: stats.memory_rss,
        },
        _ => machine(),
    }
}

/// The whole machine, where the root group has no counters (cgroup v2).
fn machine() -> Usage {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks: u64 = stat
        .lines()
        .next()
        .into_iter()
        .flat_map(|line| line.split_whitespace().skip(1).enumerate())
        // user nice system idle iowait irq softirq steal
        .filter(|(index, _)| matches!(index, 0..=2 | 5..=7))
        .filter_map(|(_, word)| word.parse::<u64>().ok())
        .sum();
    let total = crate::node::meminfo("MemTotal:").unwrap_or(0);
    let available = crate::node::meminfo("MemAvailable:").unwrap_or(0);
    let used = total.saturating_sub(available);
    Usage {
        // A hundredth of a second each.
        cpu_nanoseconds: ticks.saturating_mul(10_000_000),
        memory_bytes: used,
        working_set_bytes: used,
        rss_bytes: used,
    }
}

fn number(value: Option<&UInt64Value>) -> u64 {
    value.map_or(0, |value| value.value)
}

/// One family of `/metrics/resource`.
struct Family {
    name: &'static str,
    help: &'static str,
    kind: &'static str,
    lines: String,
}

impl Family {
    fn new(name: &'static str, kind: &'static str, help: &'static str) -> Self {
        Self {
            name,
            help,
            kind,
            lines: String::new(),
        }
    }

    fn add(&mut self, labels: &str, value: f64, at: i64) {
        let millis = at / 1_000_000;
        let (open, close) = match labels.is_empty() {
            true => ("", ""),
            false => ("{", "}"),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            self.lines,
            "{}{open}{labels}{close} {value} {millis}",
            self.name
        );
    }
}

/// The text of `/metrics/resource`.
pub(super) async fn resource_metrics(shared: &Shared) -> String {
    let Ok(snapshot) = read(shared).await else {
        return "# HELP resource_scrape_error [STABLE] 1 if there was an error while getting container metrics, 0 otherwise\n# TYPE resource_scrape_error gauge\nresource_scrape_error 1\n".to_owned();
    };
    render(&snapshot)
}

fn render(snapshot: &Snapshot) -> String {
    let mut container_cpu = Family::new(
        "container_cpu_usage_seconds_total",
        "counter",
        "[STABLE] Cumulative cpu time consumed by the container in core-seconds",
    );
    let mut container_memory = Family::new(
        "container_memory_working_set_bytes",
        "gauge",
        "[STABLE] Current working set of the container in bytes",
    );
    let mut container_start = Family::new(
        "container_start_time_seconds",
        "gauge",
        "[STABLE] Start time of the container since unix epoch in seconds",
    );
    let mut node_cpu = Family::new(
        "node_cpu_usage_seconds_total",
        "counter",
        "[STABLE] Cumulative cpu time consumed by the node in core-seconds",
    );
    let mut node_memory = Family::new(
        "node_memory_working_set_bytes",
        "gauge",
        "[STABLE] Current working set of the node in bytes",
    );
    let mut pod_cpu = Family::new(
        "pod_cpu_usage_seconds_total",
        "counter",
        "[STABLE] Cumulative cpu time consumed by the pod in core-seconds",
    );
    let mut pod_memory = Family::new(
        "pod_memory_working_set_bytes",
        "gauge",
        "[STABLE] Current working set of the pod in bytes",
    );
    let now = i64::try_from(snapshot.now.as_nanosecond()).unwrap_or(i64::MAX);
    node_cpu.add("", seconds(snapshot.node.cpu_nanoseconds), now);
    node_memory.add("", float(snapshot.node.working_set_bytes), now);
    for pod in &snapshot.pods {
        let Some(linux) = &pod.linux else { continue };
        let of = |name: &str| {
            let labels = pod.attributes.as_ref().map(|attributes| &attributes.labels);
            labels
                .and_then(|labels| labels.get(name))
                .cloned()
                .unwrap_or_default()
        };
        let whose = format!(
            "namespace={:?},pod={:?}",
            of(label::POD_NAMESPACE),
            of(label::POD_NAME)
        );
        if let Some((used, at)) = linux.cpu.as_ref().map(cpu_of) {
            pod_cpu.add(&whose, seconds(used), at);
        }
        if let Some((used, at)) = linux.memory.as_ref().map(memory_of) {
            pod_memory.add(&whose, float(used), at);
        }
        for container in &linux.containers {
            let Some(attributes) = &container.attributes else {
                continue;
            };
            let name = attributes.metadata.as_ref().map_or("", |m| m.name.as_str());
            let whose = format!("container={name:?},{whose}");
            if let Some((used, at)) = container.cpu.as_ref().map(cpu_of) {
                container_cpu.add(&whose, seconds(used), at);
            }
            if let Some((used, at)) = container.memory.as_ref().map(memory_of) {
                container_memory.add(&whose, float(used), at);
            }
            if let Some(at) = snapshot.started.get(&attributes.id) {
                let begin = u64::try_from(*at).unwrap_or(0);
                container_start.add(&whose, seconds(begin), *at);
            }
        }
    }
    let mut text = String::new();
    for family in [
        container_cpu,
        container_memory,
        container_start,
        node_cpu,
        node_memory,
        pod_cpu,
        pod_memory,
    ] {
        if !family.lines.is_empty() {
            let Family {
                name, help, kind, ..
            } = family;
            let _ = write!(
                text,
                "# HELP {name} {help}\n# TYPE {name} {kind}\n{}",
                family.lines
            );
        }
    }
    text.push_str("# HELP resource_scrape_error [STABLE] 1 if there was an error while getting container metrics, 0 otherwise\n# TYPE resource_scrape_error gauge\nresource_scrape_error 0\n");
    text
}

fn cpu_of(cpu: &CpuUsage) -> (u64, i64) {
    (number(cpu.usage_core_nano_seconds.as_ref()), cpu.timestamp)
}

fn memory_of(memory: &MemoryUsage) -> (u64, i64) {
    (number(memory.working_set_bytes.as_ref()), memory.timestamp)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "the format has floats; what is lost is below a millionth"
)]
fn float(value: u64) -> f64 {
    value as f64
}

fn seconds(nanoseconds: u64) -> f64 {
    float(nanoseconds) / 1e9
}

impl Stats {
    /// Processor time per second since the last reading.
    fn rate(&self, key: &str, used: u64, at: i64) -> Option<u64> {
        let mut earlier = self.earlier.lock();
        let known = earlier.get(key).copied();
        let per_second = match known {
            Some(before) if at - before.at < RATE_AFTER_NANOSECONDS => return before.per_second,
            Some(before) => {
                let spent = u128::from(used.saturating_sub(before.used));
                let over = u128::try_from(at - before.at).unwrap_or(1).max(1);
                u64::try_from(spent * 1_000_000_000 / over).ok()
            }
            None => None,
        };
        let reading = Reading {
            used,
            at,
            per_second,
        };
        earlier.insert(key.to_owned(), reading);
        per_second
    }

    fn forget_before(&self, at: i64) {
        const KEPT_NANOSECONDS: i64 = 600_000_000_000;
        self.earlier
            .lock()
            .retain(|_, reading| at - reading.at < KEPT_NANOSECONDS);
    }

    /// The JSON of `/stats/summary`.
    pub(super) async fn summary(&self, shared: &Shared) -> Result<Vec<u8>, CriError> {
        let snapshot = read(shared).await?;
        let now = i64::try_from(snapshot.now.as_nanosecond()).unwrap_or(i64::MAX);
        self.forget_before(now);
        let mut dom = Dom::new();
        let root = dom.new_map();
        dom.set_root(root);
        let node = dom.ensure_map(root, "node");
        dom.set_str(node, "nodeName", &shared.config.node_name);
        dom.set_str(node, "startTime", &time(boot_time(snapshot.now)));
        let usage = snapshot.node;
        let rate = self.rate("node", usage.cpu_nanoseconds, now);
        cpu(&mut dom, node, usage.cpu_nanoseconds, rate, now);
        let memory = dom.ensure_map(node, "memory");
        dom.set_str(memory, "time", &time(now));
        let whole = u64::try_from(shared.config.memory_bytes).unwrap_or(0);
        for (key, value) in [
            (
                "availableBytes",
                whole.saturating_sub(usage.working_set_bytes),
            ),
            ("usageBytes", usage.memory_bytes),
            ("workingSetBytes", usage.working_set_bytes),
            ("rssBytes", usage.rss_bytes),
        ] {
            set(&mut dom, memory, key, value);
        }
        disk(&mut dom, node, "fs", &shared.config.root, now);
        let runtime = dom.ensure_map(node, "runtime");
        disk(&mut dom, runtime, "imageFs", &shared.config.root, now);
        disk(&mut dom, runtime, "containerFs", &shared.config.root, now);
        let rlimit = dom.ensure_map(node, "rlimit");
        let (used, most) = crate::node::processes();
        dom.set_str(rlimit, "time", &time(now));
        set(&mut dom, rlimit, "maxpid", most);
        set(&mut dom, rlimit, "curproc", used);
        let pods = dom.ensure_list(root, "pods");
        for stats in &snapshot.pods {
            let entry = dom.new_map();
            self.pod(&mut dom, entry, stats, &snapshot);
            dom.push(pods, entry);
        }
        Ok(dom.to_json(root))
    }

    fn pod(&self, dom: &mut Dom, entry: Node, stats: &PodSandboxStats, snapshot: &Snapshot) {
        let (Some(attributes), Some(linux)) = (&stats.attributes, &stats.linux) else {
            return;
        };
        let reference = dom.ensure_map(entry, "podRef");
        for (key, name) in [
            ("name", label::POD_NAME),
            ("namespace", label::POD_NAMESPACE),
            ("uid", label::POD_UID),
        ] {
            let value = attributes.labels.get(name).map_or("", String::as_str);
            dom.set_str(reference, key, value);
        }
        let ids = linux
            .containers
            .iter()
            .filter_map(|c| c.attributes.as_ref());
        let first = ids
            .filter_map(|a| snapshot.started.get(&a.id))
            .min()
            .copied();
        dom.set_str(entry, "startTime", &time(first.unwrap_or(0)));
        let containers = dom.ensure_list(entry, "containers");
        for container in &linux.containers {
            let Some(attributes) = &container.attributes else {
                continue;
            };
            let one = dom.new_map();
            let name = attributes.metadata.as_ref().map_or("", |m| m.name.as_str());
            dom.set_str(one, "name", name);
            let began = snapshot.started.get(&attributes.id).copied();
            dom.set_str(one, "startTime", &time(began.unwrap_or(0)));
            self.usage(
                dom,
                one,
                &attributes.id,
                container.cpu.as_ref(),
                container.memory.as_ref(),
            );
            if let Some(layer) = &container.writable_layer {
                let rootfs = dom.ensure_map(one, "rootfs");
                dom.set_str(rootfs, "time", &time(layer.timestamp));
                set(dom, rootfs, "usedBytes", number(layer.used_bytes.as_ref()));
                set(
                    dom,
                    rootfs,
                    "inodesUsed",
                    number(layer.inodes_used.as_ref()),
                );
            }
            dom.push(containers, one);
        }
        self.usage(
            dom,
            entry,
            &attributes.id,
            linux.cpu.as_ref(),
            linux.memory.as_ref(),
        );
        if let Some(usage) = &linux.network {
            let network = dom.ensure_map(entry, "network");
            dom.set_str(network, "time", &time(usage.timestamp));
            if let Some(default) = &usage.default_interface {
                interface(dom, network, default);
            }
            let list = dom.ensure_list(network, "interfaces");
            for one in &usage.interfaces {
                let item = dom.new_map();
                interface(dom, item, one);
                dom.push(list, item);
            }
        }
        if let Some(process) = &linux.process {
            let part = dom.ensure_map(entry, "process_stats");
            set(
                dom,
                part,
                "process_count",
                number(process.process_count.as_ref()),
            );
        }
    }

    fn usage(
        &self,
        dom: &mut Dom,
        entry: Node,
        id: &str,
        processor: Option<&CpuUsage>,
        usage: Option<&MemoryUsage>,
    ) {
        if let Some(processor) = processor {
            let (used, at) = cpu_of(processor);
            let rate = self.rate(id, used, at);
            cpu(dom, entry, used, rate, at);
        }
        if let Some(usage) = usage {
            let memory = dom.ensure_map(entry, "memory");
            dom.set_str(memory, "time", &time(usage.timestamp));
            for (key, value) in [
                ("availableBytes", &usage.available_bytes),
                ("usageBytes", &usage.usage_bytes),
                ("workingSetBytes", &usage.working_set_bytes),
                ("rssBytes", &usage.rss_bytes),
                ("pageFaults", &usage.page_faults),
                ("majorPageFaults", &usage.major_page_faults),
            ] {
                if let Some(value) = value {
                    set(dom, memory, key, value.value);
                }
            }
        }
    }
}

fn cpu(dom: &mut Dom, entry: Node, used: u64, rate: Option<u64>, at: i64) {
    let part = dom.ensure_map(entry, "cpu");
    dom.set_str(part, "time", &time(at));
    if let Some(rate) = rate {
        set(dom, part, "usageNanoCores", rate);
    }
    set(dom, part, "usageCoreNanoSeconds", used);
}

fn interface(dom: &mut Dom, into: Node, one: &nodeapi::cri::NetworkInterfaceUsage) {
    dom.set_str(into, "name", &one.name);
    for (key, value) in [
        ("rxBytes", &one.rx_bytes),
        ("rxErrors", &one.rx_errors),
        ("txBytes", &one.tx_bytes),
        ("txErrors", &one.tx_errors),
    ] {
        set(dom, into, key, number(value.as_ref()));
    }
}

fn disk(dom: &mut Dom, into: Node, key: &str, path: &std::path::Path, at: i64) {
    let Ok(disk) = rustix::fs::statvfs(path) else {
        return;
    };
    let part = dom.ensure_map(into, key);
    dom.set_str(part, "time", &time(at));
    for (key, value) in [
        ("availableBytes", disk.f_bavail * disk.f_frsize),
        ("capacityBytes", disk.f_blocks * disk.f_frsize),
        ("usedBytes", (disk.f_blocks - disk.f_bfree) * disk.f_frsize),
        ("inodesFree", disk.f_ffree),
        ("inodes", disk.f_files),
        ("inodesUsed", disk.f_files - disk.f_ffree),
    ] {
        set(dom, part, key, value);
    }
}

fn set(dom: &mut Dom, into: Node, key: &str, value: u64) {
    dom.set_int(into, key, i64::try_from(value).unwrap_or(i64::MAX));
}

fn time(nanoseconds: i64) -> String {
    let at = jiff::Timestamp::from_nanosecond(i128::from(nanoseconds));
    api::time::format_seconds(at.unwrap_or_default())
}

fn boot_time(now: jiff::Timestamp) -> i64 {
    let up = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let up = up
        .split('.')
        .next()
        .and_then(|text| text.parse::<i64>().ok());
    let began = now.as_second() - up.unwrap_or(0);
    began.saturating_mul(1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use nodeapi::cri::{ContainerAttributes, ContainerMetadata, ContainerStats};
    use nodeapi::cri::{LinuxPodSandboxStats, PodSandboxAttributes};

    #[test]
    fn resource_metrics_as_upstream_names_them() {
        let value = |value| Some(UInt64Value { value });
        let cpu = |used| {
            Some(CpuUsage {
                timestamp: 5_000_000_000,
                usage_core_nano_seconds: value(used),
                ..CpuUsage::default()
            })
        };
        let labels = [(label::POD_NAME, "web"), (label::POD_NAMESPACE, "shop")];
        let snapshot = Snapshot {
            now: jiff::Timestamp::from_second(6).unwrap(),
            node: Usage {
                cpu_nanoseconds: 7_500_000_000,
                working_set_bytes: 99,
                ..Usage::default()
            },
            pods: vec![PodSandboxStats {
                attributes: Some(PodSandboxAttributes {
                    labels: labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
                    ..PodSandboxAttributes::default()
                }),
                linux: Some(LinuxPodSandboxStats {
                    cpu: cpu(2_000_000_000),
                    containers: vec![ContainerStats {
                        attributes: Some(ContainerAttributes {
                            id: "x".to_owned(),
                            metadata: Some(ContainerMetadata {
                                name: "c".to_owned(),
                                attempt: 0,
                            }),
                            ..ContainerAttributes::default()
                        }),
                        cpu: cpu(1_250_000_000),
                        ..ContainerStats::default()
                    }],
                    ..LinuxPodSandboxStats::default()
                }),
                windows: None,
            }],
            started: HashMap::from([("x".to_owned(), 3_000_000_000)]),
        };
        let text = render(&snapshot);
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with("# HELP"))
            .collect();
        expect![[r#"
            # TYPE container_cpu_usage_seconds_total counter
            container_cpu_usage_seconds_total{container="c",namespace="shop",pod="web"} 1.25 5000
            # TYPE container_start_time_seconds gauge
            container_start_time_seconds{container="c",namespace="shop",pod="web"} 3 3000
            # TYPE node_cpu_usage_seconds_total counter
            node_cpu_usage_seconds_total 7.5 6000
            # TYPE node_memory_working_set_bytes gauge
            node_memory_working_set_bytes 99 6000
            # TYPE pod_cpu_usage_seconds_total counter
            pod_cpu_usage_seconds_total{namespace="shop",pod="web"} 2 5000
            # TYPE resource_scrape_error gauge
            resource_scrape_error 0"#]]
        .assert_eq(&lines.join("\n"));
    }

    #[test]
    fn rates_need_a_second() {
        let stats = Stats::default();
        let second = 1_000_000_000;
        assert_eq!(stats.rate("a", 0, second), None);
        assert_eq!(stats.rate("a", 5, second + 1), None);
        assert_eq!(
            stats.rate("a", second as u64, 3 * second),
            Some(500_000_000)
        );
        assert_eq!(stats.rate("a", 2, 3 * second + 5), Some(500_000_000));
        stats.forget_before(1_000 * second);
        assert_eq!(stats.rate("a", 0, 1_000 * second), None);
    }
}
