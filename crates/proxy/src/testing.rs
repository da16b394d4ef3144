//! Worlds as text, for tests.
//!
//! ```text
//! service NS/NAME ADDRESS[,ADDRESS] PORT/PROTOCOL[=NAME][,…] [nodeport=N] [external=A,B] [lb=A]
//!     [from=RANGE,…] [internal=Local] [policy=Local] [sticky=SECONDS] [health=PORT]
//! endpoint NS/NAME ADDRESS:PORT[/PROTOCOL][=NAME] [on=NODE] [notready] [terminating]
//!     [zones=Z,…] [nodes=N,…]
//! ```
//! A port of protocol tcp has no name unless it is given one; the name of another protocol's port
//! is the protocol.

pub(crate) mod net;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use client::Key;

use crate::rules::Protocol;
use crate::service::{Affinity, Policy, Port, Service};
use crate::slice::{Endpoint, Slice};
use crate::{NodeFacts, World};

/// The node of tests.
pub(crate) fn node() -> NodeFacts {
    NodeFacts {
        name: "here".to_owned(),
        zone: "z1".to_owned(),
        addresses: vec!["172.20.0.2".parse().unwrap()],
        pod_ranges: vec!["10.1.0.0/16".parse().unwrap(), "fd01::/48".parse().unwrap()],
        service_ranges: vec![
            "10.96.0.0/16".parse().unwrap(),
            "fd96::/112".parse().unwrap(),
        ],
    }
}

fn protocol(text: &str) -> Protocol {
    Protocol::read(&text.to_uppercase()).unwrap()
}

fn key(text: &str) -> Key {
    let (namespace, name) = text.split_once('/').unwrap();
    Key::new(namespace, name)
}

/// `80/udp=dns`: number, protocol, name.
fn port(text: &str) -> (&str, Protocol, String) {
    let (text, name) = match text.split_once('=') {
        Some((text, name)) => (text, Some(name)),
        None => (text, None),
    };
    let (number, proto) = text.split_once('/').unwrap_or((text, "tcp"));
    let default = if proto == "tcp" { "" } else { proto };
    (number, protocol(proto), name.unwrap_or(default).to_owned())
}

fn list<T: std::str::FromStr>(text: &str) -> Vec<T>
where
    T::Err: std::fmt::Debug,
{
    text.split(',').map(|part| part.parse().unwrap()).collect()
}

/// Services and slices of `text`.
pub(crate) fn parse(text: &str) -> (BTreeMap<Key, Service>, BTreeMap<Key, (String, Slice)>) {
    let mut services = BTreeMap::new();
    let mut slices: BTreeMap<Key, (String, Slice)> = BTreeMap::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let options = words.iter().skip(3).map(|word| {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            (name, value)
        });
        if words[0] == "service" {
            services.insert(key(words[1]), service(&words, options));
        } else {
            let (name, facts) = endpoint(&words, options);
            // A slice an endpoint port: as if they had been split.
            let (_, _, port_name) = &facts.ports[0];
            let slice_key = Key::new(
                key(words[1]).namespace,
                format!("{name}-{:?}-{port_name}", facts.ports[0].1),
            );
            match slices.get_mut(&slice_key) {
                Some((_, slice)) => slice.endpoints.extend(facts.endpoints),
                None => {
                    slices.insert(slice_key, (name, facts));
                }
            }
        }
    }
    (services, slices)
}

fn service<'a>(words: &[&'a str], options: impl Iterator<Item = (&'a str, &'a str)>) -> Service {
    let mut service = Service {
        cluster_ips: list(words[2]),
        ..Service::default()
    };
    for (name, value) in options {
        match name {
            "nodeport" => {
                for (port, number) in service.ports.iter_mut().zip(list(value)) {
                    port.node_port = number;
                }
            }
            "external" => service.external_ips = list(value),
            "lb" => service.balancer_ips = list(value),
            "from" => service.source_ranges = list(value),
            "internal" => service.internal = Policy::Local,
            "policy" => service.external = Policy::Local,
            "sticky" => service.affinity = Affinity::ClientIp(value.parse().unwrap()),
            "health" => service.health_port = value.parse().unwrap(),
            ports => {
                let whole = match value {
                    "" => ports.to_owned(),
                    value => format!("{ports}={value}"),
                };
                for part in whole.split(',') {
                    let (number, protocol, name) = port(part);
                    service.ports.push(Port {
                        name,
                        protocol,
                        port: number.parse().unwrap(),
                        node_port: 0,
                    });
                }
            }
        }
    }
    service
}

fn endpoint<'a>(
    words: &[&'a str],
    options: impl Iterator<Item = (&'a str, &'a str)>,
) -> (String, Slice) {
    let (address, protocol, name) = port(words[2]);
    let address: SocketAddr = address.parse().unwrap();
    let mut endpoint = Endpoint {
        address: address.ip(),
        node: String::new(),
        ready: true,
        serving: true,
        terminating: false,
        zone_hints: Vec::new(),
        node_hints: Vec::new(),
    };
    for (option, value) in options {
        match option {
            "on" => value.clone_into(&mut endpoint.node),
            "notready" => (endpoint.ready, endpoint.serving) = (false, false),
            "terminating" => (endpoint.ready, endpoint.terminating) = (false, true),
            "zones" => endpoint.zone_hints = list(value),
            "nodes" => endpoint.node_hints = list(value),
            other => panic!("no option {other}"),
        }
    }
    let slice = Slice {
        // The number in the address tells ports of one name apart.
        ports: vec![(name, protocol, address.port())],
        endpoints: vec![endpoint],
    };
    (key(words[1]).name, slice)
}

/// Makes `world` what `text` says, with as few changes as needed.
pub(crate) fn become_of(world: &mut World, before: &str, text: &str) {
    let (old_services, old_slices) = parse(before);
    let (services, slices) = parse(text);
    for key in old_services
        .keys()
        .filter(|key| !services.contains_key(key))
    {
        world.set_service(key, None);
    }
    for key in old_slices.keys().filter(|key| !slices.contains_key(key)) {
        world.set_slice(key, None);
    }
    for (key, service) in services {
        world.set_service(&key, Some(service));
    }
    for (key, slice) in slices {
        world.set_slice(&key, Some(slice));
    }
}
