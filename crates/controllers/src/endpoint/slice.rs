//! An EndpointSlice as plain values: read from and written into its document.
//!
//! Source: api v0.36.3 discovery/v1/types.go; endpointslice v0.36.3 util/endpointset.go (what
//! makes two endpoints the same).

use std::collections::BTreeMap;
use std::net::IpAddr;

use client::Object;
use schema::{Dom, Node, Ref};

use crate::endpoint::pod::owned;

pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";
pub(crate) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
pub(crate) const HEADLESS: &str = "service.kubernetes.io/headless";

/// Addresses of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "IPv4" => Some(Self::V4),
            "IPv6" => Some(Self::V6),
            _ => None,
        }
    }

    pub(crate) fn of(address: &IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

/// One port of a slice; absent members are absent in the document.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Port {
    pub(crate) name: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) port: Option<i64>,
    pub(crate) app_protocol: Option<String>,
}

/// The object behind an address.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    pub(crate) kind: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
}

/// See the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Sorted.
    pub(crate) addresses: Vec<String>,
    pub(crate) ready: Option<bool>,
    pub(crate) serving: Option<bool>,
    pub(crate) terminating: Option<bool>,
    pub(crate) hostname: Option<String>,
    pub(crate) target: Option<Target>,
    pub(crate) node: Option<String>,
    pub(crate) zone: Option<String>,
    /// Zones and nodes that should prefer it.
    pub(crate) hints: Option<Hints>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hints {
    pub(crate) zones: Vec<String>,
    pub(crate) nodes: Vec<String>,
}

/// What makes an endpoint the same one: the rest can change in place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity {
    addresses: Vec<String>,
    hostname: String,
    namespace: String,
    name: String,
}

impl Endpoint {
    pub(crate) fn identity(&self) -> Identity {
        Identity {
            addresses: self.addresses.clone(),
            hostname: self.hostname.clone().unwrap_or_default(),
            namespace: self
                .target
                .as_ref()
                .map_or_else(String::new, |target| target.namespace.clone()),
            name: self
                .target
                .as_ref()
                .map_or_else(String::new, |target| target.name.clone()),
        }
    }

    /// Equal in all but identity and hints.
    pub(crate) fn same_state(&self, other: &Self) -> bool {
        (&self.node, &self.zone, &self.target) == (&other.node, &other.zone, &other.target)
            && (self.ready, self.serving, self.terminating)
                == (other.ready, other.serving, other.terminating)
    }
}

/// See the fields; a slice that is to be created has no name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) revision: u64,
    pub(crate) terminating: bool,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    /// (kind, name, uid) of owners.
    pub(crate) owners: Vec<(String, String, String)>,
    /// None: a family that this program does not write (`FQDN`).
    pub(crate) family: Option<Family>,
    /// Sorted.
    pub(crate) ports: Vec<Port>,
    pub(crate) endpoints: Vec<Endpoint>,
}

impl Slice {
    pub(crate) fn read(object: &Object) -> Option<Self> {
        let dom = object.parse().ok()?;
        let mut slice = Self::of(dom.as_ref());
        slice.revision = object.resource_version().parse().unwrap_or(0);
        Some(slice)
    }

    pub(crate) fn of(slice: Ref<'_>) -> Self {
        let meta = api::meta::of(slice);
        let mut ports: Vec<Port> = slice.items("ports").map(read_port).collect();
        ports.sort();
        Self {
            namespace: meta.namespace().to_owned(),
            name: meta.name().to_owned(),
            uid: meta.uid().to_owned(),
            revision: 0,
            terminating: meta.is_deleting(),
            labels: owned(meta.labels()),
            annotations: owned(meta.annotations()),
            owners: meta
                .owners()
                .map(|owner| {
                    let (kind, name, uid) = (owner.kind, owner.name, owner.uid);
                    (kind.to_owned(), name.to_owned(), uid.to_owned())
                })
                .collect(),
            family: Family::parse(slice.str("addressType")),
            ports,
            endpoints: slice.items("endpoints").map(read_endpoint).collect(),
        }
    }

    /// The Service it belongs to, empty if it belongs to none.
    pub(crate) fn service(&self) -> &str {
        self.labels.get(SERVICE_NAME).map_or("", String::as_str)
    }

    pub(crate) fn is_managed_by(&self, controller: &str) -> bool {
        self.labels
            .get(MANAGED_BY)
            .is_some_and(|by| by == controller)
    }

    pub(crate) fn is_owned_by(&self, kind: &str, uid: &str) -> bool {
        self.owners
            .iter()
            .any(|(known, _, owner)| known == kind && owner == uid)
    }

    /// Writes ports and endpoints into a document.
    pub(crate) fn write(&self, dom: &mut Dom, root: Node) {
        let ports = dom.new_list();
        for port in &self.ports {
            let node = dom.new_map();
            set(dom, node, "name", port.name.as_deref());
            set(dom, node, "protocol", port.protocol.as_deref());
            if let Some(port) = port.port {
                dom.set_int(node, "port", port);
            }
            set(dom, node, "appProtocol", port.app_protocol.as_deref());
            dom.push(ports, node);
        }
        dom.set(root, "ports", ports);
        let endpoints = dom.new_list();
        for endpoint in &self.endpoints {
            let node = write_endpoint(dom, endpoint);
            dom.push(endpoints, node);
        }
        dom.set(root, "endpoints", endpoints);
    }
}

fn read_port(port: Ref<'_>) -> Port {
    let text = |key| port.get(key).and_then(Ref::as_str).map(str::to_owned);
    Port {
        name: text("name"),
        protocol: text("protocol"),
        port: port.int("port"),
        app_protocol: text("appProtocol"),
    }
}

fn read_endpoint(endpoint: Ref<'_>) -> Endpoint {
    let text = |key| endpoint.get(key).and_then(Ref::as_str).map(str::to_owned);
    let condition = |key| endpoint.get("conditions").and_then(|c| c.bool(key));
    let names = |list: Ref<'_>, key| -> Vec<String> {
        let entries = list.items(key);
        entries.map(|entry| entry.str("name").to_owned()).collect()
    };
    let mut addresses: Vec<String> = endpoint
        .items("addresses")
        .map(|address| address.text().to_owned())
        .collect();
    addresses.sort();
    Endpoint {
        addresses,
        ready: condition("ready"),
        serving: condition("serving"),
        terminating: condition("terminating"),
        hostname: text("hostname"),
        target: endpoint.get("targetRef").map(read_target),
        node: text("nodeName"),
        zone: text("zone"),
        hints: endpoint.get("hints").map(|hints| Hints {
            zones: names(hints, "forZones"),
            nodes: names(hints, "forNodes"),
        }),
    }
}

pub(super) fn read_target(target: Ref<'_>) -> Target {
    Target {
        kind: target.str("kind").to_owned(),
        namespace: target.str("namespace").to_owned(),
        name: target.str("name").to_owned(),
        uid: target.str("uid").to_owned(),
    }
}

fn write_endpoint(dom: &mut Dom, endpoint: &Endpoint) -> Node {
    let node = dom.new_map();
    let addresses = dom.ensure_list(node, "addresses");
    for address in &endpoint.addresses {
        let address = dom.new_str(address);
        dom.push(addresses, address);
    }
    let conditions = dom.ensure_map(node, "conditions");
    for (key, value) in [
        ("ready", endpoint.ready),
        ("serving", endpoint.serving),
        ("terminating", endpoint.terminating),
    ] {
        if let Some(value) = value {
            dom.set_bool(conditions, key, value);
        }
    }
    set(dom, node, "hostname", endpoint.hostname.as_deref());
    if let Some(target) = &endpoint.target {
        write_target(dom, node, target);
    }
    set(dom, node, "nodeName", endpoint.node.as_deref());
    set(dom, node, "zone", endpoint.zone.as_deref());
    if let Some(hints) = &endpoint.hints {
        let map = dom.ensure_map(node, "hints");
        for (key, names) in [("forZones", &hints.zones), ("forNodes", &hints.nodes)] {
            for name in names {
                let list = dom.ensure_list(map, key);
                let entry = dom.new_map();
                dom.set_str(entry, "name", name);
                dom.push(list, entry);
            }
        }
    }
    node
}

pub(super) fn write_target(dom: &mut Dom, node: Node, target: &Target) {
    let map = dom.ensure_map(node, "targetRef");
    for (key, value) in [
        ("kind", &target.kind),
        ("namespace", &target.namespace),
        ("name", &target.name),
        ("uid", &target.uid),
    ] {
        if !value.is_empty() {
            dom.set_str(map, key, value);
        }
    }
}

pub(super) fn set(dom: &mut Dom, node: Node, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        dom.set_str(node, key, value);
    }
}
