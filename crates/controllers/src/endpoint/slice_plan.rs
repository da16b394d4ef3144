//! Which slices to create, update and delete so that a Service's pods are in them. Pure.
//!
//! Endpoints of one address family and one set of ports share slices of at most [`MAX`]. Churn is
//! kept low: endpoints stay in their slice; slices that change anyhow are filled first; then one
//! unchanged slice that fits the rest best; only then a new one. Creates take over slices that
//! would be deleted.
//! Source: endpointslice v0.36.3 reconciler.go, utils.go.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::endpoint::hints::{Preference, set_hints};
use crate::endpoint::pod::Pod;
use crate::endpoint::service::Service;
use crate::endpoint::slice::{
    Endpoint, Family, HEADLESS, Identity, MANAGED_BY, Port, SERVICE_NAME, Slice, Target,
};

/// Whose slices these are.
pub(crate) const CONTROLLER: &str = "endpointslice-controller.k8s.io";

/// Endpoints of one slice (upstream's --max-endpoints-per-slice).
pub(crate) const MAX: usize = 100;

/// What a plan is made of.
pub(crate) struct World<'a> {
    pub(crate) service: &'a Service,
    /// Those that the Service selects.
    pub(crate) pods: &'a [Arc<Pod>],
    /// Zones (empty without one) of the nodes that exist.
    pub(crate) zone_of: &'a dyn Fn(&str) -> Option<String>,
    /// Those of this controller for this Service that are not being deleted.
    pub(crate) slices: &'a [Arc<Slice>],
}

/// See the fields.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Without names.
    pub(crate) create: Vec<Slice>,
    pub(crate) update: Vec<Slice>,
    pub(crate) delete: Vec<Slice>,
    /// Their pods are left out until these nodes exist.
    pub(crate) missing_nodes: Vec<String>,
}

type Desired = BTreeMap<Identity, Endpoint>;

pub(crate) fn plan(world: &World<'_>) -> Plan {
    let mut plan = Plan::default();
    let families = world.service.families();
    let strange = world.slices.iter().filter(|slice| {
        slice
            .family
            .is_none_or(|family| !families.contains(&family))
    });
    let strange: Vec<Slice> = strange.map(|slice| Slice::clone(slice)).collect();
    for family in families {
        plan_family(world, family, &mut plan);
    }
    plan.delete.extend(strange);
    plan.missing_nodes.sort();
    plan.missing_nodes.dedup();
    plan
}

fn plan_family(world: &World<'_>, family: Family, plan: &mut Plan) {
    let service = world.service;
    let mut by_ports: BTreeMap<Vec<Port>, Vec<&Arc<Slice>>> = BTreeMap::new();
    let existing: Vec<&Arc<Slice>> = world
        .slices
        .iter()
        .filter(|slice| slice.family == Some(family))
        .collect();
    let mut part = Plan::default();
    for slice in &existing {
        if slice.is_owned_by("Service", &service.uid) {
            by_ports.entry(slice.ports.clone()).or_default().push(slice);
        } else {
            part.delete.push(Slice::clone(slice));
        }
    }
    let desired = desired(world, family, &mut part.missing_nodes);
    for (ports, slices) in &by_ports {
        if !desired.contains_key(ports) {
            part.delete
                .extend(slices.iter().map(|slice| Slice::clone(slice)));
        }
    }
    for (ports, endpoints) in desired {
        let slices = by_ports.get(&ports).map_or(&[][..], Vec::as_slice);
        fill(service, family, &ports, slices, endpoints, &mut part);
    }
    if existing.len() == part.delete.len() && part.create.is_empty() {
        keep_or_make_placeholder(service, family, &mut part);
    }
    let preference = Preference::parse(&service.traffic_distribution);
    for slice in part.create.iter_mut().chain(&mut part.update) {
        set_hints(slice, preference);
    }
    for slice in &existing {
        let same = |other: &Slice| other.name == slice.name;
        if !part.update.iter().any(same) && !part.delete.iter().any(same) {
            let mut copy = Slice::clone(slice);
            if set_hints(&mut copy, preference) {
                part.update.push(copy);
            }
        }
    }
    reuse(service, &mut part);
    if service.terminating {
        // The garbage collector is at work: nothing new for it to find.
        part.create.clear();
    }
    plan.create.append(&mut part.create);
    plan.update.append(&mut part.update);
    plan.delete.append(&mut part.delete);
    plan.missing_nodes.append(&mut part.missing_nodes);
}

/// What should be published, by the ports that the pods offer.
fn desired(
    world: &World<'_>,
    family: Family,
    missing_nodes: &mut Vec<String>,
) -> BTreeMap<Vec<Port>, Desired> {
    let service = world.service;
    let mut all: BTreeMap<Vec<Port>, Desired> = BTreeMap::new();
    for pod in world.pods.iter().filter(|pod| pod.is_reachable()) {
        let group = all.entry(ports(service, pod)).or_default();
        let zone = match (world.zone_of)(&pod.node) {
            Some(zone) => Some(zone).filter(|zone| !zone.is_empty()),
            None if service.publish_not_ready => None,
            None => {
                missing_nodes.push(pod.node.clone());
                continue;
            }
        };
        let endpoint = endpoint(service, pod, family, zone);
        if !endpoint.addresses.is_empty() {
            group.insert(endpoint.identity(), endpoint);
        }
    }
    all
}

/// Sorted; a named target port that the pod does not have is left out.
fn ports(service: &Service, pod: &Pod) -> Vec<Port> {
    let mut ports: Vec<Port> = service
        .ports
        .iter()
        .filter_map(|port| {
            Some(Port {
                name: Some(port.name.clone()),
                protocol: Some(port.protocol.clone()),
                port: Some(port.find(pod)?),
                app_protocol: port.app_protocol.clone(),
            })
        })
        .collect();
    ports.sort();
    ports
}

fn endpoint(service: &Service, pod: &Pod, family: Family, zone: Option<String>) -> Endpoint {
    let of_family = pod.addresses.iter().filter(|ip| Family::of(ip) == family);
    let mut addresses: Vec<String> = of_family.map(ToString::to_string).collect();
    addresses.sort();
    Endpoint {
        addresses,
        ready: Some(service.publish_not_ready || pod.ready && !pod.terminating),
        serving: Some(pod.ready),
        terminating: Some(pod.terminating),
        hostname: service.names(pod).then(|| pod.hostname.clone()),
        target: Some(Target {
            kind: "Pod".to_owned(),
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            uid: pod.uid.clone(),
        }),
        node: Some(pod.node.clone()).filter(|node| !node.is_empty()),
        zone,
        hints: None,
    }
}

/// The slices of one set of ports.
fn fill(
    service: &Service,
    family: Family,
    ports: &[Port],
    existing: &[&Arc<Slice>],
    mut desired: Desired,
    plan: &mut Plan,
) {
    let mut updated: Vec<Slice> = Vec::new();
    let mut unchanged: Vec<&Arc<Slice>> = Vec::new();
    for slice in existing {
        let mut copy = Slice::clone(slice);
        let mut changed = false;
        copy.endpoints = slice
            .endpoints
            .iter()
            .filter_map(|known| {
                let wanted = desired.remove(&known.identity())?;
                changed |= !wanted.same_state(known);
                Some(wanted)
            })
            .collect();
        changed |= copy.endpoints.len() != slice.endpoints.len();
        if changed && copy.endpoints.is_empty() {
            plan.delete.push(Slice::clone(slice));
        } else if changed || !same_labels(&slice.labels, &service.labels) {
            copy.labels = labels(service);
            updated.push(copy);
        } else {
            unchanged.push(slice);
        }
    }
    // Fullest first, so that few slices stay partly filled.
    updated.sort_by_key(|slice| std::cmp::Reverse(slice.endpoints.len()));
    for slice in &mut updated {
        move_into(slice, &mut desired);
    }
    while !desired.is_empty() {
        let fitting = (desired.len() < MAX)
            .then(|| best_fit(&unchanged, desired.len()))
            .flatten();
        match fitting {
            Some(index) => {
                let mut slice = Slice::clone(unchanged.remove(index));
                move_into(&mut slice, &mut desired);
                updated.push(slice);
            }
            None => {
                let mut slice = new(service, family, ports);
                move_into(&mut slice, &mut desired);
                plan.create.push(slice);
            }
        }
    }
    plan.update.append(&mut updated);
}

fn move_into(slice: &mut Slice, desired: &mut Desired) {
    while slice.endpoints.len() < MAX
        && let Some((_, endpoint)) = desired.pop_first()
    {
        slice.endpoints.push(endpoint);
    }
}

/// The slice that is closest to full with so many more.
fn best_fit(slices: &[&Arc<Slice>], more: usize) -> Option<usize> {
    slices
        .iter()
        .enumerate()
        .filter(|(_, slice)| slice.endpoints.len() + more <= MAX)
        .max_by_key(|(index, slice)| (slice.endpoints.len(), std::cmp::Reverse(*index)))
        .map(|(index, _)| index)
}

/// A Service without endpoints has one empty slice, so that it can be told from one that nobody
/// looked at yet.
fn keep_or_make_placeholder(service: &Service, family: Family, plan: &mut Plan) {
    let wanted = new(service, family, &[]);
    let is_it = |slice: &Slice| {
        slice.ports.is_empty()
            && slice.endpoints.is_empty()
            && slice.labels == wanted.labels
            && slice.is_owned_by("Service", &service.uid)
    };
    if matches!(plan.delete.as_slice(), [only] if is_it(only)) {
        plan.delete.clear();
    } else {
        plan.create.push(wanted);
    }
}

/// Turns pairs of create and delete into updates.
fn reuse(service: &Service, plan: &mut Plan) {
    let mut index = 0;
    while index < plan.delete.len() {
        let old = &plan.delete[index];
        if !old.is_owned_by("Service", &service.uid) {
            index += 1;
            continue;
        }
        let Some(mut slice) = plan.create.pop() else {
            break;
        };
        let old = plan.delete.remove(index);
        slice.name = old.name;
        slice.uid = old.uid;
        slice.revision = old.revision;
        slice.owners = old.owners;
        slice.annotations = old.annotations;
        plan.update.push(slice);
    }
}

fn new(service: &Service, family: Family, ports: &[Port]) -> Slice {
    Slice {
        namespace: service.namespace.clone(),
        name: String::new(),
        uid: String::new(),
        revision: 0,
        terminating: false,
        labels: labels(service),
        annotations: BTreeMap::new(),
        owners: Vec::new(),
        family: Some(family),
        ports: ports.to_vec(),
        endpoints: Vec::new(),
    }
}

/// The Service's labels and those that say whose slice it is.
fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.labels.clone();
    labels.retain(|key, _| !is_reserved(key));
    if !service.has_address() {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.insert(SERVICE_NAME.to_owned(), service.name.clone());
    labels.insert(MANAGED_BY.to_owned(), CONTROLLER.to_owned());
    labels
}

fn same_labels(slice: &BTreeMap<String, String>, service: &BTreeMap<String, String>) -> bool {
    let free = |labels: &BTreeMap<String, String>| {
        let mut labels = labels.clone();
        labels.retain(|key, _| !is_reserved(key));
        labels
    };
    free(slice) == free(service)
}

fn is_reserved(label: &str) -> bool {
    matches!(label, SERVICE_NAME | MANAGED_BY | HEADLESS)
}
