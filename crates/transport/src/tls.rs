//! TLS material that can be replaced while in use.
