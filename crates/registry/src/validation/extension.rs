//! Webhooks and custom resource definitions.
//!
//! Source: kubernetes v1.36.3 pkg/apis/admissionregistration/validation;
//! apiextensions-apiserver v0.36.3 pkg/apis/apiextensions/validation.

use api::{FieldError, Path, names};
use schema::{Dom, Ref};

use super::{Errors, immutable, one_of, policy, required};
use crate::hooks::Context;

pub(crate) fn webhooks(object: Ref<'_>, errors: &mut Errors) {
    let mut seen = std::collections::HashSet::new();
    for (index, hook) in object.items("webhooks").enumerate() {
        let path = Path::new("webhooks").index(index);
        let name = hook.str("name");
        if required(hook, "name", &path, errors) && name.split('.').count() < 3 {
            let detail = "should be a domain with at least three segments separated by dots";
            errors.push(FieldError::invalid(&path.child("name"), name, detail));
        }
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(&path.child("name"), name));
        }
        one_of(hook, "failurePolicy", &["Fail", "Ignore"], &path, errors);
        one_of(hook, "matchPolicy", &["Equivalent", "Exact"], &path, errors);
        match hook.str("sideEffects") {
            "" => {
                let detail = "must specify one of None, NoneOnDryRun";
                errors.push(FieldError::required(&path.child("sideEffects"), detail));
            }
            "None" | "NoneOnDryRun" => {}
            other => {
                let path = path.child("sideEffects");
                errors.push(FieldError::not_supported(
                    &path,
                    other,
                    &["None", "NoneOnDryRun"],
                ));
            }
        }
        if hook.items("admissionReviewVersions").next().is_none() {
            let detail = "must specify one of v1, v1beta1";
            errors.push(FieldError::required(
                &path.child("admissionReviewVersions"),
                detail,
            ));
        }
        policy::conditions(hook, false, &path, errors);
        if let Some(seconds) = hook.int("timeoutSeconds")
            && !(1..=30).contains(&seconds)
        {
            let detail = "the timeout value must be between 1 and 30 seconds";
            errors.push(FieldError::invalid(
                &path.child("timeoutSeconds"),
                seconds,
                detail,
            ));
        }
    }
}

pub(crate) fn prepare_definition(_: &Context<'_>, dom: &mut Dom) {
    let root = dom.root();
    let names = dom.new_map();
    dom.set_str(names, "kind", "");
    dom.set_str(names, "plural", "");
    let status = dom.new_map();
    dom.set(status, "acceptedNames", names);
    let conditions = dom.new_list();
    dom.set(status, "conditions", conditions);
    let stored = dom.new_list();
    let storage = dom.as_ref().get("spec").and_then(|spec| {
        let mut versions = spec.items("versions");
        versions
            .find(|v| v.bool("storage") == Some(true))
            .map(|v| v.str("name").to_owned())
    });
    if let Some(storage) = storage {
        let node = dom.new_str(&storage);
        dom.push(stored, node);
    }
    dom.set(status, "storedVersions", stored);
    dom.set(root, "status", status);
}

pub(crate) fn definition(object: Ref<'_>, errors: &mut Errors) {
    let at = Path::new("spec");
    let Some(spec) = object.get("spec") else {
        return;
    };
    let name = api::meta::of(object).name();
    let plural = spec
        .at(&["names", "plural"])
        .and_then(Ref::as_str)
        .unwrap_or_default();
    let group = spec.str("group");
    let wanted = format!("{plural}.{group}");
    if name != wanted {
        let detail = "must be spec.names.plural+\".\"+spec.group";
        errors.push(FieldError::invalid(
            &Path::new("metadata").child("name"),
            name,
            detail,
        ));
    }
    if required(spec, "group", &at, errors) {
        for message in names::dns1123_subdomain(group) {
            errors.push(FieldError::invalid(&at.child("group"), group, message));
        }
        if group.split('.').count() < 2 {
            let detail = "should be a domain with at least one dot";
            errors.push(FieldError::invalid(&at.child("group"), group, detail));
        }
    }
    if required(spec, "scope", &at, errors) {
        one_of(spec, "scope", &["Cluster", "Namespaced"], &at, errors);
    }
    if let Some(conversion) = spec.get("conversion") {
        one_of(
            conversion,
            "strategy",
            &["None", "Webhook"],
            &at.child("conversion"),
            errors,
        );
    }
    let names_at = at.child("names");
    match spec.get("names") {
        Some(names_of) => {
            for key in ["plural", "singular", "kind", "listKind"] {
                let value = names_of.str(key);
                if value.is_empty() {
                    errors.push(FieldError::required(&names_at.child(key), ""));
                } else {
                    for message in names::dns1035_label(&value.to_lowercase()) {
                        errors.push(FieldError::invalid(&names_at.child(key), value, message));
                    }
                }
            }
            if !names_of.str("kind").is_empty() && names_of.str("kind") == names_of.str("listKind")
            {
                let detail = "kind and listKind may not be the same";
                errors.push(FieldError::invalid(
                    &names_at.child("listKind"),
                    names_of.str("listKind"),
                    detail,
                ));
            }
        }
        None => errors.push(FieldError::required(&names_at, "")),
    }
    let versions = at.child("versions");
    rules(spec, &at, errors);
    let mut storage = 0;
    for (index, version) in spec.items("versions").enumerate() {
        let path = versions.index(index);
        if version.bool("storage") == Some(true) {
            storage += 1;
        }
        for message in names::dns1035_label(version.str("name")) {
            errors.push(FieldError::invalid(
                &path.child("name"),
                version.str("name"),
                message,
            ));
        }
        let schema = version.at(&["schema", "openAPIV3Schema"]);
        if schema.is_none() {
            let detail = "schemas are required";
            errors.push(FieldError::required(
                &path.child("schema").child("openAPIV3Schema"),
                detail,
            ));
        }
    }
    if storage != 1 {
        let detail = "must have exactly one version marked as storage version";
        let shown = spec
            .get("versions")
            .map_or_else(|| "[]".to_owned(), super::shown);
        errors.push(FieldError::invalid(
            &versions,
            api::BadValue::Raw(shown),
            detail,
        ));
    }
}

/// Expressions of schemas; upstream names one schema that all versions share by the place that it
/// had in v1beta1.
fn rules(spec: Ref<'_>, at: &Path, errors: &mut Errors) {
    let schemas = || {
        spec.items("versions")
            .map(|v| v.at(&["schema", "openAPIV3Schema"]))
    };
    let first = schemas().next().flatten();
    let shared = schemas().all(|schema| match (first, schema) {
        (Some(first), Some(schema)) => first.equal(schema),
        _ => false,
    });
    for (index, schema) in schemas().enumerate() {
        let Some(schema) = schema else { continue };
        let at = if shared {
            at.child("validation")
        } else {
            at.child("versions").index(index).child("schema")
        };
        crate::rules::findings(schema, true, &at.child("openAPIV3Schema"), errors);
        if shared {
            break;
        }
    }
}

pub(crate) fn definition_update(new: Ref<'_>, old: Ref<'_>, errors: &mut Errors) {
    let established = api::meta::condition_is_true(old, "Established");
    let at = Path::new("spec");
    for key in ["group", "scope"] {
        if established || key == "group" {
            immutable(
                new.at(&["spec", key]),
                old.at(&["spec", key]),
                &at.child(key),
                errors,
            );
        }
    }
    for key in ["plural", "kind"] {
        if established {
            let path = at.child("names").child(key);
            immutable(
                new.at(&["spec", "names", key]),
                old.at(&["spec", "names", key]),
                &path,
                errors,
            );
        }
    }
}
