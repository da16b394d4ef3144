//! The CNI seam: what the runtime asks of a network, in process or by exec.
//!
//! Owns request and result; knows neither netlink nor plugin binaries. Ours implements [`Cni`] in
//! process; a third party's plugin is called by an implementation that writes the JSON.
//! Source: CNI specification 1.1 (ADD, DEL, CHECK); kubernetes v1.36 hostPort rules.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;

/// Transport protocol of a host port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Protocol {
    /// TCP, the default.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// A port of the node that leads into the pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortMapping {
    /// Port on the node.
    pub host_port: u16,
    /// Port in the pod.
    pub container_port: u16,
    /// Protocol of both.
    pub protocol: Protocol,
    /// Address of the node; `None` for all of them.
    pub host_ip: Option<IpAddr>,
}

/// ADD, DEL and CHECK of one sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AddRequest {
    /// Id of the sandbox (CNI_CONTAINERID).
    pub sandbox_id: String,
    /// The network namespace, as a path that stays (CNI_NETNS).
    pub netns: PathBuf,
    /// Name of the interface in the sandbox (CNI_IFNAME); empty means `eth0`.
    pub interface: String,
    /// The pod's namespace.
    pub pod_namespace: String,
    /// The pod's name.
    pub pod_name: String,
    /// The pod's uid.
    pub pod_uid: String,
    /// Host ports.
    pub ports: Vec<PortMapping>,
    /// Limits in bits per second towards the pod and out of it.
    pub bandwidth: Bandwidth,
}

/// Traffic limits from the pod's annotations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bandwidth {
    /// Bits per second into the pod.
    pub ingress_bits: Option<u64>,
    /// Bits per second out of the pod.
    pub egress_bits: Option<u64>,
}

/// A route in the sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Destination.
    pub destination: IpNet,
    /// Next hop; `None` for a link route.
    pub gateway: Option<IpAddr>,
}

/// Name resolution that the network offers; the kubelet's choice wins.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dns {
    /// Servers.
    pub nameservers: Vec<IpAddr>,
    /// Search domains.
    pub search: Vec<String>,
}

/// What ADD made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CniResult {
    /// Addresses of the sandbox, the primary one first.
    pub ips: Vec<IpNet>,
    /// Default gateway.
    pub gateway: Option<IpAddr>,
    /// Routes in the sandbox.
    pub routes: Vec<Route>,
    /// Name resolution.
    pub dns: Dns,
    /// Hardware address of the interface.
    pub mac: Option<[u8; 6]>,
}

/// Why the network did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum CniError {
    /// The network is not there yet (no pod range, no configuration): ask again.
    #[error("network is not ready: {0}")]
    NotReady(String),
    /// No address is free.
    #[error("no free address in {0}")]
    Exhausted(String),
    /// Another pod of the node has this host port.
    #[error("host port {port} is in use by sandbox {holder}")]
    PortTaken {
        /// The port.
        port: u16,
        /// Who has it.
        holder: String,
    },
    /// CHECK found a difference.
    #[error("sandbox {sandbox_id} is not as it was set up: {difference}")]
    Changed {
        /// The sandbox.
        sandbox_id: String,
        /// What differs.
        difference: String,
    },
    /// A step failed.
    #[error("{operation} for sandbox {sandbox_id}")]
    Failed {
        /// What was tried.
        operation: String,
        /// For which sandbox.
        sandbox_id: String,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A pod network. Every call is idempotent: a second ADD answers as the first, DEL of what is
/// gone succeeds.
#[async_trait::async_trait]
pub trait Cni: Send + Sync + 'static {
    /// Connects a sandbox.
    async fn add(&self, request: AddRequest) -> Result<CniResult, CniError>;
    /// Disconnects it and gives its addresses back; works without the namespace.
    async fn del(&self, request: AddRequest) -> Result<(), CniError>;
    /// Compares what is there with what ADD made.
    async fn check(&self, request: AddRequest) -> Result<(), CniError>;
    /// Whether ADD can work now (STATUS of CNI 1.1); the node's NetworkReady condition.
    async fn status(&self) -> Result<(), CniError>;
}
