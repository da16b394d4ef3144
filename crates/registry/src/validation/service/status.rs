//! Findings about the status of a Service.
//!
//! Source: kubernetes v1.36.3 pkg/apis/core/validation/validation.go (ValidateLoadBalancerStatus).

use api::names::{self, ip_for_legacy_field, parse_ip_sloppy};
use api::{FieldError, Path};
use schema::Ref;

use crate::validation::Errors;

fn ingress(object: Ref<'_>) -> impl Iterator<Item = Ref<'_>> {
    let balancer = object.at(&["status", "loadBalancer"]);
    balancer
        .into_iter()
        .flat_map(|status| status.items("ingress"))
}

/// Findings about the addresses that a load balancer reports.
pub(crate) fn validate_status(new: Ref<'_>, old: Ref<'_>, errors: &mut Errors) {
    let known: Vec<&str> = ingress(old).map(|item| item.str("ip")).collect();
    let at = Path::new("status").child("loadBalancer").child("ingress");
    if new.at(&["spec", "type"]).and_then(Ref::as_str) != Some("LoadBalancer") {
        if ingress(new).next().is_some() {
            let detail = "may only be used when `spec.type` is 'LoadBalancer'";
            errors.push(FieldError::forbidden(&at, detail));
        }
        return;
    }
    for (index, item) in ingress(new).enumerate() {
        let (at, ip) = (at.index(index), item.str("ip"));
        if !ip.is_empty() {
            errors.extend(ip_for_legacy_field(&at.child("ip"), ip, true, &known));
        }
        let mode = at.child("ipMode");
        match item.get("ipMode").and_then(Ref::as_str) {
            None if !ip.is_empty() => {
                let detail = "must be specified when `ip` is set";
                errors.push(FieldError::required(&mode, detail));
            }
            Some(_) if ip.is_empty() => {
                let detail = "may not be specified when `ip` is not set";
                errors.push(FieldError::forbidden(&mode, detail));
            }
            Some(given) if !["Proxy", "VIP"].contains(&given) => {
                errors.push(FieldError::not_supported(&mode, given, &["Proxy", "VIP"]));
            }
            _ => {}
        }
        let (at, host) = (at.child("hostname"), item.str("hostname"));
        if host.is_empty() {
            continue;
        }
        let found = names::dns1123_subdomain(host);
        errors.extend(found.into_iter().map(|m| FieldError::invalid(&at, host, m)));
        if parse_ip_sloppy(host).is_some() {
            let detail = "must be a DNS name, not an IP address";
            errors.push(FieldError::invalid(&at, host, detail));
        }
    }
}
