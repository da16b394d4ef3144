//! Runs one container; the shim and its protocol. No tokio.
