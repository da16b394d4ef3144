//! What people write into files and large crates read: kubeconfigs.

use crate::{Heap, Target};

/// What is here.
pub const TARGETS: &[Target] = &[Target::new("kubeconfig", kubeconfig, 2048, Heap::DOCUMENT)];

pub(crate) fn kubeconfig(data: &[u8]) {
    let source = crate::text(data);
    kubectl::fuzz::kubeconfig(&source);
    bootstrap::fuzz::kubeconfig(&source);
    for line in source.lines().take(4) {
        let trust = transport::tls::Trust::System;
        let tls = transport::tls::ClientTls::new(trust);
        let _ = transport::client::Endpoint::from_url(line, tls);
    }
}
