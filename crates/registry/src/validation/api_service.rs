//! APIServices.
//!
//! Source: kube-aggregator v0.36.3 pkg/apis/apiregistration/validation/validation.go,
//! pkg/registry/apiservice/strategy.go.

use api::{FieldError, Path, names};
use schema::{Dom, Ref};

use super::Errors;
use crate::hooks::Context;

/// What is served here is available from the first moment.
pub(crate) fn prepare(cx: &Context<'_>, dom: &mut Dom) {
    let root = dom.root();
    dom.remove(root, "status");
    if dom.as_ref().at(&["spec", "service"]).is_some() {
        return;
    }
    let condition = dom.new_map();
    let now = api::time::format_seconds(cx.now);
    for (key, value) in [
        ("type", "Available"),
        ("status", "True"),
        ("lastTransitionTime", now.as_str()),
        ("reason", "Local"),
        ("message", "Local APIServices are always available"),
    ] {
        dom.set_str(condition, key, value);
    }
    let conditions = dom.new_list();
    dom.push(conditions, condition);
    let status = dom.new_map();
    dom.set(status, "conditions", conditions);
    dom.set(root, "status", status);
}

pub(crate) fn validate(object: Ref<'_>, errors: &mut Errors) {
    let at = Path::new("spec");
    let spec = object.get("spec").unwrap_or_else(|| Ref::null());
    let (group, version) = (spec.str("group"), spec.str("version"));
    let name = api::meta::of(object).name();
    let wanted = format!("{version}.{group}");
    if name != wanted && names::name_is_path_segment(name, false).is_empty() {
        let detail = format!("must be `spec.version+\".\"+spec.group`: {wanted:?}");
        let at = Path::new("metadata").child("name");
        errors.push(FieldError::invalid(&at, name, detail));
    }
    if group.is_empty() && version != "v1" {
        let detail = "only v1 may have an empty group and it better be legacy kube";
        errors.push(FieldError::required(&at.child("group"), detail));
    }
    if !group.is_empty() {
        for detail in names::dns1123_subdomain(group) {
            errors.push(FieldError::invalid(&at.child("group"), group, detail));
        }
    }
    for detail in names::dns1035_label(version) {
        errors.push(FieldError::invalid(&at.child("version"), version, detail));
    }
    for (key, most) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1000)] {
        let value = spec.int(key).unwrap_or(0);
        if !(1..=most).contains(&value) {
            let detail = format!("must be positive and less than {most}");
            errors.push(FieldError::invalid(&at.child(key), value, detail));
        }
    }
    let bundle = spec.str("caBundle");
    let insecure = spec.bool("insecureSkipTLSVerify") == Some(true);
    let insecure_at = at.child("insecureSkipTLSVerify");
    let Some(service) = spec.get("service") else {
        if !bundle.is_empty() {
            let padding = bundle
                .bytes()
                .rev()
                .take_while(|byte| *byte == b'=')
                .count();
            let bytes = format!("{} bytes", bundle.len() / 4 * 3 - padding);
            let detail = "local APIServices may not have a caBundle";
            errors.push(FieldError::invalid(
                &at.child("caBundle"),
                bytes.as_str(),
                detail,
            ));
        }
        if insecure {
            let detail = "local APIServices may not have insecureSkipTLSVerify";
            errors.push(FieldError::invalid(&insecure_at, true, detail));
        }
        return;
    };
    let at = at.child("service");
    for key in ["namespace", "name"] {
        if service.str(key).is_empty() {
            errors.push(FieldError::required(&at.child(key), ""));
        }
    }
    let port = service.int("port").unwrap_or(0);
    if !(1..=65535).contains(&port) {
        let detail = "port is not valid: must be between 1 and 65535, inclusive";
        errors.push(FieldError::invalid(&at.child("port"), port, detail));
    }
    if insecure && !bundle.is_empty() {
        let detail = "may not be true if caBundle is present";
        errors.push(FieldError::invalid(&insecure_at, true, detail));
    }
}

pub(crate) fn status(object: Ref<'_>, _old: Ref<'_>, errors: &mut Errors) {
    let conditions = object.get("status").into_iter();
    let conditions = conditions.flat_map(|status| status.items("conditions"));
    for (index, condition) in conditions.enumerate() {
        let known = ["True", "False", "Unknown"];
        let value = condition.str("status");
        if !known.contains(&value) {
            let at = Path::new("status").child("conditions").index(index);
            errors.push(FieldError::not_supported(
                &at.child("status"),
                value,
                &known,
            ));
        }
    }
}
