//! Defaults that the table of types cannot say: those that depend on other fields, and constants
//! for pointers.
//!
//! Source: kubernetes v1.36.3 pkg/apis/*/v1/defaults.go.

pub(crate) mod pod;
pub(crate) mod workload;

use schema::{Dom, Node, Value};

use crate::edit::{
    default_bool, default_int, default_nonzero, default_str, ensure_list, ensure_map, get, items,
    map, text,
};

pub(crate) fn namespace(dom: &mut Dom) {
    let root = dom.root();
    let meta = ensure_map(dom, root, "metadata");
    let name = text(dom, meta, "name").to_owned();
    if !name.is_empty() {
        let labels = ensure_map(dom, meta, "labels");
        dom.set_str(labels, "kubernetes.io/metadata.name", &name);
    }
    let status = ensure_map(dom, root, "status");
    default_str(dom, status, "phase", "Active");
}

pub(crate) fn node(dom: &mut Dom) {
    let root = dom.root();
    // allocatable defaults to capacity
    if let Some(status) = map(dom, root, "status")
        && let Some(capacity) = map(dom, status, "capacity")
    {
        let allocatable = ensure_map(dom, status, "allocatable");
        let entries: Vec<(String, Node)> = dom
            .entries(capacity)
            .map(|(key, node)| (key.to_owned(), node))
            .collect();
        for (key, node) in entries {
            if dom.get(allocatable, &key).is_none() {
                let copy = dom.copy(node);
                dom.set(allocatable, &key, copy);
            }
        }
    }
}

pub(crate) fn secret(dom: &mut Dom) {
    let root = dom.root();
    default_str(dom, root, "type", "Opaque");
    // stringData is write-only: it becomes data.
    if let Some(strings) = map(dom, root, "stringData") {
        let pairs: Vec<(String, String)> = dom
            .entries(strings)
            .map(|(key, node)| {
                (
                    key.to_owned(),
                    dom.as_str(node).unwrap_or_default().to_owned(),
                )
            })
            .collect();
        let data = ensure_map(dom, root, "data");
        for (key, value) in pairs {
            let encoded = crate::validation::base64_encode(value.as_bytes());
            dom.set_str(data, &key, &encoded);
        }
    }
    dom.remove(root, "stringData");
}

pub(crate) fn service(dom: &mut Dom) {
    let root = dom.root();
    let spec = ensure_map(dom, root, "spec");
    default_str(dom, spec, "sessionAffinity", "None");
    match text(dom, spec, "sessionAffinity") {
        "None" => {
            dom.remove(spec, "sessionAffinityConfig");
        }
        "ClientIP" => {
            let config = ensure_map(dom, spec, "sessionAffinityConfig");
            let client = ensure_map(dom, config, "clientIP");
            default_int(dom, client, "timeoutSeconds", 10800);
        }
        _ => {}
    }
    default_str(dom, spec, "type", "ClusterIP");
    for port in items(dom, spec, "ports") {
        default_str(dom, port, "protocol", "TCP");
        let target = get(dom, port, "targetPort");
        let unset = match target.map(|node| dom.value(node)) {
            None | Some(Value::Int(0)) => true,
            Some(Value::Str(text)) => text.is_empty(),
            _ => false,
        };
        if unset && let Some(number) = get(dom, port, "port") {
            let copy = dom.copy(number);
            dom.set(port, "targetPort", copy);
        }
    }
    let kind = text(dom, spec, "type").to_owned();
    let exposed = match kind.as_str() {
        "NodePort" | "LoadBalancer" => true,
        "ClusterIP" => !items(dom, spec, "externalIPs").is_empty(),
        _ => false,
    };
    if exposed {
        default_str(dom, spec, "externalTrafficPolicy", "Cluster");
    }
    let unset = get(dom, spec, "internalTrafficPolicy").is_none();
    if unset && matches!(kind.as_str(), "ClusterIP" | "NodePort" | "LoadBalancer") {
        dom.set_str(spec, "internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        default_bool(dom, spec, "allocateLoadBalancerNodePorts", true);
    }
    let status = ensure_map(dom, root, "status");
    let balancer = ensure_map(dom, status, "loadBalancer");
    if kind == "LoadBalancer" {
        for ingress in items(dom, balancer, "ingress") {
            if !text(dom, ingress, "ip").is_empty() && get(dom, ingress, "ipMode").is_none() {
                dom.set_str(ingress, "ipMode", "VIP");
            }
        }
    }
}

pub(crate) fn endpoints(dom: &mut Dom) {
    let root = dom.root();
    for subset in items(dom, root, "subsets") {
        for port in items(dom, subset, "ports") {
            default_str(dom, port, "protocol", "TCP");
        }
    }
}

pub(crate) fn endpoint_slice(dom: &mut Dom) {
    let root = dom.root();
    for port in items(dom, root, "ports") {
        if get(dom, port, "name").is_none() {
            dom.set_str(port, "name", "");
        }
        default_str(dom, port, "protocol", "TCP");
    }
    if get(dom, root, "endpoints").is_none() {
        let list = dom.new_list();
        dom.set(root, "endpoints", list);
    }
}

pub(crate) fn limit_range(dom: &mut Dom) {
    let root = dom.root();
    let Some(spec) = map(dom, root, "spec") else {
        return;
    };
    for limit in items(dom, spec, "limits") {
        if text(dom, limit, "type") != "Container" {
            continue;
        }
        let copy = |dom: &mut Dom, from: &str, to: &str| {
            let Some(from) = map(dom, limit, from) else {
                return;
            };
            let entries: Vec<(String, Node)> = dom
                .entries(from)
                .map(|(key, node)| (key.to_owned(), node))
                .collect();
            if entries.is_empty() {
                return;
            }
            let to = ensure_map(dom, limit, to);
            for (key, node) in entries {
                if dom.get(to, &key).is_none() {
                    let value = dom.copy(node);
                    dom.set(to, &key, value);
                }
            }
        };
        copy(dom, "max", "default");
        copy(dom, "default", "defaultRequest");
        copy(dom, "min", "defaultRequest");
    }
}

pub(crate) fn pod_template(dom: &mut Dom) {
    let root = dom.root();
    if let Some(template) = map(dom, root, "template") {
        pod::template(dom, template);
    }
}

pub(crate) fn claim_spec(dom: &mut Dom, spec: Node) {
    default_str(dom, spec, "volumeMode", "Filesystem");
}

pub(crate) fn claim(dom: &mut Dom) {
    let root = dom.root();
    let spec = ensure_map(dom, root, "spec");
    claim_spec(dom, spec);
    let status = ensure_map(dom, root, "status");
    default_str(dom, status, "phase", "Pending");
}

pub(crate) fn volume(dom: &mut Dom) {
    let root = dom.root();
    let spec = ensure_map(dom, root, "spec");
    default_str(dom, spec, "persistentVolumeReclaimPolicy", "Retain");
    default_str(dom, spec, "volumeMode", "Filesystem");
    if let Some(path) = map(dom, spec, "hostPath")
        && get(dom, path, "type").is_none()
    {
        dom.set_str(path, "type", "");
    }
    let status = ensure_map(dom, root, "status");
    default_str(dom, status, "phase", "Pending");
}

pub(crate) fn priority_class(dom: &mut Dom) {
    let root = dom.root();
    default_str(dom, root, "preemptionPolicy", "PreemptLowerPriority");
    default_nonzero(dom, root, "value", 0);
}

pub(crate) fn ingress_class(dom: &mut Dom) {
    let root = dom.root();
    if let Some(spec) = map(dom, root, "spec")
        && let Some(parameters) = map(dom, spec, "parameters")
    {
        default_str(dom, parameters, "scope", "Cluster");
    }
}

pub(crate) fn network_policy(dom: &mut Dom) {
    let root = dom.root();
    let spec = ensure_map(dom, root, "spec");
    for (rules, _) in [("ingress", 0), ("egress", 0)] {
        for rule in items(dom, spec, rules) {
            for port in items(dom, rule, "ports") {
                default_str(dom, port, "protocol", "TCP");
            }
        }
    }
    if items(dom, spec, "policyTypes").is_empty() {
        let egress = !items(dom, spec, "egress").is_empty();
        let list = ensure_list(dom, spec, "policyTypes");
        let ingress = dom.new_str("Ingress");
        dom.push(list, ingress);
        if egress {
            let node = dom.new_str("Egress");
            dom.push(list, node);
        }
    }
}

pub(crate) fn flow_schema(dom: &mut Dom) {
    let root = dom.root();
    if let Some(spec) = map(dom, root, "spec") {
        default_nonzero(dom, spec, "matchingPrecedence", 1000);
    }
}

pub(crate) fn priority_level(dom: &mut Dom) {
    let root = dom.root();
    let Some(spec) = map(dom, root, "spec") else {
        return;
    };
    if let Some(exempt) = map(dom, spec, "exempt") {
        default_int(dom, exempt, "nominalConcurrencyShares", 0);
        default_int(dom, exempt, "lendablePercent", 0);
    } else if text(dom, spec, "type") == "Exempt" {
        let exempt = ensure_map(dom, spec, "exempt");
        default_int(dom, exempt, "nominalConcurrencyShares", 0);
        default_int(dom, exempt, "lendablePercent", 0);
    }
    let Some(limited) = map(dom, spec, "limited") else {
        return;
    };
    default_int(dom, limited, "nominalConcurrencyShares", 30);
    default_int(dom, limited, "lendablePercent", 0);
    if let Some(response) = map(dom, limited, "limitResponse")
        && let Some(queuing) = map(dom, response, "queuing")
    {
        default_nonzero(dom, queuing, "handSize", 8);
        default_nonzero(dom, queuing, "queues", 64);
        default_nonzero(dom, queuing, "queueLengthLimit", 50);
    }
}

pub(crate) fn storage_class(dom: &mut Dom) {
    let root = dom.root();
    default_str(dom, root, "reclaimPolicy", "Delete");
    default_str(dom, root, "volumeBindingMode", "Immediate");
}

pub(crate) fn csi_driver(dom: &mut Dom) {
    let root = dom.root();
    let spec = ensure_map(dom, root, "spec");
    default_bool(dom, spec, "attachRequired", true);
    default_bool(dom, spec, "podInfoOnMount", false);
    default_bool(dom, spec, "storageCapacity", false);
    default_str(dom, spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
    default_bool(dom, spec, "requiresRepublish", false);
    default_bool(dom, spec, "seLinuxMount", false);
    if items(dom, spec, "volumeLifecycleModes").is_empty() {
        let list = ensure_list(dom, spec, "volumeLifecycleModes");
        let mode = dom.new_str("Persistent");
        dom.push(list, mode);
    }
}

pub(crate) fn role_binding(dom: &mut Dom) {
    let root = dom.root();
    if let Some(role) = map(dom, root, "roleRef") {
        default_str(dom, role, "apiGroup", "rbac.authorization.k8s.io");
    }
    for subject in items(dom, root, "subjects") {
        if matches!(text(dom, subject, "kind"), "User" | "Group") {
            default_str(dom, subject, "apiGroup", "rbac.authorization.k8s.io");
        }
    }
}

fn match_resources(dom: &mut Dom, owner: Node, key: &str) {
    let Some(matches) = map(dom, owner, key) else {
        return;
    };
    default_str(dom, matches, "matchPolicy", "Equivalent");
    ensure_map(dom, matches, "namespaceSelector");
    ensure_map(dom, matches, "objectSelector");
    for list in ["resourceRules", "excludeResourceRules"] {
        for rule in items(dom, matches, list) {
            default_str(dom, rule, "scope", "*");
        }
    }
}

pub(crate) fn admission_policy(dom: &mut Dom) {
    let root = dom.root();
    let Some(spec) = map(dom, root, "spec") else {
        return;
    };
    default_str(dom, spec, "failurePolicy", "Fail");
    match_resources(dom, spec, "matchConstraints");
}

pub(crate) fn admission_binding(dom: &mut Dom) {
    let root = dom.root();
    let Some(spec) = map(dom, root, "spec") else {
        return;
    };
    match_resources(dom, spec, "matchResources");
}

pub(crate) fn webhooks(dom: &mut Dom) {
    let root = dom.root();
    for hook in items(dom, root, "webhooks") {
        default_str(dom, hook, "failurePolicy", "Fail");
        default_str(dom, hook, "matchPolicy", "Equivalent");
        ensure_map(dom, hook, "namespaceSelector");
        ensure_map(dom, hook, "objectSelector");
        default_int(dom, hook, "timeoutSeconds", 10);
        for rule in items(dom, hook, "rules") {
            default_str(dom, rule, "scope", "*");
        }
        if let Some(config) = map(dom, hook, "clientConfig")
            && let Some(service) = map(dom, config, "service")
        {
            default_int(dom, service, "port", 443);
        }
    }
}

/// Only mutating webhooks have a reinvocation policy.
pub(crate) fn mutating_webhooks(dom: &mut Dom) {
    webhooks(dom);
    let root = dom.root();
    for hook in items(dom, root, "webhooks") {
        default_str(dom, hook, "reinvocationPolicy", "Never");
    }
}

pub(crate) fn definition(dom: &mut Dom) {
    let root = dom.root();
    let Some(spec) = map(dom, root, "spec") else {
        return;
    };
    if let Some(names) = map(dom, spec, "names") {
        let kind = text(dom, names, "kind").to_owned();
        default_str(dom, names, "singular", &kind.to_lowercase());
        if !kind.is_empty() {
            default_str(dom, names, "listKind", &format!("{kind}List"));
        }
    }
    if map(dom, spec, "conversion").is_none() {
        ensure_map(dom, spec, "conversion");
    }
    if let Some(conversion) = map(dom, spec, "conversion") {
        default_str(dom, conversion, "strategy", "None");
        if let Some(webhook) = map(dom, conversion, "webhook")
            && let Some(config) = map(dom, webhook, "clientConfig")
            && let Some(service) = map(dom, config, "service")
        {
            default_int(dom, service, "port", 443);
        }
    }
}

pub(crate) fn api_service(dom: &mut Dom) {
    let root = dom.root();
    if let Some(spec) = map(dom, root, "spec")
        && let Some(service) = map(dom, spec, "service")
    {
        default_int(dom, service, "port", 443);
    }
}

fn device_requests(dom: &mut Dom, spec: Node) {
    let Some(devices) = map(dom, spec, "devices") else {
        return;
    };
    for request in items(dom, devices, "requests") {
        let mut asked = items(dom, request, "firstAvailable");
        asked.extend(map(dom, request, "exactly"));
        for request in asked {
            default_str(dom, request, "allocationMode", "ExactCount");
            if text(dom, request, "allocationMode") == "ExactCount" {
                default_nonzero(dom, request, "count", 1);
            }
        }
    }
}

pub(crate) fn resource_claim(dom: &mut Dom) {
    let root = dom.root();
    if let Some(spec) = map(dom, root, "spec") {
        device_requests(dom, spec);
    }
}

pub(crate) fn resource_claim_template(dom: &mut Dom) {
    let root = dom.root();
    if let Some(spec) = map(dom, root, "spec")
        && let Some(inner) = map(dom, spec, "spec")
    {
        device_requests(dom, inner);
    }
}
