//! What the scheduler keeps of a pod: a narrow struct, read once from the object's bytes.

mod spread;
mod terms;
mod volumes;

pub use spread::Spread;
pub use terms::{NodeTerm, Operator, PodAffinity, PodTerm, Requirement, Who};
pub(crate) use terms::{selector, strings};
pub use volumes::{ClaimName, Disk};

use api::pod::RequestOptions;
use client::{Key, Object};
use jiff::Timestamp;
use schema::Ref;

use crate::{Labels, Resources};

/// Requests that a container without any counts for in scores, so that such pods spread too.
/// Source: kubernetes v1.36.3 pkg/scheduler/util/pod_resources.go.
const ASSUMED: (i64, i64) = (100, 200 << 20);

/// See the module's header.
#[derive(Clone, Debug, Default)]
pub struct PodInfo {
    /// Namespace and name.
    pub key: Key,
    /// Uid.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// Empty until bound.
    pub node_name: String,
    /// Which scheduler is asked for.
    pub scheduler_name: String,
    /// Resolved by admission.
    pub priority: i64,
    /// `preemptionPolicy: Never`.
    pub never_preempts: bool,
    /// Labels.
    pub labels: Labels,
    /// Its controller: kind with group, and name.
    pub owner: Option<(String, String)>,
    /// Effective requests, overhead included.
    pub requests: Resources,
    /// Millicores and bytes that count in scores.
    pub scored: (i64, i64),
    /// `spec.nodeSelector`.
    pub node_selector: Vec<(String, String)>,
    /// Required node affinity: one of these terms must match. `None`: not restricted.
    pub required_affinity: Option<Vec<NodeTerm>>,
    /// Preferred node affinity with weights.
    pub preferred_affinity: Vec<(i64, NodeTerm)>,
    /// Affinity to other pods.
    pub affinity: Option<Box<PodAffinity>>,
    /// Topology spread constraints.
    pub spread: Vec<Spread>,
    /// Tolerations.
    pub tolerations: Vec<Toleration>,
    /// Host ports.
    pub host_ports: Vec<HostPort>,
    /// Images of all containers, normalized.
    pub images: Vec<String>,
    /// How many containers, init containers included.
    pub containers: usize,
    /// Images that are mounted as volumes.
    pub image_volumes: Vec<String>,
    /// Claims of its volumes.
    pub claims: Vec<ClaimName>,
    /// Disks named in the pod.
    pub disks: Vec<Disk>,
    /// It wants devices by ResourceClaims.
    pub resource_claims: bool,
    /// Names of scheduling gates.
    pub gates: Vec<String>,
    /// `status.nominatedNodeName`.
    pub nominated: String,
    /// Succeeded or Failed: it uses nothing.
    pub finished: bool,
    /// Being deleted.
    pub terminating: bool,
    /// The scheduler chose it as a victim.
    pub preempted: bool,
    /// When the kubelet took it.
    pub started: Option<Timestamp>,
    /// The PodScheduled condition: status, reason, message.
    pub condition: Option<(String, String, String)>,
}

/// A toleration; empty fields match everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
        let (metadata, spec) = (pod.get("metadata")?, pod.get("spec")?);
        let labels = Labels::read(metadata, "labels");
        let mut info = Self {
            key: object.key().clone(),
            uid: object.uid().to_owned(),
            generation: metadata.int("generation").unwrap_or(0),
            node_name: spec.str("nodeName").to_owned(),
            scheduler_name: spec.str("schedulerName").to_owned(),
            priority: spec.int("priority").unwrap_or(0),
            never_preempts: spec.str("preemptionPolicy") == "Never",
            owner: metadata
                .items("ownerReferences")
                .find(|owner| owner.bool("controller") == Some(true))
                .map(|owner| (kind(owner), owner.str("name").to_owned())),
            node_selector: Labels::read(spec, "nodeSelector")
                .iter()
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            spread: spec
                .items("topologySpreadConstraints")
                .map(|constraint| Spread::read(constraint, &labels))
                .collect(),
            tolerations: spec.items("tolerations").map(Toleration::read).collect(),
            claims: volumes::claims(object.name(), spec).collect(),
            disks: volumes::disks(spec),
            resource_claims: spec.items("resourceClaims").next().is_some(),
            gates: spec
                .items("schedulingGates")
                .map(|gate| gate.str("name").to_owned())
                .collect(),
            terminating: !metadata.str("deletionTimestamp").is_empty(),
            labels,
            ..Self::default()
        };
        info.read_requests(pod);
        info.read_affinity(spec);
        info.read_containers(spec);
        if let Some(status) = pod.get("status") {
            info.read_status(status);
        }
        Some(info)
    }

    fn read_requests(&mut self, pod: Ref<'_>) {
        let mut options = RequestOptions {
            use_status: true,
            ..RequestOptions::default()
        };
        for (name, quantity) in api::pod::requests(pod, &options) {
            self.requests.add_quantity(&name, &quantity);
        }
        options.assume_missing = Some(ASSUMED);
        let scored = api::pod::requests(pod, &options);
        self.scored = (
            scored.get("cpu").map_or(0, api::Quantity::millis),
            scored.get("memory").map_or(0, api::Quantity::value),
        );
    }

    fn read_affinity(&mut self, spec: Ref<'_>) {
        let Some(affinity) = spec.get("affinity") else {
            return;
        };
        self.affinity = PodAffinity::read(affinity, &self.key);
        let Some(nodes) = affinity.get("nodeAffinity") else {
            return;
        };
        self.required_affinity = nodes
            .get("requiredDuringSchedulingIgnoredDuringExecution")
            .map(|required| {
                let terms = required.items("nodeSelectorTerms");
                terms.map(NodeTerm::read).collect()
            });
        self.preferred_affinity = nodes
            .items("preferredDuringSchedulingIgnoredDuringExecution")
            .filter_map(|p| Some((p.int("weight")?, NodeTerm::read(p.get("preference")?))))
            .collect();
    }

    fn read_containers(&mut self, spec: Ref<'_>) {
        for (list, main) in [("initContainers", false), ("containers", true)] {
            for container in spec.items(list) {
                self.containers += 1;
                self.images.push(normalized(container.str("image")));
                // Ports of init containers count only while they stay beside the others.
                if !main && container.str("restartPolicy") != "Always" {
                    continue;
                }
                for port in container.items("ports") {
                    let Some(number) = port.int("hostPort").filter(|port| *port > 0) else {
                        continue;
                    };
                    self.host_ports.push(HostPort {
                        address: or(port.str("hostIP"), "0.0.0.0"),
                        protocol: or(port.str("protocol"), "TCP"),
                        port: number,
                    });
                }
            }
        }
        let images = spec.items("volumes").filter_map(|v| v.get("image"));
        self.image_volumes = images.map(|i| normalized(i.str("reference"))).collect();
    }

    fn read_status(&mut self, status: Ref<'_>) {
        self.finished = matches!(status.str("phase"), "Succeeded" | "Failed");
        status
            .str("nominatedNodeName")
            .clone_into(&mut self.nominated);
        self.started = api::time::field(status, "startTime");
        for condition in status.items("conditions") {
            let [kind, value, reason, message] =
                ["type", "status", "reason", "message"].map(|field| condition.str(field));
            match kind {
                "PodScheduled" => {
                    self.condition = Some((value.into(), reason.into(), message.into()));
                }
                "DisruptionTarget" => {
                    self.preempted = value == "True" && reason == "PreemptionByScheduler";
                }
                _ => {}
            }
        }
    }

    /// Whether it asks for nothing that runs out.
    pub(crate) fn requests_nothing(&self) -> bool {
        let requests = &self.requests;
        requests.millicores == 0
            && requests.memory_bytes == 0
            && requests.ephemeral_storage_bytes == 0
            && requests.scalars.is_empty()
    }
}

/// `apps/ReplicaSet`, `/ReplicationController`.
fn kind(owner: Ref<'_>) -> String {
    let version = owner.str("apiVersion");
    let group = version.split_once('/').map_or("", |(group, _)| group);
    format!("{group}/{}", owner.str("kind"))
}

fn or(text: &str, default: &str) -> String {
    if text.is_empty() { default } else { text }.to_owned()
}

/// An image without tag means `latest`.
pub(crate) fn normalized(image: &str) -> String {
    if image.rfind(':') <= image.rfind('/') {
        format!("{image}:latest")
    } else {
        image.to_owned()
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
