//! Streams over upgraded connections: WebSocket, the remote-command channels, tunnels.
//!
//! Owns the WebSocket handshake of both sides, the channel protocols in which exec, attach and
//! port-forward multiplex their streams, and the byte tunnel of a proxy. Knows no pod and no
//! container: a server hands [`SessionIo`] to whoever runs the process.
//! Source: RFC 6455; kubernetes v1.36 apimachinery/pkg/util/remotecommand/constants.go,
//! kubelet/pkg/cri/streaming/remotecommand/websocket.go.

mod channels;
mod forward;
mod remote_spdy;
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

/// The header that names the protocol inside SPDY.
const PROTOCOL_HEADER: &str = "x-stream-protocol-version";

/// Whether a request asks for SPDY.
fn is_spdy(headers: &http::HeaderMap) -> bool {
    let upgrade = headers.get(http::header::UPGRADE);
    let upgrade = upgrade.and_then(|value| value.to_str().ok());
    upgrade.is_some_and(|value| value.eq_ignore_ascii_case("SPDY/3.1"))
}

/// Answers a SPDY handshake of a client that offers `protocol`. `Err` is the refusal to send.
fn spdy_handshake(
    request: &mut crate::Request,
    protocol: &'static str,
) -> Result<(crate::Response, crate::upgrade::OnUpgrade), Box<crate::Response>> {
    let offered = request.headers().get_all(PROTOCOL_HEADER).iter();
    let mut offered = offered
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    let known = offered.any(|one| one.trim() == protocol);
    let pending = crate::upgrade::of_request(request).filter(|_| known);
    let mut response = crate::Response::new(crate::Body::empty());
    let Some(pending) = pending else {
        *response.status_mut() = http::StatusCode::FORBIDDEN;
        let text = format!("unable to upgrade: supported protocols are [{protocol}]");
        *response.body_mut() = crate::Body::from(text);
        return Err(Box::new(response));
    };
    *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    for (name, value) in [
        (http::header::CONNECTION.as_str(), "Upgrade"),
        (http::header::UPGRADE.as_str(), "SPDY/3.1"),
        (PROTOCOL_HEADER, protocol),
    ] {
        headers.insert(name, http::HeaderValue::from_static(value));
    }
    Ok((response, pending))
}

/// A task that ends with its connection.
fn detached(name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
    base::tasks::spawn(name, &base::Shutdown::new(), future);
}

#[cfg(test)]
pub(crate) mod tests;
