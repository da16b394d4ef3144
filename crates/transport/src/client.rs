//! HTTP client for one endpoint: TLS, HTTP/2 with HTTP/1.1 for upgrades, reused connections.
//!
//! Owns the connections to one `host:port` and the credentials sent on them. Knows nothing of
//! redirects (a Kubernetes client must not follow them) or of what the bytes mean. A request with
//! an `Upgrade` header always gets an HTTP/1.1 connection of its own; others share HTTP/2
//! connections, a new one being opened when all are near the server's stream limit.
//! A request that surely was not sent (the connection had just been closed) is sent again once.

mod connector;
mod hosts;
mod pool;
mod token;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, HOST, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Uri};

pub use connector::{Connector, HostSockets, Io, Resolve, Sockets, SystemResolver, TcpConnector};
pub use hosts::Hosts;
use pool::Pool;
pub use token::Token;

use crate::tls::ClientTls;
use crate::{BoxFuture, Request, Response, Transport, TransportError};

/// Where a client's requests go and who it is.
#[derive(Clone)]
pub struct Endpoint {
    /// Name or address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// TLS; `None`: plain HTTP/1.1.
    pub tls: Option<ClientTls>,
    /// Sent as bearer token on every request that has no `Authorization` of its own.
    pub token: Option<Token>,
    /// How sockets are made.
    pub connector: Arc<dyn Connector>,
    /// For the socket and the TLS handshake together.
    pub connect_timeout: Duration,
    /// From the request to the header of its response; `None`: as long as it takes.
    pub response_timeout: Option<Duration>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({}:{})", self.host, self.port)
    }
}

impl Endpoint {
    /// Plain HTTP.
    pub fn http(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            tls: None,
            token: None,
            connector: Arc::new(TcpConnector::default()),
            connect_timeout: Duration::from_secs(10),
            response_timeout: None,
        }
    }

    /// HTTPS.
    pub fn https(host: impl Into<String>, port: u16, tls: ClientTls) -> Self {
        Self {
            tls: Some(tls),
            ..Self::http(host, port)
        }
    }

    /// From `http://host:port` or `https://host:port`; `tls` counts for the latter only.
    pub fn from_url(url: &str, tls: ClientTls) -> Result<Self, TransportError> {
        let malformed = |reason: &str| TransportError::Malformed {
            what: "server URL",
            reason: format!("{url:?} {reason}"),
        };
        let uri: Uri = url.parse().map_err(|_| malformed("does not parse"))?;
        let host = uri.host().ok_or_else(|| malformed("has no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        match uri.scheme_str() {
            Some("https") => Ok(Self::https(host, uri.port_u16().unwrap_or(443), tls)),
            Some("http") => Ok(Self::http(host, uri.port_u16().unwrap_or(80))),
            _ => Err(malformed("has neither http nor https as scheme")),
        }
    }

    /// Sends `token` with every request.
    #[must_use]
    pub fn with_token(mut self, token: Token) -> Self {
        self.token = Some(token);
        self
    }

    /// Makes sockets by `connector`.
    #[must_use]
    pub fn with_connector(mut self, connector: Arc<dyn Connector>) -> Self {
        self.connector = connector;
        self
    }

    /// `host:port`, with brackets around an IPv6 address.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// Request extension: how long this request may wait for the header of its response.
#[derive(Clone, Copy, Debug)]
pub struct ResponseTimeout(pub Duration);

/// A client of one endpoint; clones share connections.
#[derive(Clone)]
pub struct HttpClient {
    pool: Arc<Pool>,
    authority: Authority,
    host_header: HeaderValue,
    secure: bool,
    token: Option<Arc<token::Source>>,
    response_timeout: Option<Duration>,
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpClient({})", self.authority)
    }
}

impl HttpClient {
    /// Checks TLS material; connects with the first request.
    pub fn new(endpoint: Endpoint) -> Result<Self, TransportError> {
        let text = endpoint.authority();
        let malformed = |reason: String| TransportError::Malformed {
            what: "host",
            reason,
        };
        let authority = Authority::try_from(text.as_str())
            .map_err(|error| malformed(format!("{text:?}: {error}")))?;
        let host_header = HeaderValue::from_str(&text)
            .map_err(|error| malformed(format!("{text:?}: {error}")))?;
        Ok(Self {
            authority,
            host_header,
            secure: endpoint.tls.is_some(),
            token: endpoint.token.clone().map(|t| Arc::new(t.into())),
            response_timeout: endpoint.response_timeout,
            pool: Arc::new(Pool::new(endpoint)?),
        })
    }

    /// `host:port`.
    pub fn authority(&self) -> &str {
        self.authority.as_str()
    }

    fn prepare(&self, request: &mut Request) -> Result<(), TransportError> {
        if let Some(token) = &self.token
            && !request.headers().contains_key(AUTHORIZATION)
        {
            let value = token.header()?;
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        Ok(())
    }
}

/// The same request in the form that the connection's protocol wants.
pub(crate) fn target(request: &mut Request, client: &Target<'_>, http2: bool) {
    let path = request.uri().path_and_query().cloned();
    let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
    if http2 {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTPS);
        parts.authority = Some(client.authority.clone());
        parts.path_and_query = Some(path);
        request.headers_mut().remove(HOST);
        // Scheme, authority and path are all there, so the parts always fit together.
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        *request.version_mut() = http::Version::HTTP_2;
    } else {
        if !request.headers().contains_key(HOST) {
            request.headers_mut().insert(HOST, client.host.clone());
        }
        *request.uri_mut() = Uri::from(path);
        *request.version_mut() = http::Version::HTTP_11;
    }
}

pub(crate) struct Target<'a> {
    authority: &'a Authority,
    host: &'a HeaderValue,
}

impl Transport for HttpClient {
    fn call(&self, mut request: Request) -> BoxFuture<'static, Result<Response, TransportError>> {
        let client = self.clone();
        Box::pin(async move {
            client.prepare(&mut request)?;
            let limit = request.extensions().get::<ResponseTimeout>().map(|t| t.0);
            let limit = limit.or(client.response_timeout);
            let target = Target {
                authority: &client.authority,
                host: &client.host_header,
            };
            let exchange = async {
                if request.headers().contains_key(UPGRADE) {
                    client.pool.send_upgrade(request, &target).await
                } else if client.secure {
                    client.pool.send(request, &target).await
                } else {
                    client.pool.send_plain(request, &target).await
                }
            };
            match limit {
                None => exchange.await,
                Some(limit) => match tokio::time::timeout(limit, exchange).await {
                    Ok(result) => result,
                    Err(_) => Err(TransportError::Timeout {
                        operation: "request to",
                        endpoint: client.authority.to_string(),
                        limit,
                    }),
                },
            }
        })
    }
}

#[cfg(test)]
mod tests;
