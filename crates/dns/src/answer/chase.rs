//! The reply to a question whose name leads out of the zone.

use super::{Chase, begin, write_aliases};
use crate::message::{
    At, Query, Records, Reply, Section, expand, flag, kind, names_in, rcode, u16_at,
};

/// Writes the aliases and what `found`, the reply of another server, has for the last of them.
/// Without a reply (nobody answered) there is nothing the client could use: SERVFAIL.
pub(crate) fn finish_chase(
    query: &Query<'_>,
    chase: &Chase,
    found: Option<&[u8]>,
    limit: usize,
    buffer: &mut Vec<u8>,
) {
    let Some((found, records)) = found.and_then(|found| Some((found, Records::read(found)?)))
    else {
        return begin(buffer, query, limit, rcode::SERVER_FAILURE).finish();
    };
    let mut reply = begin(buffer, query, limit, rcode::NO_ERROR);
    write_aliases(&mut reply, &chase.targets, chase.ttl);
    if u16_at(found, 2).unwrap_or(0) & flag::TRUNCATED != 0 {
        reply.set(flag::TRUNCATED);
    }
    for record in &records.answer {
        if record.kind != kind::OPT {
            copy(&mut reply, found, record);
        }
    }
    reply.finish();
}

/// Copies a record from another packet, its names written anew.
fn copy(reply: &mut Reply<'_>, from: &[u8], record: &crate::message::Record) -> Option<()> {
    let (owner, _) = expand(from, record.owner)?;
    let data = from.get(record.data..record.end)?;
    let Some((before, count)) = names_in(record.kind) else {
        let write = |reply: &mut Reply<'_>| reply.bytes(data);
        reply.record(
            Section::Answer,
            At::Name(&owner),
            record.kind,
            record.ttl,
            write,
        );
        return Some(());
    };
    let mut at = record.data + before;
    let mut names = Vec::new();
    for _ in 0..count {
        let (name, end) = expand(from, at)?;
        names.push(name);
        at = end;
    }
    let (head, tail) = (data.get(..before)?, from.get(at..record.end)?);
    reply.record(
        Section::Answer,
        At::Name(&owner),
        record.kind,
        record.ttl,
        |reply| {
            reply.bytes(head);
            for name in &names {
                reply.plain_name(name);
            }
            reply.bytes(tail);
        },
    );
    Some(())
}
