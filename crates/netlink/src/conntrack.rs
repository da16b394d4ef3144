//! Tracked connections: listed, and forgotten one by one.
//!
//! A connection whose destination was translated shows where it went in the source of its
//! replies. Example: a pod asks 10.96.0.10:53 and is sent to 10.1.0.5:53: destination
//! 10.96.0.10:53, reply source 10.1.0.5:53. Knows nothing of Services.
//! Source: Linux UAPI `linux/netfilter/nfnetlink_conntrack.h`.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;

use rustix::net::netlink::NETFILTER;

use crate::error::{Error, What};
use crate::socket::Socket;
use crate::wire::{Message, find, ip};

const SUBSYSTEM: u16 = 1 << 8;
const CT_NEW: u16 = SUBSYSTEM;
const CT_GET: u16 = SUBSYSTEM | 1;
const CT_DELETE: u16 = SUBSYSTEM | 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;

/// One direction's addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tuple {
    source: SocketAddr,
    destination: SocketAddr,
    protocol: u8,
}

/// One tracked connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// Layer 4 protocol: 6 TCP, 17 UDP, 132 SCTP.
    pub protocol: u8,
    /// Who opened it.
    pub source: SocketAddr,
    /// Where it was meant to go.
    pub destination: SocketAddr,
    /// Who answers.
    pub reply_source: SocketAddr,
    id: Option<[u8; 4]>,
    zone: Option<[u8; 2]>,
}

/// A socket to the connection tracking of one network namespace.
#[derive(Debug)]
pub struct Conntrack {
    socket: Socket,
}

impl Conntrack {
    /// Opens a socket in the calling thread's network namespace.
    pub fn open() -> Result<Self, Error> {
        let socket = Socket::open(Some(NETFILTER), None)?;
        Ok(Self { socket })
    }

    /// Opens a socket in the given network namespace.
    pub fn open_in(namespace: BorrowedFd<'_>) -> Result<Self, Error> {
        let socket = Socket::open(Some(NETFILTER), Some(namespace))?;
        Ok(Self { socket })
    }

    /// The connections of a family and protocol that have ports.
    pub fn flows(&mut self, ipv4: bool, protocol: u8) -> Result<Vec<Flow>, Error> {
        let message = Message::new(CT_GET, 0, &header(ipv4));
        let what = What::new("list tracked connections", "");
        self.socket.dump(&message, &what, |kind, payload| {
            if kind != CT_NEW {
                return None;
            }
            let data = payload.get(4..)?;
            let original = tuple(find(data, CTA_TUPLE_ORIG)?)?;
            let reply = tuple(find(data, CTA_TUPLE_REPLY)?)?;
            (original.protocol == protocol).then(|| Flow {
                protocol,
                source: original.source,
                destination: original.destination,
                reply_source: reply.source,
                id: find(data, CTA_ID).and_then(|id| id.try_into().ok()),
                zone: find(data, CTA_ZONE).and_then(|zone| zone.try_into().ok()),
            })
        })
    }

    /// Forgets a connection; one that is gone already is fine.
    pub fn forget(&mut self, flow: &Flow) -> Result<(), Error> {
        let what = What::new(
            "forget connection",
            format_args!("{} to {}", flow.source, flow.destination),
        );
        let mut message = Message::new(CT_DELETE, 0, &header(flow.source.is_ipv4()));
        message.nest(CTA_TUPLE_ORIG, |m| {
            let v4 = flow.source.is_ipv4();
            m.nest(1, |m| {
                m.attr_ip(if v4 { 1 } else { 3 }, flow.source.ip());
                m.attr_ip(if v4 { 2 } else { 4 }, flow.destination.ip());
            });
            m.nest(2, |m| {
                m.attr_u8(1, flow.protocol);
                m.attr(2, &flow.source.port().to_be_bytes());
                m.attr(3, &flow.destination.port().to_be_bytes());
            });
        });
        if let Some(id) = flow.id {
            message.attr(CTA_ID, &id);
        }
        if let Some(zone) = flow.zone {
            message.attr(CTA_ZONE, &zone);
        }
        crate::ignore_not_found(self.socket.request(message, what))
    }
}

fn header(ipv4: bool) -> [u8; 4] {
    [if ipv4 { 2 } else { 10 }, 0, 0, 0]
}

fn tuple(data: &[u8]) -> Option<Tuple> {
    let addresses = find(data, 1)?;
    let address = |v4, v6| -> Option<IpAddr> {
        let octets = find(addresses, v4).or_else(|| find(addresses, v6))?;
        ip(octets)
    };
    let ports = find(data, 2)?;
    let port = |kind| -> Option<u16> {
        let octets = find(ports, kind)?;
        octets.try_into().ok().map(u16::from_be_bytes)
    };
    Some(Tuple {
        source: SocketAddr::new(address(1, 3)?, port(2)?),
        destination: SocketAddr::new(address(2, 4)?, port(3)?),
        protocol: *find(ports, 1)?.first()?,
    })
}

#[cfg(test)]
mod tests;
