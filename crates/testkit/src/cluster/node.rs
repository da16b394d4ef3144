//! One simulated node: its runtime, its link to the API server, and the kubelet's present life.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use base::{Clock, Shutdown};
use client::{Client, Recorder};
use kubelet::{Kubelet, Machine, Parts};
use nodeapi::cri::DnsConfig;

use crate::FakeRuntime;
use crate::cluster::SimCluster;
use crate::link::Link;

/// CPU of every node.
pub(super) const MILLICORES: i64 = 4000;
/// Memory of every node.
pub(super) const MEMORY_BYTES: i64 = 8 << 30;
/// Pods of every node.
pub(super) const MAX_PODS: u32 = 110;

pub(super) struct SimNode {
    config: kubelet::Config,
    pub(super) runtime: FakeRuntime,
    pub(super) link: Link,
    life: Option<Shutdown>,
}

impl SimNode {
    pub(super) fn new(cluster: &SimCluster, name: &str, number: usize) -> Result<Self> {
        let root = cluster.folder.path().join(name);
        std::fs::create_dir_all(&root).with_context(|| format!("create {}", root.display()))?;
        let identity = format!("system:node:{name}");
        let octet = u8::try_from(number + 10).context("too many nodes")?;
        Ok(Self {
            runtime: FakeRuntime::new(
                name,
                number,
                cluster.options.seed,
                cluster.options.latency,
                cluster.clock.clone(),
                cluster.trace.clone(),
                cluster.shutdown.clone(),
            ),
            link: cluster.control.link(&identity, &["system:nodes"], true),
            life: None,
            config: kubelet::Config {
                node_name: name.to_owned(),
                addresses: vec![std::net::IpAddr::from([192, 168, 0, octet])],
                hostname: name.to_owned(),
                logs: root.join("logs"),
                root: root.join("kubelet"),
                cluster_dns: vec!["10.96.0.10".to_owned()],
                cluster_domain: "cluster.local".to_owned(),
                host_dns: DnsConfig::default(),
                max_pods: MAX_PODS,
                port: 10250,
                labels: Vec::new(),
                cgroup_root: "/kubepods".to_owned(),
                pod_cidr: format!("10.244.{number}.0/24"),
                version: "v1.36.3".to_owned(),
                millicores: MILLICORES,
                memory_bytes: MEMORY_BYTES,
            },
        })
    }

    pub(super) fn runs(&self) -> bool {
        self.life.is_some()
    }

    pub(super) fn start(&mut self, client: Client, clock: Arc<dyn Clock>) {
        self.kill();
        let life = Shutdown::new();
        let name = &self.config.node_name;
        let recorder = Recorder::start(client.clone(), "kubelet", name, clock.clone(), &life);
        let runtime = Arc::new(self.runtime.clone());
        Kubelet::start_on(
            Machine::Simulated,
            Parts {
                config: self.config.clone(),
                client,
                runtime: runtime.clone(),
                images: runtime.clone(),
                streams: runtime,
                recorder,
                clock,
            },
            &life,
        );
        self.life = Some(life);
    }

    pub(super) fn kill(&mut self) {
        if let Some(life) = self.life.take() {
            life.trigger();
        }
    }
}

impl Drop for SimNode {
    fn drop(&mut self) {
        self.kill();
    }
}
