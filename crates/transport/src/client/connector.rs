//! How a client's sockets come to be: names to addresses, addresses to streams.
//!
//! Three seams, so that a caller replaces only what differs: [`Resolve`] (our DNS client instead
//! of the C library's), [`Sockets`] (sockets born in another network namespace), [`Connector`]
//! (something that is no TCP at all).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpSocket;

use crate::BoxFuture;

/// A byte stream that can carry a connection.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send + 'static {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Io for T {}

/// Opens streams to hosts.
pub trait Connector: Send + Sync + 'static {
    /// One stream to `host:port`.
    fn connect(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Box<dyn Io>>>;
}

/// Turns names into addresses.
pub trait Resolve: Send + Sync + 'static {
    /// The addresses of `host`, the preferred one first.
    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// Makes unconnected TCP sockets; a factory may make them in another network namespace, for a
/// socket stays in the namespace in which it was made.
pub trait Sockets: Send + Sync + 'static {
    /// A socket of the family of `remote`.
    fn tcp(&self, remote: SocketAddr) -> io::Result<TcpSocket>;
}

/// Sockets of the calling thread's network namespace.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostSockets;

impl Sockets for HostSockets {
    fn tcp(&self, remote: SocketAddr) -> io::Result<TcpSocket> {
        match remote {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }
    }
}

/// The C library's resolver.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let host = host.to_owned();
        Box::pin(async move {
            let found = tokio::net::lookup_host((host.as_str(), 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// TCP with a resolver and a socket factory.
#[derive(Clone)]
pub struct TcpConnector {
    resolver: Arc<dyn Resolve>,
    sockets: Arc<dyn Sockets>,
}

impl Default for TcpConnector {
    fn default() -> Self {
        Self::new(Arc::new(SystemResolver), Arc::new(HostSockets))
    }
}

impl TcpConnector {
    /// Names by `resolver`, sockets by `sockets`.
    pub fn new(resolver: Arc<dyn Resolve>, sockets: Arc<dyn Sockets>) -> Self {
        Self { resolver, sockets }
    }
}

impl Connector for TcpConnector {
    fn connect(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        let Self { resolver, sockets } = self.clone();
        let host = host.to_owned();
        Box::pin(async move {
            let addresses = match host.parse::<IpAddr>() {
                Ok(address) => vec![address],
                Err(_) => resolver.resolve(&host).await?,
            };
            let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            for address in addresses {
                let remote = SocketAddr::new(address, port);
                let attempt = async { sockets.tcp(remote)?.connect(remote).await };
                match attempt.await {
                    Ok(stream) => {
                        stream.set_nodelay(true)?;
                        return Ok(Box::new(stream) as Box<dyn Io>);
                    }
                    Err(error) => last = error,
                }
            }
            Err(last)
        })
    }
}
