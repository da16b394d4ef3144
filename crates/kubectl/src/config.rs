//! The kubeconfig: which server, which CA, which identity.
//!
//! Source for the format: kubernetes v1.36 client-go tools/clientcmd/api/v1/types.go.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use client::Client;
use serde::Deserialize;
use transport::client::{Endpoint, HttpClient};
use transport::tls::{Certificates, ClientTls, Trust};

#[derive(Deserialize)]
struct File {
    #[serde(default, rename = "current-context")]
    current_context: String,
    #[serde(default)]
    clusters: Vec<Named<Cluster>>,
    #[serde(default)]
    users: Vec<Named<User>>,
    #[serde(default)]
    contexts: Vec<Named<Context>>,
}

#[derive(Deserialize)]
struct Named<T> {
    name: String,
    #[serde(flatten)]
    fields: T,
}

#[derive(Deserialize)]
struct Cluster {
    cluster: ClusterFields,
}

#[derive(Deserialize)]
struct ClusterFields {
    server: String,
    #[serde(default, rename = "certificate-authority")]
    ca_file: Option<PathBuf>,
    #[serde(default, rename = "certificate-authority-data")]
    ca_data: Option<String>,
}

#[derive(Deserialize)]
struct User {
    user: UserFields,
}

#[derive(Deserialize)]
struct UserFields {
    #[serde(default, rename = "client-certificate")]
    cert_file: Option<PathBuf>,
    #[serde(default, rename = "client-certificate-data")]
    cert_data: Option<String>,
    #[serde(default, rename = "client-key")]
    key_file: Option<PathBuf>,
    #[serde(default, rename = "client-key-data")]
    key_data: Option<String>,
}

#[derive(Deserialize)]
struct Context {
    context: ContextFields,
}

#[derive(Deserialize)]
struct ContextFields {
    cluster: String,
    user: String,
    #[serde(default)]
    namespace: Option<String>,
}

/// A client and where it looks by default.
pub struct Connection {
    /// Client of the context's server.
    pub client: Client,
    /// The transport below it, for answers in other forms.
    pub http: HttpClient,
    /// The context's namespace.
    pub namespace: String,
}

/// Connects as the kubeconfig at `path` says; `context` overrides its current one.
pub fn connect(path: &Path, context: Option<&str>) -> Result<Connection> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let file: File = serde_saphyr::from_str(&text)
        .map_err(|error| anyhow!("{error}"))
        .with_context(|| format!("parse {}", path.display()))?;
    let wanted = context.unwrap_or(&file.current_context);
    if wanted.is_empty() {
        bail!(
            "{} has no current context: name one with --context",
            path.display()
        );
    }
    let context = find(&file.contexts, wanted, "context", path)?;
    let cluster = find(&file.clusters, &context.context.cluster, "cluster", path)?;
    let user = find(&file.users, &context.context.user, "user", path)?;
    let ca = material(&cluster.cluster.ca_file, &cluster.cluster.ca_data)?;
    let trust = match ca {
        Some(pem) => Trust::from_pem(&pem).context("read the cluster's CA")?,
        None => Trust::System,
    };
    let mut tls = ClientTls::new(trust);
    let cert = material(&user.user.cert_file, &user.user.cert_data)?;
    let key = material(&user.user.key_file, &user.user.key_data)?;
    if let (Some(cert), Some(key)) = (cert, key) {
        let identity =
            Certificates::from_pem(&cert, &key).context("read the client certificate")?;
        tls = tls.with_identity(identity);
    }
    let endpoint = Endpoint::from_url(&cluster.cluster.server, tls)?;
    let http = HttpClient::new(endpoint)?;
    Ok(Connection {
        client: Client::new(Arc::new(http.clone()), "transom-kubectl"),
        http,
        namespace: context
            .context
            .namespace
            .clone()
            .unwrap_or_else(|| "default".to_owned()),
    })
}

/// The names that the current context of a kubeconfig leads to.
pub(crate) fn chosen(text: &str) -> Result<(String, String)> {
    let path = Path::new("kubeconfig");
    let file: File = serde_saphyr::from_str(text)?;
    let context = find(&file.contexts, &file.current_context, "context", path)?;
    let cluster = find(&file.clusters, &context.context.cluster, "cluster", path)?;
    find(&file.users, &context.context.user, "user", path)?;
    Ok((context.context.user.clone(), cluster.cluster.server.clone()))
}

fn find<'a, T>(list: &'a [Named<T>], name: &str, what: &str, path: &Path) -> Result<&'a T> {
    list.iter()
        .find(|entry| entry.name == name)
        .map(|entry| &entry.fields)
        .ok_or_else(|| anyhow!("{} has no {what} named {name:?}", path.display()))
}

fn material(file: &Option<PathBuf>, data: &Option<String>) -> Result<Option<Vec<u8>>> {
    match (data, file) {
        (Some(data), _) => Ok(Some(
            BASE64.decode(data.trim()).context("decode base64 data")?,
        )),
        (None, Some(file)) => {
            let bytes = fs::read(file).with_context(|| format!("read {}", file.display()))?;
            Ok(Some(bytes))
        }
        (None, None) => Ok(None),
    }
}
