//! Defaults of workloads.
//!
//! Source: kubernetes v1.36.3 pkg/apis/{apps,batch,autoscaling}/*/defaults.go.

use schema::{Dom, Node, Value};

use super::pod;
use crate::edit::{default_bool, default_int, default_str, ensure_map, get, items, map, text};

fn spec_with_template(dom: &mut Dom) -> Node {
    let root = dom.root();
    let spec = ensure_map(dom, root, "spec");
    if let Some(template) = map(dom, spec, "template") {
        pod::template(dom, template);
    }
    spec
}

/// A rolling-update limit: 25 % where nothing is said.
fn percent(dom: &mut Dom, map: Node, key: &str, value: &str) {
    if get(dom, map, key).is_none() {
        dom.set_str(map, key, value);
    }
}

pub(crate) fn deployment(dom: &mut Dom) {
    let spec = spec_with_template(dom);
    default_int(dom, spec, "replicas", 1);
    let strategy = ensure_map(dom, spec, "strategy");
    default_str(dom, strategy, "type", "RollingUpdate");
    if text(dom, strategy, "type") == "RollingUpdate" {
        let rolling = ensure_map(dom, strategy, "rollingUpdate");
        percent(dom, rolling, "maxUnavailable", "25%");
        percent(dom, rolling, "maxSurge", "25%");
    }
    default_int(dom, spec, "revisionHistoryLimit", 10);
    default_int(dom, spec, "progressDeadlineSeconds", 600);
}

pub(crate) fn replica_set(dom: &mut Dom) {
    let spec = spec_with_template(dom);
    default_int(dom, spec, "replicas", 1);
}

fn copy_labels(dom: &mut Dom, from: Node, into: Node, key: &str) {
    let copy = dom.copy(from);
    dom.set(into, key, copy);
}

pub(crate) fn replication_controller(dom: &mut Dom) {
    let spec = spec_with_template(dom);
    default_int(dom, spec, "replicas", 1);
    let root = dom.root();
    let labels = map(dom, spec, "template")
        .and_then(|template| map(dom, template, "metadata"))
        .and_then(|meta| map(dom, meta, "labels"))
        .filter(|&labels| !dom.is_empty(labels));
    let Some(labels) = labels else { return };
    if map(dom, spec, "selector").is_none_or(|selector| dom.is_empty(selector)) {
        copy_labels(dom, labels, spec, "selector");
    }
    let meta = ensure_map(dom, root, "metadata");
    if map(dom, meta, "labels").is_none_or(|own| dom.is_empty(own)) {
        copy_labels(dom, labels, meta, "labels");
    }
}

pub(crate) fn daemon_set(dom: &mut Dom) {
    let spec = spec_with_template(dom);
    let strategy = ensure_map(dom, spec, "updateStrategy");
    default_str(dom, strategy, "type", "RollingUpdate");
    if text(dom, strategy, "type") == "RollingUpdate" {
        let rolling = ensure_map(dom, strategy, "rollingUpdate");
        default_int(dom, rolling, "maxUnavailable", 1);
        default_int(dom, rolling, "maxSurge", 0);
    }
    default_int(dom, spec, "revisionHistoryLimit", 10);
}

pub(crate) fn stateful_set(dom: &mut Dom) {
    let spec = spec_with_template(dom);
    default_str(dom, spec, "podManagementPolicy", "OrderedReady");
    let strategy = ensure_map(dom, spec, "updateStrategy");
    default_str(dom, strategy, "type", "RollingUpdate");
    if text(dom, strategy, "type") == "RollingUpdate" {
        let rolling = ensure_map(dom, strategy, "rollingUpdate");
        default_int(dom, rolling, "partition", 0);
    }
    let retention = ensure_map(dom, spec, "persistentVolumeClaimRetentionPolicy");
    default_str(dom, retention, "whenDeleted", "Retain");
    default_str(dom, retention, "whenScaled", "Retain");
    default_int(dom, spec, "replicas", 1);
    default_int(dom, spec, "revisionHistoryLimit", 10);
    for claim in items(dom, spec, "volumeClaimTemplates") {
        dom.set_str(claim, "apiVersion", "v1");
        dom.set_str(claim, "kind", "PersistentVolumeClaim");
        let claim_spec = ensure_map(dom, claim, "spec");
        super::claim_spec(dom, claim_spec);
        let status = ensure_map(dom, claim, "status");
        default_str(dom, status, "phase", "Pending");
    }
}

fn job_spec(dom: &mut Dom, spec: Node) {
    if let Some(template) = map(dom, spec, "template") {
        pod::template(dom, template);
    }
    if get(dom, spec, "completions").is_none() && get(dom, spec, "parallelism").is_none() {
        dom.set_int(spec, "completions", 1);
        dom.set_int(spec, "parallelism", 1);
    }
    default_int(dom, spec, "parallelism", 1);
    default_int(dom, spec, "backoffLimit", 6);
    default_str(dom, spec, "completionMode", "NonIndexed");
    default_bool(dom, spec, "suspend", false);
    default_bool(dom, spec, "manualSelector", false);
    let failure_policy = map(dom, spec, "podFailurePolicy");
    let policy = if failure_policy.is_some() {
        "Failed"
    } else {
        "TerminatingOrFailed"
    };
    default_str(dom, spec, "podReplacementPolicy", policy);
    for rule in failure_policy
        .map(|policy| items(dom, policy, "rules"))
        .unwrap_or_default()
    {
        for pattern in items(dom, rule, "onPodConditions") {
            default_str(dom, pattern, "status", "True");
        }
    }
}

pub(crate) fn job(dom: &mut Dom) {
    let root = dom.root();
    let spec = ensure_map(dom, root, "spec");
    job_spec(dom, spec);
    let labels = map(dom, spec, "template")
        .and_then(|template| map(dom, template, "metadata"))
        .and_then(|meta| map(dom, meta, "labels"))
        .filter(|&labels| !dom.is_empty(labels));
    let meta = ensure_map(dom, root, "metadata");
    if let Some(labels) = labels
        && map(dom, meta, "labels").is_none_or(|own| dom.is_empty(own))
    {
        copy_labels(dom, labels, meta, "labels");
    }
}

pub(crate) fn cron_job(dom: &mut Dom) {
    let root = dom.root();
    let spec = ensure_map(dom, root, "spec");
    default_str(dom, spec, "concurrencyPolicy", "Allow");
    default_bool(dom, spec, "suspend", false);
    default_int(dom, spec, "successfulJobsHistoryLimit", 3);
    default_int(dom, spec, "failedJobsHistoryLimit", 1);
    if let Some(template) = map(dom, spec, "jobTemplate")
        && let Some(inner) = map(dom, template, "spec")
    {
        // A template gets what a pod template gets; the rest is set when the Job is made.
        if let Some(pod_template) = map(dom, inner, "template") {
            pod::template(dom, pod_template);
        }
    }
}

pub(crate) fn autoscaler(dom: &mut Dom) {
    let root = dom.root();
    let spec = ensure_map(dom, root, "spec");
    default_int(dom, spec, "minReplicas", 1);
    if items(dom, spec, "metrics").is_empty() {
        let metric = dom.new_map();
        dom.set_str(metric, "type", "Resource");
        let resource = dom.new_map();
        dom.set(metric, "resource", resource);
        dom.set_str(resource, "name", "cpu");
        let target = dom.new_map();
        dom.set(resource, "target", target);
        dom.set_str(target, "type", "Utilization");
        dom.set_int(target, "averageUtilization", 80);
        let list = dom.new_list();
        dom.push(list, metric);
        dom.set(spec, "metrics", list);
    }
    let behavior = map(dom, spec, "behavior");
    if let Some(behavior) = behavior {
        for (direction, defaults) in [
            ("scaleUp", &[("Pods", 4), ("Percent", 100)][..]),
            ("scaleDown", &[("Percent", 100)][..]),
        ] {
            let rules = ensure_map(dom, behavior, direction);
            if direction == "scaleUp" {
                default_int(dom, rules, "stabilizationWindowSeconds", 0);
            }
            default_str(dom, rules, "selectPolicy", "Max");
            if get(dom, rules, "policies").is_none_or(|n| dom.value(n) == Value::Null) {
                let list = dom.new_list();
                for (kind, value) in defaults {
                    let policy = dom.new_map();
                    dom.set_str(policy, "type", kind);
                    dom.set_int(policy, "value", *value);
                    dom.set_int(policy, "periodSeconds", 15);
                    dom.push(list, policy);
                }
                dom.set(rules, "policies", list);
            }
        }
    }
}
