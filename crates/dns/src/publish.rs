//! The endpoints of the Service `kube-dns`: every node, since every agent serves DNS.
//!
//! Runs beside the controllers. Keeps the EndpointSlices and the Endpoints of the Service equal to
//! the nodes: address, ready as the node is, and a hint for the node itself, by which its pods
//! stay with it. A Service with a selector belongs to somebody else's DNS: then ours are removed.
//! `plan` is pure; the shell writes what differs.
//! Source: kubernetes v1.36.3 staging/src/k8s.io/endpointslice/trafficdist (hints for nodes).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use api::Gvr;
use base::{Backoff, Chain, Rng, Shutdown};
use client::{Cache, Client, DeleteOptions, Error, Key, ListOptions, Object, Reflector};
use schema::{Dom, Node, Ref};
use tokio::sync::Notify;

use crate::manifests::{NAMESPACE, SERVICE};

/// `endpointslice.kubernetes.io/managed-by` of our slices: no other controller touches them.
const MANAGER: &str = "dns.transom";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Upstream's own controller writes at most this many into a slice.
const SLICE_LIMIT: usize = 100;
/// Upstream's Endpoints hold at most this many.
const ENDPOINTS_LIMIT: usize = 1000;

/// One node's DNS.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Endpoint {
    address: IpAddr,
    node: String,
    zone: String,
    ready: bool,
}

/// A slice by its content.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Slice {
    name: String,
    endpoints: Vec<Endpoint>,
}

struct World {
    nodes: Cache,
    services: Cache,
    slices: Cache,
    endpoints: Cache,
}

/// Publishes until shutdown.
pub async fn publish(client: Client, shutdown: Shutdown) {
    let changed = Arc::new(Notify::new());
    let world = World {
        nodes: reflect(&client, "", "nodes", "", &changed, &shutdown),
        services: reflect(&client, "", "services", SERVICE, &changed, &shutdown),
        slices: reflect(
            &client,
            "discovery.k8s.io",
            "endpointslices",
            "",
            &changed,
            &shutdown,
        ),
        endpoints: reflect(&client, "", "endpoints", SERVICE, &changed, &shutdown),
    };
    for cache in [
        &world.nodes,
        &world.services,
        &world.slices,
        &world.endpoints,
    ] {
        cache.synced().await;
    }
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(30));
    let mut rng = Rng::from_os();
    loop {
        match write(&client, &world).await {
            Ok(()) => {
                backoff.reset();
                changed.notified().await;
            }
            Err(error) => {
                tracing::warn!(err = %Chain(&error), "the endpoints of kube-dns are not written");
                tokio::time::sleep(backoff.next_delay_with_jitter(&mut rng)).await;
            }
        }
    }
}

fn reflect(
    client: &Client,
    group: &str,
    resource: &str,
    name: &str,
    changed: &Arc<Notify>,
    shutdown: &Shutdown,
) -> Cache {
    let gvr = Gvr::new(group, "v1", resource);
    let (api, options) = match resource {
        "nodes" => (client.resource(&gvr), ListOptions::default()),
        _ => {
            let mut options = ListOptions::default();
            match name {
                "" => options.labels = format!("{SERVICE_NAME}={SERVICE}"),
                name => options.fields = format!("metadata.name={name}"),
            }
            (client.namespaced(&gvr, NAMESPACE), options)
        }
    };
    let changed = changed.clone();
    Reflector::new(api, options, Cache::new(Vec::new()))
        .on_change(move |_| changed.notify_one())
        .start(shutdown)
}

async fn write(client: &Client, world: &World) -> Result<(), Error> {
    let service = world.services.get(&Key::new(NAMESPACE, SERVICE));
    let wanted = service
        .as_deref()
        .filter(|service| is_ours(service))
        .map(|_| {
            let nodes = world.nodes.list();
            let mut all: Vec<Endpoint> = nodes.iter().flat_map(|node| endpoints_of(node)).collect();
            all.sort();
            all
        });
    let slices = client.namespaced(
        &Gvr::new("discovery.k8s.io", "v1", "endpointslices"),
        NAMESPACE,
    );
    let desired = plan(wanted.as_deref().unwrap_or_default());
    for slice in &desired {
        let key = Key::new(NAMESPACE, slice.name.as_str());
        match world.slices.get(&key) {
            Some(known) if read(&known).as_ref() == Some(slice) => {}
            Some(_) => settle(
                slices
                    .update(&slice.name, slice.to_json())
                    .await
                    .map(|_| ()),
            )?,
            None => settle(slices.create(slice.to_json()).await.map(|_| ()))?,
        }
    }
    for known in world.slices.list() {
        let kept = desired.iter().any(|slice| slice.name == known.name());
        if !kept && is_managed(&known) {
            settle(slices.delete(known.name(), &DeleteOptions::default()).await)?;
        }
    }
    let endpoints = client.namespaced(&Gvr::new("", "v1", "endpoints"), NAMESPACE);
    let known = world.endpoints.get(&Key::new(NAMESPACE, SERVICE));
    let Some(wanted) = wanted else {
        return Ok(());
    };
    let json = endpoints_json(&wanted);
    match known {
        Some(known) if same_subsets(&known, &json) => Ok(()),
        Some(_) => settle(endpoints.update(SERVICE, json).await.map(|_| ())),
        None => settle(endpoints.create(json).await.map(|_| ())),
    }
}

/// What others did meanwhile comes as an event and brings us here again.
fn settle(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(error) if error.is_already_exists() || error.is_not_found() || error.code() == 409 => {
            Ok(())
        }
        other => other,
    }
}

fn is_ours(service: &Object) -> bool {
    service.parse().is_ok_and(|dom| {
        let spec = dom.as_ref().get("spec");
        spec.is_some_and(|spec| spec.entries("selector").next().is_none())
    })
}

fn is_managed(slice: &Object) -> bool {
    slice.parse().is_ok_and(|dom| {
        let labels = dom.as_ref().at(&["metadata", "labels"]);
        labels.is_some_and(|labels| labels.str(MANAGED_BY) == MANAGER)
    })
}

/// The addresses of a node, one a family.
fn endpoints_of(node: &Object) -> Vec<Endpoint> {
    let Ok(dom) = node.parse() else {
        return Vec::new();
    };
    let object = dom.as_ref();
    let ready = api::meta::condition_is_true(object, "Ready");
    let labels = object.at(&["metadata", "labels"]);
    let zone = labels.map_or("", |labels| labels.str("topology.kubernetes.io/zone"));
    let mut found: Vec<Endpoint> = Vec::new();
    for entry in object
        .get("status")
        .map(|status| status.items("addresses"))
        .into_iter()
        .flatten()
    {
        let Ok(address) = entry.str("address").parse::<IpAddr>() else {
            continue;
        };
        let known = found
            .iter()
            .any(|one| one.address.is_ipv4() == address.is_ipv4());
        if entry.str("type") == "InternalIP" && !known {
            found.push(Endpoint {
                address,
                node: node.name().to_owned(),
                zone: zone.to_owned(),
                ready,
            });
        }
    }
    found
}

/// The slices of all endpoints: a family each, a hundred endpoints each.
fn plan(all: &[Endpoint]) -> Vec<Slice> {
    let mut slices = Vec::new();
    for (family, v4) in [("ipv4", true), ("ipv6", false)] {
        let own: Vec<Endpoint> = all
            .iter()
            .filter(|endpoint| endpoint.address.is_ipv4() == v4)
            .cloned()
            .collect();
        for (index, chunk) in own.chunks(SLICE_LIMIT).enumerate() {
            slices.push(Slice {
                name: format!("{SERVICE}-{family}-{index}"),
                endpoints: chunk.to_vec(),
            });
        }
    }
    slices
}

impl Slice {
    fn to_json(&self) -> Vec<u8> {
        let mut dom = Dom::new();
        let root = dom.new_map();
        dom.set_root(root);
        dom.set_str(root, "apiVersion", "discovery.k8s.io/v1");
        dom.set_str(root, "kind", "EndpointSlice");
        let metadata = dom.ensure_map(root, "metadata");
        dom.set_str(metadata, "name", &self.name);
        dom.set_str(metadata, "namespace", NAMESPACE);
        let labels = dom.ensure_map(metadata, "labels");
        dom.set_str(labels, SERVICE_NAME, SERVICE);
        dom.set_str(labels, MANAGED_BY, MANAGER);
        dom.set_str(labels, "k8s-app", "kube-dns");
        let v4 = self
            .endpoints
            .first()
            .is_none_or(|one| one.address.is_ipv4());
        dom.set_str(root, "addressType", if v4 { "IPv4" } else { "IPv6" });
        let list = dom.ensure_list(root, "endpoints");
        for endpoint in &self.endpoints {
            let one = dom.new_map();
            dom.push(list, one);
            let addresses = dom.ensure_list(one, "addresses");
            let address = dom.new_str(&endpoint.address.to_string());
            dom.push(addresses, address);
            let conditions = dom.ensure_map(one, "conditions");
            dom.set_bool(conditions, "ready", endpoint.ready);
            dom.set_bool(conditions, "serving", endpoint.ready);
            dom.set_bool(conditions, "terminating", false);
            dom.set_str(one, "nodeName", &endpoint.node);
            if !endpoint.zone.is_empty() {
                dom.set_str(one, "zone", &endpoint.zone);
            }
            let hints = dom.ensure_map(one, "hints");
            let nodes = dom.ensure_list(hints, "forNodes");
            let hint = dom.new_map();
            dom.push(nodes, hint);
            dom.set_str(hint, "name", &endpoint.node);
        }
        let ports = dom.ensure_list(root, "ports");
        add_ports(&mut dom, ports);
        dom.to_json(root)
    }
}

fn add_ports(dom: &mut Dom, ports: Node) {
    for (name, protocol) in [("dns", "UDP"), ("dns-tcp", "TCP")] {
        let port = dom.new_map();
        dom.push(ports, port);
        dom.set_str(port, "name", name);
        dom.set_int(port, "port", 53);
        dom.set_str(port, "protocol", protocol);
    }
}

/// A slice as the API has it; `None` when it is not as we write them.
fn read(object: &Object) -> Option<Slice> {
    let dom = object.parse().ok()?;
    let slice = dom.as_ref();
    if !is_managed(object) || slice.items("ports").count() != 2 {
        return None;
    }
    let endpoint = |one: Ref<'_>| -> Option<Endpoint> {
        let hint = one.get("hints")?.items("forNodes").next()?;
        let node = one.str("nodeName");
        Some(Endpoint {
            address: one.items("addresses").next()?.as_str()?.parse().ok()?,
            node: node.to_owned(),
            zone: one.str("zone").to_owned(),
            ready: one.get("conditions")?.bool("ready").unwrap_or(true),
        })
        .filter(|_| hint.str("name") == node)
    };
    Some(Slice {
        name: object.name().to_owned(),
        endpoints: slice
            .items("endpoints")
            .map(endpoint)
            .collect::<Option<_>>()?,
    })
}

/// The same for readers of Endpoints. They are not mirrored: the slices are there already.
fn endpoints_json(all: &[Endpoint]) -> Vec<u8> {
    let mut dom = Dom::new();
    let root = dom.new_map();
    dom.set_root(root);
    dom.set_str(root, "apiVersion", "v1");
    dom.set_str(root, "kind", "Endpoints");
    let metadata = dom.ensure_map(root, "metadata");
    dom.set_str(metadata, "name", SERVICE);
    dom.set_str(metadata, "namespace", NAMESPACE);
    let labels = dom.ensure_map(metadata, "labels");
    dom.set_str(labels, "k8s-app", "kube-dns");
    dom.set_str(labels, "endpointslice.kubernetes.io/skip-mirror", "true");
    if all.is_empty() {
        return dom.to_json(root);
    }
    let subsets = dom.ensure_list(root, "subsets");
    let subset = dom.new_map();
    dom.push(subsets, subset);
    for (field, ready) in [("addresses", true), ("notReadyAddresses", false)] {
        let some = all
            .iter()
            .filter(|one| one.ready == ready && one.address.is_ipv4());
        for endpoint in some.take(ENDPOINTS_LIMIT / 2) {
            let list = dom.ensure_list(subset, field);
            let one = dom.new_map();
            dom.push(list, one);
            dom.set_str(one, "ip", &endpoint.address.to_string());
            dom.set_str(one, "nodeName", &endpoint.node);
        }
    }
    let ports = dom.ensure_list(subset, "ports");
    add_ports(&mut dom, ports);
    dom.to_json(root)
}

fn same_subsets(known: &Object, wanted: &[u8]) -> bool {
    let text = |dom: &Dom| -> Option<Vec<u8>> {
        let subset = dom.as_ref().items("subsets").next()?;
        let mut text = Vec::new();
        for field in ["addresses", "notReadyAddresses"] {
            for one in subset.items(field) {
                text.extend_from_slice(field.as_bytes());
                text.extend_from_slice(one.str("ip").as_bytes());
                text.push(b' ');
            }
        }
        Some(text)
    };
    match (known.parse(), Dom::parse_json(wanted)) {
        (Ok(known), Ok(wanted)) => text(&known) == text(&wanted),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
