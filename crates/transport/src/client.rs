//! HTTP client over TCP and TLS.
