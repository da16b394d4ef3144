//! Addresses on links. Source: Linux UAPI `linux/if_addr.h`.

use std::net::IpAddr;

use crate::error::{Error, What};
use crate::rt::{Handle, Prefix, Scope};
use crate::wire::{Message, NLM_F_CREATE, NLM_F_EXCL, attributes, ip, text, u32_at};

const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_LABEL: u16 = 3;
const IFA_FLAGS: u16 = 8;
const IFA_F_NODAD: u32 = 0x02;
const IFA_F_NOPREFIXROUTE: u32 = 0x200;

/// An address on a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The link's index.
    pub link: u32,
    /// Address and prefix length.
    pub prefix: Prefix,
    /// How far the address reaches.
    pub scope: Scope,
    /// IPv4's label, usually the link's name.
    pub label: String,
}

impl Handle {
    /// All addresses of the namespace.
    pub fn addresses(&mut self) -> Result<Vec<Address>, Error> {
        let message = Message::new(RTM_GETADDR, 0, &[0; 8]);
        self.socket.dump(
            &message,
            &What::new("list addresses", ""),
            |kind, payload| {
                if kind == RTM_NEWADDR {
                    parse(payload)
                } else {
                    None
                }
            },
        )
    }

    /// Adds an address. IPv6 addresses skip duplicate detection: they are ours to give.
    pub fn add_address(&mut self, link: u32, prefix: Prefix) -> Result<(), Error> {
        self.add_scoped_address(link, prefix, Scope::UNIVERSE)
    }

    /// Adds an address that is valid on the link or on the host only.
    pub fn add_scoped_address(
        &mut self,
        link: u32,
        prefix: Prefix,
        scope: Scope,
    ) -> Result<(), Error> {
        let what = What::new("add address", format_args!("{prefix} to link {link}"));
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        let mut message = Message::new(RTM_NEWADDR, flags, &header(link, prefix, scope));
        body(&mut message, prefix);
        let full = prefix.length == Prefix::host(prefix.address).length;
        let mut flags = if full { IFA_F_NOPREFIXROUTE } else { 0 };
        if prefix.address.is_ipv6() {
            flags |= IFA_F_NODAD;
        }
        message.attr_u32(IFA_FLAGS, flags);
        self.socket.request(message, what)
    }

    /// Removes an address.
    pub fn delete_address(&mut self, link: u32, prefix: Prefix) -> Result<(), Error> {
        let what = What::new("delete address", format_args!("{prefix} of link {link}"));
        let mut message = Message::new(RTM_DELADDR, 0, &header(link, prefix, Scope::UNIVERSE));
        body(&mut message, prefix);
        self.socket.request(message, what)
    }
}

fn body(message: &mut Message, prefix: Prefix) {
    if matches!(prefix.address, IpAddr::V4(_)) {
        message.attr_ip(IFA_LOCAL, prefix.address);
    }
    message.attr_ip(IFA_ADDRESS, prefix.address);
}

/// `struct ifaddrmsg`.
fn header(link: u32, prefix: Prefix, scope: Scope) -> [u8; 8] {
    let i = link.to_ne_bytes();
    [
        prefix.family(),
        prefix.length,
        0,
        scope.0,
        i[0],
        i[1],
        i[2],
        i[3],
    ]
}

fn parse(payload: &[u8]) -> Option<Address> {
    let (mut address, mut local, mut label) = (None, None, String::new());
    for (kind, data) in attributes(payload.get(8..)?) {
        match kind {
            IFA_ADDRESS => address = ip(data),
            IFA_LOCAL => local = ip(data),
            IFA_LABEL => label = text(data),
            _ => {}
        }
    }
    Some(Address {
        link: u32_at(payload, 4),
        prefix: Prefix {
            address: local.or(address)?,
            length: *payload.get(1)?,
        },
        scope: Scope(*payload.get(3)?),
        label,
    })
}
