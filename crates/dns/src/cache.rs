//! What other servers answered, for as long as they allow and the Corefile says.
//!
//! Bounded by count for each of successes and denials, and by bytes; the oldest goes first. Time
//! is a number of milliseconds that the caller brings. Kept packets are served with the time that
//! is left as TTL of every record. Pure.
//! Source: RFC 2308 (denials live as long as their SOA says); coredns v1.14 plugin/cache.

use std::collections::{HashMap, VecDeque};

use crate::corefile::CacheRule;
use crate::message::{Name, Query, Records, flag, kind, rcode, u16_at, u32_at};

/// Larger packets are not kept.
const PACKET_LIMIT: usize = 8 << 10;
/// All packets together.
const BYTES_LIMIT: usize = 8 << 20;
/// coredns' floor: shorter answers are kept this long.
const SHORTEST_SECONDS: u32 = 5;

/// Name, type and what the client wanted of it, as bytes.
pub(crate) type Key = Box<[u8]>;

#[derive(Debug)]
struct Entry {
    packet: Box<[u8]>,
    ttls: Box<[usize]>,
    ends_ms: u64,
    success: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    entries: HashMap<Key, Entry>,
    successes: VecDeque<Key>,
    denials: VecDeque<Key>,
    bytes: usize,
}

/// The key of a question: of `name` when it is another than the query's own.
pub(crate) fn key(query: &Query<'_>, name: &Name) -> Key {
    let dnssec = query.edns.is_some_and(|edns| edns.dnssec);
    let wants = u8::from(dnssec)
        | u8::from(query.edns.is_some()) << 1
        | u8::from(query.flags & flag::CHECKING_DISABLED != 0) << 2
        | u8::from(query.flags & flag::RECURSION_DESIRED != 0) << 3;
    let [a, b] = query.kind.to_be_bytes();
    let [c, d] = query.class.to_be_bytes();
    [name.wire(), &[a, b, c, d, wants]].concat().into()
}

impl Cache {
    /// Appends the packet kept under `key` to `into`, if it still holds.
    pub(crate) fn get(&self, key: &[u8], now_ms: u64, into: &mut Vec<u8>) -> bool {
        let Some(entry) = self.entries.get(key).filter(|entry| entry.ends_ms > now_ms) else {
            return false;
        };
        let left = (entry.ends_ms - now_ms).div_ceil(1000);
        let left = u32::try_from(left).unwrap_or(u32::MAX).to_be_bytes();
        into.clear();
        into.extend_from_slice(&entry.packet);
        for at in &entry.ttls {
            into[*at..*at + 4].copy_from_slice(&left);
        }
        true
    }

    /// Keeps `packet`, which `records` describe, if the rule allows it.
    pub(crate) fn put(
        &mut self,
        key: Key,
        name: &Name,
        packet: &[u8],
        records: &Records,
        rule: &CacheRule,
        now_ms: u64,
    ) {
        let Some((success, seconds)) = lifetime(packet, records) else {
            return;
        };
        let (most, capacity, excluded) = match success {
            true => (rule.success, rule.success_capacity, &rule.no_success),
            false => (rule.denial, rule.denial_capacity, &rule.no_denial),
        };
        let seconds = seconds.max(SHORTEST_SECONDS).min(most);
        let excluded = excluded.iter().any(|zone| name.below(zone).is_some());
        if excluded || capacity == 0 || seconds == 0 || packet.len() > PACKET_LIMIT {
            return;
        }
        let former = self.entries.remove(&key);
        if let Some(former) = &former {
            self.bytes -= former.packet.len();
        }
        // An entry of the same sort keeps its place; of another, its old place only makes it
        // leave early.
        if former.is_none_or(|former| former.success != success) {
            while self.queue(success).len() >= capacity {
                let Some(oldest) = self.queue(success).pop_front() else {
                    break;
                };
                self.drop_entry(&oldest);
            }
            self.queue(success).push_back(key.clone());
        }
        self.bytes += packet.len();
        let entry = Entry {
            packet: packet.into(),
            ttls: records.with_ttl().map(|record| record.ttl_at).collect(),
            ends_ms: now_ms + 1000 * u64::from(seconds),
            success,
        };
        self.entries.insert(key, entry);
        while self.bytes > BYTES_LIMIT {
            let Some(oldest) = self
                .successes
                .pop_front()
                .or_else(|| self.denials.pop_front())
            else {
                break;
            };
            self.drop_entry(&oldest);
        }
    }

    /// Forgets everything: other servers may answer from now on.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// How many packets are kept.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    fn queue(&mut self, success: bool) -> &mut VecDeque<Key> {
        match success {
            true => &mut self.successes,
            false => &mut self.denials,
        }
    }

    fn drop_entry(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.bytes -= entry.packet.len();
        }
    }
}

/// Whether a packet is a success, and how many seconds it holds; `None`: not to be kept.
fn lifetime(packet: &[u8], records: &Records) -> Option<(bool, u32)> {
    let flags = u16_at(packet, 2)?;
    if flags & flag::TRUNCATED != 0 {
        return None;
    }
    let code = u8::try_from(flags & 0x0f).ok()?;
    if code == rcode::NO_ERROR && !records.answer.is_empty() {
        let shortest = records.answer.iter().map(|record| record.ttl).min()?;
        return (shortest > 0).then_some((true, shortest));
    }
    if code != rcode::NO_ERROR && code != rcode::NAME_ERROR {
        return None;
    }
    // NXDOMAIN or no data; a referral has no SOA.
    let soa = records.authority.iter().find(|one| one.kind == kind::SOA)?;
    let minimum = u32_at(packet, soa.end.checked_sub(4)?)?;
    Some((false, soa.ttl.min(minimum)))
}

#[cfg(test)]
mod tests;
