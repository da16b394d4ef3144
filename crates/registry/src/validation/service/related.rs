//! What addresses, families and policy of a Service must be to each other.
//!
//! Findings about one Service and about a change of it; asked once before allocation, where it
//! keeps nonsense away from the rules there, and once more with all other rules.
//! Source: kubernetes v1.36.3 pkg/apis/core/validation/validation.go
//! (ValidateServiceClusterIPsRelatedFields, validateUpgradeDowngradeClusterIPs,
//! validateUpgradeDowngradeIPFamilies).

use api::names::ip_for_legacy_field;
use api::{FieldError, Path};

use super::stack::{NONE, PREFER_DUAL, REQUIRE_DUAL, SINGLE, Stack, V4, V6, is_v6, shown};
use crate::validation::Errors;

const UNCHANGED: &str = "may not change once set";

/// Findings about the linked fields.
pub(super) fn check(new: &Stack, old: Option<&Stack>) -> Errors {
    let mut errors = Errors::new();
    if !new.needs_ip() {
        return errors;
    }
    let spec = Path::new("spec");
    paired(new, &spec, &mut errors);
    families(new, &spec, &mut errors);
    if let Some(policy) = new.policy.as_deref() {
        let known = [PREFER_DUAL, REQUIRE_DUAL, SINGLE];
        if !known.contains(&policy) {
            let at = spec.child("ipFamilyPolicy");
            errors.push(FieldError::not_supported(&at, policy, &known));
        }
    }
    let known = old.map_or(&[][..], |old| old.ips.as_slice());
    addresses(new, known, &spec.child("clusterIPs"), &mut errors);
    errors
}

/// The one address and the list agree.
fn paired(new: &Stack, spec: &Path, errors: &mut Errors) {
    let at = spec.child("clusterIPs");
    match new.ips.first() {
        None if new.ip.is_empty() => {}
        None => errors.push(FieldError::required(&at, "")),
        Some(_) if new.ip.is_empty() => {
            let detail = "must be empty when `clusterIP` is not specified";
            errors.push(FieldError::invalid(&at, shown(&new.ips), detail));
        }
        Some(first) if *first != new.ip => {
            let detail = "first value must match `clusterIP`";
            errors.push(FieldError::invalid(&at, shown(&new.ips), detail));
        }
        Some(_) => {}
    }
}

fn families(new: &Stack, spec: &Path, errors: &mut Errors) {
    for (index, family) in new.families.iter().enumerate() {
        let at = spec.child("ipFamilies").index(index);
        if family != V4 && family != V6 {
            errors.push(FieldError::not_supported(&at, family, &[V4, V6]));
        }
        if new.families[..index].contains(family) {
            errors.push(FieldError::duplicate(&at, family));
        }
    }
}

fn addresses(new: &Stack, known: &[String], at: &Path, errors: &mut Errors) {
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let mut wrong = false;
    for (index, ip) in new.ips.iter().enumerate() {
        if index == 0 && ip == NONE {
            if new.ips.len() > 1 {
                wrong = true;
                let detail = "'None' must be the first and only value";
                errors.push(FieldError::invalid(at, shown(&new.ips), detail));
            }
            continue;
        }
        let found = ip_for_legacy_field(&at.index(index), ip, true, &known);
        wrong |= !found.is_empty();
        errors.extend(found);
    }
    if new.ips.len() > 2 {
        let detail = "may only hold up to 2 values";
        errors.push(FieldError::invalid(at, shown(&new.ips), detail));
    }
    // What is no address has no family to complain about.
    if wrong {
        return;
    }
    let sixes = new.ips.iter().filter(|ip| is_v6(ip)).count();
    if new.ips.len() > 1 && (sixes == 0 || sixes == new.ips.len()) {
        let detail = "may specify no more than one IP for each IP family";
        errors.push(FieldError::invalid(at, shown(&new.ips), detail));
    }
    if new.is_headless() {
        return;
    }
    for (index, (ip, family)) in new.ips.iter().zip(&new.families).enumerate() {
        let differs = match family.as_str() {
            V4 => is_v6(ip),
            V6 => !is_v6(ip),
            _ => false,
        };
        if differs {
            let detail =
                format!("expected an {family} value as indicated by `ipFamilies[{index}]`");
            errors.push(FieldError::invalid(&at.index(index), ip, detail));
        }
    }
}

/// Findings about a change: the first address and family stay, the second may come and go.
pub(super) fn check_update(new: &Stack, old: &Stack, errors: &mut Errors) {
    if !new.needs_ip() || !old.needs_ip() {
        return;
    }
    if new.is_headless() && old.is_headless() {
        return;
    }
    changed_addresses(new, old, errors);
    if !new.is_headless() && !old.is_headless() {
        changed_families(new, old, errors);
    }
}

fn changed_addresses(new: &Stack, old: &Stack, errors: &mut Errors) {
    let at = Path::new("spec").child("clusterIPs");
    let refuse = |index: usize, detail: &str, errors: &mut Errors| {
        errors.push(FieldError::invalid(
            &at.index(index),
            shown(&new.ips),
            detail,
        ));
    };
    if old.ips.len() == new.ips.len() {
        for (index, (was, is)) in old.ips.iter().zip(&new.ips).enumerate() {
            if was != is {
                refuse(index, UNCHANGED, errors);
            }
        }
        return;
    }
    if new.ips.is_empty() {
        refuse(0, "primary clusterIP can not be unset", errors);
    }
    if moved(&new.ips, &old.ips) {
        refuse(0, UNCHANGED, errors);
    }
    released(new, old.ips.len(), new.ips.len(), "clusterIP", errors);
}

fn changed_families(new: &Stack, old: &Stack, errors: &mut Errors) {
    // As upstream, the path is the first item whichever changed, and after a change of their
    // number the value is that of the addresses.
    let at = Path::new("spec").child("ipFamilies").index(0);
    if old.families.len() == new.families.len() {
        for (was, is) in old.families.iter().zip(&new.families) {
            if was != is {
                errors.push(FieldError::invalid(&at, shown(&new.families), UNCHANGED));
            }
        }
        return;
    }
    if old.families.len() > new.families.len() && new.ips.is_empty() {
        let detail = "primary ipFamily can not be unset";
        errors.push(FieldError::invalid(&at, shown(&new.families), detail));
    }
    if moved(&new.families, &old.families) {
        errors.push(FieldError::invalid(&at, shown(&new.ips), UNCHANGED));
    }
    released(
        new,
        old.families.len(),
        new.families.len(),
        "ipFamily",
        errors,
    );
}

fn moved(new: &[String], old: &[String]) -> bool {
    matches!((new.first(), old.first()), (Some(is), Some(was)) if is != was)
}

fn released(new: &Stack, was: usize, is: usize, what: &str, errors: &mut Errors) {
    if was > is && is == 1 && !new.is_single() {
        let at = Path::new("spec").child("ipFamilyPolicy");
        let detail = format!("must be set to 'SingleStack' when releasing the secondary {what}");
        errors.push(FieldError::invalid(&at, new.shown_policy(), detail));
    }
}
