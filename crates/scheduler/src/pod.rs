//! What the scheduler keeps of a pod: a narrow struct, read once from the object's bytes.

use client::{Key, Object};
use schema::Ref;

use crate::Resources;

/// See the module's header.
#[derive(Clone, Debug, Default)]
pub struct PodInfo {
    /// Namespace and name.
    pub key: Key,
    /// Uid.
    pub uid: String,
    /// Empty until bound.
    pub node_name: String,
    /// Which scheduler is asked for.
    pub scheduler_name: String,
    /// Resolved by admission.
    pub priority: i64,
    /// Effective requests, overhead included.
    pub requests: Resources,
    /// `spec.nodeSelector`.
    pub node_selector: Vec<(String, String)>,
    /// Required node affinity: one of these terms must match. `None`: not restricted.
    pub required_affinity: Option<Vec<Term>>,
    /// Preferred node affinity with weights.
    pub preferred_affinity: Vec<(i64, Term)>,
    /// Tolerations.
    pub tolerations: Vec<Toleration>,
    /// Host ports.
    pub host_ports: Vec<HostPort>,
    /// Images of all containers.
    pub images: Vec<String>,
    /// Names of scheduling gates.
    pub gates: Vec<String>,
    /// Succeeded or Failed: it uses nothing.
    pub finished: bool,
    /// Being deleted.
    pub terminating: bool,
}

/// A node selector term: all requirements must hold.
#[derive(Clone, Debug, Default)]
pub struct Term {
    /// On labels.
    pub labels: Vec<Requirement>,
    /// On fields (`metadata.name`).
    pub fields: Vec<Requirement>,
}

/// One requirement.
#[derive(Clone, Debug)]
pub struct Requirement {
    /// Label or field.
    pub key: String,
    /// In, NotIn, Exists, DoesNotExist, Gt, Lt.
    pub operator: String,
    /// Values.
    pub values: Vec<String>,
}

/// A toleration; empty fields match everything.
#[derive(Clone, Debug, Default)]
pub struct Toleration {
    /// Empty with `exists`: all taints.
    pub key: String,
    /// Exists instead of Equal.
    pub exists: bool,
    /// Value.
    pub value: String,
    /// Effect, empty for all.
    pub effect: String,
}

/// A port on the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// Address, `0.0.0.0` when not given.
    pub address: String,
    /// TCP, UDP or SCTP.
    pub protocol: String,
    /// Port.
    pub port: i64,
}

impl HostPort {
    /// Both cannot be on one node.
    pub fn conflicts(&self, other: &Self) -> bool {
        let wildcard = |port: &Self| port.address == "0.0.0.0";
        self.port == other.port
            && self.protocol == other.protocol
            && (wildcard(self) || wildcard(other) || self.address == other.address)
    }
}

impl PodInfo {
    /// Reads a pod; `None` when the object is not one.
    pub fn read(object: &Object) -> Option<Self> {
        let dom = object.parse().ok()?;
        let pod = dom.as_ref();
        let spec = pod.get("spec")?;
        let phase = pod
            .get("status")
            .map(|status| status.str("phase").to_owned());
        let affinity = spec
            .get("affinity")
            .and_then(|affinity| affinity.get("nodeAffinity"));
        let mut info = Self {
            key: object.key().clone(),
            uid: object.uid().to_owned(),
            node_name: spec.str("nodeName").to_owned(),
            scheduler_name: spec.str("schedulerName").to_owned(),
            priority: spec.int("priority").unwrap_or(0),
            requests: requests(pod),
            node_selector: spec
                .entries("nodeSelector")
                .map(|(key, value)| {
                    (
                        key.to_owned(),
                        value.as_str().unwrap_or_default().to_owned(),
                    )
                })
                .collect(),
            required_affinity: affinity
                .and_then(|node| node.get("requiredDuringSchedulingIgnoredDuringExecution"))
                .map(|required| {
                    required
                        .items("nodeSelectorTerms")
                        .map(Term::read)
                        .collect()
                }),
            gates: spec
                .items("schedulingGates")
                .map(|gate| gate.str("name").to_owned())
                .collect(),
            tolerations: spec.items("tolerations").map(Toleration::read).collect(),
            finished: matches!(phase.as_deref(), Some("Succeeded" | "Failed")),
            terminating: pod
                .get("metadata")
                .is_some_and(|metadata| !metadata.str("deletionTimestamp").is_empty()),
            ..Self::default()
        };
        if let Some(node) = affinity {
            info.preferred_affinity = node
                .items("preferredDuringSchedulingIgnoredDuringExecution")
                .filter_map(|p| Some((p.int("weight")?, Term::read(p.get("preference")?))))
                .collect();
        }
        for container in spec.items("initContainers").chain(spec.items("containers")) {
            info.images.push(container.str("image").to_owned());
            for port in container.items("ports") {
                let Some(number) = port.int("hostPort").filter(|port| *port > 0) else {
                    continue;
                };
                let or = |text: &str, default: &str| {
                    if text.is_empty() {
                        default.to_owned()
                    } else {
                        text.to_owned()
                    }
                };
                info.host_ports.push(HostPort {
                    address: or(port.str("hostIP"), "0.0.0.0"),
                    protocol: or(port.str("protocol"), "TCP"),
                    port: number,
                });
            }
        }
        Some(info)
    }
}

impl Term {
    fn read(term: Ref<'_>) -> Self {
        let read = |list| term.items(list).map(Requirement::read).collect();
        Self {
            labels: read("matchExpressions"),
            fields: read("matchFields"),
        }
    }
}

impl Requirement {
    fn read(requirement: Ref<'_>) -> Self {
        Self {
            key: requirement.str("key").to_owned(),
            operator: requirement.str("operator").to_owned(),
            values: requirement
                .items("values")
                .filter_map(|value| value.as_str().map(str::to_owned))
                .collect(),
        }
    }
}

impl Toleration {
    fn read(toleration: Ref<'_>) -> Self {
        Self {
            key: toleration.str("key").to_owned(),
            exists: toleration.str("operator") == "Exists",
            value: toleration.str("value").to_owned(),
            effect: toleration.str("effect").to_owned(),
        }
    }
}

/// The effective requests of a pod: the larger of the containers' sum and each init container
/// (sidecars before it included), plus overhead.
/// Source: kubernetes v1.36 component-helpers/resource/helpers.go, PodRequests.
fn requests(pod: Ref<'_>) -> Resources {
    let mut total = Resources::default();
    let options = api::pod::RequestOptions {
        use_status: true,
        ..Default::default()
    };
    for (name, quantity) in api::pod::requests(pod, &options) {
        total.add_quantity(&name, &quantity);
    }
    total
}
