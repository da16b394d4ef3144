//! DNS packets: a question read, a reply written, a foreign reply walked.
//!
//! Nothing here allocates per name or trusts a length: a reader gives `None` where a packet ends
//! early, a pointer does not go backwards or a name is too long. Names are compared in wire form,
//! lower case, so that a lookup is one hash of a slice of the question.
//! Example: `Web.default.svc.cluster.local` → `\3web\7default\3svc\7cluster\5local\0`.
//! Own code instead of a crate: the hot path reads one question and writes a handful of record
//! types; the tests compare with hickory-proto.
//! Source: RFC 1035, RFC 6891 (EDNS), RFC 2181, RFC 8482.

mod name;
mod query;
mod record;
mod reply;

pub(crate) use name::{Name, labels, readable, wire};
pub(crate) use query::{Query, Refusal, header_only};
pub(crate) use record::{Record, Records, expand};
pub(crate) use reply::{At, Reply, Section, names_in, plain};

/// Longest name in wire form, its end included.
pub(crate) const NAME_LIMIT: usize = 255;
/// Length of a header.
pub(crate) const HEADER: usize = 12;
/// Largest UDP payload that is sent: no fragment on any usual path (DNS flag day 2020).
pub(crate) const UDP_LIMIT: usize = 1232;
/// What a client without EDNS takes.
pub(crate) const UDP_PLAIN: usize = 512;
/// Offsets from here on no pointer can hold.
pub(crate) const POINTER_END: usize = 0x4000;
/// Length of an OPT record without options.
pub(crate) const OPT_LENGTH: usize = 11;

/// Record types.
pub(crate) mod kind {
    pub(crate) const A: u16 = 1;
    pub(crate) const NS: u16 = 2;
    pub(crate) const CNAME: u16 = 5;
    pub(crate) const SOA: u16 = 6;
    pub(crate) const PTR: u16 = 12;
    pub(crate) const HINFO: u16 = 13;
    pub(crate) const MX: u16 = 15;
    pub(crate) const TXT: u16 = 16;
    pub(crate) const AAAA: u16 = 28;
    pub(crate) const SRV: u16 = 33;
    pub(crate) const DNAME: u16 = 39;
    pub(crate) const OPT: u16 = 41;
    pub(crate) const IXFR: u16 = 251;
    pub(crate) const AXFR: u16 = 252;
}

/// Class IN.
pub(crate) const IN: u16 = 1;

/// Response codes.
pub(crate) mod rcode {
    pub(crate) const NO_ERROR: u8 = 0;
    pub(crate) const FORMAT: u8 = 1;
    pub(crate) const SERVER_FAILURE: u8 = 2;
    pub(crate) const NAME_ERROR: u8 = 3;
    pub(crate) const NOT_IMPLEMENTED: u8 = 4;
    pub(crate) const REFUSED: u8 = 5;
}

/// Bits of the header's second word.
pub(crate) mod flag {
    pub(crate) const RESPONSE: u16 = 0x8000;
    pub(crate) const OPCODE: u16 = 0x7800;
    pub(crate) const AUTHORITATIVE: u16 = 0x0400;
    pub(crate) const TRUNCATED: u16 = 0x0200;
    pub(crate) const RECURSION_DESIRED: u16 = 0x0100;
    pub(crate) const AUTHENTIC: u16 = 0x0020;
    pub(crate) const CHECKING_DISABLED: u16 = 0x0010;
}

/// The 16-bit number at `at`.
pub(crate) fn u16_at(packet: &[u8], at: usize) -> Option<u16> {
    let bytes = packet.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes([bytes[0], bytes[1]]))
}

/// The 32-bit number at `at`.
pub(crate) fn u32_at(packet: &[u8], at: usize) -> Option<u32> {
    let bytes = packet.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

#[cfg(test)]
mod tests;
