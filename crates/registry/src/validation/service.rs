//! Services: their rules, and the allocation of their addresses and ports.
//!
//! An address is an IPAddress object that is created in the Service's own transaction; two
//! Services that pick the same one collide in the store, and the loser picks again.
//! Source: kubernetes v1.36.3 pkg/registry/core/service/storage/alloc.go,
//! pkg/apis/core/validation/validation.go ValidateService.

mod allocate;

use std::collections::HashSet;

use api::{FieldError, Path, names};
use schema::{Dom, Ref, Value};

pub(crate) use allocate::allocate;

use super::{Errors, one_of, required};
use crate::edit::{keep, map, text};
use crate::hooks::Context;

pub(crate) fn prepare_create(_: &Context<'_>, dom: &mut Dom) {
    let root = dom.root();
    let status = dom.new_map();
    let balancer = dom.new_map();
    dom.set(status, "loadBalancer", balancer);
    dom.set(root, "status", status);
}

pub(crate) fn prepare_update(_: &Context<'_>, dom: &mut Dom, old: Ref<'_>) {
    let root = dom.root();
    keep(dom, root, "status", Some(old));
    let Some(spec) = map(dom, root, "spec") else {
        return;
    };
    // An update may leave out what was allocated.
    let old_spec = old.get("spec");
    let was_external = old_spec.is_some_and(|s| s.str("type") == "ExternalName");
    if text(dom, spec, "type") != "ExternalName" && !was_external {
        if text(dom, spec, "clusterIP").is_empty() {
            keep(dom, spec, "clusterIP", old_spec);
        }
        for key in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            if dom.get(spec, key).is_none() {
                keep(dom, spec, key, old_spec);
            }
        }
        if matches!(text(dom, spec, "type"), "NodePort" | "LoadBalancer") {
            keep_node_ports(dom, spec, old_spec);
        }
    }
}

fn keep_node_ports(dom: &mut Dom, spec: schema::Node, old: Option<Ref<'_>>) {
    for port in crate::edit::items(dom, spec, "ports") {
        let set = dom
            .get(port, "nodePort")
            .is_some_and(|n| dom.value(n) != Value::Int(0));
        if set {
            continue;
        }
        let number = crate::edit::get(dom, port, "port").map(|n| dom.value(n));
        let number = match number {
            Some(Value::Int(number)) => number,
            _ => continue,
        };
        let protocol = text(dom, port, "protocol").to_owned();
        let found = old
            .into_iter()
            .flat_map(|s| s.items("ports"))
            .find(|p| p.int("port") == Some(number) && p.str("protocol") == protocol);
        if let Some(node_port) = found.and_then(|p| p.int("nodePort")).filter(|p| *p != 0) {
            dom.set_int(port, "nodePort", node_port);
        }
    }
}

pub(crate) fn validate(object: Ref<'_>, errors: &mut Errors) {
    let at = Path::new("spec");
    let Some(spec) = object.get("spec") else {
        return;
    };
    let kind = spec.str("type");
    one_of(
        spec,
        "type",
        &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"],
        &at,
        errors,
    );
    one_of(spec, "sessionAffinity", &["ClientIP", "None"], &at, errors);
    let headless = spec.str("clusterIP") == "None";
    if spec.items("ports").next().is_none() && !headless && kind != "ExternalName" {
        errors.push(FieldError::required(&at.child("ports"), ""));
    }
    if kind == "LoadBalancer" && headless {
        let detail = "may not be set to 'None' for LoadBalancer services";
        errors.push(FieldError::invalid(
            &at.child("clusterIPs").index(0),
            "None",
            detail,
        ));
    }
    if kind == "NodePort" && headless {
        let detail = "may not be set to 'None' for NodePort services";
        errors.push(FieldError::invalid(
            &at.child("clusterIPs").index(0),
            "None",
            detail,
        ));
    }
    if kind == "ExternalName" {
        let name = spec.str("externalName");
        if name.is_empty() {
            errors.push(FieldError::required(&at.child("externalName"), ""));
        } else {
            for message in names::dns1123_subdomain(name) {
                errors.push(FieldError::invalid(
                    &at.child("externalName"),
                    name,
                    message,
                ));
            }
        }
    }
    let several = spec.items("ports").count() > 1;
    let (mut seen, mut pairs) = (HashSet::new(), HashSet::new());
    for (index, port) in spec.items("ports").enumerate() {
        let path = at.child("ports").index(index);
        let name = port.str("name");
        if name.is_empty() {
            if several {
                errors.push(FieldError::required(&path.child("name"), ""));
            }
        } else {
            for message in names::dns1123_label(name) {
                errors.push(FieldError::invalid(&path.child("name"), name, message));
            }
            if !seen.insert(name) {
                errors.push(FieldError::duplicate(&path.child("name"), name));
            }
        }
        let number = port.int("port").unwrap_or(0);
        for message in names::port_number(number) {
            errors.push(FieldError::invalid(&path.child("port"), number, message));
        }
        one_of(port, "protocol", &["SCTP", "TCP", "UDP"], &path, errors);
        match port.get("targetPort").map(Ref::value) {
            Some(Value::Int(number)) => {
                for message in names::port_number(number) {
                    errors.push(FieldError::invalid(
                        &path.child("targetPort"),
                        number,
                        message,
                    ));
                }
            }
            Some(Value::Str(name)) => {
                for message in names::port_name(name) {
                    errors.push(FieldError::invalid(
                        &path.child("targetPort"),
                        name,
                        message,
                    ));
                }
            }
            _ => {}
        }
        if !pairs.insert((number, port.str("protocol"))) {
            let shown = format!(
                r#"{{"protocol":"{}","port":{number}}}"#,
                port.str("protocol")
            );
            errors.push(FieldError::duplicate(&path, api::BadValue::Raw(shown)));
        }
    }
    errors.extend(names::labels(
        spec.entries("selector")
            .map(|(k, v)| (k, v.as_str().unwrap_or_default())),
        &at.child("selector"),
    ));
}

pub(crate) fn validate_update(new: Ref<'_>, old: Ref<'_>, errors: &mut Errors) {
    let at = Path::new("spec").child("clusterIPs").index(0);
    let ip = |o: Ref<'_>| {
        let ip = o
            .at(&["spec", "clusterIP"])
            .and_then(Ref::as_str)
            .unwrap_or_default();
        ip.to_owned()
    };
    let kind = |o: Ref<'_>| {
        o.at(&["spec", "type"])
            .and_then(Ref::as_str)
            .unwrap_or_default()
            == "ExternalName"
    };
    if !kind(new) && !kind(old) && !ip(old).is_empty() && ip(new) != ip(old) {
        let detail = "may not change once set";
        errors.push(FieldError::invalid(&at, ip(new), detail));
    }
}

pub(crate) fn endpoints(object: Ref<'_>, errors: &mut Errors) {
    for (index, subset) in object.items("subsets").enumerate() {
        let path = Path::new("subsets").index(index);
        let any = |key: &str| subset.items(key).next().is_some();
        if !any("addresses") && !any("notReadyAddresses") {
            let detail = "must specify `addresses` or `notReadyAddresses`";
            errors.push(FieldError::required(&path, detail));
        }
        for (number, address) in subset.items("addresses").enumerate() {
            let path = path.child("addresses").index(number);
            let ip = address.str("ip");
            if required(address, "ip", &path, errors) && ip.parse::<std::net::IpAddr>().is_err() {
                let detail = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
                errors.push(FieldError::invalid(&path.child("ip"), ip, detail));
            }
        }
        for (number, port) in subset.items("ports").enumerate() {
            let path = path.child("ports").index(number).child("port");
            for message in names::port_number(port.int("port").unwrap_or(0)) {
                errors.push(FieldError::invalid(
                    &path,
                    port.int("port").unwrap_or(0),
                    message,
                ));
            }
        }
    }
}
