//! Another server's packet as the reply to a client's question.

use crate::answer::Chase;
use crate::answer::finish_chase;
use crate::message::{
    HEADER, OPT_LENGTH, Query, Records, UDP_LIMIT, flag, kind, plain, rcode, u16_at,
};

/// Writes the reply: `found` under the client's number and spelling, cut to `limit`.
pub(super) fn reply(
    query: &Query<'_>,
    chase: Option<&Chase>,
    found: &[u8],
    limit: usize,
    buffer: &mut Vec<u8>,
) {
    if let Some(chase) = chase {
        return finish_chase(query, chase, Some(found), limit, buffer);
    }
    if copy(query, found, limit, buffer).is_none() {
        plain(buffer, query, limit, rcode::SERVER_FAILURE);
    }
}

fn copy(query: &Query<'_>, found: &[u8], limit: usize, buffer: &mut Vec<u8>) -> Option<()> {
    let records = Records::read(found)?;
    // The name is the same, hence as long, unless it was compressed: nothing comes before it.
    if records.question_end != query.question_end {
        return None;
    }
    buffer.clear();
    buffer.extend_from_slice(found);
    buffer[..2].copy_from_slice(&query.id.to_be_bytes());
    buffer[HEADER..query.question_end].copy_from_slice(query.question());
    let flags = (u16_at(found, 2)? & !flag::RECURSION_DESIRED)
        | (query.flags & flag::RECURSION_DESIRED)
        | flag::RESPONSE;
    buffer[2..4].copy_from_slice(&flags.to_be_bytes());
    let last = records.additional.last();
    if query.edns.is_none()
        && let Some(options) = last.filter(|record| record.kind == kind::OPT)
    {
        buffer.truncate(options.owner);
        let count = u16_at(found, 10)?.checked_sub(1)?;
        buffer[10..12].copy_from_slice(&count.to_be_bytes());
    }
    if buffer.len() <= limit {
        return Some(());
    }
    // As many answers as fit; pointers only go backwards, so what is left stays readable.
    let opt = if query.edns.is_some() { OPT_LENGTH } else { 0 };
    let fitting = records
        .answer
        .iter()
        .take_while(|record| record.end + opt <= limit);
    let (count, end) = fitting.fold((0_u16, records.question_end), |(count, _), record| {
        (count.saturating_add(1), record.end)
    });
    buffer.truncate(end);
    buffer[2..4].copy_from_slice(&(flags | flag::TRUNCATED).to_be_bytes());
    buffer[6..8].copy_from_slice(&count.to_be_bytes());
    buffer[8..12].copy_from_slice(&[0; 4]);
    if let Some(edns) = query.edns {
        let [high, low] = u16::try_from(UDP_LIMIT).unwrap_or(u16::MAX).to_be_bytes();
        let wants = if edns.dnssec { 0x80 } else { 0 };
        buffer.extend_from_slice(&[0, 0, 41, high, low, 0, 0, wants, 0, 0, 0]);
        buffer[11] = 1;
    }
    Some(())
}
