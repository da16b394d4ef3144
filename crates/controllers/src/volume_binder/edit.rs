//! The objects as a plan wants them. Pure; each says whether it changed anything.
//!
//! Source: kubernetes v1.36.3 pkg/controller/volume/persistentvolume/pv_controller.go (bind,
//! unbindVolume, updateClaimStatus), component-helpers/storage/volume/pv_helpers.go
//! (GetBindVolumeToClaim).

use schema::{Dom, Node, Ref};

use super::facts::{BY_CONTROLLER, COMPLETED, Claim, Volume};

const PROVISIONER: [&str; 2] = [
    "volume.beta.kubernetes.io/storage-provisioner",
    "volume.kubernetes.io/storage-provisioner",
];

fn text_at<'a>(dom: &'a Dom, map: Node, key: &str) -> &'a str {
    dom.at_node(map).str(key)
}

fn annotate(dom: &mut Dom, key: &str, value: &str) -> bool {
    if api::meta::of(dom.as_ref()).annotation(key) == Some(value) {
        return false;
    }
    let root = dom.root();
    let metadata = dom.ensure_map(root, "metadata");
    let annotations = dom.ensure_map(metadata, "annotations");
    dom.set_str(annotations, key, value);
    true
}

/// The volume names the claim.
pub(super) fn bind_volume(dom: &mut Dom, claim: &Claim, revision: &str) -> bool {
    let Some(volume) = Volume::read(dom.as_ref()) else {
        return false;
    };
    let mut changed = false;
    let chosen_here = !volume.is_for(claim);
    let is_complete = volume.claim.as_ref().is_some_and(|of| of.uid == claim.uid);
    if chosen_here || !is_complete {
        let reference = dom.new_map();
        for (key, value) in [
            ("kind", "PersistentVolumeClaim"),
            ("namespace", claim.namespace.as_str()),
            ("name", claim.name.as_str()),
            ("uid", claim.uid.as_str()),
            ("apiVersion", "v1"),
            ("resourceVersion", revision),
        ] {
            dom.set_str(reference, key, value);
        }
        let root = dom.root();
        let spec = dom.ensure_map(root, "spec");
        dom.set(spec, "claimRef", reference);
        changed = true;
    }
    if chosen_here && !volume.by_controller {
        changed |= annotate(dom, BY_CONTROLLER, "yes");
    }
    changed
}

/// The volume is free: wholly, or for the claim that the user keeps it for.
pub(super) fn unbind_volume(dom: &mut Dom) -> bool {
    let root = dom.root();
    let spec = dom.ensure_map(root, "spec");
    if api::meta::of(dom.as_ref())
        .annotation(BY_CONTROLLER)
        .is_none()
    {
        let reference = dom.ensure_map(spec, "claimRef");
        return dom.remove(reference, "uid");
    }
    dom.remove(spec, "claimRef");
    let metadata = dom.ensure_map(root, "metadata");
    let annotations = dom.ensure_map(metadata, "annotations");
    dom.remove(annotations, BY_CONTROLLER)
}

pub(super) fn volume_phase(dom: &mut Dom, phase: &str) -> bool {
    let root = dom.root();
    let status = dom.ensure_map(root, "status");
    if text_at(dom, status, "phase") == phase {
        return false;
    }
    dom.set_str(status, "phase", phase);
    dom.remove(status, "message");
    true
}

/// The claim names the volume, for good.
pub(super) fn bind_claim(dom: &mut Dom, volume: &str) -> bool {
    let root = dom.root();
    let spec = dom.ensure_map(root, "spec");
    let mut changed = false;
    if text_at(dom, spec, "volumeName") != volume {
        dom.set_str(spec, "volumeName", volume);
        annotate(dom, BY_CONTROLLER, "yes");
        changed = true;
    }
    annotate(dom, COMPLETED, "yes") || changed
}

pub(super) fn claim_class(dom: &mut Dom, class: &str) -> bool {
    let root = dom.root();
    let spec = dom.ensure_map(root, "spec");
    dom.set_str(spec, "storageClassName", class);
    true
}

pub(super) fn claim_provisioner(dom: &mut Dom, provisioner: &str) -> bool {
    let mut changed = false;
    for key in PROVISIONER {
        changed |= annotate(dom, key, provisioner);
    }
    changed
}

/// Phase, and what the claim has of its volume.
pub(super) fn claim_status(dom: &mut Dom, phase: &str, volume: Option<Ref<'_>>) -> bool {
    let root = dom.root();
    let status = dom.ensure_map(root, "status");
    let new_phase = text_at(dom, status, "phase") != phase;
    let mut changed = new_phase;
    dom.set_str(status, "phase", phase);
    let spec = volume.and_then(|volume| volume.get("spec"));
    let Some(spec) = spec else {
        for key in [
            "accessModes",
            "capacity",
            "currentVolumeAttributesClassName",
        ] {
            changed |= dom.remove(status, key);
        }
        return changed;
    };
    // A capacity that differs later is the business of who resizes.
    let mut fields = vec![("accessModes", spec.get("accessModes"))];
    if new_phase {
        let class = spec.get("volumeAttributesClassName");
        fields.push(("capacity", spec.get("capacity")));
        fields.push(("currentVolumeAttributesClassName", class));
    }
    for (key, wanted) in fields {
        let own = dom.at_node(status).get(key);
        let is_same = match (own, wanted) {
            (Some(own), Some(wanted)) => own.equal(wanted),
            (own, wanted) => own.is_none() && wanted.is_none(),
        };
        if is_same {
            continue;
        }
        changed = true;
        match wanted {
            Some(wanted) => {
                let copy = dom.import(wanted.dom(), wanted.node());
                dom.set(status, key, copy);
            }
            None => {
                dom.remove(status, key);
            }
        }
    }
    changed
}
