//! nftables: batches that the kernel applies as one transaction, and reads for repair.
//!
//! `Batch` collects changes; `Nft::commit` sends them in one datagram, so that packets see the
//! old ruleset or the new one, never a mixture. Names and values are the caller's; Services and
//! policies are not known here. Example: to replace a table, `add_table`, `delete_table` and
//! `add_table` again in one batch.
//! Source: Linux UAPI `linux/netfilter/{nfnetlink,nf_tables}.h`, `net/netfilter/nfnetlink.c`.

use std::fmt;
use std::os::fd::BorrowedFd;

use rustix::net::netlink::NETFILTER;

use crate::error::{Error, What};
use crate::socket::Socket;
use crate::wire::Message;

pub mod batch;
pub mod dump;
pub mod expr;
pub mod monitor;
pub mod set;

pub use batch::{Batch, Chain, ChainKind, Hook, Policy};
pub use dump::{BaseChain, RuleId, Stored};
pub use expr::{
    CmpOp, CtKey, Data, DynsetOp, Expr, FibFlags, FibResult, MetaKey, NatKind, PayloadBase,
    Register, RejectKind, Verdict,
};
pub use monitor::{Monitor, Seen};
pub use set::{Element, Field, Set, SetData};

#[cfg(test)]
mod tests;

pub(crate) const SUBSYSTEM: u16 = 10 << 8;
const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;
const NFNL_BATCH_GENID: u16 = 1;

/// The protocol family of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4 and IPv6.
    Inet,
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// ARP.
    Arp,
    /// Bridged frames.
    Bridge,
    /// Ingress of devices.
    Netdev,
}

impl Family {
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Inet => 1,
            Self::Ip => 2,
            Self::Arp => 3,
            Self::Netdev => 5,
            Self::Bridge => 7,
            Self::Ip6 => 10,
        }
    }

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Inet,
            2 => Self::Ip,
            3 => Self::Arp,
            5 => Self::Netdev,
            7 => Self::Bridge,
            10 => Self::Ip6,
            _ => return None,
        })
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inet => "inet",
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Arp => "arp",
            Self::Bridge => "bridge",
            Self::Netdev => "netdev",
        })
    }
}

/// A table's identity.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Table {
    /// Protocol family.
    pub family: Family,
    /// Name within the family.
    pub name: String,
}

impl Table {
    /// Table `name` of `family`.
    #[must_use]
    pub fn new(family: Family, name: impl Into<String>) -> Self {
        Self {
            family,
            name: name.into(),
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.family, self.name)
    }
}

/// One socket to the nftables of one network namespace.
#[derive(Debug)]
pub struct Nft {
    pub(crate) socket: Socket,
}

impl Nft {
    /// Opens a socket in the calling thread's network namespace.
    pub fn open() -> Result<Self, Error> {
        Ok(Self {
            socket: Socket::open(Some(NETFILTER), None)?,
        })
    }

    /// Opens a socket in the given network namespace.
    pub fn open_in(namespace: BorrowedFd<'_>) -> Result<Self, Error> {
        Ok(Self {
            socket: Socket::open(Some(NETFILTER), Some(namespace))?,
        })
    }

    /// The kernel's number of this socket: notifications name who caused them by it.
    pub fn port(&self) -> Result<u32, Error> {
        self.socket.port()
    }

    /// Applies all changes of `batch` or none. The error names the change that failed.
    pub fn commit(&mut self, batch: Batch) -> Result<(), Error> {
        self.send(batch, None)
    }

    /// As `commit`, but refused (`ERESTART`) when the ruleset is no longer at `generation`.
    pub fn commit_at(&mut self, batch: Batch, generation: u32) -> Result<(), Error> {
        self.send(batch, Some(generation))
    }

    fn send(&mut self, batch: Batch, generation: Option<u32>) -> Result<(), Error> {
        let mut header = header(0);
        // res_id names the subsystem the batch is for, in network order.
        header[2..4].copy_from_slice(&(SUBSYSTEM >> 8).to_be_bytes());
        let mut begin = Message::new(NFNL_MSG_BATCH_BEGIN, 0, &header);
        if let Some(generation) = generation {
            begin.attr_be32(NFNL_BATCH_GENID, generation);
        }
        let end = Message::new(NFNL_MSG_BATCH_END, 0, &header);
        let whole = What::new("commit nftables transaction", "");
        let mut body = batch.into_messages();
        self.socket.batch(begin, &mut body, end, &whole)
    }
}

/// `struct nfgenmsg`.
pub(crate) fn header(family: u8) -> [u8; 4] {
    [family, 0, 0, 0]
}
