//! Requests of the API server to webhooks and extension servers.
//!
//! Owns the clients: one for each server that a configuration names, with its CA bundle. A
//! Service is not reached by its address, for the API server need not sit behind a service proxy:
//! with each new connection one of the ready endpoints of its EndpointSlices is chosen. Knows
//! nothing of what is sent.
//! Source: kubernetes v1.36.3 apiserver/pkg/util/{webhook/client.go,proxy/proxy.go}.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hashbrown::HashMap;
use http::{Method, header};
use parking_lot::Mutex;
use registry::Lookup;
use schema::Ref;
use transport::client::{Connector, Endpoint, HttpClient, Io, ResponseTimeout, TcpConnector};
use transport::tls::{Certificates, ClientTls, Trust};
use transport::{Body, BoxFuture, Request, Response, Transport, TransportError};

use crate::lookup::StoreLookup;

/// Clients that are kept.
const CLIENTS_MOST: usize = 128;
/// Answers of webhooks at most.
const ANSWER_MOST: usize = 16 << 20;

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Server {
    /// A whole URL.
    Url(String),
    /// A Service, by a path below it.
    Service {
        namespace: String,
        name: String,
        port: u16,
        path: String,
    },
}

/// A server with what its certificate is checked against.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Backend {
    pub(crate) server: Server,
    /// PEM; empty: the roots of the system.
    pub(crate) ca: Vec<u8>,
    /// Whatever its certificate says (extension servers may ask for it).
    pub(crate) insecure: bool,
    /// It is shown the front proxy's certificate.
    pub(crate) front_proxy: bool,
}

impl Backend {
    /// A `clientConfig` of a webhook.
    pub(crate) fn of(config: Ref<'_>) -> Option<Backend> {
        let ca = STANDARD.decode(config.str("caBundle")).unwrap_or_default();
        let url = config.str("url");
        let server = match config.get("service") {
            Some(service) if url.is_empty() => Server::Service {
                namespace: service.str("namespace").to_owned(),
                name: service.str("name").to_owned(),
                port: port(service),
                path: service.str("path").to_owned(),
            },
            _ if !url.is_empty() => Server::Url(url.to_owned()),
            _ => return None,
        };
        Some(Backend {
            server,
            ca,
            insecure: false,
            front_proxy: false,
        })
    }

    /// The URL as errors name it.
    pub(crate) fn url(&self) -> String {
        match &self.server {
            Server::Url(url) => url.clone(),
            Server::Service {
                namespace,
                name,
                port,
                path,
            } => {
                let slash = if path.starts_with('/') { "" } else { "/" };
                format!("https://{name}.{namespace}.svc:{port}{slash}{path}")
            }
        }
    }
}

/// The port of a reference to a Service.
pub(crate) fn port(service: Ref<'_>) -> u16 {
    let port = service
        .int("port")
        .and_then(|port| u16::try_from(port).ok());
    port.filter(|port| *port > 0).unwrap_or(443)
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutboundError {
    /// In upstream's words, without the operation.
    #[error("{0}")]
    Failed(String),
    /// An answer that is no success.
    #[error("{message}")]
    Refused { code: u16, message: String },
}

/// The clients.
pub(crate) struct Outbound {
    lookup: StoreLookup,
    /// The front proxy's certificate.
    identity: Option<Arc<Certificates>>,
    clients: Mutex<HashMap<Backend, (HttpClient, u64)>>,
}

impl std::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Outbound")
    }
}

impl Outbound {
    pub(crate) fn new(lookup: StoreLookup, identity: Option<Arc<Certificates>>) -> Outbound {
        Outbound {
            lookup,
            identity,
            clients: Mutex::default(),
        }
    }

    /// One server with all its paths.
    fn key(backend: &Backend) -> Backend {
        Backend {
            server: match &backend.server {
                Server::Service {
                    namespace,
                    name,
                    port,
                    ..
                } => Server::Service {
                    namespace: namespace.clone(),
                    name: name.clone(),
                    port: *port,
                    path: String::new(),
                },
                Server::Url(url) => {
                    let scheme = url.find("://").map_or(0, |at| at + 3);
                    let end = url[scheme..].find('/').map_or(url.len(), |at| scheme + at);
                    Server::Url(url[..end].to_owned())
                }
            },
            ..backend.clone()
        }
    }

    /// Ends what is kept of connections to a server that does not answer as it should.
    pub(crate) fn forget(&self, backend: &Backend) {
        self.clients.lock().remove(&Self::key(backend));
    }

    fn client(&self, backend: &Backend) -> Result<HttpClient, TransportError> {
        let key = Self::key(backend);
        let mut clients = self.clients.lock();
        let now = clients.values().map(|(_, used)| *used).max().unwrap_or(0) + 1;
        if let Some((client, used)) = clients.get_mut(&key) {
            *used = now;
            return Ok(client.clone());
        }
        let trust = if backend.insecure {
            Trust::Anyone
        } else if backend.ca.is_empty() {
            Trust::System
        } else {
            Trust::from_pem(&backend.ca)?
        };
        let mut tls = ClientTls::new(trust);
        if let Some(identity) = self.identity.as_ref().filter(|_| backend.front_proxy) {
            tls = tls.with_identity(Arc::clone(identity));
        }
        let endpoint = match &key.server {
            Server::Url(origin) => Endpoint::from_url(origin, tls)?,
            Server::Service {
                namespace,
                name,
                port,
                ..
            } => {
                let connector = ServiceConnector {
                    lookup: self.lookup.clone(),
                    namespace: namespace.clone(),
                    name: name.clone(),
                    sockets: TcpConnector::default(),
                };
                Endpoint::https(format!("{name}.{namespace}.svc"), *port, tls)
                    .with_connector(Arc::new(connector))
            }
        };
        let client = HttpClient::new(endpoint)?;
        if clients.len() >= CLIENTS_MOST {
            let oldest = clients.iter().min_by_key(|(_, (_, used))| *used);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                clients.remove(&oldest);
            }
        }
        clients.insert(key, (client.clone(), now));
        Ok(client)
    }

    /// Passes a request on whose URI is a path.
    pub(crate) async fn send(
        &self,
        backend: &Backend,
        request: Request,
    ) -> Result<Response, TransportError> {
        self.client(backend)?.call(request).await
    }

    /// Passes a request on that may become a stream.
    pub(crate) async fn stream(
        &self,
        backend: &Backend,
        request: Request,
    ) -> Result<Response, TransportError> {
        let client = self.client(backend)?;
        transport::streams::proxy_upgrade(request, &client).await
    }

    /// Posts JSON and takes the JSON of the answer.
    pub(crate) async fn post(
        &self,
        backend: &Backend,
        body: Vec<u8>,
        limit: Duration,
    ) -> Result<Bytes, OutboundError> {
        let seconds = limit.as_secs().max(1);
        let mut url = backend.url();
        url.push(if url.contains('?') { '&' } else { '?' });
        url.push_str(&format!("timeout={seconds}s"));
        let failed = |cause: &str| OutboundError::Failed(format!("Post {url:?}: {cause}"));
        let request = http::Request::builder()
            .method(Method::POST)
            .uri(&url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, */*")
            .header(header::USER_AGENT, "kube-apiserver-admission")
            .extension(ResponseTimeout(limit))
            .body(Body::from(Bytes::from(body)))
            .map_err(|error| failed(&error.to_string()))?;
        let exchange = async {
            let response = self
                .send(backend, request)
                .await
                .map_err(|error| failed(&words(&error)))?;
            let code = response.status().as_u16();
            let body = response.into_body().collect(ANSWER_MOST).await;
            let body = body.map_err(|error| failed(&error.to_string()))?;
            Ok::<_, OutboundError>((code, body))
        };
        let (code, body) = match tokio::time::timeout(limit, exchange).await {
            Ok(done) => done?,
            Err(_) => return Err(failed("context deadline exceeded")),
        };
        if (200..300).contains(&code) {
            return Ok(body);
        }
        Err(OutboundError::Refused {
            code,
            message: refusal(code, &body),
        })
    }
}

/// What Go would say.
fn words(error: &TransportError) -> String {
    match error {
        TransportError::Timeout { .. } => "context deadline exceeded".to_owned(),
        other => base::Chain(other).to_string(),
    }
}

/// Upstream's text for an answer that is no Status.
/// Source: apimachinery v0.36.3 pkg/api/errors/errors.go NewGenericServerResponse.
fn refusal(code: u16, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    if let Ok(dom) = schema::Dom::parse_json(body)
        && let Some(status) = api::Status::from_document(dom.as_ref())
    {
        return status.message;
    }
    match code {
        401 => "the server has asked for the client to provide credentials".to_owned(),
        403 => format!("the server does not allow access to the requested resource: {text}"),
        404 => "the server could not find the requested resource".to_owned(),
        429 => "the server has received too many requests and has asked us to try again later"
            .to_owned(),
        503 => "the server is currently unable to handle the request".to_owned(),
        504 => "the server was unable to return a response in the time allotted, but may still be processing the request".to_owned(),
        500.. => format!(
            "an error on the server ({text:?}) has prevented the request from succeeding"
        ),
        _ => "the server rejected our request for an unknown reason".to_owned(),
    }
}

/// Connects to a ready endpoint of a Service.
struct ServiceConnector {
    lookup: StoreLookup,
    namespace: String,
    name: String,
    sockets: TcpConnector,
}

impl Connector for ServiceConnector {
    fn connect(&self, _host: &str, port: u16) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        let sockets = self.sockets.clone();
        let found = resolve(&self.lookup, &self.namespace, &self.name, port);
        Box::pin(async move {
            let addresses =
                found.map_err(|cause| io::Error::new(io::ErrorKind::NotFound, cause))?;
            let mut last = io::Error::from(io::ErrorKind::NotFound);
            for (host, port) in addresses {
                match sockets.connect(&host, port).await {
                    Ok(stream) => return Ok(stream),
                    Err(error) => last = error,
                }
            }
            Err(last)
        })
    }
}

/// Addresses of the ready endpoints behind a Service's port, beginning anywhere.
pub(crate) fn resolve(
    lookup: &StoreLookup,
    namespace: &str,
    name: &str,
    port: u16,
) -> Result<Vec<(String, u16)>, String> {
    let Some(service) = lookup.get("services/specs", namespace, name) else {
        return Err(format!("service {name:?} not found"));
    };
    let service = service.as_ref();
    let spec = service.get("spec");
    if spec.is_some_and(|spec| spec.str("type") == "ExternalName") {
        let host = spec.map_or("", |spec| spec.str("externalName"));
        return Ok(vec![(host.to_owned(), port)]);
    }
    let found = spec
        .into_iter()
        .flat_map(|spec| spec.items("ports"))
        .find(|of| of.int("port") == Some(i64::from(port)));
    let Some(found) = found else {
        return Err(format!("no service port {port} found for service {name:?}"));
    };
    let wanted = found.str("name").to_owned();
    let mut all = Vec::new();
    for slice in lookup.list("endpointslices", namespace) {
        let slice = slice.as_ref();
        if api::meta::of(slice).label("kubernetes.io/service-name") != Some(name) {
            continue;
        }
        let target = slice
            .items("ports")
            .find(|of| of.str("name") == wanted)
            .and_then(|of| of.int("port"))
            .and_then(|port| u16::try_from(port).ok());
        let Some(target) = target else { continue };
        for endpoint in slice.items("endpoints") {
            let ready = endpoint.at(&["conditions", "ready"]).and_then(Ref::as_bool);
            if ready == Some(false) {
                continue;
            }
            if let Some(address) = endpoint.items("addresses").next().and_then(Ref::as_str) {
                all.push((address.to_owned(), target));
            }
        }
    }
    if all.is_empty() {
        return Err(format!("no endpoints available for service {name:?}"));
    }
    let at = base::Rng::from_os().below(all.len() as u64);
    all.rotate_left(usize::try_from(at).unwrap_or(0));
    Ok(all)
}
