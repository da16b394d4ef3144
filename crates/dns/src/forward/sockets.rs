//! Where questions to others leave from.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use tokio::net::TcpSocket;

/// Makes sockets, in another network namespace than the server's if need be. Must not wait for
/// anybody but the kernel.
pub trait Sockets: Send + Sync + 'static {
    /// A datagram socket of the family of `remote`, bound to no port or a random one.
    fn udp(&self, remote: SocketAddr) -> io::Result<UdpSocket>;
    /// A stream socket of the family of `remote`.
    fn tcp(&self, remote: SocketAddr) -> io::Result<TcpSocket>;
}

/// Sockets of the calling thread's network namespace.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemSockets;

impl Sockets for SystemSockets {
    fn udp(&self, remote: SocketAddr) -> io::Result<UdpSocket> {
        // Port 0: the kernel draws one.
        match remote {
            SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)),
        }
    }

    fn tcp(&self, remote: SocketAddr) -> io::Result<TcpSocket> {
        match remote {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }
    }
}
