//! A CertificateSigningRequest as plain values.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use client::Object;
use jiff::Timestamp;
use schema::Ref;

/// See the fields.
#[derive(Clone, Debug, Default)]
pub(super) struct Request {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) created: Option<Timestamp>,
    pub(super) signer: String,
    /// Who asks.
    pub(super) user: String,
    pub(super) usages: Vec<String>,
    pub(super) expiration_seconds: Option<i64>,
    /// PEM; empty when it is no text.
    pub(super) pem: String,
    pub(super) has_certificate: bool,
    /// Since when.
    pub(super) approved: Option<Timestamp>,
    pub(super) denied: Option<Timestamp>,
    pub(super) failed: Option<Timestamp>,
}

impl Request {
    pub(super) fn read(object: &Object) -> Option<Self> {
        let dom = object.parse().ok()?;
        Some(Self::of(dom.as_ref()))
    }

    pub(super) fn of(request: Ref<'_>) -> Self {
        let meta = api::meta::of(request);
        let spec = request.get("spec").unwrap_or_else(|| Ref::null());
        let status = request.get("status");
        let since = |kind| {
            let condition = api::meta::condition(request, kind)?;
            // In v1 a condition of a request holds by being there.
            let time = api::time::field(condition, "lastUpdateTime");
            (condition.str("status") != "False").then(|| time.or(meta.created()))?
        };
        Self {
            name: meta.name().to_owned(),
            uid: meta.uid().to_owned(),
            created: meta.created(),
            signer: spec.str("signerName").to_owned(),
            user: spec.str("username").to_owned(),
            usages: spec
                .items("usages")
                .map(|usage| usage.text().to_owned())
                .collect(),
            expiration_seconds: spec.int("expirationSeconds"),
            pem: decode(spec.str("request")),
            has_certificate: status.is_some_and(|status| !status.str("certificate").is_empty()),
            approved: since("Approved"),
            denied: since("Denied"),
            failed: since("Failed"),
        }
    }
}

fn decode(text: &str) -> String {
    let bytes = STANDARD.decode(text).unwrap_or_default();
    String::from_utf8(bytes).unwrap_or_default()
}

pub(super) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}
