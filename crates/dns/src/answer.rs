//! A question and the zone → a reply, or the question to ask somebody else.
//!
//! Example: A web.a.svc.cluster.local → group `\3web\1a` → the addresses of its Service, each
//! owner a pointer to the question, which keeps the client's spelling. An ExternalName that leads
//! out of the zone is a [`Answer::Chase`]: the shell asks for its target and [`finish_chase`]
//! writes both.
//! What exists but has no record of the type gets the SOA and no error; what does not exist gets
//! it with NXDOMAIN; while the zone is not yet complete that is SERVFAIL instead.
//! Source: kubernetes dns specification 1.1; coredns v1.14 plugin/backend_lookup.go,
//! plugin/kubernetes/{handler,kubernetes,parse,ns}.go.

mod chase;
mod lookup;
mod service;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::corefile::Kubernetes;
use crate::message::{At, IN, Name, Query, Reply, Section, flag, kind, rcode, wire};
use crate::zone::Zone;

pub(crate) use chase::finish_chase;
use lookup::{Found, Records, find, records_of};

/// Label of names below `svc`.
const SVC: &[u8] = b"\x03svc";
/// Label of names below `pod`.
const POD: &[u8] = b"\x03pod";
/// ExternalNames followed within the zone.
const CHAIN_LIMIT: usize = 10;

/// What comes of a question.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The reply stands in the buffer.
    Done,
    /// The name is not ours.
    Elsewhere,
    /// Aliases that lead out of the zone.
    Chase(Chase),
}

/// Aliases found so far: each the target of the one before, the last one to be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chase {
    /// Names in wire form.
    pub(crate) targets: Vec<Box<[u8]>>,
    /// TTL of the aliases.
    pub(crate) ttl: u32,
}

/// What an answer depends on besides the zone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// The `kubernetes` directive of the Corefile.
    pub(crate) rules: &'a Kubernetes,
    /// Addresses of this server, for the zone's NS while there is no Service `kube-dns`.
    pub(crate) own: &'a [IpAddr],
    /// Largest reply.
    pub(crate) limit: usize,
    /// Where a list of addresses begins: spreads clients over them.
    pub(crate) turn: usize,
}

/// Answers `query` into `buffer`.
pub(crate) fn answer(
    zone: &Zone,
    place: Place<'_>,
    query: &Query<'_>,
    buffer: &mut Vec<u8>,
) -> Answer {
    let rules = place.rules;
    let Some(domain) = longest(&rules.zones, &query.name) else {
        return match longest(&rules.reverse, &query.name) {
            Some(apex) => reverse(zone, place, query, apex, buffer),
            None => Answer::Elsewhere,
        };
    };
    if query.class != IN {
        return failure(query, place.limit, rcode::REFUSED, buffer);
    }
    let below = query.name.below(domain).unwrap_or_default();
    match query.kind {
        kind::AXFR | kind::IXFR => return failure(query, place.limit, rcode::REFUSED, buffer),
        kind::SOA if below.is_empty() => {
            let mut reply = begin(buffer, query, place.limit, rcode::NO_ERROR);
            soa(
                &mut reply,
                Section::Answer,
                At::Question,
                domain,
                zone,
                rules.ttl,
            );
            reply.finish();
            return Answer::Done;
        }
        kind::NS if below.is_empty() => return name_servers(zone, place, query, domain, buffer),
        kind::TXT if below == b"\x0bdns-version" => {
            let mut reply = begin(buffer, query, place.limit, rcode::NO_ERROR);
            reply.record(Section::Answer, At::Question, kind::TXT, 28800, |reply| {
                reply.bytes(b"\x051.1.0");
            });
            reply.finish();
            return Answer::Done;
        }
        _ => {}
    }
    if below == b"\x02ns\x03dns" {
        let addresses = server_addresses(zone, place.own);
        let found = Found::addresses(&addresses);
        return write(zone, place, query, domain, found, buffer);
    }
    let found = find(zone, rules, below);
    write(zone, place, query, domain, found, buffer)
}

fn write(
    zone: &Zone,
    place: Place<'_>,
    query: &Query<'_>,
    domain: &[u8],
    found: Found<'_>,
    buffer: &mut Vec<u8>,
) -> Answer {
    let ttl = place.rules.ttl;
    match records_of(found, query.kind) {
        Records::Unknown if place.rules.falls_through(&query.name) => Answer::Elsewhere,
        Records::Unknown => {
            let code = match zone.is_synced() {
                true => rcode::NAME_ERROR,
                false => rcode::SERVER_FAILURE,
            };
            negative(zone, place, query, domain, code, buffer)
        }
        Records::None => negative(zone, place, query, domain, rcode::NO_ERROR, buffer),
        Records::V4(addresses) => {
            let mut reply = begin(buffer, query, place.limit, rcode::NO_ERROR);
            write_v4(&mut reply, At::Question, addresses, ttl, place.turn);
            reply.finish();
            Answer::Done
        }
        Records::V6(addresses) => {
            let mut reply = begin(buffer, query, place.limit, rcode::NO_ERROR);
            write_v6(&mut reply, At::Question, addresses, ttl, place.turn);
            reply.finish();
            Answer::Done
        }
        Records::Mixed(addresses) => {
            let mut reply = begin(buffer, query, place.limit, rcode::NO_ERROR);
            for address in addresses {
                write_address(&mut reply, Section::Answer, At::Question, address, ttl);
            }
            reply.finish();
            Answer::Done
        }
        Records::Services(lookup) => {
            let mut reply = begin(buffer, query, place.limit, rcode::NO_ERROR);
            if service::write(&mut reply, lookup, domain, ttl, place.turn) {
                reply.finish();
                return Answer::Done;
            }
            negative(zone, place, query, domain, rcode::NO_ERROR, buffer)
        }
        Records::Alias(target) if query.kind == kind::CNAME => {
            let mut reply = begin(buffer, query, place.limit, rcode::NO_ERROR);
            reply.record(Section::Answer, At::Question, kind::CNAME, ttl, |reply| {
                reply.name(target);
            });
            reply.finish();
            Answer::Done
        }
        Records::Alias(target) => alias(zone, place, query, domain, target, buffer),
    }
}

/// Follows aliases inside the zone.
fn alias(
    zone: &Zone,
    place: Place<'_>,
    query: &Query<'_>,
    domain: &[u8],
    first: &[u8],
    buffer: &mut Vec<u8>,
) -> Answer {
    let mut targets: Vec<Box<[u8]>> = Vec::new();
    let mut target = first;
    let nothing =
        |buffer: &mut Vec<u8>| negative(zone, place, query, domain, rcode::NO_ERROR, buffer);
    loop {
        let circle = target == query.name.wire() || targets.iter().any(|known| **known == *target);
        if circle || targets.len() >= CHAIN_LIMIT {
            return nothing(buffer);
        }
        targets.push(target.into());
        let Some(name) = Name::from_wire(target) else {
            return nothing(buffer);
        };
        let Some(below) = name.below(domain).map(|below| &target[..below.len()]) else {
            return Answer::Chase(Chase {
                targets,
                ttl: place.rules.ttl,
            });
        };
        match records_of(find(zone, place.rules, below), query.kind) {
            Records::Alias(next) => target = next,
            Records::V4(addresses) => {
                let mut reply = begin(buffer, query, place.limit, rcode::NO_ERROR);
                let last = write_aliases(&mut reply, &targets, place.rules.ttl);
                write_v4(&mut reply, last, addresses, place.rules.ttl, place.turn);
                reply.finish();
                return Answer::Done;
            }
            Records::V6(addresses) => {
                let mut reply = begin(buffer, query, place.limit, rcode::NO_ERROR);
                let last = write_aliases(&mut reply, &targets, place.rules.ttl);
                write_v6(&mut reply, last, addresses, place.rules.ttl, place.turn);
                reply.finish();
                return Answer::Done;
            }
            _ => return nothing(buffer),
        }
    }
}

/// Writes each alias; gives the owner of what follows.
fn write_aliases<'a>(reply: &mut Reply<'_>, targets: &[Box<[u8]>], ttl: u32) -> At<'a> {
    let mut owner = At::Question;
    for target in targets {
        let mut at = 0;
        let written = reply.record(Section::Answer, owner, kind::CNAME, ttl, |reply| {
            at = reply.name(target);
        });
        if !written {
            break;
        }
        owner = At::Offset(at);
    }
    owner
}

/// The name of an address.
fn reverse(
    zone: &Zone,
    place: Place<'_>,
    query: &Query<'_>,
    apex: &[u8],
    buffer: &mut Vec<u8>,
) -> Answer {
    let names = match (query.kind, lookup::address(&query.name)) {
        (kind::PTR, Some(address)) if query.class == IN => zone.names_of(address),
        _ => Vec::new(),
    };
    let (rules, Some(domain)) = (place.rules, place.rules.zones.first()) else {
        return Answer::Elsewhere;
    };
    if names.is_empty() {
        if rules.falls_through(&query.name) {
            return Answer::Elsewhere;
        }
        let code = match zone.is_synced() {
            true => rcode::NAME_ERROR,
            false => rcode::SERVER_FAILURE,
        };
        return negative(zone, place, query, apex, code, buffer);
    }
    let mut reply = begin(buffer, query, place.limit, rcode::NO_ERROR);
    for name in names {
        let target = [&name[..], SVC, domain].concat();
        reply.record(
            Section::Answer,
            At::Question,
            kind::PTR,
            rules.ttl,
            |reply| {
                reply.name(&target);
            },
        );
    }
    reply.finish();
    Answer::Done
}

/// NS of the zone: the Service `kube-dns`, else this server.
fn name_servers(
    zone: &Zone,
    place: Place<'_>,
    query: &Query<'_>,
    domain: &[u8],
    buffer: &mut Vec<u8>,
) -> Answer {
    let addresses = server_addresses(zone, place.own);
    let label: &[u8] = match kube_dns(zone) {
        Some(_) => b"\x08kube-dns\x0bkube-system\x03svc",
        None => b"\x02ns\x03dns",
    };
    let name = [label, domain].concat();
    let ttl = place.rules.ttl;
    let mut reply = begin(buffer, query, place.limit, rcode::NO_ERROR);
    let mut at = 0;
    reply.record(Section::Answer, At::Question, kind::NS, ttl, |reply| {
        at = reply.name(&name);
    });
    for address in addresses {
        write_address(
            &mut reply,
            Section::Additional,
            At::Offset(at),
            address,
            ttl,
        );
    }
    reply.finish();
    Answer::Done
}

fn kube_dns(zone: &Zone) -> Option<Vec<IpAddr>> {
    let group = zone.group(b"\x08kube-dns\x0bkube-system")?;
    group.service.as_ref()?;
    let v4 = group.v4.iter().copied().map(IpAddr::V4);
    let all: Vec<_> = v4.chain(group.v6.iter().copied().map(IpAddr::V6)).collect();
    (!all.is_empty()).then_some(all)
}

fn server_addresses(zone: &Zone, own: &[IpAddr]) -> Vec<IpAddr> {
    kube_dns(zone).unwrap_or_else(|| own.to_vec())
}

fn begin<'b>(buffer: &'b mut Vec<u8>, query: &Query<'_>, limit: usize, code: u8) -> Reply<'b> {
    let mut reply = Reply::new(buffer, query, limit, code);
    reply.set(flag::AUTHORITATIVE);
    reply
}

fn failure(query: &Query<'_>, limit: usize, code: u8, buffer: &mut Vec<u8>) -> Answer {
    Reply::new(buffer, query, limit, code).finish();
    Answer::Done
}

fn negative(
    zone: &Zone,
    place: Place<'_>,
    query: &Query<'_>,
    domain: &[u8],
    code: u8,
    buffer: &mut Vec<u8>,
) -> Answer {
    let mut reply = begin(buffer, query, place.limit, code);
    let (owner, ttl) = (At::Name(domain), place.rules.ttl);
    soa(&mut reply, Section::Authority, owner, domain, zone, ttl);
    reply.finish();
    Answer::Done
}

fn soa(
    reply: &mut Reply<'_>,
    section: Section,
    owner: At<'_>,
    domain: &[u8],
    zone: &Zone,
    ttl: u32,
) {
    let server = [b"\x02ns\x03dns", domain].concat();
    let mailbox = [b"\x0ahostmaster", domain].concat();
    reply.record(section, owner, kind::SOA, ttl.min(300), |reply| {
        reply.name(&server);
        reply.name(&mailbox);
        for number in [zone.changes(), 7200, 1800, 86400, ttl] {
            reply.bytes(&number.to_be_bytes());
        }
    });
}

fn write_v4(reply: &mut Reply<'_>, owner: At<'_>, all: &[Ipv4Addr], ttl: u32, turn: usize) {
    let (before, after) = all.split_at(turn.checked_rem(all.len()).unwrap_or(0));
    for address in after.iter().chain(before) {
        let octets = address.octets();
        if !reply.record(Section::Answer, owner, kind::A, ttl, |r| r.bytes(&octets)) {
            return;
        }
    }
}

fn write_v6(reply: &mut Reply<'_>, owner: At<'_>, all: &[Ipv6Addr], ttl: u32, turn: usize) {
    let (before, after) = all.split_at(turn.checked_rem(all.len()).unwrap_or(0));
    for address in after.iter().chain(before) {
        let octets = address.octets();
        if !reply.record(Section::Answer, owner, kind::AAAA, ttl, |r| {
            r.bytes(&octets)
        }) {
            return;
        }
    }
}

fn write_address(
    reply: &mut Reply<'_>,
    section: Section,
    owner: At<'_>,
    address: IpAddr,
    ttl: u32,
) -> bool {
    match address {
        IpAddr::V4(v4) => reply.record(section, owner, kind::A, ttl, |r| r.bytes(&v4.octets())),
        IpAddr::V6(v6) => reply.record(section, owner, kind::AAAA, ttl, |r| r.bytes(&v6.octets())),
    }
}

/// The most specific of `zones` that holds the name.
pub(crate) fn longest<'a>(zones: &'a [Box<[u8]>], name: &Name) -> Option<&'a [u8]> {
    zones
        .iter()
        .filter(|zone| name.below(zone).is_some())
        .max_by_key(|zone| zone.len())
        .map(|zone| &**zone)
}

/// `in-addr.arpa` or `ip6.arpa`.
pub(crate) fn is_reverse(zone: &[u8]) -> bool {
    let arpa = ["in-addr.arpa", "ip6.arpa"].map(|text| wire(text).unwrap_or_default());
    Name::from_wire(zone).is_some_and(|name| arpa.iter().any(|end| name.below(end).is_some()))
}

#[cfg(test)]
pub(crate) mod tests;
