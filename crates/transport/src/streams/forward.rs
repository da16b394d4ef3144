//! Port-forward, server side: SPDY streams in pairs, plain or inside a WebSocket, and the older
//! WebSocket channels.
//!
//! A client opens two SPDY streams for each connection that it forwards, joined by their
//! `requestid`: one for bytes, one for a failure's text. Knows no pod: `forward(port, stream)`
//! connects and copies until the end.
//! Source: kubernetes v1.36 kubelet/pkg/cri/streaming/portforward/{httpstream,websocket}.go,
//! apimachinery/pkg/util/portforward/constants.go.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;

use super::spdy::{self, Stream};
use super::websocket::{Reader, WebSocket, Writer, accept, is_websocket};
use super::{detached, is_spdy, spdy_handshake};
use crate::{BoxFuture, Request, Response};

/// SPDY inside a WebSocket.
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
/// The protocol inside SPDY.
const PROTOCOL: &str = "portforward.k8s.io";
/// Halves of pairs that wait for the other.
const WAITING_MOST: usize = 256;
/// Ports of one request with the older protocol.
const PORTS_MOST: usize = 32;
const PIPE_BYTES: usize = 64 * 1024;

type Forward =
    Arc<dyn Fn(u16, DuplexStream) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// Answers a port-forward request. `forward` connects to a port and copies both ways until either
/// side ends; an error is its text for the client.
pub fn serve_port_forward<F, R>(mut request: Request, forward: F) -> Response
where
    F: Fn(u16, DuplexStream) -> R + Send + Sync + 'static,
    R: Future<Output = Result<(), String>> + Send + 'static,
{
    let forward: Forward = Arc::new(move |port, stream| Box::pin(forward(port, stream)));
    if !is_websocket(request.headers()) && is_spdy(request.headers()) {
        return serve_spdy(request, forward);
    }
    let ports = ports(request.uri().query().unwrap_or_default());
    let accepted = match accept(&mut request, &[TUNNEL, "v4.channel.k8s.io", ""]) {
        Ok(accepted) => accepted,
        Err(refusal) => return *refusal,
    };
    let (response, protocol, open) = accepted.split();
    detached("port-forward", async move {
        let Ok(socket) = open.await else {
            return;
        };
        if protocol == TUNNEL {
            let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
            detached("port-forward-tunnel", copy(socket, theirs));
            streams(ours, forward).await;
        } else {
            channels(socket, &ports, forward).await;
        }
    });
    response
}

fn serve_spdy(mut request: Request, forward: Forward) -> Response {
    let (response, pending) = match spdy_handshake(&mut request, PROTOCOL) {
        Ok(accepted) => accepted,
        Err(refusal) => return *refusal,
    };
    detached("port-forward", async move {
        if let Ok(io) = pending.await {
            streams(io, forward).await;
        }
    });
    response
}

/// Carries bytes in binary messages.
async fn copy(socket: WebSocket, io: DuplexStream) {
    let (mut writer, mut reader) = socket.split();
    let (mut from, mut to) = tokio::io::split(io);
    let sending = async {
        let mut buffer = vec![0; PIPE_BYTES];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            if !writer.send(Bytes::copy_from_slice(&buffer[..count])).await {
                break;
            }
        }
        writer.close().await;
    };
    let receiving = async {
        while let Some(message) = reader.next().await {
            if to.write_all(&message).await.is_err() {
                break;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::select! {
        () = sending => {}
        () = receiving => {}
    }
}

/// Joins streams to pairs and forwards each pair.
async fn streams<I>(io: I, forward: Forward)
where
    I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + 'static,
{
    let mut waiting: HashMap<String, Stream> = HashMap::new();
    let result = spdy::serve(io, |stream| {
        let id = stream.headers.get("requestid").cloned().unwrap_or_default();
        let is_data = |stream: &Stream| {
            stream
                .headers
                .get("streamtype")
                .is_some_and(|kind| kind == "data")
        };
        let Some(other) = waiting.remove(&id) else {
            if waiting.len() < WAITING_MOST {
                waiting.insert(id, stream);
            }
            return;
        };
        let (data, error) = if is_data(&stream) {
            (stream, other)
        } else {
            (other, stream)
        };
        let port = data.headers.get("port").and_then(|port| port.parse().ok());
        let forward = forward.clone();
        detached("port-forward-connection", async move {
            let mut failure = error.io;
            let result = match port {
                Some(port) => forward(port, data.io).await,
                None => Err("the stream names no port".to_owned()),
            };
            if let Err(text) = result {
                let _ = failure.write_all(text.as_bytes()).await;
            }
            // Dropping it tells the client that there is nothing more to say.
        });
    })
    .await;
    if let Err(error) = result {
        tracing::debug!(err = %error, "port-forward connection broke");
    }
}

fn ports(query: &str) -> Vec<u16> {
    let values = query.split('&').filter_map(|pair| pair.split_once('='));
    let values = values.filter(|(name, _)| matches!(*name, "ports" | "port"));
    let numbers = values.flat_map(|(_, value)| value.split(',').flat_map(|v| v.split("%2C")));
    numbers
        .filter_map(|number| number.parse().ok())
        .take(PORTS_MOST)
        .collect()
}

/// The older protocol: channel 2n carries the bytes of port n, 2n+1 its failure; both begin with
/// the port's number.
async fn channels(socket: WebSocket, ports: &[u16], forward: Forward) {
    let (writer, reader) = socket.split();
    let (sender, outgoing) = mpsc::channel(16);
    let mut inputs = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        // At most PORTS_MOST ports, so that their channels fit into a byte.
        let channel = u8::try_from(index * 2).unwrap_or(u8::MAX);
        for channel in [channel, channel + 1] {
            let _ = sender.send(message(channel, &port.to_le_bytes())).await;
        }
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        let (mut from, to) = tokio::io::split(ours);
        inputs.push(to);
        let (sender, forward, port) = (sender.clone(), forward.clone(), *port);
        detached("port-forward-connection", async move {
            let copying = async {
                let mut buffer = vec![0; PIPE_BYTES / 2];
                while let Ok(count @ 1..) = from.read(&mut buffer).await {
                    if sender
                        .send(message(channel, &buffer[..count]))
                        .await
                        .is_err()
                    {
                        break;
                    }
                }
            };
            let (result, ()) = tokio::join!(forward(port, theirs), copying);
            if let Err(text) = result {
                let _ = sender.send(message(channel + 1, text.as_bytes())).await;
            }
        });
    }
    drop(sender);
    tokio::select! {
        () = send(writer, outgoing) => {}
        () = receive(reader, inputs) => {}
    }
}

fn message(channel: u8, data: &[u8]) -> Bytes {
    let mut message = BytesMut::with_capacity(data.len() + 1);
    message.put_u8(channel);
    message.put_slice(data);
    message.freeze()
}

async fn send(mut writer: Writer, mut outgoing: mpsc::Receiver<Bytes>) {
    while let Some(message) = outgoing.recv().await {
        if !writer.send(message).await {
            return;
        }
    }
    writer.close().await;
}

async fn receive(mut reader: Reader, mut inputs: Vec<tokio::io::WriteHalf<DuplexStream>>) {
    while let Some(message) = reader.next().await {
        let Some((channel, data)) = message.split_first() else {
            continue;
        };
        if channel % 2 == 0
            && let Some(input) = inputs.get_mut(usize::from(channel / 2))
        {
            let _ = input.write_all(data).await;
        }
    }
}
