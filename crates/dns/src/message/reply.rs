//! Writes a reply, never beyond its limit.

use super::{HEADER, IN, OPT_LENGTH, POINTER_END, Query, UDP_LIMIT, flag, kind, readable};

/// Names remembered for pointers to them.
const REMEMBERED: usize = 8;

/// Sections after the question, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub(crate) enum Section {
    /// Answers; one that does not fit truncates the reply.
    Answer,
    /// The zone's SOA.
    Authority,
    /// What saves the client a question; left out when it does not fit.
    Additional,
}

/// Whose record.
#[derive(Clone, Copy, Debug)]
pub(crate) enum At<'a> {
    /// The question's name.
    Question,
    /// A name that was written before.
    Offset(usize),
    /// A name in wire form.
    Name(&'a [u8]),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Reply<'b> {
    buffer: &'b mut Vec<u8>,
    limit: usize,
    counts: [u16; 3],
    remembered: [usize; REMEMBERED],
    known: usize,
    edns: Option<bool>,
    extended: u8,
}

impl<'b> Reply<'b> {
    /// Begins the reply to `query` in `buffer`, which is emptied.
    pub(crate) fn new(buffer: &'b mut Vec<u8>, query: &Query<'_>, limit: usize, code: u8) -> Self {
        buffer.clear();
        buffer.extend_from_slice(&query.id.to_be_bytes());
        let flags = flag::RESPONSE
            | (query.flags & (flag::RECURSION_DESIRED | flag::CHECKING_DISABLED))
            | u16::from(code & 0x0f);
        buffer.extend_from_slice(&flags.to_be_bytes());
        buffer.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
        buffer.extend_from_slice(query.question());
        let edns = query.edns.map(|edns| edns.dnssec);
        let mut reply = Self {
            buffer,
            limit: limit.min(usize::from(u16::MAX)),
            counts: [0; 3],
            remembered: [0; REMEMBERED],
            known: 0,
            edns,
            extended: 0,
        };
        if edns.is_some() {
            reply.limit = reply.limit.saturating_sub(OPT_LENGTH);
        }
        reply.remember(HEADER);
        reply
    }

    /// Sets bits of the header's second word.
    pub(crate) fn set(&mut self, flags: u16) {
        let [high, low] = flags.to_be_bytes();
        self.buffer[2] |= high;
        self.buffer[3] |= low;
    }

    /// The upper bits of the response code, which OPT holds.
    pub(crate) fn extended_code(&mut self, high: u8) {
        self.extended = high;
    }

    /// Adds a record whose data `write` appends. False when it does not fit: nothing is left of
    /// it, and a reply without one of its answers says so.
    pub(crate) fn record(
        &mut self,
        section: Section,
        owner: At<'_>,
        kind: u16,
        ttl: u32,
        write: impl FnOnce(&mut Self),
    ) -> bool {
        let (start, known) = (self.buffer.len(), self.known);
        match owner {
            At::Question => self.pointer(HEADER),
            At::Offset(offset) => self.pointer(offset),
            At::Name(wire) => {
                self.name(wire);
            }
        }
        self.buffer.extend_from_slice(&kind.to_be_bytes());
        self.buffer.extend_from_slice(&IN.to_be_bytes());
        self.buffer.extend_from_slice(&ttl.to_be_bytes());
        let length_at = self.buffer.len();
        self.buffer.extend_from_slice(&[0, 0]);
        write(self);
        let length = self.buffer.len() - length_at - 2;
        let fits = self.buffer.len() <= self.limit;
        let count = &mut self.counts[section as usize];
        if let (true, Ok(length), Some(next)) = (fits, u16::try_from(length), count.checked_add(1))
        {
            self.buffer[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
            *count = next;
            return true;
        }
        self.buffer.truncate(start);
        self.known = known;
        if section == Section::Answer {
            self.set(flag::TRUNCATED);
        }
        false
    }

    /// Appends plain bytes to the record in work.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Appends a name without compression; gives where it begins.
    pub(crate) fn plain_name(&mut self, wire: &[u8]) -> usize {
        let at = self.buffer.len();
        self.buffer.extend_from_slice(wire);
        self.remember(at);
        at
    }

    /// Appends a name, its end as a pointer where that end was written before; gives where it
    /// begins.
    pub(crate) fn name(&mut self, wire: &[u8]) -> usize {
        let start = self.buffer.len();
        let mut rest = wire;
        while let Some(&length) = rest.first()
            && length > 0
        {
            if let Some(offset) = self.find(rest) {
                self.pointer(offset);
                self.remember(start);
                return start;
            }
            let (label, after) = rest.split_at((1 + usize::from(length)).min(rest.len()));
            self.buffer.extend_from_slice(label);
            rest = after;
        }
        self.buffer.push(0);
        self.remember(start);
        start
    }

    /// Ends the reply: OPT and the counts.
    pub(crate) fn finish(mut self) {
        if let Some(dnssec) = self.edns {
            let size = u16::try_from(UDP_LIMIT).unwrap_or(u16::MAX).to_be_bytes();
            let high = if dnssec { 0x80 } else { 0 };
            self.buffer.extend_from_slice(&[
                0,
                0,
                41,
                size[0],
                size[1],
                self.extended,
                0,
                high,
                0,
                0,
                0,
            ]);
            self.counts[2] = self.counts[2].saturating_add(1);
        }
        for (index, count) in self.counts.iter().enumerate() {
            let at = 6 + 2 * index;
            self.buffer[at..at + 2].copy_from_slice(&count.to_be_bytes());
        }
    }

    fn pointer(&mut self, offset: usize) {
        let offset = u16::try_from(offset).unwrap_or(0) & 0x3fff;
        self.buffer
            .extend_from_slice(&(0xc000 | offset).to_be_bytes());
    }

    fn remember(&mut self, offset: usize) {
        if self.known < REMEMBERED && offset < POINTER_END {
            self.remembered[self.known] = offset;
            self.known += 1;
        }
    }

    /// Where `wire` stands as the end of a remembered name.
    fn find(&self, wire: &[u8]) -> Option<usize> {
        self.remembered[..self.known]
            .iter()
            .find_map(|&start| self.find_in(start, wire))
    }

    fn find_in(&self, mut at: usize, wire: &[u8]) -> Option<usize> {
        loop {
            if self.same(at, wire) {
                return Some(at).filter(|at| *at < POINTER_END);
            }
            match *self.buffer.get(at)? {
                0 | 64.. => return None,
                length => at += 1 + usize::from(length),
            }
        }
    }

    /// Whether the name at `at`, pointers followed, is `wire`.
    fn same(&self, mut at: usize, mut wire: &[u8]) -> bool {
        loop {
            let Some(&length) = self.buffer.get(at) else {
                return false;
            };
            if length >= 0xc0 {
                // Written by this reply, hence backwards.
                at = (usize::from(length & 0x3f) << 8)
                    | usize::from(self.buffer.get(at + 1).copied().unwrap_or(0));
                continue;
            }
            let end = at + 1 + usize::from(length);
            let (Some(here), Some(there)) = (
                self.buffer.get(at..end),
                wire.get(..1 + usize::from(length)),
            ) else {
                return false;
            };
            if !here.eq_ignore_ascii_case(there) {
                return false;
            }
            if length == 0 {
                return true;
            }
            at = end;
            wire = &wire[1 + usize::from(length)..];
        }
    }
}

/// A reply that cannot be had from the zone: a response code and nothing else.
pub(crate) fn plain(buffer: &mut Vec<u8>, query: &Query<'_>, limit: usize, code: u8) {
    tracing::trace!(
        name = readable(query.name.wire()),
        code,
        "answers without records"
    );
    Reply::new(buffer, query, limit, code).finish();
}

/// Where a type's data hold names: bytes before them, and how many.
pub(crate) const fn names_in(kind: u16) -> Option<(usize, usize)> {
    match kind {
        kind::NS | kind::CNAME | kind::PTR | kind::DNAME => Some((0, 1)),
        kind::MX => Some((2, 1)),
        kind::SRV => Some((6, 1)),
        kind::SOA => Some((0, 2)),
        _ => None,
    }
}
