//! What is accepted of a Service and yet hardly meant.
//!
//! Ranges are only looked at for the form of IPv6: validation has refused the rest.
//! Source: kubernetes v1.36.3 pkg/api/service/warnings.go; apimachinery v0.36.3
//! pkg/util/validation/ip.go (GetWarningsForIP, GetWarningsForCIDR).

use std::net::IpAddr;

use api::names::{parse_cidr_sloppy, parse_ip_sloppy};
use api::text::quote;
use schema::Ref;

const HINTS: &str = "service.kubernetes.io/topology-aware-hints";
const MODE: &str = "service.kubernetes.io/topology-mode";

/// A Service's fields that do nothing, will do nothing, or say it in an odd way.
pub(crate) fn service(new: Ref<'_>, _: Option<Ref<'_>>, out: &mut Vec<String>) {
    let Some(spec) = new.get("spec") else {
        return;
    };
    let hints = new
        .at(&["metadata", "annotations"])
        .and_then(|all| all.get(HINTS));
    if hints.is_some() {
        out.push(format!(
            "annotation {HINTS} is deprecated, please use {MODE} instead"
        ));
    }
    if !matches!(spec.str("clusterIP"), "" | "None") {
        addresses(spec, "clusterIPs", out);
    }
    let external = spec.items("externalIPs").next().is_some();
    let by_name = spec.str("type") == "ExternalName";
    let headless = spec.str("type") == "ClusterIP" && spec.str("clusterIP") == "None";
    if headless {
        if !spec.str("loadBalancerIP").is_empty() {
            out.push("spec.loadBalancerIP is ignored for headless services".to_owned());
        }
        if external {
            out.push("spec.externalIPs is ignored for headless services".to_owned());
        }
        if spec.str("sessionAffinity") != "None" {
            out.push("spec.SessionAffinity is ignored for headless services".to_owned());
        }
    }
    addresses(spec, "externalIPs", out);
    if external && !headless && !by_name {
        out.push(
            "spec.externalIPs is deprecated and may no longer be implemented in some clusters"
                .to_owned(),
        );
    }
    if !spec.str("loadBalancerIP").is_empty() {
        out.extend(address("spec.loadBalancerIP", spec.str("loadBalancerIP")));
    }
    let ranges = spec.items("loadBalancerSourceRanges").enumerate();
    for (index, range) in ranges {
        let at = format!("spec.loadBalancerSourceRanges[{index}]");
        out.extend(range.as_str().and_then(|range| odd_range(&at, range)));
    }
    if external && by_name {
        out.push(r#"spec.externalIPs is ignored when spec.type is "ExternalName""#.to_owned());
    }
    if !by_name && !spec.str("externalName").is_empty() {
        out.push(r#"spec.externalName is ignored when spec.type is not "ExternalName""#.to_owned());
    }
    if spec.str("trafficDistribution") == "PreferClose" {
        out.push(
            r#"spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone""#
                .to_owned(),
        );
    }
}

fn addresses(spec: Ref<'_>, key: &str, out: &mut Vec<String>) {
    for (index, ip) in spec.items(key).enumerate() {
        let at = format!("spec.{key}[{index}]");
        out.extend(ip.as_str().and_then(|ip| address(&at, ip)));
    }
}

fn address(at: &str, given: &str) -> Option<String> {
    let ip = parse_ip_sloppy(given)?;
    let plain = ip.to_canonical();
    if given.parse::<IpAddr>().is_err() || ip != plain {
        return Some(format!(
            "{at}: non-standard IP address {} is invalid: use {}",
            quote(given),
            quote(&plain.to_string())
        ));
    }
    let canonical = ip.to_string();
    (ip.is_ipv6() && canonical != given).then(|| {
        format!(
            "{at}: IPv6 address {} should be in RFC 5952 canonical format ({})",
            quote(given),
            quote(&canonical)
        )
    })
}

fn odd_range(at: &str, given: &str) -> Option<String> {
    let (ip, bits) = parse_cidr_sloppy(given)?;
    let canonical = format!("{ip}/{bits}");
    (ip.is_ipv6() && canonical != given).then(|| {
        format!(
            "{at}: IPv6 CIDR value {} should be in RFC 5952 canonical format ({})",
            quote(given),
            quote(&canonical)
        )
    })
}
