//! Pods and pod specs.
//!
//! Source: kubernetes v1.36.3 pkg/apis/core/validation/validation.go;
//! pkg/registry/core/pod/strategy.go.

mod container;
mod label_keys;
mod sources;
mod volume;

use std::collections::HashSet;

use api::{FieldError, Path, names};
use schema::{Dom, Ref};

use super::{Errors, one_of, shown};
use crate::edit::{ensure_map, keep};
use crate::hooks::Context;

/// Seconds that a pod gets to stop: what was asked for, or what its spec says.
pub(crate) fn grace(pod: Ref<'_>, asked: Option<i64>) -> i64 {
    let spec = pod
        .at(&["spec", "terminationGracePeriodSeconds"])
        .and_then(Ref::as_int);
    let mut period = asked.or(spec).unwrap_or(0);
    let unscheduled = pod
        .at(&["spec", "nodeName"])
        .and_then(Ref::as_str)
        .unwrap_or_default();
    if unscheduled.is_empty() || api::pod::is_terminal(pod) {
        period = 0;
    }
    if period < 0 { 1 } else { period }
}

pub(crate) fn prepare_create(_: &Context<'_>, dom: &mut Dom) {
    let root = dom.root();
    let qos = api::pod::compute_qos(dom.as_ref()).as_str();
    dom.remove(root, "status");
    let status = ensure_map(dom, root, "status");
    dom.set_str(status, "phase", "Pending");
    dom.set_str(status, "qosClass", qos);
    let gated = dom
        .as_ref()
        .get("spec")
        .is_some_and(|s| s.items("schedulingGates").next().is_some());
    if gated {
        let list = dom.new_list();
        let condition = dom.new_map();
        dom.set_str(condition, "type", "PodScheduled");
        dom.set_str(condition, "status", "False");
        dom.set_str(condition, "reason", "SchedulingGated");
        dom.set_str(
            condition,
            "message",
            "Scheduling is blocked due to non-empty scheduling gates",
        );
        dom.push(list, condition);
        dom.set(status, "conditions", list);
    }
    label_keys::merge(dom);
}

/// Ephemeral containers come by their subresource.
pub(crate) fn validate_create(object: Ref<'_>, errors: &mut Errors) {
    let given = object
        .get("spec")
        .is_some_and(|spec| spec.items("ephemeralContainers").next().is_some());
    if given {
        let at = Path::new("spec").child("ephemeralContainers");
        errors.push(FieldError::forbidden(&at, "cannot be set on create"));
    }
}

pub(crate) fn prepare_update(cx: &Context<'_>, dom: &mut Dom, old: Ref<'_>) {
    let root = dom.root();
    if !matches!(cx.subresource, "status" | "binding") {
        keep(dom, root, "status", Some(old));
    }
}

pub(crate) fn prepare_status(_: &Context<'_>, dom: &mut Dom, old: Ref<'_>) {
    let root = dom.root();
    keep(dom, root, "spec", Some(old));
    let qos = old
        .at(&["status", "qosClass"])
        .and_then(Ref::as_str)
        .map(str::to_owned);
    if let Some(qos) = qos {
        let status = ensure_map(dom, root, "status");
        dom.set_str(status, "qosClass", &qos);
    }
}

pub(crate) fn validate(pod: Ref<'_>, errors: &mut Errors) {
    match pod.get("spec") {
        Some(spec) => spec_of(spec, &Path::new("spec"), errors),
        None => errors.push(FieldError::required(&Path::new("spec"), "")),
    }
}

/// A pod template of a workload.
pub(crate) fn template(template: Ref<'_>, at: &Path, errors: &mut Errors) {
    let meta = api::meta::of(template);
    let metadata = at.child("metadata");
    errors.extend(names::labels(meta.labels(), &metadata.child("labels")));
    errors.extend(names::annotations(
        meta.annotations(),
        &metadata.child("annotations"),
    ));
    match template.get("spec") {
        Some(spec) => spec_of(spec, &at.child("spec"), errors),
        None => errors.push(FieldError::required(&at.child("spec"), "")),
    }
}

fn spec_of(spec: Ref<'_>, at: &Path, errors: &mut Errors) {
    let volumes = volume::all(spec, &at.child("volumes"), errors);
    let mut seen = HashSet::new();
    let containers = at.child("containers");
    if spec.items("containers").next().is_none() {
        errors.push(FieldError::required(&containers, ""));
    }
    for (list, kind) in [
        ("containers", container::Kind::Main),
        ("initContainers", container::Kind::Init),
        ("ephemeralContainers", container::Kind::Ephemeral),
    ] {
        for (index, one) in spec.items(list).enumerate() {
            let path = at.child(list).index(index);
            let name = one.str("name");
            if !name.is_empty() && !seen.insert(name.to_owned()) {
                errors.push(FieldError::duplicate(&path.child("name"), name));
            }
            container::one(one, kind, &volumes, &path, errors);
        }
    }
    container::host_ports(spec, &containers, errors);
    one_of(
        spec,
        "restartPolicy",
        &["Always", "Never", "OnFailure"],
        at,
        errors,
    );
    if spec.str("restartPolicy").is_empty() {
        errors.push(FieldError::required(&at.child("restartPolicy"), ""));
    }
    let dns = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    one_of(spec, "dnsPolicy", &dns, at, errors);
    if spec.str("dnsPolicy") == "None"
        && spec
            .at(&["dnsConfig"])
            .is_none_or(|c| c.items("nameservers").next().is_none())
    {
        errors.push(FieldError::required(
            &at.child("dnsConfig").child("nameservers"),
            "must provide at least one DNS nameserver when `dnsPolicy` is None",
        ));
    }
    if let Some(seconds) = spec.int("terminationGracePeriodSeconds")
        && seconds < 0
    {
        errors.push(FieldError::invalid(
            &at.child("terminationGracePeriodSeconds"),
            seconds,
            "must be greater than or equal to 0",
        ));
    }
    if let Some(seconds) = spec.int("activeDeadlineSeconds")
        && !(1..=i64::from(i32::MAX)).contains(&seconds)
    {
        errors.push(FieldError::invalid(
            &at.child("activeDeadlineSeconds"),
            seconds,
            names::range_message(1, i64::from(i32::MAX)),
        ));
    }
    for key in [
        "serviceAccountName",
        "nodeName",
        "runtimeClassName",
        "priorityClassName",
    ] {
        let value = spec.str(key);
        if !value.is_empty() {
            for message in names::dns1123_subdomain(value) {
                errors.push(FieldError::invalid(&at.child(key), value, message));
            }
        }
    }
    for key in ["hostname", "subdomain"] {
        let value = spec.str(key);
        if !value.is_empty() {
            for message in names::dns1123_label(value) {
                errors.push(FieldError::invalid(&at.child(key), value, message));
            }
        }
    }
    errors.extend(names::labels(
        spec.entries("nodeSelector")
            .map(|(k, v)| (k, v.as_str().unwrap_or_default())),
        &at.child("nodeSelector"),
    ));
    tolerations(spec, &at.child("tolerations"), errors);
    if let Some(context) = spec.get("securityContext") {
        sysctls(
            context,
            &at.child("securityContext").child("sysctls"),
            errors,
        );
    }
    spread(spec, &at.child("topologySpreadConstraints"), errors);
}

fn sysctls(context: Ref<'_>, at: &Path, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for (index, sysctl) in context.items("sysctls").enumerate() {
        let path = at.index(index);
        let name = sysctl.str("name");
        let part = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|b| {
                    b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_')
                })
                && part.starts_with(|c: char| c.is_ascii_alphanumeric())
                && part.ends_with(|c: char| c.is_ascii_alphanumeric())
        };
        if name.is_empty() {
            errors.push(FieldError::required(&path.child("name"), ""));
        } else if name.len() > 253 || !name.split(['.', '/']).all(part) {
            let pattern = "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
            let detail = format!("must have at most 253 characters and match regex {pattern}");
            errors.push(FieldError::invalid(&path.child("name"), name, detail));
        } else if !seen.insert(name.replace('/', ".")) {
            errors.push(FieldError::duplicate(&path.child("name"), name));
        }
    }
}

fn tolerations(spec: Ref<'_>, at: &Path, errors: &mut Errors) {
    for (index, toleration) in spec.items("tolerations").enumerate() {
        let path = at.index(index);
        let key = toleration.str("key");
        if !key.is_empty() {
            for message in names::qualified_name(key) {
                errors.push(FieldError::invalid(&path.child("key"), key, message));
            }
        }
        let operator = toleration.str("operator");
        if key.is_empty() && operator != "Exists" {
            errors.push(FieldError::invalid(
                &path.child("operator"),
                operator,
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
            ));
        }
        if toleration.int("tolerationSeconds").is_some() && toleration.str("effect") != "NoExecute"
        {
            errors.push(FieldError::invalid(
                &path.child("effect"),
                toleration.str("effect"),
                "effect must be 'NoExecute' when `tolerationSeconds` is set",
            ));
        }
        if operator == "Exists" && !toleration.str("value").is_empty() {
            errors.push(FieldError::invalid(
                &path.child("operator"),
                shown(toleration),
                "value must be empty when `operator` is 'Exists'",
            ));
        }
        one_of(toleration, "operator", &["Equal", "Exists"], &path, errors);
        one_of(
            toleration,
            "effect",
            &["NoSchedule", "PreferNoSchedule", "NoExecute"],
            &path,
            errors,
        );
    }
}

fn spread(spec: Ref<'_>, at: &Path, errors: &mut Errors) {
    for (index, constraint) in spec.items("topologySpreadConstraints").enumerate() {
        let path = at.index(index);
        if constraint.int("maxSkew").unwrap_or(0) <= 0 {
            let skew = constraint.int("maxSkew").unwrap_or(0);
            errors.push(FieldError::invalid(
                &path.child("maxSkew"),
                skew,
                "must be greater than zero",
            ));
        }
        super::required(constraint, "topologyKey", &path, errors);
        one_of(
            constraint,
            "whenUnsatisfiable",
            &["DoNotSchedule", "ScheduleAnyway"],
            &path,
            errors,
        );
    }
}

const UPDATE: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// Sets what an update may change to what it was, so that the rest can be compared.
fn mask(dom: &mut Dom, old: Ref<'_>, gated: bool) {
    let root = dom.root();
    let spec = ensure_map(dom, root, "spec");
    let old_spec = old.get("spec");
    for list in ["containers", "initContainers"] {
        let olds: Vec<Ref<'_>> = old_spec.into_iter().flat_map(|s| s.items(list)).collect();
        let news: Vec<_> = match dom.get(spec, list) {
            Some(list) => dom.items(list).collect(),
            None => Vec::new(),
        };
        for (new, old) in news.into_iter().zip(olds) {
            keep(dom, new, "image", Some(old));
        }
    }
    for key in ["activeDeadlineSeconds", "tolerations"] {
        keep(dom, spec, key, old_spec);
    }
    if gated {
        for key in ["schedulingGates", "nodeSelector", "affinity"] {
            keep(dom, spec, key, old_spec);
        }
    } else {
        let gates = dom
            .get(spec, "schedulingGates")
            .is_none_or(|gates| dom.is_empty(gates));
        if gates {
            keep(dom, spec, "schedulingGates", old_spec);
        }
    }
    let negative = old_spec
        .and_then(|s| s.int("terminationGracePeriodSeconds"))
        .is_some_and(|s| s < 0);
    let one = dom
        .at(spec, &["terminationGracePeriodSeconds"])
        .map(|n| dom.value(n));
    if negative && one == Some(schema::Value::Int(1)) {
        keep(dom, spec, "terminationGracePeriodSeconds", old_spec);
    }
}

pub(crate) fn validate_update(new: Ref<'_>, old: Ref<'_>, errors: &mut Errors) {
    let at = Path::new("spec");
    let (Some(new_spec), Some(old_spec)) = (new.get("spec"), old.get("spec")) else {
        return;
    };
    for list in ["containers", "initContainers"] {
        let (n, o) = (new_spec.items(list).count(), old_spec.items(list).count());
        if n != o {
            let detail = if list == "containers" {
                "pod updates may not add or remove containers"
            } else {
                "pod updates may not add or remove init containers"
            };
            errors.push(FieldError::forbidden(&at.child(list), detail));
            return;
        }
    }
    let (n, o) = (
        new_spec.int("activeDeadlineSeconds"),
        old_spec.int("activeDeadlineSeconds"),
    );
    if let Some(old_seconds) = o {
        let path = at.child("activeDeadlineSeconds");
        match n {
            Some(seconds) if seconds > old_seconds => errors.push(FieldError::invalid(
                &path,
                seconds,
                "must be less than or equal to previous value",
            )),
            None => errors.push(FieldError::invalid(
                &path,
                api::BadValue::Raw("null".to_owned()),
                "must not update from a positive integer to nil value",
            )),
            _ => {}
        }
    }
    let same = |one: Ref<'_>, other: Ref<'_>| {
        ["key", "operator", "value", "effect"]
            .into_iter()
            .all(|key| one.str(key) == other.str(key))
    };
    let kept = |old: Ref<'_>| new_spec.items("tolerations").any(|new| same(new, old));
    if !old_spec.items("tolerations").all(kept) {
        errors.push(FieldError::forbidden(
            &at.child("tolerations"),
            "existing toleration can not be modified except its tolerationSeconds",
        ));
    }
    let gates = |spec: Ref<'_>| -> Vec<String> {
        spec.items("schedulingGates")
            .map(|g| g.str("name").to_owned())
            .collect()
    };
    let old_gates = gates(old_spec);
    for gate in gates(new_spec) {
        if !old_gates.contains(&gate) {
            let detail = "only deletion is allowed, but found new scheduling gate";
            errors.push(FieldError::forbidden(
                &at.child("schedulingGates"),
                format!("{detail} '{gate}'"),
            ));
        }
    }
    let mut masked = Dom::new();
    let root = masked.import(new.dom(), new.node());
    masked.set_root(root);
    mask(&mut masked, old, !old_gates.is_empty());
    let same = masked
        .as_ref()
        .get("spec")
        .is_some_and(|spec| spec.equal(old_spec));
    if !same {
        errors.push(FieldError::forbidden(&at, UPDATE));
    }
}
