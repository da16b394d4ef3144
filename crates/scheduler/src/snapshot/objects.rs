//! The other objects that decisions read: namespaces, what selects pods, budgets, storage.
//!
//! Source: kubernetes v1.36.3 pkg/scheduler/framework/plugins/helper/spread.go (default
//! selector), framework/plugins/volumebinding/binder.go (claims).

use std::collections::{BTreeMap, HashMap, HashSet};

use api::labels::Selector;
use client::{Key, Object};
use schema::Ref;

use crate::pod::{NodeTerm, selector, strings};
use crate::{Labels, PodInfo};

const ZONES: [&str; 4] = [
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
];

/// See the module's header.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// Selectors of Services by namespace and name.
    pub services: HashMap<String, BTreeMap<String, Labels>>,
    /// Selectors of ReplicaSets, ReplicationControllers, StatefulSets: by `group/Kind`, key.
    pub controllers: HashMap<(String, Key), Selector>,
    /// PodDisruptionBudgets.
    pub budgets: BTreeMap<Key, Budget>,
    /// PersistentVolumeClaims.
    pub claims: HashMap<Key, Claim>,
    /// PersistentVolumes.
    pub volumes: HashMap<String, Volume>,
    /// StorageClasses: whether they bind only when a pod comes.
    pub classes: HashMap<String, Class>,
}

/// A PodDisruptionBudget.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Whom it protects.
    pub selector: Selector,
    /// How many may go now.
    pub allowed: i64,
    /// Pods whose end is counted already.
    pub disrupted: HashSet<String>,
}

/// A PersistentVolumeClaim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// Its volume, empty without one.
    pub volume: String,
    /// The binder is done.
    pub bound: bool,
    /// Its class, empty without one.
    pub class: String,
    /// One pod at a time.
    pub single_pod: bool,
    /// Its volume went away.
    pub lost: bool,
    /// Being deleted.
    pub terminating: bool,
    /// The pod that it was made for.
    pub owner_uid: String,
}

/// A PersistentVolume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Nodes must match one of these terms. `None`: any node.
    pub nodes: Option<Vec<NodeTerm>>,
    /// Label key → acceptable values.
    pub zones: Vec<(String, Vec<String>)>,
}

/// A StorageClass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Class {
    /// WaitForFirstConsumer. `None` when the class does not say.
    pub delayed: Option<bool>,
}

impl Objects {
    /// Whom pods like this one are spread with by default: the labels of its Services and its
    /// controller's selector. `None` when nothing selects it.
    pub(crate) fn default_selector(&self, pod: &PodInfo) -> Option<Selector> {
        let mut merged = Labels::default();
        let services = self.services.get(&pod.key.namespace);
        for own in services.into_iter().flat_map(BTreeMap::values) {
            if own
                .iter()
                .all(|(key, value)| pod.labels.get(key) == Some(value))
            {
                for (key, value) in own.iter() {
                    merged.set(key, value);
                }
            }
        }
        let mut all = Selector::from_set(merged.iter()).requirements().to_vec();
        if let Some((kind, name)) = &pod.owner {
            let key = Key::new(pod.key.namespace.clone(), name.clone());
            if let Some(own) = self.controllers.get(&(kind.clone(), key)) {
                all.extend(own.requirements().iter().cloned());
            }
        }
        (!all.is_empty()).then(|| Selector::of(all))
    }
}

impl Budget {
    /// Reads a PodDisruptionBudget.
    pub fn read(object: &Object) -> Option<Self> {
        let dom = object.parse().ok()?;
        let budget = dom.as_ref();
        let status = budget.get("status");
        let disrupted = status.into_iter().flat_map(|s| s.entries("disruptedPods"));
        Some(Self {
            selector: selector(budget.at(&["spec", "selector"])),
            allowed: status
                .and_then(|s| s.int("disruptionsAllowed"))
                .unwrap_or(0),
            disrupted: disrupted.map(|(name, _)| name.to_owned()).collect(),
        })
    }
}

impl Claim {
    /// Reads a PersistentVolumeClaim.
    pub fn read(object: &Object) -> Option<Self> {
        let dom = object.parse().ok()?;
        let claim = dom.as_ref();
        let (metadata, spec) = (claim.get("metadata")?, claim.get("spec")?);
        let annotation = |key: &str| {
            let found = metadata.entries("annotations").find(|(own, _)| *own == key);
            found.and_then(|(_, value)| value.as_str())
        };
        let volume = spec.str("volumeName").to_owned();
        let done = annotation("pv.kubernetes.io/bind-completed").is_some();
        let class = annotation("volume.beta.kubernetes.io/storage-class");
        Some(Self {
            bound: !volume.is_empty() && done,
            volume,
            class: class
                .unwrap_or_else(|| spec.str("storageClassName"))
                .to_owned(),
            single_pod: strings(spec, "accessModes").contains(&"ReadWriteOncePod".to_owned()),
            lost: claim
                .get("status")
                .is_some_and(|s| s.str("phase") == "Lost"),
            terminating: !metadata.str("deletionTimestamp").is_empty(),
            owner_uid: metadata
                .items("ownerReferences")
                .find(|owner| owner.bool("controller") == Some(true))
                .map(|owner| owner.str("uid").to_owned())
                .unwrap_or_default(),
        })
    }
}

impl Volume {
    /// Reads a PersistentVolume.
    pub fn read(object: &Object) -> Option<Self> {
        let dom = object.parse().ok()?;
        let volume = dom.as_ref();
        let required = volume.at(&["spec", "nodeAffinity", "required"]);
        let labels = volume.get("metadata").map(|m| Labels::read(m, "labels"));
        Some(Self {
            nodes: required.map(|required| {
                let terms = required.items("nodeSelectorTerms");
                terms.map(NodeTerm::read).collect()
            }),
            zones: labels
                .iter()
                .flat_map(Labels::iter)
                .filter(|(key, _)| ZONES.contains(key))
                .map(|(key, values)| {
                    let values = values.split("__").map(str::to_owned).collect();
                    (key.to_owned(), values)
                })
                .collect(),
        })
    }
}

impl Class {
    /// Reads a StorageClass.
    pub fn read(object: &Object) -> Option<Self> {
        let dom = object.parse().ok()?;
        let mode = dom.as_ref().str("volumeBindingMode");
        Some(Self {
            delayed: (!mode.is_empty()).then(|| mode == "WaitForFirstConsumer"),
        })
    }
}

/// The selector of a Service; `None` without one.
pub(crate) fn service(object: &Object) -> Option<Labels> {
    let dom = object.parse().ok()?;
    let spec = dom.as_ref().get("spec")?;
    spec.get("selector")?;
    let own = Labels::read(spec, "selector");
    (!own.is_empty()).then_some(own)
}

/// The selector of a controller: a map (ReplicationController) or a LabelSelector.
pub(crate) fn controller(object: &Object, is_map: bool) -> Option<Selector> {
    let dom = object.parse().ok()?;
    let spec = dom.as_ref().get("spec")?;
    if is_map {
        return Some(Selector::from_set(Labels::read(spec, "selector").iter()));
    }
    spec.get("selector").map(|own: Ref<'_>| selector(Some(own)))
}

/// The keys of zone labels, as nodes and volumes carry them.
pub(crate) const fn zone_keys() -> [&'static str; 4] {
    ZONES
}
