//! A connection to the API under one of the node's identities.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use bootstrap::config::AgentConfig;
use client::Client;
use transport::client::{Endpoint, HttpClient};
use transport::tls::{ClientTls, Trust};

use super::load_identity;

/// A client that shows `certificate` and trusts `ca`; `component` is what it calls itself.
pub(super) fn connect(
    config: &AgentConfig,
    ca: &[u8],
    certificate: &Path,
    key: &Path,
    component: &str,
) -> Result<Client> {
    let identity = load_identity(certificate, key)?;
    let trust = Trust::from_pem(ca).context("read the cluster's CA")?;
    let tls = ClientTls::new(trust).with_identity(identity);
    let endpoint = Endpoint::https(config.server.ip().to_string(), config.server.port(), tls);
    let http = HttpClient::new(endpoint)
        .with_context(|| format!("prepare the connection of {component} to the API"))?;
    Ok(Client::new(Arc::new(http), component))
}
