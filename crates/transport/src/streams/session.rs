//! One remote command over WebSocket: the server's pumps, and the client's.
//!
//! Server: `serve_session(request, streams, |io| async { run the process; Outcome })`. The future
//! owns the ends of the streams; it returns once the process has ended and its output is handed
//! over. When the client goes away the future is dropped, which is its sign to clean up.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, WriteHalf};
use tokio::sync::{mpsc, oneshot};

use super::channels::{Channel, Frame, Outcome, Protocol, Size, Streams};
use super::websocket::{Reader, WebSocket, Writer, accept, connect, is_websocket};
use super::{ConnectError, detached, is_spdy, remote_spdy};
use crate::{Body, Request, Response, Transport};

/// Messages that wait in each direction.
pub(super) const QUEUE: usize = 16;
/// Bytes read from a process at once.
const CHUNK: usize = 32 * 1024;
/// For the peer's answer to our close.
const GOODBYE: Duration = Duration::from_secs(5);

/// What the runner of a process gets.
#[derive(Debug)]
pub struct SessionIo {
    /// Input, if the client sends any; ends when the client closes it.
    pub stdin: Option<mpsc::Receiver<Bytes>>,
    /// Output, if the client wants it.
    pub stdout: Option<Output>,
    /// Error output, if the client wants it and there is no terminal.
    pub stderr: Option<Output>,
    /// New sizes of the terminal.
    pub resize: mpsc::Receiver<Size>,
}

/// Sends one stream of a process to the client.
#[derive(Clone, Debug)]
pub struct Output {
    channel: Channel,
    sender: mpsc::Sender<(Channel, Bytes)>,
}

impl Output {
    /// Hands over bytes, waiting for room. `false`: the client is gone.
    pub async fn send(&self, data: Bytes) -> bool {
        self.sender.send((self.channel, data)).await.is_ok()
    }
}

/// Copies a process's output until it ends or the client is gone.
pub async fn copy_output(mut from: impl AsyncRead + Unpin, to: Output) -> std::io::Result<()> {
    let mut buffer = BytesMut::with_capacity(CHUNK);
    loop {
        buffer.reserve(CHUNK);
        if from.read_buf(&mut buffer).await? == 0 || !to.send(buffer.split().freeze()).await {
            return Ok(());
        }
    }
}

/// Copies the client's input to a process and closes it at the end.
pub async fn copy_input(
    mut from: mpsc::Receiver<Bytes>,
    mut to: impl AsyncWrite + Unpin,
) -> std::io::Result<()> {
    while let Some(data) = from.recv().await {
        to.write_all(&data).await?;
        to.flush().await?;
    }
    to.shutdown().await
}

/// Answers an exec or attach request, over WebSocket or SPDY.
pub fn serve_session<F, R>(mut request: Request, streams: Streams, run: F) -> Response
where
    F: FnOnce(SessionIo) -> R + Send + 'static,
    R: Future<Output = Outcome> + Send + 'static,
{
    if !is_websocket(request.headers()) && is_spdy(request.headers()) {
        return remote_spdy::serve(request, streams, run);
    }
    let accepted = match accept(&mut request, &Protocol::ACCEPTED) {
        Ok(accepted) => accepted,
        Err(refusal) => return *refusal,
    };
    let (response, protocol, open) = accepted.split();
    detached("remote-command", async move {
        match open.await {
            Ok(socket) => session(socket, Protocol::from_name(&protocol), streams, run).await,
            Err(error) => tracing::debug!(err = %error, "client left during the handshake"),
        }
    });
    response
}

async fn session<F, R>(socket: WebSocket, protocol: Protocol, streams: Streams, run: F)
where
    F: FnOnce(SessionIo) -> R,
    R: Future<Output = Outcome>,
{
    let (mut writer, mut reader) = socket.split();
    let parts = session_io(streams);
    // An empty message on the first stream tells the client that everything is open.
    let first = match (streams.stdout, streams.stderr) {
        (true, _) => Channel::Stdout,
        (false, true) => Channel::Stderr,
        (false, false) => Channel::Error,
    };
    if !writer.send(Frame::encode(first, &[])).await {
        return;
    }
    let mut sink = Sink::Socket(&mut writer);
    let listening = receive_all(&mut reader, parts.input, parts.sizes, protocol);
    let outcome = tokio::select! {
        outcome = run_and_send(run(parts.io), &mut sink, parts.outgoing) => outcome,
        () = listening => return,
    };
    let last = match (protocol, &outcome) {
        (Protocol::V1, Outcome::Exited(0)) => None,
        (Protocol::V1, Outcome::Exited(code)) => Some(format!("exit status {code}")),
        (Protocol::V1, Outcome::Failed(reason)) => Some(reason.clone()),
        _ => Some(outcome.to_status()),
    };
    if let Some(last) = last {
        writer
            .send(Frame::encode(Channel::Error, last.as_bytes()))
            .await;
    }
    goodbye(writer, reader).await;
}

/// The process's ends of a session and the connection's.
pub(super) struct Parts {
    pub(super) io: SessionIo,
    pub(super) input: mpsc::Sender<Bytes>,
    pub(super) sizes: mpsc::Sender<Size>,
    pub(super) outgoing: mpsc::Receiver<(Channel, Bytes)>,
}

pub(super) fn session_io(streams: Streams) -> Parts {
    let (output, outgoing) = mpsc::channel(QUEUE);
    let (input, stdin) = mpsc::channel(QUEUE);
    let (sizes, resize) = mpsc::channel(QUEUE);
    let end = |channel| Output {
        channel,
        sender: output.clone(),
    };
    let io = SessionIo {
        stdin: streams.stdin.then_some(stdin),
        stdout: streams.stdout.then(|| end(Channel::Stdout)),
        stderr: (streams.stderr && !streams.tty).then(|| end(Channel::Stderr)),
        resize,
    };
    Parts {
        io,
        input,
        sizes,
        outgoing,
    }
}

/// Where a process's output goes.
pub(super) enum Sink<'a> {
    /// Messages of one socket.
    Socket(&'a mut Writer),
    /// A byte stream for each channel.
    Streams(Vec<(Channel, WriteHalf<DuplexStream>)>),
}

impl Sink<'_> {
    /// `false`: the client is gone.
    async fn send(&mut self, channel: Channel, data: &Bytes) -> bool {
        match self {
            Self::Socket(writer) => writer.send(Frame::encode(channel, data)).await,
            Self::Streams(ends) => match ends.iter_mut().find(|(known, _)| *known == channel) {
                Some((_, end)) => end.write_all(data).await.is_ok(),
                None => true,
            },
        }
    }
}

/// Runs the process and sends what it writes.
pub(super) async fn run_and_send(
    process: impl Future<Output = Outcome>,
    sink: &mut Sink<'_>,
    outgoing: mpsc::Receiver<(Channel, Bytes)>,
) -> Outcome {
    let (ended, end) = oneshot::channel();
    let process = async {
        let outcome = process.await;
        let _ = ended.send(());
        outcome
    };
    tokio::join!(process, send_all(sink, outgoing, end)).0
}

/// Sends what the process writes; after its end only what is already queued.
async fn send_all(
    sink: &mut Sink<'_>,
    mut outgoing: mpsc::Receiver<(Channel, Bytes)>,
    mut end: oneshot::Receiver<()>,
) {
    let mut ended = false;
    loop {
        let next = tokio::select! {
            biased;
            next = outgoing.recv() => next,
            _ = &mut end, if !ended => {
                ended = true;
                outgoing.close();
                continue;
            }
        };
        let Some((channel, data)) = next else {
            return;
        };
        // Empty messages would look like the opening one.
        if !data.is_empty() && !sink.send(channel, &data).await {
            return;
        }
    }
}

async fn receive_all(
    reader: &mut Reader,
    input: mpsc::Sender<Bytes>,
    sizes: mpsc::Sender<Size>,
    protocol: Protocol,
) {
    let mut input = Some(input);
    while let Some(message) = reader.next().await {
        let Some(Frame { channel, data }) = Frame::parse(&message) else {
            continue;
        };
        match channel {
            Channel::Stdin if !data.is_empty() => {
                if let Some(sender) = &input
                    && sender.send(data).await.is_err()
                {
                    input = None;
                }
            }
            Channel::Resize => {
                if let Some(size) = Size::parse(&data) {
                    let _ = sizes.try_send(size);
                }
            }
            Channel::Close if protocol == Protocol::V5 && data.first() == Some(&0) => input = None,
            _ => {}
        }
    }
}

async fn goodbye(mut writer: Writer, mut reader: Reader) {
    writer.close().await;
    let rest = async { while reader.next().await.is_some() {} };
    let _ = tokio::time::timeout(GOODBYE, rest).await;
}

/// A stream in the encoding of this name.
const BASE64_READER: &str = "base64.binary.k8s.io";

/// Streams that a WebSocket client only reads, as logs: one message a chunk after an empty one that
/// says that the stream is open. Bytes for `binary.k8s.io` and clients that name no protocol, text
/// for `base64.binary.k8s.io`.
/// Source: kubernetes v1.36.3 staging/src/k8s.io/streaming/pkg/httpstream/wsstream/stream.go.
pub fn serve_body(mut request: Request, mut body: Body) -> Response {
    let accepted = match accept(&mut request, &["binary.k8s.io", BASE64_READER, ""]) {
        Ok(accepted) => accepted,
        Err(refusal) => return *refusal,
    };
    let (response, protocol, open) = accepted.split();
    detached("websocket-body", async move {
        let Ok(socket) = open.await else {
            return;
        };
        let (mut writer, mut reader) = socket.split();
        let mut next = Some(Bytes::new());
        while let Some(chunk) = next.take() {
            let sent = if protocol == BASE64_READER {
                writer.send_text(STANDARD.encode(&chunk)).await
            } else {
                writer.send(chunk).await
            };
            if !sent {
                return;
            }
            next = loop {
                tokio::select! {
                    chunk = body.next() => break chunk.and_then(Result::ok),
                    message = reader.next() => if message.is_none() { return },
                }
            };
        }
        goodbye(writer, reader).await;
    });
    response
}

/// The client's ends of a remote command.
#[derive(Debug)]
pub struct RemoteProcess {
    /// Input; dropping it closes the remote input where the server understands that (v5).
    pub stdin: mpsc::Sender<Bytes>,
    /// Output.
    pub stdout: mpsc::Receiver<Bytes>,
    /// Error output.
    pub stderr: mpsc::Receiver<Bytes>,
    /// Sizes of the terminal.
    pub resize: mpsc::Sender<Size>,
    /// How it ended; an error: the connection broke before.
    pub outcome: oneshot::Receiver<Outcome>,
}

/// Starts a remote command; `request` is the exec or attach request with its query. Both outputs
/// must be read: the connection waits for the slower one.
pub async fn run_remote(
    transport: &dyn Transport,
    request: Request,
) -> Result<RemoteProcess, ConnectError> {
    let (socket, protocol) = connect(transport, request, &Protocol::OFFERED).await?;
    let protocol = Protocol::from_name(&protocol);
    let (stdin, mut input) = mpsc::channel::<Bytes>(QUEUE);
    let (stdout_sender, stdout) = mpsc::channel(QUEUE);
    let (stderr_sender, stderr) = mpsc::channel(QUEUE);
    let (resize, mut sizes) = mpsc::channel::<Size>(QUEUE);
    let (outcome_sender, outcome) = oneshot::channel();
    detached("remote-command-client", async move {
        let (mut writer, mut reader) = socket.split();
        let sending = async {
            let mut resizes = true;
            loop {
                tokio::select! {
                    data = input.recv() => match data {
                        Some(data) => {
                            for piece in data.chunks(CHUNK) {
                                writer.send(Frame::encode(Channel::Stdin, piece)).await;
                            }
                        }
                        None => break,
                    },
                    size = sizes.recv(), if resizes => match size {
                        Some(size) => {
                            let json = size.to_json();
                            writer.send(Frame::encode(Channel::Resize, json.as_bytes())).await;
                        }
                        None => resizes = false,
                    },
                }
            }
            if protocol == Protocol::V5 {
                writer.send(Frame::encode(Channel::Close, &[0])).await;
            }
            while let Some(size) = sizes.recv().await {
                let json = size.to_json();
                writer
                    .send(Frame::encode(Channel::Resize, json.as_bytes()))
                    .await;
            }
            std::future::pending::<()>().await;
        };
        let receiving = async {
            while let Some(message) = reader.next().await {
                let Some(Frame { channel, data }) = Frame::parse(&message) else {
                    continue;
                };
                match channel {
                    _ if data.is_empty() => {}
                    Channel::Stdout => drop(stdout_sender.send(data).await),
                    Channel::Stderr => drop(stderr_sender.send(data).await),
                    Channel::Error => return Some(Outcome::from_status(&data)),
                    _ => {}
                }
            }
            None
        };
        let result = tokio::select! {
            () = sending => None,
            result = receiving => result,
        };
        if let Some(result) = result {
            let _ = outcome_sender.send(result);
        }
        drop((stdout_sender, stderr_sender));
        goodbye(writer, reader).await;
    });
    Ok(RemoteProcess {
        stdin,
        stdout,
        stderr,
        resize,
        outcome,
    })
}
