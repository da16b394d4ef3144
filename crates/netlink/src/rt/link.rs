//! Links: veth pairs, VXLAN, and the properties of any link.
//!
//! Source: Linux UAPI `linux/if_link.h`, `drivers/net/veth.c`, `drivers/net/vxlan`.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use crate::error::{Error, What};
use crate::rt::Handle;
use crate::wire::{Message, NLM_F_CREATE, NLM_F_EXCL, attributes, find, text, u32_at};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_STATS64: u16 = 23;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFLA_VXLAN_ID: u16 = 1;
const IFLA_VXLAN_LINK: u16 = 3;
const IFLA_VXLAN_LOCAL: u16 = 4;
const IFLA_VXLAN_LEARNING: u16 = 7;
const IFLA_VXLAN_PORT: u16 = 15;
const IFLA_VXLAN_LOCAL6: u16 = 17;
const IFF_UP: u32 = 1;
const IFF_LOOPBACK: u32 = 8;
const NAME_LIMIT: usize = 15;

/// A link as the kernel reports it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Link {
    /// Interface index in its namespace.
    pub index: u32,
    /// Interface name.
    pub name: String,
    /// `veth`, `vxlan`, `bridge`, … or empty for hardware and loopback.
    pub kind: String,
    /// Hardware address, if the link has one.
    pub address: Option<[u8; 6]>,
    /// Largest payload.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// The loopback link.
    pub loopback: bool,
    /// RFC 2863 state: 6 is up.
    pub operational_state: u8,
    /// The other end or the lower link: its index in its own namespace.
    pub peer_index: Option<u32>,
    /// Set when the other end is in another namespace.
    pub peer_elsewhere: bool,
    /// Index of the bridge or bond above.
    pub master: Option<u32>,
    /// Free text by which its maker recognises it.
    pub alias: String,
    /// Bytes and packets since the link exists.
    pub traffic: Traffic,
}

/// Counters of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Bytes received.
    pub received_bytes: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Packets received with an error.
    pub received_errors: u64,
    /// Packets not sent for an error.
    pub sent_errors: u64,
}

/// A veth pair to create. The near end appears in the handle's namespace.
#[derive(Debug, Clone)]
pub struct Veth<'a> {
    /// Name of the near end.
    pub name: &'a str,
    /// Hardware address of the near end; random when absent.
    pub address: Option<[u8; 6]>,
    /// Name of the far end.
    pub peer_name: &'a str,
    /// Hardware address of the far end; random when absent.
    pub peer_address: Option<[u8; 6]>,
    /// Where the far end goes; the handle's namespace when absent.
    pub peer_namespace: Option<BorrowedFd<'a>>,
    /// Largest payload of both ends; the kernel's default when absent.
    pub mtu: Option<u32>,
    /// Note on the near end.
    pub alias: &'a str,
}

/// A VXLAN device without multicast, learning or defaults: its peers come as neighbours.
#[derive(Debug, Clone)]
pub struct Vxlan<'a> {
    /// Link name.
    pub name: &'a str,
    /// Network identifier, 24 bits.
    pub id: u32,
    /// UDP port.
    pub port: u16,
    /// Source address of the tunnels.
    pub local: Option<IpAddr>,
    /// Lower link.
    pub link: Option<u32>,
    /// Hardware address; random when absent.
    pub address: Option<[u8; 6]>,
    /// Largest payload; the kernel's default when absent.
    pub mtu: Option<u32>,
}

impl Handle {
    /// All links of the namespace.
    pub fn links(&mut self) -> Result<Vec<Link>, Error> {
        let message = Message::new(RTM_GETLINK, 0, &header(0, 0, 0));
        self.socket
            .dump(&message, &What::new("list links", ""), |kind, payload| {
                (kind == RTM_NEWLINK).then(|| parse(payload))
            })
    }

    /// The link of that name, if there is one.
    pub fn link_by_name(&mut self, name: &str) -> Result<Option<Link>, Error> {
        let mut message = Message::new(RTM_GETLINK, 0, &header(0, 0, 0));
        message.attr_str(IFLA_IFNAME, name);
        self.one_link(message, What::new("get link", name))
    }

    /// The link of that index, if there is one.
    pub fn link_by_index(&mut self, index: u32) -> Result<Option<Link>, Error> {
        let message = Message::new(RTM_GETLINK, 0, &header(index, 0, 0));
        self.one_link(message, What::new("get link", index))
    }

    fn one_link(&mut self, message: Message, what: What) -> Result<Option<Link>, Error> {
        let mut link = None;
        let outcome = self.socket.query(message, what, |received| {
            if received.kind == RTM_NEWLINK {
                link = Some(parse(received.payload));
            }
        });
        match outcome {
            Err(error) if error.errno() == Some(Errno::NODEV) => Ok(None),
            outcome => outcome.map(|()| link),
        }
    }

    /// Creates a veth pair and returns the near end's index. Fails if either name is taken.
    pub fn add_veth(&mut self, veth: &Veth<'_>) -> Result<u32, Error> {
        let what = What::new("add veth", veth.name);
        check_name(veth.name, &what)?;
        check_name(veth.peer_name, &what)?;
        let mut m = create(veth.name, veth.address, veth.mtu);
        m.nest(IFLA_LINKINFO, |m| {
            m.attr(IFLA_INFO_KIND, b"veth");
            m.nest(IFLA_INFO_DATA, |m| {
                m.nest(VETH_INFO_PEER, |m| {
                    m.raw(&header(0, 0, 0));
                    m.attr_str(IFLA_IFNAME, veth.peer_name);
                    if let Some(address) = veth.peer_address {
                        m.attr(IFLA_ADDRESS, &address);
                    }
                    if let Some(mtu) = veth.mtu {
                        m.attr_u32(IFLA_MTU, mtu);
                    }
                    if let Some(namespace) = veth.peer_namespace {
                        m.attr_u32(IFLA_NET_NS_FD, descriptor(namespace));
                    }
                });
            });
        });
        self.socket.request(m, what.clone())?;
        let index = self.index_of(veth.name, &what)?;
        if !veth.alias.is_empty() {
            // rtnl_create_link() ignores the alias, so it takes a second message.
            let mut m = Message::new(RTM_NEWLINK, 0, &header(index, 0, 0));
            m.attr(IFLA_IFALIAS, veth.alias.as_bytes());
            self.socket
                .request(m, What::new("set alias of link", veth.name))?;
        }
        Ok(index)
    }

    /// Creates a VXLAN device and returns its index.
    pub fn add_vxlan(&mut self, vxlan: &Vxlan<'_>) -> Result<u32, Error> {
        let what = What::new("add vxlan", vxlan.name);
        check_name(vxlan.name, &what)?;
        let mut m = create(vxlan.name, vxlan.address, vxlan.mtu);
        m.nest(IFLA_LINKINFO, |m| {
            m.attr(IFLA_INFO_KIND, b"vxlan");
            m.nest(IFLA_INFO_DATA, |m| {
                m.attr_u32(IFLA_VXLAN_ID, vxlan.id);
                m.attr(IFLA_VXLAN_PORT, &vxlan.port.to_be_bytes());
                m.attr_u8(IFLA_VXLAN_LEARNING, 0);
                match vxlan.local {
                    Some(local @ IpAddr::V4(_)) => m.attr_ip(IFLA_VXLAN_LOCAL, local),
                    Some(local @ IpAddr::V6(_)) => m.attr_ip(IFLA_VXLAN_LOCAL6, local),
                    None => {}
                }
                if let Some(link) = vxlan.link {
                    m.attr_u32(IFLA_VXLAN_LINK, link);
                }
            });
        });
        self.socket.request(m, what.clone())?;
        self.index_of(vxlan.name, &what)
    }

    fn index_of(&mut self, name: &str, what: &What) -> Result<u32, Error> {
        let link = self.link_by_name(name)?;
        link.map(|link| link.index).ok_or_else(|| Error::Answer {
            what: what.clone(),
            reason: "the new link vanished at once",
        })
    }

    /// Sets a link administratively up or down.
    pub fn set_up(&mut self, index: u32, up: bool) -> Result<(), Error> {
        let flags = if up { IFF_UP } else { 0 };
        let message = Message::new(RTM_NEWLINK, 0, &header(index, flags, IFF_UP));
        let operation = if up { "set link up" } else { "set link down" };
        self.socket.request(message, What::new(operation, index))
    }

    /// Renames a link, which must be down on old kernels.
    pub fn rename_link(&mut self, index: u32, name: &str) -> Result<(), Error> {
        let what = What::new("rename link to", name);
        check_name(name, &what)?;
        self.change(index, what, |m| m.attr_str(IFLA_IFNAME, name))
    }

    /// Moves a link into another namespace; its index may change.
    pub fn move_link(&mut self, index: u32, namespace: BorrowedFd<'_>) -> Result<(), Error> {
        let what = What::new("move link to another namespace", index);
        self.change(index, what, |m| {
            m.attr_u32(IFLA_NET_NS_FD, descriptor(namespace))
        })
    }

    /// Sets the largest payload.
    pub fn set_mtu(&mut self, index: u32, mtu: u32) -> Result<(), Error> {
        self.change(index, What::new("set mtu of link", index), |m| {
            m.attr_u32(IFLA_MTU, mtu)
        })
    }

    /// Sets the hardware address.
    pub fn set_hardware_address(&mut self, index: u32, address: [u8; 6]) -> Result<(), Error> {
        let what = What::new("set hardware address of link", index);
        self.change(index, what, |m| m.attr(IFLA_ADDRESS, &address))
    }

    /// Sets the note by which its maker recognises a link.
    pub fn set_alias(&mut self, index: u32, alias: &str) -> Result<(), Error> {
        let what = What::new("set alias of link", index);
        self.change(index, what, |m| m.attr(IFLA_IFALIAS, alias.as_bytes()))
    }

    fn change(
        &mut self,
        index: u32,
        what: What,
        fill: impl FnOnce(&mut Message),
    ) -> Result<(), Error> {
        let mut message = Message::new(RTM_NEWLINK, 0, &header(index, 0, 0));
        fill(&mut message);
        self.socket.request(message, what)
    }

    /// Deletes a link; of a veth both ends go.
    pub fn delete_link(&mut self, index: u32) -> Result<(), Error> {
        let message = Message::new(RTM_DELLINK, 0, &header(index, 0, 0));
        self.socket
            .request(message, What::new("delete link", index))
    }

    /// Deletes a link by name; absent is fine. Returns whether there was one.
    pub fn delete_link_named(&mut self, name: &str) -> Result<bool, Error> {
        let Some(link) = self.link_by_name(name)? else {
            return Ok(false);
        };
        crate::error::ignore_not_found(self.delete_link(link.index))?;
        Ok(true)
    }
}

fn create(name: &str, address: Option<[u8; 6]>, mtu: Option<u32>) -> Message {
    let mut m = Message::new(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &header(0, 0, 0));
    m.attr_str(IFLA_IFNAME, name);
    if let Some(address) = address {
        m.attr(IFLA_ADDRESS, &address);
    }
    if let Some(mtu) = mtu {
        m.attr_u32(IFLA_MTU, mtu);
    }
    m
}

fn check_name(name: &str, what: &What) -> Result<(), Error> {
    let bad = name.is_empty()
        || name.len() > NAME_LIMIT
        || name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace());
    if bad {
        let what = what.clone();
        return Err(Error::Request {
            what,
            reason: "a link name has 1 to 15 bytes without '/', ':' and blanks",
        });
    }
    Ok(())
}

fn descriptor(fd: BorrowedFd<'_>) -> u32 {
    u32::try_from(fd.as_raw_fd()).unwrap_or(u32::MAX)
}

/// `struct ifinfomsg`.
fn header(index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut h = [0; 16];
    h[4..8].copy_from_slice(&index.to_ne_bytes());
    h[8..12].copy_from_slice(&flags.to_ne_bytes());
    h[12..16].copy_from_slice(&change.to_ne_bytes());
    h
}

fn parse(payload: &[u8]) -> Link {
    let flags = u32_at(payload, 8);
    let mut link = Link {
        index: u32_at(payload, 4),
        up: flags & IFF_UP != 0,
        loopback: flags & IFF_LOOPBACK != 0,
        ..Link::default()
    };
    for (kind, data) in attributes(payload.get(16..).unwrap_or(&[])) {
        match kind {
            IFLA_IFNAME => link.name = text(data),
            IFLA_ADDRESS => link.address = <[u8; 6]>::try_from(data).ok(),
            IFLA_MTU => link.mtu = u32_at(data, 0),
            IFLA_LINK => link.peer_index = Some(u32_at(data, 0)),
            IFLA_LINK_NETNSID => link.peer_elsewhere = true,
            IFLA_MASTER => link.master = Some(u32_at(data, 0)),
            IFLA_OPERSTATE => link.operational_state = data.first().copied().unwrap_or(0),
            IFLA_IFALIAS => link.alias = text(data),
            IFLA_LINKINFO => link.kind = find(data, IFLA_INFO_KIND).map(text).unwrap_or_default(),
            IFLA_STATS64 => link.traffic = traffic(data),
            _ => {}
        }
    }
    link
}

/// `struct rtnl_link_stats64`: packets, bytes, errors; received before sent.
fn traffic(data: &[u8]) -> Traffic {
    let at = |index: usize| {
        let bytes = data
            .get(index * 8..index * 8 + 8)
            .and_then(|b| <[u8; 8]>::try_from(b).ok());
        bytes.map_or(0, u64::from_ne_bytes)
    };
    Traffic {
        received_bytes: at(2),
        sent_bytes: at(3),
        received_errors: at(4),
        sent_errors: at(5),
    }
}
