//! HTTP server over TCP and TLS: accept, limit, hand to a [`Service`], drain at the end.
//!
//! TLS connections speak what ALPN chose; plain ones speak HTTP/1.1. Neither is guessed from the
//! first bytes, so that a silent client cannot escape the time limits.
//!
//! Owns connections: their number, handshakes, header sizes, streams, and the grace they get at
//! shutdown. Knows no route and no user; the peer's certificates and address travel as request
//! extensions. States of a connection: accepted → handshake (bounded in time) → serving →
//! draining (no new requests, the last ones finish) → closed, by force after `drain_timeout`.
//! Source of the figures: kubernetes v1.36 apiserver/pkg/server/secure_serving.go (streams,
//! header timeout); the rest is ours.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use base::Shutdown;
use futures_util::FutureExt;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use crate::tls::ServerTls;
use crate::{Body, PeerAddr, PeerCertificates, Response, Service, TransportError};

/// Flow-control window of one HTTP/2 stream: a large object arrives in one round trip.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Flow-control window of one HTTP/2 connection: what one client can make us hold.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes of one stream's response that wait inside the HTTP/2 engine.
const SEND_BUFFER: usize = 64 * 1024;
/// Pause after a failed accept (descriptors exhausted), so that it is not a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a client may take from a server.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at once; more wait in the kernel's queue.
    pub connections: usize,
    /// Bytes of a request's header.
    pub header_bytes: u32,
    /// Requests at once on one HTTP/2 connection.
    pub concurrent_streams: u32,
    /// From accept to the end of the TLS handshake.
    pub handshake_timeout: Duration,
    /// For the next header of an HTTP/1.1 connection.
    pub idle_timeout: Duration,
    /// Between pings that find dead HTTP/2 peers.
    pub ping_interval: Duration,
    /// For running requests at shutdown.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            header_bytes: 128 * 1024,
            concurrent_streams: 250,
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(90),
            ping_interval: Duration::from_secs(45),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// How a server listens.
#[derive(Clone, Debug, Default)]
pub struct ServerConfig {
    /// TLS; `None`: plain HTTP.
    pub tls: Option<ServerTls>,
    /// What a client may take.
    pub limits: Limits,
}

struct Context {
    service: Arc<dyn Service>,
    acceptor: Option<TlsAcceptor>,
    limits: Limits,
    /// Asks connections to finish.
    drain: Shutdown,
}

/// Serves `service` on `listener` until `shutdown`, then drains. Returns when every connection is
/// closed, or after the drain timeout.
pub async fn serve(
    listener: TcpListener,
    config: ServerConfig,
    service: Arc<dyn Service>,
    shutdown: Shutdown,
) -> Result<(), TransportError> {
    let acceptor = match &config.tls {
        Some(tls) => Some(TlsAcceptor::from(tls.config()?)),
        None => None,
    };
    let limits = config.limits;
    let most = limits.connections.clamp(1, Semaphore::MAX_PERMITS);
    let most = u32::try_from(most).unwrap_or(u32::MAX);
    let permits = Arc::new(Semaphore::new(most as usize));
    let (kill, drain_timeout) = (Shutdown::new(), limits.drain_timeout);
    let context = Arc::new(Context {
        service,
        acceptor,
        limits,
        drain: shutdown.clone(),
    });
    loop {
        let permit = tokio::select! {
            () = shutdown.wait() => break,
            permit = permits.clone().acquire_owned() => permit,
        };
        let accepted = tokio::select! {
            () = shutdown.wait() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let context = context.clone();
                base::tasks::spawn("http-connection", &kill, async move {
                    connection(stream, peer, context).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(err = %base::Chain(&error), "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let _ = tokio::time::timeout(drain_timeout, permits.acquire_many(most)).await;
    kill.trigger();
    Ok(())
}

async fn connection(stream: TcpStream, peer: SocketAddr, context: Arc<Context>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(err = %error, peer = %peer, "cannot disable delayed sending");
    }
    let Some(acceptor) = &context.acceptor else {
        requests(stream, Wire::Http1, peer, None, &context).await;
        return;
    };
    let handshake = tokio::time::timeout(context.limits.handshake_timeout, acceptor.accept(stream));
    let stream = match handshake.await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(err = %error, peer = %peer, "tls handshake failed");
            return;
        }
        Err(_) => {
            tracing::debug!(peer = %peer, "tls handshake timed out");
            return;
        }
    };
    let session = stream.get_ref().1;
    let certificates = session.peer_certificates().map(|chain| {
        let chain = chain.iter().map(|one| one.clone().into_owned());
        PeerCertificates(chain.collect())
    });
    let wire = match session.alpn_protocol() {
        Some(b"h2") => Wire::Http2,
        _ => Wire::Http1,
    };
    requests(stream, wire, peer, certificates, &context).await;
}

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, from its preface on.
    Http2,
}

/// Serves one connection that came by other ways than a listener, until its end; the peer's
/// address is the unspecified one.
pub async fn serve_stream<I>(io: I, wire: Wire, limits: &Limits, service: Arc<dyn Service>)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let context = Arc::new(Context {
        service,
        acceptor: None,
        limits: limits.clone(),
        drain: Shutdown::new(),
    });
    let nobody = SocketAddr::from(([0, 0, 0, 0], 0));
    requests(io, wire, nobody, None, &context).await;
}

async fn requests<I>(
    io: I,
    wire: Wire,
    peer: SocketAddr,
    certificates: Option<PeerCertificates>,
    context: &Arc<Context>,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = context.service.clone();
    let handler = hyper::service::service_fn(move |request: http::Request<Incoming>| {
        let mut request = request.map(Body::from);
        request.extensions_mut().insert(PeerAddr(peer));
        if let Some(certificates) = &certificates {
            request.extensions_mut().insert(certificates.clone());
        }
        answer(service.clone(), request)
    });
    let (io, limits) = (TokioIo::new(io), &context.limits);
    let result = if wire == Wire::Http2 {
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.concurrent_streams)
            .max_header_list_size(limits.header_bytes)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .keep_alive_interval(limits.ping_interval)
            .keep_alive_timeout(limits.ping_interval)
            .serve_connection(io, handler);
        let mut connection = pin!(connection);
        tokio::select! {
            result = connection.as_mut() => result,
            () = context.drain.wait() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    } else {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.idle_timeout)
            .max_buf_size(limits.header_bytes.max(8192) as usize)
            .serve_connection(io, handler)
            .with_upgrades();
        let mut connection = pin!(connection);
        tokio::select! {
            result = connection.as_mut() => result,
            () = context.drain.wait() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    if let Err(error) = result {
        tracing::debug!(err = %error, peer = %peer, "connection ended");
    }
}

/// A handler that panics costs its own request, not the connection's others.
fn answer(
    service: Arc<dyn Service>,
    request: crate::Request,
) -> impl Future<Output = Result<Response, Infallible>> {
    let guarded = AssertUnwindSafe(async move { service.call(request).await }).catch_unwind();
    guarded.map(|result| {
        let response = result.unwrap_or_else(|_panic| {
            tracing::error!("request handler panicked");
            let text = "This request caused apiserver to panic. Look in the logs for details.";
            let mut response = Response::new(Body::from(text));
            *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
            response
        });
        Ok(response.map(Body::together))
    })
}

#[cfg(test)]
mod tests;
