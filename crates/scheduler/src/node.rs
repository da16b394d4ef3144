//! What the scheduler keeps of a node, with the sums over its pods.

use std::collections::{BTreeMap, HashMap};

use api::Quantity;
use client::Object;

use crate::{PodInfo, Resources, pod::HostPort};

/// See the module's header.
#[derive(Clone, Debug, Default)]
pub struct NodeInfo {
    /// Name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Taints.
    pub taints: Vec<Taint>,
    /// Cordoned.
    pub unschedulable: bool,
    /// What pods may use in all.
    pub allocatable: Resources,
    /// How many pods it takes.
    pub allowed_pods: i64,
    /// What its pods asked for.
    pub requested: Resources,
    /// How many pods it has.
    pub pods: i64,
    /// Host ports in use.
    pub host_ports: Vec<HostPort>,
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
    /// NoSchedule, PreferNoSchedule or NoExecute.
    pub effect: String,
}

impl NodeInfo {
    /// Reads a node; its pods are added with [`Self::add_pod`].
    pub fn read(object: &Object) -> Option<Self> {
        let dom = object.parse().ok()?;
        let node = dom.as_ref();
        let mut info = Self {
            name: object.name().to_owned(),
            ..Self::default()
        };
        if let Some(metadata) = node.get("metadata") {
            info.labels = metadata
                .entries("labels")
                .map(|(key, value)| {
                    (
                        key.to_owned(),
                        value.as_str().unwrap_or_default().to_owned(),
                    )
                })
                .collect();
        }
        if let Some(spec) = node.get("spec") {
            info.unschedulable = spec.bool("unschedulable").unwrap_or(false);
            info.taints = spec
                .items("taints")
                .map(|taint| Taint {
                    key: taint.str("key").to_owned(),
                    value: taint.str("value").to_owned(),
                    effect: taint.str("effect").to_owned(),
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
                    info.images
                        .insert(name.as_str().unwrap_or_default().to_owned(), size);
                }
            }
        }
        Some(info)
    }

    /// Counts a pod in.
    pub fn add_pod(&mut self, pod: &PodInfo) {
        self.requested.add(&pod.requests);
        self.pods += 1;
        self.host_ports.extend(pod.host_ports.iter().cloned());
    }

    /// Counts a pod out.
    pub fn remove_pod(&mut self, pod: &PodInfo) {
        self.requested.subtract(&pod.requests);
        self.pods -= 1;
        for port in &pod.host_ports {
            if let Some(at) = self.host_ports.iter().position(|used| used == port) {
                self.host_ports.swap_remove(at);
            }
        }
    }
}
