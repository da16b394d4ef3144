//! One identity towards many servers: an API server towards kubelets, webhooks and endpoints.
//!
//! Requests carry the whole URL; a client is kept for each `scheme://host:port`, at most
//! [`CLIENTS_MOST`], the longest unused being dropped first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::{Connector, Endpoint, HttpClient, TcpConnector};
use crate::tls::ClientTls;
use crate::{BoxFuture, Request, Response, Transport, TransportError};

const CLIENTS_MOST: usize = 4096;

/// Sends each request to the server that its URL names.
#[derive(Clone)]
pub struct Hosts {
    shared: Arc<Shared>,
}

struct Shared {
    tls: ClientTls,
    connector: Arc<dyn Connector>,
    clients: Mutex<Clients>,
}

#[derive(Default)]
struct Clients {
    by_origin: HashMap<String, (HttpClient, u64)>,
    /// Counts uses, to find the longest unused.
    clock: u64,
}

impl std::fmt::Debug for Hosts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hosts")
    }
}

impl Hosts {
    /// Uses `tls` towards every https server and plain TCP towards http ones.
    pub fn new(tls: ClientTls) -> Self {
        Self::with_connector(tls, Arc::new(TcpConnector::default()))
    }

    /// The same with sockets by `connector`.
    pub fn with_connector(tls: ClientTls, connector: Arc<dyn Connector>) -> Self {
        let clients = Mutex::default();
        Self {
            shared: Arc::new(Shared {
                tls,
                connector,
                clients,
            }),
        }
    }

    fn client(&self, request: &Request) -> Result<HttpClient, TransportError> {
        let uri = request.uri();
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(TransportError::Malformed {
                what: "request URL",
                reason: format!("{uri} names no server"),
            });
        };
        let origin = format!("{scheme}://{authority}");
        let mut clients = self
            .shared
            .clients
            .lock()
            .unwrap_or_else(|poison| poison.into_inner());
        clients.clock += 1;
        let now = clients.clock;
        if let Some((client, used)) = clients.by_origin.get_mut(&origin) {
            *used = now;
            return Ok(client.clone());
        }
        let endpoint = Endpoint::from_url(&origin, self.shared.tls.clone())?;
        let client = HttpClient::new(endpoint.with_connector(self.shared.connector.clone()))?;
        if clients.by_origin.len() >= CLIENTS_MOST {
            let oldest = clients.by_origin.iter().min_by_key(|(_, (_, used))| *used);
            if let Some(oldest) = oldest.map(|(origin, _)| origin.clone()) {
                clients.by_origin.remove(&oldest);
            }
        }
        clients.by_origin.insert(origin, (client.clone(), now));
        Ok(client)
    }
}

impl Transport for Hosts {
    fn call(&self, request: Request) -> BoxFuture<'static, Result<Response, TransportError>> {
        match self.client(&request) {
            Ok(client) => client.call(request),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }
}
