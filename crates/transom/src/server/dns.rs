//! The control plane's part of the cluster's DNS: the objects it starts with, the endpoints of
//! its Service.

use apiserver::InitialObject;
use base::{Shutdown, tasks};
use bootstrap::config::ServerConfig;
use client::Client;

/// What kubeadm's addon brings; nothing in a cluster without an address for it.
pub(super) fn initial(config: &ServerConfig) -> Vec<InitialObject> {
    let Some(address) = config.cluster_dns else {
        return Vec::new();
    };
    let manifests = ::dns::manifests(&config.cluster_domain, address);
    let object = |one: ::dns::Manifest| InitialObject {
        group: one.group,
        resource: one.resource,
        namespace: one.namespace.to_owned(),
        json: one.json,
    };
    manifests.into_iter().map(object).collect()
}

/// Keeps the endpoints equal to the nodes.
pub(super) fn start(client: Client, shutdown: &Shutdown) {
    let ending = shutdown.clone();
    tasks::supervise("dns-publisher", shutdown, move || {
        Box::pin(::dns::publish(client.clone(), ending.clone()))
    });
}
