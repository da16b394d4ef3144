//! What a server looks at before it knows who asks: query, path, headers, tokens, certificates.

use std::sync::OnceLock;

use jiff::Timestamp;
use pki::jwt::{KeySet, SigningKey};

pub(crate) fn token(data: &[u8]) {
    apiserver::fuzz::continue_token(&crate::text(data));
}

/// Lines: method, path with query, headers.
pub(crate) fn request(data: &[u8]) {
    let source = crate::text(data);
    let mut lines = source.lines();
    let method = lines.next().unwrap_or_default();
    let target = lines.next().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query = apiserver::request::query(query);
    let _ = apiserver::RequestInfo::parse(method, path, &query);
    let mut headers = http::HeaderMap::new();
    for line in lines.take(32) {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        if let (Ok(name), Ok(value)) = (
            http::HeaderName::try_from(name),
            http::HeaderValue::try_from(value.trim()),
        ) {
            headers.append(name, value);
        }
    }
    apiserver::fuzz::request(&headers, &query);
}

fn keys() -> &'static KeySet {
    static KEYS: OnceLock<KeySet> = OnceLock::new();
    KEYS.get_or_init(|| {
        let key = pki::KeyPair::generate().expect("a key");
        KeySet::new([SigningKey::new(key)
            .key()
            .public()
            .expect("its public half")])
    })
}

pub(crate) fn jwt(data: &[u8]) {
    let source = crate::text(data);
    assert!(
        keys().verify(&source, Timestamp::UNIX_EPOCH).is_err(),
        "a token that nobody signed"
    );
    let _ = pki::jwt::issuer(&source);
}

/// A certificate in DER, or a signing request and certificates in PEM.
pub(crate) fn certificate(data: &[u8]) {
    let _ = pki::parse_subject(data);
    let source = crate::text(data);
    if let Ok(csr) = pki::Csr::parse(&source) {
        let _ = (csr.subject(), csr.sans(), csr.has_foreign_sans());
    }
    let _ = pki::not_after(&source);
    let _ = transport::tls::parse_certificates(data);
}
