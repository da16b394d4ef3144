//! Neighbours: permanent entries, proxy entries, and a VXLAN's forwarding table.
//!
//! Source: Linux UAPI `linux/neighbour.h`, arp(7).

use std::net::IpAddr;

use crate::error::{Error, What};
use crate::rt::{Handle, family_of};
use crate::wire::{Message, NLM_F_CREATE, NLM_F_REPLACE, attributes, ip, u16_at, u32_at};

const RTM_NEWNEIGH: u16 = 28;
const RTM_DELNEIGH: u16 = 29;
const RTM_GETNEIGH: u16 = 30;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NUD_PERMANENT: u16 = 0x80;
const NTF_SELF: u8 = 0x02;
const NTF_PROXY: u8 = 0x08;
const AF_BRIDGE: u8 = 7;

/// A neighbour entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// The link's index.
    pub link: u32,
    /// Its protocol address.
    pub address: IpAddr,
    /// Its hardware address; absent while unresolved and in proxy entries.
    pub hardware: Option<[u8; 6]>,
    /// Never expires and is never asked for.
    pub permanent: bool,
    /// The link answers requests for this address by its own hardware address.
    pub proxy: bool,
}

impl Handle {
    /// Neighbours of all links, without proxy entries.
    pub fn neighbours(&mut self) -> Result<Vec<Neighbour>, Error> {
        self.list_neighbours(0)
    }

    /// Proxy entries of all links.
    pub fn proxy_neighbours(&mut self) -> Result<Vec<Neighbour>, Error> {
        self.list_neighbours(NTF_PROXY)
    }

    fn list_neighbours(&mut self, flags: u8) -> Result<Vec<Neighbour>, Error> {
        let message = Message::new(RTM_GETNEIGH, 0, &header(0, 0, 0, flags));
        self.socket.dump(
            &message,
            &What::new("list neighbours", ""),
            |kind, payload| {
                if kind == RTM_NEWNEIGH {
                    parse(payload)
                } else {
                    None
                }
            },
        )
    }

    /// Adds or replaces a permanent entry.
    pub fn set_neighbour(
        &mut self,
        link: u32,
        address: IpAddr,
        hardware: [u8; 6],
    ) -> Result<(), Error> {
        let what = What::new("set neighbour", format_args!("{address} on link {link}"));
        let header = header(family_of(&address), link, NUD_PERMANENT, 0);
        let mut message = Message::new(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &header);
        message.attr_ip(NDA_DST, address);
        message.attr(NDA_LLADDR, &hardware);
        self.socket.request(message, what)
    }

    /// Lets the link answer for `address`.
    pub fn add_proxy(&mut self, link: u32, address: IpAddr) -> Result<(), Error> {
        let what = What::new(
            "add proxy neighbour",
            format_args!("{address} on link {link}"),
        );
        let header = header(family_of(&address), link, NUD_PERMANENT, NTF_PROXY);
        let mut message = Message::new(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &header);
        message.attr_ip(NDA_DST, address);
        self.socket.request(message, what)
    }

    /// Removes an entry, or its proxy variant.
    pub fn delete_neighbour(
        &mut self,
        link: u32,
        address: IpAddr,
        proxy: bool,
    ) -> Result<(), Error> {
        let what = What::new("delete neighbour", format_args!("{address} on link {link}"));
        let flags = if proxy { NTF_PROXY } else { 0 };
        let header = header(family_of(&address), link, 0, flags);
        let mut message = Message::new(RTM_DELNEIGH, 0, &header);
        message.attr_ip(NDA_DST, address);
        self.socket.request(message, what)
    }

    /// Tells a VXLAN device behind which tunnel end a hardware address lives.
    pub fn set_forwarding(
        &mut self,
        link: u32,
        hardware: [u8; 6],
        tunnel_end: IpAddr,
    ) -> Result<(), Error> {
        let what = What::new(
            "set forwarding",
            format_args!("to {tunnel_end} on link {link}"),
        );
        let header = header(AF_BRIDGE, link, NUD_PERMANENT, NTF_SELF);
        let mut message = Message::new(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &header);
        message.attr_ip(NDA_DST, tunnel_end);
        message.attr(NDA_LLADDR, &hardware);
        self.socket.request(message, what)
    }

    /// Removes a forwarding entry of a VXLAN device.
    pub fn delete_forwarding(&mut self, link: u32, hardware: [u8; 6]) -> Result<(), Error> {
        let what = What::new("delete forwarding", format_args!("on link {link}"));
        let header = header(AF_BRIDGE, link, 0, NTF_SELF);
        let mut message = Message::new(RTM_DELNEIGH, 0, &header);
        message.attr(NDA_LLADDR, &hardware);
        self.socket.request(message, what)
    }
}

/// `struct ndmsg`.
fn header(family: u8, link: u32, state: u16, flags: u8) -> [u8; 12] {
    let mut h = [0; 12];
    h[0] = family;
    h[4..8].copy_from_slice(&link.to_ne_bytes());
    h[8..10].copy_from_slice(&state.to_ne_bytes());
    h[10] = flags;
    h
}

fn parse(payload: &[u8]) -> Option<Neighbour> {
    let header = payload.get(0..12)?;
    let (mut address, mut hardware) = (None, None);
    for (kind, data) in attributes(&payload[12..]) {
        match kind {
            NDA_DST => address = ip(data),
            NDA_LLADDR => hardware = <[u8; 6]>::try_from(data).ok(),
            _ => {}
        }
    }
    Some(Neighbour {
        link: u32_at(header, 4),
        address: address?,
        hardware,
        permanent: u16_at(header, 8) & NUD_PERMANENT != 0,
        proxy: header[10] & NTF_PROXY != 0,
    })
}
