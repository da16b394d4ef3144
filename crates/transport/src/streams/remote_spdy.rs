//! Remote commands over SPDY, server side: what clients before v1.31 speak.
//!
//! The client opens a stream for each of `error stdin stdout stderr resize`, named by a header;
//! the command starts once all that the query asks for are there, and its Status goes to `error`.
//! Owns the pumps between these streams and [`SessionIo`]; the frames are `spdy`'s.
//! Source: kubernetes v1.36 kubelet/pkg/cri/streaming/remotecommand (streams, protocol v4).

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf};
use tokio::sync::mpsc;

use super::channels::{Channel, Outcome, Size, Streams};
use super::session::{QUEUE, SessionIo, Sink, run_and_send, session_io};
use super::spdy::{self, Stream};
use super::{detached, spdy_handshake};
use crate::{Request, Response};

/// The only version that is served; clients have offered it since v1.4.
const PROTOCOL: &str = "v4.channel.k8s.io";
/// For the client to open its streams.
const OPENING: Duration = Duration::from_secs(30);
/// For the client to close the connection after the end.
const GOODBYE: Duration = Duration::from_secs(5);
/// The longest message of a terminal's size.
const RESIZE_BYTES: usize = 1024;
const CHUNK: usize = 32 * 1024;

/// Answers an exec or attach request that asks for SPDY.
pub(super) fn serve<F, R>(mut request: Request, streams: Streams, run: F) -> Response
where
    F: FnOnce(SessionIo) -> R + Send + 'static,
    R: Future<Output = Outcome> + Send + 'static,
{
    let (response, pending) = match spdy_handshake(&mut request, PROTOCOL) {
        Ok(accepted) => accepted,
        Err(refusal) => return *refusal,
    };
    detached("remote-command", async move {
        let Ok(io) = pending.await else {
            return;
        };
        let (opened, arrivals) = mpsc::channel(QUEUE);
        let serving = spdy::serve(io, move |stream| {
            // Streams beyond those that there can be are dropped, which closes them.
            let _ = opened.try_send(stream);
        });
        tokio::pin!(serving);
        tokio::select! {
            result = &mut serving => {
                if let Err(error) = result {
                    tracing::debug!(err = %error, "remote command's connection broke");
                }
            }
            () = session(arrivals, streams, run) => {
                let _ = tokio::time::timeout(GOODBYE, serving).await;
            }
        }
    });
    response
}

/// The client's streams by name.
#[derive(Default)]
struct Ends {
    error: Option<DuplexStream>,
    stdin: Option<DuplexStream>,
    stdout: Option<DuplexStream>,
    stderr: Option<DuplexStream>,
    resize: Option<DuplexStream>,
}

impl Ends {
    /// All that `wanted` names, in whatever order they come.
    async fn collect(mut arrivals: mpsc::Receiver<Stream>, wanted: Streams) -> Option<Self> {
        let mut ends = Self::default();
        while !ends.are_complete(wanted) {
            let stream = arrivals.recv().await?;
            let kind = stream.headers.get("streamtype").map(String::as_str);
            let slot = match kind? {
                "error" => &mut ends.error,
                "stdin" => &mut ends.stdin,
                "stdout" => &mut ends.stdout,
                "stderr" => &mut ends.stderr,
                "resize" => &mut ends.resize,
                _ => return None,
            };
            *slot = Some(stream.io);
        }
        Some(ends)
    }

    fn are_complete(&self, wanted: Streams) -> bool {
        self.error.is_some()
            && (self.stdin.is_some() || !wanted.stdin)
            && (self.stdout.is_some() || !wanted.stdout)
            && (self.stderr.is_some() || !wanted.stderr || wanted.tty)
            && (self.resize.is_some() || !wanted.tty)
    }
}

async fn session<F, R>(arrivals: mpsc::Receiver<Stream>, streams: Streams, run: F)
where
    F: FnOnce(SessionIo) -> R,
    R: Future<Output = Outcome>,
{
    let collecting = tokio::time::timeout(OPENING, Ends::collect(arrivals, streams));
    let Ok(Some(ends)) = collecting.await else {
        tracing::debug!("the client did not open the streams it asked for");
        return;
    };
    let parts = session_io(streams);
    let mut outputs = Vec::new();
    let mut halves = Vec::new();
    for (channel, end) in [
        (Channel::Stdout, ends.stdout),
        (Channel::Stderr, ends.stderr),
    ] {
        if let Some(end) = end {
            let (from, to) = tokio::io::split(end);
            outputs.push((channel, to));
            // The client sends nothing there; dropping the half would change nothing either.
            halves.push(from);
        }
    }
    let feeding = async {
        let input = async {
            if let Some(end) = ends.stdin {
                // Our direction stays open: a client takes its end for the end of the input.
                let (from, _open) = tokio::io::split(end);
                copy_input(from, parts.input).await;
            }
        };
        let sizes = async {
            if let Some(end) = ends.resize {
                let (from, _open) = tokio::io::split(end);
                copy_sizes(from, parts.sizes).await;
            }
        };
        tokio::join!(input, sizes);
        std::future::pending::<()>().await;
    };
    let mut sink = Sink::Streams(outputs);
    let outcome = tokio::select! {
        outcome = run_and_send(run(parts.io), &mut sink, parts.outgoing) => outcome,
        () = feeding => return,
    };
    if let Some(mut error) = ends.error {
        let _ = error.write_all(outcome.to_status().as_bytes()).await;
        let _ = error.shutdown().await;
    }
    if let Sink::Streams(outputs) = sink {
        for (_, mut end) in outputs {
            let _ = end.shutdown().await;
        }
    }
}

async fn copy_input(mut from: ReadHalf<DuplexStream>, to: mpsc::Sender<Bytes>) {
    let mut buffer = BytesMut::with_capacity(CHUNK);
    loop {
        buffer.reserve(CHUNK);
        match from.read_buf(&mut buffer).await {
            Ok(1..) if to.send(buffer.split().freeze()).await.is_ok() => {}
            _ => return,
        }
    }
}

/// Sizes come one after the other as JSON objects.
async fn copy_sizes(mut from: ReadHalf<DuplexStream>, to: mpsc::Sender<Size>) {
    let mut buffer = BytesMut::with_capacity(RESIZE_BYTES);
    while let Ok(1..) = from.read_buf(&mut buffer).await {
        while let Some(end) = buffer.iter().position(|byte| *byte == b'}') {
            let message = buffer.split_to(end + 1);
            if let Some(size) = Size::parse(&message) {
                let _ = to.try_send(size);
            }
        }
        if buffer.len() >= RESIZE_BYTES {
            return;
        }
    }
}
