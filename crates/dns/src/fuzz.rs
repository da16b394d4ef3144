//! Doors for the fuzz targets (`fuzz/`): what other resolvers send, and files that name them.

use crate::cache::{Cache, key};
use crate::corefile::CacheRule;
use crate::forward;
use crate::message::{HEADER, Query, Records, wire};
use crate::resolv_conf;
use crate::server::write_reply;

/// Takes `packet` as the reply to the question in it, keeps it, and answers clients with it.
pub fn reply(packet: &[u8]) {
    let Some(records) = Records::read(packet) else {
        return;
    };
    let question = packet.get(HEADER..records.question_end).unwrap_or_default();
    for additional in [&[][..], &[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]] {
        let mut asked = packet.get(..2).unwrap_or_default().to_vec();
        asked.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(!additional.is_empty())]);
        asked.extend_from_slice(question);
        asked.extend_from_slice(additional);
        let Some(found) = forward::accept(&asked, packet) else {
            continue;
        };
        let Ok(query) = Query::parse(&asked) else {
            continue;
        };
        let mut cache = Cache::default();
        let rule = CacheRule {
            success: 3600,
            denial: 1800,
            success_capacity: 4,
            denial_capacity: 4,
            no_success: Vec::new(),
            no_denial: Vec::new(),
        };
        let place = key(&query, &query.name);
        cache.put(place, &query.name, &found.packet, &found.records, &rule, 0);
        let mut kept = Vec::new();
        let kept = cache.get(&key(&query, &query.name), 1000, &mut kept);
        let mut buffer = Vec::new();
        for limit in [512, 1232, 65_535] {
            write_reply(&query, &found.packet, limit, &mut buffer);
            assert!(buffer.len() <= limit, "{} bytes for {limit}", buffer.len());
            assert!(
                Records::read(&buffer).is_some(),
                "what is passed on does not read (kept: {kept})"
            );
        }
    }
}

/// Reads a resolver file.
pub fn resolv_conf(text: &str) {
    let _ = resolv_conf::servers(text);
    let (name, file) = text.split_once('\n').unwrap_or((text, ""));
    for candidate in resolv_conf::candidates(name, file) {
        let _ = wire(&candidate);
    }
}
