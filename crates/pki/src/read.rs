//! What others want to know of a certificate: who it names, its fingerprint, when it ends.

use std::net::IpAddr;

use jiff::Timestamp;
use ring::digest::{SHA256, digest};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::X509Name;

use crate::PkiError;
use crate::key::pem;

const WHAT: &str = "certificate";

/// Whom a certificate names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// Common name.
    pub cn: String,
    /// Organizations, in order.
    pub organizations: Vec<String>,
}

/// Common name and organizations of a certificate in DER.
pub fn parse_subject(certificate: &[u8]) -> Result<Subject, PkiError> {
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|error| PkiError::parse(WHAT, error))?;
    subject_of(parsed.subject())
}

pub(crate) fn subject_of(name: &X509Name<'_>) -> Result<Subject, PkiError> {
    let mut subject = Subject::default();
    let text = |value: &x509_parser::x509::AttributeTypeAndValue<'_>| {
        value
            .as_str()
            .map(str::to_owned)
            .map_err(|error| PkiError::parse("subject", error))
    };
    for one in name.iter_common_name() {
        subject.cn = text(one)?;
    }
    for one in name.iter_organization() {
        subject.organizations.push(text(one)?);
    }
    Ok(subject)
}

pub(crate) fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(four));
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

/// `sha256:` and the hexadecimal SHA-256 of a SubjectPublicKeyInfo.
/// Source: kubernetes v1.36 cmd/kubeadm/app/util/pubkeypin/pubkeypin.go.
pub fn fingerprint(spki: &[u8]) -> String {
    let hash = digest(&SHA256, spki);
    let digits = hash.as_ref().iter().map(|byte| format!("{byte:02x}"));
    format!("sha256:{}", digits.collect::<String>())
}

/// When the first certificate of a PEM text ends.
pub fn not_after(cert_pem: &str) -> Result<Timestamp, PkiError> {
    let certificate = CertificateDer::from_pem_slice(cert_pem.as_bytes())
        .map_err(|error| PkiError::parse(WHAT, error))?;
    let (_, parsed) =
        X509Certificate::from_der(&certificate).map_err(|error| PkiError::parse(WHAT, error))?;
    Timestamp::from_second(parsed.validity().not_after.timestamp())
        .map_err(|error| PkiError::parse(WHAT, error))
}

/// A certificate in DER as PEM.
pub fn certificate_pem(certificate: &[u8]) -> String {
    pem("CERTIFICATE", certificate)
}
