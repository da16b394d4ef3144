//! What a kubelet is told at its start.

use std::net::IpAddr;
use std::path::PathBuf;

use nodeapi::cri::DnsConfig;

/// See the fields.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of the Node object.
    pub node_name: String,
    /// The node's addresses, the main one first.
    pub addresses: Vec<IpAddr>,
    /// Host name.
    pub hostname: String,
    /// Volumes, termination messages, hosts files: `/var/lib/kubelet`.
    pub root: PathBuf,
    /// Logs of containers: `/var/log/pods`.
    pub logs: PathBuf,
    /// Addresses of the cluster's DNS service.
    pub cluster_dns: Vec<String>,
    /// `cluster.local`.
    pub cluster_domain: String,
    /// The node's own name resolution.
    pub host_dns: DnsConfig,
    /// How many pods the node takes.
    pub max_pods: u32,
    /// Port of the kubelet's server.
    pub port: u16,
    /// Further labels of the Node object.
    pub labels: Vec<(String, String)>,
    /// Parent of all pods' control groups.
    pub cgroup_root: String,
    /// The node's range of pod addresses, told to the API when the node registers.
    pub pod_cidr: String,
    /// `v1.36.3+transom…`, as the API server reports it.
    pub version: String,
    /// CPU of the node.
    pub millicores: i64,
    /// Memory of the node.
    pub memory_bytes: i64,
}

impl Config {
    /// The pod's folder.
    pub(crate) fn pod_dir(&self, uid: &str) -> PathBuf {
        self.root.join("pods").join(uid)
    }

    /// The folder of a pod's logs.
    pub(crate) fn pod_logs(&self, namespace: &str, name: &str, uid: &str) -> PathBuf {
        self.logs.join(format!("{namespace}_{name}_{uid}"))
    }
}
