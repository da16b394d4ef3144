//! Findings about a Service and a change of it.
//!
//! In upstream's order, which clients see: of a change first what may not change, then
//! everything else. What addresses and families must be to each other is in `related`.
//! Source: kubernetes v1.36.3 pkg/apis/core/validation/validation.go (validateService and what it
//! calls), pkg/api/service/util.go.

use std::collections::HashSet;

use api::names::{self, cidr_for_legacy_field, ip_for_legacy_field, parse_ip_sloppy};
use api::{BadValue, FieldError, Path};
use schema::{Ref, Value};

use super::stack::{EXTERNAL_NAME, NONE, Stack};
use super::{ports, related};
use crate::validation::{Errors, IMMUTABLE};

/// Policies of internal traffic.
pub(super) const INTERNAL: [&str; 2] = ["Cluster", "Local"];
const TYPES: [&str; 4] = ["ClusterIP", EXTERNAL_NAME, "LoadBalancer", "NodePort"];
const NAMES_ONLY: &str = "may not be set for ExternalName services";
const BALANCED_ONLY: &str = "may only be used when `type` is 'LoadBalancer'";
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
const TOPOLOGY_HINTS: &str = "service.kubernetes.io/topology-aware-hints";
const TOPOLOGY_MODE: &str = "service.kubernetes.io/topology-mode";
/// Longest time for which a client stays with its endpoint: a day.
const AFFINITY_MAX_SECONDS: i64 = 86400;

/// Whether something outside the cluster may send to it.
pub(super) fn is_exposed(spec: Ref<'_>) -> bool {
    match spec.str("type") {
        "LoadBalancer" | "NodePort" => true,
        "ClusterIP" => spec.items("externalIPs").next().is_some(),
        _ => false,
    }
}

/// Findings about a new Service.
pub(crate) fn validate_create(object: Ref<'_>, errors: &mut Errors) {
    everything(object, None, errors);
}

/// Findings about a change, and about what it became.
pub(crate) fn validate_update(new: Ref<'_>, old: Ref<'_>, errors: &mut Errors) {
    related::check_update(&Stack::of(new), &Stack::of(old), errors);
    if let (Some(spec), Some(before)) = (new.get("spec"), old.get("spec")) {
        let at = Path::new("spec");
        let balanced = |spec: Ref<'_>| spec.str("type") == "LoadBalancer";
        if balanced(spec) && balanced(before) {
            let (is, was) = (class(spec), class(before));
            if is != was {
                let shown = is.map_or(BadValue::Raw("null".to_owned()), BadValue::from);
                let at = at.child("loadBalancerClass");
                errors.push(FieldError::invalid(&at, shown, "may not change once set"));
            }
        }
        balancer_class(spec, &at, errors);
        if ports::wants_health(before)
            && ports::wants_health(spec)
            && ports::health(before) != ports::health(spec)
        {
            let at = at.child("healthCheckNodePort");
            errors.push(FieldError::forbidden(&at, IMMUTABLE));
        }
    }
    everything(new, Some(old), errors);
}

fn everything(object: Ref<'_>, old: Option<Ref<'_>>, errors: &mut Errors) {
    let Some(spec) = object.get("spec") else {
        return;
    };
    let at = Path::new("spec");
    let stack = Stack::of(object);
    let before = old.map(Stack::of);
    topology(object, errors);
    by_type(&stack, spec, &at, errors);
    each_port(spec, &at, errors);
    errors.extend(names::labels(
        spec.entries("selector")
            .map(|(key, value)| (key, value.as_str().unwrap_or_default())),
        &at.child("selector"),
    ));
    affinity(spec, &at, errors);
    errors.extend(related::check(&stack, before.as_ref()));
    external_ips(spec, old, &at, errors);
    closed("type", spec, &TYPES, &at, errors);
    distinct_ports(spec, &at, errors);
    source_ranges(object, old, &at, errors);
    let flag = spec.bool("allocateLoadBalancerNodePorts");
    let balanced = spec.str("type") == "LoadBalancer";
    if flag.is_some() && !balanced {
        let at = at.child("allocateLoadBalancerNodePorts");
        errors.push(FieldError::forbidden(&at, BALANCED_ONLY));
    }
    if flag.is_none() && balanced {
        let at = Path::new("allocateLoadBalancerNodePorts");
        errors.push(FieldError::required(&at, ""));
    }
    balancer_class(spec, &at, errors);
    traffic(spec, &at, errors);
}

/// One of a closed set, and there.
fn closed(key: &str, spec: Ref<'_>, known: &[&str], at: &Path, errors: &mut Errors) {
    let (at, value) = (at.child(key), spec.str(key));
    if value.is_empty() {
        errors.push(FieldError::required(&at, ""));
    } else if !known.contains(&value) {
        errors.push(FieldError::not_supported(&at, value, known));
    }
}

fn annotation<'a>(object: Ref<'a>, key: &str) -> Option<&'a str> {
    object
        .at(&["metadata", "annotations"])?
        .get(key)
        .and_then(Ref::as_str)
}

fn topology(object: Ref<'_>, errors: &mut Errors) {
    let mode = annotation(object, TOPOLOGY_MODE);
    let hints = annotation(object, TOPOLOGY_HINTS);
    if let (Some(mode), Some(hints)) = (mode, hints)
        && mode != hints
    {
        let at = Path::new("metadata")
            .child("annotations")
            .key(TOPOLOGY_MODE);
        let detail = format!("must match annotations[{TOPOLOGY_HINTS}] when both are specified");
        errors.push(FieldError::invalid(&at, mode, detail));
    }
}

fn by_type(stack: &Stack, spec: Ref<'_>, at: &Path, errors: &mut Errors) {
    let headless = stack.is_headless();
    if spec.items("ports").next().is_none() && !headless && stack.needs_ip() {
        errors.push(FieldError::required(&at.child("ports"), ""));
    }
    match stack.kind.as_str() {
        kind @ ("LoadBalancer" | "NodePort") if headless => {
            let at = at.child("clusterIPs").index(0);
            let detail = format!("may not be set to 'None' for {kind} services");
            errors.push(FieldError::invalid(&at, NONE, detail));
        }
        EXTERNAL_NAME => {
            for (key, set) in [
                ("clusterIPs", !stack.ips.is_empty()),
                ("ipFamilies", !stack.families.is_empty()),
                ("ipFamilyPolicy", stack.policy.is_some()),
            ] {
                if set {
                    errors.push(FieldError::forbidden(&at.child(key), NAMES_ONLY));
                }
            }
            let at = at.child("externalName");
            let given = spec.str("externalName");
            // A dot at its end says that it is complete.
            let name = given.strip_suffix('.').unwrap_or(given);
            if name.is_empty() {
                errors.push(FieldError::required(&at, ""));
            } else {
                let found = names::dns1123_subdomain(name);
                errors.extend(found.into_iter().map(|m| FieldError::invalid(&at, name, m)));
            }
        }
        _ => {}
    }
}

fn each_port(spec: Ref<'_>, at: &Path, errors: &mut Errors) {
    let several = spec.items("ports").count() > 1;
    let mut seen = HashSet::new();
    for (index, port) in spec.items("ports").enumerate() {
        let at = at.child("ports").index(index);
        let name = port.str("name");
        if !name.is_empty() {
            let at = at.child("name");
            let found = names::dns1123_label(name);
            errors.extend(found.into_iter().map(|m| FieldError::invalid(&at, name, m)));
            if !seen.insert(name) {
                errors.push(FieldError::duplicate(&at, name));
            }
        } else if several {
            errors.push(FieldError::required(&at.child("name"), ""));
        }
        port_number(port.int("port").unwrap_or(0), &at.child("port"), errors);
        closed("protocol", port, &["SCTP", "TCP", "UDP"], &at, errors);
        let target = at.child("targetPort");
        match port.get("targetPort").map(Ref::value) {
            Some(Value::Int(number)) => port_number(number, &target, errors),
            Some(Value::Str(name)) => {
                let found = names::port_name(name);
                errors.extend(
                    found
                        .into_iter()
                        .map(|m| FieldError::invalid(&target, name, m)),
                );
            }
            _ => port_number(0, &target, errors),
        }
        if let Some(protocol) = port.get("appProtocol").and_then(Ref::as_str) {
            qualified(protocol, &at.child("appProtocol"), errors);
        }
    }
}

fn port_number(number: i64, at: &Path, errors: &mut Errors) {
    let found = names::port_number(number);
    errors.extend(
        found
            .into_iter()
            .map(|m| FieldError::invalid(at, number, m)),
    );
}

fn qualified(value: &str, at: &Path, errors: &mut Errors) {
    let found = names::qualified_name(value);
    errors.extend(found.into_iter().map(|m| FieldError::invalid(at, value, m)));
}

fn affinity(spec: Ref<'_>, at: &Path, errors: &mut Errors) {
    closed("sessionAffinity", spec, &["ClientIP", "None"], at, errors);
    let at = at.child("sessionAffinityConfig");
    let config = spec.get("sessionAffinityConfig").filter(|c| !c.is_null());
    match spec.str("sessionAffinity") {
        "None" if config.is_some() => {
            let detail = "must not be set when session affinity is None";
            errors.push(FieldError::forbidden(&at, detail));
        }
        "ClientIP" => {
            let detail = "when session affinity type is ClientIP";
            let client = config
                .and_then(|c| c.get("clientIP"))
                .filter(|c| !c.is_null());
            let seconds = client.and_then(|c| c.int("timeoutSeconds"));
            let at = match (config, client) {
                (None, _) => at,
                (_, None) => at.child("clientIP"),
                _ => at.child("clientIP").child("timeoutSeconds"),
            };
            match seconds {
                None => errors.push(FieldError::required(&at, detail)),
                Some(seconds) if !(1..=AFFINITY_MAX_SECONDS).contains(&seconds) => {
                    let detail =
                        format!("must be greater than 0 and less than {AFFINITY_MAX_SECONDS}");
                    errors.push(FieldError::invalid(&at, seconds, detail));
                }
                Some(_) => {}
            }
        }
        _ => {}
    }
}

fn listed<'a>(object: Option<Ref<'a>>, key: &str) -> Vec<&'a str> {
    let spec = object.and_then(|object| object.get("spec"));
    let items = spec.into_iter().flat_map(|spec| spec.items(key));
    items.filter_map(Ref::as_str).collect()
}

fn external_ips(spec: Ref<'_>, old: Option<Ref<'_>>, at: &Path, errors: &mut Errors) {
    let known = listed(old, "externalIPs");
    for (index, ip) in spec.items("externalIPs").enumerate() {
        let at = at.child("externalIPs").index(index);
        let ip = ip.as_str().unwrap_or_default();
        let found = ip_for_legacy_field(&at, ip, true, &known);
        if found.is_empty() {
            reachable(ip, &at, errors);
        }
        errors.extend(found);
    }
}

/// An address that a packet may have gone to from elsewhere.
fn reachable(ip: &str, at: &Path, errors: &mut Errors) {
    let Some(parsed) = parse_ip_sloppy(ip) else {
        errors.push(FieldError::invalid(at, ip, "must be a valid IP address"));
        return;
    };
    let parsed = parsed.to_canonical();
    let (local, local_multicast) = match parsed {
        std::net::IpAddr::V4(v4) => (v4.is_link_local(), v4.octets()[..3] == [224, 0, 0]),
        std::net::IpAddr::V6(v6) => (
            v6.is_unicast_link_local(),
            v6.segments()[0] & 0xff0f == 0xff02,
        ),
    };
    for (is, detail) in [
        (
            parsed.is_unspecified(),
            format!("may not be unspecified ({ip})"),
        ),
        (
            parsed.is_loopback(),
            "may not be in the loopback range (127.0.0.0/8, ::1/128)".to_owned(),
        ),
        (
            local,
            "may not be in the link-local range (169.254.0.0/16, fe80::/10)".to_owned(),
        ),
        (
            local_multicast,
            "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)".to_owned(),
        ),
    ] {
        if is {
            errors.push(FieldError::invalid(at, ip, detail));
        }
    }
}

fn distinct_ports(spec: Ref<'_>, at: &Path, errors: &mut Errors) {
    let all = || {
        let ports = spec.items("ports").enumerate();
        ports.map(|(index, port)| (at.child("ports").index(index), port))
    };
    let node_port = |port: Ref<'_>| port.int("nodePort").filter(|number| *number != 0);
    if spec.str("type") == "ClusterIP" {
        for (at, _) in all().filter(|(_, port)| node_port(*port).is_some()) {
            let detail = "may not be used when `type` is 'ClusterIP'";
            errors.push(FieldError::forbidden(&at.child("nodePort"), detail));
        }
    }
    let mut seen = HashSet::new();
    for (at, port) in all() {
        if let Some(number) = node_port(port)
            && !seen.insert((port.str("protocol"), number))
        {
            errors.push(FieldError::duplicate(&at.child("nodePort"), number));
        }
    }
    let mut seen = HashSet::new();
    for (at, port) in all() {
        let (protocol, number) = (port.str("protocol"), port.int("port").unwrap_or(0));
        if !seen.insert((protocol, number)) {
            let mut quoted = String::new();
            api::text::json_string(&mut quoted, protocol);
            // As upstream prints the key of its search.
            let shown = format!(
                r#"{{"Name":"","Protocol":{quoted},"AppProtocol":null,"Port":{number},"TargetPort":0,"NodePort":0}}"#
            );
            errors.push(FieldError::duplicate(&at, BadValue::Raw(shown)));
        }
    }
}

fn source_ranges(object: Ref<'_>, old: Option<Ref<'_>>, at: &Path, errors: &mut Errors) {
    let balanced = object.at(&["spec", "type"]).and_then(Ref::as_str) == Some("LoadBalancer");
    let forbid = |at: &Path, errors: &mut Errors| {
        if !balanced {
            errors.push(FieldError::forbidden(at, BALANCED_ONLY));
        }
    };
    let ranges = listed(Some(object), "loadBalancerSourceRanges");
    if !ranges.is_empty() {
        let at = at.child("LoadBalancerSourceRanges");
        forbid(&at, errors);
        let known = listed(old, "loadBalancerSourceRanges");
        let known: Vec<&str> = known.into_iter().map(str::trim).collect();
        for (index, range) in ranges.into_iter().enumerate() {
            let at = at.index(index);
            errors.extend(cidr_for_legacy_field(&at, range.trim(), true, &known));
        }
        return;
    }
    let Some(text) = annotation(object, SOURCE_RANGES) else {
        return;
    };
    let at = Path::new("metadata")
        .child("annotations")
        .key(SOURCE_RANGES);
    forbid(&at, errors);
    if old.and_then(|old| annotation(old, SOURCE_RANGES)) == Some(text) || text.trim().is_empty() {
        return;
    }
    for range in text.trim().split(',') {
        errors.extend(cidr_for_legacy_field(&at, range.trim(), true, &[]));
    }
}

fn class(spec: Ref<'_>) -> Option<&str> {
    spec.get("loadBalancerClass").and_then(Ref::as_str)
}

fn balancer_class(spec: Ref<'_>, at: &Path, errors: &mut Errors) {
    let Some(class) = class(spec) else {
        return;
    };
    let at = at.child("loadBalancerClass");
    if spec.str("type") == "LoadBalancer" {
        qualified(class, &at, errors);
    } else {
        errors.push(FieldError::forbidden(&at, BALANCED_ONLY));
    }
}

fn traffic(spec: Ref<'_>, at: &Path, errors: &mut Errors) {
    let key = "externalTrafficPolicy";
    if is_exposed(spec) {
        closed(key, spec, &["Cluster", "Local"], at, errors);
    } else if !spec.str(key).is_empty() {
        let detail = "may only be set for externally-accessible services";
        errors.push(FieldError::invalid(&at.child(key), spec.str(key), detail));
    }
    let (health, path) = (ports::health(spec), at.child("healthCheckNodePort"));
    match (ports::wants_health(spec), health) {
        (false, 0) => {}
        (false, _) => {
            let detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
            errors.push(FieldError::invalid(&path, health, detail));
        }
        (true, 0) => errors.push(FieldError::required(&path, "")),
        (true, _) => port_number(health, &path, errors),
    }
    let key = "internalTrafficPolicy";
    let policy = spec.get(key).and_then(Ref::as_str);
    match (policy, spec.str("type")) {
        (Some(policy), _) if !INTERNAL.contains(&policy) => {
            errors.push(FieldError::not_supported(&at.child(key), policy, &INTERNAL));
        }
        (None, "ClusterIP" | "LoadBalancer" | "NodePort") => {
            errors.push(FieldError::required(&at.child(key), ""));
        }
        _ => {}
    }
    let key = "trafficDistribution";
    let known = ["PreferClose", "PreferSameZone", "PreferSameNode"];
    if let Some(given) = spec.get(key).and_then(Ref::as_str)
        && !known.contains(&given)
    {
        errors.push(FieldError::not_supported(&at.child(key), given, &known));
    }
}
