//! Records of a reply that somebody else wrote.

use super::{HEADER, NAME_LIMIT, kind, u16_at, u32_at};

/// Pointers followed within one name; a name of 255 bytes has at most 127 labels.
const POINTER_LIMIT: u32 = 128;

/// One record of a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    /// Where its owner's name begins.
    pub(crate) owner: usize,
    /// Type.
    pub(crate) kind: u16,
    /// Where its TTL stands.
    pub(crate) ttl_at: usize,
    /// How long it holds.
    pub(crate) ttl: u32,
    /// Where its data begin.
    pub(crate) data: usize,
    /// Where they end.
    pub(crate) end: usize,
}

/// All records of a whole, well-formed packet.
#[derive(Debug)]
pub(crate) struct Records {
    /// Where the question section ends.
    pub(crate) question_end: usize,
    /// Answer section.
    pub(crate) answer: Vec<Record>,
    /// Authority section.
    pub(crate) authority: Vec<Record>,
    /// Additional section.
    pub(crate) additional: Vec<Record>,
}

impl Records {
    /// Walks a packet with one question; `None` when anything in it is malformed.
    pub(crate) fn read(packet: &[u8]) -> Option<Self> {
        if u16_at(packet, 4)? != 1 {
            return None;
        }
        let question_end = skip_name(packet, HEADER)?.checked_add(4)?;
        if question_end > packet.len() {
            return None;
        }
        let mut at = question_end;
        let mut section = |count_at| -> Option<Vec<Record>> {
            let count = u16_at(packet, count_at)?;
            // A record has 11 bytes at least: the packet's length bounds the capacity.
            let mut records = Vec::with_capacity(usize::from(count).min(packet.len() / 11));
            for _ in 0..count {
                let record = read_record(packet, at)?;
                at = record.end;
                records.push(record);
            }
            Some(records)
        };
        Some(Self {
            question_end,
            answer: section(6)?,
            authority: section(8)?,
            additional: section(10)?,
        })
    }

    /// All but OPT, whose TTL is none.
    pub(crate) fn with_ttl(&self) -> impl Iterator<Item = &Record> {
        let sections = [&self.answer, &self.authority, &self.additional];
        sections
            .into_iter()
            .flatten()
            .filter(|record| record.kind != kind::OPT)
    }
}

fn read_record(packet: &[u8], owner: usize) -> Option<Record> {
    let at = skip_name(packet, owner)?;
    let data = at + 10;
    let end = data + usize::from(u16_at(packet, at + 8)?);
    let record = Record {
        owner,
        kind: u16_at(packet, at)?,
        ttl_at: at + 4,
        ttl: u32_at(packet, at + 4)?,
        data,
        end,
    };
    (end <= packet.len()).then_some(record)
}

/// Where the name at `at` ends; checks that it can be expanded.
pub(crate) fn skip_name(packet: &[u8], at: usize) -> Option<usize> {
    let mut name = [0; NAME_LIMIT];
    walk(packet, at, &mut name).map(|(_, end)| end)
}

/// The name at `at` without compression, spelled as there, and where it ends in the packet.
pub(crate) fn expand(packet: &[u8], at: usize) -> Option<(Vec<u8>, usize)> {
    let mut name = [0; NAME_LIMIT];
    let (length, end) = walk(packet, at, &mut name)?;
    Some((name[..length].to_vec(), end))
}

fn walk(packet: &[u8], at: usize, into: &mut [u8; NAME_LIMIT]) -> Option<(usize, usize)> {
    let (mut from, mut length, mut end, mut pointers) = (at, 0, None, 0);
    // Where the name that is read has to have ended.
    let mut whole = packet;
    loop {
        let first = *whole.get(from)?;
        match first {
            0 => {
                *into.get_mut(length)? = 0;
                return Some((length + 1, end.unwrap_or(from + 1)));
            }
            1..=63 => {
                let next = from + 1 + usize::from(first);
                let label = whole.get(from..next)?;
                into.get_mut(length..length + label.len())?
                    .copy_from_slice(label);
                length += label.len();
                from = next;
            }
            0xc0..=0xff => {
                let target = usize::from(u16_at(whole, from)? & 0x3fff);
                end.get_or_insert(from + 2);
                pointers += 1;
                // Backwards only (RFC 1035 4.1.4: a prior occurrence), so that it ends; and all of
                // that name before the pointer, so that a packet cut behind it can be read.
                if target >= from || target < HEADER || pointers > POINTER_LIMIT {
                    return None;
                }
                whole = packet.get(..from)?;
                from = target;
            }
            _ => return None,
        }
    }
}
