//! EndpointSlices, Ingresses, NetworkPolicies, IPAddresses, ServiceCIDRs.
//!
//! Source: kubernetes v1.36.3 pkg/apis/{discovery,networking}/validation.

use api::{FieldError, Path, names};
use schema::{Ref, Value};

use super::{Errors, immutable, label_selector, one_of, required};

pub(crate) fn endpoint_slice(object: Ref<'_>, errors: &mut Errors) {
    let kind = object.str("addressType");
    if kind.is_empty() {
        errors.push(FieldError::required(&Path::new("addressType"), ""));
    }
    one_of(
        object,
        "addressType",
        &["FQDN", "IPv4", "IPv6"],
        &Path::root(),
        errors,
    );
    let at = Path::new("endpoints");
    if object.items("endpoints").count() > 1000 {
        errors.push(FieldError::too_many(
            &at,
            object.items("endpoints").count(),
            1000,
        ));
    }
    for (index, endpoint) in object.items("endpoints").enumerate() {
        let path = at.index(index).child("addresses");
        let count = endpoint.items("addresses").count();
        if count == 0 {
            errors.push(FieldError::required(
                &path,
                "must contain at least 1 address",
            ));
        } else if count > 100 {
            errors.push(FieldError::too_many(&path, count, 100));
        }
        for (number, address) in endpoint
            .items("addresses")
            .filter_map(Ref::as_str)
            .enumerate()
        {
            let fits = match kind {
                "IPv4" => address.parse::<std::net::Ipv4Addr>().is_ok(),
                "IPv6" => address.parse::<std::net::Ipv6Addr>().is_ok(),
                _ => true,
            };
            if !fits {
                let detail = format!("must be an {kind} address");
                errors.push(FieldError::invalid(&path.index(number), address, detail));
            }
        }
    }
    let mut seen = std::collections::HashSet::new();
    for (index, port) in object.items("ports").enumerate() {
        let path = Path::new("ports").index(index);
        if !seen.insert(port.str("name")) {
            errors.push(FieldError::duplicate(&path.child("name"), port.str("name")));
        }
        one_of(port, "protocol", &["SCTP", "TCP", "UDP"], &path, errors);
    }
}

pub(crate) fn endpoint_slice_update(new: Ref<'_>, old: Ref<'_>, errors: &mut Errors) {
    immutable(
        new.get("addressType"),
        old.get("addressType"),
        &Path::new("addressType"),
        errors,
    );
}

pub(crate) fn ingress(object: Ref<'_>, errors: &mut Errors) {
    let at = Path::new("spec");
    let Some(spec) = object.get("spec") else {
        return;
    };
    if spec.items("rules").next().is_none() && spec.get("defaultBackend").is_none() {
        let detail = "either `defaultBackend` or `rules` must be specified";
        errors.push(FieldError::invalid(
            &at,
            api::BadValue::Raw(super::shown(spec)),
            detail,
        ));
    }
    for (index, rule) in spec.items("rules").enumerate() {
        let path = at.child("rules").index(index);
        let host = rule.str("host");
        if !host.is_empty() {
            let messages = if host.starts_with('*') {
                names::wildcard_dns1123_subdomain(host)
            } else {
                names::dns1123_subdomain(host)
            };
            for message in messages {
                errors.push(FieldError::invalid(&path.child("host"), host, message));
            }
        }
        let Some(http) = rule.get("http") else {
            continue;
        };
        let paths = path.child("http").child("paths");
        if http.items("paths").next().is_none() {
            errors.push(FieldError::required(&paths, ""));
        }
        for (number, one) in http.items("paths").enumerate() {
            let path = paths.index(number);
            match one.str("pathType") {
                "" => errors.push(FieldError::required(
                    &path.child("pathType"),
                    "pathType must be specified",
                )),
                kind => {
                    let kinds = ["Exact", "ImplementationSpecific", "Prefix"];
                    one_of(one, "pathType", &kinds, &path, errors);
                    if matches!(kind, "Exact" | "Prefix") && !one.str("path").starts_with('/') {
                        let detail = "must be an absolute path";
                        errors.push(FieldError::invalid(
                            &path.child("path"),
                            one.str("path"),
                            detail,
                        ));
                    }
                }
            }
        }
    }
}

pub(crate) fn ingress_class(object: Ref<'_>, errors: &mut Errors) {
    let at = Path::new("spec");
    if let Some(spec) = object.get("spec") {
        let controller = spec.str("controller");
        if controller.len() > 250 {
            errors.push(FieldError::too_long(&at.child("controller"), 250));
        }
        if !controller.is_empty() && !controller.contains('/') {
            let detail = "must be a domain-prefixed path (such as \"acme.io/foo\")";
            errors.push(FieldError::invalid(
                &at.child("controller"),
                controller,
                detail,
            ));
        }
    }
}

pub(crate) fn network_policy(object: Ref<'_>, errors: &mut Errors) {
    let at = Path::new("spec");
    let Some(spec) = object.get("spec") else {
        return;
    };
    if let Some(selector) = spec.get("podSelector") {
        label_selector(selector, &at.child("podSelector"), errors);
    }
    for (list, peers) in [("ingress", "from"), ("egress", "to")] {
        for (index, rule) in spec.items(list).enumerate() {
            let path = at.child(list).index(index);
            for (number, port) in rule.items("ports").enumerate() {
                let path = path.child("ports").index(number);
                one_of(port, "protocol", &["SCTP", "TCP", "UDP"], &path, errors);
                match port.get("port").map(Ref::value) {
                    Some(Value::Int(value)) => {
                        for message in names::port_number(value) {
                            errors.push(FieldError::invalid(&path.child("port"), value, message));
                        }
                    }
                    Some(Value::Str(name)) => {
                        for message in names::port_name(name) {
                            errors.push(FieldError::invalid(&path.child("port"), name, message));
                        }
                    }
                    _ => {}
                }
            }
            for (number, peer) in rule.items(peers).enumerate() {
                let path = path.child(peers).index(number);
                if peer.is_empty() {
                    errors.push(FieldError::required(&path, "must specify a peer"));
                }
                if let Some(block) = peer.get("ipBlock") {
                    let path = path.child("ipBlock").child("cidr");
                    let cidr = block.str("cidr");
                    if cidr.is_empty() {
                        errors.push(FieldError::required(&path, ""));
                    } else if cidr.parse::<ipnet::IpNet>().is_err() {
                        let detail =
                            "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
                        errors.push(FieldError::invalid(&path, cidr, detail));
                    }
                }
            }
        }
    }
    for (index, kind) in spec
        .items("policyTypes")
        .filter_map(Ref::as_str)
        .enumerate()
    {
        if !["Ingress", "Egress"].contains(&kind) {
            let path = at.child("policyTypes").index(index);
            errors.push(FieldError::not_supported(
                &path,
                kind,
                &["Egress", "Ingress"],
            ));
        }
    }
}

pub(crate) fn ip_address(object: Ref<'_>, errors: &mut Errors) {
    let name = api::meta::of(object).name();
    if name.parse::<std::net::IpAddr>().is_err() {
        let detail = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        errors.push(FieldError::invalid(
            &Path::new("metadata").child("name"),
            name,
            detail,
        ));
    }
    let at = Path::new("spec").child("parentRef");
    match object.at(&["spec", "parentRef"]) {
        Some(parent) => {
            required(parent, "resource", &at, errors);
            required(parent, "name", &at, errors);
        }
        None => errors.push(FieldError::required(&at, "")),
    }
}

pub(crate) fn service_cidr(object: Ref<'_>, errors: &mut Errors) {
    let at = Path::new("spec").child("cidrs");
    let ranges: Vec<&str> = object
        .get("spec")
        .into_iter()
        .flat_map(|s| s.items("cidrs"))
        .filter_map(Ref::as_str)
        .collect();
    if ranges.is_empty() {
        errors.push(FieldError::required(&at, "at least one CIDR required"));
    }
    for (index, range) in ranges.iter().enumerate() {
        if range.parse::<ipnet::IpNet>().is_err() {
            let detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
            errors.push(FieldError::invalid(&at.index(index), *range, detail));
        }
    }
}

pub(crate) fn service_cidr_update(new: Ref<'_>, old: Ref<'_>, errors: &mut Errors) {
    let at = Path::new("spec").child("cidrs");
    immutable(
        new.at(&["spec", "cidrs"]),
        old.at(&["spec", "cidrs"]),
        &at,
        errors,
    );
}
