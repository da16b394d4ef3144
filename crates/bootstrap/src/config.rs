//! Configuration files of `transom server` and `transom agent`: YAML, unknown fields refused.
//!
//! `up` writes them for local clusters; people write them for production nodes. Defaults are
//! Kubernetes' own. Nothing here opens sockets or files other than the configuration itself.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::files;

/// What the control-plane process reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ServerConfig {
    /// Name of the cluster.
    pub cluster_name: String,
    /// Folder of the store and everything else the server writes.
    pub data_dir: PathBuf,
    /// Folder of keys and certificates, kubeadm's file names (`certs::FILES`).
    pub pki_dir: PathBuf,
    /// Addresses to serve the API on.
    pub listen: Vec<SocketAddr>,
    /// The address under which pods and nodes reach the API: the endpoint of the `kubernetes`
    /// Service. Never loopback.
    pub advertise: SocketAddr,
    /// Ranges of pod addresses, one a family.
    pub pod_ranges: Vec<IpNet>,
    /// Ranges of Service addresses, one a family.
    pub service_ranges: Vec<IpNet>,
    /// Length of a node's share of an IPv4 pod range.
    #[serde(default = "mask_v4")]
    pub node_mask_v4: u8,
    /// Length of a node's share of an IPv6 pod range.
    #[serde(default = "mask_v6")]
    pub node_mask_v6: u8,
    /// Nodes whose pod ranges are settled in advance.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeRanges>,
    /// DNS domain of the cluster.
    #[serde(default = "domain")]
    pub cluster_domain: String,
    /// Address of the cluster's DNS Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_dns: Option<IpAddr>,
    /// Issuer of service-account tokens.
    #[serde(default = "issuer")]
    pub service_account_issuer: String,
    /// Filter of the log, as in TRANSOM_LOG.
    #[serde(default = "info")]
    pub log: String,
}

/// A node's pod ranges, settled before it registers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NodeRanges {
    /// Name of the Node object.
    pub name: String,
    /// Its `spec.podCIDRs`.
    pub pod_ranges: Vec<IpNet>,
}

/// What the node process reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AgentConfig {
    /// Name of the cluster.
    pub cluster_name: String,
    /// Name of the Node object.
    pub node_name: String,
    /// Address of the API.
    pub server: SocketAddr,
    /// The cluster CA's certificate.
    pub ca_file: PathBuf,
    /// Client certificate of `system:node:NAME`.
    pub client_cert_file: PathBuf,
    /// Its key.
    pub client_key_file: PathBuf,
    /// Serving certificate of the kubelet API.
    pub serving_cert_file: PathBuf,
    /// Its key.
    pub serving_key_file: PathBuf,
    /// The node's addresses, the primary one first.
    pub node_addresses: Vec<IpAddr>,
    /// Port of the kubelet API.
    #[serde(default = "kubelet_port")]
    pub kubelet_port: u16,
    /// Pod ranges settled in advance: registered as `spec.podCIDRs` and used at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pod_ranges: Vec<IpNet>,
    /// All pod ranges of the cluster: traffic within them is not masqueraded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cluster_pod_ranges: Vec<IpNet>,
    /// Ranges of Service addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub service_ranges: Vec<IpNet>,
    /// DNS domain of the cluster.
    #[serde(default = "domain")]
    pub cluster_domain: String,
    /// Address of the cluster's DNS Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_dns: Option<IpAddr>,
    /// Client certificate of the service proxy; absent: the node translates no Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_cert_file: Option<PathBuf>,
    /// Its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_key_file: Option<PathBuf>,
    /// Client certificate of the node's DNS; absent: the node serves none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns_cert_file: Option<PathBuf>,
    /// Its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns_key_file: Option<PathBuf>,
    /// What `/etc/resolv.conf` means in the Corefile: the resolvers that names outside the cluster
    /// are asked of, from `host_network`.
    #[serde(default = "resolv_conf")]
    pub resolv_conf: PathBuf,
    /// Folder of images, containers and the agent's own state.
    #[serde(default = "data_dir")]
    pub data_dir: PathBuf,
    /// Folder of pods' volumes, `/var/lib/kubelet` as people expect it.
    #[serde(default = "kubelet_dir")]
    pub kubelet_dir: PathBuf,
    /// Folder of pods' logs.
    #[serde(default = "log_dir")]
    pub pod_log_dir: PathBuf,
    /// Sockets and other things that a reboot may drop.
    #[serde(default = "run_dir")]
    pub run_dir: PathBuf,
    /// Group under which pods' control groups are made, as the agent sees it.
    #[serde(default = "cgroup_root")]
    pub cgroup_root: String,
    /// A namespace file whose sockets pull images and forward DNS; the agent's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_network: Option<PathBuf>,
    /// Keep routes to the pods of other nodes, which must share a link with this one. Off on
    /// local nodes, whose hub has them.
    #[serde(default = "yes")]
    pub node_routes: bool,
    /// Pods leave under the node's address. Off on local nodes, where the host does that.
    #[serde(default = "yes")]
    pub masquerade: bool,
    /// MTU of pods' links; the kernel's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_mtu: Option<u32>,
    /// Labels that the node registers with, `key=value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// Largest number of pods.
    #[serde(default = "max_pods")]
    pub max_pods: u32,
    /// Delete unused images when the disk runs full. Off on local nodes, which share a disk.
    #[serde(default = "yes")]
    pub image_collection: bool,
    /// Filter of the log, as in TRANSOM_LOG.
    #[serde(default = "info")]
    pub log: String,
}

impl ServerConfig {
    /// Reads and checks a server's configuration.
    pub fn load(path: &Path) -> Result<Self, Error> {
        load(path, "server configuration")
    }

    /// Writes it for the server.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        save(self, path, "server configuration")
    }
}

impl AgentConfig {
    /// Reads and checks an agent's configuration.
    pub fn load(path: &Path) -> Result<Self, Error> {
        load(path, "agent configuration")
    }

    /// Writes it for the agent.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        save(self, path, "agent configuration")
    }
}

fn load<T: DeserializeOwned>(path: &Path, kind: &'static str) -> Result<T, Error> {
    let text = std::fs::read_to_string(path).map_err(Error::file("read", path))?;
    parse(&text).map_err(|cause| Error::Content {
        kind,
        path: path.to_owned(),
        cause,
    })
}

pub(crate) fn parse<T: DeserializeOwned>(
    text: &str,
) -> Result<T, Box<dyn std::error::Error + Send + Sync>> {
    serde_saphyr::from_str(text).map_err(|error| {
        let text = error.to_string();
        text.strip_prefix("error: ").unwrap_or(&text).into()
    })
}

fn save<T: Serialize>(value: &T, path: &Path, kind: &'static str) -> Result<(), Error> {
    let text = serde_saphyr::to_string(value).map_err(|error| Error::Content {
        kind,
        path: path.to_owned(),
        cause: error.to_string().into(),
    })?;
    files::write(path, text.as_bytes(), 0o644)
}

fn mask_v4() -> u8 {
    24
}
fn mask_v6() -> u8 {
    64
}
fn domain() -> String {
    "cluster.local".to_owned()
}
fn issuer() -> String {
    "https://kubernetes.default.svc.cluster.local".to_owned()
}
fn info() -> String {
    "info".to_owned()
}
fn resolv_conf() -> PathBuf {
    "/etc/resolv.conf".into()
}
fn kubelet_port() -> u16 {
    10250
}
fn data_dir() -> PathBuf {
    "/var/lib/transom".into()
}
fn kubelet_dir() -> PathBuf {
    "/var/lib/kubelet".into()
}
fn log_dir() -> PathBuf {
    "/var/log/pods".into()
}
fn run_dir() -> PathBuf {
    "/run/transom".into()
}
fn cgroup_root() -> String {
    "/".to_owned()
}
fn max_pods() -> u32 {
    110
}
fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests;
