//! Connections that stop being HTTP: WebSocket, SPDY, plain tunnels.
//!
//! One type for both worlds: a connection upgraded by hyper, and an in-memory pipe between two
//! components of one process. The side that answers takes [`of_request`] before it returns 101;
//! the side that asked takes [`of_response`] after it has seen 101.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use crate::{Request, Response};

/// Bytes that wait in each direction of an in-memory pipe.
const PIPE_BYTES: usize = 64 * 1024;

/// A byte stream that once was an HTTP connection.
#[derive(Debug)]
pub enum Upgraded {
    /// Over a socket; boxed, for hyper's type is large.
    Wire(Box<TokioIo<hyper::upgrade::Upgraded>>),
    /// Between two components of this process.
    Pipe(DuplexStream),
}

impl AsyncRead for Upgraded {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Wire(io) => Pin::new(io.as_mut()).poll_read(cx, buffer),
            Self::Pipe(io) => Pin::new(io).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Upgraded {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Wire(io) => Pin::new(io.as_mut()).poll_write(cx, data),
            Self::Pipe(io) => Pin::new(io).poll_write(cx, data),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Wire(io) => Pin::new(io.as_mut()).poll_flush(cx),
            Self::Pipe(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Wire(io) => Pin::new(io.as_mut()).poll_shutdown(cx),
            Self::Pipe(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}

/// Resolves to the byte stream once the 101 response has passed.
#[derive(Debug)]
pub enum OnUpgrade {
    /// Waits for hyper to let go of the connection.
    Wire(hyper::upgrade::OnUpgrade),
    /// Already there; `None` after it was taken.
    Pipe(Option<DuplexStream>),
}

impl Future for OnUpgrade {
    type Output = io::Result<Upgraded>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Wire(pending) => Pin::new(pending).poll(cx).map(|result| match result {
                Ok(upgraded) => Ok(Upgraded::Wire(Box::new(TokioIo::new(upgraded)))),
                Err(error) => Err(io::Error::other(error)),
            }),
            Self::Pipe(stream) => Poll::Ready(match stream.take() {
                Some(stream) => Ok(Upgraded::Pipe(stream)),
                None => Err(io::ErrorKind::NotConnected.into()),
            }),
        }
    }
}

/// One end of a pipe, waiting in the extensions of a message.
#[derive(Clone, Debug)]
pub(crate) struct Waiting(Arc<Mutex<Option<DuplexStream>>>);

impl Waiting {
    fn new(stream: DuplexStream) -> Self {
        Self(Arc::new(Mutex::new(Some(stream))))
    }

    fn take(&self) -> Option<DuplexStream> {
        self.0.lock().ok()?.take()
    }

    pub(crate) fn attach(self, extensions: &mut http::Extensions) {
        extensions.insert(self);
    }
}

/// Puts the answering end of a new pipe into a request; returns the asking end.
pub(crate) fn pipe(request: &mut http::Extensions) -> Waiting {
    let (asking, answering) = tokio::io::duplex(PIPE_BYTES);
    Waiting::new(answering).attach(request);
    Waiting::new(asking)
}

/// The stream that a request asks to turn its connection into; `None`: it cannot be upgraded.
pub fn of_request(request: &mut Request) -> Option<OnUpgrade> {
    take(request.extensions_mut())
}

/// The stream that follows a 101 response.
pub fn of_response(response: &mut Response) -> Option<OnUpgrade> {
    if response.status() != http::StatusCode::SWITCHING_PROTOCOLS {
        return None;
    }
    take(response.extensions_mut())
}

fn take(extensions: &mut http::Extensions) -> Option<OnUpgrade> {
    if let Some(waiting) = extensions.remove::<Waiting>() {
        return Some(OnUpgrade::Pipe(Some(waiting.take()?)));
    }
    let pending = extensions.remove::<hyper::upgrade::OnUpgrade>()?;
    Some(OnUpgrade::Wire(pending))
}
