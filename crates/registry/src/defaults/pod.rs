//! Defaults of pods and of pod templates.
//!
//! Source: kubernetes v1.36.3 pkg/apis/core/v1/defaults.go and zz_generated.defaults.go.

use schema::{Dom, Node, Value};

use crate::edit::{
    default_bool, default_int, default_nonzero, default_str, ensure_map, get, items, map, text,
};

/// A pod: what its template gets, and what only a pod gets.
pub(crate) fn pod(dom: &mut Dom) {
    let root = dom.root();
    let spec = ensure_map(dom, root, "spec");
    pod_spec(dom, spec);
    default_bool(dom, spec, "enableServiceLinks", true);
    for list in ["containers", "initContainers"] {
        for container in items(dom, spec, list) {
            if let Some(resources) = map(dom, container, "resources") {
                requests_from_limits(dom, resources);
            }
        }
    }
    if let Some(resources) = map(dom, spec, "resources") {
        requests_from_limits(dom, resources);
    }
    let status = ensure_map(dom, root, "status");
    default_str(dom, status, "phase", "Pending");
}

/// A pod template.
pub(crate) fn template(dom: &mut Dom, template: Node) {
    let spec = ensure_map(dom, template, "spec");
    pod_spec(dom, spec);
}

fn requests_from_limits(dom: &mut Dom, resources: Node) {
    let Some(limits) = map(dom, resources, "limits") else {
        return;
    };
    let entries: Vec<(String, Node)> = dom
        .entries(limits)
        .map(|(key, node)| (key.to_owned(), node))
        .collect();
    if entries.is_empty() {
        return;
    }
    let requests = ensure_map(dom, resources, "requests");
    for (key, node) in entries {
        if dom.get(requests, &key).is_none() {
            let copy = dom.copy(node);
            dom.set(requests, &key, copy);
        }
    }
}

fn pod_spec(dom: &mut Dom, spec: Node) {
    default_str(dom, spec, "dnsPolicy", "ClusterFirst");
    default_str(dom, spec, "restartPolicy", "Always");
    ensure_map(dom, spec, "securityContext");
    default_int(dom, spec, "terminationGracePeriodSeconds", 30);
    default_str(dom, spec, "schedulerName", "default-scheduler");
    // The deprecated name of the same field follows the new one, or is taken for it.
    let account = text(dom, spec, "serviceAccountName").to_owned();
    let old = text(dom, spec, "serviceAccount").to_owned();
    if !account.is_empty() {
        dom.set_str(spec, "serviceAccount", &account);
    } else if !old.is_empty() {
        dom.set_str(spec, "serviceAccountName", &old);
    }
    let host = get(dom, spec, "hostNetwork").is_some_and(|n| dom.value(n) == Value::Bool(true));
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for item in items(dom, spec, list) {
            container(dom, item);
            if host {
                for port in items(dom, item, "ports") {
                    if let Some(number) = get(dom, port, "containerPort") {
                        let number = match dom.value(number) {
                            Value::Int(number) => number,
                            _ => continue,
                        };
                        default_nonzero(dom, port, "hostPort", number);
                    }
                }
            }
        }
    }
    for volume in items(dom, spec, "volumes") {
        if let Some(projected) = map(dom, volume, "projected") {
            for source in items(dom, projected, "sources") {
                // Behind gates that are off by default.
                for key in ["clusterTrustBundle", "podCertificate"] {
                    dom.remove(source, key);
                }
            }
        }
        volume_source(dom, volume);
    }
}

/// Whether an image's reference names `latest` or no tag and no digest at all.
fn is_latest(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    match last.split_once(':') {
        Some((_, tag)) => tag == "latest",
        None => true,
    }
}

/// Signals to end containers by are behind a gate that is off by default.
fn no_stop_signal(dom: &mut Dom, container: Node) {
    let Some(lifecycle) = map(dom, container, "lifecycle") else {
        return;
    };
    let hooked = ["postStart", "preStop"]
        .iter()
        .any(|hook| get(dom, lifecycle, hook).is_some());
    if dom.remove(lifecycle, "stopSignal") && !hooked {
        dom.remove(container, "lifecycle");
    }
}

fn container(dom: &mut Dom, container: Node) {
    no_stop_signal(dom, container);
    if text(dom, container, "imagePullPolicy").is_empty() {
        let image = text(dom, container, "image").to_owned();
        let policy = if is_latest(&image) {
            "Always"
        } else {
            "IfNotPresent"
        };
        dom.set_str(container, "imagePullPolicy", policy);
    }
    default_str(
        dom,
        container,
        "terminationMessagePath",
        "/dev/termination-log",
    );
    default_str(dom, container, "terminationMessagePolicy", "File");
    ensure_map(dom, container, "resources");
    for port in items(dom, container, "ports") {
        default_str(dom, port, "protocol", "TCP");
    }
    for variable in items(dom, container, "env") {
        if let Some(from) = map(dom, variable, "valueFrom") {
            field_ref(dom, from);
            if let Some(file) = map(dom, from, "fileKeyRef") {
                default_bool(dom, file, "optional", false);
            }
            if let Some(resource) = map(dom, from, "resourceFieldRef")
                && get(dom, resource, "divisor").is_none()
            {
                dom.set_str(resource, "divisor", "0");
            }
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = map(dom, container, name) {
            default_nonzero(dom, probe, "timeoutSeconds", 1);
            default_nonzero(dom, probe, "periodSeconds", 10);
            default_nonzero(dom, probe, "successThreshold", 1);
            default_nonzero(dom, probe, "failureThreshold", 3);
            handler(dom, probe);
            if let Some(grpc) = map(dom, probe, "grpc")
                && get(dom, grpc, "service").is_none()
            {
                dom.set_str(grpc, "service", "");
            }
        }
    }
    if let Some(lifecycle) = map(dom, container, "lifecycle") {
        for name in ["postStart", "preStop"] {
            if let Some(hook) = map(dom, lifecycle, name) {
                handler(dom, hook);
            }
        }
    }
}

fn handler(dom: &mut Dom, owner: Node) {
    if let Some(get) = map(dom, owner, "httpGet") {
        default_str(dom, get, "path", "/");
        default_str(dom, get, "scheme", "HTTP");
    }
}

fn field_ref(dom: &mut Dom, owner: Node) {
    if let Some(field) = map(dom, owner, "fieldRef") {
        default_str(dom, field, "apiVersion", "v1");
    }
}

fn downward(dom: &mut Dom, source: Node) {
    for item in items(dom, source, "items") {
        field_ref(dom, item);
        if let Some(resource) = map(dom, item, "resourceFieldRef")
            && get(dom, resource, "divisor").is_none()
        {
            dom.set_str(resource, "divisor", "0");
        }
    }
}

fn volume_source(dom: &mut Dom, volume: Node) {
    let sources = dom
        .entries(volume)
        .filter(|(key, node)| *key != "name" && !matches!(dom.value(*node), Value::Null))
        .count();
    if sources == 0 {
        ensure_map(dom, volume, "emptyDir");
    }
    for name in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = map(dom, volume, name) {
            default_int(dom, source, "defaultMode", 0o644);
        }
    }
    if let Some(source) = map(dom, volume, "downwardAPI") {
        downward(dom, source);
    }
    if let Some(projected) = map(dom, volume, "projected") {
        for source in items(dom, projected, "sources") {
            if let Some(token) = map(dom, source, "serviceAccountToken") {
                default_int(dom, token, "expirationSeconds", 3600);
            }
            if let Some(source) = map(dom, source, "downwardAPI") {
                downward(dom, source);
            }
        }
    }
    if let Some(path) = map(dom, volume, "hostPath")
        && get(dom, path, "type").is_none()
    {
        dom.set_str(path, "type", "");
    }
    if let Some(ephemeral) = map(dom, volume, "ephemeral")
        && let Some(template) = map(dom, ephemeral, "volumeClaimTemplate")
        && let Some(spec) = map(dom, template, "spec")
    {
        super::claim_spec(dom, spec);
    }
    if let Some(image) = map(dom, volume, "image") {
        let reference = text(dom, image, "reference").to_owned();
        let policy = if is_latest(&reference) {
            "Always"
        } else {
            "IfNotPresent"
        };
        default_str(dom, image, "pullPolicy", policy);
    }
    if let Some(iscsi) = map(dom, volume, "iscsi") {
        default_str(dom, iscsi, "iscsiInterface", "default");
    }
}
