//! SRV records: ports of Services and endpoints, with the addresses of their targets.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::lookup::{PortName, SrvOf};
use super::{SVC, write_address};
use crate::message::{At, POINTER_END, Reply, Section, kind};
use crate::zone::{Group, Kind, Port};

/// A port on a target.
struct Target<'a> {
    host: Option<&'a [u8]>,
    address: IpAddr,
    port: Option<u16>,
}

/// Whether the group has a port of that name and protocol; an empty part fits all.
pub(super) fn has_port(group: &Group, name: PortName<'_>) -> bool {
    match &group.service {
        Some(service) if service.kind == Kind::Headless => group.slices.values().any(|slice| {
            let ports = &slice.ports;
            !slice.endpoints.is_empty() && ports.iter().any(|port| fits(port, name))
        }),
        Some(service) => service.ports.iter().any(|port| fits(port, name)),
        None => false,
    }
}

fn fits(port: &Port, name: PortName<'_>) -> bool {
    let same = |asked: &[u8], has: &str| asked.is_empty() || asked == has.as_bytes();
    same(name.port, &port.name) && same(name.protocol, &port.protocol)
}

/// Writes what was asked for; false when there is nothing to write.
pub(super) fn write(
    reply: &mut Reply<'_>,
    of: SrvOf<'_>,
    domain: &[u8],
    ttl: u32,
    turn: usize,
) -> bool {
    let (group, targets) = match of {
        SrvOf::Group(group, name) => (group, targets(group, name, None)),
        SrvOf::Host(group, host) => (group, targets(group, None, Some(host))),
    };
    // As coredns: a hundred shared by all, at least one.
    let weight = u16::try_from(100 / targets.len().max(1))
        .unwrap_or(1)
        .max(1);
    let service = [&group.key, SVC, domain].concat();
    let (before, after) = targets.split_at(turn.checked_rem(targets.len()).unwrap_or(0));
    let mut names: HashMap<Option<&[u8]>, usize> = HashMap::new();
    let mut written = HashSet::new();
    let mut addresses = Vec::new();
    for target in after.iter().chain(before) {
        let Some(port) = target.port else { continue };
        if written.insert((target.host, port)) {
            let name = match target.host {
                Some(host) => [host, &service].concat(),
                None => service.clone(),
            };
            let mut here = 0;
            let fits = reply.record(Section::Answer, At::Question, kind::SRV, ttl, |reply| {
                for number in [0, weight, port] {
                    reply.bytes(&number.to_be_bytes());
                }
                // RFC 2782: the target is not compressed.
                here = reply.plain_name(&name);
            });
            if !fits {
                return true;
            }
            names.entry(target.host).or_insert(here);
        }
        if let Some(at) = names.get(&target.host) {
            addresses.push((*at, target.address));
        }
    }
    let mut seen = HashSet::new();
    addresses.retain(|entry| seen.insert(*entry));
    for (at, address) in addresses {
        // Beyond what a pointer reaches it is left out.
        if at < POINTER_END {
            write_address(reply, Section::Additional, At::Offset(at), address, ttl);
        }
    }
    !written.is_empty()
}

fn targets<'a>(
    group: &'a Group,
    name: Option<PortName<'_>>,
    host: Option<&[u8]>,
) -> Vec<Target<'a>> {
    let wanted = |port: &&Port| name.is_none_or(|name| fits(port, name));
    let mut all = Vec::new();
    let service = group.service.as_ref();
    if let (None, Some(Kind::Cluster(addresses))) = (host, service.map(|s| &s.kind)) {
        for port in service.into_iter().flat_map(|s| &s.ports).filter(wanted) {
            all.extend(addresses.iter().map(|address| Target {
                host: None,
                address: *address,
                port: port.number,
            }));
        }
        return all;
    }
    for slice in group.slices.values() {
        for (address, own) in &slice.endpoints {
            if host.is_some_and(|host| *host != **own) {
                continue;
            }
            for port in slice.ports.iter().filter(wanted) {
                all.push(Target {
                    host: Some(own),
                    address: *address,
                    port: port.number,
                });
            }
        }
    }
    all
}
