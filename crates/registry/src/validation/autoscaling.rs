//! Autoscalers.
//!
//! Source: kubernetes v1.36.3 pkg/apis/autoscaling/validation/validation.go.

use api::{FieldError, Path, names};
use schema::Ref;

use super::{Errors, one_of};

const TYPES: [&str; 5] = [
    "ContainerResource",
    "External",
    "Object",
    "Pods",
    "Resource",
];
/// Members of a metric in the order in which they are looked at, with their types.
const SOURCES: [(&str, &str); 5] = [
    ("object", "Object"),
    ("external", "External"),
    ("pods", "Pods"),
    ("resource", "Resource"),
    ("containerResource", "ContainerResource"),
];

/// An autoscaler in v2, which is stored.
pub(crate) fn autoscaler(object: Ref<'_>, errors: &mut Errors) {
    let at = Path::new("spec");
    let empty = schema::Dom::new();
    let spec = object.get("spec").unwrap_or_else(|| empty.as_ref());
    let (min, max) = (
        spec.int("minReplicas"),
        spec.int("maxReplicas").unwrap_or(0),
    );
    let path = at.child("maxReplicas");
    if let Some(min) = min.filter(|min| *min < 1) {
        let detail = "must be greater than or equal to 1";
        errors.push(FieldError::invalid(&at.child("minReplicas"), min, detail));
    }
    if max == 0 {
        errors.push(FieldError::required(
            &path,
            "must be set and greater than 0",
        ));
    } else if max < 0 {
        let detail = "must be greater than or equal to 1";
        errors.push(FieldError::invalid(&path, max, detail));
    }
    if min.is_some_and(|min| max < min) {
        let detail = "must be greater than or equal to `minReplicas`";
        errors.push(FieldError::invalid(&path, max, detail));
    }
    reference(
        spec.get("scaleTargetRef"),
        &at.child("scaleTargetRef"),
        errors,
    );
    for (index, metric) in spec.items("metrics").enumerate() {
        self::metric(metric, &at.child("metrics").index(index), errors);
    }
    for (key, rules) in spec.entries("behavior") {
        self::rules(rules, &at.child("behavior").child(key), errors);
    }
}

fn reference(reference: Option<Ref<'_>>, at: &Path, errors: &mut Errors) {
    for key in ["kind", "name"] {
        let value = reference.map_or("", |reference| reference.str(key));
        if value.is_empty() {
            errors.push(FieldError::required(&at.child(key), ""));
        } else {
            for message in names::name_is_path_segment(value, false) {
                errors.push(FieldError::invalid(&at.child(key), value, message));
            }
        }
    }
}

/// The version of a new autoscaler's target; later ones may keep what they have.
pub(crate) fn autoscaler_create(object: Ref<'_>, errors: &mut Errors) {
    let Some(target) = object.at(&["spec", "scaleTargetRef"]) else {
        return;
    };
    let version = target.str("apiVersion");
    let detail = match version.matches('/').count() {
        0 if target.str("kind") != "ReplicationController" => {
            "apiVersion must specify API group".to_owned()
        }
        0 | 1 => return,
        _ => format!("unexpected GroupVersion string: {version}"),
    };
    let at = Path::new("spec")
        .child("scaleTargetRef")
        .child("apiVersion");
    errors.push(FieldError::invalid(&at, version, detail));
}

fn metric(metric: Ref<'_>, at: &Path, errors: &mut Errors) {
    let kind = metric.str("type");
    let unknown = |errors: &mut Errors| {
        let path = at.child("type");
        errors.push(FieldError::not_supported(&path, kind, &TYPES));
    };
    if kind.is_empty() {
        let detail = "must specify a metric source type";
        errors.push(FieldError::required(&at.child("type"), detail));
    }
    if !TYPES.contains(&kind) {
        unknown(errors);
    }
    let present: Vec<(&str, &str, Ref<'_>)> = SOURCES
        .iter()
        .filter_map(|(key, of)| Some((*key, *of, metric.get(key).filter(|one| !one.is_null())?)))
        .collect();
    if let Some((key, of, one)) = present.first() {
        source(of, *one, &at.child(key), errors);
    }
    let expected = SOURCES.iter().find(|(_, of)| *of == kind);
    match expected {
        Some((key, _)) if !present.iter().any(|(known, ..)| known == key) => {
            let detail = "must populate information for the given metric source";
            errors.push(FieldError::required(&at.child(key), detail));
        }
        Some(_) => {}
        None => unknown(errors),
    }
    if present.len() > 1 {
        for (key, ..) in present.iter().filter(|(_, of, _)| *of != kind) {
            let detail = "must populate the given metric source only";
            errors.push(FieldError::forbidden(&at.child(key), detail));
        }
    }
}

fn source(kind: &str, source: Ref<'_>, at: &Path, errors: &mut Errors) {
    if kind == "Object" {
        reference(
            source.get("describedObject"),
            &at.child("describedObject"),
            errors,
        );
    }
    if matches!(kind, "Object" | "External" | "Pods") {
        let name = source
            .at(&["metric", "name"])
            .and_then(Ref::as_str)
            .unwrap_or_default();
        let path = at.child("metric").child("name");
        if name.is_empty() {
            errors.push(FieldError::required(&path, "must specify a metric name"));
        } else {
            for message in names::name_is_path_segment(name, false) {
                errors.push(FieldError::invalid(&path, name, message));
            }
        }
    } else {
        let name = source.str("name");
        let path = at.child("name");
        if name.is_empty() {
            errors.push(FieldError::required(&path, "must specify a resource name"));
        } else if kind == "ContainerResource" {
            resource_name(name, &path, errors);
        }
    }
    if kind == "ContainerResource" {
        let path = at.child("container");
        let name = source.str("container");
        if name.is_empty() {
            errors.push(FieldError::required(&path, "must specify a container"));
        } else {
            for message in names::dns1123_label(name) {
                errors.push(FieldError::invalid(&path, name, message));
            }
        }
    }
    let at = at.child("target");
    let target = source.get("target");
    self::target(target, &at, errors);
    let has = |key: &str| {
        target
            .and_then(|t| t.get(key))
            .is_some_and(|v| !v.is_null())
    };
    let (value, average, share) = (has("value"), has("averageValue"), has("averageUtilization"));
    match kind {
        "Object" if !value && !average => errors.push(FieldError::required(
            &at.child("averageValue"),
            "must set either a target value or averageValue",
        )),
        "External" if !value && !average => errors.push(FieldError::required(
            &at.child("averageValue"),
            "must set either a target value for metric or a per-pod target",
        )),
        "External" if value && average => errors.push(FieldError::forbidden(
            &at.child("value"),
            "may not set both a target value for metric and a per-pod target",
        )),
        "Pods" if !average => errors.push(FieldError::required(
            &at.child("averageValue"),
            "must specify a positive target averageValue",
        )),
        "Resource" | "ContainerResource" if !share && !average => {
            errors.push(FieldError::required(
                &at.child("averageUtilization"),
                "must set either a target raw value or a target utilization",
            ));
        }
        "Resource" | "ContainerResource" if share && average => {
            errors.push(FieldError::forbidden(
                &at.child("averageValue"),
                "may not set both a target raw value and a target utilization",
            ));
        }
        _ => {}
    }
}

/// A container's resource: qualified, or one of Kubernetes' own.
fn resource_name(name: &str, at: &Path, errors: &mut Errors) {
    for message in names::qualified_name(name) {
        errors.push(FieldError::invalid(at, name, message));
    }
    if name.contains('/') {
        return;
    }
    let known = matches!(name, "cpu" | "memory" | "ephemeral-storage" | "storage")
        || name.starts_with("hugepages-");
    if !known {
        let detail = "must be a standard resource type or fully qualified";
        errors.push(FieldError::invalid(at, name, detail));
    }
    if !known || name == "storage" {
        let detail = "must be a standard resource for containers";
        errors.push(FieldError::invalid(at, name, detail));
    }
}

fn target(target: Option<Ref<'_>>, at: &Path, errors: &mut Errors) {
    let kind = target.map_or("", |target| target.str("type"));
    if kind.is_empty() {
        let detail = "must specify a metric target type";
        errors.push(FieldError::required(&at.child("type"), detail));
    }
    if !["AverageValue", "Utilization", "Value"].contains(&kind) {
        let detail = "must be either Utilization, Value, or AverageValue";
        errors.push(FieldError::invalid(&at.child("type"), kind, detail));
    }
    let Some(target) = target else { return };
    for key in ["value", "averageValue"] {
        let Some(node) = target.get(key).filter(|node| !node.is_null()) else {
            continue;
        };
        let text = crate::columns::scalar(Some(node));
        if api::Quantity::parse(&text).is_ok_and(|quantity| quantity.sign() <= 0) {
            errors.push(FieldError::invalid(
                &at.child(key),
                text,
                "must be positive",
            ));
        }
    }
    if let Some(share) = target.int("averageUtilization").filter(|share| *share < 1) {
        let path = at.child("averageUtilization");
        errors.push(FieldError::invalid(&path, share, "must be greater than 0"));
    }
}

/// How fast replicas may come or go.
fn rules(rules: Ref<'_>, at: &Path, errors: &mut Errors) {
    let path = at.child("stabilizationWindowSeconds");
    match rules.int("stabilizationWindowSeconds") {
        Some(seconds) if seconds < 0 => {
            let detail = "must be greater than or equal to zero";
            errors.push(FieldError::invalid(&path, seconds, detail));
        }
        Some(seconds) if seconds > 3600 => {
            let detail = "must be less than or equal to 3600";
            errors.push(FieldError::invalid(&path, seconds, detail));
        }
        _ => {}
    }
    one_of(
        rules,
        "selectPolicy",
        &["Disabled", "Max", "Min"],
        at,
        errors,
    );
    let at = at.child("policies");
    if rules.items("policies").next().is_none() {
        errors.push(FieldError::required(
            &at,
            "must specify at least one Policy",
        ));
    }
    for (index, policy) in rules.items("policies").enumerate() {
        let at = at.index(index);
        let kinds = ["Percent", "Pods"];
        if !kinds.contains(&policy.str("type")) {
            let path = at.child("type");
            errors.push(FieldError::not_supported(&path, policy.str("type"), &kinds));
        }
        for key in ["value", "periodSeconds"] {
            let number = policy.int(key).unwrap_or(0);
            if number <= 0 {
                let detail = "must be greater than zero";
                errors.push(FieldError::invalid(&at.child(key), number, detail));
            }
            if key == "periodSeconds" && number > 1800 {
                let detail = "must be less than or equal to 1800";
                errors.push(FieldError::invalid(&at.child(key), number, detail));
            }
        }
    }
}

#[cfg(test)]
mod tests;
