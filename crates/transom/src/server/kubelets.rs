//! The API server's way to kubelets: one client a node, verified by the cluster's CA, under the
//! API server's own certificate.

use std::collections::HashMap;

use http::Uri;
use parking_lot::Mutex;
use transport::client::{Endpoint, HttpClient};
use transport::tls::ClientTls;
use transport::{BoxFuture, Request, Response, Transport, TransportError};

/// More nodes than a control plane has.
const KEPT: usize = 20_000;

/// See the module's header.
pub(super) struct Kubelets {
    tls: ClientTls,
    clients: Mutex<HashMap<String, HttpClient>>,
}

impl Kubelets {
    pub(super) fn new(tls: ClientTls) -> Self {
        Self {
            tls,
            clients: Mutex::new(HashMap::new()),
        }
    }

    fn client(&self, uri: &Uri) -> Result<HttpClient, TransportError> {
        let malformed = |reason: &str| TransportError::Malformed {
            what: "kubelet URL",
            reason: format!("{uri} {reason}"),
        };
        let authority = uri.authority().ok_or_else(|| malformed("names no host"))?;
        if let Some(known) = self.clients.lock().get(authority.as_str()) {
            return Ok(known.clone());
        }
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']');
        let port = authority.port_u16().unwrap_or(10_250);
        let client = HttpClient::new(Endpoint::https(host, port, self.tls.clone()))?;
        let mut clients = self.clients.lock();
        if clients.len() >= KEPT {
            clients.clear();
        }
        clients.insert(authority.to_string(), client.clone());
        Ok(client)
    }
}

impl Transport for Kubelets {
    fn call(&self, mut request: Request) -> BoxFuture<'static, Result<Response, TransportError>> {
        let client = self.client(request.uri());
        let path = request
            .uri()
            .path_and_query()
            .map_or("/", |path| path.as_str());
        let path = path.parse::<Uri>();
        Box::pin(async move {
            if let Ok(path) = path {
                *request.uri_mut() = path;
            }
            client?.call(request).await
        })
    }
}
