//! A question as it arrives.

use super::record::skip_name;
use super::{HEADER, Name, UDP_LIMIT, UDP_PLAIN, flag, kind, rcode, u16_at, u32_at};

/// Most additional records of a query that are looked at: OPT and a signature or two.
const ADDITIONAL_LIMIT: u16 = 8;

/// A well-formed query with one question.
#[derive(Debug)]
pub(crate) struct Query<'a> {
    /// The packet.
    pub(crate) packet: &'a [u8],
    /// Number that the reply repeats.
    pub(crate) id: u16,
    /// The header's second word.
    pub(crate) flags: u16,
    /// The name, in lower case.
    pub(crate) name: Name,
    /// Type.
    pub(crate) kind: u16,
    /// Class.
    pub(crate) class: u16,
    /// Where the question ends in the packet.
    pub(crate) question_end: usize,
    /// The client's OPT record.
    pub(crate) edns: Option<Edns>,
}

/// What a client says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edns {
    /// Largest UDP payload that it takes.
    pub(crate) size: u16,
    /// Wants signatures.
    pub(crate) dnssec: bool,
    /// Version of EDNS.
    pub(crate) version: u8,
}

/// Why a packet is not answered as a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No answer at all: too short for a header, or itself an answer.
    Silent,
    /// An answer of the header alone with that response code.
    Code(u8),
}

impl<'a> Query<'a> {
    /// Reads a packet.
    pub(crate) fn parse(packet: &'a [u8]) -> Result<Self, Refusal> {
        let word = |index: usize| u16_at(packet, index * 2).ok_or(Refusal::Silent);
        let (id, flags) = (word(0)?, word(1)?);
        let (questions, answers, authorities, additional) =
            (word(2)?, word(3)?, word(4)?, word(5)?);
        if flags & flag::RESPONSE != 0 {
            return Err(Refusal::Silent);
        }
        if flags & flag::OPCODE != 0 {
            return Err(Refusal::Code(rcode::NOT_IMPLEMENTED));
        }
        let malformed = Refusal::Code(rcode::FORMAT);
        if questions != 1 || answers != 0 || authorities != 0 || additional > ADDITIONAL_LIMIT {
            return Err(malformed);
        }
        let (name, end) = Name::read(packet, HEADER).ok_or(malformed)?;
        let kind = u16_at(packet, end).ok_or(malformed)?;
        let class = u16_at(packet, end + 2).ok_or(malformed)?;
        let question_end = end + 4;
        let edns = options(packet, question_end, additional).ok_or(malformed)?;
        Ok(Self {
            packet,
            id,
            flags,
            name,
            kind,
            class,
            question_end,
            edns,
        })
    }

    /// The question section, in the client's spelling.
    pub(crate) fn question(&self) -> &'a [u8] {
        self.packet
            .get(HEADER..self.question_end)
            .unwrap_or_default()
    }

    /// Largest reply over UDP.
    pub(crate) fn udp_limit(&self) -> usize {
        self.edns.map_or(UDP_PLAIN, |edns| {
            usize::from(edns.size).clamp(UDP_PLAIN, UDP_LIMIT)
        })
    }
}

/// The OPT record among `count` additional records; the outer `None` when they are malformed.
fn options(packet: &[u8], mut at: usize, count: u16) -> Option<Option<Edns>> {
    let mut found = None;
    for _ in 0..count {
        let root = packet.get(at) == Some(&0);
        at = skip_name(packet, at)?;
        let kind = u16_at(packet, at)?;
        let class = u16_at(packet, at + 2)?;
        let ttl = u32_at(packet, at + 4)?;
        let length = usize::from(u16_at(packet, at + 8)?);
        at += 10 + length;
        if at > packet.len() {
            return None;
        }
        if kind == kind::OPT {
            if found.is_some() || !root {
                return None;
            }
            let [_, version, high, _] = ttl.to_be_bytes();
            found = Some(Edns {
                size: class,
                dnssec: high & 0x80 != 0,
                version,
            });
        }
    }
    Some(found)
}

/// A reply without any section, for a packet whose question cannot be repeated.
pub(crate) fn header_only(packet: &[u8], code: u8) -> Option<[u8; HEADER]> {
    let id = packet.get(..2)?;
    let flags = u16_at(packet, 2)?;
    let flags = flag::RESPONSE
        | (flags & (flag::OPCODE | flag::RECURSION_DESIRED))
        | u16::from(code & 0x0f);
    let [high, low] = flags.to_be_bytes();
    Some([id[0], id[1], high, low, 0, 0, 0, 0, 0, 0, 0, 0])
}
