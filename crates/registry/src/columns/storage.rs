//! Columns of volumes, claims, classes and drivers.
//!
//! Source: kubernetes v1.36.3 pkg/printers/internalversion/printers.go.

use schema::Ref;

use super::{Cell, Columns, age, at, name, or_unset, scalar};

fn modes(list: impl Iterator<Item = impl AsRef<str>>) -> String {
    let mut seen = [false; 4];
    for mode in list {
        match mode.as_ref() {
            "ReadWriteOnce" => seen[0] = true,
            "ReadOnlyMany" => seen[1] = true,
            "ReadWriteMany" => seen[2] = true,
            "ReadWriteOncePod" => seen[3] = true,
            _ => {}
        }
    }
    let short = ["RWO", "ROX", "RWX", "RWOP"];
    let words: Vec<&str> = short
        .iter()
        .zip(seen)
        .filter(|(_, s)| *s)
        .map(|(w, _)| *w)
        .collect();
    words.join(",")
}

fn texts<'a>(object: Option<Ref<'a>>, key: &str) -> impl Iterator<Item = &'a str> {
    object
        .map(|o| o.items(key))
        .into_iter()
        .flatten()
        .filter_map(Ref::as_str)
}

fn class_of<'a>(o: Ref<'a>) -> &'a str {
    let beta = api::meta::of(o).annotation("volume.beta.kubernetes.io/storage-class");
    beta.unwrap_or_else(|| at(o, &["spec", "storageClassName"]))
}

pub(crate) fn volume() -> Columns {
    Columns::new(
        "Name|Capacity|Access Modes|Reclaim Policy|Status|Claim|StorageClass|VolumeAttributesClass|Reason|Age|VolumeMode*",
        |_, o, now| {
            let claim = o.at(&["spec", "claimRef"]).map_or_else(String::new, |c| {
                format!("{}/{}", c.str("namespace"), c.str("name"))
            });
            let phase = if api::meta::of(o).is_deleting() {
                "Terminating"
            } else {
                at(o, &["status", "phase"])
            };
            vec![
                name(o),
                scalar(o.at(&["spec", "capacity", "storage"])).into(),
                modes(texts(o.get("spec"), "accessModes")).into(),
                at(o, &["spec", "persistentVolumeReclaimPolicy"]).into(),
                phase.into(),
                claim.into(),
                class_of(o).into(),
                or_unset(at(o, &["spec", "volumeAttributesClassName"])).into(),
                at(o, &["status", "reason"]).into(),
                age(o, now),
                or_unset(at(o, &["spec", "volumeMode"])).into(),
            ]
        },
    )
}

pub(crate) fn claim() -> Columns {
    Columns::new(
        "Name|Status|Volume|Capacity|Access Modes|StorageClass|VolumeAttributesClass|Age|VolumeMode*",
        |_, o, now| {
            let phase = if api::meta::of(o).is_deleting() {
                "Terminating"
            } else {
                at(o, &["status", "phase"])
            };
            let volume = at(o, &["spec", "volumeName"]);
            let (capacity, access) = if volume.is_empty() {
                (String::new(), String::new())
            } else {
                (
                    scalar(o.at(&["status", "capacity", "storage"])),
                    modes(texts(o.get("status"), "accessModes")),
                )
            };
            vec![
                name(o),
                phase.into(),
                volume.into(),
                capacity.into(),
                access.into(),
                class_of(o).into(),
                or_unset(at(o, &["spec", "volumeAttributesClassName"])).into(),
                age(o, now),
                or_unset(at(o, &["spec", "volumeMode"])).into(),
            ]
        },
    )
}

pub(crate) fn class() -> Columns {
    Columns::new(
        "Name|Provisioner|ReclaimPolicy|VolumeBindingMode|AllowVolumeExpansion|Age",
        |_, o, now| {
            let mut title = api::meta::of(o).name().to_owned();
            let default = [
                "storageclass.kubernetes.io/is-default-class",
                "storageclass.beta.kubernetes.io/is-default-class",
            ]
            .iter()
            .any(|key| api::meta::of(o).annotation(key) == Some("true"));
            if default {
                title.push_str(" (default)");
            }
            let or = |key: &str, other: &str| match o.str(key) {
                "" => Cell::from(other),
                text => Cell::from(text),
            };
            vec![
                title.into(),
                o.str("provisioner").into(),
                or("reclaimPolicy", "Delete"),
                or("volumeBindingMode", "Immediate"),
                o.bool("allowVolumeExpansion")
                    .unwrap_or(false)
                    .to_string()
                    .into(),
                age(o, now),
            ]
        },
    )
}

pub(crate) fn attributes_class() -> Columns {
    Columns::new("Name|DriverName|Age", |_, o, now| {
        vec![name(o), o.str("driverName").into(), age(o, now)]
    })
}

pub(crate) fn volume_attachment() -> Columns {
    Columns::new("Name|Attacher|PV|Node|Attached:b|Age", |_, o, now| {
        vec![
            name(o),
            at(o, &["spec", "attacher"]).into(),
            at(o, &["spec", "source", "persistentVolumeName"]).into(),
            at(o, &["spec", "nodeName"]).into(),
            o.at(&["status", "attached"])
                .and_then(Ref::as_bool)
                .unwrap_or(false)
                .into(),
            age(o, now),
        ]
    })
}

pub(crate) fn csi_node() -> Columns {
    Columns::new("Name|Drivers:i|Age", |_, o, now| {
        let drivers = o
            .get("spec")
            .map_or(0, |spec| spec.items("drivers").count());
        vec![
            name(o),
            i64::try_from(drivers).unwrap_or(0).into(),
            age(o, now),
        ]
    })
}

pub(crate) fn csi_driver() -> Columns {
    Columns::new(
        "Name|AttachRequired:b|PodInfoOnMount:b|StorageCapacity:b|TokenRequests|RequiresRepublish:b|Modes|Age",
        |_, o, now| {
            let flag = |key, absent| {
                Cell::Bool(
                    o.at(&["spec", key])
                        .and_then(Ref::as_bool)
                        .unwrap_or(absent),
                )
            };
            let tokens = o
                .get("spec")
                .into_iter()
                .flat_map(|s| s.items("tokenRequests"));
            let tokens: Vec<&str> = tokens.map(|t| t.str("audience")).collect();
            let modes: Vec<&str> = texts(o.get("spec"), "volumeLifecycleModes").collect();
            vec![
                name(o),
                flag("attachRequired", true),
                flag("podInfoOnMount", false),
                flag("storageCapacity", false),
                or_unset(&tokens.join(",")).into(),
                flag("requiresRepublish", false),
                if modes.is_empty() {
                    "<none>".into()
                } else {
                    modes.join(",").into()
                },
                age(o, now),
            ]
        },
    )
}

pub(crate) fn capacity() -> Columns {
    Columns::new("Name|StorageClassName|Capacity", |_, o, _| {
        let capacity = scalar(o.get("capacity"));
        vec![
            name(o),
            o.str("storageClassName").into(),
            or_unset(&capacity).into(),
        ]
    })
}
