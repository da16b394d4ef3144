//! Which volume a claim gets, and what becomes of a volume. Pure.
//!
//! A claim that names no volume gets one that was kept for it, else the smallest that suits, among
//! those with the fewest access modes beyond what it asks for. Example: claims of 1Gi RWO; volumes
//! of 2Gi RWO and 1Gi RWO,RWX: the first.
//! Source: kubernetes v1.36.3 pkg/controller/volume/persistentvolume/{pv_controller,index}.go,
//! component-helpers/storage/volume/pv_helpers.go (FindMatchingVolume).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use client::EventType;

use super::facts::{Claim, Class, Volume};

/// An event about the claim or the volume that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) kind: EventType,
    pub(super) reason: &'static str,
    pub(super) text: String,
}

impl Word {
    fn normal(reason: &'static str, text: impl Into<String>) -> Self {
        let (kind, text) = (EventType::Normal, text.into());
        Self { kind, reason, text }
    }

    fn warning(reason: &'static str, text: impl Into<String>) -> Self {
        let (kind, text) = (EventType::Warning, text.into());
        Self { kind, reason, text }
    }
}

/// What is to be done for a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ForClaim {
    /// Nothing suits yet; its phase is Pending.
    Wait(Option<Word>),
    /// Both sides are made to name each other; nothing happens when they do.
    Bind { volume: String },
    /// Its volume is gone for good; told once.
    Lost(Word),
    /// It gets the default class.
    Class(String),
    /// Somebody outside makes a volume: the claim says who, and waits.
    Provision { provisioner: String, word: Word },
}

/// What the plan of a claim reads.
pub(super) struct World<'a> {
    pub(super) volumes: &'a [Arc<Volume>],
    pub(super) classes: &'a [Arc<Class>],
    /// Names of pods without a node that use the claim.
    pub(super) waiting_pods: &'a [String],
}

pub(super) fn claim(claim: &Claim, world: &World<'_>) -> ForClaim {
    let named = world.volumes.iter().find(|v| v.name == claim.volume);
    let named = named.filter(|_| !claim.volume.is_empty());
    if claim.is_completed {
        return completed(claim, named);
    }
    let bind = |volume: &Volume| ForClaim::Bind {
        volume: volume.name.clone(),
    };
    if claim.volume.is_empty() {
        let class = world.classes.iter().find(|class| class.name == claim.class);
        let delays = class.is_some_and(|class| class.is_delayed);
        return match find(claim, world.volumes, delays) {
            Some(volume) => bind(volume),
            None => without(claim, world, class.map(Arc::as_ref)),
        };
    }
    let Some(volume) = named else {
        return ForClaim::Wait(None);
    };
    if volume.is_for(claim) {
        return bind(volume);
    }
    if volume.claim.is_some() {
        let text = format!(
            "volume {:?} already bound to a different claim.",
            volume.name
        );
        return ForClaim::Wait(Some(Word::warning("FailedBinding", text)));
    }
    match unfit(volume, claim) {
        None => bind(volume),
        Some(why) => {
            let text = format!("Cannot bind to requested volume {:?}: {why}", volume.name);
            ForClaim::Wait(Some(Word::warning("VolumeMismatch", text)))
        }
    }
}

fn completed(claim: &Claim, volume: Option<&Arc<Volume>>) -> ForClaim {
    let lost = |reason, text: &str| ForClaim::Lost(Word::warning(reason, text));
    let Some(volume) = volume else {
        let what = match claim.volume.as_str() {
            "" => "reference to PersistentVolume",
            _ => "its PersistentVolume",
        };
        let what = format!("Bound claim has lost {what}. Data on the volume is lost!");
        return lost("ClaimLost", &what);
    };
    match &volume.claim {
        Some(of) if of.uid != claim.uid => lost(
            "ClaimMisbound",
            "Two claims are bound to the same volume, this one is bound incorrectly",
        ),
        _ => ForClaim::Bind {
            volume: volume.name.clone(),
        },
    }
}

/// Why the volume that a claim names does not suit it.
fn unfit(volume: &Volume, claim: &Claim) -> Option<String> {
    let why = if volume.is_deleting {
        return Some(format!(
            "the volume is marked for deletion {:?}",
            volume.name
        ));
    } else if volume.capacity < claim.request {
        "requested PV is too small"
    } else if volume.class != claim.class {
        "storageClassName does not match"
    } else if volume.attributes != claim.attributes {
        "volumeAttributesClassName does not match"
    } else if volume.block != claim.block {
        "incompatible volumeMode"
    } else if !claim.modes.is_subset(&volume.modes) {
        "incompatible accessMode"
    } else {
        return None;
    };
    Some(why.to_owned())
}

/// The best volume for a claim that names none; one whose class waits for a pod gets only what was
/// kept for it.
fn find<'a>(claim: &Claim, volumes: &'a [Arc<Volume>], delays: bool) -> Option<&'a Volume> {
    let mut by_modes: BTreeMap<(usize, &BTreeSet<String>), Vec<&Volume>> = BTreeMap::new();
    for volume in volumes {
        if claim.modes.is_subset(&volume.modes) {
            let modes = (volume.modes.len(), &volume.modes);
            by_modes.entry(modes).or_default().push(volume);
        }
    }
    let mut groups = by_modes.values();
    groups.find_map(|group| best(claim, group, delays))
}

fn best<'a>(claim: &Claim, volumes: &[&'a Volume], delays: bool) -> Option<&'a Volume> {
    let suits = |volume: &&&'a Volume| {
        volume.capacity >= claim.request
            && volume.block == claim.block
            && volume.attributes == claim.attributes
            && !volume.is_deleting
    };
    let fitting = || volumes.iter().filter(suits);
    if let Some(kept) = fitting().find(|volume| volume.is_for(claim)) {
        return Some(*kept);
    }
    let free = |volume: &&&'a Volume| {
        let label = |key: &str| {
            let mut labels = volume.labels.iter();
            labels
                .find(|(known, _)| known == key)
                .map(|(_, v)| v.as_str())
        };
        !delays
            && volume.claim.is_none()
            && volume.phase == "Available"
            && volume.class == claim.class
            && claim.selector.as_ref().is_none_or(|s| s.matches(label))
    };
    fitting()
        .filter(free)
        .min_by(|a, b| a.capacity.cmp(&b.capacity).then(a.name.cmp(&b.name)))
        .copied()
}

/// No volume suits a claim that takes any.
fn without(claim: &Claim, world: &World<'_>, class: Option<&Class>) -> ForClaim {
    if !claim.has_class
        && let Some(name) = default_class(world.classes)
    {
        return ForClaim::Class(name);
    }
    if class.is_some_and(|class| class.is_delayed) && !claim.has_node {
        let word = match world.waiting_pods {
            [] => Word::normal(
                "WaitForFirstConsumer",
                "waiting for first consumer to be created before binding",
            ),
            [pod] => Word::normal(
                "WaitForPodScheduled",
                format!("waiting for pod {pod} to be scheduled"),
            ),
            pods => Word::normal(
                "WaitForPodScheduled",
                format!("waiting for pods {} to be scheduled", pods.join(",")),
            ),
        };
        return ForClaim::Wait(Some(word));
    }
    if claim.class.is_empty() {
        let text = "no persistent volumes available for this claim and no storage class is set";
        return ForClaim::Wait(Some(Word::normal("FailedBinding", text)));
    }
    let Some(class) = class else {
        let text = format!("storageclass.storage.k8s.io {:?} not found", claim.class);
        return ForClaim::Wait(Some(Word::warning("ProvisioningFailed", text)));
    };
    let provisioner = &class.provisioner;
    if provisioner.starts_with("kubernetes.io/") {
        let text = format!("no volume plugin matched name: {provisioner}");
        return ForClaim::Wait(Some(Word::warning("ProvisioningFailed", text)));
    }
    let text = format!(
        "Waiting for a volume to be created either by the external provisioner '{provisioner}' \
         or manually by the system administrator. If volume creation is delayed, please verify \
         that the provisioner is running and correctly registered."
    );
    ForClaim::Provision {
        provisioner: provisioner.clone(),
        word: Word::normal("ExternalProvisioning", text),
    }
}

/// The youngest of the default classes.
/// Source: kubernetes v1.36.3 pkg/volume/util/storageclass.go, GetDefaultClass.
fn default_class(classes: &[Arc<Class>]) -> Option<String> {
    let defaults = classes.iter().filter(|class| class.is_default);
    let youngest = defaults.max_by(|a, b| a.created.cmp(&b.created).then(b.name.cmp(&a.name)));
    youngest.map(|class| class.name.clone())
}

/// What is to be done for a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ForVolume {
    Phase {
        phase: &'static str,
        word: Option<Word>,
    },
    /// Its claim took another: it is free again, or kept for the claim if the user said so.
    Unbind,
    /// The claim's look finishes the binding.
    LookAtClaim,
    /// It cannot become the claim's; told to both.
    Mismatch {
        volume: Word,
        claim: Word,
    },
    Nothing,
}

/// `found`: the claim of the name that the volume is for.
pub(super) fn volume(volume: &Volume, found: Option<&Claim>) -> ForVolume {
    let phase = |phase| ForVolume::Phase { phase, word: None };
    let Some(of) = &volume.claim else {
        return phase("Available");
    };
    if of.uid.is_empty() {
        return phase("Available");
    }
    let Some(claim) = found.filter(|claim| claim.uid == of.uid) else {
        return released(volume);
    };
    if claim.volume.is_empty() {
        if claim.block != volume.block {
            let (own, name) = (&volume.name, &claim.name);
            let what = "due to incompatible volumeMode.";
            return ForVolume::Mismatch {
                volume: Word::warning(
                    "VolumeMismatch",
                    format!(
                        "Cannot bind PersistentVolume to requested PersistentVolumeClaim {name:?} {what}"
                    ),
                ),
                claim: Word::warning(
                    "VolumeMismatch",
                    format!(
                        "Cannot bind PersistentVolume {own:?} to requested PersistentVolumeClaim {what}"
                    ),
                ),
            };
        }
        return ForVolume::LookAtClaim;
    }
    if claim.volume == volume.name {
        return phase("Bound");
    }
    let made_for_it = !volume.provisioner.is_empty() && volume.policy == "Delete";
    match made_for_it {
        true => released(volume),
        false => ForVolume::Unbind,
    }
}

/// The claim is gone: first Released, then what the policy says. Retain leaves it at that; so does
/// Delete for volumes whose maker is outside.
fn released(volume: &Volume) -> ForVolume {
    if !matches!(volume.phase.as_str(), "Released" | "Failed") {
        return ForVolume::Phase {
            phase: "Released",
            word: None,
        };
    }
    let outside =
        !volume.provisioner.is_empty() && !volume.provisioner.starts_with("kubernetes.io/");
    let word = match volume.policy.as_str() {
        "Delete" if !outside => Word::warning(
            "VolumeFailedDelete",
            format!(
                "error getting deleter volume plugin for volume {:?}: no deletable volume plugin matched",
                volume.name
            ),
        ),
        "Recycle" => Word::warning(
            "VolumeFailedRecycle",
            "No recycler plugin found for the volume!",
        ),
        _ => return ForVolume::Nothing,
    };
    match volume.phase.as_str() {
        "Failed" => ForVolume::Nothing,
        _ => ForVolume::Phase {
            phase: "Failed",
            word: Some(word),
        },
    }
}

#[cfg(test)]
mod tests;
