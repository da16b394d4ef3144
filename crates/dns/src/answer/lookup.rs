//! Which part of the zone a name means.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{POD, SVC};
use crate::corefile::{Kubernetes, Pods};
use crate::message::{Name, kind, labels, wire};
use crate::zone::{Group, Kind, Zone};

/// Labels that a name below the domain can have: `_port._proto.service.namespace.svc`.
const DEPTH: usize = 5;

/// What a name means, whatever type is asked for.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    /// It does not exist.
    Nothing,
    /// It exists and has no records: the domain, `svc`, a namespace.
    Empty,
    /// A Service's own name.
    Service(&'a Group),
    /// Its `_port._proto`.
    Port(&'a Group, PortName<'a>),
    /// One of its endpoints: the label and the addresses.
    Host(&'a Group, &'a [u8], &'a [IpAddr]),
    /// A pod's address in its name.
    Pod(IpAddr),
    /// Addresses that are no Service's.
    Addresses(Vec<IpAddr>),
    /// Another name.
    Alias(&'a [u8]),
}

impl Found<'_> {
    /// Of the server itself.
    pub(crate) fn addresses(addresses: &[IpAddr]) -> Self {
        Self::Addresses(addresses.to_vec())
    }
}

/// `_http._tcp` without underscores.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PortName<'a> {
    /// Lower case.
    pub(crate) port: &'a [u8],
    /// Lower case.
    pub(crate) protocol: &'a [u8],
}

/// What SRV is asked of.
#[derive(Debug)]
pub(crate) enum SrvOf<'a> {
    /// All ports of a Service, or one.
    Group(&'a Group, Option<PortName<'a>>),
    /// All ports of one endpoint.
    Host(&'a Group, &'a [u8]),
}

/// The records of a type that a name has.
#[derive(Debug)]
pub(crate) enum Records<'a> {
    /// There is no such name.
    Unknown,
    /// The name has none of that type.
    None,
    /// A.
    V4(&'a [Ipv4Addr]),
    /// AAAA.
    V6(&'a [Ipv6Addr]),
    /// A or AAAA, of one family.
    Mixed(Vec<IpAddr>),
    /// SRV.
    Services(SrvOf<'a>),
    /// The name is an alias.
    Alias(&'a [u8]),
}

/// Finds the labels before the domain.
pub(crate) fn find<'a>(zone: &'a Zone, rules: &Kubernetes, below: &'a [u8]) -> Found<'a> {
    let mut parts: [&[u8]; DEPTH] = [&[]; DEPTH];
    let mut count = 0;
    let mut at = 0;
    let mut starts = [0; DEPTH];
    for label in labels(below) {
        if count == DEPTH {
            return Found::Nothing;
        }
        (parts[count], starts[count]) = (label, at);
        at += label.len();
        count += 1;
    }
    // From the right: svc or pod, namespace, service, what stands before it.
    let Some(kind_at) = count.checked_sub(1) else {
        return Found::Empty;
    };
    let is_service = parts[kind_at] == SVC;
    if !is_service && parts[kind_at] != POD {
        return Found::Nothing;
    }
    let Some(namespace_at) = count.checked_sub(2) else {
        return Found::Empty;
    };
    let exists = zone.has_namespace(parts[namespace_at]);
    let exposed = rules.namespaces.is_empty()
        || rules
            .namespaces
            .iter()
            .any(|one| **one == *parts[namespace_at]);
    if !exists || !exposed {
        return Found::Nothing;
    }
    let Some(service_at) = count.checked_sub(3) else {
        return match (is_service, rules.pods) {
            (false, Pods::Disabled) => Found::Nothing,
            _ => Found::Empty,
        };
    };
    if !is_service {
        return match rules.pods {
            Pods::Disabled => Found::Nothing,
            Pods::Insecure => pod(&parts[service_at][1..]).map_or(Found::Nothing, Found::Pod),
        };
    }
    let Some(group) = zone.group(&below[starts[service_at]..starts[kind_at]]) else {
        return Found::Nothing;
    };
    let Some(service) = &group.service else {
        return Found::Nothing;
    };
    if let Kind::External(target) = &service.kind {
        return match target {
            Some(target) if service_at == 0 => Found::Alias(target),
            _ => Found::Nothing,
        };
    }
    if rules.ignore_empty && matches!(service.kind, Kind::Cluster(_)) && group.hosts.is_empty() {
        return Found::Nothing;
    }
    match service_at {
        0 if group.v4.is_empty() && group.v6.is_empty() => Found::Nothing,
        0 => Found::Service(group),
        1 => match group.hosts.get(parts[0]) {
            Some(addresses) => Found::Host(group, parts[0], addresses),
            None => Found::Nothing,
        },
        _ => {
            let name = PortName {
                port: stripped(parts[0]),
                protocol: stripped(parts[1]),
            };
            match super::service::has_port(group, name) {
                true => Found::Port(group, name),
                false => Found::Nothing,
            }
        }
    }
}

/// Those of the records of a name that have the type.
pub(crate) fn records_of(found: Found<'_>, kind: u16) -> Records<'_> {
    let family = |addresses: &[IpAddr]| -> Vec<IpAddr> {
        let wanted = |address: &&IpAddr| match kind {
            kind::A => address.is_ipv4(),
            kind::AAAA => address.is_ipv6(),
            _ => false,
        };
        addresses.iter().filter(wanted).copied().collect()
    };
    let mixed = |addresses: Vec<IpAddr>| match addresses.is_empty() {
        true => Records::None,
        false => Records::Mixed(addresses),
    };
    match (found, kind) {
        (Found::Nothing, _) => Records::Unknown,
        (Found::Service(group) | Found::Port(group, _), kind::A) if !group.v4.is_empty() => {
            Records::V4(&group.v4)
        }
        (Found::Service(group) | Found::Port(group, _), kind::AAAA) if !group.v6.is_empty() => {
            Records::V6(&group.v6)
        }
        (Found::Service(group), kind::SRV) => Records::Services(SrvOf::Group(group, None)),
        (Found::Port(group, name), kind::SRV) => Records::Services(SrvOf::Group(group, Some(name))),
        (Found::Host(group, host, _), kind::SRV) => Records::Services(SrvOf::Host(group, host)),
        (Found::Host(_, _, addresses), _) => mixed(family(addresses)),
        (Found::Addresses(addresses), _) => mixed(family(&addresses)),
        (Found::Pod(address), _) => mixed(family(&[address])),
        (Found::Alias(target), kind::A | kind::AAAA | kind::CNAME) => Records::Alias(target),
        (Found::Alias(_) | Found::Empty | Found::Service(_) | Found::Port(..), _) => Records::None,
    }
}

fn stripped(label: &[u8]) -> &[u8] {
    let text = &label[1..];
    text.strip_prefix(b"_").unwrap_or(text)
}

/// The address in a pod's name: `10-244-1-2`, `fd00--1`.
fn pod(label: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(label).ok()?;
    if text.matches('-').count() == 3 && !text.contains("--") {
        return text
            .replace('-', ".")
            .parse::<Ipv4Addr>()
            .ok()
            .map(IpAddr::V4);
    }
    text.replace('-', ":")
        .parse::<Ipv6Addr>()
        .ok()
        .map(IpAddr::V6)
}

/// The address whose reverse name this is.
pub(crate) fn address(name: &Name) -> Option<IpAddr> {
    let zone = wire("in-addr.arpa")?;
    if let Some(below) = name.below(&zone) {
        let mut octets = [0; 4];
        let mut count = 0;
        for label in labels(below) {
            let text = std::str::from_utf8(&label[1..]).ok()?;
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            *octets.get_mut(3_usize.checked_sub(count)?)? = text.parse().ok().filter(|_| digits)?;
            count += 1;
        }
        return (count == 4).then(|| IpAddr::V4(octets.into()));
    }
    let below = name.below(&wire("ip6.arpa")?)?;
    let mut bits: u128 = 0;
    let mut count = 0;
    for label in labels(below) {
        let [digit] = &label[1..] else { return None };
        let digit = char::from(*digit).to_digit(16)?;
        bits |= u128::from(digit).checked_shl(4 * count)?;
        count += 1;
    }
    (count == 32).then(|| IpAddr::V6(bits.into()))
}
