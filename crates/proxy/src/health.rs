//! Health-check ports: load balancers ask a node how many endpoints of a Service it has.
//!
//! A Service of type LoadBalancer with policy Local has a port of its own for it. 200 with at
//! least one ready endpoint here, else 503; body and headers as upstream. The HTTP is the little
//! that such probes speak: one request a connection, bounded in size, time and number.
//! Source: kubernetes v1.36 pkg/proxy/healthcheck/service_health.go.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base::{Shutdown, tasks};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::slice::Slice;
use crate::{ServiceKey, World};

const CONNECTIONS: usize = 32;
const REQUEST_LIMIT: usize = 8 << 10;
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

struct Probe {
    port: u16,
    /// IPv4 and IPv6, each counted for itself.
    counts: [Arc<AtomicUsize>; 2],
    tasks: Vec<tasks::Handle>,
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tasks::Handle::abort);
    }
}

/// All health-check ports of a node.
pub(crate) struct Health {
    node: String,
    ipv6: bool,
    probes: HashMap<ServiceKey, Probe>,
    shutdown: Shutdown,
}

/// A port that cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("node {node} failed to start healthcheck \"{service}\" on port {port}")]
pub(crate) struct PortError {
    pub(crate) service: ServiceKey,
    node: String,
    port: u16,
    #[source]
    cause: io::Error,
}

impl Health {
    pub(crate) fn new(node: &str, ipv6: bool, shutdown: &Shutdown) -> Self {
        Self {
            node: node.to_owned(),
            ipv6,
            probes: HashMap::new(),
            shutdown: shutdown.clone(),
        }
    }

    /// Takes over what changed of a Service.
    pub(crate) async fn update(
        &mut self,
        world: &Facts,
        key: &ServiceKey,
    ) -> Result<(), PortError> {
        let port = world.port;
        if port == 0 {
            self.probes.remove(key);
            return Ok(());
        }
        if self.probes.get(key).is_none_or(|probe| probe.port != port) {
            self.probes.remove(key);
            let probe = self.open(key, port).await.map_err(|cause| PortError {
                service: key.clone(),
                node: self.node.clone(),
                port,
                cause,
            })?;
            self.probes.insert(key.clone(), probe);
        }
        if let Some(probe) = self.probes.get(key) {
            for (count, now) in probe.counts.iter().zip(world.ready) {
                count.store(now, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    async fn open(&self, key: &ServiceKey, port: u16) -> io::Result<Probe> {
        let mut probe = Probe {
            port,
            counts: [Arc::default(), Arc::default()],
            tasks: Vec::new(),
        };
        let mut any: Vec<IpAddr> = vec![Ipv4Addr::UNSPECIFIED.into()];
        if self.ipv6 {
            any.push(Ipv6Addr::UNSPECIFIED.into());
        }
        for (address, count) in any.into_iter().zip(&probe.counts) {
            let socket = match address {
                IpAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
                IpAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
            };
            socket.set_reuseaddr(true)?;
            // Beside the IPv4 listener an IPv6 one may not take both families.
            let listener = match address {
                IpAddr::V4(_) => {
                    socket.bind(SocketAddr::new(address, port))?;
                    socket.listen(128)?
                }
                IpAddr::V6(_) => listen_v6_only(port)?,
            };
            let (key, count) = (key.clone(), count.clone());
            let served = serve(listener, key, count, self.shutdown.clone());
            probe
                .tasks
                .push(tasks::spawn("health-check", &self.shutdown, served));
        }
        Ok(probe)
    }
}

fn listen_v6_only(port: u16) -> io::Result<TcpListener> {
    use rustix::net::{AddressFamily, SocketType, bind, listen, socket, sockopt};
    let fd = socket(AddressFamily::INET6, SocketType::STREAM, None)?;
    sockopt::set_ipv6_v6only(&fd, true)?;
    sockopt::set_socket_reuseaddr(&fd, true)?;
    bind(&fd, &SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port))?;
    listen(&fd, 128)?;
    let listener = std::net::TcpListener::from(fd);
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// What a probe needs to know of a Service.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    port: u16,
    ready: [usize; 2],
}

impl Facts {
    pub(crate) fn of(world: &World, key: &ServiceKey, node: &str) -> Self {
        let Some(service) = world.service(key) else {
            return Self::default();
        };
        let slices = world.slices(key);
        Self {
            port: service.health_port,
            ready: [true, false].map(|ipv4| ready_here(&slices, node, ipv4)),
        }
    }
}

/// Different addresses of ready endpoints on this node.
fn ready_here(slices: &[&Slice], node: &str, ipv4: bool) -> usize {
    let all = slices.iter().flat_map(|slice| &slice.endpoints);
    let ours = all.filter(|e| e.ready && e.node == node && e.address.is_ipv4() == ipv4);
    ours.map(|endpoint| endpoint.address)
        .collect::<HashSet<_>>()
        .len()
}

async fn serve(
    listener: TcpListener,
    key: ServiceKey,
    count: Arc<AtomicUsize>,
    shutdown: Shutdown,
) {
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = free.clone().acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(err = %error, "health check not accepted");
                // Out of descriptors: the next one may be closed by then.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let body = answer(&key, count.load(Ordering::Relaxed));
        tasks::spawn("health-check-answer", &shutdown, async move {
            let _permit = permit;
            let _ = tokio::time::timeout(ANSWER_WITHIN, exchange(stream, body)).await;
        });
    }
}

async fn exchange(mut stream: TcpStream, answer: String) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|four| four == b"\r\n\r\n") && request.len() < REQUEST_LIMIT {
        if stream.read_buf(&mut request).await? == 0 {
            break;
        }
    }
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

fn answer(key: &ServiceKey, count: usize) -> String {
    let status = match count {
        0 => "503 Service Unavailable",
        _ => "200 OK",
    };
    let body = format!(
        "{{\n\t\"service\": {{\n\t\t\"namespace\": {:?},\n\t\t\"name\": {:?}\n\t}},\n\t\"localEndpoints\": {count},\n\t\"serviceProxyHealthy\": true\n}}",
        key.namespace, key.name
    );
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nX-Content-Type-Options: nosniff\r\nX-Load-Balancing-Endpoint-Weight: {count}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

#[cfg(test)]
mod tests;
