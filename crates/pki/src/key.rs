//! Private and public keys: ECDSA P-256 and RSA, in the file forms that clusters have.
//!
//! Owns signing for certificates (ASN.1 signatures) and for tokens (fixed-size signatures).
//! Source of the forms: RFC 5208 (PKCS#8), RFC 5915 (SEC1), RFC 8017 (PKCS#1).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{
    self, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair,
    KeyPair as _, RsaKeyPair,
};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::{PkiError, der};

const WHAT: &str = "private key";

/// A private key.
pub struct KeyPair {
    secret: Secret,
    pem: String,
    spki: Vec<u8>,
}

enum Secret {
    P256 {
        asn1: Box<EcdsaKeyPair>,
        fixed: Box<EcdsaKeyPair>,
    },
    Rsa(Box<RsaKeyPair>),
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({})", key_id(&self.spki))
    }
}

impl KeyPair {
    /// A new ECDSA P-256 key.
    pub fn generate() -> Result<Self, PkiError> {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random)
            .map_err(|_| PkiError::Crypto {
                operation: "generate a key",
            })?;
        let pem = pem("PRIVATE KEY", pkcs8.as_ref());
        Self::from_pem(&pem)
    }

    /// From PEM: PKCS#8, SEC1 (`EC PRIVATE KEY`) or PKCS#1 (`RSA PRIVATE KEY`).
    pub fn from_pem(text: &str) -> Result<Self, PkiError> {
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes())
            .map_err(|error| PkiError::parse(WHAT, error))?;
        let unsupported = |error: ring::error::KeyRejected| PkiError::Unsupported {
            what: WHAT,
            reason: error.to_string(),
        };
        let random = SystemRandom::new();
        let secret = match &key {
            PrivateKeyDer::Pkcs8(key) => {
                let bytes = key.secret_pkcs8_der();
                let asn1 =
                    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, bytes, &random);
                match asn1 {
                    Ok(asn1) => Secret::P256 {
                        asn1: Box::new(asn1),
                        fixed: EcdsaKeyPair::from_pkcs8(
                            &ECDSA_P256_SHA256_FIXED_SIGNING,
                            bytes,
                            &random,
                        )
                        .map(Box::new)
                        .map_err(unsupported)?,
                    },
                    Err(_) => {
                        let key = RsaKeyPair::from_pkcs8(bytes).map_err(unsupported)?;
                        Secret::Rsa(Box::new(key))
                    }
                }
            }
            PrivateKeyDer::Sec1(key) => {
                let (private, public) = sec1(key.secret_sec1_der())?;
                let pair = |algorithm| {
                    EcdsaKeyPair::from_private_key_and_public_key(
                        algorithm, private, public, &random,
                    )
                    .map(Box::new)
                    .map_err(unsupported)
                };
                Secret::P256 {
                    asn1: pair(&ECDSA_P256_SHA256_ASN1_SIGNING)?,
                    fixed: pair(&ECDSA_P256_SHA256_FIXED_SIGNING)?,
                }
            }
            PrivateKeyDer::Pkcs1(key) => {
                let key = RsaKeyPair::from_der(key.secret_pkcs1_der()).map_err(unsupported)?;
                Secret::Rsa(Box::new(key))
            }
            _ => return Err(PkiError::parse(WHAT, "unknown PEM section")),
        };
        let spki = match &secret {
            Secret::P256 { asn1, .. } => der::sequence(&[
                &der::sequence(&[
                    &der::oid(&[1, 2, 840, 10045, 2, 1]),
                    &der::oid(&[1, 2, 840, 10045, 3, 1, 7]),
                ]),
                &der::bit_string(asn1.public_key().as_ref()),
            ]),
            Secret::Rsa(key) => der::sequence(&[
                &der::sequence(&[&der::oid(&[1, 2, 840, 113_549, 1, 1, 1]), &der::null()]),
                &der::bit_string(key.public_key().as_ref()),
            ]),
        };
        Ok(Self {
            secret,
            pem: text.to_owned(),
            spki,
        })
    }

    /// The key as it was read or generated.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// DER of the SubjectPublicKeyInfo.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The public half.
    pub fn public(&self) -> Result<PublicKey, PkiError> {
        PublicKey::from_spki(&self.spki)
    }

    /// `BEGIN PUBLIC KEY`: what kubeadm writes as sa.pub.
    pub fn public_pem(&self) -> String {
        pem("PUBLIC KEY", &self.spki)
    }

    pub(crate) fn is_rsa(&self) -> bool {
        matches!(self.secret, Secret::Rsa(_))
    }

    /// DER of the AlgorithmIdentifier that [`Self::sign_asn1`] makes.
    pub(crate) fn signature_algorithm(&self) -> Vec<u8> {
        match &self.secret {
            Secret::P256 { .. } => der::sequence(&[&der::oid(&[1, 2, 840, 10045, 4, 3, 2])]),
            Secret::Rsa(_) => {
                let sha256_with_rsa = der::oid(&[1, 2, 840, 113_549, 1, 1, 11]);
                der::sequence(&[&sha256_with_rsa, &der::null()])
            }
        }
    }

    /// A signature as certificates carry it.
    pub(crate) fn sign_asn1(&self, message: &[u8]) -> Result<Vec<u8>, PkiError> {
        match &self.secret {
            Secret::P256 { asn1, .. } => ecdsa(asn1, message),
            Secret::Rsa(key) => rsa(key, message),
        }
    }

    /// A signature as tokens carry it.
    pub(crate) fn sign_fixed(&self, message: &[u8]) -> Result<Vec<u8>, PkiError> {
        match &self.secret {
            Secret::P256 { fixed, .. } => ecdsa(fixed, message),
            Secret::Rsa(key) => rsa(key, message),
        }
    }
}

fn ecdsa(key: &EcdsaKeyPair, message: &[u8]) -> Result<Vec<u8>, PkiError> {
    let signed = key.sign(&SystemRandom::new(), message);
    let signed = signed.map_err(|_| PkiError::Crypto { operation: "sign" })?;
    Ok(signed.as_ref().to_vec())
}

fn rsa(key: &RsaKeyPair, message: &[u8]) -> Result<Vec<u8>, PkiError> {
    let mut out = vec![0; key.public().modulus_len()];
    key.sign(
        &signature::RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        message,
        &mut out,
    )
    .map_err(|_| PkiError::Crypto { operation: "sign" })?;
    Ok(out)
}

/// Private and public octets of `ECPrivateKey`: SEQUENCE { 1, OCTET STRING, [0] curve, [1] point }.
fn sec1(bytes: &[u8]) -> Result<(&[u8], &[u8]), PkiError> {
    let wrong = |reason: &str| PkiError::parse("EC private key", reason);
    let (tag, content, _) = take(bytes).ok_or_else(|| wrong("truncated"))?;
    let (_, _, mut rest) = take(content).ok_or_else(|| wrong("truncated"))?;
    if tag != 0x30 {
        return Err(wrong("not a sequence"));
    }
    let (mut private, mut public) = (None, None);
    while let Some((tag, content, next)) = take(rest) {
        match tag {
            0x04 => private = Some(content),
            0xa1 => public = take(content).and_then(|(_, bits, _)| bits.get(1..)),
            _ => {}
        }
        rest = next;
    }
    match (private, public) {
        (Some(private), Some(public)) => Ok((private, public)),
        _ => Err(wrong("no public point")),
    }
}

/// One DER element: tag, content, what follows it.
pub(crate) fn take(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = if *first < 0x80 {
        (usize::from(*first), rest)
    } else {
        let count = usize::from(first & 0x7f);
        if count == 0 || count > 4 {
            return None;
        }
        let (digits, rest) = rest.split_at_checked(count)?;
        let length = digits
            .iter()
            .fold(0, |sum, digit| sum << 8 | usize::from(*digit));
        (length, rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

/// A public key that verifies token signatures.
#[derive(Clone)]
pub struct PublicKey {
    spki: Vec<u8>,
    form: Form,
}

#[derive(Clone)]
pub(crate) enum Form {
    /// The uncompressed point.
    P256(Vec<u8>),
    /// Modulus and exponent, big-endian.
    Rsa(Vec<u8>, Vec<u8>),
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id())
    }
}

impl PublicKey {
    /// From DER of a SubjectPublicKeyInfo.
    pub fn from_spki(spki: &[u8]) -> Result<Self, PkiError> {
        let what = "public key";
        let (_, parsed) =
            SubjectPublicKeyInfo::from_der(spki).map_err(|error| PkiError::parse(what, error))?;
        let form = match parsed.parsed() {
            Ok(x509_parser::public_key::PublicKey::EC(point)) if point.data().len() == 65 => {
                Form::P256(point.data().to_vec())
            }
            Ok(x509_parser::public_key::PublicKey::RSA(key)) => {
                let trim = |bytes: &[u8]| {
                    let first = bytes.iter().position(|b| *b != 0).unwrap_or(bytes.len());
                    bytes[first..].to_vec()
                };
                Form::Rsa(trim(key.modulus), trim(key.exponent))
            }
            _ => {
                let reason = "neither ECDSA P-256 nor RSA".to_owned();
                return Err(PkiError::Unsupported { what, reason });
            }
        };
        let spki = spki.to_vec();
        Ok(Self { spki, form })
    }

    /// From `BEGIN PUBLIC KEY`, or from a private key of which only the public half is kept.
    pub fn from_pem(text: &str) -> Result<Self, PkiError> {
        if text.contains("PRIVATE KEY-----") {
            return KeyPair::from_pem(text)?.public();
        }
        let spki = rustls_pki_types::SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes())
            .map_err(|error| PkiError::parse("public key", error))?;
        Self::from_spki(&spki)
    }

    /// The key's id, as upstream names it in tokens and key sets.
    pub fn id(&self) -> String {
        key_id(&self.spki)
    }

    pub(crate) fn form(&self) -> &Form {
        &self.form
    }

    /// Whether `signed` is this key's token signature of `message`.
    pub(crate) fn verifies(&self, message: &[u8], signed: &[u8]) -> bool {
        match &self.form {
            Form::P256(point) => {
                signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point)
                    .verify(message, signed)
                    .is_ok()
            }
            Form::Rsa(n, e) => signature::RsaPublicKeyComponents { n, e }
                .verify(&signature::RSA_PKCS1_2048_8192_SHA256, message, signed)
                .is_ok(),
        }
    }
}

/// Base64url of the SHA-256 of the SubjectPublicKeyInfo.
/// Source: kubernetes v1.36 pkg/serviceaccount/jwt.go, keyIDFromPublicKey.
pub fn key_id(spki: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, spki))
}

/// `der` as a PEM section.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let mut out = format!("-----BEGIN {label}-----\n");
    for line in STANDARD.encode(der).as_bytes().chunks(64) {
        out.push_str(&String::from_utf8_lossy(line));
        out.push('\n');
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}
