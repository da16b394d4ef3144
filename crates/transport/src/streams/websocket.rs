//! WebSocket over an upgraded connection, both sides.
//!
//! Messages are binary, at most [`MESSAGE_BYTES`]; pings are answered by the engine.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use ring::rand::{SecureRandom, SystemRandom};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use crate::upgrade::{self, OnUpgrade, Upgraded};
use crate::{Body, Request, Response, Transport, TransportError};

/// The longest message: clients send their input in pieces of 32 KiB.
const MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// RFC 6455 section 1.3.
const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// How much of a refusal is read.
const REFUSAL_BYTES: usize = 64 * 1024;

/// Why no WebSocket came to be on the client side.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No answer.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// An answer, but no 101: usually a Status.
    #[error("the server answered {status} instead of upgrading the connection")]
    Refused {
        /// Its status.
        status: StatusCode,
        /// Its body.
        body: Bytes,
    },
    /// The 101 is not one of a WebSocket server.
    #[error("websocket handshake: {0}")]
    Handshake(&'static str),
    /// The connection broke on the way.
    #[error("upgrade the connection")]
    Upgrade(#[source] io::Error),
}

fn listed(headers: &HeaderMap, name: http::header::HeaderName, wanted: &str) -> bool {
    let values = headers
        .get_all(name)
        .into_iter()
        .filter_map(|v| v.to_str().ok());
    let mut tokens = values.flat_map(|value| value.split(','));
    tokens.any(|token| token.trim().eq_ignore_ascii_case(wanted))
}

/// Whether a request asks for a WebSocket.
pub fn is_websocket(headers: &HeaderMap) -> bool {
    listed(headers, CONNECTION, "upgrade") && listed(headers, UPGRADE, "websocket")
}

fn accept_key(key: &[u8]) -> String {
    let text = [key, MAGIC.as_bytes()].concat();
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &text))
}

/// A handshake that was accepted: answer with `response`, then await [`Accepted::open`].
#[derive(Debug)]
pub struct Accepted {
    /// The 101.
    pub response: Response,
    /// The chosen subprotocol; empty if the client named none.
    pub protocol: String,
    pending: OnUpgrade,
}

impl Accepted {
    /// The answer and what follows it, for a task of its own.
    pub fn split(
        self,
    ) -> (
        Response,
        String,
        impl Future<Output = io::Result<WebSocket>> + Send,
    ) {
        let pending = self.pending;
        let open = async move { Ok(WebSocket::new(pending.await?, Role::Server).await) };
        (self.response, self.protocol, open)
    }
}

/// Answers a WebSocket handshake. The client's order of subprotocols decides; `protocols` with an
/// empty name accepts clients that name none. `Err` is the refusal to send.
pub fn accept(request: &mut Request, protocols: &[&str]) -> Result<Accepted, Box<Response>> {
    let refuse = |reason: &str| {
        let mut response = Response::new(Body::from(reason.to_owned()));
        *response.status_mut() = StatusCode::BAD_REQUEST;
        Box::new(response)
    };
    if !is_websocket(request.headers()) {
        return Err(refuse(
            "unable to upgrade: missing upgrade headers in request",
        ));
    }
    let headers = request.headers();
    if headers
        .get(SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != "13")
    {
        return Err(refuse("unable to upgrade: websocket version is not 13"));
    }
    let Some(key) = headers.get(SEC_WEBSOCKET_KEY) else {
        return Err(refuse("unable to upgrade: missing Sec-WebSocket-Key"));
    };
    let answer = accept_key(key.as_bytes());
    let offered: Vec<String> = headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect();
    let chosen = if offered.is_empty() {
        protocols.contains(&"").then(String::new)
    } else {
        offered
            .iter()
            .find(|name| protocols.contains(&name.as_str()))
            .cloned()
    };
    let Some(protocol) = chosen else {
        let text = format!(
            "unable to upgrade: requested protocol(s) {offered:?} are not supported; \
             supported protocols are {protocols:?}"
        );
        return Err(refuse(&text));
    };
    let Some(pending) = upgrade::of_request(request) else {
        return Err(refuse(
            "unable to upgrade: the connection cannot be upgraded",
        ));
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(value) = HeaderValue::from_str(&answer) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, value);
    }
    if let Ok(value) = HeaderValue::from_str(&protocol)
        && !protocol.is_empty()
    {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, value);
    }
    Ok(Accepted {
        response,
        protocol,
        pending,
    })
}

/// Opens a WebSocket: `request` says path and headers, `protocols` what to speak in order of
/// preference. Returns the socket and the server's choice.
pub async fn connect(
    transport: &dyn Transport,
    mut request: Request,
    protocols: &[&str],
) -> Result<(WebSocket, String), ConnectError> {
    let mut nonce = [0; 16];
    SystemRandom::new()
        .fill(&mut nonce)
        .map_err(|_| ConnectError::Handshake("no randomness"))?;
    let key = STANDARD.encode(nonce);
    let invalid = |_| ConnectError::Handshake("a subprotocol is no header value");
    let headers = request.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    headers.insert(
        SEC_WEBSOCKET_KEY,
        HeaderValue::from_str(&key).map_err(invalid)?,
    );
    if !protocols.is_empty() {
        let names = HeaderValue::from_str(&protocols.join(", ")).map_err(invalid)?;
        headers.insert(SEC_WEBSOCKET_PROTOCOL, names);
    }
    let mut response = transport.call(request).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let status = response.status();
        let body = response.into_body().collect(REFUSAL_BYTES).await;
        return Err(ConnectError::Refused {
            status,
            body: body.unwrap_or_default(),
        });
    }
    let answer = response.headers().get(SEC_WEBSOCKET_ACCEPT);
    if answer.is_none_or(|value| value.as_bytes() != accept_key(key.as_bytes()).as_bytes()) {
        return Err(ConnectError::Handshake("wrong Sec-WebSocket-Accept"));
    }
    let protocol = response.headers().get(SEC_WEBSOCKET_PROTOCOL);
    let protocol = protocol
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if !protocol.is_empty() && !protocols.contains(&protocol) {
        return Err(ConnectError::Handshake(
            "the server chose a subprotocol that was not offered",
        ));
    }
    let protocol = protocol.to_owned();
    let pending = upgrade::of_response(&mut response)
        .ok_or(ConnectError::Handshake("the connection cannot be upgraded"))?;
    let stream = pending.await.map_err(ConnectError::Upgrade)?;
    Ok((WebSocket::new(stream, Role::Client).await, protocol))
}

/// An open WebSocket.
#[derive(Debug)]
pub struct WebSocket {
    stream: WebSocketStream<Upgraded>,
}

impl WebSocket {
    async fn new(stream: Upgraded, role: Role) -> Self {
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_BYTES))
            .max_frame_size(Some(MESSAGE_BYTES));
        Self {
            stream: WebSocketStream::from_raw_socket(stream, role, Some(config)).await,
        }
    }

    /// Separate halves for separate tasks.
    pub fn split(self) -> (Writer, Reader) {
        let (sink, stream) = self.stream.split();
        (Writer { sink }, Reader { stream })
    }
}

/// The sending half.
#[derive(Debug)]
pub struct Writer {
    sink: SplitSink<WebSocketStream<Upgraded>, Message>,
}

impl Writer {
    /// Sends one binary message. `false`: the connection is gone.
    pub async fn send(&mut self, message: Bytes) -> bool {
        self.sink.send(Message::Binary(message)).await.is_ok()
    }

    /// Sends one text message. `false`: the connection is gone.
    pub async fn send_text(&mut self, message: String) -> bool {
        self.sink.send(Message::text(message)).await.is_ok()
    }

    /// Tells the peer that this was all.
    pub async fn close(&mut self) {
        // Clients take a close without a code for a broken stream.
        let normal = CloseFrame {
            code: CloseCode::Normal,
            reason: "".into(),
        };
        let _ = self.sink.send(Message::Close(Some(normal))).await;
    }
}

/// The receiving half.
#[derive(Debug)]
pub struct Reader {
    stream: SplitStream<WebSocketStream<Upgraded>>,
}

impl Reader {
    /// The next message; `None` once the peer closed or the connection broke.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            match self.stream.next().await? {
                Ok(Message::Binary(data)) => return Some(data),
                Ok(Message::Text(text)) => return Some(text.into()),
                Ok(Message::Close(_)) => return None,
                Ok(_) => {}
                Err(WsError::ConnectionClosed) => return None,
                Err(error) => {
                    tracing::debug!(err = %error, "websocket broke");
                    return None;
                }
            }
        }
    }
}
