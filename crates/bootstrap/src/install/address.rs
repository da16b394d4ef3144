//! The machine's address for nodes and pods: that by which it sends what it has no other route for.

use std::net::{IpAddr, Ipv4Addr};

use netlink::Handle;
use netlink::rt::{Address, Link, Route};

use crate::error::Error;

pub(super) fn of_way_out() -> Result<Option<Ipv4Addr>, Error> {
    let mut host = Handle::open()?;
    Ok(choose(&host.links()?, &host.addresses()?, &host.routes()?))
}

/// The source of the default route with the best metric, else the first address of its link, else
/// the first address of any link that is up. Pure.
/// Source: kubernetes v1.36 apimachinery/pkg/util/net/interface.go (ChooseHostInterface).
pub(super) fn choose(links: &[Link], addresses: &[Address], routes: &[Route]) -> Option<Ipv4Addr> {
    let on = |link: u32| {
        let mut there = addresses.iter().filter(move |one| one.link == link);
        there.find_map(|one| usable(one.prefix.address))
    };
    let mut defaults: Vec<&Route> = routes
        .iter()
        .filter(|route| {
            route.destination.length == 0
                && route.destination.address.is_ipv4()
                && route.table == Route::MAIN
        })
        .collect();
    defaults.sort_by_key(|route| route.priority);
    let by_route = defaults.iter().find_map(|route| {
        let source = route.source.and_then(usable);
        source.or_else(|| route.link.and_then(on))
    });
    let mut up = links.iter().filter(|link| link.up && !link.loopback);
    by_route.or_else(|| up.find_map(|link| on(link.index)))
}

fn usable(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(v4) if !v4.is_loopback() && !v4.is_link_local() => Some(v4),
        _ => None,
    }
}
