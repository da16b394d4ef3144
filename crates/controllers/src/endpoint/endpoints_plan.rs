//! What the Endpoints object of a Service should say. Pure.
//!
//! Source: kubernetes v1.36.3 pkg/controller/endpoint/endpoints_controller.go.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::Object;

use crate::endpoint::pod::{Pod, owned};
use crate::endpoint::service::Service;
use crate::endpoint::slice::{Family, HEADLESS, Target};
use crate::endpoint::subsets::{self, Address, CAPACITY, Port, Subset};

pub(crate) const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
pub(crate) const CONTROLLER: &str = "endpoint-controller";
pub(crate) const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";

/// An Endpoints object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Endpoints {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) terminating: bool,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) subsets: Vec<Subset>,
}

impl Endpoints {
    pub(crate) fn read(object: &Object) -> Option<Self> {
        let dom = object.parse().ok()?;
        let meta = api::meta::of(dom.as_ref());
        Some(Self {
            namespace: meta.namespace().to_owned(),
            name: meta.name().to_owned(),
            uid: meta.uid().to_owned(),
            terminating: meta.is_deleting(),
            labels: owned(meta.labels()),
            annotations: owned(meta.annotations()),
            subsets: subsets::read(dom.as_ref()),
        })
    }

    /// An old form of leader election kept its record here.
    pub(crate) fn is_election(&self) -> bool {
        self.annotations
            .contains_key("control-plane.alpha.kubernetes.io/leader")
    }
}

/// What to write, `None` when it is there already. `pods` are those that the Service selects.
pub(crate) fn plan(
    service: &Service,
    pods: &[Arc<Pod>],
    current: Option<&Endpoints>,
) -> Option<Endpoints> {
    let mut subsets = subsets::pack(&loose(service, pods));
    if let Some(current) = current
        && (current.subsets == subsets || subsets::pack(&current.subsets) == subsets)
        && are_right(&current.labels, &service.labels)
        && subsets::count(&current.subsets) <= CAPACITY
        && !current.annotations.contains_key(OVER_CAPACITY)
    {
        return None;
    }
    let mut wanted = Endpoints {
        namespace: service.namespace.clone(),
        name: service.name.clone(),
        labels: service.labels.clone(),
        annotations: current.map_or_else(BTreeMap::new, |current| current.annotations.clone()),
        ..Endpoints::default()
    };
    match subsets::truncate(&mut subsets) {
        true => wanted
            .annotations
            .insert(OVER_CAPACITY.to_owned(), "truncated".to_owned()),
        false => wanted.annotations.remove(OVER_CAPACITY),
    };
    match service.has_address() {
        true => wanted.labels.remove(HEADLESS),
        false => wanted.labels.insert(HEADLESS.to_owned(), String::new()),
    };
    wanted
        .labels
        .insert(MANAGED_BY.to_owned(), CONTROLLER.to_owned());
    wanted.subsets = subsets;
    // A truncated object that stays as it is needs no write.
    let same = current.is_some_and(|current| {
        (&current.subsets, &current.labels, &current.annotations)
            == (&wanted.subsets, &wanted.labels, &wanted.annotations)
    });
    (!same).then_some(wanted)
}

/// A subset for each port of each pod.
fn loose(service: &Service, pods: &[Arc<Pod>]) -> Vec<Subset> {
    let mut all = Vec::new();
    for pod in pods {
        let wanted = !pod.terminating || service.publish_not_ready;
        if !pod.is_reachable() || !wanted {
            continue;
        }
        let Some(address) = address(service, pod) else {
            continue;
        };
        let ports = service.ports.iter().filter_map(|port| {
            Some(vec![Port {
                name: port.name.clone(),
                port: port.find(pod)?,
                protocol: port.protocol.clone(),
                app_protocol: port.app_protocol.clone(),
            }])
        });
        let mut ports: Vec<Vec<Port>> = ports.collect();
        if service.ports.is_empty() && service.is_headless() {
            ports.push(Vec::new());
        }
        for ports in ports {
            let mut subset = Subset {
                ports,
                ..Subset::default()
            };
            match service.publish_not_ready || pod.ready {
                true => subset.ready.push(address.clone()),
                false => subset.not_ready.push(address.clone()),
            }
            all.push(subset);
        }
    }
    all
}

fn address(service: &Service, pod: &Pod) -> Option<Address> {
    let family = match service.families.first() {
        Some(family) => *family,
        None if service.has_address() => service.families()[0],
        None => Family::of(pod.addresses.first()?),
    };
    let ip = pod.addresses.iter().find(|ip| Family::of(ip) == family)?;
    Some(Address {
        ip: ip.to_string(),
        hostname: match service.names(pod) {
            true => pod.hostname.clone(),
            false => String::new(),
        },
        node: Some(pod.node.clone()),
        target: Some(Target {
            kind: "Pod".to_owned(),
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            uid: pod.uid.clone(),
        }),
    })
}

fn are_right(labels: &BTreeMap<String, String>, service: &BTreeMap<String, String>) -> bool {
    let own = |key: &str| matches!(key, HEADLESS | MANAGED_BY);
    let copied = labels.iter().filter(|(key, _)| !own(key));
    labels.get(MANAGED_BY).is_some_and(|by| by == CONTROLLER)
        && copied.eq(service.iter().filter(|(key, _)| !own(key)))
}
