//! Certificates and tokens: CA, issuance, signing requests, key files, JSON Web Tokens.
//!
//! Owns X.509 encoding as far as a cluster needs it and ES256/RS256 tokens; keys are ring's.
//! New keys are ECDSA P-256; RSA and SEC1 files made by kubeadm are read. The wall time is always
//! an argument. Knows no Kubernetes object: which names and groups mean what is the caller's.

mod ca;
mod csr;
mod der;
mod error;
pub mod files;
pub mod jwt;
mod key;
mod profile;
mod read;

pub use ca::{Ca, Identity};
pub use csr::Csr;
pub use error::PkiError;
pub use key::{KeyPair, PublicKey, key_id};
pub use profile::{Profile, San, Usage};
pub use read::{Subject, certificate_pem, fingerprint, not_after, parse_subject};

#[cfg(test)]
mod tests;
