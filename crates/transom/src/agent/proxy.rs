//! The node's service proxy: its identity and what it must know of the node.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use ::proxy::{NodeFacts, Parts, Proxy};
use anyhow::{Context as _, Result};
use base::{Clock, Shutdown};
use bootstrap::config::AgentConfig;
use client::Recorder;

use super::connection::connect;

/// Starts the proxy; a node without an identity for it has none (another one is at work there).
pub(super) fn start(
    config: &AgentConfig,
    ca: &[u8],
    clock: &Arc<dyn Clock>,
    shutdown: &Shutdown,
) -> Result<()> {
    let (Some(certificate), Some(key)) = (&config.proxy_cert_file, &config.proxy_key_file) else {
        return Ok(());
    };
    let client = connect(config, ca, certificate, key, "kube-proxy")?;
    let recorder = Recorder::start(
        client.clone(),
        "kube-proxy",
        &config.node_name,
        clock.clone(),
        shutdown,
    );
    let parts = Parts {
        client,
        node: NodeFacts {
            name: config.node_name.clone(),
            zone: String::new(),
            addresses: config.node_addresses.clone(),
            pod_ranges: config.cluster_pod_ranges.clone(),
            service_ranges: config.service_ranges.clone(),
        },
        ipv6: has_ipv6(config),
        recorder,
    };
    Proxy::start(parts, shutdown).context("start the service proxy")?;
    Ok(())
}

/// The kernel has IPv6 and the node or its Services an address of it.
fn has_ipv6(config: &AgentConfig) -> bool {
    let services = config.service_ranges.iter().map(|range| range.addr());
    let mut all = config.node_addresses.iter().copied().chain(services);
    all.any(|address: IpAddr| address.is_ipv6()) && Path::new("/proc/net/if_inet6").exists()
}
