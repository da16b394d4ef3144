//! Containers of a pod.

use std::collections::{HashMap, HashSet};

use api::{FieldError, Path, names};
use schema::{Ref, Value};

use super::super::{Errors, non_negative, one_of, quantity, required};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Main,
    Init,
    Ephemeral,
}

type Volumes<'a> = HashMap<&'a str, Ref<'a>>;

pub(super) fn one(
    container: Ref<'_>,
    kind: Kind,
    volumes: &Volumes<'_>,
    at: &Path,
    errors: &mut Errors,
) {
    if required(container, "name", at, errors) {
        for message in names::dns1123_label(container.str("name")) {
            errors.push(FieldError::invalid(
                &at.child("name"),
                container.str("name"),
                message,
            ));
        }
    }
    let image = container.str("image");
    if image.is_empty() {
        errors.push(FieldError::required(&at.child("image"), ""));
    } else if image.trim() != image {
        let detail = "must not have leading or trailing whitespace";
        errors.push(FieldError::invalid(&at.child("image"), image, detail));
    }
    one_of(
        container,
        "terminationMessagePolicy",
        &["FallbackToLogsOnError", "File"],
        at,
        errors,
    );
    one_of(
        container,
        "imagePullPolicy",
        &["Always", "IfNotPresent", "Never"],
        at,
        errors,
    );
    ports(container, &at.child("ports"), errors);
    environment(container, at, errors);
    mounts(container, volumes, &at.child("volumeMounts"), errors);
    if let Some(resources) = container.get("resources") {
        self::resources(resources, &at.child("resources"), errors);
    }
    let sidecar = kind == Kind::Init && api::pod::is_sidecar(container);
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = container.get(name) else {
            continue;
        };
        let path = at.child(name);
        match kind {
            Kind::Ephemeral => {
                errors.push(FieldError::forbidden(
                    &path,
                    "cannot be set for an Ephemeral Container",
                ));
            }
            Kind::Init if !sidecar => {
                let detail = "may not be set for init containers without restartPolicy=Always";
                errors.push(FieldError::forbidden(&path, detail));
            }
            _ => self::probe(probe, name, &path, errors),
        }
    }
    if let Some(lifecycle) = container.get("lifecycle") {
        let path = at.child("lifecycle");
        match kind {
            Kind::Ephemeral => {
                errors.push(FieldError::forbidden(
                    &path,
                    "cannot be set for an Ephemeral Container",
                ));
            }
            Kind::Init if !sidecar => {
                let detail = "may not be set for init containers without restartPolicy=Always";
                errors.push(FieldError::forbidden(&path, detail));
            }
            _ => {
                for name in ["postStart", "preStop"] {
                    if let Some(hook) = lifecycle.get(name) {
                        handler(
                            hook,
                            &["exec", "httpGet", "tcpSocket", "sleep"],
                            &path.child(name),
                            errors,
                        );
                    }
                }
            }
        }
    }
}

fn ports(container: Ref<'_>, at: &Path, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for (index, port) in container.items("ports").enumerate() {
        let path = at.index(index);
        let name = port.str("name");
        if !name.is_empty() {
            let messages = names::port_name(name);
            if messages.is_empty() && !seen.insert(name) {
                errors.push(FieldError::duplicate(&path.child("name"), name));
            }
            for message in messages {
                errors.push(FieldError::invalid(&path.child("name"), name, message));
            }
        }
        match port.int("containerPort").unwrap_or(0) {
            0 => errors.push(FieldError::required(&path.child("containerPort"), "")),
            number => {
                for message in names::port_number(number) {
                    errors.push(FieldError::invalid(
                        &path.child("containerPort"),
                        number,
                        message,
                    ));
                }
            }
        }
        if let Some(number) = port.int("hostPort").filter(|n| *n != 0) {
            for message in names::port_number(number) {
                errors.push(FieldError::invalid(
                    &path.child("hostPort"),
                    number,
                    message,
                ));
            }
        }
        one_of(port, "protocol", &["SCTP", "TCP", "UDP"], &path, errors);
        if port.str("protocol").is_empty() {
            errors.push(FieldError::required(&path.child("protocol"), ""));
        }
    }
}

/// No two containers may want the same port of the host.
pub(super) fn host_ports(spec: Ref<'_>, at: &Path, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for (index, container) in spec.items("containers").enumerate() {
        for (number, port) in container.items("ports").enumerate() {
            let Some(host) = port.int("hostPort").filter(|p| *p != 0) else {
                continue;
            };
            let key = format!("{}/{}/{host}", port.str("protocol"), port.str("hostIP"));
            if !seen.insert(key.clone()) {
                let path = at
                    .index(index)
                    .child("ports")
                    .index(number)
                    .child("hostPort");
                errors.push(FieldError::duplicate(&path, key));
            }
        }
    }
}

fn environment(container: Ref<'_>, at: &Path, errors: &mut Errors) {
    for (index, variable) in container.items("env").enumerate() {
        let path = at.child("env").index(index);
        let name = variable.str("name");
        if required(variable, "name", &path, errors) {
            for message in names::relaxed_env_var_name(name) {
                errors.push(FieldError::invalid(&path.child("name"), name, message));
            }
        }
        let Some(from) = variable.get("valueFrom") else {
            continue;
        };
        let path = path.child("valueFrom");
        let sources = from
            .map()
            .filter(|(_, v)| !matches!(v.value(), Value::Null))
            .count();
        if !variable.str("value").is_empty() && sources > 0 {
            errors.push(FieldError::invalid(
                &path,
                "",
                "may not be specified when `value` is not empty",
            ));
        } else if sources != 1 {
            let detail = if sources == 0 {
                "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
            } else {
                "may not have more than one field specified at a time"
            };
            errors.push(FieldError::invalid(&path, "", detail));
        }
        if let Some(field) = from.get("fieldRef") {
            field_path(field, &path.child("fieldRef"), errors);
        }
        for kind in ["configMapKeyRef", "secretKeyRef"] {
            if let Some(key) = from.get(kind) {
                required(key, "key", &path.child(kind), errors);
            }
        }
    }
    for (index, source) in container.items("envFrom").enumerate() {
        let path = at.child("envFrom").index(index);
        if source.get("configMapRef").is_none() && source.get("secretRef").is_none() {
            let detail = "must specify one of: `configMapRef` or `secretRef`";
            errors.push(FieldError::invalid(&path, "", detail));
        }
    }
}

fn field_path(field: Ref<'_>, at: &Path, errors: &mut Errors) {
    const PATHS: [&str; 9] = [
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.serviceAccountName",
        "status.hostIP",
        "status.hostIPs",
        "status.podIP",
        "status.podIPs",
    ];
    let path = field.str("fieldPath");
    if path.is_empty() {
        errors.push(FieldError::required(&at.child("fieldPath"), ""));
    } else if !(path.starts_with("metadata.labels[")
        || path.starts_with("metadata.annotations[")
        || PATHS.contains(&path))
    {
        errors.push(FieldError::not_supported(
            &at.child("fieldPath"),
            path,
            &PATHS,
        ));
    }
}

fn mounts(container: Ref<'_>, volumes: &Volumes<'_>, at: &Path, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for (index, mount) in container.items("volumeMounts").enumerate() {
        let path = at.index(index);
        let name = mount.str("name");
        if required(mount, "name", &path, errors) && !volumes.contains_key(name) {
            errors.push(FieldError::not_found(&path.child("name"), name));
        }
        let target = mount.str("mountPath");
        if required(mount, "mountPath", &path, errors) && !seen.insert(target) {
            errors.push(FieldError::invalid(
                &path.child("mountPath"),
                target,
                "must be unique",
            ));
        }
        for key in ["subPath", "subPathExpr"] {
            let value = mount.str(key);
            if value.starts_with('/') {
                errors.push(FieldError::invalid(
                    &path.child(key),
                    value,
                    "must be a relative path",
                ));
            }
            if value.split('/').any(|part| part == "..") {
                errors.push(FieldError::invalid(
                    &path.child(key),
                    value,
                    "must not contain '..'",
                ));
            }
        }
        if !mount.str("subPath").is_empty() && !mount.str("subPathExpr").is_empty() {
            let detail = "subPathExpr and subPath are mutually exclusive";
            errors.push(FieldError::invalid(
                &path.child("subPathExpr"),
                mount.str("subPathExpr"),
                detail,
            ));
        }
    }
}

fn standard(name: &str) -> bool {
    matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-")
}

pub(crate) fn resources(resources: Ref<'_>, at: &Path, errors: &mut Errors) {
    for list in ["limits", "requests"] {
        for (name, amount) in resources.entries(list) {
            let path = at.child(list).key(name);
            for message in names::qualified_name(name) {
                errors.push(FieldError::invalid(&path, name, message));
            }
            if !name.contains('/') && !standard(name) {
                let detail = "must be a standard resource for containers";
                errors.push(FieldError::invalid(&path, name, detail));
            }
            let Some(amount) = quantity(amount, &path, errors) else {
                continue;
            };
            let limit = resources.at(&["limits", name]);
            if list == "requests"
                && let Some(limit) = limit.map(|l| crate::columns::scalar(Some(l)))
                && let Ok(limit) = api::Quantity::parse(&limit)
                && amount > limit
            {
                let detail = format!("must be less than or equal to {name} limit of {limit}");
                errors.push(FieldError::invalid(&path, amount.to_string(), detail));
            }
        }
    }
}

fn probe(probe: Ref<'_>, name: &str, at: &Path, errors: &mut Errors) {
    handler(probe, &["exec", "httpGet", "tcpSocket", "grpc"], at, errors);
    for key in [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ] {
        non_negative(probe, key, at, errors);
    }
    if name != "readinessProbe" && probe.int("successThreshold").unwrap_or(1) != 1 {
        let value = probe.int("successThreshold").unwrap_or(0);
        errors.push(FieldError::invalid(
            &at.child("successThreshold"),
            value,
            "must be 1",
        ));
    }
}

fn handler(owner: Ref<'_>, kinds: &[&str], at: &Path, errors: &mut Errors) {
    let mut count = 0;
    for kind in kinds {
        let Some(one) = owner.get(kind).filter(|one| !one.is_null()) else {
            continue;
        };
        count += 1;
        let path = at.child(kind);
        if count > 1 {
            let detail = "may not specify more than 1 handler type";
            errors.push(FieldError::forbidden(&path, detail));
            continue;
        }
        match *kind {
            "exec" if one.items("command").next().is_none() => {
                errors.push(FieldError::required(&path.child("command"), ""));
            }
            "httpGet" => {
                required(one, "path", &path, errors);
                port(one, &path, errors);
                one_of(one, "scheme", &["HTTP", "HTTPS"], &path, errors);
            }
            "tcpSocket" => port(one, &path, errors),
            _ => {}
        }
    }
    if count == 0 {
        errors.push(FieldError::required(at, "must specify a handler type"));
    }
}

fn port(owner: Ref<'_>, at: &Path, errors: &mut Errors) {
    let path = at.child("port");
    match owner.get("port").map(Ref::value) {
        Some(Value::Int(number)) => {
            for message in names::port_number(number) {
                errors.push(FieldError::invalid(&path, number, message));
            }
        }
        Some(Value::Str(name)) => {
            for message in names::port_name(name) {
                errors.push(FieldError::invalid(&path, name, message));
            }
        }
        _ => errors.push(FieldError::required(&path, "")),
    }
}
