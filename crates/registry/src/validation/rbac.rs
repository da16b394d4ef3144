//! Roles and bindings.
//!
//! Source: kubernetes v1.36.3 pkg/apis/rbac/validation/validation.go.

use api::{FieldError, Path};
use schema::Ref;

use super::{Errors, shown};

pub(crate) fn role(object: Ref<'_>, errors: &mut Errors) {
    let namespaced = !api::meta::of(object).namespace().is_empty();
    for (index, rule) in object.items("rules").enumerate() {
        let path = Path::new("rules").index(index);
        let any = |key: &str| rule.items(key).next().is_some();
        if !any("verbs") {
            errors.push(FieldError::required(
                &path.child("verbs"),
                "verbs must contain at least one value",
            ));
        }
        if any("nonResourceURLs") {
            if namespaced {
                errors.push(FieldError::invalid(
                    &path.child("nonResourceURLs"),
                    api::BadValue::Raw(rule.get("nonResourceURLs").map_or_else(String::new, shown)),
                    "namespaced rules cannot apply to non-resource URLs",
                ));
            }
            if any("apiGroups") || any("resources") || any("resourceNames") {
                errors.push(FieldError::invalid(
                    &path.child("nonResourceURLs"),
                    api::BadValue::Raw(rule.get("nonResourceURLs").map_or_else(String::new, shown)),
                    "rules cannot apply to both regular resources and non-resource URLs",
                ));
            }
            continue;
        }
        if !any("apiGroups") {
            let detail = "resource rules must supply at least one api group";
            errors.push(FieldError::required(&path.child("apiGroups"), detail));
        }
        if !any("resources") {
            let detail = "resource rules must supply at least one resource";
            errors.push(FieldError::required(&path.child("resources"), detail));
        }
    }
}

pub(crate) fn binding(object: Ref<'_>, errors: &mut Errors) {
    let at = Path::new("roleRef");
    let role = object.get("roleRef");
    let field = |key: &str| role.map_or("", |role| role.str(key));
    let group = "rbac.authorization.k8s.io";
    if field("apiGroup") != group {
        errors.push(FieldError::not_supported(
            &at.child("apiGroup"),
            field("apiGroup"),
            &[group],
        ));
    }
    let namespaced = !api::meta::of(object).namespace().is_empty();
    let kinds: &[&str] = if namespaced {
        &["ClusterRole", "Role"]
    } else {
        &["ClusterRole"]
    };
    if !kinds.contains(&field("kind")) {
        errors.push(FieldError::not_supported(
            &at.child("kind"),
            field("kind"),
            kinds,
        ));
    }
    if field("name").is_empty() {
        errors.push(FieldError::required(&at.child("name"), ""));
    }
    for (index, subject) in object.items("subjects").enumerate() {
        let path = Path::new("subjects").index(index);
        if subject.str("name").is_empty() {
            errors.push(FieldError::required(&path.child("name"), ""));
        }
        let kind = subject.str("kind");
        match kind {
            "ServiceAccount" => {
                if !subject.str("apiGroup").is_empty() {
                    let path = path.child("apiGroup");
                    errors.push(FieldError::not_supported(
                        &path,
                        subject.str("apiGroup"),
                        &[""],
                    ));
                }
                if subject.str("namespace").is_empty() {
                    errors.push(FieldError::required(&path.child("namespace"), ""));
                }
            }
            "User" | "Group" => {
                if subject.str("apiGroup") != group {
                    let path = path.child("apiGroup");
                    errors.push(FieldError::not_supported(
                        &path,
                        subject.str("apiGroup"),
                        &[group],
                    ));
                }
            }
            _ => {
                let kinds = ["Group", "ServiceAccount", "User"];
                errors.push(FieldError::not_supported(&path.child("kind"), kind, &kinds));
            }
        }
    }
}

pub(crate) fn binding_update(new: Ref<'_>, old: Ref<'_>, errors: &mut Errors) {
    let same = match (new.get("roleRef"), old.get("roleRef")) {
        (Some(a), Some(b)) => a.equal(b),
        _ => false,
    };
    if !same {
        let value = new.get("roleRef").map_or_else(String::new, shown);
        let detail = "cannot change roleRef";
        errors.push(FieldError::invalid(
            &Path::new("roleRef"),
            api::BadValue::Raw(value),
            detail,
        ));
    }
}
