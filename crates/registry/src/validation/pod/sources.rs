//! Sources of volumes on storage of others: what each of them needs.
//!
//! Source: kubernetes v1.36.3 pkg/apis/core/validation/validation.go (validate*VolumeSource).

use api::{FieldError, Path, names};
use schema::Ref;

use super::super::{Errors, one_of, required};

/// Members that may not be empty, by kind of source, in upstream's order.
const REQUIRED: [(&str, &[&str]); 15] = [
    ("gitRepo", &["repository"]),
    ("iscsi", &["targetPortal", "iqn"]),
    ("gcePersistentDisk", &["pdName"]),
    ("awsElasticBlockStore", &["volumeID"]),
    ("nfs", &["server", "path"]),
    ("glusterfs", &["endpoints", "path"]),
    ("cinder", &["volumeID"]),
    ("portworxVolume", &["volumeID"]),
    ("azureFile", &["secretName", "shareName"]),
    ("azureDisk", &["diskName", "diskURI"]),
    ("vsphereVolume", &["volumePath"]),
    ("photonPersistentDisk", &["pdID"]),
    ("scaleIO", &["gateway", "system", "volumeName"]),
    ("storageos", &["volumeName"]),
    ("csi", &["driver"]),
];

/// One source; kinds that are not of others' storage are left to the caller.
pub(super) fn one(kind: &str, source: Ref<'_>, at: &Path, errors: &mut Errors) {
    let known = REQUIRED.iter().find(|(known, _)| *known == kind);
    for name in known.map_or(&[] as &[&str], |(_, names)| *names) {
        required(source, name, at, errors);
    }
    match kind {
        "iscsi" => iscsi(source, at, errors),
        "fc" => fibre_channel(source, at, errors),
        "nfs" if !source.str("path").starts_with('/') => {
            let detail = "must be an absolute path";
            errors.push(FieldError::invalid(
                &at.child("path"),
                source.str("path"),
                detail,
            ));
        }
        "flocker" => flocker(source, at, errors),
        "rbd" => {
            some(source, "monitors", at, errors);
            required(source, "image", at, errors);
        }
        "cephfs" => some(source, "monitors", at, errors),
        "cinder" => named(source, "secretRef", at, errors),
        "quobyte" => quobyte(source, at, errors),
        "azureDisk" => azure_disk(source, at, errors),
        "storageos" => {
            for name in ["volumeName", "volumeNamespace"] {
                let value = source.str(name);
                if !value.is_empty() {
                    for message in names::dns1123_label(value) {
                        errors.push(FieldError::invalid(&at.child(name), value, message));
                    }
                }
            }
            named(source, "secretRef", at, errors);
        }
        "csi" => {
            let driver = source.str("driver");
            if driver.len() > 63 {
                errors.push(FieldError::too_long(&at.child("driver"), 63));
            }
            for message in names::dns1123_subdomain(&driver.to_lowercase()) {
                errors.push(FieldError::invalid(&at.child("driver"), driver, message));
            }
            named(source, "nodePublishSecretRef", at, errors);
        }
        _ => {}
    }
}

fn some(source: Ref<'_>, list: &str, at: &Path, errors: &mut Errors) {
    if source.items(list).next().is_none() {
        errors.push(FieldError::required(&at.child(list), ""));
    }
}

/// A reference, if there is one, has a name.
fn named(source: Ref<'_>, key: &str, at: &Path, errors: &mut Errors) {
    if let Some(reference) = source.get(key).filter(|reference| !reference.is_null()) {
        required(reference, "name", &at.child(key), errors);
    }
}

fn unit(source: Ref<'_>, at: &Path, errors: &mut Errors) {
    if let Some(number) = source.int("lun")
        && !(0..=255).contains(&number)
    {
        let detail = "must be between 0 and 255, inclusive";
        errors.push(FieldError::invalid(&at.child("lun"), number, detail));
    }
}

fn iscsi(source: Ref<'_>, at: &Path, errors: &mut Errors) {
    let known = |name: &str| {
        ["iqn", "eui", "naa"]
            .iter()
            .any(|kind| name.starts_with(kind))
    };
    let detail = "must be valid format starting with iqn, eui, or naa";
    let name = source.str("iqn");
    if !name.is_empty() && !known(name) {
        errors.push(FieldError::invalid(&at.child("iqn"), name, detail));
    }
    unit(source, at, errors);
    let chap = ["chapAuthDiscovery", "chapAuthSession"];
    if chap.iter().any(|key| source.bool(key) == Some(true)) && source.get("secretRef").is_none() {
        errors.push(FieldError::required(&at.child("secretRef"), ""));
    }
    if let Some(name) = source.get("initiatorName").and_then(Ref::as_str)
        && !known(name)
    {
        errors.push(FieldError::invalid(
            &at.child("initiatorname"),
            name,
            detail,
        ));
    }
}

fn fibre_channel(source: Ref<'_>, at: &Path, errors: &mut Errors) {
    let has = |list: &str| source.items(list).next().is_some();
    let path = at.child("targetWWNs");
    if !has("targetWWNs") && !has("wwids") {
        let detail = "must specify either targetWWNs or wwids, but not both";
        errors.push(FieldError::required(&path, detail));
    }
    if !has("targetWWNs") {
        return;
    }
    if source.int("lun").is_none() {
        let detail = "lun is required if targetWWNs is specified";
        errors.push(FieldError::required(&at.child("lun"), detail));
    }
    unit(source, at, errors);
}

fn flocker(source: Ref<'_>, at: &Path, errors: &mut Errors) {
    let (name, uid) = (source.str("datasetName"), source.str("datasetUUID"));
    if name.is_empty() && uid.is_empty() {
        let detail = "one of datasetName and datasetUUID is required";
        errors.push(FieldError::required(at, detail));
    }
    if !name.is_empty() && !uid.is_empty() {
        let detail = "datasetName and datasetUUID can not be specified simultaneously";
        errors.push(FieldError::invalid(at, "resource", detail));
    }
    if name.contains('/') {
        let detail = "must not contain '/'";
        errors.push(FieldError::invalid(&at.child("datasetName"), name, detail));
    }
}

fn quobyte(source: Ref<'_>, at: &Path, errors: &mut Errors) {
    let detail = "must be a host:port pair or multiple pairs separated by commas";
    let (registry, path) = (source.str("registry"), at.child("registry"));
    if registry.is_empty() {
        errors.push(FieldError::required(&path, detail));
    } else if source.str("tenant").len() > 64 {
        let detail = "must be a UUID and may not exceed a length of 64 characters";
        errors.push(FieldError::required(&at.child("tenant"), detail));
    } else {
        for pair in registry.split(',') {
            if pair.matches(':').count() != 1 {
                errors.push(FieldError::invalid(&path, registry, detail));
            }
        }
    }
    required(source, "volume", at, errors);
}

fn azure_disk(source: Ref<'_>, at: &Path, errors: &mut Errors) {
    one_of(
        source,
        "cachingMode",
        &["None", "ReadOnly", "ReadWrite"],
        at,
        errors,
    );
    one_of(
        source,
        "kind",
        &["Dedicated", "Managed", "Shared"],
        at,
        errors,
    );
    let (kind, uri) = (source.str("kind"), source.str("diskURI"));
    const MANAGED: &str = "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}";
    const BLOB: &str =
        "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd";
    let (prefix, form) = match kind {
        "Managed" => ("/subscriptions/", MANAGED),
        _ => ("https://", BLOB),
    };
    if !kind.is_empty() && !uri.starts_with(prefix) {
        errors.push(FieldError::not_supported(
            &at.child("diskURI"),
            uri,
            &[form],
        ));
    }
}
