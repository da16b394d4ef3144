//! The subsets of an Endpoints object: read, written, and packed into their one canonical form.
//!
//! Example: a pod with ports 80 and 443 and one with 80 only →
//! `{a, b: 80}, {a: 443}`: each subset is the addresses that share a set of ports.
//! Source: kubernetes v1.36.3 pkg/api/v1/endpoints/util.go (the order of subsets is by hash
//! there, by ports here), pkg/controller/endpoint/endpoints_controller.go (truncateEndpoints).

use std::collections::BTreeMap;

use schema::{Dom, Node, Ref};

use crate::endpoint::slice::{Target, read_target, set, write_target};

/// Addresses of one object (upstream's maxCapacity).
pub(crate) const CAPACITY: usize = 1000;

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Port {
    pub(crate) name: String,
    pub(crate) port: i64,
    pub(crate) protocol: String,
    pub(crate) app_protocol: Option<String>,
}

/// Ordered by address, then by the uid behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) ip: String,
    pub(crate) hostname: String,
    pub(crate) node: Option<String>,
    pub(crate) target: Option<Target>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subset {
    pub(crate) ready: Vec<Address>,
    pub(crate) not_ready: Vec<Address>,
    pub(crate) ports: Vec<Port>,
}

type AddressKey = (String, String);

impl Address {
    fn key(&self) -> AddressKey {
        let uid = self.target.as_ref().map(|target| target.uid.clone());
        (self.ip.clone(), uid.unwrap_or_default())
    }
}

/// One form for equal meanings: ports that the same addresses offer share a subset; an address
/// that is both ready and not is not.
pub(crate) fn pack(subsets: &[Subset]) -> Vec<Subset> {
    let mut addresses: BTreeMap<AddressKey, Address> = BTreeMap::new();
    let mut by_port: BTreeMap<Option<Port>, BTreeMap<AddressKey, bool>> = BTreeMap::new();
    for subset in subsets {
        let ports: Vec<Option<Port>> = match subset.ports.is_empty() {
            true => vec![None],
            false => subset.ports.iter().cloned().map(Some).collect(),
        };
        for port in ports {
            let here = by_port.entry(port).or_default();
            let ready = subset.ready.iter().map(|address| (address, true));
            let not_ready = subset.not_ready.iter().map(|address| (address, false));
            for (address, ready) in ready.chain(not_ready) {
                let key = address.key();
                addresses
                    .entry(key.clone())
                    .or_insert_with(|| address.clone());
                let state = here.entry(key).or_insert(true);
                *state &= ready;
            }
        }
    }
    let mut by_addresses: BTreeMap<Vec<(AddressKey, bool)>, Vec<Port>> = BTreeMap::new();
    for (port, keys) in by_port {
        let keys: Vec<(AddressKey, bool)> = keys.into_iter().collect();
        by_addresses.entry(keys).or_default().extend(port);
    }
    let mut packed: Vec<Subset> = by_addresses
        .into_iter()
        .map(|(keys, ports)| {
            let of = |wanted: bool| {
                let keys = keys.iter().filter(|(_, ready)| *ready == wanted);
                keys.map(|(key, _)| addresses[key].clone()).collect()
            };
            Subset {
                ready: of(true),
                not_ready: of(false),
                ports,
            }
        })
        .collect();
    packed.sort_by(|a, b| a.ports.cmp(&b.ports));
    packed
}

/// Cuts what is over [`CAPACITY`], not ready addresses first, from each subset in proportion;
/// true when something was cut.
pub(crate) fn truncate(subsets: &mut [Subset]) -> bool {
    let ready: usize = subsets.iter().map(|subset| subset.ready.len()).sum();
    let not_ready: usize = subsets.iter().map(|subset| subset.not_ready.len()).sum();
    if ready + not_ready <= CAPACITY {
        return false;
    }
    let cuts_ready = ready > CAPACITY;
    let (room, total) = match cuts_ready {
        true => (CAPACITY, ready),
        false => (CAPACITY - ready, not_ready),
    };
    let mut left = room;
    for subset in subsets {
        let here = match cuts_ready {
            true => subset.ready.len(),
            false => subset.not_ready.len(),
        };
        let share = (here * room).div_ceil(total).min(left);
        match cuts_ready {
            true => {
                subset.ready.truncate(share);
                subset.not_ready.clear();
                left -= subset.ready.len();
            }
            false => {
                subset.not_ready.truncate(share);
                left -= subset.not_ready.len();
            }
        }
    }
    true
}

/// How many addresses there are.
pub(crate) fn count(subsets: &[Subset]) -> usize {
    subsets
        .iter()
        .map(|subset| subset.ready.len() + subset.not_ready.len())
        .sum()
}

pub(crate) fn read(endpoints: Ref<'_>) -> Vec<Subset> {
    let addresses = |subset: Ref<'_>, key| subset.items(key).map(read_address).collect();
    let subsets = endpoints.items("subsets");
    subsets
        .map(|subset| Subset {
            ready: addresses(subset, "addresses"),
            not_ready: addresses(subset, "notReadyAddresses"),
            ports: subset.items("ports").map(read_port).collect(),
        })
        .collect()
}

fn read_address(address: Ref<'_>) -> Address {
    Address {
        ip: address.str("ip").to_owned(),
        hostname: address.str("hostname").to_owned(),
        node: address
            .get("nodeName")
            .and_then(Ref::as_str)
            .map(str::to_owned),
        target: address.get("targetRef").map(read_target),
    }
}

fn read_port(port: Ref<'_>) -> Port {
    Port {
        name: port.str("name").to_owned(),
        port: port.int("port").unwrap_or(0),
        protocol: match port.str("protocol") {
            "" => "TCP".to_owned(),
            protocol => protocol.to_owned(),
        },
        app_protocol: port
            .get("appProtocol")
            .and_then(Ref::as_str)
            .map(str::to_owned),
    }
}

/// Replaces `subsets` of a document.
pub(crate) fn write(subsets: &[Subset], dom: &mut Dom, root: Node) {
    let list = dom.new_list();
    for subset in subsets {
        let node = dom.new_map();
        for (key, addresses) in [
            ("addresses", &subset.ready),
            ("notReadyAddresses", &subset.not_ready),
        ] {
            for address in addresses {
                let list = dom.ensure_list(node, key);
                let entry = dom.new_map();
                dom.set_str(entry, "ip", &address.ip);
                if !address.hostname.is_empty() {
                    dom.set_str(entry, "hostname", &address.hostname);
                }
                set(dom, entry, "nodeName", address.node.as_deref());
                if let Some(target) = &address.target {
                    write_target(dom, entry, target);
                }
                dom.push(list, entry);
            }
        }
        for port in &subset.ports {
            let list = dom.ensure_list(node, "ports");
            let entry = dom.new_map();
            if !port.name.is_empty() {
                dom.set_str(entry, "name", &port.name);
            }
            dom.set_int(entry, "port", port.port);
            dom.set_str(entry, "protocol", &port.protocol);
            set(dom, entry, "appProtocol", port.app_protocol.as_deref());
            dom.push(list, entry);
        }
        dom.push(list, node);
    }
    dom.set(root, "subsets", list);
}
