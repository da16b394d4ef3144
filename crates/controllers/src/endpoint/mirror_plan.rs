//! Which slices mirror an Endpoints object that somebody keeps by hand. Pure.
//!
//! One slice for each family and set of ports, so a subset of more than [`MAX`] addresses is
//! cut. Slices carry the object's labels and annotations.
//! Source: kubernetes v1.36.3 pkg/controller/endpointslicemirroring/{reconciler,utils}.go.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::endpoint::endpoints_plan::Endpoints;
use crate::endpoint::pod::parse_address;
use crate::endpoint::slice::{Endpoint, Family, Identity, MANAGED_BY, Port, SERVICE_NAME, Slice};
use crate::endpoint::subsets::{self, Address};
use crate::endpoint::trigger;
use crate::endpoint::write::Writes;

pub(crate) const CONTROLLER: &str = "endpointslicemirroring-controller.k8s.io";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
const APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Addresses of a subset (upstream's --mirroring-max-endpoints-per-subset).
pub(crate) const MAX: usize = 1000;

type Group = (Family, Vec<Port>);

/// See the fields.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) writes: Writes,
    pub(super) invalid: usize,
    /// Invalid ones included.
    pub(super) skipped: usize,
}

/// May this object be mirrored at all?
pub(crate) fn may_mirror(endpoints: &Endpoints) -> bool {
    let skipped = endpoints
        .labels
        .get(SKIP)
        .is_some_and(|value| value == "true");
    !skipped && !endpoints.is_election()
}

pub(super) fn plan(endpoints: &Endpoints, existing: &[Arc<Slice>]) -> Plan {
    let mut plan = Plan::default();
    let desired = desired(endpoints, &mut plan);
    let mut by_group: BTreeMap<Group, Vec<&Arc<Slice>>> = BTreeMap::new();
    for slice in existing {
        match slice.family {
            Some(family) => by_group
                .entry((family, slice.ports.clone()))
                .or_default()
                .push(slice),
            None => plan.writes.delete.push(Slice::clone(slice)),
        }
    }
    for (group, wanted) in &desired {
        let known = by_group.remove(group).unwrap_or_default();
        mirror(endpoints, group, wanted, &known, &mut plan.writes);
    }
    for slice in by_group.into_values().flatten() {
        plan.writes.delete.push(Slice::clone(slice));
    }
    reuse(&mut plan.writes);
    if endpoints.terminating {
        plan.writes.create.clear();
    }
    plan
}

fn desired(
    endpoints: &Endpoints,
    plan: &mut Plan,
) -> BTreeMap<Group, BTreeMap<Identity, Endpoint>> {
    let mut desired: BTreeMap<Group, BTreeMap<Identity, Endpoint>> = BTreeMap::new();
    for subset in subsets::pack(&endpoints.subsets) {
        let ports: Vec<Port> = {
            let mut ports: Vec<Port> = subset.ports.iter().map(port).collect();
            ports.sort();
            ports
        };
        let mut added = 0;
        let ready = subset.ready.iter().map(|address| (address, true));
        let not_ready = subset.not_ready.iter().map(|address| (address, false));
        for (address, ready) in ready.chain(not_ready) {
            if added >= MAX {
                break;
            }
            let Some((family, endpoint)) = endpoint(address, ready) else {
                plan.invalid += 1;
                continue;
            };
            let group = desired.entry((family, ports.clone())).or_default();
            group.insert(endpoint.identity(), endpoint);
            added += 1;
        }
        plan.skipped += subset.ready.len() + subset.not_ready.len() - added;
    }
    desired
}

fn port(port: &subsets::Port) -> Port {
    Port {
        name: Some(port.name.clone()),
        protocol: Some(port.protocol.clone()),
        port: Some(port.port),
        app_protocol: port.app_protocol.clone(),
    }
}

fn endpoint(address: &Address, ready: bool) -> Option<(Family, Endpoint)> {
    let ip = parse_address(&address.ip)?;
    let endpoint = Endpoint {
        addresses: vec![ip.to_string()],
        ready: Some(ready),
        hostname: Some(address.hostname.clone()).filter(|name| !name.is_empty()),
        target: address.target.clone(),
        node: address.node.clone(),
        ..Endpoint::default()
    };
    Some((Family::of(&ip), endpoint))
}

fn mirror(
    endpoints: &Endpoints,
    (family, ports): &Group,
    wanted: &BTreeMap<Identity, Endpoint>,
    known: &[&Arc<Slice>],
    writes: &mut Writes,
) {
    let mut slice = Slice {
        namespace: endpoints.namespace.clone(),
        name: String::new(),
        uid: String::new(),
        revision: 0,
        terminating: false,
        labels: labels(endpoints),
        annotations: annotations(endpoints),
        owners: Vec::new(),
        family: Some(*family),
        ports: ports.clone(),
        endpoints: wanted.values().take(MAX).cloned().collect(),
    };
    let Some((first, others)) = known.split_first() else {
        writes.create.push(slice);
        return;
    };
    let others = others.iter().map(|slice| Slice::clone(slice));
    writes.delete.extend(others);
    let same = first.endpoints.len() == wanted.len()
        && first.endpoints.iter().all(|known| {
            let wanted = wanted.get(&known.identity());
            wanted.is_some_and(|wanted| wanted.same_state(known))
        })
        && first.labels == slice.labels
        && first.annotations == slice.annotations
        && first.is_owned_by("Endpoints", &endpoints.uid);
    if !same {
        slice.name.clone_from(&first.name);
        slice.uid.clone_from(&first.uid);
        slice.owners.clone_from(&first.owners);
        writes.update.push(slice);
    }
}

fn labels(endpoints: &Endpoints) -> BTreeMap<String, String> {
    let mut labels = endpoints.labels.clone();
    labels.insert(SERVICE_NAME.to_owned(), endpoints.name.clone());
    labels.insert(MANAGED_BY.to_owned(), CONTROLLER.to_owned());
    labels
}

fn annotations(endpoints: &Endpoints) -> BTreeMap<String, String> {
    let mut annotations = endpoints.annotations.clone();
    annotations.retain(|key, _| !matches!(key.as_str(), trigger::ANNOTATION | APPLIED));
    annotations
}

/// Turns pairs of create and delete of one family into updates.
fn reuse(writes: &mut Writes) {
    let mut index = 0;
    while index < writes.create.len() {
        let family = writes.create[index].family;
        let old = writes.delete.iter().position(|old| old.family == family);
        let Some(old) = old else {
            index += 1;
            continue;
        };
        let old = writes.delete.remove(old);
        let mut slice = writes.create.remove(index);
        slice.name = old.name;
        slice.uid = old.uid;
        slice.owners = old.owners;
        writes.update.push(slice);
    }
}
