//! Routes. Source: Linux UAPI `linux/rtnetlink.h`, ip-route(8).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::error::{Error, What};
use crate::rt::{Handle, Prefix, family_of};
use crate::wire::{
    Message, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, attributes, ip, u32_at,
};

const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_METRICS: u16 = 8;
const RTA_TABLE: u16 = 15;
const RTAX_MTU: u16 = 2;
const RTNH_F_ONLINK: u32 = 4;
const RTM_F_CLONED: u32 = 0x200;
const RTPROT_STATIC: u8 = 4;

/// How far a destination or an address reaches (`rt_scope_t`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Scope(pub u8);

impl Scope {
    /// Anywhere.
    pub const UNIVERSE: Self = Self(0);
    /// Directly on the link.
    pub const LINK: Self = Self(253);
    /// This host.
    pub const HOST: Self = Self(254);
}

/// What a route does with a packet (`rtm_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RouteKind(pub u8);

impl RouteKind {
    /// Sends it on.
    pub const UNICAST: Self = Self(1);
    /// Delivers it here.
    pub const LOCAL: Self = Self(2);
    /// Drops it silently.
    pub const BLACKHOLE: Self = Self(6);
    /// Refuses it with an ICMP error.
    pub const UNREACHABLE: Self = Self(7);
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Where to; length 0 is the default route.
    pub destination: Prefix,
    /// Next hop.
    pub gateway: Option<IpAddr>,
    /// Outgoing link.
    pub link: Option<u32>,
    /// Preferred source address.
    pub source: Option<IpAddr>,
    /// Reach of the destination.
    pub scope: Scope,
    /// The gateway is reachable on the link even if no address says so.
    pub onlink: bool,
    /// Routing table; 254 is main.
    pub table: u32,
    /// Metric; lower wins.
    pub priority: u32,
    /// Who made it (`rtm_protocol`): 2 kernel, 3 boot, 4 static.
    pub protocol: u8,
    /// What it does.
    pub kind: RouteKind,
    /// Path MTU towards the destination.
    pub mtu: Option<u32>,
}

impl Route {
    /// The main table.
    pub const MAIN: u32 = 254;

    /// A route to `destination` over `link`, directly.
    #[must_use]
    pub fn direct(destination: Prefix, link: u32) -> Self {
        let mut route = Self::empty(destination);
        route.link = Some(link);
        route.scope = if destination.address.is_ipv4() {
            Scope::LINK
        } else {
            Scope::UNIVERSE
        };
        route
    }

    /// A route to `destination` by `gateway`.
    #[must_use]
    pub fn via(destination: Prefix, gateway: IpAddr) -> Self {
        let mut route = Self::empty(destination);
        route.gateway = Some(gateway);
        route
    }

    /// The default route of `gateway`'s family.
    #[must_use]
    pub fn default_via(gateway: IpAddr) -> Self {
        let any: IpAddr = match gateway {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        Self::via(Prefix::new(any, 0), gateway)
    }

    /// A route that does `kind` instead of sending, e.g. unreachable.
    #[must_use]
    pub fn special(destination: Prefix, kind: RouteKind) -> Self {
        let mut route = Self::empty(destination);
        route.kind = kind;
        route
    }

    fn empty(destination: Prefix) -> Self {
        Self {
            destination,
            gateway: None,
            link: None,
            source: None,
            scope: Scope::UNIVERSE,
            onlink: false,
            table: Self::MAIN,
            priority: 0,
            protocol: RTPROT_STATIC,
            kind: RouteKind::UNICAST,
            mtu: None,
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.destination)?;
        if let Some(gateway) = self.gateway {
            write!(f, " via {gateway}")?;
        }
        if let Some(link) = self.link {
            write!(f, " dev {link}")?;
        }
        Ok(())
    }
}

impl Handle {
    /// All routes of all tables and families; cached clones left out.
    pub fn routes(&mut self) -> Result<Vec<Route>, Error> {
        let message = Message::new(RTM_GETROUTE, 0, &[0; 12]);
        self.socket
            .dump(&message, &What::new("list routes", ""), |kind, payload| {
                if kind == RTM_NEWROUTE {
                    parse(payload)
                } else {
                    None
                }
            })
    }

    /// Adds a route; fails if there is one for the destination, table and priority.
    pub fn add_route(&mut self, route: &Route) -> Result<(), Error> {
        let what = What::new("add route", route);
        self.socket
            .request(encode(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, route), what)
    }

    /// Adds a route beside others for the same destination.
    pub fn append_route(&mut self, route: &Route) -> Result<(), Error> {
        let what = What::new("append route", route);
        self.socket.request(
            encode(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_APPEND, route),
            what,
        )
    }

    /// Adds a route or replaces the one for the destination, table and priority.
    pub fn replace_route(&mut self, route: &Route) -> Result<(), Error> {
        let what = What::new("replace route", route);
        self.socket.request(
            encode(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, route),
            what,
        )
    }

    /// Deletes a route.
    pub fn delete_route(&mut self, route: &Route) -> Result<(), Error> {
        let what = What::new("delete route", route);
        self.socket.request(encode(RTM_DELROUTE, 0, route), what)
    }
}

/// `struct rtmsg` and attributes.
fn encode(kind: u16, flags: u16, route: &Route) -> Message {
    let mut header = [0; 12];
    header[0] = family_of(&route.destination.address);
    header[1] = route.destination.length;
    header[4] = u8::try_from(route.table).unwrap_or(0);
    header[5] = route.protocol;
    header[6] = route.scope.0;
    header[7] = route.kind.0;
    if route.onlink {
        header[8..12].copy_from_slice(&RTNH_F_ONLINK.to_ne_bytes());
    }
    let mut m = Message::new(kind, flags, &header);
    m.attr_u32(RTA_TABLE, route.table);
    if route.destination.length > 0 {
        m.attr_ip(RTA_DST, route.destination.address);
    }
    if let Some(gateway) = route.gateway {
        m.attr_ip(RTA_GATEWAY, gateway);
    }
    if let Some(link) = route.link {
        m.attr_u32(RTA_OIF, link);
    }
    if let Some(source) = route.source {
        m.attr_ip(RTA_PREFSRC, source);
    }
    if route.priority > 0 {
        m.attr_u32(RTA_PRIORITY, route.priority);
    }
    if let Some(mtu) = route.mtu {
        m.nest(RTA_METRICS, |m| m.attr_u32(RTAX_MTU, mtu));
    }
    m
}

fn parse(payload: &[u8]) -> Option<Route> {
    let header = payload.get(0..12)?;
    let flags = u32_at(header, 8);
    if flags & RTM_F_CLONED != 0 {
        return None;
    }
    let any: IpAddr = match header[0] {
        super::AF_INET => Ipv4Addr::UNSPECIFIED.into(),
        super::AF_INET6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    let mut route = Route::empty(Prefix::new(any, header[1]));
    route.table = header[4].into();
    route.protocol = header[5];
    route.scope = Scope(header[6]);
    route.kind = RouteKind(header[7]);
    route.onlink = flags & RTNH_F_ONLINK != 0;
    for (kind, data) in attributes(&payload[12..]) {
        match kind {
            RTA_DST => route.destination.address = ip(data)?,
            RTA_OIF => route.link = Some(u32_at(data, 0)),
            RTA_GATEWAY => route.gateway = ip(data),
            RTA_PRIORITY => route.priority = u32_at(data, 0),
            RTA_PREFSRC => route.source = ip(data),
            RTA_TABLE => route.table = u32_at(data, 0),
            RTA_METRICS => {
                route.mtu = attributes(data)
                    .find(|(kind, _)| *kind == RTAX_MTU)
                    .map(|(_, data)| u32_at(data, 0));
            }
            _ => {}
        }
    }
    Some(route)
}
