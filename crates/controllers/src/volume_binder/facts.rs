//! What the binder knows of claims, volumes and classes.

use std::collections::BTreeSet;

use api::Quantity;
use api::labels::Selector;
use client::{Key, Object};
use schema::Ref;

use crate::context::Context;
use crate::facts::{Facts, Reader};

/// The controller has finished binding the claim.
pub(super) const COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// The controller chose the other side, not the user.
pub(super) const BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
/// Who made a volume.
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
/// The node for which the scheduler wants a volume.
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// The class before it was a field.
const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";

/// Bin of claims that are not bound.
pub(super) const UNBOUND: &str = "unbound";

/// See the fields.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    /// The volume that it has or asks for; empty: any.
    pub(super) volume: String,
    /// Empty: none.
    pub(super) class: String,
    /// It says something about its class, if only that it wants none.
    pub(super) has_class: bool,
    pub(super) attributes: String,
    pub(super) modes: BTreeSet<String>,
    pub(super) block: bool,
    pub(super) request: Quantity,
    pub(super) selector: Option<Selector>,
    pub(super) is_completed: bool,
    pub(super) has_node: bool,
}

/// The claim that a volume is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClaimRef {
    pub(super) namespace: String,
    pub(super) name: String,
    /// Empty: bound beforehand, not yet for good.
    pub(super) uid: String,
}

/// See the fields.
#[derive(Clone, Debug)]
pub(super) struct Volume {
    pub(super) name: String,
    pub(super) claim: Option<ClaimRef>,
    pub(super) class: String,
    pub(super) attributes: String,
    pub(super) modes: BTreeSet<String>,
    pub(super) block: bool,
    pub(super) capacity: Quantity,
    pub(super) labels: Vec<(String, String)>,
    pub(super) phase: String,
    pub(super) policy: String,
    pub(super) is_deleting: bool,
    pub(super) by_controller: bool,
    pub(super) provisioner: String,
}

/// A StorageClass.
#[derive(Clone, Debug)]
pub(super) struct Class {
    pub(super) name: String,
    pub(super) provisioner: String,
    /// Binding waits for a pod.
    pub(super) is_delayed: bool,
    pub(super) is_default: bool,
    pub(super) created: Option<jiff::Timestamp>,
}

impl ClaimRef {
    pub(super) fn key(&self) -> Key {
        Key::new(self.namespace.as_str(), self.name.as_str())
    }
}

impl Volume {
    /// Is it bound to the claim, or kept for it?
    pub(super) fn is_for(&self, claim: &Claim) -> bool {
        self.claim.as_ref().is_some_and(|of| {
            of.name == claim.name
                && of.namespace == claim.namespace
                && (of.uid.is_empty() || of.uid == claim.uid)
        })
    }

    pub(super) fn read(volume: Ref<'_>) -> Option<Self> {
        let (meta, spec) = (api::meta::of(volume), volume.get("spec")?);
        let text = |key| spec.str(key).to_owned();
        let claim = spec.get("claimRef").map(|of| ClaimRef {
            namespace: of.str("namespace").to_owned(),
            name: of.str("name").to_owned(),
            uid: of.str("uid").to_owned(),
        });
        Some(Self {
            name: meta.name().to_owned(),
            claim,
            class: meta
                .annotation(BETA_CLASS)
                .map_or_else(|| text("storageClassName"), str::to_owned),
            attributes: text("volumeAttributesClassName"),
            modes: modes(spec),
            block: spec.str("volumeMode") == "Block",
            capacity: quantity(spec.at(&["capacity", "storage"])),
            labels: meta
                .labels()
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            phase: volume
                .get("status")
                .map_or("", |status| status.str("phase"))
                .to_owned(),
            policy: text("persistentVolumeReclaimPolicy"),
            is_deleting: meta.is_deleting(),
            by_controller: meta.annotation(BY_CONTROLLER).is_some(),
            provisioner: meta.annotation(PROVISIONED_BY).unwrap_or("").to_owned(),
        })
    }
}

impl Claim {
    pub(super) fn key(&self) -> Key {
        Key::new(self.namespace.as_str(), self.name.as_str())
    }

    pub(super) fn read(claim: Ref<'_>) -> Option<Self> {
        let (meta, spec) = (api::meta::of(claim), claim.get("spec")?);
        let beta = meta.annotation(BETA_CLASS);
        let class = spec.get("storageClassName").filter(|name| !name.is_null());
        let selector = spec.get("selector");
        Some(Self {
            namespace: meta.namespace().to_owned(),
            name: meta.name().to_owned(),
            uid: meta.uid().to_owned(),
            volume: spec.str("volumeName").to_owned(),
            class: beta.unwrap_or(spec.str("storageClassName")).to_owned(),
            has_class: beta.is_some() || class.is_some(),
            attributes: spec.str("volumeAttributesClassName").to_owned(),
            modes: modes(spec),
            block: spec.str("volumeMode") == "Block",
            request: quantity(spec.at(&["resources", "requests", "storage"])),
            selector: match selector {
                Some(selector) => Some(api::meta::label_selector(Some(selector)).ok()?),
                None => None,
            },
            is_completed: meta.annotation(COMPLETED).is_some(),
            has_node: meta.annotation(SELECTED_NODE).is_some(),
        })
    }
}

fn modes(spec: Ref<'_>) -> BTreeSet<String> {
    spec.items("accessModes")
        .filter_map(Ref::as_str)
        .map(str::to_owned)
        .collect()
}

fn quantity(text: Option<Ref<'_>>) -> Quantity {
    let text = text.and_then(Ref::as_str);
    text.and_then(|text| Quantity::parse(text).ok())
        .unwrap_or_default()
}

pub(super) fn claims(context: &Context) -> Facts<Claim> {
    let reader = Reader {
        read: |object: &Object| Claim::read(object.parse().ok()?.as_ref()),
        bin: |_, claim: &Claim| match claim.is_completed {
            true => String::new(),
            false => UNBOUND.to_owned(),
        },
    };
    Facts::of(context, ["", "v1", "persistentvolumeclaims"], reader)
}

pub(super) fn volumes(context: &Context) -> Facts<Volume> {
    let reader = Reader {
        read: |object: &Object| Volume::read(object.parse().ok()?.as_ref()),
        // By the claim that they are for.
        bin: |_, volume: &Volume| match &volume.claim {
            Some(of) => format!("{}/{}", of.namespace, of.name),
            None => String::new(),
        },
    };
    Facts::of(context, ["", "v1", "persistentvolumes"], reader)
}

pub(super) fn classes(context: &Context) -> Facts<Class> {
    let reader = Reader {
        read: |object: &Object| {
            let dom = object.parse().ok()?;
            let class = dom.as_ref();
            let meta = api::meta::of(class);
            Some(Class {
                name: object.name().to_owned(),
                provisioner: class.str("provisioner").to_owned(),
                is_delayed: class.str("volumeBindingMode") == "WaitForFirstConsumer",
                is_default: meta.annotation(DEFAULT_CLASS) == Some("true"),
                created: meta.created(),
            })
        },
        bin: |_, _| String::new(),
    };
    Facts::of(context, ["storage.k8s.io", "v1", "storageclasses"], reader)
}
