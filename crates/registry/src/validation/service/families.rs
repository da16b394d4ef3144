//! Families, policy and addresses of a Service before anything is allocated: what the client
//! left out is inferred, what this cluster cannot do is refused.
//!
//! Pure: the families of the cluster go in, the linked fields or findings come out. Which address
//! it becomes is decided in `addresses`.
//! Example: `PreferDualStack` with nothing else, on a cluster of IPv4 alone → families `[IPv4]`;
//! on one of both → `[IPv4, IPv6]`, and two addresses are missing.
//! Source: kubernetes v1.36.3 pkg/registry/core/service/storage/alloc.go (initIPFamilyFields),
//! storage.go (normalizeClusterIPs, patchAllocatedValues, defaultOnReadIPFamilies), strategy.go
//! (dropTypeDependentFields).

use api::{FieldError, Path};

use super::related;
use super::stack::{
    NONE, PREFER_DUAL, REQUIRE_DUAL, SINGLE, Stack, V4, V6, family_of, is_v6, other_family, shown,
};
use crate::validation::Errors;

/// The families of the cluster's ranges, the default first.
#[derive(Clone, Debug)]
pub(super) struct Families(Vec<&'static str>);

impl Families {
    pub(super) fn of(ranges: &[ipnet::IpNet]) -> Self {
        let mut found = Vec::new();
        for range in ranges {
            let family = if range.addr().is_ipv4() { V4 } else { V6 };
            if !found.contains(&family) {
                found.push(family);
            }
        }
        Self(found)
    }

    fn has(&self, family: &str) -> bool {
        self.0.contains(&family)
    }

    fn both(&self) -> bool {
        self.0.len() == 2
    }

    fn default(&self) -> &'static str {
        self.0.first().copied().unwrap_or(V4)
    }
}

/// Fills in what a stored Service lacks that was written before there were families.
pub(super) fn complete(old: &mut Stack, cluster: &Families) {
    if old.ips.is_empty() && !old.ip.is_empty() {
        old.ips = vec![old.ip.clone()];
    }
    if !old.needs_ip() || !old.families.is_empty() {
        return;
    }
    if old.ip != NONE {
        let families = old.ips.iter().map(|ip| if is_v6(ip) { V6 } else { V4 });
        old.families = families.map(str::to_owned).collect();
        old.policy = match old.families.len() {
            1 => Some(SINGLE.to_owned()),
            2 => Some(REQUIRE_DUAL.to_owned()),
            _ => old.policy.take(),
        };
        return;
    }
    let first = cluster.default();
    old.families = vec![first.to_owned()];
    old.policy = Some(SINGLE.to_owned());
    if old.selectorless {
        old.families.extend(other_family(first).map(str::to_owned));
        old.policy = Some(REQUIRE_DUAL.to_owned());
    }
}

/// Pairs the one address with the list on a create, for clients who know only the former.
pub(super) fn pair(new: &mut Stack) {
    if !new.ip.is_empty() && new.ips.is_empty() {
        new.ips = vec![new.ip.clone()];
    }
}

/// The same on an update, after the addresses were put back that a client left out.
pub(super) fn pair_update(new: &mut Stack, old: &Stack) {
    if new.needs_ip() && old.needs_ip() {
        if new.ip.is_empty() {
            new.ip.clone_from(&old.ip);
        }
        if new.ips.is_empty() {
            new.ips.clone_from(&old.ips);
        }
    }
    if new.ips.is_empty() && old.ip == new.ip {
        new.ips.clone_from(&old.ips);
    }
    if old.ip == new.ip || new.ips != old.ips {
        return;
    }
    new.ips = if new.ip.is_empty() {
        Vec::new()
    } else {
        vec![new.ip.clone()]
    };
}

/// Two Services that prefer both stacks and say the same: a cluster that has gained or lost a
/// family in between changes nothing about them.
pub(super) fn unmoved(new: &Stack, old: &Stack) -> bool {
    let prefers = |policy: Option<&str>| policy == Some(PREFER_DUAL);
    new.kind == old.kind
        && matches!(new.kind.as_str(), "ClusterIP" | "NodePort" | "LoadBalancer")
        && prefers(new.policy.as_deref())
        && prefers(old.policy.as_deref().or(Some(PREFER_DUAL)))
        && new.ips == old.ips
        && new.families == old.families
}

/// Drops what a change of type has made void and the client did not touch.
pub(super) fn drop_void(new: &mut Stack, old: &Stack) {
    if !old.needs_ip() || new.needs_ip() {
        return;
    }
    if new.ip == old.ip && new.ips == old.ips {
        new.ip.clear();
        new.ips.clear();
    }
    if new.families == old.families {
        new.families.clear();
    }
    if new.policy.as_deref().unwrap_or_default() == old.policy.as_deref().unwrap_or_default() {
        new.policy = None;
    }
}

/// Decides policy and families.
pub(super) fn decide(
    new: &mut Stack,
    old: Option<&Stack>,
    cluster: &Families,
) -> Result<(), Errors> {
    if !new.needs_ip() || old.is_some_and(|old| unmoved(new, old)) {
        return Ok(());
    }
    let lone = new.ip == NONE && new.selectorless;
    if new.policy.is_none() {
        // An update keeps what was decided; nobody gains or loses a stack by leaving it out.
        let kept = old.and_then(|old| old.policy.clone());
        let first = if lone { REQUIRE_DUAL } else { SINGLE };
        new.policy = kept.or_else(|| Some(first.to_owned()));
    }
    let errors = related::check(new, old);
    if !errors.is_empty() {
        return Err(errors);
    }
    let mut errors = Errors::new();
    if let Some(old) = old {
        reduce(new, old, &mut errors);
    }
    fits_policy(new, &mut errors);
    infer(new, cluster, &mut errors);
    if !errors.is_empty() {
        return Err(errors);
    }
    if lone {
        // Endpoints come from elsewhere, perhaps of a family that this cluster does not have.
        if new.families.is_empty() {
            new.families.push(cluster.default().to_owned());
        }
        if new.families.len() < 2 && !new.is_single() {
            let other = other_family(&new.families[0]);
            new.families.extend(other.map(str::to_owned));
        }
        return Ok(());
    }
    configured(new, cluster, &mut errors);
    if !errors.is_empty() {
        return Err(errors);
    }
    if new.families.is_empty() {
        new.families.push(cluster.default().to_owned());
    }
    if !new.is_single() && new.families.len() == 1 && cluster.both() {
        let other = other_family(&new.families[0]);
        new.families.extend(other.map(str::to_owned));
    }
    Ok(())
}

/// The second address and family go only by a change of policy.
fn reduce(new: &mut Stack, old: &Stack, errors: &mut Errors) {
    if new.is_single() {
        if new.ips == old.ips {
            new.ips.truncate(1);
        }
        if new.families == old.families {
            new.families.truncate(1);
        }
        return;
    }
    let at = Path::new("spec").child("ipFamilyPolicy");
    let fewer = |new: &[String], old: &[String]| !new.is_empty() && new.len() < old.len();
    for (fewer, what) in [
        (fewer(&new.ips, &old.ips), "cluster IP"),
        (fewer(&new.families, &old.families), "IP family"),
    ] {
        if fewer {
            let detail = format!("must be 'SingleStack' to release the secondary {what}");
            errors.push(FieldError::invalid(&at, new.shown_policy(), detail));
        }
    }
}

fn fits_policy(new: &Stack, errors: &mut Errors) {
    if !new.is_single() {
        return;
    }
    let at = Path::new("spec").child("ipFamilyPolicy");
    for (count, what) in [
        (new.ips.len(), "cluster IPs"),
        (new.families.len(), "IP families"),
    ] {
        if count == 2 {
            let detail = format!(
                "must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified"
            );
            errors.push(FieldError::invalid(&at, new.shown_policy(), detail));
        }
    }
}

/// Takes families that are missing from the addresses.
fn infer(new: &mut Stack, cluster: &Families, errors: &mut Errors) {
    for index in 0..new.ips.len() {
        let ip = &new.ips[index];
        if ip == NONE {
            break;
        }
        if index < new.families.len() {
            continue;
        }
        let family = family_of(ip);
        if cluster.has(family) {
            new.families.push(family.to_owned());
        } else {
            let at = Path::new("spec").child("clusterIPs").index(index);
            let detail = format!("{family} is not configured on this cluster");
            errors.push(FieldError::invalid(&at, shown(&new.ips), detail));
        }
    }
}

fn configured(new: &Stack, cluster: &Families, errors: &mut Errors) {
    let at = Path::new("spec");
    if new.policy.as_deref() == Some(REQUIRE_DUAL) && !cluster.both() {
        let detail = "this cluster is not configured for dual-stack services";
        let at = at.child("ipFamilyPolicy");
        errors.push(FieldError::invalid(&at, new.shown_policy(), detail));
    }
    for (index, family) in new.families.iter().enumerate() {
        if !cluster.has(family) {
            let at = at.child("ipFamilies").index(index);
            let detail = "not configured on this cluster";
            errors.push(FieldError::invalid(&at, family, detail));
        }
    }
}
