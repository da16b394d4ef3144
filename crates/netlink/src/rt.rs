//! Links, addresses, routes and neighbours of one network namespace (`NETLINK_ROUTE`).
//!
//! `Handle` is one socket; its methods live with the noun they are about. Idempotent callers wrap
//! them in `ignore_exists` and `ignore_not_found`. Source: Linux UAPI `linux/rtnetlink.h`.

use std::fmt;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use crate::error::Error;
use crate::socket::Socket;

pub mod address;
pub mod link;
pub mod neighbour;
pub mod route;

pub use address::Address;
pub use link::{Link, Veth, Vxlan};
pub use neighbour::Neighbour;
pub use route::{Route, Scope};

#[cfg(test)]
mod tests;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// One `NETLINK_ROUTE` socket, bound for life to the namespace it was opened in.
#[derive(Debug)]
pub struct Handle {
    socket: Socket,
}

impl Handle {
    /// Opens a socket in the calling thread's network namespace.
    pub fn open() -> Result<Self, Error> {
        Ok(Self {
            socket: Socket::open(None, None)?,
        })
    }

    /// Opens a socket in the given network namespace.
    pub fn open_in(namespace: BorrowedFd<'_>) -> Result<Self, Error> {
        Ok(Self {
            socket: Socket::open(None, Some(namespace))?,
        })
    }
}

/// An address with the length of its prefix, e.g. `10.0.0.1/32`. Host bits are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    /// The address.
    pub address: IpAddr,
    /// Leading bits that count.
    pub length: u8,
}

impl Prefix {
    /// `address/length`.
    #[must_use]
    pub fn new(address: impl Into<IpAddr>, length: u8) -> Self {
        Self {
            address: address.into(),
            length,
        }
    }

    /// The full-length prefix of one address.
    #[must_use]
    pub fn host(address: impl Into<IpAddr>) -> Self {
        let address = address.into();
        Self {
            address,
            length: if address.is_ipv4() { 32 } else { 128 },
        }
    }

    fn family(&self) -> u8 {
        family_of(&self.address)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

fn family_of(address: &IpAddr) -> u8 {
    if address.is_ipv4() { AF_INET } else { AF_INET6 }
}
