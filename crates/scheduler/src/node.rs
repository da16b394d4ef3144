//! What the scheduler keeps of a node: facts of the object, and the sums over its pods.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use api::Quantity;
use client::Object;

use crate::pod::{self, Disk, HostPort};
use crate::resources::add_scalars;
use crate::{Labels, PodInfo, Resources};

/// The facts of a Node object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeInfo {
    /// Name.
    pub name: String,
    /// Labels.
    pub labels: Labels,
    /// Taints.
    pub taints: Vec<Taint>,
    /// Cordoned.
    pub unschedulable: bool,
    /// What pods may use in all.
    pub allocatable: Resources,
    /// How many pods it takes.
    pub allowed_pods: i64,
    /// Image name → size.
    pub images: HashMap<String, i64>,
}

/// A taint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taint {
    /// Key.
    pub key: String,
    /// Value.
    pub value: String,
    /// What it does.
    pub effect: Effect,
}

/// A taint's effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// No new pods.
    NoSchedule,
    /// Rather no new pods.
    PreferNoSchedule,
    /// No pods at all.
    NoExecute,
    /// Nothing that this version knows.
    Unknown,
}

impl Effect {
    /// From its name.
    pub fn parse(text: &str) -> Self {
        match text {
            "NoSchedule" => Self::NoSchedule,
            "PreferNoSchedule" => Self::PreferNoSchedule,
            "NoExecute" => Self::NoExecute,
            _ => Self::Unknown,
        }
    }

    /// Its name.
    pub fn text(self) -> &'static str {
        match self {
            Self::NoSchedule => "NoSchedule",
            Self::PreferNoSchedule => "PreferNoSchedule",
            Self::NoExecute => "NoExecute",
            Self::Unknown => "",
        }
    }
}

impl NodeInfo {
    /// Reads a node.
    pub fn read(object: &Object) -> Option<Self> {
        let dom = object.parse().ok()?;
        let node = dom.as_ref();
        let mut info = Self {
            name: object.name().to_owned(),
            ..Self::default()
        };
        if let Some(metadata) = node.get("metadata") {
            info.labels = Labels::read(metadata, "labels");
        }
        if let Some(spec) = node.get("spec") {
            info.unschedulable = spec.bool("unschedulable").unwrap_or(false);
            info.taints = spec
                .items("taints")
                .map(|taint| Taint {
                    key: taint.str("key").to_owned(),
                    value: taint.str("value").to_owned(),
                    effect: Effect::parse(taint.str("effect")),
                })
                .collect();
        }
        if let Some(status) = node.get("status") {
            if let Some(list) = status.get("allocatable") {
                info.allocatable = Resources::from_list(list);
                info.allowed_pods = Quantity::parse(list.str("pods"))
                    .map(|pods| pods.value())
                    .unwrap_or(0);
            }
            for image in status.items("images") {
                let size = image.int("sizeBytes").unwrap_or(0);
                for name in image.items("names") {
                    let name = pod::normalized(name.as_str().unwrap_or_default());
                    info.images.insert(name, size);
                }
            }
        }
        Some(info)
    }
}

/// The numbers that every decision looks at, side by side: one node after the other is read
/// from consecutive memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hot {
    pub(crate) millicores: i64,
    pub(crate) memory_bytes: i64,
    pub(crate) ephemeral_storage_bytes: i64,
    pub(crate) allowed_pods: i64,
    pub(crate) used_millicores: i64,
    pub(crate) used_memory_bytes: i64,
    pub(crate) used_ephemeral_storage_bytes: i64,
    pub(crate) pods: i64,
    pub(crate) scored_millicores: i64,
    pub(crate) scored_memory_bytes: i64,
    /// Lowest priority of its pods.
    pub(crate) least_priority: i64,
    pub(crate) unschedulable: bool,
    pub(crate) tainted: bool,
}

impl Default for Hot {
    fn default() -> Self {
        Self {
            millicores: 0,
            memory_bytes: 0,
            ephemeral_storage_bytes: 0,
            allowed_pods: 0,
            used_millicores: 0,
            used_memory_bytes: 0,
            used_ephemeral_storage_bytes: 0,
            pods: 0,
            scored_millicores: 0,
            scored_memory_bytes: 0,
            least_priority: i64::MAX,
            unschedulable: false,
            tainted: false,
        }
    }
}

impl Hot {
    /// Takes over the facts of the object; the sums stay.
    pub(crate) fn set_facts(&mut self, node: &NodeInfo) {
        self.millicores = node.allocatable.millicores;
        self.memory_bytes = node.allocatable.memory_bytes;
        self.ephemeral_storage_bytes = node.allocatable.ephemeral_storage_bytes;
        self.allowed_pods = node.allowed_pods;
        self.unschedulable = node.unschedulable;
        self.tainted = !node.taints.is_empty();
    }

    pub(crate) fn count(&mut self, pod: &PodInfo, sign: i64) {
        self.used_millicores += sign * pod.requests.millicores;
        self.used_memory_bytes += sign * pod.requests.memory_bytes;
        self.used_ephemeral_storage_bytes += sign * pod.requests.ephemeral_storage_bytes;
        self.pods += sign;
        self.scored_millicores += sign * pod.scored.0;
        self.scored_memory_bytes += sign * pod.scored.1;
    }
}

/// What is on a node besides numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Load {
    /// What few pods use.
    pub(crate) uses: Uses,
    /// Its pods.
    pub(crate) pods: Vec<Arc<PodInfo>>,
}

/// What pods on a node use of things that most pods do not ask for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Uses {
    /// Scalars.
    pub(crate) scalars: BTreeMap<String, i64>,
    /// Host ports.
    pub(crate) ports: Vec<HostPort>,
    /// Disks.
    pub(crate) disks: Vec<Disk>,
}

impl Load {
    pub(crate) fn add(&mut self, pod: &Arc<PodInfo>) {
        self.uses.add(pod);
        self.pods.push(pod.clone());
    }

    pub(crate) fn remove(&mut self, pod: &PodInfo) {
        let Some(at) = self.pods.iter().position(|own| own.key == pod.key) else {
            return;
        };
        let pod = self.pods.swap_remove(at);
        self.uses.remove(&pod);
    }

    pub(crate) fn least_priority(&self) -> i64 {
        let priorities = self.pods.iter().map(|pod| pod.priority);
        priorities.min().unwrap_or(i64::MAX)
    }
}

impl Uses {
    pub(crate) fn add(&mut self, pod: &PodInfo) {
        add_scalars(&mut self.scalars, &pod.requests.scalars, 1);
        self.ports.extend(pod.host_ports.iter().cloned());
        self.disks.extend(pod.disks.iter().cloned());
    }

    pub(crate) fn remove(&mut self, pod: &PodInfo) {
        add_scalars(&mut self.scalars, &pod.requests.scalars, -1);
        take_each(&mut self.ports, &pod.host_ports);
        take_each(&mut self.disks, &pod.disks);
    }
}

fn take_each<T: PartialEq>(from: &mut Vec<T>, taken: &[T]) {
    for one in taken {
        if let Some(at) = from.iter().position(|own| own == one) {
            from.swap_remove(at);
        }
    }
}
