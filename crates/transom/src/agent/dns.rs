//! The node's DNS server: its identity, its addresses, and sockets of the host for names outside
//! the cluster.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use ::dns::{Sockets, SystemSockets};
use anyhow::{Context as _, Result};
use base::{Clock, Rng, Shutdown, tasks};
use bootstrap::config::AgentConfig;
use ipnet::IpNet;
use netlink::Namespace;
use parking_lot::Mutex;
use tokio::net::TcpSocket;

use super::connection::connect;

/// Where DNS listens.
const PORT: u16 = 53;
/// Sockets made in advance: entering a namespace takes a thread, a question does not wait for one.
const READY: usize = 16;

/// Starts the server; a node without an identity for it has none.
pub(super) fn start(
    config: &AgentConfig,
    ca: &[u8],
    clock: &Arc<dyn Clock>,
    shutdown: &Shutdown,
) -> Result<()> {
    let (Some(certificate), Some(key)) = (&config.dns_cert_file, &config.dns_key_file) else {
        return Ok(());
    };
    let client = connect(config, ca, certificate, key, "coredns")?;
    let sockets: Arc<dyn Sockets> = match &config.host_network {
        Some(path) => Arc::new(HostSockets::open(path)?),
        None => Arc::new(SystemSockets),
    };
    let (config, clock, ending) = (config.clone(), clock.clone(), shutdown.clone());
    let mut rng = Rng::from_os();
    tasks::supervise("dns", shutdown, move || {
        let listen = |address: &IpAddr| SocketAddr::new(*address, PORT);
        let config = ::dns::Config {
            listen: config.node_addresses.iter().map(listen).collect(),
            domain: config.cluster_domain.clone(),
            sources: sources(&config),
            resolv_conf: config.resolv_conf.clone(),
            sockets: sockets.clone(),
            node_name: config.node_name.clone(),
            clock: clock.clone(),
            rng: rng.child("dns"),
        };
        Box::pin(::dns::run(client.clone(), config, ending.clone()))
    });
    Ok(())
}

/// Pods, this node, the control plane. Other nodes are known by the endpoints of `kube-dns`.
fn sources(config: &AgentConfig) -> Vec<IpNet> {
    let mut sources = config.cluster_pod_ranges.clone();
    sources.extend(&config.pod_ranges);
    sources.extend(config.node_addresses.iter().copied().map(IpNet::from));
    sources.push(config.server.ip().into());
    sources
}

/// Sockets of another network namespace.
struct HostSockets {
    namespace: Arc<Namespace>,
    ready: Mutex<Receiver<io::Result<UdpSocket>>>,
}

impl HostSockets {
    /// Of the namespace whose file is at `path`.
    fn open(path: &Path) -> Result<Self> {
        let namespace = Namespace::open(path)
            .with_context(|| format!("open the host's network {}", path.display()))?;
        let namespace = Arc::new(namespace);
        let (sender, receiver) = sync_channel(READY);
        let own = namespace.clone();
        // The thread waits in the full channel and ends with it.
        std::thread::Builder::new()
            .name("dns-sockets".to_owned())
            .spawn(move || make(&own, &sender))
            .context("start the maker of DNS sockets")?;
        Ok(Self {
            namespace,
            ready: Mutex::new(receiver),
        })
    }
}

fn make(namespace: &Namespace, sender: &SyncSender<io::Result<UdpSocket>>) {
    let any = SocketAddr::from(([0, 0, 0, 0], 0));
    let entered = namespace.run(|| while sender.send(UdpSocket::bind(any)).is_ok() {});
    if let Err(error) = entered {
        tracing::error!(err = %base::Chain(&error), "names outside the cluster are not resolved");
    }
}

impl Sockets for HostSockets {
    fn udp(&self, remote: SocketAddr) -> io::Result<UdpSocket> {
        if remote.is_ipv6() {
            let make = move || SystemSockets.udp(remote);
            return self.namespace.run(make).map_err(io::Error::other)?;
        }
        let ready = self.ready.lock();
        ready
            .recv()
            .map_err(|_| io::Error::other("the maker of sockets ended"))?
    }

    fn tcp(&self, remote: SocketAddr) -> io::Result<TcpSocket> {
        let make = move || SystemSockets.tcp(remote);
        self.namespace.run(make).map_err(io::Error::other)?
    }
}
