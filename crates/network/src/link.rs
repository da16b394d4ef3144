//! The wires of one sandbox: near end on the node, far end in the pod, and their repair.
//!
//! The pod sees one link with its address as /32 and a gateway that exists nowhere: a permanent
//! neighbour entry sends everything to the near end, which the node routes. Neither side ever
//! asks by ARP. Example: pod 10.1.0.5 → `10.1.0.5/32 dev eth0`, `169.254.1.1 dev eth0`,
//! `default via 169.254.1.1`; node → `10.1.0.5 dev tr3f0c…`, neighbour 10.1.0.5.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd};

use netlink::rt::{Prefix, Route, Veth};
use netlink::{Error, Handle, ignore_exists};

use crate::sysctl::{self, SysctlError};

/// The gateway every pod sees. Link-local, so it can never meet a real network.
pub(crate) const GATEWAY4: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// The same for IPv6.
pub(crate) const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
/// Hardware address of every near end: links are point to point, so it need not be unique, and a
/// pod's neighbour entry stays right when its link is made anew.
pub(crate) const NEAR: [u8; 6] = [0x02, 0x54, 0x52, 0x4e, 0x53, 0x4d];

/// Names of all near ends begin so.
pub(crate) const NEAR_PREFIX: &str = "tr";

/// What goes wrong with the wires.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error(transparent)]
    Netlink(#[from] Error),
    #[error(transparent)]
    Sysctl(#[from] SysctlError),
    #[error("link {name} exists and belongs to {owner:?}")]
    Foreign { name: String, owner: String },
    #[error("interface {0} vanished from the sandbox")]
    Vanished(String),
}

/// One sandbox's wires as they should be.
#[derive(Debug)]
pub(crate) struct Wires<'a> {
    pub(crate) sandbox: &'a str,
    /// Interface name in the pod.
    pub(crate) interface: &'a str,
    pub(crate) addresses: &'a [IpAddr],
    pub(crate) mtu: Option<u32>,
}

/// Name of the near end: `tr` and 13 hex digits of a hash of the sandbox's id. The full id is the
/// link's alias, which tells a collision from a leftover.
pub(crate) fn near_name(sandbox: &str) -> String {
    let hash = fnv(sandbox);
    format!("{NEAR_PREFIX}{:013x}", hash >> 12)
}

/// The pod's hardware address: locally administered, from its first address, so that it survives
/// a repair.
pub(crate) fn far_hardware(addresses: &[IpAddr]) -> [u8; 6] {
    let hash = addresses
        .first()
        .map_or(0, |address| fnv(&address.to_string()))
        .to_be_bytes();
    match addresses.first() {
        Some(IpAddr::V4(v4)) => {
            let [a, b, c, d] = v4.octets();
            [0x0a, 0x58, a, b, c, d]
        }
        _ => [0x0a, 0x58, hash[0], hash[1], hash[2], hash[3]],
    }
}

/// FNV-1a, 64 bits.
fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

pub(crate) fn gateway_for(address: &IpAddr) -> IpAddr {
    if address.is_ipv4() {
        GATEWAY4.into()
    } else {
        GATEWAY6.into()
    }
}

impl Wires<'_> {
    /// Makes the wires, or leaves them when they are right. A half-made link is made anew.
    pub(crate) fn connect(&self, node: &mut Handle, pod: BorrowedFd<'_>) -> Result<(), LinkError> {
        let name = near_name(self.sandbox);
        if let Some(link) = node.link_by_name(&name)? {
            if link.alias != self.sandbox {
                return Err(LinkError::Foreign {
                    name,
                    owner: link.alias,
                });
            }
            if self.differences(node, pod)?.is_empty() {
                return Ok(());
            }
            netlink::ignore_not_found(node.delete_link(link.index))?;
        }
        let outcome = self.wire(node, pod, &name);
        if outcome.is_err() {
            let _ = node.delete_link_named(&name);
        }
        outcome
    }

    fn wire(
        &self,
        node: &mut Handle,
        namespace: BorrowedFd<'_>,
        name: &str,
    ) -> Result<(), LinkError> {
        let hardware = far_hardware(self.addresses);
        let near = node.add_veth(&Veth {
            name,
            address: Some(NEAR),
            peer_name: self.interface,
            peer_address: Some(hardware),
            peer_namespace: Some(namespace),
            mtu: self.mtu,
            alias: self.sandbox,
        })?;
        // A pod may only send from its own address; for IPv6 see `sources`.
        sysctl::set(&format!("ipv4/conf/{name}/rp_filter"), "1")?;
        sysctl::set(&format!("ipv6/conf/{name}/accept_ra"), "0")?;
        node.set_up(near, true)?;

        let mut pod = Handle::open_in(namespace)?;
        if let Some(lo) = pod.link_by_name("lo")?
            && !lo.up
        {
            pod.set_up(lo.index, true)?;
        }
        let far = pod
            .link_by_name(self.interface)?
            .ok_or_else(|| LinkError::Vanished(self.interface.to_owned()))?
            .index;
        pod.set_up(far, true)?;
        for address in self.addresses {
            let host = Prefix::host(*address);
            let gateway = gateway_for(address);
            pod.add_address(far, host)?;
            pod.set_neighbour(far, gateway, NEAR)?;
            if gateway.is_ipv4() {
                pod.replace_route(&Route::direct(Prefix::host(gateway), far))?;
            }
            let mut default = Route::default_via(gateway);
            default.link = Some(far);
            default.onlink = gateway.is_ipv4();
            pod.replace_route(&default)?;

            node.set_neighbour(near, *address, hardware)?;
            node.replace_route(&Route::direct(host, near))?;
        }
        Ok(())
    }

    /// How the wires differ from what they should be; empty when they are right.
    pub(crate) fn differences(
        &self,
        node: &mut Handle,
        namespace: BorrowedFd<'_>,
    ) -> Result<Vec<String>, LinkError> {
        let mut found = Vec::new();
        let name = near_name(self.sandbox);
        let Some(near) = node.link_by_name(&name)? else {
            return Ok(vec![format!("the node has no link {name}")]);
        };
        if !near.up {
            found.push(format!("link {name} is down"));
        }
        let mut pod = Handle::open_in(namespace.as_fd())?;
        let Some(far) = pod.link_by_name(self.interface)? else {
            found.push(format!("the sandbox has no interface {}", self.interface));
            return Ok(found);
        };
        if !far.up {
            found.push(format!("interface {} is down", self.interface));
        }
        if near.peer_index != Some(far.index) {
            found.push(format!(
                "interface {} is not the other end of {name}",
                self.interface
            ));
        }
        let addresses = pod.addresses()?;
        let pod_routes = pod.routes()?;
        let node_routes = node.routes()?;
        for address in self.addresses {
            let host = Prefix::host(*address);
            if !addresses
                .iter()
                .any(|a| a.link == far.index && a.prefix == host)
            {
                found.push(format!("interface {} lacks address {host}", self.interface));
            }
            let gateway = Some(gateway_for(address));
            let is_default = |r: &Route| r.destination.length == 0 && r.gateway == gateway;
            if !pod_routes.iter().any(is_default) {
                found.push(format!("the sandbox has no default route for {host}"));
            }
            let is_route = |r: &Route| r.destination == host && r.link == Some(near.index);
            if !node_routes.iter().any(is_route) {
                found.push(format!("the node has no route to {host}"));
            }
        }
        Ok(found)
    }
}

/// Removes the near end, and with it the far end, the route and the neighbour entry.
pub(crate) fn disconnect(node: &mut Handle, sandbox: &str) -> Result<(), LinkError> {
    let name = near_name(sandbox);
    match node.link_by_name(&name)? {
        Some(link) if link.alias == sandbox => {
            netlink::ignore_not_found(node.delete_link(link.index))?;
        }
        // Without alias: the maker was killed between its two messages.
        Some(link) if link.alias.is_empty() => {
            netlink::ignore_not_found(node.delete_link(link.index))?;
        }
        _ => {}
    }
    Ok(())
}

/// Near ends on the node: (link index, sandbox id).
pub(crate) fn near_ends(node: &mut Handle) -> Result<Vec<(u32, String)>, LinkError> {
    let links = node.links()?;
    let ours = links.into_iter().filter(|link| {
        link.kind == "veth" && link.name.len() == 15 && link.name.starts_with(NEAR_PREFIX)
    });
    Ok(ours.map(|link| (link.index, link.alias)).collect())
}

/// Refuses what no pod has, so that a packet to an unused address does not travel in circles
/// between the node and its default route.
pub(crate) fn refuse_rest(node: &mut Handle, range: Prefix) -> Result<(), LinkError> {
    let mut route = Route::special(range, netlink::rt::route::RouteKind::UNREACHABLE);
    route.priority = 4096;
    ignore_exists(node.add_route(&route))?;
    Ok(())
}
