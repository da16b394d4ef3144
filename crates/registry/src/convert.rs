//! Conversions between the views of the two rows that have two.
//!
//! Source: kubernetes v1.36.3 pkg/apis/core/v1 and pkg/apis/events/v1 conversion (one internal
//! Event), pkg/apis/autoscaling/v1/conversion.go.

use schema::{Dom, Node, Value};

const EVENT: [(&str, &str); 7] = [
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
    ("reportingController", "reportingComponent"),
];

/// Moves a member to another name.
fn rename(dom: &mut Dom, map: Node, from: &str, to: &str) {
    if let Some(value) = dom.get(map, from) {
        let copy = dom.copy(value);
        dom.remove(map, from);
        dom.set(map, to, copy);
    }
}

/// events.k8s.io/v1 → v1
pub(crate) fn event_to_core(dom: &mut Dom) {
    let root = dom.root();
    for (new, core) in EVENT {
        rename(dom, root, new, core);
    }
}

/// v1 → events.k8s.io/v1
pub(crate) fn event_from_core(dom: &mut Dom) {
    let root = dom.root();
    for (new, core) in EVENT {
        rename(dom, root, core, new);
    }
}

/// autoscaling/v1 → autoscaling/v2
pub(crate) fn autoscaler_from_v1(dom: &mut Dom) {
    let root = dom.root();
    if let Some(spec) = dom.get(root, "spec")
        && let Some(target) = dom.get(spec, "targetCPUUtilizationPercentage")
    {
        let percent = dom.copy(target);
        dom.remove(spec, "targetCPUUtilizationPercentage");
        let metric = cpu(dom, "target");
        if let Some(target) = dom.at(metric, &["resource", "target"]) {
            dom.set_str(target, "type", "Utilization");
            dom.set(target, "averageUtilization", percent);
        }
        let list = dom.new_list();
        dom.push(list, metric);
        dom.set(spec, "metrics", list);
    }
    if let Some(status) = dom.get(root, "status")
        && let Some(current) = dom.get(status, "currentCPUUtilizationPercentage")
    {
        let percent = dom.copy(current);
        dom.remove(status, "currentCPUUtilizationPercentage");
        let metric = cpu(dom, "current");
        if let Some(current) = dom.at(metric, &["resource", "current"]) {
            dom.set(current, "averageUtilization", percent);
        }
        let list = dom.new_list();
        dom.push(list, metric);
        dom.set(status, "currentMetrics", list);
    }
}

fn cpu(dom: &mut Dom, member: &str) -> Node {
    let metric = dom.new_map();
    dom.set_str(metric, "type", "Resource");
    let resource = dom.new_map();
    dom.set(metric, "resource", resource);
    dom.set_str(resource, "name", "cpu");
    let inner = dom.new_map();
    dom.set(resource, member, inner);
    metric
}

/// autoscaling/v2 → autoscaling/v1: the CPU metric becomes a field, the rest an annotation.
pub(crate) fn autoscaler_to_v1(dom: &mut Dom) {
    let root = dom.root();
    for (part, list, member, field, key) in [
        (
            "spec",
            "metrics",
            "target",
            "targetCPUUtilizationPercentage",
            "autoscaling.alpha.kubernetes.io/metrics",
        ),
        (
            "status",
            "currentMetrics",
            "current",
            "currentCPUUtilizationPercentage",
            "autoscaling.alpha.kubernetes.io/current-metrics",
        ),
    ] {
        let Some(part) = dom.get(root, part) else {
            continue;
        };
        let Some(metrics) = dom.get(part, list) else {
            continue;
        };
        let mut others = Vec::new();
        let mut found = None;
        for metric in dom.items(metrics).collect::<Vec<_>>() {
            let name = dom
                .at(metric, &["resource", "name"])
                .and_then(|n| dom.as_str(n));
            let percent = dom.at(metric, &["resource", member, "averageUtilization"]);
            match percent {
                Some(percent) if name == Some("cpu") && found.is_none() => found = Some(percent),
                _ => others.push(dom.at_node(metric).to_json()),
            }
        }
        if let Some(percent) = found
            && matches!(dom.value(percent), Value::Int(_))
        {
            let percent = dom.copy(percent);
            dom.set(part, field, percent);
        }
        dom.remove(part, list);
        if !others.is_empty() {
            let text = format!(
                "[{}]",
                others
                    .iter()
                    .map(|o| String::from_utf8_lossy(o))
                    .collect::<Vec<_>>()
                    .join(",")
            );
            let meta = crate::edit::ensure_map(dom, root, "metadata");
            let annotations = crate::edit::ensure_map(dom, meta, "annotations");
            dom.set_str(annotations, key, &text);
        }
    }
    if let Some(spec) = dom.get(root, "spec") {
        dom.remove(spec, "behavior");
    }
    if let Some(status) = dom.get(root, "status") {
        dom.remove(status, "conditions");
    }
}
