//! `Network`: the CNI implementation of a node, over addresses (`ipam`) and wires (`link`).
//!
//! Calls run on blocking threads, one at a time: an ADD takes about a millisecond. Every call is
//! idempotent. After a restart the agent calls `reconcile` with the sandboxes that live.

use std::collections::HashSet;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::Chain;
use ipnet::IpNet;
use netlink::rt::Prefix;
use netlink::{Handle, Namespace};
use nodeapi::cni::{AddRequest, Cni, CniError, CniResult, Dns, Route};
use parking_lot::Mutex;

use crate::host_ports::{HostPortError, HostPorts};
use crate::ipam::{Ipam, IpamError};
use crate::link::{self, LinkError, Wires};
use crate::masquerade;
use crate::sources;
use crate::sysctl;

const RANGES: &str = "ranges";

/// Where a node's network keeps its state, and its properties.
#[derive(Debug, Clone)]
pub struct Config {
    /// Folder of the node's network state, e.g. `/var/lib/transom/network`.
    pub folder: PathBuf,
    /// The node's pod ranges, when known from the start; else `set_ranges` brings them.
    pub ranges: Vec<IpNet>,
    /// MTU of pod links; the kernel's default when absent.
    pub mtu: Option<u32>,
    /// Pods leave under the node's address, except towards these ranges of the cluster. Absent:
    /// someone else sees to that.
    pub masquerade: Option<Vec<IpNet>>,
}

/// Why a node's network could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The reservations.
    #[error("open address reservations")]
    Ipam(#[from] IpamError),
    /// The ports of the node that lead into pods.
    #[error("open host ports")]
    HostPorts(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Kernel settings or routes.
    #[error("prepare the node for routing")]
    Prepare(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The ranges' file.
    #[error("{operation} {}", path.display())]
    File {
        /// The operation.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
}

/// The network of one node. Works in the network namespace of the process that opens it.
#[derive(Debug, Clone)]
pub struct Network {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    mtu: Option<u32>,
    masquerade: Option<Vec<IpNet>>,
    node: Namespace,
    ipam: Mutex<Ipam>,
    host_ports: Mutex<HostPorts>,
}

impl Network {
    /// Opens the state and prepares the node: forwarding on, no route in circles.
    pub fn open(config: Config) -> Result<Self, OpenError> {
        let mut ipam = Ipam::open(&config.folder.join("addresses"))?;
        let ranges = match config.ranges.is_empty() {
            true => read_ranges(&config.folder)?,
            false => config.ranges,
        };
        ipam.set_ranges(ranges.clone());
        let node = Namespace::current().map_err(prepare)?;
        let host_ports =
            HostPorts::open(&config.folder).map_err(|e| OpenError::HostPorts(Box::new(e)))?;
        let shared = Shared {
            folder: config.folder,
            mtu: config.mtu,
            masquerade: config.masquerade,
            node,
            ipam: Mutex::new(ipam),
            host_ports: Mutex::new(host_ports),
        };
        let network = Self {
            shared: Arc::new(shared),
        };
        network.prepare(&ranges)?;
        Ok(network)
    }

    /// The network namespace of the node.
    pub(crate) fn namespace(&self) -> &Namespace {
        &self.shared.node
    }

    fn prepare(&self, ranges: &[IpNet]) -> Result<(), OpenError> {
        let settings = || -> Result<(), sysctl::SysctlError> {
            sysctl::set("ipv4/ip_forward", "1")?;
            if ranges.iter().any(|range| matches!(range, IpNet::V6(_))) {
                sysctl::set("ipv6/conf/all/forwarding", "1")?;
            }
            Ok(())
        };
        self.shared
            .node
            .run(settings)
            .map_err(prepare)?
            .map_err(prepare)?;
        let mut node = Handle::open_in(self.shared.node.as_fd()).map_err(prepare)?;
        for range in ranges {
            let range = Prefix::new(range.network(), range.prefix_len());
            link::refuse_rest(&mut node, range).map_err(prepare)?;
        }
        if ranges.iter().any(|range| matches!(range, IpNet::V6(_))) {
            sources::guard(&self.shared.node).map_err(prepare)?;
        }
        if let Some(cluster) = &self.shared.masquerade {
            masquerade::set(&self.shared.node, ranges, cluster).map_err(prepare)?;
        }
        Ok(())
    }

    /// Takes over the ranges of the Node object (`spec.podCIDRs`) and remembers them on disk.
    pub fn set_ranges(&self, ranges: Vec<IpNet>) -> Result<(), OpenError> {
        let mut ipam = self.shared.ipam.lock();
        if ipam.ranges() == ranges {
            return Ok(());
        }
        let text: String = ranges.iter().map(|range| format!("{range}\n")).collect();
        let path = self.shared.folder.join(RANGES);
        let temporary = self.shared.folder.join(".ranges");
        let failed = |operation| {
            let path = path.clone();
            move |cause| OpenError::File {
                operation,
                path,
                cause,
            }
        };
        std::fs::write(&temporary, text).map_err(failed("write"))?;
        std::fs::rename(&temporary, &path).map_err(failed("rename to"))?;
        self.prepare(&ranges)?;
        ipam.set_ranges(ranges);
        Ok(())
    }

    /// Gives back what no live sandbox owns: addresses and links. Called once after a restart,
    /// before the first ADD. Returns the ids that were dropped.
    pub async fn reconcile(&self, live: HashSet<String>) -> Result<Vec<String>, CniError> {
        self.blocking("reconcile", String::new(), move |shared| {
            let mut ipam = shared.ipam.lock();
            let mut node = Handle::open_in(shared.node.as_fd())?;
            let gone: Vec<String> = ipam
                .sandboxes()
                .filter(|sandbox| !live.contains(*sandbox))
                .map(str::to_owned)
                .collect();
            for (index, sandbox) in link::near_ends(&mut node)? {
                if !live.contains(&sandbox) {
                    netlink::ignore_not_found(node.delete_link(index))?;
                }
            }
            for sandbox in &gone {
                ipam.release(sandbox)?;
            }
            let mut host_ports = shared.host_ports.lock();
            host_ports.keep(&shared.node, |sandbox| live.contains(sandbox))?;
            Ok(gone)
        })
        .await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        operation: &'static str,
        sandbox_id: String,
        work: impl FnOnce(&Shared) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, CniError> {
        let shared = Arc::clone(&self.shared);
        let outcome = tokio::task::spawn_blocking(move || work(&shared)).await;
        let failed = |cause: Box<dyn std::error::Error + Send + Sync>| CniError::Failed {
            operation: format!("{operation} network"),
            sandbox_id: sandbox_id.clone(),
            cause,
        };
        match outcome {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(Failure::Ipam(IpamError::NoRange))) => {
                Err(CniError::NotReady(IpamError::NoRange.to_string()))
            }
            Ok(Err(Failure::Ipam(IpamError::Exhausted(range)))) => {
                Err(CniError::Exhausted(range.to_string()))
            }
            Ok(Err(Failure::HostPorts(HostPortError::Taken { port, holder }))) => {
                Err(CniError::PortTaken { port, holder })
            }
            Ok(Err(Failure::Changed(difference))) => Err(CniError::Changed {
                sandbox_id,
                difference,
            }),
            Ok(Err(failure)) => Err(failed(Box::new(failure))),
            Err(join) => Err(failed(Box::new(join))),
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Ipam(#[from] IpamError),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
    #[error(transparent)]
    HostPorts(#[from] HostPortError),
    #[error(transparent)]
    Sysctl(#[from] sysctl::SysctlError),
    #[error("{0}")]
    Changed(String),
}

fn interface(request: &AddRequest) -> &str {
    if request.interface.is_empty() {
        "eth0"
    } else {
        &request.interface
    }
}

#[async_trait::async_trait]
impl Cni for Network {
    async fn add(&self, request: AddRequest) -> Result<CniResult, CniError> {
        let sandbox = request.sandbox_id.clone();
        self.blocking("add", sandbox, move |shared| {
            let pod = Namespace::open(&request.netns)?;
            let mut ipam = shared.ipam.lock();
            let known = ipam.get(&request.sandbox_id).is_some();
            let note = format!("{}/{}", request.pod_namespace, request.pod_name);
            let addresses = ipam.reserve(&request.sandbox_id, &note)?;
            let wires = Wires {
                sandbox: &request.sandbox_id,
                interface: interface(&request),
                addresses: &addresses,
                mtu: shared.mtu,
            };
            let connect = || {
                let mut node = Handle::open_in(shared.node.as_fd())?;
                // Kernel settings of the near end are written through /proc/sys of its namespace.
                shared.node.run(|| wires.connect(&mut node, pod.as_fd()))?
            };
            if let Err(error) = connect() {
                if !known && let Err(second) = ipam.release(&request.sandbox_id) {
                    tracing::warn!(err = %Chain(&second), "address stays reserved until DEL");
                }
                return Err(error.into());
            }
            if !request.ports.is_empty() {
                // Who asks the node's loopback is led to the pod over this link.
                let near = link::near_name(&request.sandbox_id);
                let setting = format!("ipv4/conf/{near}/route_localnet");
                shared.node.run(|| sysctl::set(&setting, "1"))??;
            }
            let mut host_ports = shared.host_ports.lock();
            host_ports.add(
                &shared.node,
                &request.sandbox_id,
                &addresses,
                &request.ports,
            )?;
            Ok(result(&addresses))
        })
        .await
    }

    async fn del(&self, request: AddRequest) -> Result<(), CniError> {
        let sandbox = request.sandbox_id.clone();
        self.blocking("delete", sandbox, move |shared| {
            let mut ipam = shared.ipam.lock();
            let mut node = Handle::open_in(shared.node.as_fd())?;
            let mut host_ports = shared.host_ports.lock();
            host_ports.keep(&shared.node, |sandbox| sandbox != request.sandbox_id)?;
            link::disconnect(&mut node, &request.sandbox_id)?;
            ipam.release(&request.sandbox_id)?;
            Ok(())
        })
        .await
    }

    async fn check(&self, request: AddRequest) -> Result<(), CniError> {
        let sandbox = request.sandbox_id.clone();
        self.blocking("check", sandbox, move |shared| {
            let ipam = shared.ipam.lock();
            let Some(addresses) = ipam.get(&request.sandbox_id) else {
                return Err(Failure::Changed("it has no address".to_owned()));
            };
            let wires = Wires {
                sandbox: &request.sandbox_id,
                interface: interface(&request),
                addresses,
                mtu: shared.mtu,
            };
            let pod = Namespace::open(&request.netns)?;
            let mut node = Handle::open_in(shared.node.as_fd())?;
            let found = wires.differences(&mut node, pod.as_fd())?;
            if found.is_empty() {
                Ok(())
            } else {
                Err(Failure::Changed(found.join(", ")))
            }
        })
        .await
    }

    async fn status(&self) -> Result<(), CniError> {
        if self.shared.ipam.lock().ranges().is_empty() {
            return Err(CniError::NotReady(IpamError::NoRange.to_string()));
        }
        Ok(())
    }
}

fn result(addresses: &[std::net::IpAddr]) -> CniResult {
    let routes = addresses.iter().map(|address| {
        let any = if address.is_ipv4() {
            IpNet::V4(Default::default())
        } else {
            IpNet::V6(Default::default())
        };
        Route {
            destination: any,
            gateway: Some(link::gateway_for(address)),
        }
    });
    CniResult {
        ips: addresses
            .iter()
            .map(|address| IpNet::from(*address))
            .collect(),
        gateway: addresses.first().map(link::gateway_for),
        routes: routes.collect(),
        dns: Dns::default(),
        mac: Some(link::far_hardware(addresses)),
    }
}

fn read_ranges(folder: &Path) -> Result<Vec<IpNet>, OpenError> {
    let path = folder.join(RANGES);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text.lines().filter_map(|line| line.parse().ok()).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(cause) => Err(OpenError::File {
            operation: "read",
            path,
            cause,
        }),
    }
}

fn prepare(error: impl std::error::Error + Send + Sync + 'static) -> OpenError {
    OpenError::Prepare(Box::new(error))
}

#[cfg(test)]
mod tests;
