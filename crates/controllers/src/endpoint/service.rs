//! What endpoints need to know of a Service.
//!
//! Source: endpointslice v0.36.3 utils.go (getAddressTypesForService, FindPort).

use std::collections::BTreeMap;

use client::Object;
use jiff::Timestamp;
use schema::Ref;

use crate::endpoint::pod::{Pod, owned};
use crate::endpoint::slice::Family;

/// See the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) created: Option<Timestamp>,
    pub(crate) terminating: bool,
    pub(crate) labels: BTreeMap<String, String>,
    /// None: somebody else keeps its endpoints.
    pub(crate) selector: Option<BTreeMap<String, String>>,
    /// ExternalName: it has none.
    pub(crate) external: bool,
    pub(crate) cluster_ip: String,
    pub(crate) families: Vec<Family>,
    pub(crate) ports: Vec<ServicePort>,
    pub(crate) publish_not_ready: bool,
    pub(crate) traffic_distribution: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServicePort {
    pub(crate) name: String,
    pub(crate) protocol: String,
    pub(crate) target: Target,
    pub(crate) app_protocol: Option<String>,
}

/// A target port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Number(i64),
    Name(String),
}

impl Default for Target {
    fn default() -> Self {
        Self::Number(0)
    }
}

impl Service {
    pub(crate) fn read(object: &Object) -> Option<Self> {
        let dom = object.parse().ok()?;
        Some(Self::of(dom.as_ref()))
    }

    pub(crate) fn of(service: Ref<'_>) -> Self {
        let meta = api::meta::of(service);
        let spec = service.get("spec").unwrap_or_else(|| Ref::null());
        let map = |entries: Ref<'_>| {
            let entries = entries.map();
            owned(entries.map(|(key, value)| (key, value.text())))
        };
        let families = spec.items("ipFamilies").map(Ref::text);
        Self {
            namespace: meta.namespace().to_owned(),
            name: meta.name().to_owned(),
            uid: meta.uid().to_owned(),
            created: meta.created(),
            terminating: meta.is_deleting(),
            labels: owned(meta.labels()),
            selector: spec.get("selector").filter(|s| !s.is_null()).map(map),
            external: spec.str("type") == "ExternalName",
            cluster_ip: spec.str("clusterIP").to_owned(),
            families: families.filter_map(Family::parse).collect(),
            ports: spec.items("ports").map(port).collect(),
            publish_not_ready: spec.bool("publishNotReadyAddresses").unwrap_or(false),
            traffic_distribution: spec.str("trafficDistribution").to_owned(),
        }
    }

    /// Do its endpoints follow pods?
    pub(crate) fn follows_pods(&self) -> bool {
        !self.external && self.selector.is_some()
    }

    /// An empty selector is every pod of the namespace.
    pub(crate) fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.selector.as_ref().is_some_and(|selector| {
            selector
                .iter()
                .all(|(key, value)| labels.get(key) == Some(value))
        })
    }

    pub(crate) fn is_headless(&self) -> bool {
        self.cluster_ip == "None"
    }

    /// Has it an address of its own?
    pub(crate) fn has_address(&self) -> bool {
        !self.cluster_ip.is_empty() && !self.is_headless()
    }

    /// Both families when the object says nothing of them.
    pub(crate) fn families(&self) -> Vec<Family> {
        if !self.families.is_empty() {
            return self.families.clone();
        }
        match self.cluster_ip.as_str() {
            address if self.has_address() && address.contains(':') => vec![Family::V6],
            _ if self.has_address() => vec![Family::V4],
            _ => vec![Family::V4, Family::V6],
        }
    }

    /// Is the pod known under its own name below this Service?
    pub(crate) fn names(&self, pod: &Pod) -> bool {
        !pod.hostname.is_empty() && pod.subdomain == self.name && pod.namespace == self.namespace
    }
}

impl ServicePort {
    /// The number of this port in a pod.
    pub(crate) fn find(&self, pod: &Pod) -> Option<i64> {
        match &self.target {
            Target::Number(number) => Some(*number),
            Target::Name(name) => pod
                .ports
                .iter()
                .find(|(known, protocol, _)| known == name && *protocol == self.protocol)
                .map(|(_, _, port)| i64::from(*port)),
        }
    }
}

fn port(port: Ref<'_>) -> ServicePort {
    let target = port.get("targetPort");
    ServicePort {
        name: port.str("name").to_owned(),
        protocol: match port.str("protocol") {
            "" => "TCP".to_owned(),
            protocol => protocol.to_owned(),
        },
        target: match target.and_then(Ref::as_str) {
            Some(name) => Target::Name(name.to_owned()),
            None => Target::Number(target.and_then(Ref::as_int).unwrap_or(0)),
        },
        app_protocol: port
            .get("appProtocol")
            .and_then(Ref::as_str)
            .map(str::to_owned),
    }
}
