//! The connections of one client: HTTP/2 shared, HTTP/1.1 idle ones kept for reuse.
//!
//! Bounds: [`H2_MOST`] shared connections with [`H2_STREAMS`] requests each, [`H1_IDLE`] idle
//! HTTP/1.1 connections for [`H1_IDLE_TIME`]. A connection's driver task ends by itself when the
//! last request handle and body of it are dropped.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use base::Shutdown;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls_pki_types::ServerName;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::connector::Io;
use super::{Endpoint, Target, target};
use crate::{Body, Request, Response, TransportError};

/// Shared HTTP/2 connections.
const H2_MOST: usize = 16;
/// Requests at once on one of them: below the 250 that servers allow.
const H2_STREAMS: usize = 200;
/// Idle HTTP/1.1 connections kept.
const H1_IDLE: usize = 16;
/// How long an HTTP/1.1 connection stays usable: below the 90 s after which servers close it.
const H1_IDLE_TIME: Duration = Duration::from_secs(60);
/// Pings on an HTTP/2 connection without traffic, and the wait for their answer.
const PING: Duration = Duration::from_secs(30);
const PING_ANSWER: Duration = Duration::from_secs(15);

pub(super) struct Pool {
    endpoint: Endpoint,
    name: String,
    /// Offers h2 and http/1.1; http/1.1 only.
    tls: Option<(TlsConnector, TlsConnector, ServerName<'static>)>,
    connections: Mutex<Connections>,
    /// Held while a shared connection is opened, so that a burst opens one.
    dialing: tokio::sync::Mutex<()>,
    /// The server took http/1.1 although h2 was offered.
    old: AtomicBool,
    /// Never triggered: drivers end with their connection.
    running: Shutdown,
}

#[derive(Default)]
struct Connections {
    h2: Vec<H2>,
    h1: Vec<(H1, Instant)>,
}

struct H2 {
    sender: http2::SendRequest<Body>,
    /// One clone a request in flight.
    load: Arc<()>,
}

type H1 = http1::SendRequest<Body>;

/// A fresh connection by what the server speaks.
enum Fresh {
    H2(http2::SendRequest<Body>, Arc<()>),
    H1(H1),
}

impl Pool {
    pub(super) fn new(endpoint: Endpoint) -> Result<Self, TransportError> {
        let tls = match &endpoint.tls {
            None => None,
            Some(tls) => {
                let name = tls.server_name.clone().unwrap_or(endpoint.host.clone());
                let name =
                    ServerName::try_from(name).map_err(|error| TransportError::Malformed {
                        what: "server name",
                        reason: error.to_string(),
                    })?;
                let both = Arc::new(tls.config(&[b"h2", b"http/1.1"])?);
                let old = Arc::new(tls.config(&[b"http/1.1"])?);
                Some((TlsConnector::from(both), TlsConnector::from(old), name))
            }
        };
        Ok(Self {
            name: endpoint.authority(),
            endpoint,
            tls,
            connections: Mutex::default(),
            dialing: tokio::sync::Mutex::new(()),
            old: AtomicBool::new(false),
            running: Shutdown::new(),
        })
    }

    fn connections(&self) -> MutexGuard<'_, Connections> {
        // Nothing panics while the lock is held; a poisoned list of connections is still a list.
        self.connections
            .lock()
            .unwrap_or_else(|poison| poison.into_inner())
    }

    /// Over a shared HTTP/2 connection, or HTTP/1.1 if the server knows nothing else.
    pub(super) async fn send(
        self: &Arc<Self>,
        mut request: Request,
        to: &Target<'_>,
    ) -> Result<Response, TransportError> {
        let mut again = true;
        loop {
            if self.old.load(Ordering::Relaxed) {
                return self.send_plain(request, to).await;
            }
            let (mut sender, load) = match self.shared().await? {
                Fresh::H1(sender) => {
                    self.old.store(true, Ordering::Relaxed);
                    return self.exchange_h1(sender, request, to).await.map_err(|e| e.0);
                }
                Fresh::H2(sender, load) => (sender, load),
            };
            target(&mut request, to, true);
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(response.map(|body| Body::from(body).with_guard(load))),
                Err(mut error) => match error.take_message() {
                    Some(back) if again => {
                        request = back;
                        again = false;
                    }
                    _ => return Err(self.exchange_error(error.into_error())),
                },
            }
        }
    }

    /// Over an idle or a new HTTP/1.1 connection.
    pub(super) async fn send_plain(
        self: &Arc<Self>,
        mut request: Request,
        to: &Target<'_>,
    ) -> Result<Response, TransportError> {
        while let Some(sender) = self.idle() {
            match self.exchange_h1(sender, request, to).await {
                Ok(response) => return Ok(response),
                Err((_, Some(back))) => request = *back,
                Err((error, None)) => return Err(error),
            }
        }
        let sender = self.dial_h1().await?;
        self.exchange_h1(sender, request, to).await.map_err(|e| e.0)
    }

    /// Over a connection of its own, which the answer may turn into something else.
    pub(super) async fn send_upgrade(
        &self,
        mut request: Request,
        to: &Target<'_>,
    ) -> Result<Response, TransportError> {
        let mut sender = self.dial_h1().await?;
        target(&mut request, to, false);
        let response = sender.send_request(request).await;
        let response = response.map_err(|cause| self.exchange_error(cause))?;
        Ok(response.map(Body::from))
    }

    fn exchange_error(&self, cause: hyper::Error) -> TransportError {
        let endpoint = self.name.clone();
        TransportError::Exchange { endpoint, cause }
    }

    async fn exchange_h1(
        self: &Arc<Self>,
        mut sender: H1,
        mut request: Request,
        to: &Target<'_>,
    ) -> Result<Response, (TransportError, Option<Box<Request>>)> {
        target(&mut request, to, false);
        match sender.try_send_request(request).await {
            Ok(response) => {
                let back = Return {
                    pool: Arc::downgrade(self),
                    sender: Some(sender),
                };
                Ok(response.map(|body| Body::from(body).with_guard(back)))
            }
            Err(mut error) => {
                let back = error.take_message().map(Box::new);
                Err((self.exchange_error(error.into_error()), back))
            }
        }
    }

    fn idle(&self) -> Option<H1> {
        let mut connections = self.connections();
        connections
            .h1
            .retain(|(sender, since)| !sender.is_closed() && since.elapsed() < H1_IDLE_TIME);
        let ready = connections
            .h1
            .iter()
            .rposition(|(sender, _)| sender.is_ready())?;
        Some(connections.h1.swap_remove(ready).0)
    }

    fn open_h2(&self) -> Option<Fresh> {
        let mut connections = self.connections();
        connections.h2.retain(|shared| !shared.sender.is_closed());
        let full = connections.h2.len() >= H2_MOST;
        let least = connections
            .h2
            .iter()
            .min_by_key(|one| Arc::strong_count(&one.load))?;
        let free = Arc::strong_count(&least.load) <= H2_STREAMS;
        (free || full).then(|| Fresh::H2(least.sender.clone(), least.load.clone()))
    }

    async fn shared(&self) -> Result<Fresh, TransportError> {
        if let Some(open) = self.open_h2() {
            return Ok(open);
        }
        let _one = self.dialing.lock().await;
        if let Some(open) = self.open_h2() {
            return Ok(open);
        }
        let (io, http2) = self.dial(false).await?;
        if !http2 {
            return self.drive_h1(io).await.map(Fresh::H1);
        }
        let handshake = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING_ANSWER)
            .initial_stream_window_size(512 * 1024)
            .initial_connection_window_size(2 * 1024 * 1024)
            .max_send_buf_size(64 * 1024)
            .handshake(TokioIo::new(io))
            .await;
        let (sender, driver) = handshake.map_err(|cause| self.exchange_error(cause))?;
        base::tasks::spawn("http2-client", &self.running, async move {
            if let Err(error) = driver.await {
                tracing::debug!(err = %error, "connection ended");
            }
        });
        let load = Arc::new(());
        let fresh = Fresh::H2(sender.clone(), load.clone());
        self.connections().h2.push(H2 { sender, load });
        Ok(fresh)
    }

    async fn dial_h1(&self) -> Result<H1, TransportError> {
        let (io, _) = self.dial(true).await?;
        self.drive_h1(io).await
    }

    async fn drive_h1(&self, io: Box<dyn Io>) -> Result<H1, TransportError> {
        let handshake = http1::handshake(TokioIo::new(io)).await;
        let (sender, driver) = handshake.map_err(|cause| self.exchange_error(cause))?;
        base::tasks::spawn("http1-client", &self.running, async move {
            if let Err(error) = driver.with_upgrades().await {
                tracing::debug!(err = %error, "connection ended");
            }
        });
        Ok(sender)
    }

    /// A socket with TLS on it, and whether it speaks HTTP/2.
    async fn dial(&self, old: bool) -> Result<(Box<dyn Io>, bool), TransportError> {
        let limit = self.endpoint.connect_timeout;
        match tokio::time::timeout(limit, self.dial_unbounded(old)).await {
            Ok(result) => result,
            Err(_) => Err(TransportError::Timeout {
                operation: "connect to",
                endpoint: self.name.clone(),
                limit,
            }),
        }
    }

    async fn dial_unbounded(&self, old: bool) -> Result<(Box<dyn Io>, bool), TransportError> {
        let endpoint = || self.name.clone();
        let connect = self
            .endpoint
            .connector
            .connect(&self.endpoint.host, self.endpoint.port);
        let io = connect.await.map_err(|cause| TransportError::Connect {
            endpoint: endpoint(),
            cause,
        })?;
        let Some((both, only_old, name)) = &self.tls else {
            return Ok((io, false));
        };
        let connector = if old { only_old } else { both };
        let handshake: Result<_, io::Error> = connector.connect(name.clone(), io).await;
        let stream = handshake.map_err(|cause| TransportError::Handshake {
            endpoint: endpoint(),
            cause,
        })?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok((Box::new(stream), http2))
    }
}

/// Gives an HTTP/1.1 connection back when the body of its response is dropped.
struct Return {
    pool: Weak<Pool>,
    sender: Option<H1>,
}

impl Drop for Return {
    fn drop(&mut self) {
        let (Some(pool), Some(sender)) = (self.pool.upgrade(), self.sender.take()) else {
            return;
        };
        let mut connections = pool.connections();
        if !sender.is_closed() && connections.h1.len() < H1_IDLE {
            connections.h1.push((sender, Instant::now()));
        }
    }
}
