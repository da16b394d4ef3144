//! Who somebody says to be, before anybody believes it: tokens, certificates.

use std::sync::OnceLock;

use jiff::Timestamp;
use pki::jwt::{KeySet, SigningKey};

use crate::{Heap, Target};

/// What is here.
pub const TARGETS: &[Target] = &[
    Target::new("jwt", jwt, 1024, Heap::SMALL),
    Target::new("certificate", certificate, 2048, Heap::SMALL),
];

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
