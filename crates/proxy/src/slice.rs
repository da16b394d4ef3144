//! The facts of one EndpointSlice, and the endpoints of a Service's port out of several.
//!
//! Source: kubernetes v1.36 pkg/proxy/endpointslicecache.go (endpointInfoByServicePort,
//! addEndpoints).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use api::view;

use crate::rules::Protocol;

/// Where connections may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its address.
    pub address: IpAddr,
    /// The node it is on.
    pub node: String,
    /// Condition; absent means true.
    pub ready: bool,
    /// Condition; absent means true.
    pub serving: bool,
    /// Condition; absent means false.
    pub terminating: bool,
    /// Zones that should use it.
    pub zone_hints: Vec<String>,
    /// Nodes that should use it.
    pub node_hints: Vec<String>,
}

/// See the module's header.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Slice {
    /// Port names, protocols and numbers.
    pub ports: Vec<(String, Protocol, u16)>,
    /// Endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// The label that names a slice's Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

impl Slice {
    /// The name of its Service and its facts; `None` when it belongs to none.
    #[must_use]
    pub fn read(object: view::EndpointSlice<'_>) -> Option<(String, Self)> {
        let service = api::meta::of(object.0).label(SERVICE_NAME)?;
        if service.is_empty() {
            return None;
        }
        let ports = object.ports().filter_map(|port| {
            let number = u16::try_from(port.port()?).ok().filter(|port| *port != 0)?;
            let protocol = Protocol::read(port.protocol().unwrap_or("TCP"))?;
            // The server fills in an absent name as the empty one.
            Some((port.name().unwrap_or_default().to_owned(), protocol, number))
        });
        let facts = Self {
            ports: ports.collect(),
            endpoints: object.endpoints().filter_map(endpoint).collect(),
        };
        Some((service.to_owned(), facts))
    }
}

fn endpoint(endpoint: view::Endpoint<'_>) -> Option<Endpoint> {
    let conditions = endpoint.conditions();
    let names = |hints: &mut dyn Iterator<Item = &str>| hints.map(str::to_owned).collect();
    let (mut zone_hints, mut node_hints) = (Vec::new(), Vec::new());
    if let Some(hints) = endpoint.hints() {
        zone_hints = names(&mut hints.for_zones().map(|zone| zone.name()));
        node_hints = names(&mut hints.for_nodes().map(|node| node.name()));
    }
    Some(Endpoint {
        address: endpoint.addresses().next()?.parse().ok()?,
        node: endpoint.node_name().unwrap_or_default().to_owned(),
        ready: conditions.ready().unwrap_or(true),
        serving: conditions.serving().unwrap_or(true),
        terminating: conditions.terminating().unwrap_or(false),
        zone_hints,
        node_hints,
    })
}

/// The endpoints of one port in a family, ordered by address. One that is in two slices, or whose
/// address was used again before the old pod was gone, counts once: the one that lives on.
pub(crate) fn of_port<'a>(
    slices: &[&'a Slice],
    name: &str,
    protocol: Protocol,
    ipv4: bool,
) -> BTreeMap<SocketAddr, &'a Endpoint> {
    let mut found: BTreeMap<SocketAddr, &Endpoint> = BTreeMap::new();
    for slice in slices {
        let ports = slice
            .ports
            .iter()
            .filter(|(n, p, _)| n == name && *p == protocol);
        for (_, _, port) in ports {
            for endpoint in &slice.endpoints {
                if endpoint.address.is_ipv4() != ipv4 {
                    continue;
                }
                let address = SocketAddr::new(endpoint.address, *port);
                if !endpoint.terminating || !found.contains_key(&address) {
                    found.insert(address, endpoint);
                }
            }
        }
    }
    found
}
