//! Validation: findings with field paths, one function a kind.
//!
//! Owns what all kinds share (metadata, its changes, immutable fields); families are below. A
//! function pushes what is wrong and never stops at the first finding.
//! Source: kubernetes v1.36.3 pkg/apis/*/validation; apimachinery v0.36.3
//! pkg/api/validation/objectmeta.go.

pub(crate) mod api_service;
pub(crate) mod autoscaling;
pub(crate) mod batch;
pub(crate) mod config;
pub(crate) mod core;
pub(crate) mod extension;
pub(crate) mod flow;
pub(crate) mod namespace;
pub(crate) mod network;
pub(crate) mod node;
pub(crate) mod pod;
pub(crate) mod policy;
pub(crate) mod rbac;
pub(crate) mod service;
pub(crate) mod storage;
pub(crate) mod workload;

use api::{FieldError, Path, meta, names};
use schema::{Ref, Value};

use crate::resource::Resource;

/// Where findings go.
pub(crate) type Errors = Vec<FieldError>;

/// Immutable, in upstream's words.
pub(crate) const IMMUTABLE: &str = "field is immutable";

/// Standard base64 with padding, as Go's `[]byte` in JSON.
pub(crate) fn base64_encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk
            .iter()
            .enumerate()
            .fold(0u32, |w, (i, b)| w | u32::from(*b) << (16 - 8 * i));
        for i in 0..4 {
            if i <= chunk.len() {
                out.push(char::from(DIGITS[(word >> (18 - 6 * i)) as usize & 63]));
            } else {
                out.push('=');
            }
        }
    }
    out
}

/// Metadata of a new object. Its name is there (generated, if it was left out).
pub fn metadata(resource: &Resource, object: Ref<'_>, errors: &mut Errors) {
    let at = Path::new("metadata");
    let m = meta::of(object);
    if !m.generate_name().is_empty() {
        for message in (resource.strategy.name)(m.generate_name(), true) {
            errors.push(FieldError::invalid(
                &at.child("generateName"),
                m.generate_name(),
                message,
            ));
        }
    }
    if m.name().is_empty() {
        errors.push(FieldError::required(
            &at.child("name"),
            "name or generateName is required",
        ));
    } else {
        for message in (resource.strategy.name)(m.name(), false) {
            errors.push(FieldError::invalid(&at.child("name"), m.name(), message));
        }
    }
    if resource.is_namespaced() {
        if m.namespace().is_empty() {
            errors.push(FieldError::required(&at.child("namespace"), ""));
        } else {
            for message in names::name_is_label(m.namespace(), false) {
                errors.push(FieldError::invalid(
                    &at.child("namespace"),
                    m.namespace(),
                    message,
                ));
            }
        }
    } else if !m.namespace().is_empty() {
        errors.push(FieldError::forbidden(
            &at.child("namespace"),
            "not allowed on this type",
        ));
    }
    metadata_common(object, errors);
    if resource.definition.is_none() {
        for (index, finalizer) in m.finalizers().enumerate() {
            let known = ["kubernetes", "orphan", "foregroundDeletion"];
            if !finalizer.contains('/') && !known.contains(&finalizer) {
                let path = at.child("finalizers").index(index);
                let detail = "name is neither a standard finalizer name nor is it fully qualified";
                errors.push(FieldError::invalid(&path, finalizer, detail));
            }
        }
    }
}

fn metadata_common(object: Ref<'_>, errors: &mut Errors) {
    let at = Path::new("metadata");
    let m = meta::of(object);
    if m.generation() < 0 {
        errors.push(FieldError::invalid(
            &at.child("generation"),
            m.generation(),
            "must be greater than or equal to 0",
        ));
    }
    errors.extend(names::labels(m.labels(), &at.child("labels")));
    errors.extend(names::annotations(
        m.annotations(),
        &at.child("annotations"),
    ));
    owners(object, &at.child("ownerReferences"), errors);
    for finalizer in m.finalizers() {
        let path = at.child("finalizers");
        for message in names::qualified_name(finalizer) {
            errors.push(FieldError::invalid(&path, finalizer, message));
        }
    }
    let both = m.has_finalizer("orphan") && m.has_finalizer("foregroundDeletion");
    if both {
        errors.push(FieldError::invalid(
            &at.child("finalizers"),
            r#"["foregroundDeletion","orphan"]"#,
            "finalizer orphan and finalizer foregroundDeletion cannot be both set",
        ));
    }
}

fn owners(object: Ref<'_>, at: &Path, errors: &mut Errors) {
    let mut controller: Option<String> = None;
    for owner in object
        .get("metadata")
        .into_iter()
        .flat_map(|m| m.items("ownerReferences"))
    {
        // As upstream, the path names no item.
        let version = owner.str("apiVersion");
        let parsed = api::parse_api_version(version);
        if parsed.as_ref().is_ok_and(|(_, version)| version.is_empty()) {
            errors.push(FieldError::invalid(
                &at.child("apiVersion"),
                version,
                "version must not be empty",
            ));
        } else if let Err(error) = &parsed {
            let path = at.child("apiVersion");
            errors.push(FieldError::invalid(&path, version, error.to_string()));
        }
        for key in ["kind", "name", "uid"] {
            if owner.str(key).is_empty() {
                let detail = "must not be empty";
                errors.push(FieldError::invalid(&at.child(key), "", detail));
            }
        }
        if (version, owner.str("kind")) == ("v1", "Event") {
            let detail = "/v1, Kind=Event is disallowed from being an owner";
            let value = api::BadValue::Raw(shown(owner));
            errors.push(FieldError::invalid(at, value, detail));
        }
        if owner.bool("controller") == Some(true) {
            let this = format!("{}/{}", owner.str("kind"), owner.str("name"));
            if let Some(first) = &controller {
                let detail = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {} and {}",
                    first, this
                );
                let all = object.at(&["metadata", "ownerReferences"]);
                let all = all.map_or(api::BadValue::Omitted, |all| api::BadValue::Raw(shown(all)));
                errors.push(FieldError::invalid(at, all, detail));
            }
            controller = Some(this);
        }
    }
}

/// Metadata of a changed object.
pub fn metadata_update(_resource: &Resource, new: Ref<'_>, old: Ref<'_>, errors: &mut Errors) {
    let at = Path::new("metadata");
    let (n, o) = (meta::of(new), meta::of(old));
    metadata_common(new, errors);
    if o.is_deleting() {
        for finalizer in n.finalizers() {
            if !o.has_finalizer(finalizer) {
                let mut added: Vec<String> = n
                    .finalizers()
                    .filter(|name| !o.has_finalizer(name))
                    .map(str::to_owned)
                    .collect();
                added.sort();
                let detail = format!(
                    "no new finalizers can be added if the object is being deleted, found new finalizers {added:?}"
                );
                errors.push(FieldError::forbidden(&at.child("finalizers"), detail));
                break;
            }
        }
    }
    for (key, a, b) in [
        ("name", n.name(), o.name()),
        ("namespace", n.namespace(), o.namespace()),
        ("uid", n.uid(), o.uid()),
    ] {
        if a != b {
            errors.push(FieldError::invalid(&at.child(key), a, IMMUTABLE));
        }
    }
    if n.generation() < o.generation() {
        errors.push(FieldError::invalid(
            &at.child("generation"),
            n.generation(),
            "must not be decremented",
        ));
    }
}

/// A required text.
pub(crate) fn required(object: Ref<'_>, key: &str, at: &Path, errors: &mut Errors) -> bool {
    if object.str(key).is_empty() {
        errors.push(FieldError::required(&at.child(key), ""));
        return false;
    }
    true
}

/// One of a closed set; absent is fine.
pub(crate) fn one_of(object: Ref<'_>, key: &str, allowed: &[&str], at: &Path, errors: &mut Errors) {
    let value = object.str(key);
    if !value.is_empty() && !allowed.contains(&value) {
        errors.push(FieldError::not_supported(&at.child(key), value, allowed));
    }
}

/// A number that must not be negative; absent is fine.
pub(crate) fn non_negative(object: Ref<'_>, key: &str, at: &Path, errors: &mut Errors) {
    if let Some(number) = object.int(key)
        && number < 0
    {
        let detail = "must be greater than or equal to 0";
        errors.push(FieldError::invalid(&at.child(key), number, detail));
    }
}

/// Finds it unequal to the old one.
pub(crate) fn immutable(
    new: Option<Ref<'_>>,
    old: Option<Ref<'_>>,
    at: &Path,
    errors: &mut Errors,
) {
    let same = match (new, old) {
        (Some(a), Some(b)) => a.equal(b),
        (None, None) => true,
        (Some(one), None) | (None, Some(one)) => is_empty(one),
    };
    if !same {
        let value = new.map_or_else(String::new, shown);
        errors.push(FieldError::invalid(
            at,
            api::BadValue::Raw(value),
            IMMUTABLE,
        ));
    }
}

/// A value as messages show it.
pub(crate) fn shown(node: Ref<'_>) -> String {
    String::from_utf8_lossy(&node.to_json()).into_owned()
}

fn is_empty(node: Ref<'_>) -> bool {
    match node.value() {
        Value::Null => true,
        Value::Str(text) => text.is_empty(),
        Value::List | Value::Map => node.is_empty(),
        Value::Bool(flag) => !flag,
        Value::Int(number) => number == 0,
        Value::Float(_) => false,
    }
}

/// A quantity that must parse and must not be negative.
pub(crate) fn quantity(node: Ref<'_>, at: &Path, errors: &mut Errors) -> Option<api::Quantity> {
    let text = crate::columns::scalar(Some(node));
    match api::Quantity::parse(&text) {
        Ok(quantity) => {
            if quantity.sign() < 0 {
                errors.push(FieldError::invalid(
                    at,
                    text,
                    "must be greater than or equal to 0",
                ));
            }
            Some(quantity)
        }
        Err(error) => {
            errors.push(FieldError::invalid(at, text, error.to_string()));
            None
        }
    }
}

/// A label selector.
pub(crate) fn label_selector(selector: Ref<'_>, at: &Path, errors: &mut Errors) {
    errors.extend(names::labels(
        selector
            .entries("matchLabels")
            .map(|(k, v)| (k, v.as_str().unwrap_or_default())),
        &at.child("matchLabels"),
    ));
    for (index, expression) in selector.items("matchExpressions").enumerate() {
        let path = at.child("matchExpressions").index(index);
        let values = expression.items("values").count();
        match expression.str("operator") {
            "In" | "NotIn" if values == 0 => errors.push(FieldError::required(
                &path.child("values"),
                "must be specified when `operator` is 'In' or 'NotIn'",
            )),
            "Exists" | "DoesNotExist" if values > 0 => errors.push(FieldError::forbidden(
                &path.child("values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.push(FieldError::invalid(
                &path.child("operator"),
                other,
                "not a valid selector operator",
            )),
        }
        for message in names::qualified_name(expression.str("key")) {
            errors.push(FieldError::invalid(
                &path.child("key"),
                expression.str("key"),
                message,
            ));
        }
    }
}
