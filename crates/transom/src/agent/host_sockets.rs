//! Sockets of the host for an agent whose node has a network of its own: image pulls leave from
//! there, so that a registry on the host's loopback works.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use netlink::Namespace;
use tokio::net::TcpSocket;
use transport::client::{Connector, Sockets, SystemResolver, TcpConnector};

struct NamespaceSockets {
    namespace: Namespace,
}

impl Sockets for NamespaceSockets {
    fn tcp(&self, remote: SocketAddr) -> io::Result<TcpSocket> {
        let make = move || match remote {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        };
        self.namespace.run(make).map_err(io::Error::other)?
    }
}

/// Connects from the namespace whose file is at `path`.
pub(super) fn connector(path: &Path) -> Result<Arc<dyn Connector>> {
    let namespace = Namespace::open(path)
        .with_context(|| format!("open the host's network {}", path.display()))?;
    let sockets = Arc::new(NamespaceSockets { namespace });
    Ok(Arc::new(TcpConnector::new(
        Arc::new(SystemResolver),
        sockets,
    )))
}
