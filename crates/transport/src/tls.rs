//! TLS material that can be replaced while in use: certificates, client CAs, trust roots.
//!
//! Owns the rustls configurations (ring only, TLS 1.2 and 1.3). A certificate or CA that is
//! replaced counts from the next handshake on; connections that exist are left alone. There is no
//! session resumption on the server, so that a revoked CA cannot be bypassed by a ticket.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use crate::TransportError;

/// Files in which distributions keep the roots that everybody trusts.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// All certificates of a PEM text; other sections are skipped.
pub fn parse_certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TransportError> {
    let what = "certificates";
    CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|cause| TransportError::Pem { what, cause })
}

/// A certificate chain with its key, replaceable: for servers and for clients.
pub struct Certificates {
    current: ArcSwap<CertifiedKey>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificates")
    }
}

impl Certificates {
    /// From PEM: the chain leaf first, and the key in PKCS#8, SEC1 or PKCS#1 form.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Arc<Self>, TransportError> {
        let current = ArcSwap::from(certified(chain, key)?);
        Ok(Arc::new(Self { current }))
    }

    /// Uses another chain and key from the next handshake on.
    pub fn replace(&self, chain: &[u8], key: &[u8]) -> Result<(), TransportError> {
        self.current.store(certified(chain, key)?);
        Ok(())
    }

    /// The chain that is in use, leaf first.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.current.load().cert.clone()
    }
}

fn certified(chain: &[u8], key: &[u8]) -> Result<Arc<CertifiedKey>, TransportError> {
    let chain = parse_certificates(chain)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|cause| TransportError::Pem {
        what: "private key",
        cause,
    })?;
    let certified = CertifiedKey::from_der(chain, key, &ring::default_provider());
    certified
        .map(Arc::new)
        .map_err(|cause| TransportError::Material {
            what: "certificate and key",
            cause,
        })
}

impl rustls::server::ResolvesServerCert for Certificates {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

impl rustls::client::ResolvesClientCert for Certificates {
    fn resolve(&self, _hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let current = self.current.load_full();
        current.key.choose_scheme(schemes).map(|_| current)
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// The CAs whose client certificates a server believes, replaceable.
///
/// A client without a certificate may connect (it may have a token); one with a certificate of
/// another CA, or an expired one, is refused in the handshake.
pub struct ClientCas {
    current: ArcSwap<Verifier>,
}

type Verifier = Arc<dyn ClientCertVerifier>;

impl fmt::Debug for ClientCas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCas")
    }
}

impl ClientCas {
    /// From a bundle in PEM.
    pub fn from_pem(bundle: &[u8]) -> Result<Arc<Self>, TransportError> {
        let current = ArcSwap::from_pointee(verifier(bundle)?);
        Ok(Arc::new(Self { current }))
    }

    /// Believes another bundle from the next handshake on.
    pub fn replace(&self, bundle: &[u8]) -> Result<(), TransportError> {
        self.current.store(Arc::new(verifier(bundle)?));
        Ok(())
    }
}

fn verifier(bundle: &[u8]) -> Result<Verifier, TransportError> {
    let roots = Arc::new(root_store(parse_certificates(bundle)?)?);
    WebPkiClientVerifier::builder_with_provider(roots, provider())
        .allow_unauthenticated()
        .build()
        .map_err(|error| TransportError::Malformed {
            what: "client CA bundle",
            reason: error.to_string(),
        })
}

fn root_store(certificates: Vec<CertificateDer<'static>>) -> Result<RootCertStore, TransportError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots
            .add(certificate)
            .map_err(|cause| TransportError::Material {
                what: "CA certificate",
                cause,
            })?;
    }
    Ok(roots)
}

impl ClientCertVerifier for ClientCas {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.current.load().verify_client_cert(leaf, chain, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let current = self.current.load();
        current.verify_tls12_signature(message, leaf, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let current = self.current.load();
        current.verify_tls13_signature(message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.current.load().supported_verify_schemes()
    }
}

/// What a server needs for TLS.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// Its chain and key.
    pub certificates: Arc<Certificates>,
    /// Whose client certificates it asks for and believes; `None`: it asks for none.
    pub client_cas: Option<Arc<ClientCas>>,
}

impl ServerTls {
    pub(crate) fn config(&self) -> Result<Arc<rustls::ServerConfig>, TransportError> {
        let builder = rustls::ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|cause| TransportError::Material {
                what: "TLS versions",
                cause,
            })?;
        let builder = match &self.client_cas {
            Some(cas) => builder.with_client_cert_verifier(cas.clone()),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(self.certificates.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }
}

/// Whom a client believes to be the server.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Servers with a certificate of one of these CAs.
    Roots(Vec<CertificateDer<'static>>),
    /// Servers with a certificate of a CA that the host trusts.
    System,
    /// Everybody: `--insecure-skip-tls-verify`, HTTPS probes.
    Anyone,
}

impl Trust {
    /// A bundle in PEM as roots.
    pub fn from_pem(bundle: &[u8]) -> Result<Self, TransportError> {
        parse_certificates(bundle).map(Self::Roots)
    }
}

/// What a client needs for TLS.
#[derive(Clone, Debug)]
pub struct ClientTls {
    /// Whom it believes.
    pub trust: Trust,
    /// Its own certificate, sent if the server asks.
    pub identity: Option<Arc<Certificates>>,
    /// The name to verify instead of the host that is connected to.
    pub server_name: Option<String>,
}

impl ClientTls {
    /// Believes `trust`, has no certificate.
    pub fn new(trust: Trust) -> Self {
        Self {
            trust,
            identity: None,
            server_name: None,
        }
    }

    /// Presents `identity`.
    #[must_use]
    pub fn with_identity(mut self, identity: Arc<Certificates>) -> Self {
        self.identity = Some(identity);
        self
    }

    pub(crate) fn config(&self, alpn: &[&[u8]]) -> Result<rustls::ClientConfig, TransportError> {
        let builder = rustls::ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|cause| TransportError::Material {
                what: "TLS versions",
                cause,
            })?;
        let builder = match &self.trust {
            Trust::Roots(roots) => builder.with_root_certificates(root_store(roots.clone())?),
            Trust::System => builder.with_root_certificates(system_roots()?),
            Trust::Anyone => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anyone(provider()))),
        };
        let mut config = match &self.identity {
            Some(identity) => builder.with_client_cert_resolver(identity.clone()),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Ok(config)
    }
}

fn system_roots() -> Result<RootCertStore, TransportError> {
    for path in SYSTEM_ROOTS {
        let Ok(pem) = std::fs::read(path) else {
            continue;
        };
        let mut roots = RootCertStore::empty();
        // A host's bundle may hold certificates of a form that the library does not take.
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).flatten());
        return Ok(roots);
    }
    Err(TransportError::Malformed {
        what: "the host's CA bundle",
        reason: format!("none of {} exists", SYSTEM_ROOTS.join(", ")),
    })
}

/// Believes every certificate, but still demands that the server holds its key.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, leaf, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, leaf, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
