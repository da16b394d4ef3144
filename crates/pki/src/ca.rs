//! A certificate authority: its own certificate, and those that it issues.
//!
//! Certificates are backdated by five minutes, so that a node whose clock is late accepts them.
//! Source of the extensions: kubernetes v1.36 client-go/util/cert/cert.go (NewSelfSignedCACert),
//! cmd/kubeadm/app/util/pkiutil/pki_helpers.go (NewSignedCert).

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use ring::rand::{SecureRandom, SystemRandom};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::key::pem;
use crate::{Csr, KeyPair, PkiError, Profile, San, Usage, der};

const BACKDATE: Duration = Duration::from_secs(300);
const TEN_YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// A certificate with its key, both in PEM.
#[derive(Clone)]
pub struct Identity {
    /// The certificate, and those of intermediate CAs if any.
    pub cert_pem: String,
    /// The private key.
    pub key_pem: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity")
    }
}

/// A certificate authority.
#[derive(Debug)]
pub struct Ca {
    key: KeyPair,
    certificate: Vec<u8>,
    cert_pem: String,
    /// DER of the subject, which is the issuer of what it signs.
    subject: Vec<u8>,
    key_identifier: Vec<u8>,
    not_after: Timestamp,
}

impl Ca {
    /// A new self-signed CA named `cn`, valid for ten years.
    pub fn generate(cn: &str, now: Timestamp) -> Result<Self, PkiError> {
        let key = KeyPair::generate()?;
        let subject = name(cn, &[]);
        let key_identifier = key_identifier(key.spki());
        let not_after = after(now, TEN_YEARS)?;
        let dns = der::element(0x82, cn.as_bytes());
        let extensions = [
            extension(&KEY_USAGE, true, &der::flags(&[0, 2, 5])),
            extension(
                &BASIC_CONSTRAINTS,
                true,
                &der::sequence(&[&der::boolean(true)]),
            ),
            extension(&SUBJECT_KEY_ID, false, &der::octet_string(&key_identifier)),
            extension(&SUBJECT_ALT_NAME, false, &der::sequence(&[&dns])),
        ];
        let certificate = sign(&Unsigned {
            signer: &key,
            issuer: &subject,
            subject: &subject,
            spki: key.spki(),
            not_before: before(now)?,
            not_after,
            extensions: &extensions.concat(),
        })?;
        Ok(Self {
            cert_pem: pem("CERTIFICATE", &certificate),
            key,
            certificate,
            subject,
            key_identifier,
            not_after,
        })
    }

    /// An existing CA. The first certificate of the text counts and must fit the key.
    pub fn load(cert_pem: &str, key_pem: &str) -> Result<Self, PkiError> {
        let what = "CA certificate";
        let key = KeyPair::from_pem(key_pem)?;
        let certificate = CertificateDer::from_pem_slice(cert_pem.as_bytes())
            .map_err(|error| PkiError::parse(what, error))?;
        let (_, parsed) = X509Certificate::from_der(&certificate)
            .map_err(|error| PkiError::parse(what, error))?;
        if parsed.public_key().raw != key.spki() {
            return Err(PkiError::Mismatch);
        }
        if !parsed.is_ca() {
            return Err(PkiError::parse(what, "it is not a CA's"));
        }
        let own = parsed
            .extensions()
            .iter()
            .find_map(|e| match e.parsed_extension() {
                x509_parser::extensions::ParsedExtension::SubjectKeyIdentifier(id) => {
                    Some(id.0.to_vec())
                }
                _ => None,
            });
        let not_after = Timestamp::from_second(parsed.validity().not_after.timestamp());
        Ok(Self {
            cert_pem: cert_pem.to_owned(),
            subject: parsed.subject().as_raw().to_vec(),
            key_identifier: own.unwrap_or_else(|| key_identifier(key.spki())),
            not_after: not_after.map_err(|error| PkiError::parse(what, error))?,
            certificate: certificate.to_vec(),
            key,
        })
    }

    /// Its certificate: what clients get as trust root.
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// Its key.
    pub fn key_pem(&self) -> &str {
        self.key.pem()
    }

    /// Its certificate in DER.
    pub fn certificate(&self) -> CertificateDer<'static> {
        CertificateDer::from(self.certificate.clone())
    }

    /// `sha256:…` of its public key: kubeadm's `--discovery-token-ca-cert-hash`.
    pub fn fingerprint(&self) -> String {
        crate::fingerprint(self.key.spki())
    }

    /// A new key with a certificate for it.
    pub fn issue(&self, profile: &Profile, now: Timestamp) -> Result<Identity, PkiError> {
        let key = KeyPair::generate()?;
        let cert_pem = self.certify(profile, key.spki(), None, now)?;
        let key_pem = key.pem().to_owned();
        Ok(Identity { cert_pem, key_pem })
    }

    /// A certificate for a key that already exists.
    pub fn issue_for(
        &self,
        profile: &Profile,
        key: &KeyPair,
        now: Timestamp,
    ) -> Result<String, PkiError> {
        self.certify(profile, key.spki(), None, now)
    }

    /// A certificate for a checked signing request: its subject and names, with the usages and the
    /// life time that the caller grants. Nothing else of the request is taken over.
    pub fn sign(
        &self,
        request: &Csr,
        usages: &[Usage],
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<String, PkiError> {
        let profile = Profile {
            cn: String::new(),
            organizations: Vec::new(),
            sans: request.sans().to_vec(),
            usages: usages.to_vec(),
            lifetime,
        };
        self.certify(&profile, request.spki(), Some(request.raw_subject()), now)
    }

    fn certify(
        &self,
        profile: &Profile,
        spki: &[u8],
        subject: Option<&[u8]>,
        now: Timestamp,
    ) -> Result<String, PkiError> {
        let own;
        let subject = match subject {
            Some(subject) => subject,
            None => {
                own = name(&profile.cn, &profile.organizations);
                &own
            }
        };
        let usages: Vec<_> = profile
            .usages
            .iter()
            .map(|usage| usage_oid(*usage))
            .collect();
        let usages: Vec<_> = usages.iter().map(Vec::as_slice).collect();
        let authority = der::sequence(&[&der::element(0x80, &self.key_identifier)]);
        let mut extensions = [
            extension(&KEY_USAGE, true, &der::flags(&[0, 2])),
            extension(&EXTENDED_KEY_USAGE, false, &der::sequence(&usages)),
            extension(&BASIC_CONSTRAINTS, true, &der::sequence(&[])),
            extension(&AUTHORITY_KEY_ID, false, &authority),
        ]
        .concat();
        if !profile.sans.is_empty() {
            extensions.extend(extension(
                &SUBJECT_ALT_NAME,
                false,
                &alt_names(&profile.sans),
            ));
        }
        let certificate = sign(&Unsigned {
            signer: &self.key,
            issuer: &self.subject,
            subject,
            spki,
            not_before: before(now)?,
            not_after: after(now, profile.lifetime)?.min(self.not_after),
            extensions: &extensions,
        })?;
        Ok(pem("CERTIFICATE", &certificate))
    }
}

const KEY_USAGE: [u64; 4] = [2, 5, 29, 15];
const EXTENDED_KEY_USAGE: [u64; 4] = [2, 5, 29, 37];
const BASIC_CONSTRAINTS: [u64; 4] = [2, 5, 29, 19];
const SUBJECT_KEY_ID: [u64; 4] = [2, 5, 29, 14];
const AUTHORITY_KEY_ID: [u64; 4] = [2, 5, 29, 35];
const SUBJECT_ALT_NAME: [u64; 4] = [2, 5, 29, 17];

struct Unsigned<'a> {
    signer: &'a KeyPair,
    issuer: &'a [u8],
    subject: &'a [u8],
    spki: &'a [u8],
    not_before: Timestamp,
    not_after: Timestamp,
    extensions: &'a [u8],
}

/// Numbers and signs a certificate (RFC 5280 section 4.1).
fn sign(unsigned: &Unsigned<'_>) -> Result<Vec<u8>, PkiError> {
    let mut serial = [0; 16];
    SystemRandom::new()
        .fill(&mut serial)
        .map_err(|_| PkiError::Crypto {
            operation: "make a serial number",
        })?;
    // Positive and of full length.
    serial[0] = serial[0] & 0x7f | 0x40;
    let algorithm = unsigned.signer.signature_algorithm();
    let validity = [
        der::time(unsigned.not_before)?,
        der::time(unsigned.not_after)?,
    ];
    let body = der::sequence(&[
        &der::explicit(0, &der::integer(&[2])),
        &der::integer(&serial),
        &algorithm,
        unsigned.issuer,
        &der::sequence(&[&validity[0], &validity[1]]),
        unsigned.subject,
        unsigned.spki,
        &der::explicit(3, &der::sequence(&[unsigned.extensions])),
    ]);
    let signature = unsigned.signer.sign_asn1(&body)?;
    Ok(der::sequence(&[
        &body,
        &algorithm,
        &der::bit_string(&signature),
    ]))
}

fn extension(id: &[u64], critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical {
        der::boolean(true)
    } else {
        Vec::new()
    };
    der::sequence(&[&der::oid(id), &critical, &der::octet_string(value)])
}

fn usage_oid(usage: Usage) -> Vec<u8> {
    let last = match usage {
        Usage::Server => 1,
        Usage::Client => 2,
    };
    der::oid(&[1, 3, 6, 1, 5, 5, 7, 3, last])
}

/// A GeneralNames sequence.
pub(crate) fn alt_names(sans: &[San]) -> Vec<u8> {
    let names = sans.iter().map(|san| match san {
        San::Dns(name) => der::element(0x82, name.as_bytes()),
        San::Ip(IpAddr::V4(address)) => der::element(0x87, &address.octets()),
        San::Ip(IpAddr::V6(address)) => der::element(0x87, &address.octets()),
    });
    der::element(0x30, &names.collect::<Vec<_>>().concat())
}

/// A subject: organizations, then the common name.
pub(crate) fn name(cn: &str, organizations: &[String]) -> Vec<u8> {
    let attribute = |last: u64, value: &str| {
        let pair = der::sequence(&[&der::oid(&[2, 5, 4, last]), &der::utf8(value)]);
        der::set(&[&pair])
    };
    let mut parts: Vec<_> = organizations.iter().map(|o| attribute(10, o)).collect();
    if !cn.is_empty() {
        parts.push(attribute(3, cn));
    }
    der::element(0x30, &parts.concat())
}

/// RFC 5280 section 4.2.1.2 (1): SHA-1 of the key's bits.
fn key_identifier(spki: &[u8]) -> Vec<u8> {
    let bits = crate::key::take(spki)
        .and_then(|(_, content, _)| crate::key::take(content))
        .and_then(|(_, _, rest)| crate::key::take(rest))
        .and_then(|(_, bits, _)| bits.get(1..));
    let bits = bits.unwrap_or(spki);
    digest(&SHA1_FOR_LEGACY_USE_ONLY, bits).as_ref().to_vec()
}

fn before(now: Timestamp) -> Result<Timestamp, PkiError> {
    now.checked_sub(BACKDATE)
        .map_err(|_| PkiError::Time(now.to_string()))
}

fn after(now: Timestamp, lifetime: Duration) -> Result<Timestamp, PkiError> {
    now.checked_add(lifetime)
        .map_err(|_| PkiError::Time(now.to_string()))
}
