//! What Services, EndpointSlices and Namespaces say, filed by the names that are asked.
//!
//! A group is everything under one `SERVICE.NAMESPACE`: the Service, its slices, and the answers
//! that follow from both, made anew when one of them changes (O(size of that group)). Keys are the
//! two labels in wire form, so that a question finds its group by one hash of a slice of itself.
//! Example: Service web in ns a with 10.96.0.7, slice web-x with 10.244.1.2 → group `\3web\1a`:
//! addresses [10.96.0.7], hosts {10-244-1-2: [10.244.1.2]}; reverse 10.96.0.7 → web.a,
//! 10.244.1.2 → 10-244-1-2.web.a.
//! Knows neither questions nor TTLs. Pure.
//! Source: coredns v1.14 plugin/kubernetes/{kubernetes,reverse}.go, object/endpoint.go.

mod read;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::message::wire;

/// Two labels: `SERVICE.NAMESPACE` in wire form without an end.
pub(crate) type GroupKey = Box<[u8]>;

/// An endpoint's name: its group and its label.
type HostKey = (GroupKey, Box<[u8]>);

/// A named port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    /// Lower case; may be empty.
    pub(crate) name: Box<str>,
    /// `tcp`, `udp` or `sctp`.
    pub(crate) protocol: Box<str>,
    /// Absent: the slice does not restrict its ports.
    pub(crate) number: Option<u16>,
}

/// What kind of name a Service has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Its own addresses.
    Cluster(Vec<IpAddr>),
    /// Those of its endpoints.
    Headless,
    /// Another name, in wire form; `None` when the text is no name (an address, say).
    External(Option<Box<[u8]>>),
}

/// A Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    /// See [`Kind`].
    pub(crate) kind: Kind,
    /// Its ports.
    pub(crate) ports: Vec<Port>,
}

/// The ready endpoints of one EndpointSlice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slice {
    /// Its ports.
    pub(crate) ports: Vec<Port>,
    /// Address and name of each: one label in wire form.
    pub(crate) endpoints: Vec<(IpAddr, Box<[u8]>)>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// Its own key.
    pub(crate) key: GroupKey,
    /// Absent while only its slices are known.
    pub(crate) service: Option<Service>,
    /// By name.
    pub(crate) slices: BTreeMap<Box<str>, Slice>,
    /// What the Service's name resolves to.
    pub(crate) v4: Vec<Ipv4Addr>,
    /// The same of the other family.
    pub(crate) v6: Vec<Ipv6Addr>,
    /// What `HOST.SERVICE.NAMESPACE.svc` resolves to, by HOST's label.
    pub(crate) hosts: HashMap<Box<[u8]>, Vec<IpAddr>>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Zone {
    groups: HashMap<GroupKey, Group>,
    /// Which group each slice was filed under, by (namespace, name).
    filed: HashMap<(Box<str>, Box<str>), GroupKey>,
    namespaces: HashSet<Box<[u8]>>,
    reverse_services: HashMap<IpAddr, BTreeSet<GroupKey>>,
    reverse_hosts: HashMap<IpAddr, BTreeSet<HostKey>>,
    changes: u32,
    synced: bool,
}

impl Zone {
    /// Without anything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether everything that exists has been told: only then is a name known not to exist.
    pub fn mark_synced(&mut self) {
        self.synced = true;
    }

    /// See [`Self::mark_synced`].
    pub(crate) fn is_synced(&self) -> bool {
        self.synced
    }

    /// How often it changed.
    pub(crate) fn changes(&self) -> u32 {
        self.changes
    }

    /// How many Services and slices' owners are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// A namespace came or went.
    pub(crate) fn set_namespace(&mut self, name: &str, exists: bool) {
        let Some(label) = label(name) else { return };
        self.changes = self.changes.wrapping_add(1);
        if exists {
            self.namespaces.insert(label);
        } else {
            self.namespaces.remove(&label);
        }
    }

    /// A Service came, changed or went.
    pub(crate) fn set_service(&mut self, namespace: &str, name: &str, service: Option<Service>) {
        let Some(key) = key(namespace, name) else {
            return;
        };
        self.change(key, |group| group.service = service);
    }

    /// A slice came, changed or went; `service` is the one that its label names.
    pub(crate) fn set_slice(
        &mut self,
        namespace: &str,
        name: &str,
        service: &str,
        slice: Option<Slice>,
    ) {
        let place = (Box::from(namespace), Box::from(name));
        let wanted = slice.and_then(|slice| Some((key(namespace, service)?, slice)));
        let former = match &wanted {
            Some((key, _)) => self.filed.insert(place, key.clone()),
            None => self.filed.remove(&place),
        };
        if let Some(former) = former
            && wanted.as_ref().is_none_or(|(key, _)| *key != former)
        {
            self.change(former, |group| {
                group.slices.remove(name);
            });
        }
        if let Some((key, slice)) = wanted {
            self.change(key, |group| {
                group.slices.insert(name.into(), slice);
            });
        }
    }

    /// The group under two labels in wire form.
    pub(crate) fn group(&self, key: &[u8]) -> Option<&Group> {
        self.groups.get(key)
    }

    /// Whether the namespace under that label exists.
    pub(crate) fn has_namespace(&self, label: &[u8]) -> bool {
        self.namespaces.contains(label)
    }

    /// The names of an address without domain and `svc`: of the Service that owns it, else of all
    /// endpoints that have it.
    pub(crate) fn names_of(&self, address: IpAddr) -> Vec<Vec<u8>> {
        if let Some(key) = self
            .reverse_services
            .get(&address)
            .and_then(|keys| keys.first())
        {
            return vec![key.to_vec()];
        }
        let hosts = self.reverse_hosts.get(&address);
        hosts
            .into_iter()
            .flatten()
            .map(|(key, host)| [&host[..], &key[..]].concat())
            .collect()
    }

    /// Whether the address is one where the cluster's DNS listens: a node's.
    pub(crate) fn is_server(&self, address: IpAddr) -> bool {
        let hosts = self.reverse_hosts.get(&address);
        hosts.is_some_and(|hosts| {
            hosts
                .iter()
                .any(|(key, _)| **key == b"\x08kube-dns\x0bkube-system"[..])
        })
    }

    fn change(&mut self, key: GroupKey, edit: impl FnOnce(&mut Group)) {
        self.changes = self.changes.wrapping_add(1);
        let mut group = self.groups.remove(&key).unwrap_or_default();
        for address in group.service_addresses() {
            remove_from(&mut self.reverse_services, address, &key);
        }
        for (host, addresses) in &group.hosts {
            for address in addresses {
                let entry = (key.clone(), host.clone());
                remove_from(&mut self.reverse_hosts, *address, &entry);
            }
        }
        edit(&mut group);
        if group.service.is_none() && group.slices.is_empty() {
            return;
        }
        group.key.clone_from(&key);
        group.derive();
        for address in group.service_addresses() {
            let keys = self.reverse_services.entry(address).or_default();
            keys.insert(key.clone());
        }
        if group.service.is_some() {
            for (host, addresses) in &group.hosts {
                for address in addresses {
                    let hosts = self.reverse_hosts.entry(*address).or_default();
                    hosts.insert((key.clone(), host.clone()));
                }
            }
        }
        self.groups.insert(key, group);
    }
}

fn remove_from<T: Ord>(map: &mut HashMap<IpAddr, BTreeSet<T>>, address: IpAddr, entry: &T) {
    if let Some(entries) = map.get_mut(&address) {
        entries.remove(entry);
        if entries.is_empty() {
            map.remove(&address);
        }
    }
}

impl Group {
    fn service_addresses(&self) -> Vec<IpAddr> {
        match self.service.as_ref().map(|service| &service.kind) {
            Some(Kind::Cluster(addresses)) => addresses.clone(),
            _ => Vec::new(),
        }
    }

    fn derive(&mut self) {
        self.hosts.clear();
        let mut all = Vec::new();
        for (address, host) in self.slices.values().flat_map(|slice| &slice.endpoints) {
            all.push(*address);
            let addresses = self.hosts.entry(host.clone()).or_default();
            if !addresses.contains(address) {
                addresses.push(*address);
            }
        }
        match self.service.as_ref().map(|service| &service.kind) {
            Some(Kind::Cluster(own)) => all.clone_from(own),
            Some(Kind::Headless) => {}
            _ => all.clear(),
        }
        let mut seen = HashSet::with_capacity(all.len());
        all.retain(|address| seen.insert(*address));
        self.v4.clear();
        self.v6.clear();
        for address in all {
            match address {
                IpAddr::V4(address) => self.v4.push(address),
                IpAddr::V6(address) => self.v6.push(address),
            }
        }
    }
}

/// The key of a group; `None` when the names do not fit into labels.
pub(crate) fn key(namespace: &str, service: &str) -> Option<GroupKey> {
    let mut key = label(service)?.into_vec();
    key.extend_from_slice(&label(namespace)?);
    Some(key.into())
}

/// One label in wire form.
pub(crate) fn label(text: &str) -> Option<Box<[u8]>> {
    if text.is_empty() || text.contains('.') {
        return None;
    }
    let mut bytes = wire(text)?.into_vec();
    bytes.pop();
    Some(bytes.into())
}

#[cfg(test)]
pub(crate) mod tests;
