//! Deployments and their kin.
//!
//! Source: kubernetes v1.36.3 pkg/apis/{apps,core,policy,autoscaling}/validation.

use api::{FieldError, Path, meta, names};
use schema::{Dom, Ref, Value};

use crate::hooks::Context;

use super::{Errors, immutable, label_selector, non_negative, one_of, pod, shown};

/// Selector and template of a workload; the selector must choose the template's labels.
fn template_and_selector(object: Ref<'_>, restart: &[&str], errors: &mut Errors) {
    let at = Path::new("spec");
    let Some(spec) = object.get("spec") else {
        errors.push(FieldError::required(&at, ""));
        return;
    };
    let template_at = at.child("template");
    match spec.get("selector") {
        None => errors.push(FieldError::required(&at.child("selector"), "")),
        Some(selector) => {
            label_selector(selector, &at.child("selector"), errors);
            let empty = selector.items("matchExpressions").next().is_none()
                && selector.entries("matchLabels").next().is_none();
            if empty {
                let detail = "empty selector is invalid for deployment";
                errors.push(FieldError::invalid(
                    &at.child("selector"),
                    api::BadValue::Raw(shown(selector)),
                    detail,
                ));
            } else if let (Ok(selector), Some(template)) =
                (meta::label_selector(Some(selector)), spec.get("template"))
                && !meta::of(template).matches(&selector)
            {
                let labels = template.at(&["metadata", "labels"]);
                let shown = labels.map_or_else(|| "null".to_owned(), shown);
                errors.push(FieldError::invalid(
                    &template_at.child("metadata").child("labels"),
                    api::BadValue::Raw(shown),
                    "`selector` does not match template `labels`",
                ));
            }
        }
    }
    let Some(template) = spec.get("template") else {
        errors.push(FieldError::required(&template_at, ""));
        return;
    };
    pod::template(template, &template_at, errors);
    let policy = template
        .at(&["spec", "restartPolicy"])
        .and_then(Ref::as_str)
        .unwrap_or_default();
    if !policy.is_empty() && !restart.contains(&policy) {
        let path = template_at.child("spec").child("restartPolicy");
        errors.push(FieldError::not_supported(&path, policy, restart));
    }
    for key in ["replicas", "minReadySeconds", "revisionHistoryLimit"] {
        non_negative(spec, key, &at, errors);
    }
}

pub(crate) fn deployment(object: Ref<'_>, errors: &mut Errors) {
    template_and_selector(object, &["Always"], errors);
    let at = Path::new("spec");
    let Some(spec) = object.get("spec") else {
        return;
    };
    if let Some(strategy) = spec.get("strategy") {
        let at = at.child("strategy");
        match strategy.str("type") {
            "Recreate" => {
                if strategy.get("rollingUpdate").is_some() {
                    let detail = "may not be specified when strategy `type` is 'Recreate'";
                    errors.push(FieldError::forbidden(&at.child("rollingUpdate"), detail));
                }
            }
            "RollingUpdate" => {
                if let Some(rolling) = strategy.get("rollingUpdate") {
                    let at = at.child("rollingUpdate");
                    let zero = |key: &str| {
                        matches!(
                            rolling.get(key).map(Ref::value),
                            Some(Value::Int(0) | Value::Str("0%"))
                        )
                    };
                    if zero("maxUnavailable") && zero("maxSurge") {
                        errors.push(FieldError::invalid(
                            &at.child("maxUnavailable"),
                            "0",
                            "may not be 0 when `maxSurge` is 0",
                        ));
                    }
                }
            }
            other => {
                let path = at.child("type");
                errors.push(FieldError::not_supported(
                    &path,
                    other,
                    &["Recreate", "RollingUpdate"],
                ));
            }
        }
    }
    non_negative(spec, "progressDeadlineSeconds", &at, errors);
    if let Some(deadline) = spec.int("progressDeadlineSeconds")
        && deadline <= spec.int("minReadySeconds").unwrap_or(0)
    {
        let path = at.child("progressDeadlineSeconds");
        errors.push(FieldError::invalid(
            &path,
            deadline,
            "must be greater than minReadySeconds",
        ));
    }
}

pub(crate) fn replica_set(object: Ref<'_>, errors: &mut Errors) {
    template_and_selector(object, &["Always"], errors);
}

/// A Deployment's annotations are part of what is wanted.
pub(crate) fn prepare_deployment_update(_: &Context<'_>, dom: &mut Dom, old: Ref<'_>) {
    let at = ["metadata", "annotations"];
    let same = match (dom.as_ref().at(&at), old.at(&at)) {
        (Some(new), Some(old)) => old.equal(new),
        (Some(one), None) | (None, Some(one)) => one.is_empty(),
        (None, None) => true,
    };
    if !same {
        let root = dom.root();
        let meta = crate::edit::ensure_map(dom, root, "metadata");
        dom.set_int(meta, "generation", api::meta::of(old).generation() + 1);
    }
}

/// Where the first versions of the API counted a DaemonSet's templates.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

pub(crate) fn prepare_daemon_set(_: &Context<'_>, dom: &mut Dom) {
    count_templates(dom, 1);
}

pub(crate) fn prepare_daemon_set_update(_: &Context<'_>, dom: &mut Dom, old: Ref<'_>) {
    let before = api::meta::of(old).annotation(TEMPLATE_GENERATION);
    let before: i64 = before.and_then(|text| text.parse().ok()).unwrap_or(0);
    let at = ["spec", "template"];
    let same = match (dom.as_ref().at(&at), old.at(&at)) {
        (Some(new), Some(old)) => old.equal(new),
        (new, old) => new.is_none() && old.is_none(),
    };
    count_templates(dom, if same { before } else { before + 1 });
}

fn count_templates(dom: &mut Dom, count: i64) {
    let root = dom.root();
    let meta = crate::edit::ensure_map(dom, root, "metadata");
    let annotations = crate::edit::ensure_map(dom, meta, "annotations");
    dom.set_str(annotations, TEMPLATE_GENERATION, &count.to_string());
}

pub(crate) fn daemon_set(object: Ref<'_>, errors: &mut Errors) {
    template_and_selector(object, &["Always"], errors);
    let strategy = object.at(&["spec", "updateStrategy"]);
    if let Some(strategy) = strategy {
        let at = Path::new("spec").child("updateStrategy");
        one_of(
            strategy,
            "type",
            &["OnDelete", "RollingUpdate"],
            &at,
            errors,
        );
    }
}

/// The pods of a StatefulSet get a volume for each claim template: so does a copy of the object.
fn with_claims(object: Ref<'_>) -> Option<Dom> {
    let spec = object.get("spec")?;
    spec.items("volumeClaimTemplates").next()?;
    let mut dom = Dom::new();
    let root = dom.import(object.dom(), object.node());
    dom.set_root(root);
    let pod = dom.at(root, &["spec", "template", "spec"])?;
    let volumes = dom.ensure_list(pod, "volumes");
    for template in spec.items("volumeClaimTemplates") {
        let name = meta::of(template).name();
        let known = dom
            .items(volumes)
            .position(|volume| dom.at_node(volume).str("name") == name);
        if let Some(at) = known {
            dom.remove_item(volumes, at);
        }
        let volume = dom.new_map();
        dom.set_str(volume, "name", name);
        let claim = dom.ensure_map(volume, "persistentVolumeClaim");
        dom.set_str(claim, "claimName", name);
        dom.push(volumes, volume);
    }
    Some(dom)
}

pub(crate) fn stateful_set(object: Ref<'_>, errors: &mut Errors) {
    match with_claims(object) {
        Some(dom) => template_and_selector(dom.as_ref(), &["Always"], errors),
        None => template_and_selector(object, &["Always"], errors),
    }
    let at = Path::new("spec");
    let Some(spec) = object.get("spec") else {
        return;
    };
    one_of(
        spec,
        "podManagementPolicy",
        &["OrderedReady", "Parallel"],
        &at,
        errors,
    );
    if let Some(strategy) = spec.get("updateStrategy") {
        let at = at.child("updateStrategy");
        one_of(
            strategy,
            "type",
            &["OnDelete", "RollingUpdate"],
            &at,
            errors,
        );
    }
}

pub(crate) fn immutable_selector(new: Ref<'_>, old: Ref<'_>, errors: &mut Errors) {
    let path = Path::new("spec").child("selector");
    immutable(
        new.at(&["spec", "selector"]),
        old.at(&["spec", "selector"]),
        &path,
        errors,
    );
}

pub(crate) fn stateful_set_update(new: Ref<'_>, old: Ref<'_>, errors: &mut Errors) {
    const FREE: [&str; 7] = [
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
        "revisionHistoryLimit",
    ];
    let at = Path::new("spec");
    let (Some(new), Some(old)) = (new.get("spec"), old.get("spec")) else {
        return;
    };
    let fixed = |spec: Ref<'_>| -> Vec<(String, Vec<u8>)> {
        let fixed = spec.map().filter(|(key, _)| !FREE.contains(key));
        let mut fixed: Vec<_> = fixed.map(|(k, v)| (k.to_owned(), v.to_json())).collect();
        fixed.sort();
        fixed
    };
    if fixed(new) != fixed(old) {
        let detail = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
        errors.push(FieldError::forbidden(&at, detail));
    }
}

pub(crate) fn replication_controller(object: Ref<'_>, errors: &mut Errors) {
    let at = Path::new("spec");
    let Some(spec) = object.get("spec") else {
        errors.push(FieldError::required(&at, ""));
        return;
    };
    non_negative(spec, "replicas", &at, errors);
    non_negative(spec, "minReadySeconds", &at, errors);
    let selector = spec.get("selector");
    if selector.is_none_or(Ref::is_empty) {
        errors.push(FieldError::required(&at.child("selector"), ""));
    }
    let Some(template) = spec.get("template") else {
        errors.push(FieldError::required(&at.child("template"), ""));
        return;
    };
    let labels = meta::of(template);
    for (key, value) in spec.entries("selector") {
        if labels.label(key) != value.as_str() {
            let shown = template
                .at(&["metadata", "labels"])
                .map_or_else(|| "null".to_owned(), shown);
            errors.push(FieldError::invalid(
                &at.child("template").child("metadata").child("labels"),
                api::BadValue::Raw(shown),
                "`selector` does not match template `labels`",
            ));
            break;
        }
    }
    pod::template(template, &at.child("template"), errors);
    let policy = template
        .at(&["spec", "restartPolicy"])
        .and_then(Ref::as_str)
        .unwrap_or_default();
    if policy != "Always" && !policy.is_empty() {
        let path = at.child("template").child("spec").child("restartPolicy");
        errors.push(FieldError::not_supported(&path, policy, &["Always"]));
    }
}

pub(crate) fn controller_revision(object: Ref<'_>, errors: &mut Errors) {
    if object.get("data").is_none_or(Ref::is_null) {
        errors.push(FieldError::required(
            &Path::new("data"),
            "data is mandatory",
        ));
    }
    if object.int("revision").unwrap_or(0) < 0 {
        let value = object.int("revision").unwrap_or(0);
        let detail = "must be greater than or equal to 0";
        errors.push(FieldError::invalid(&Path::new("revision"), value, detail));
    }
}

pub(crate) fn controller_revision_update(new: Ref<'_>, old: Ref<'_>, errors: &mut Errors) {
    immutable(new.get("data"), old.get("data"), &Path::new("data"), errors);
}

pub(crate) fn disruption_budget(object: Ref<'_>, errors: &mut Errors) {
    let at = Path::new("spec");
    let Some(spec) = object.get("spec") else {
        return;
    };
    if spec.get("minAvailable").is_some() && spec.get("maxUnavailable").is_some() {
        let detail = "minAvailable and maxUnavailable cannot be both set";
        errors.push(FieldError::invalid(
            &at,
            api::BadValue::Raw(shown(spec)),
            detail,
        ));
    }
    for key in ["minAvailable", "maxUnavailable"] {
        match spec.get(key).map(Ref::value) {
            Some(Value::Int(number)) if number < 0 => {
                let detail = "must be greater than or equal to 0";
                errors.push(FieldError::invalid(&at.child(key), number, detail));
            }
            Some(Value::Str(text)) => {
                for message in names::percent(text) {
                    errors.push(FieldError::invalid(&at.child(key), text, message));
                }
            }
            _ => {}
        }
    }
    if let Some(selector) = spec.get("selector") {
        label_selector(selector, &at.child("selector"), errors);
    }
}
