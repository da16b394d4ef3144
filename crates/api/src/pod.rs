//! Pods: what they ask for, their service class, their containers and ports.
//!
//! Pure readers over a pod document, shared by scheduler, kubelet, quota and `describe`.
//! Source: component-helpers v0.36.3 resource/helpers.go; kubernetes v1.36.3
//! pkg/apis/core/v1/helper/qos/qos.go, pkg/api/v1/pod/util.go.

use crate::quantity::Quantity;
use schema::Ref;
use std::collections::BTreeMap;

mod resources;

pub use resources::{Amounts, RequestOptions, is_resize_infeasible, limits, requests};

/// Which list a container stands in.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContainerKind {
    /// `spec.initContainers` that must end before the next one starts.
    Init,
    /// `spec.initContainers` with `restartPolicy: Always`: it stays.
    Sidecar,
    /// `spec.containers`.
    Main,
    /// `spec.ephemeralContainers`.
    Ephemeral,
}

/// One container of a pod.
#[derive(Copy, Clone, Debug)]
pub struct Container<'a> {
    /// Which list it stands in.
    pub kind: ContainerKind,
    /// Its index in that list.
    pub index: usize,
    /// Its definition.
    pub spec: Ref<'a>,
}

impl<'a> Container<'a> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.spec.str("name")
    }
}

/// All containers of a pod template or pod (`spec` given): init, main, ephemeral, in upstream's
/// order of visits.
pub fn containers(spec: Ref<'_>) -> impl Iterator<Item = Container<'_>> {
    let init = spec
        .items("initContainers")
        .enumerate()
        .map(|(index, spec)| {
            let kind = if is_sidecar(spec) {
                ContainerKind::Sidecar
            } else {
                ContainerKind::Init
            };
            Container { kind, index, spec }
        });
    let list = move |field, kind| {
        let all = spec.items(field).enumerate();
        all.map(move |(index, spec)| Container { kind, index, spec })
    };
    init.chain(list("containers", ContainerKind::Main))
        .chain(list("ephemeralContainers", ContainerKind::Ephemeral))
}

/// Is an init container one that stays?
#[must_use]
pub fn is_sidecar(init_container: Ref<'_>) -> bool {
    init_container.str("restartPolicy") == "Always"
}

/// The status of a container, looked up by kind and name.
#[must_use]
pub fn container_status<'a>(pod: Ref<'a>, kind: ContainerKind, name: &str) -> Option<Ref<'a>> {
    let field = match kind {
        ContainerKind::Init | ContainerKind::Sidecar => "initContainerStatuses",
        ContainerKind::Main => "containerStatuses",
        ContainerKind::Ephemeral => "ephemeralContainerStatuses",
    };
    pod.get("status")?
        .items(field)
        .find(|status| status.str("name") == name)
}

/// Quality of service class.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Qos {
    /// Every container has limits, and requests equal to them.
    Guaranteed,
    /// Something is asked for.
    Burstable,
    /// Nothing is asked for.
    BestEffort,
}

impl Qos {
    /// The text in `status.qosClass`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

/// The class of a pod: what its status says, else computed.
#[must_use]
pub fn qos(pod: Ref<'_>) -> Qos {
    match pod
        .get("status")
        .map_or("", |status| status.str("qosClass"))
    {
        "Guaranteed" => Qos::Guaranteed,
        "Burstable" => Qos::Burstable,
        "BestEffort" => Qos::BestEffort,
        _ => compute_qos(pod),
    }
}

fn compute_part(from: Option<Ref<'_>>, sum: &mut BTreeMap<String, Quantity>) -> usize {
    let mut found = 0;
    for (name, quantity) in from.into_iter().flat_map(Ref::map) {
        let quantity = resources::quantity(quantity);
        if matches!(name, "cpu" | "memory") && quantity.sign() > 0 {
            found += 1;
            sum.entry(name.to_owned()).or_default().add(&quantity);
        }
    }
    found
}

/// The class computed from the spec (cpu and memory only, init containers count).
#[must_use]
pub fn compute_qos(pod: Ref<'_>) -> Qos {
    let Some(spec) = pod.get("spec") else {
        return Qos::BestEffort;
    };
    let (mut requests, mut limits) = (BTreeMap::new(), BTreeMap::new());
    let mut guaranteed = true;
    let of_pod = spec.get("resources").filter(|r| !r.is_null());
    if let Some(of_pod) = of_pod {
        compute_part(of_pod.get("requests"), &mut requests);
        let given = of_pod.entries("limits").count() > 0;
        let found = compute_part(of_pod.get("limits"), &mut limits);
        guaranteed = !given || found == 2;
    } else {
        for container in containers(spec).filter(|c| c.kind != ContainerKind::Ephemeral) {
            compute_part(container.spec.at(&["resources", "requests"]), &mut requests);
            let found = compute_part(container.spec.at(&["resources", "limits"]), &mut limits);
            guaranteed &= found == 2;
        }
    }
    if requests.is_empty() && limits.is_empty() {
        return Qos::BestEffort;
    }
    let covered = requests
        .iter()
        .all(|(name, request)| limits.get(name) == Some(request));
    if guaranteed && covered && requests.len() == limits.len() {
        Qos::Guaranteed
    } else {
        Qos::Burstable
    }
}

/// A port that a container declares.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Port<'a> {
    /// Name, may be empty.
    pub name: &'a str,
    /// Port inside the pod.
    pub container_port: u16,
    /// Port on the node, 0 for none; with `hostNetwork` it is the container port.
    pub host_port: u16,
    /// Address on the node, may be empty.
    pub host_ip: &'a str,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: &'a str,
}

/// The ports of containers that run with the pod: main ones and sidecars.
pub fn ports(spec: Ref<'_>) -> impl Iterator<Item = Port<'_>> {
    let host_network = spec.bool("hostNetwork").unwrap_or(false);
    let running =
        |c: &Container<'_>| matches!(c.kind, ContainerKind::Main | ContainerKind::Sidecar);
    let number = |port: Ref<'_>, key| {
        port.int(key)
            .and_then(|n| u16::try_from(n).ok())
            .unwrap_or(0)
    };
    containers(spec)
        .filter(running)
        .flat_map(|c| c.spec.items("ports"))
        .map(move |port| {
            let container_port = number(port, "containerPort");
            let host_port = match number(port, "hostPort") {
                0 if host_network => container_port,
                port => port,
            };
            let protocol = match port.str("protocol") {
                "" => "TCP",
                protocol => protocol,
            };
            let (name, host_ip) = (port.str("name"), port.str("hostIP"));
            Port {
                name,
                container_port,
                host_port,
                host_ip,
                protocol,
            }
        })
}

/// The number behind a probe's or Service's target port: a number or the name of a port that
/// a main container or sidecar declares with that protocol.
#[must_use]
pub fn find_port(spec: Ref<'_>, target: Ref<'_>, protocol: &str) -> Option<u16> {
    if let Some(number) = target.as_int() {
        return u16::try_from(number).ok();
    }
    let name = target.as_str().filter(|name| !name.is_empty())?;
    let port = ports(spec).find(|port| port.name == name && port.protocol == protocol)?;
    Some(port.container_port)
}

/// Is the pod over: phase `Succeeded` or `Failed`?
#[must_use]
pub fn is_terminal(pod: Ref<'_>) -> bool {
    let phase = pod.get("status").map_or("", |status| status.str("phase"));
    matches!(phase, "Succeeded" | "Failed")
}

/// Is its `Ready` condition true?
#[must_use]
pub fn is_ready(pod: Ref<'_>) -> bool {
    crate::meta::condition_is_true(pod, "Ready")
}

/// `spec.priority`, 0 without one.
#[must_use]
pub fn priority(pod: Ref<'_>) -> i64 {
    pod.get("spec")
        .and_then(|spec| spec.int("priority"))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests;
