//! Volumes of a pod.

use std::collections::HashMap;

use api::{FieldError, Path, names};
use schema::{Ref, Value};

use super::super::{Errors, required};

/// Names of the volumes that are good enough to be mounted, with their sources.
pub(super) fn all<'a>(spec: Ref<'a>, at: &Path, errors: &mut Errors) -> HashMap<&'a str, Ref<'a>> {
    let mut known = HashMap::new();
    for (index, volume) in spec.items("volumes").enumerate() {
        let path = at.index(index);
        let name = volume.str("name");
        if required(volume, "name", &path, errors) {
            for message in names::dns1123_label(name) {
                errors.push(FieldError::invalid(&path.child("name"), name, message));
            }
            if known.insert(name, volume).is_some() {
                errors.push(FieldError::duplicate(&path.child("name"), name));
            }
        }
        let sources: Vec<(&str, Ref<'_>)> = volume
            .map()
            .filter(|(key, value)| *key != "name" && !matches!(value.value(), Value::Null))
            .collect();
        match sources.as_slice() {
            [] => errors.push(FieldError::required(&path, "must specify a volume type")),
            [(kind, source)] => one(kind, *source, &path.child(kind), errors),
            [_, rest @ ..] => {
                for (kind, _) in rest {
                    let detail = "may not specify more than 1 volume type";
                    errors.push(FieldError::forbidden(&path.child(kind), detail));
                }
            }
        }
    }
    known
}

fn mode(source: Ref<'_>, key: &str, at: &Path, errors: &mut Errors) {
    if let Some(mode) = source.int(key)
        && !(0..=0o777).contains(&mode)
    {
        let detail = "must be a number between 0 and 0777 (octal), both inclusive";
        errors.push(FieldError::invalid(&at.child(key), mode, detail));
    }
}

fn local_path(value: &str, at: &Path, errors: &mut Errors) {
    if value.starts_with('/') {
        errors.push(FieldError::invalid(at, value, "must be a relative path"));
    }
    if value.split('/').any(|part| part == "..") {
        errors.push(FieldError::invalid(at, value, "must not contain '..'"));
    }
}

fn items(source: Ref<'_>, at: &Path, errors: &mut Errors) {
    mode(source, "defaultMode", at, errors);
    for (index, item) in source.items("items").enumerate() {
        let path = at.child("items").index(index);
        required(item, "key", &path, errors);
        key_path(item, &path, errors);
    }
}

fn key_path(item: Ref<'_>, path: &Path, errors: &mut Errors) {
    if required(item, "path", path, errors) {
        local_path(item.str("path"), &path.child("path"), errors);
        if item.str("path").starts_with("..") {
            let detail = "must not start with '..'";
            errors.push(FieldError::invalid(
                &path.child("path"),
                item.str("path"),
                detail,
            ));
        }
    }
    mode(item, "mode", path, errors);
}

fn one(kind: &str, source: Ref<'_>, at: &Path, errors: &mut Errors) {
    match kind {
        "secret" => {
            required(source, "secretName", at, errors);
            items(source, at, errors);
        }
        "configMap" => {
            required(source, "name", at, errors);
            items(source, at, errors);
        }
        "hostPath" => {
            let climbs = source.str("path").split('/').any(|part| part == "..");
            if required(source, "path", at, errors) && climbs {
                errors.push(FieldError::invalid(
                    &at.child("path"),
                    source.str("path"),
                    "must not contain '..'",
                ));
            }
        }
        "persistentVolumeClaim" => {
            required(source, "claimName", at, errors);
        }
        "downwardAPI" => {
            mode(source, "defaultMode", at, errors);
            for (index, item) in source.items("items").enumerate() {
                key_path(item, &at.child("items").index(index), errors);
            }
        }
        "projected" => {
            mode(source, "defaultMode", at, errors);
            for (index, one) in source.items("sources").enumerate() {
                let path = at.child("sources").index(index);
                if let Some(token) = one.get("serviceAccountToken") {
                    let path = path.child("serviceAccountToken");
                    required(token, "path", &path, errors);
                    if let Some(seconds) = token.int("expirationSeconds")
                        && seconds < 600
                    {
                        errors.push(FieldError::invalid(
                            &path.child("expirationSeconds"),
                            seconds,
                            "may not specify a duration less than 10 minutes",
                        ));
                    }
                }
                for kind in ["secret", "configMap"] {
                    if let Some(source) = one.get(kind) {
                        let path = path.child(kind);
                        required(source, "name", &path, errors);
                        items(source, &path, errors);
                    }
                }
            }
        }
        "emptyDir" => {
            if let Some(size) = source.get("sizeLimit") {
                super::super::quantity(size, &at.child("sizeLimit"), errors);
            }
        }
        "ephemeral" => match source.get("volumeClaimTemplate").filter(|t| !t.is_null()) {
            Some(template) => {
                let empty = schema::Dom::new();
                let spec = template.get("spec").unwrap_or_else(|| empty.as_ref());
                let at = at.child("volumeClaimTemplate").child("spec");
                super::super::core::claim_spec(spec, &at, errors);
            }
            None => errors.push(FieldError::required(&at.child("volumeClaimTemplate"), "")),
        },
        _ => super::sources::one(kind, source, at, errors),
    }
}
