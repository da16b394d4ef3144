//! What a local cluster holds on the host: one veth, one route a range, one nft table, and the
//! hub, a network namespace that joins the nodes.
//!
//! Everything is routed: the hub is no bridge. Each end of each link has a permanent neighbour, so
//! nothing is asked by ARP. Example with nodes 172.31.255.0/24: host 172.31.255.1 (the API) —
//! trh… ↔ host0 — hub — n0 ↔ eth0 — node 172.31.255.10, its pods 10.244.0.0/24 by that node.
//! All functions are idempotent: a killed predecessor's rest is completed or removed.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::path::Path;

use netlink::nft::{
    Batch, Chain, ChainKind, CmpOp, CtKey, Expr, Hook, MetaKey, Nft, Set, Verdict, expr,
};
use netlink::rt::{Prefix, Route, Veth};
use netlink::{Handle, Namespace};

use crate::cluster::Place;
use crate::error::Error;
use crate::files;
use crate::ranges::{InUse, Ranges};
use crate::sysctl;

pub(crate) mod admission;
pub(crate) mod mounts;

/// The next hop behind every link that has no address of its own at its far end.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// The hub's hardware address on all its links.
const HUB: [u8; 6] = [0x02, 0x54, 0x52, 0x48, 0x55, 0x42];
/// The host's hardware address on the hub link.
const HOST: [u8; 6] = [0x02, 0x54, 0x52, 0x48, 0x4f, 0x53];
const HUB_NAMESPACE: &str = "hub";
const HOST_NAMESPACE: &str = "host";
const PRIORITY_SRCNAT: i32 = 100;
/// Before Docker's and everyone else's filter chains (0).
const PRIORITY_FORWARD: i32 = -10;

/// A node's hardware address on its link to the hub.
fn node_hardware(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0x54, a, b, c, d]
}

/// The file through which nodes reach sockets of the host's namespace.
pub(crate) fn host_namespace(place: &Place) -> std::path::PathBuf {
    place.namespace(HOST_NAMESPACE)
}

/// The network namespace file of a node.
pub(crate) fn node_namespace(place: &Place, index: usize) -> std::path::PathBuf {
    place.namespace(&format!("node-{index}"))
}

/// Makes or completes the hub, its link to the host, the routes, the settings and the table.
pub(crate) fn connect(place: &Place, ranges: &Ranges) -> Result<(), Error> {
    files::folder(&place.join("netns"), 0o700)?;
    keep_host_namespace(place)?;
    let hub = open_or_create(&place.namespace(HUB_NAMESPACE))?;
    hub.run(|| {
        for (key, value) in [
            ("ip_forward", "1"),
            // Services from outside enter by one node and answer from another.
            ("conf/all/rp_filter", "0"),
            ("conf/default/rp_filter", "0"),
        ] {
            sysctl::set(&Path::new("/proc/sys/net/ipv4").join(key), value)?;
        }
        Ok::<(), Error>(())
    })??;
    sysctl::acquire(&place.dir().display().to_string())?;

    let mut host = Handle::open()?;
    let mut inside = Handle::open_in(hub.as_fd())?;
    let near = ensure_veth(
        &mut host,
        &mut inside,
        &Veth {
            name: &place.link(),
            address: Some(HOST),
            peer_name: "host0",
            peer_address: Some(HUB),
            peer_namespace: Some(hub.as_fd()),
            mtu: None,
            alias: &format!("transom cluster {}", place.name),
        },
    )?;
    let far = up(&mut inside, "host0")?;
    up(&mut inside, "lo")?;
    let api = ranges.api_address();
    netlink::ignore_exists(host.add_address(near, Prefix::host(api)))?;
    host.set_neighbour(near, GATEWAY.into(), HUB)?;
    for range in ranges.all() {
        let mut route = via_link(range, near);
        route.source = Some(api.into());
        host.replace_route(&route)?;
    }
    inside.set_neighbour(far, api.into(), HOST)?;
    inside.replace_route(&Route::direct(Prefix::host(api), far))?;
    let mut out = Route::default_via(api.into());
    (out.link, out.onlink) = (Some(far), true);
    inside.replace_route(&out)?;
    let mut nft = Nft::open()?;
    nft.commit(table(place, ranges))?;
    admission::admit(&mut nft, &place.link())?;
    Ok(())
}

/// A route by the address-less far end of `link`.
fn via_link(range: ipnet::Ipv4Net, link: u32) -> Route {
    let destination = Prefix::new(range.network(), range.prefix_len());
    let mut route = Route::via(destination, GATEWAY.into());
    (route.link, route.onlink) = (Some(link), true);
    route
}

/// Makes or completes a node's namespace and its link to the hub.
pub(crate) fn connect_node(place: &Place, ranges: &Ranges, index: usize) -> Result<(), Error> {
    let hub = Namespace::open(&place.namespace(HUB_NAMESPACE))?;
    let node = open_or_create(&node_namespace(place, index))?;
    let mut inside = Handle::open_in(hub.as_fd())?;
    let mut handle = Handle::open_in(node.as_fd())?;
    let address = ranges.node_address(index);
    let near = ensure_veth(
        &mut inside,
        &mut handle,
        &Veth {
            name: &format!("n{index}"),
            address: Some(HUB),
            peer_name: "eth0",
            peer_address: Some(node_hardware(address)),
            peer_namespace: Some(node.as_fd()),
            mtu: None,
            alias: "",
        },
    )?;
    let far = up(&mut handle, "eth0")?;
    up(&mut handle, "lo")?;
    netlink::ignore_exists(handle.add_address(far, Prefix::host(address)))?;
    handle.set_neighbour(far, GATEWAY.into(), HUB)?;
    handle.replace_route(&Route::direct(Prefix::host(GATEWAY), far))?;
    let mut out = Route::default_via(GATEWAY.into());
    (out.link, out.onlink) = (Some(far), true);
    handle.replace_route(&out)?;

    inside.set_neighbour(near, address.into(), node_hardware(address))?;
    inside.replace_route(&Route::direct(Prefix::host(address), near))?;
    inside.replace_route(&by_node(ranges.node_pods(index), address, near))?;
    Ok(())
}

fn by_node(range: ipnet::Ipv4Net, node: Ipv4Addr, link: u32) -> Route {
    let destination = Prefix::new(range.network(), range.prefix_len());
    let mut route = Route::via(destination, node.into());
    (route.link, route.onlink) = (Some(link), true);
    route
}

/// Lets node `index`, which runs, translate what the host sends to Services.
pub(crate) fn route_services(place: &Place, ranges: &Ranges, index: usize) -> Result<(), Error> {
    let hub = Namespace::open(&place.namespace(HUB_NAMESPACE))?;
    let mut inside = Handle::open_in(hub.as_fd())?;
    if let Some(link) = inside.link_by_name(&format!("n{index}"))? {
        let route = by_node(ranges.services, ranges.node_address(index), link.index);
        inside.replace_route(&route)?;
    }
    Ok(())
}

/// Removes everything that `connect` made. Collects what could not be removed.
pub(crate) fn disconnect(place: &Place) -> Result<(), Error> {
    let mut left = Vec::new();
    let mut note = |outcome: Result<(), Error>| {
        if let Err(error) = outcome {
            left.push(format!("{}", base::Chain(&error)));
        }
    };
    note((|| {
        let mut batch = Batch::new();
        let table = place.table();
        let mut nft = Nft::open()?;
        admission::withdraw(&mut nft, &place.link())?;
        if nft.tables()?.contains(&table) {
            batch.delete_table(&table);
            nft.commit(batch)?;
        }
        Ok(())
    })());
    note((|| {
        Handle::open()?.delete_link_named(&place.link())?;
        Ok(())
    })());
    note((|| {
        let folder = place.join("netns");
        let entries = match std::fs::read_dir(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(Error::file("list", &folder))?,
        };
        for entry in entries {
            let path = entry.map_err(Error::file("list", &folder))?.path();
            Namespace::remove(&path)?;
        }
        Ok(())
    })());
    note(sysctl::release(&place.dir().display().to_string()));
    if left.is_empty() {
        Ok(())
    } else {
        Err(Error::Left(left))
    }
}

/// The host's ranges in use, without those of `except`'s own link.
pub(crate) fn in_use(except: &str) -> Result<Vec<InUse>, Error> {
    let mut host = Handle::open()?;
    let links = host.links()?;
    let name_of = |index: u32| {
        let found = links.iter().find(|link| link.index == index);
        found.map_or_else(|| index.to_string(), |link| link.name.clone())
    };
    let mut all: Vec<InUse> = Vec::new();
    let mut add = |prefix: Prefix, link: String, what: &str| {
        let link_local = matches!(prefix.address, IpAddr::V6(v6) if v6.is_unicast_link_local());
        if link_local {
            return;
        }
        let Ok(range) = ipnet::IpNet::new(prefix.address, prefix.length) else {
            return;
        };
        let ours = link == except || link == "lo";
        if !ours && !all.iter().any(|used| used.range == range.trunc()) {
            all.push(InUse {
                range: range.trunc(),
                by: format!("{what} {link}"),
            });
        }
    };
    for address in host.addresses()? {
        add(address.prefix, name_of(address.link), "an address of");
    }
    for route in host.routes()? {
        let local = route.table == 255 || route.destination.length == 0;
        let special = route.destination.address.is_multicast();
        if !local && !special {
            let link = route.link.map_or_else(|| "no link".to_owned(), name_of);
            add(route.destination, link, "a route over");
        }
    }
    Ok(all)
}

/// A file for the host's own namespace, for sockets that nodes open there.
fn keep_host_namespace(place: &Place) -> Result<(), Error> {
    let path = host_namespace(place);
    if let Ok(kept) = Namespace::open(&path)
        && kept.identity()? == Namespace::current()?.identity()?
    {
        return Ok(());
    }
    Namespace::remove(&path)?;
    std::fs::File::create(&path).map_err(Error::file("create", &path))?;
    rustix::mount::mount_bind("/proc/thread-self/ns/net", &path).map_err(Error::errno(
        "mount the host's network namespace on",
        path.display(),
    ))
}

fn open_or_create(path: &Path) -> Result<Namespace, Error> {
    if let Ok(namespace) = Namespace::open(path) {
        return Ok(namespace);
    }
    // What a reboot left: a plain file without a mount.
    Namespace::remove(path)?;
    Ok(Namespace::create(path)?)
}

/// Makes a veth unless both its ends are there, and sets the near end up.
fn ensure_veth(near: &mut Handle, far: &mut Handle, veth: &Veth<'_>) -> Result<u32, Error> {
    let there = near.link_by_name(veth.name)?;
    let there = match there {
        Some(link) if far.link_by_name(veth.peer_name)?.is_some() => Some(link.index),
        Some(link) => {
            netlink::ignore_not_found(near.delete_link(link.index))?;
            None
        }
        None => None,
    };
    let index = match there {
        Some(index) => index,
        None => near.add_veth(veth)?,
    };
    near.set_up(index, true)?;
    Ok(index)
}

fn up(handle: &mut Handle, name: &str) -> Result<u32, Error> {
    let link = handle.link_by_name(name)?.ok_or_else(|| Error::System {
        operation: "find link",
        object: name.to_owned(),
        cause: rustix::io::Errno::NODEV,
    })?;
    if !link.up {
        handle.set_up(link.index, true)?;
    }
    Ok(link.index)
}

/// The host's table: pods and nodes leave under the host's address; nobody but the host enters.
fn table(place: &Place, ranges: &Ranges) -> Batch {
    let table = place.table();
    let link = place.link();
    let mut batch = Batch::new();
    batch.destroy_table(&table);
    batch.add_table(&table);
    let inside = Set::new(&table, "inside", &[netlink::nft::Field::Ipv4]).with_intervals();
    batch.add_set(&inside);
    let elements: Vec<netlink::nft::Element> = ranges
        .all()
        .iter()
        .map(|range| netlink::nft::Element::prefix(IpAddr::V4(range.network()), range.prefix_len()))
        .collect();
    batch.add_elements(&inside, &elements);
    let lookup = |source: bool, invert: bool| {
        let key = netlink::nft::Register::R1;
        let load = if source {
            Expr::source_address(true, key)
        } else {
            Expr::destination_address(true, key)
        };
        [
            load,
            Expr::Lookup {
                set: "inside".to_owned(),
                key,
                to: None,
                invert,
            },
        ]
    };

    let out = "postrouting";
    batch.add_chain(&Chain::base(
        &table,
        out,
        ChainKind::Nat,
        Hook::Postrouting,
        PRIORITY_SRCNAT,
    ));
    let mut steps = Expr::nf_proto(2).to_vec();
    steps.extend(Expr::interface(MetaKey::OutputName, &link, CmpOp::Neq));
    steps.extend(lookup(true, false));
    steps.extend(lookup(false, true));
    steps.push(Expr::Masquerade {
        flags: expr::nat_flags::FULLY_RANDOM,
    });
    batch.add_commented_rule(&table, out, &steps, "pods and nodes leave as the host");

    let forward = "forward";
    batch.add_chain(&Chain::base(
        &table,
        forward,
        ChainKind::Filter,
        Hook::Forward,
        PRIORITY_FORWARD,
    ));
    let mut steps = Expr::interface(MetaKey::OutputName, &link, CmpOp::Eq).to_vec();
    steps.extend(Expr::interface(MetaKey::InputName, &link, CmpOp::Neq));
    steps.extend(Expr::ct_state(CtKey::NEW));
    steps.push(Expr::verdict(Verdict::Drop));
    batch.add_commented_rule(
        &table,
        forward,
        &steps,
        "only the host itself enters the cluster",
    );
    batch
}

#[cfg(test)]
mod tests;
