//! Services: what is dropped, taken and refused when one is written.
//!
//! Allocation comes first, as upstream, so that its findings are told before all others. An
//! address is an IPAddress object that is created in the Service's own transaction; two Services
//! that pick the same one collide in the store, and the loser picks again.
//! Source: kubernetes v1.36.3 pkg/registry/core/service/{strategy,storage/storage}.go,
//! pkg/apis/core/validation/validation.go.

mod addresses;
mod allocate;
mod families;
mod ports;
mod related;
mod rules;
mod stack;
mod status;

use api::{FieldError, Path, names};
use schema::{Dom, Ref};

pub(crate) use allocate::allocate;
pub(crate) use rules::{validate_create, validate_update};
pub(crate) use status::validate_status;

use super::{Errors, required};
use crate::edit::{get, items, keep, map};
use crate::hooks::Context;

pub(crate) fn prepare_create(_: &Context<'_>, dom: &mut Dom) {
    no_status(dom);
    no_policy(dom);
}

/// Drops what the new type does not have and the client left as it was.
pub(crate) fn prepare_update(cx: &Context<'_>, dom: &mut Dom, old: Ref<'_>) {
    let root = dom.root();
    keep(dom, root, "status", Some(old));
    let mut stack = stack::Stack::of(dom.as_ref());
    families::drop_void(&mut stack, &allocate::stored(cx, old));
    stack.put(dom);
    let (Some(spec), Some(before)) = (map(dom, root, "spec"), old.get("spec")) else {
        return;
    };
    let new = dom.at_node(spec);
    let ports = ports::uses_ports(before)
        && !ports::uses_ports(new)
        && ports::numbers(new).is_subset(&ports::numbers(before));
    let health = ports::wants_health(before)
        && !ports::wants_health(new)
        && ports::health(before) == ports::health(new);
    let balanced = |spec: Ref<'_>| spec.str("type") == "LoadBalancer";
    let unbalanced = balanced(before) && !balanced(new);
    let flag = |spec: Ref<'_>| spec.bool("allocateLoadBalancerNodePorts");
    let class = |spec: Ref<'_>| spec.str("loadBalancerClass").to_owned();
    let policy = |spec: Ref<'_>| spec.str("externalTrafficPolicy").to_owned();
    let void = [
        ("healthCheckNodePort", health),
        (
            "allocateLoadBalancerNodePorts",
            unbalanced && flag(before) == flag(new),
        ),
        (
            "loadBalancerClass",
            unbalanced && class(before) == class(new),
        ),
        (
            "externalTrafficPolicy",
            rules::is_exposed(before) && !rules::is_exposed(new) && policy(before) == policy(new),
        ),
    ];
    let keeps_status = balanced(new);
    for (key, _) in void.iter().filter(|(_, void)| *void) {
        dom.remove(spec, key);
    }
    if ports {
        for port in items(dom, spec, "ports") {
            dom.remove(port, "nodePort");
        }
    }
    if !keeps_status {
        no_status(dom);
    }
    no_policy(dom);
}

fn no_status(dom: &mut Dom) {
    let root = dom.root();
    let status = dom.new_map();
    let balancer = dom.new_map();
    dom.set(status, "loadBalancer", balancer);
    dom.set(root, "status", status);
}

/// Upstream shows no policy of internal traffic for a mere name; one that is wrong stays to be
/// refused.
fn no_policy(dom: &mut Dom) {
    let root = dom.root();
    let Some(spec) = map(dom, root, "spec") else {
        return;
    };
    let known = get(dom, spec, "internalTrafficPolicy")
        .and_then(|node| dom.as_str(node))
        .is_some_and(|policy| rules::INTERNAL.contains(&policy));
    if known && dom.at_node(spec).str("type") == stack::EXTERNAL_NAME {
        dom.remove(spec, "internalTrafficPolicy");
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

#[cfg(test)]
mod tests;
