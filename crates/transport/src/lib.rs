//! TLS, HTTP server and client, upgraded streams, in-memory pipe.
//!
//! Owns sockets, certificates in use, HTTP/1.1 and HTTP/2, WebSocket channels and the body type
//! that crosses between components. Knows nothing of Kubernetes objects, users or routes: a
//! [`Service`] answers requests, a [`Transport`] sends them, and [`InProcess`] is both ends
//! without a socket.

mod body;
pub mod client;
mod error;
pub mod server;
mod service;
pub mod streams;
pub mod tls;
pub mod upgrade;

pub use body::{Body, BodyError, BodySender};
pub use error::TransportError;
pub use service::{
    BoxFuture, InProcess, PeerAddr, PeerCertificates, Request, Response, Service, Transport,
    service_fn,
};

pub use rustls_pki_types::CertificateDer;
