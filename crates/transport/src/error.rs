//! What can go wrong between a caller and the service that it calls.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// A request that got no response, or a transport that could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// No connection.
    #[error("connect to {endpoint}")]
    Connect {
        /// `host:port`.
        endpoint: String,
        /// The socket's error.
        #[source]
        cause: io::Error,
    },
    /// The TLS handshake failed.
    #[error("tls handshake with {endpoint}")]
    Handshake {
        /// `host:port` or the peer's address.
        endpoint: String,
        /// The TLS error.
        #[source]
        cause: io::Error,
    },
    /// The HTTP exchange broke.
    #[error("request to {endpoint}")]
    Exchange {
        /// `host:port`.
        endpoint: String,
        /// The protocol's error.
        #[source]
        cause: hyper::Error,
    },
    /// Nothing came in time.
    #[error("{operation} {endpoint}: no answer within {limit:?}")]
    Timeout {
        /// What was tried.
        operation: &'static str,
        /// `host:port`.
        endpoint: String,
        /// How long it was waited for.
        limit: Duration,
    },
    /// The request or the endpoint is malformed.
    #[error("{what} is not usable: {reason}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
        /// In which way.
        reason: String,
    },
    /// TLS material was refused.
    #[error("use {what}")]
    Material {
        /// Which part of it.
        what: &'static str,
        /// The library's error.
        #[source]
        cause: rustls::Error,
    },
    /// PEM text could not be parsed.
    #[error("parse {what}")]
    Pem {
        /// Which part of it.
        what: &'static str,
        /// The parser's error.
        #[source]
        cause: rustls_pki_types::pem::Error,
    },
    /// A credential file could not be read.
    #[error("read {path}")]
    Read {
        /// Where it should be.
        path: PathBuf,
        /// The file system's error.
        #[source]
        cause: io::Error,
    },
    /// The connection is no longer HTTP, or never became anything else.
    #[error("upgrade connection to {endpoint}: {reason}")]
    Upgrade {
        /// `host:port`.
        endpoint: String,
        /// Why.
        reason: String,
    },
}

impl TransportError {
    /// Whether the request certainly did not reach the service, so that sending it again is safe.
    pub fn never_sent(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Handshake { .. } => true,
            Self::Timeout { operation, .. } => *operation == "connect to",
            Self::Exchange { cause, .. } => cause.is_canceled(),
            _ => false,
        }
    }
}
