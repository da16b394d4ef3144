//! What the kernel's sets and maps hold, as values that can be compared and printed.
//!
//! Example of a Service with cluster address 10.96.0.10, port 80, and two endpoints:
//! `service-ips 10.96.0.10:80/tcp → pool 7f3a of 2`, `endpoints 7f3a.0 → 10.1.0.5:8080`,
//! `endpoints 7f3a.1 → 10.1.0.6:8080`, `cluster-ips 10.96.0.10`.
//! Knows no netlink (`kernel` encodes) and no API objects (`plan` derives).

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// A layer 4 protocol with ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// Reads the API's name of it.
    #[must_use]
    pub fn read(name: &str) -> Option<Self> {
        Some(match name {
            "TCP" => Self::Tcp,
            "UDP" => Self::Udp,
            "SCTP" => Self::Sctp,
            _ => return None,
        })
    }

    /// Its number in the IP header.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

/// An address and port that stand for a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frontend {
    /// The address.
    pub address: IpAddr,
    /// The protocol.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
}

impl fmt::Display for Frontend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}/{}",
            SocketAddr::new(self.address, self.port),
            self.protocol
        )
    }
}

/// The sets and maps whose key is a frontend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IpSet {
    /// Map to the pool for everyone.
    Service,
    /// Map to the pool for pods and the node itself, where policy Local gives others less.
    Inside,
    /// What comes this way leaves under the node's address.
    Masquerade,
    /// Answered with a refusal: no endpoint anywhere.
    Reject,
    /// Not answered: no endpoint on this node.
    Drop,
    /// Only for the sources of `Key::Allowed`.
    Firewalled,
}

/// The sets and maps whose key is a port of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortSet {
    /// Map to the pool for everyone.
    Node,
    /// As `IpSet::Inside`.
    Inside,
    /// As `IpSet::Masquerade`.
    Masquerade,
    /// As `IpSet::Reject`.
    Reject,
    /// As `IpSet::Drop`.
    Drop,
}

/// A key of one of the sets and maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A frontend.
    Ip(IpSet, Frontend),
    /// A port of the node.
    Port(PortSet, Protocol, u16),
    /// A cluster address: what no map has is refused.
    ClusterIp(IpAddr),
    /// An endpoint of this node that may reach itself.
    Hairpin(IpAddr),
    /// A source that may use a frontend.
    Allowed(Frontend, IpNet),
    /// A numbered endpoint of a pool.
    Slot {
        /// The pool.
        pool: u32,
        /// Below the pool's count.
        index: u32,
    },
    /// An endpoint of a pool whose clients stay with theirs.
    Member {
        /// The pool.
        pool: u32,
        /// The endpoint.
        endpoint: SocketAddr,
    },
}

/// How a frontend finds its pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolRef {
    /// How many endpoints it has.
    pub count: u32,
    /// How long a client stays with its endpoint; 0 means it does not.
    pub sticky_seconds: u32,
    /// The pool.
    pub pool: u32,
}

/// What a key maps to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// Nothing: the key is in a set.
    Present,
    /// A pool.
    Pool(PoolRef),
    /// An endpoint.
    Endpoint(SocketAddr),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(set, frontend) => {
                let set = match set {
                    IpSet::Service => "service-ips",
                    IpSet::Inside => "inside-ips",
                    IpSet::Masquerade => "masquerade-ips",
                    IpSet::Reject => "reject-ips",
                    IpSet::Drop => "drop-ips",
                    IpSet::Firewalled => "firewalled",
                };
                write!(f, "{set} {frontend}")
            }
            Self::Port(set, protocol, port) => {
                let set = match set {
                    PortSet::Node => "node-ports",
                    PortSet::Inside => "inside-ports",
                    PortSet::Masquerade => "masquerade-ports",
                    PortSet::Reject => "reject-ports",
                    PortSet::Drop => "drop-ports",
                };
                write!(f, "{set} {port}/{protocol}")
            }
            Self::ClusterIp(address) => write!(f, "cluster-ips {address}"),
            Self::Hairpin(address) => write!(f, "hairpin {address}"),
            Self::Allowed(frontend, range) => write!(f, "allowed {frontend} from {range}"),
            Self::Slot { pool, index } => write!(f, "endpoints {pool:08x}.{index}"),
            Self::Member { pool, endpoint } => write!(f, "members {pool:08x} {endpoint}"),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Present => Ok(()),
            Self::Pool(pool) => {
                write!(f, " → pool {:08x} of {}", pool.pool, pool.count)?;
                match pool.sticky_seconds {
                    0 => Ok(()),
                    seconds => write!(f, ", sticky {seconds} s"),
                }
            }
            Self::Endpoint(endpoint) => write!(f, " → {endpoint}"),
        }
    }
}
