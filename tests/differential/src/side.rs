//! One of the two servers: sends a request and reads the answer whole.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;
use transport::client::{Endpoint, HttpClient};
use transport::tls::{Certificates, ClientTls, Trust};
use transport::{Body, Transport as _};

use crate::case::Case;

const LONGEST: Duration = Duration::from_secs(10);
const LARGEST: usize = 64 << 20;

pub(crate) struct Side {
    client: HttpClient,
    /// What it said last: `%RV%`, `%UID%`, `%CONTINUE%`.
    memory: HashMap<&'static str, String>,
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) media: String,
    pub(crate) warnings: Vec<String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Side {
    pub(crate) fn new(endpoint: Endpoint) -> Result<Self> {
        Ok(Self {
            client: HttpClient::new(endpoint).context("make a client")?,
            memory: HashMap::new(),
        })
    }

    pub(crate) fn secure(url: &str, ca: &[u8], certificate: &[u8], key: &[u8]) -> Result<Self> {
        let trust = Trust::from_pem(ca).context("read the server's CA")?;
        let identity =
            Certificates::from_pem(certificate, key).context("read the client certificate")?;
        let tls = ClientTls::new(trust).with_identity(identity);
        Self::new(Endpoint::from_url(url, tls).context("read the server's address")?)
    }

    /// The first cluster and user of a kubeconfig with client certificates.
    pub(crate) fn from_kubeconfig(file: &Path) -> Result<Self> {
        let text = std::fs::read(file).with_context(|| format!("read {}", file.display()))?;
        let parsed = schema::yaml::parse(&text, &schema::Limits::default())
            .map_err(|error| anyhow!("{}: {error}", file.display()))?;
        let config = parsed.dom.as_ref();
        let first = |list: &'static str, key: &'static str| {
            let entry = config.items(list).next().and_then(|entry| entry.get(key));
            entry.with_context(|| format!("{}: no {key}", file.display()))
        };
        let (cluster, user) = (first("clusters", "cluster")?, first("users", "user")?);
        let read = |from: schema::Ref<'_>, key: &str| -> Result<Vec<u8>> {
            let data = from.str(&format!("{key}-data"));
            if !data.is_empty() {
                return BASE64
                    .decode(data)
                    .with_context(|| format!("decode {key}-data"));
            }
            let path = file.parent().unwrap_or(Path::new(".")).join(from.str(key));
            std::fs::read(&path).with_context(|| format!("read {}", path.display()))
        };
        let ca = read(cluster, "certificate-authority")?;
        let certificate = read(user, "client-certificate")?;
        let key = read(user, "client-key")?;
        Self::secure(cluster.str("server"), &ca, &certificate, &key)
    }

    pub(crate) async fn send(&mut self, case: &Case) -> Result<Answer> {
        let mut request = http::Request::builder()
            .method(case.method.as_str())
            .uri(self.fill(&case.path));
        for (name, value) in &case.headers {
            request = request.header(name, value);
        }
        let typed = case
            .headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        if !typed && !case.body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let body = match std::str::from_utf8(&case.body) {
            Ok(text) => self.fill(text).into_bytes(),
            Err(_) => case.body.clone(),
        };
        let request = request
            .body(Body::from(body))
            .with_context(|| format!("{} {}", case.method, case.path))?;
        let answer = tokio::time::timeout(LONGEST, self.exchange(request)).await;
        let answer = match answer {
            Ok(Ok(answer)) => answer,
            // A connection that breaks is an answer too.
            Ok(Err(error)) => Answer {
                code: 0,
                media: String::new(),
                warnings: Vec::new(),
                body: format!("{error:#}").into_bytes(),
            },
            Err(_) => Answer {
                code: 0,
                media: String::new(),
                warnings: Vec::new(),
                body: format!("no answer within {LONGEST:?}").into_bytes(),
            },
        };
        self.remember(&answer);
        if case.settle > 0 {
            tokio::time::sleep(Duration::from_millis(case.settle)).await;
        }
        Ok(answer)
    }

    async fn exchange(&self, request: transport::Request) -> Result<Answer> {
        let (parts, body) = self.client.call(request).await?.into_parts();
        let body = body.collect(LARGEST).await?;
        let text =
            |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        Ok(Answer {
            code: parts.status.as_u16(),
            media: parts
                .headers
                .get("content-type")
                .map(text)
                .unwrap_or_default(),
            warnings: parts.headers.get_all("warning").iter().map(text).collect(),
            body: body.to_vec(),
        })
    }

    fn fill(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for mark in ["%RV%", "%UID%", "%CONTINUE%"] {
            if text.contains(mark) {
                text = text.replace(mark, self.memory.get(mark).map_or("", String::as_str));
            }
        }
        text
    }

    fn remember(&mut self, answer: &Answer) {
        if answer.body.len() > 1 << 20 || !answer.body.starts_with(b"{") {
            return;
        }
        let Ok(object) = serde_json::from_slice::<Value>(&answer.body) else {
            return;
        };
        for (mark, key) in [
            ("%RV%", "resourceVersion"),
            ("%UID%", "uid"),
            ("%CONTINUE%", "continue"),
        ] {
            if let Some(value) = object["metadata"][key].as_str() {
                self.memory.insert(mark, value.to_owned());
            }
        }
    }
}
