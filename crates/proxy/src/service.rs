//! The facts of one Service that matter to a node.
//!
//! Headless Services and those of type ExternalName have none. Addresses stay in both families;
//! the plan of a family takes its own.
//! Source: kubernetes v1.36 pkg/proxy/serviceport.go (newBaseServiceInfo), pkg/proxy/util
//! (ShouldSkipService, IsVIPMode), pkg/api/v1/service (ExternalPolicyLocal, NeedsHealthCheck).

use std::net::IpAddr;

use api::view;
use ipnet::IpNet;

use crate::rules::Protocol;

/// Upstream's default of `sessionAffinityConfig.clientIP.timeoutSeconds`.
const AFFINITY_SECONDS: u32 = 10_800;

/// Which endpoints traffic may go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// All of the cluster.
    #[default]
    Cluster,
    /// Those of this node.
    Local,
}

/// Whether a client stays with its endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Affinity {
    /// Each connection for itself.
    #[default]
    None,
    /// By source address, until this many seconds without a new connection.
    ClientIp(u32),
}

/// One port of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its name; empty for the only one.
    pub name: String,
    /// Its protocol.
    pub protocol: Protocol,
    /// The port at the Service's addresses.
    pub port: u16,
    /// The port at the node's addresses; 0 means none.
    pub node_port: u16,
}

/// See the module's header.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Service {
    /// Cluster addresses, at most one a family.
    pub cluster_ips: Vec<IpAddr>,
    /// `spec.externalIPs`.
    pub external_ips: Vec<IpAddr>,
    /// Addresses of the load balancer that reach the node as they are.
    pub balancer_ips: Vec<IpAddr>,
    /// Who may use the load balancer's addresses; empty means everyone.
    pub source_ranges: Vec<IpNet>,
    /// Ports.
    pub ports: Vec<Port>,
    /// For traffic to cluster addresses.
    pub internal: Policy,
    /// For traffic to all others.
    pub external: Policy,
    /// Session affinity.
    pub affinity: Affinity,
    /// Port of the node that says how many endpoints it has; 0 means none.
    pub health_port: u16,
}

impl Service {
    /// Reads the object; `None` when nodes have nothing to do for it.
    #[must_use]
    pub fn read(object: view::Service<'_>) -> Option<Self> {
        let spec = object.spec();
        let kind = spec.type_();
        if kind == "ExternalName" || matches!(spec.cluster_ip(), "" | "None") {
            return None;
        }
        let mut cluster_ips: Vec<IpAddr> = spec.cluster_ips().filter_map(address).collect();
        if cluster_ips.is_empty() {
            cluster_ips.extend(address(spec.cluster_ip()));
        }
        let external_ips: Vec<IpAddr> = spec.external_ips().filter_map(address).collect();
        let ingress = object.status().load_balancer().ingress();
        let balancer_ips = ingress
            .filter(|ingress| ingress.ip_mode().is_none_or(|mode| mode == "VIP"))
            .filter_map(|ingress| address(ingress.ip()))
            .collect();
        let accessible = matches!(kind, "LoadBalancer" | "NodePort") || !external_ips.is_empty();
        let external = if accessible && spec.external_traffic_policy() == "Local" {
            Policy::Local
        } else {
            Policy::Cluster
        };
        let affinity = if spec.session_affinity() == "ClientIP" {
            let config = spec.session_affinity_config();
            let seconds = config
                .and_then(|config| config.client_ip())
                .and_then(|client| client.timeout_seconds())
                .and_then(|seconds| u32::try_from(seconds).ok())
                .filter(|seconds| *seconds > 0);
            Affinity::ClientIp(seconds.unwrap_or(AFFINITY_SECONDS))
        } else {
            Affinity::None
        };
        let health = kind == "LoadBalancer" && external == Policy::Local;
        Some(Self {
            cluster_ips,
            external_ips,
            balancer_ips,
            source_ranges: spec
                .load_balancer_source_ranges()
                .filter_map(|range| range.trim().parse().ok())
                .collect(),
            ports: spec.ports().filter_map(port).collect(),
            internal: match spec.internal_traffic_policy() {
                Some("Local") => Policy::Local,
                _ => Policy::Cluster,
            },
            external,
            affinity,
            health_port: if health {
                number(spec.health_check_node_port()).unwrap_or(0)
            } else {
                0
            },
        })
    }

    /// Whether anything but a cluster address leads to this port.
    pub(crate) fn is_external(&self, port: &Port, ipv4: bool) -> bool {
        port.node_port != 0 || self.external_addresses(ipv4).next().is_some()
    }

    /// External and load balancer addresses of a family.
    pub(crate) fn external_addresses(&self, ipv4: bool) -> impl Iterator<Item = IpAddr> {
        let all = self.external_ips.iter().chain(&self.balancer_ips).copied();
        all.filter(move |address| address.is_ipv4() == ipv4)
    }
}

fn port(port: view::ServicePort<'_>) -> Option<Port> {
    Some(Port {
        name: port.name().to_owned(),
        protocol: Protocol::read(port.protocol())?,
        port: number(port.port())?,
        node_port: number(port.node_port()).unwrap_or(0),
    })
}

fn number(value: i64) -> Option<u16> {
    u16::try_from(value).ok().filter(|value| *value != 0)
}

fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}
