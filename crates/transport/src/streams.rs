//! Streams over upgraded connections: WebSocket, the remote-command channels, tunnels.
//!
//! Owns the WebSocket handshake of both sides, the channel protocols in which exec, attach and
//! port-forward multiplex their streams, and the byte tunnel of a proxy. Knows no pod and no
//! container: a server hands [`SessionIo`] to whoever runs the process.
//! Source: RFC 6455; kubernetes v1.36 apimachinery/pkg/util/remotecommand/constants.go,
//! kubelet/pkg/cri/streaming/remotecommand/websocket.go.

mod channels;
mod forward;
mod session;
mod spdy;
mod tunnel;
mod websocket;

pub use channels::{Channel, Frame, Outcome, Protocol, Size, Streams};
pub use forward::serve_port_forward;
pub use session::{
    Output, RemoteProcess, SessionIo, copy_input, copy_output, run_remote, serve_body,
    serve_session,
};
pub use tunnel::{proxy_upgrade, tunnel};
pub use websocket::{Accepted, ConnectError, WebSocket, accept, connect, is_websocket};

/// A task that ends with its connection.
fn detached(name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
    base::tasks::spawn(name, &base::Shutdown::new(), future);
}

#[cfg(test)]
pub(crate) mod tests;
