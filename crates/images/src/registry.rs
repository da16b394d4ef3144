//! One repository of a registry, spoken to over HTTP: manifests, blobs, tokens, redirects.
//!
//! Owns the protocol; knows neither the store nor what manifests mean. Sockets come from the
//! configured connector, so a node in a namespace of its own pulls through the host's.
//! A registry on loopback is plain HTTP, as docker and containerd have it.
//! Source: OCI distribution specification 1.1; distribution's token authentication specification.

mod challenge;
mod url;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use http::header::{ACCEPT, AUTHORIZATION, LOCATION, RANGE, USER_AGENT, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use parking_lot::Mutex;
use transport::client::{Connector, Endpoint, HttpClient, ResponseTimeout, TcpConnector};
use transport::tls::{ClientTls, Trust};
use transport::{Body, Request, Response, Transport as _, TransportError};

use crate::digest::Digest;
use crate::error::ImageError;
use crate::manifest::{DOCKER_INDEX, DOCKER_MANIFEST, MAX_DOCUMENT, OCI_INDEX, OCI_MANIFEST};
use crate::reference::Reference;
use challenge::Challenge;
use url::Url;

/// How long a registry may take to begin its answer.
const ANSWER: Duration = Duration::from_secs(30);
/// Redirects in a row.
const MAX_REDIRECTS: usize = 5;
/// Origins with open connections.
const MAX_CLIENTS: usize = 64;
/// The largest token or error document.
const MAX_TOKEN: usize = 1 << 20;
/// Attempts of one request, with pauses between them.
const ATTEMPTS: u32 = 4;

/// Who pulls.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Auth {
    /// Nobody in particular.
    #[default]
    Anonymous,
    /// Name and password.
    Basic {
        /// Name.
        username: String,
        /// Password.
        password: String,
    },
    /// A token that the registry itself takes.
    RegistryToken(String),
    /// A refresh token for the registry's token service.
    IdentityToken(String),
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Auth::Anonymous => "Anonymous",
            Auth::Basic { .. } => "Basic",
            Auth::RegistryToken(_) => "RegistryToken",
            Auth::IdentityToken(_) => "IdentityToken",
        })
    }
}

/// How registries are reached; clones share connections.
#[derive(Clone)]
pub struct Registries {
    connector: Arc<dyn Connector>,
    trust: Trust,
    plain: Arc<BTreeSet<String>>,
    clients: Arc<Mutex<HashMap<String, HttpClient>>>,
    pause: Duration,
}

impl std::fmt::Debug for Registries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registries")
            .field("plain", &self.plain)
            .finish_non_exhaustive()
    }
}

impl Default for Registries {
    fn default() -> Registries {
        Registries {
            connector: Arc::new(TcpConnector::default()),
            trust: Trust::System,
            plain: Arc::default(),
            clients: Arc::default(),
            pause: Duration::from_millis(500),
        }
    }
}

impl Registries {
    /// Makes sockets and looks names up by `connector`.
    #[must_use]
    pub fn with_connector(mut self, connector: Arc<dyn Connector>) -> Registries {
        self.connector = connector;
        self
    }

    /// Trusts these CAs instead of the host's.
    #[must_use]
    pub fn with_trust(mut self, trust: Trust) -> Registries {
        self.trust = trust;
        self
    }

    /// Registries (`host[:port]`) that speak plain HTTP, besides those on loopback.
    #[must_use]
    pub fn with_plain_http(mut self, hosts: impl IntoIterator<Item = String>) -> Registries {
        self.plain = Arc::new(hosts.into_iter().collect());
        self
    }

    /// The first pause before a request is tried again; it doubles.
    #[must_use]
    pub fn with_retry_pause(mut self, pause: Duration) -> Registries {
        self.pause = pause;
        self
    }

    fn base(&self, registry: &str) -> Url {
        let host = if registry == "docker.io" {
            "registry-1.docker.io"
        } else {
            registry
        };
        let (name, port) = url::split_port(host);
        let secure = !(self.plain.contains(registry) || is_loopback(name));
        let port = port.unwrap_or(if secure { 443 } else { 80 });
        Url {
            secure,
            host: name.to_owned(),
            port,
            path: "/".to_owned(),
        }
    }

    fn client(&self, url: &Url) -> Result<HttpClient, TransportError> {
        let origin = url.origin();
        let mut clients = self.clients.lock();
        if let Some(client) = clients.get(&origin) {
            return Ok(client.clone());
        }
        if clients.len() >= MAX_CLIENTS {
            clients.clear();
        }
        let endpoint = if url.secure {
            Endpoint::https(&url.host, url.port, ClientTls::new(self.trust.clone()))
        } else {
            Endpoint::http(&url.host, url.port)
        };
        let client = HttpClient::new(endpoint.with_connector(self.connector.clone()))?;
        clients.insert(origin, client.clone());
        Ok(client)
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// One repository during one pull: remembers the token.
pub(crate) struct Repository {
    registries: Registries,
    reference: Reference,
    auth: Auth,
    base: Url,
    authorization: Mutex<Option<HeaderValue>>,
    /// One token request for all downloads that were refused at once.
    authorizing: tokio::sync::Mutex<()>,
}

impl Repository {
    pub(crate) fn new(registries: &Registries, reference: &Reference, auth: &Auth) -> Repository {
        Repository {
            base: registries.base(&reference.registry),
            registries: registries.clone(),
            reference: reference.clone(),
            auth: auth.clone(),
            authorization: Mutex::new(None),
            authorizing: tokio::sync::Mutex::new(()),
        }
    }

    /// A manifest or index, verified if asked for by digest.
    pub(crate) async fn manifest(&self, selector: &str) -> Result<(Digest, Vec<u8>), ImageError> {
        let accept = [OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST].join(", ");
        let path = format!("manifests/{selector}");
        let response = self.get(&path, &[(ACCEPT, accept)]).await?;
        let body = self.document(response, &path).await?;
        let digest = Digest::of(&body);
        if let Ok(expected) = selector.parse::<Digest>() {
            crate::blobs::verify(
                &format!("manifest of {}", self.reference),
                &expected,
                digest,
            )?;
        }
        Ok((digest, body))
    }

    /// A small blob, whole; the caller verifies.
    pub(crate) async fn small_blob(&self, digest: &Digest) -> Result<Vec<u8>, ImageError> {
        let path = format!("blobs/{digest}");
        let response = self.get(&path, &[]).await?;
        self.document(response, &path).await
    }

    /// The bytes of a blob from an offset: `(where they really start, body)`.
    pub(crate) async fn blob(&self, digest: &Digest, from: u64) -> Result<(u64, Body), ImageError> {
        let path = format!("blobs/{digest}");
        let range = [(RANGE, format!("bytes={from}-"))];
        let response = self.get(&path, if from > 0 { &range } else { &[] }).await?;
        let start = if response.status() == StatusCode::PARTIAL_CONTENT {
            from
        } else {
            0
        };
        Ok((start, response.into_body()))
    }

    async fn document(&self, response: Response, path: &str) -> Result<Vec<u8>, ImageError> {
        let limit = usize::try_from(MAX_DOCUMENT).unwrap_or(usize::MAX);
        let body = response.into_body().collect(limit).await;
        body.map(Vec::from)
            .map_err(|error| ImageError::Unreachable {
                registry: self.reference.registry.clone(),
                reason: format!("{path}: {}", base::Chain(&error)),
            })
    }

    /// A GET below the repository, with a token where one is asked for; success or an error that
    /// names what is wrong. Tries again what may pass.
    async fn get(
        &self,
        path: &str,
        headers: &[(http::HeaderName, String)],
    ) -> Result<Response, ImageError> {
        let url = self
            .base
            .with_path(format!("/v2/{}/{path}", self.reference.repository));
        let mut pause = self.registries.pause;
        let mut attempt = 1;
        loop {
            match self.get_once(&url, headers).await {
                Err(error) if error.transient() && attempt < ATTEMPTS => {
                    tracing::debug!(image = %self.reference, err = %error, "registry request again");
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                    attempt += 1;
                }
                other => return other,
            }
        }
    }

    async fn get_once(
        &self,
        url: &Url,
        headers: &[(http::HeaderName, String)],
    ) -> Result<Response, ImageError> {
        let mut asked = false;
        loop {
            let sent = self.authorization();
            let response = self.follow(url.clone(), headers, sent.clone()).await?;
            let status = response.status();
            if status.is_success() {
                return Ok(response);
            }
            if status == StatusCode::UNAUTHORIZED && !asked {
                asked = true;
                if self.authorize(&response, sent.as_ref()).await? {
                    continue;
                }
            }
            return Err(self.refusal(url, response).await);
        }
    }

    fn authorization(&self) -> Option<HeaderValue> {
        self.authorization.lock().clone()
    }

    /// Sends a GET and follows redirects; credentials stay with their origin.
    async fn follow(
        &self,
        mut url: Url,
        headers: &[(http::HeaderName, String)],
        authorization: Option<HeaderValue>,
    ) -> Result<Response, ImageError> {
        let origin = url.origin();
        for _ in 0..=MAX_REDIRECTS {
            let mut request = http::Request::get(&url.path);
            for (name, value) in headers {
                request = request.header(name, value);
            }
            if let Some(value) = authorization.as_ref().filter(|_| url.origin() == origin) {
                request = request.header(AUTHORIZATION, value);
            }
            let response = self.send(&url, request, Body::empty()).await?;
            let status = response.status();
            if !status.is_redirection() || status == StatusCode::NOT_MODIFIED {
                return Ok(response);
            }
            let target = response
                .headers()
                .get(LOCATION)
                .and_then(|value| value.to_str().ok());
            let bad = |reason: &str| ImageError::Registry {
                url: url.to_string(),
                status: status.as_u16(),
                reason: reason.to_owned(),
            };
            let next = target.and_then(|target| url.join(target));
            let next = next.ok_or_else(|| bad("redirect without a usable location"))?;
            if url.secure && !next.secure {
                return Err(bad("redirect from https to http"));
            }
            url = next;
        }
        Err(ImageError::Registry {
            url: url.to_string(),
            status: 302,
            reason: format!("more than {MAX_REDIRECTS} redirects"),
        })
    }

    async fn send(
        &self,
        url: &Url,
        request: http::request::Builder,
        body: Body,
    ) -> Result<Response, ImageError> {
        let unreachable = |error: TransportError| ImageError::Unreachable {
            registry: url.authority(),
            reason: base::Chain(&error).to_string(),
        };
        let request: Request = request
            .header(USER_AGENT, "transom")
            .extension(ResponseTimeout(ANSWER))
            .body(body)
            .map_err(|error| ImageError::Registry {
                url: url.to_string(),
                status: 0,
                reason: error.to_string(),
            })?;
        let client = self.registries.client(url).map_err(unreachable)?;
        client.call(request).await.map_err(unreachable)
    }

    /// Answers a 401: gets a token or sends the password. `false` if there is nothing to send.
    async fn authorize(
        &self,
        response: &Response,
        refused: Option<&HeaderValue>,
    ) -> Result<bool, ImageError> {
        let _one = self.authorizing.lock().await;
        let now = self.authorization();
        if now.as_ref() != refused {
            return Ok(true); // another download got one in the meantime
        }
        let headers = response.headers().get_all(WWW_AUTHENTICATE);
        let challenge = headers
            .iter()
            .find_map(|value| Challenge::parse(value.to_str().ok()?));
        let header = match (challenge, &self.auth) {
            (_, Auth::RegistryToken(token)) => format!("Bearer {token}"),
            (
                Some(Challenge::Bearer {
                    realm,
                    service,
                    scope,
                }),
                _,
            ) => {
                format!("Bearer {}", self.token(&realm, &service, &scope).await?)
            }
            (Some(Challenge::Basic), Auth::Basic { username, password }) => {
                basic(username, password)
            }
            _ => return Ok(false),
        };
        let mut value = HeaderValue::from_str(&header)
            .map_err(|_| self.unauthorized(401, "the credentials do not fit into a header"))?;
        value.set_sensitive(true);
        let fresh = refused != Some(&value);
        *self.authorization.lock() = Some(value);
        Ok(fresh)
    }

    async fn token(&self, realm: &str, service: &str, scope: &str) -> Result<String, ImageError> {
        let bad = |reason: &str| self.unauthorized(401, reason);
        let realm = Url::parse(realm).ok_or_else(|| bad("the token service's URL is malformed"))?;
        if self.base.secure && !realm.secure {
            return Err(bad("the token service is not https"));
        }
        let scope = if scope.is_empty() {
            format!("repository:{}:pull", self.reference.repository)
        } else {
            scope.to_owned()
        };
        let query = format!(
            "service={}&scope={}",
            url::escape(service),
            url::escape(&scope)
        );
        let response = if let Auth::IdentityToken(token) = &self.auth {
            let form = format!(
                "grant_type=refresh_token&client_id=transom&refresh_token={}&{query}",
                url::escape(token)
            );
            let kind = "application/x-www-form-urlencoded";
            let request = http::Request::post(&realm.path).header("content-type", kind);
            self.send(&realm, request, form.into()).await?
        } else {
            let joint = if realm.path.contains('?') { '&' } else { '?' };
            let url = realm.with_path(format!("{}{joint}{query}", realm.path));
            let authorization = match &self.auth {
                Auth::Basic { username, password } => {
                    let value = HeaderValue::from_str(&basic(username, password));
                    Some(value.map_err(|_| bad("the credentials do not fit into a header"))?)
                }
                _ => None,
            };
            self.follow(url, &[], authorization).await?
        };
        let status = response.status();
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(self.refusal(&realm, response).await);
        }
        let reason = async |body: Body| message(body).await;
        if !status.is_success() {
            let said = reason(response.into_body()).await;
            return Err(self.unauthorized(status.as_u16(), &format!("token service: {said}")));
        }
        #[derive(serde::Deserialize)]
        struct Token {
            #[serde(default)]
            token: String,
            #[serde(default)]
            access_token: String,
        }
        let body = response.into_body().collect(MAX_TOKEN).await;
        let body = body.map_err(|_| bad("the token service's answer breaks off"))?;
        let token: Token = serde_json::from_slice(&body)
            .map_err(|_| bad("the token service's answer is not JSON with a token"))?;
        match (token.token, token.access_token) {
            (token, _) if !token.is_empty() => Ok(token),
            (_, token) if !token.is_empty() => Ok(token),
            _ => Err(bad("the token service gave no token")),
        }
    }

    fn unauthorized(&self, status: u16, reason: &str) -> ImageError {
        ImageError::Unauthorized {
            reference: self.reference.to_string(),
            status,
            reason: reason.to_owned(),
        }
    }

    /// What an unsuccessful answer means.
    async fn refusal(&self, url: &Url, response: Response) -> ImageError {
        let status = response.status();
        let reason = message(response.into_body()).await;
        match status {
            StatusCode::NOT_FOUND => ImageError::NotFound {
                reference: self.reference.to_string(),
            },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                self.unauthorized(status.as_u16(), &reason)
            }
            _ => ImageError::Registry {
                url: url.to_string(),
                status: status.as_u16(),
                reason,
            },
        }
    }
}

fn basic(username: &str, password: &str) -> String {
    let pair = format!("{username}:{password}");
    format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(pair)
    )
}

/// The first error of a registry's error document, or the beginning of what it said.
async fn message(body: Body) -> String {
    #[derive(serde::Deserialize)]
    struct Errors {
        errors: Vec<Said>,
    }
    #[derive(serde::Deserialize)]
    struct Said {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let Ok(body) = body.collect(MAX_TOKEN).await else {
        return "no reason given".to_owned();
    };
    if let Ok(Errors { errors }) = serde_json::from_slice::<Errors>(&body)
        && let Some(first) = errors.first()
    {
        return format!("{} {}", first.code, first.message)
            .trim()
            .to_owned();
    }
    let text: String = String::from_utf8_lossy(&body)
        .trim()
        .chars()
        .take(200)
        .collect();
    if text.is_empty() {
        "no reason given".to_owned()
    } else {
        text
    }
}
