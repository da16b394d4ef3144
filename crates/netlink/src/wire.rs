//! Netlink's wire format: one message under construction, and a walk over attributes.
//!
//! Knows alignment and lengths only; families and meanings live in `rt` and `nft`.

use std::net::IpAddr;

pub(crate) const HEADER: usize = 16;
pub(crate) const NLM_F_REQUEST: u16 = 0x1;
pub(crate) const NLM_F_ACK: u16 = 0x4;
pub(crate) const NLM_F_DUMP: u16 = 0x300;
pub(crate) const NLM_F_REPLACE: u16 = 0x100;
pub(crate) const NLM_F_EXCL: u16 = 0x200;
pub(crate) const NLM_F_CREATE: u16 = 0x400;
pub(crate) const NLM_F_APPEND: u16 = 0x800;
pub(crate) const NLMSG_ERROR: u16 = 2;
pub(crate) const NLMSG_DONE: u16 = 3;
const NLA_F_NESTED: u16 = 0x8000;

fn align(n: usize) -> usize {
    (n + 3) & !3
}

/// One message: header, family header, attributes.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    buf: Vec<u8>,
    too_long: bool,
}

impl Message {
    pub(crate) fn new(kind: u16, flags: u16, family_header: &[u8]) -> Self {
        let mut buf = Vec::with_capacity(128);
        buf.extend_from_slice(&[0; 4]);
        buf.extend_from_slice(&kind.to_ne_bytes());
        buf.extend_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        buf.extend_from_slice(&[0; 8]);
        buf.extend_from_slice(family_header);
        let mut message = Self {
            buf,
            too_long: false,
        };
        message.pad();
        message
    }

    fn pad(&mut self) {
        self.buf.resize(align(self.buf.len()), 0);
    }

    pub(crate) fn attr(&mut self, kind: u16, data: &[u8]) {
        let Ok(length) = u16::try_from(data.len() + 4) else {
            self.too_long = true;
            return;
        };
        self.buf.extend_from_slice(&length.to_ne_bytes());
        self.buf.extend_from_slice(&kind.to_ne_bytes());
        self.buf.extend_from_slice(data);
        self.pad();
    }

    pub(crate) fn attr_u8(&mut self, kind: u16, value: u8) {
        self.attr(kind, &[value]);
    }

    pub(crate) fn attr_u32(&mut self, kind: u16, value: u32) {
        self.attr(kind, &value.to_ne_bytes());
    }

    /// nftables' integers are big endian.
    pub(crate) fn attr_be32(&mut self, kind: u16, value: u32) {
        self.attr(kind, &value.to_be_bytes());
    }

    pub(crate) fn attr_be64(&mut self, kind: u16, value: u64) {
        self.attr(kind, &value.to_be_bytes());
    }

    /// A string with its terminating zero.
    pub(crate) fn attr_str(&mut self, kind: u16, value: &str) {
        let mut data = Vec::with_capacity(value.len() + 1);
        data.extend_from_slice(value.as_bytes());
        data.push(0);
        self.attr(kind, &data);
    }

    pub(crate) fn attr_ip(&mut self, kind: u16, address: IpAddr) {
        match address {
            IpAddr::V4(v4) => self.attr(kind, &v4.octets()),
            IpAddr::V6(v6) => self.attr(kind, &v6.octets()),
        }
    }

    pub(crate) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.buf.len();
        self.buf.extend_from_slice(&[0; 4]);
        fill(self);
        match u16::try_from(self.buf.len() - start) {
            Ok(length) => {
                self.buf[start..start + 2].copy_from_slice(&length.to_ne_bytes());
                self.buf[start + 2..start + 4]
                    .copy_from_slice(&(kind | NLA_F_NESTED).to_ne_bytes());
            }
            Err(_) => self.too_long = true,
        }
    }

    /// Raw bytes inside a nest, e.g. the `ifinfomsg` of a veth's peer.
    pub(crate) fn raw(&mut self, data: &[u8]) {
        self.buf.extend_from_slice(data);
        self.pad();
    }

    pub(crate) fn add_flags(&mut self, flags: u16) {
        let old = u16::from_ne_bytes([self.buf[6], self.buf[7]]);
        self.buf[6..8].copy_from_slice(&(old | flags).to_ne_bytes());
    }

    pub(crate) fn len(&self) -> usize {
        self.buf.len()
    }

    /// Whether an attribute exceeded netlink's 64 KiB.
    pub(crate) fn too_long(&self) -> bool {
        self.too_long
    }

    /// The finished bytes under sequence number `sequence`.
    pub(crate) fn finish(&mut self, sequence: u32) -> &[u8] {
        let length = u32::try_from(self.buf.len()).unwrap_or(u32::MAX);
        self.buf[0..4].copy_from_slice(&length.to_ne_bytes());
        self.buf[8..12].copy_from_slice(&sequence.to_ne_bytes());
        &self.buf
    }
}

/// A received message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Received<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    /// The socket that caused a notification.
    pub(crate) port: u32,
    pub(crate) payload: &'a [u8],
}

/// Splits a datagram into messages; `None` inside means a malformed rest.
pub(crate) fn messages(mut data: &[u8]) -> impl Iterator<Item = Option<Received<'_>>> {
    std::iter::from_fn(move || {
        if data.is_empty() {
            return None;
        }
        let length = u32_at(data, 0) as usize;
        if data.len() < HEADER || length < HEADER || length > data.len() {
            data = &[];
            return Some(None);
        }
        let message = Received {
            kind: u16_at(data, 4),
            flags: u16_at(data, 6),
            sequence: u32_at(data, 8),
            port: u32_at(data, 12),
            payload: &data[HEADER..length],
        };
        data = data.get(align(length)..).unwrap_or(&[]);
        Some(Some(message))
    })
}

/// Walks attributes: (kind without flags, payload). Stops at malformed input.
pub(crate) fn attributes(mut data: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        if data.len() < 4 {
            return None;
        }
        let length = usize::from(u16_at(data, 0));
        if length < 4 || length > data.len() {
            return None;
        }
        let attribute = (u16_at(data, 2) & 0x3fff, &data[4..length]);
        data = data.get(align(length)..).unwrap_or(&[]);
        Some(attribute)
    })
}

pub(crate) fn find(data: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(data).find(|(k, _)| *k == kind).map(|(_, v)| v)
}

pub(crate) fn u16_at(data: &[u8], at: usize) -> u16 {
    data.get(at..at + 2)
        .map_or(0, |b| u16::from_ne_bytes([b[0], b[1]]))
}

pub(crate) fn u32_at(data: &[u8], at: usize) -> u32 {
    data.get(at..at + 4)
        .map_or(0, |b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]]))
}

pub(crate) fn be32(data: &[u8]) -> u32 {
    data.get(0..4)
        .map_or(0, |b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
}

pub(crate) fn be64(data: &[u8]) -> u64 {
    match <[u8; 8]>::try_from(data) {
        Ok(bytes) => u64::from_be_bytes(bytes),
        Err(_) => 0,
    }
}

/// A string attribute up to its first zero.
pub(crate) fn text(data: &[u8]) -> String {
    let end = data.iter().position(|b| *b == 0).unwrap_or(data.len());
    String::from_utf8_lossy(&data[..end]).into_owned()
}

pub(crate) fn ip(data: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(data) {
        return Some(IpAddr::from(v4));
    }
    <[u8; 16]>::try_from(data).ok().map(IpAddr::from)
}
