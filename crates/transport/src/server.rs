//! HTTP server over TCP and TLS.
