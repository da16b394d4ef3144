//! ConfigMaps and Secrets.

use api::{FieldError, Path, names};
use schema::Ref;

use super::{Errors, immutable};

const MAX_BYTES: usize = 1024 * 1024;

fn keys(object: Ref<'_>, member: &str, errors: &mut Errors) -> usize {
    let at = Path::new(member);
    let mut total = 0;
    for (key, value) in object.entries(member) {
        for message in names::config_map_key(key) {
            errors.push(FieldError::invalid(&at.key(key), key, message));
        }
        total += value.as_str().map_or(0, str::len);
    }
    total
}

pub(crate) fn config_map(object: Ref<'_>, errors: &mut Errors) {
    let mut total = keys(object, "data", errors);
    for (key, _) in object.entries("binaryData") {
        if object.at(&["data", key]).is_some() {
            let at = Path::new("data").key(key);
            errors.push(FieldError::invalid(
                &at,
                key,
                "duplicate of key present in binaryData",
            ));
        }
    }
    total += keys(object, "binaryData", errors) / 4 * 3;
    if total > MAX_BYTES {
        errors.push(FieldError::too_long(&Path::new("[]"), MAX_BYTES));
    }
}

fn frozen(new: Ref<'_>, old: Ref<'_>, members: &[&str], errors: &mut Errors) {
    if old.bool("immutable") != Some(true) {
        return;
    }
    if new.bool("immutable") != Some(true) {
        let detail = "field is immutable when `immutable` is set";
        errors.push(FieldError::forbidden(&Path::new("immutable"), detail));
    }
    for member in members {
        let same = match (new.get(member), old.get(member)) {
            (Some(a), Some(b)) => a.equal(b),
            (a, b) => a.is_none_or(Ref::is_empty) && b.is_none_or(Ref::is_empty),
        };
        if !same {
            let detail = "field is immutable when `immutable` is set";
            errors.push(FieldError::forbidden(&Path::new(member), detail));
        }
    }
}

pub(crate) fn config_map_update(new: Ref<'_>, old: Ref<'_>, errors: &mut Errors) {
    frozen(new, old, &["data", "binaryData"], errors);
}

pub(crate) fn secret(object: Ref<'_>, errors: &mut Errors) {
    let total = keys(object, "data", errors) / 4 * 3;
    if total > MAX_BYTES {
        errors.push(FieldError::too_long(&Path::new("data"), MAX_BYTES));
    }
    let needed: &[&str] = match object.str("type") {
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        _ => &[],
    };
    for key in needed {
        if object.at(&["data", key]).is_none() {
            errors.push(FieldError::required(&Path::new("data").key(key), ""));
        }
    }
    if object.str("type") == "kubernetes.io/basic-auth"
        && object.at(&["data", "username"]).is_none()
        && object.at(&["data", "password"]).is_none()
    {
        errors.push(FieldError::required(&Path::new("data").key("username"), ""));
        errors.push(FieldError::required(&Path::new("data").key("password"), ""));
    }
    if object.str("type") == "kubernetes.io/service-account-token"
        && api::meta::of(object)
            .annotation("kubernetes.io/service-account.name")
            .is_none_or(str::is_empty)
    {
        let at = Path::new("metadata")
            .child("annotations")
            .key("kubernetes.io/service-account.name");
        errors.push(FieldError::required(&at, ""));
    }
}

pub(crate) fn secret_update(new: Ref<'_>, old: Ref<'_>, errors: &mut Errors) {
    immutable(new.get("type"), old.get("type"), &Path::new("type"), errors);
    frozen(new, old, &["data"], errors);
}
