//! What objects count for a ResourceQuota, and which objects a quota's scopes select.
//!
//! Read by admission (what a create adds) and by the controller that recounts. Knows no storage.
//! Source: kubernetes v1.36.3 pkg/quota/v1/evaluator/core/{pods,services,
//! persistent_volume_claims}.go, apiserver/pkg/quota/v1/generic/evaluator.go.

use std::collections::BTreeMap;

use schema::{Ref, Value};

use crate::{Format, Gr, Quantity, pod};

fn count(number: usize) -> Quantity {
    Quantity::new(i64::try_from(number).unwrap_or(i64::MAX), Format::DecimalSi)
}

fn quantity(node: Option<Ref<'_>>) -> Option<Quantity> {
    match node?.value() {
        Value::Str(text) => Quantity::parse(text).ok(),
        Value::Int(number) => Quantity::parse(&number.to_string()).ok(),
        _ => None,
    }
}

/// What an object uses, by the names that quotas limit.
#[must_use]
pub fn usage(resource: &Gr, object: Ref<'_>) -> BTreeMap<String, Quantity> {
    let mut used = BTreeMap::new();
    used.insert(format!("count/{resource}"), count(1));
    if !resource.group.is_empty() {
        return used;
    }
    let spec = object.get("spec");
    match resource.resource.as_str() {
        "pods" => pod_usage(object, &mut used),
        "services" => {
            used.insert("services".into(), count(1));
            let ports = spec.map_or(0, |spec| spec.items("ports").count());
            match spec.map_or("", |spec| spec.str("type")) {
                "NodePort" => {
                    used.insert("services.nodeports".into(), count(ports));
                }
                "LoadBalancer" => {
                    let allocates = spec.and_then(|s| s.bool("allocateLoadBalancerNodePorts"));
                    let ports = if allocates.unwrap_or(true) { ports } else { 0 };
                    used.insert("services.nodeports".into(), count(ports));
                    used.insert("services.loadbalancers".into(), count(1));
                }
                _ => {}
            }
        }
        "persistentvolumeclaims" => {
            used.insert("persistentvolumeclaims".into(), count(1));
            let size = quantity(object.at(&["spec", "resources", "requests", "storage"]));
            let class = spec.map_or("", |spec| spec.str("storageClassName"));
            let prefix = format!("{class}.storageclass.storage.k8s.io");
            if !class.is_empty() {
                used.insert(format!("{prefix}/persistentvolumeclaims"), count(1));
            }
            if let Some(size) = size {
                if !class.is_empty() {
                    used.insert(format!("{prefix}/requests.storage"), size.clone());
                }
                used.insert("requests.storage".into(), size);
            }
        }
        plural @ ("secrets" | "configmaps" | "replicationcontrollers" | "resourcequotas") => {
            used.insert(plural.to_owned(), count(1));
        }
        _ => {}
    }
    used
}

/// A pod that has ended counts as a stored object only.
fn pod_usage(object: Ref<'_>, used: &mut BTreeMap<String, Quantity>) {
    if pod::is_terminal(object) {
        return;
    }
    used.insert("pods".into(), count(1));
    let options = pod::RequestOptions::default();
    for (name, amount) in pod::requests(object, &options) {
        if is_standard(&name) {
            used.insert(name.clone(), amount.clone());
        }
        used.insert(format!("requests.{name}"), amount);
    }
    for (name, amount) in pod::limits(object, &options) {
        if is_standard(&name) {
            used.insert(format!("limits.{name}"), amount);
        }
    }
}

fn is_standard(name: &str) -> bool {
    matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-")
}

/// Whether the quota's scopes select an object of this kind.
#[must_use]
pub fn selects(quota: Ref<'_>, kind: &str, object: Ref<'_>) -> bool {
    let Some(spec) = quota.get("spec") else {
        return true;
    };
    let plain = spec.items("scopes").filter_map(Ref::as_str);
    let mut scopes: Vec<(&str, &str, Vec<&str>)> =
        plain.map(|scope| (scope, "Exists", Vec::new())).collect();
    let selector = spec.get("scopeSelector");
    for expression in selector
        .into_iter()
        .flat_map(|s| s.items("matchExpressions"))
    {
        let values = expression.items("values").filter_map(Ref::as_str).collect();
        scopes.push((
            expression.str("scopeName"),
            expression.str("operator"),
            values,
        ));
    }
    if scopes.is_empty() {
        return true;
    }
    if kind != "Pod" {
        return false;
    }
    let deadline = object.at(&["spec", "activeDeadlineSeconds"]);
    let deadline = deadline.and_then(Ref::as_int);
    let class = object
        .get("spec")
        .map_or("", |spec| spec.str("priorityClassName"));
    scopes.iter().all(|(scope, operator, values)| match *scope {
        "Terminating" => deadline.is_some(),
        "NotTerminating" => deadline.is_none(),
        "BestEffort" => pod::compute_qos(object) == pod::Qos::BestEffort,
        "NotBestEffort" => pod::compute_qos(object) != pod::Qos::BestEffort,
        "PriorityClass" => match *operator {
            "In" => values.contains(&class),
            "NotIn" => !values.contains(&class),
            "DoesNotExist" => class.is_empty(),
            _ => !class.is_empty(),
        },
        _ => false,
    })
}

/// The resource whose objects a limited name counts: `count/jobs.batch`, `requests.storage`.
#[must_use]
pub fn counted(name: &str) -> Gr {
    if let Some(resource) = name.strip_prefix("count/") {
        let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
        return Gr::new(group, resource);
    }
    let resource = match name {
        "services" | "services.nodeports" | "services.loadbalancers" => "services",
        "replicationcontrollers" | "resourcequotas" | "secrets" | "configmaps" => name,
        "persistentvolumeclaims" | "requests.storage" => "persistentvolumeclaims",
        _ if name.contains(".storageclass.storage.k8s.io/") => "persistentvolumeclaims",
        _ => "pods",
    };
    Gr::new("", resource)
}

#[cfg(test)]
mod tests;
