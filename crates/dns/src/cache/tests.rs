//! What is kept, and for how long.

use expect_test::expect;

use super::*;

fn rule() -> CacheRule {
    CacheRule {
        success: 30,
        denial: 20,
        success_capacity: 3,
        denial_capacity: 2,
        no_success: vec![crate::message::wire("cluster.local").unwrap()],
        no_denial: Vec::new(),
    }
}

/// The reply to `NAME` with answers of these TTLs, or a denial with an SOA of that TTL.
fn packet(name: &str, ttls: &[u32], denial: Option<u32>) -> Vec<u8> {
    let mut packet = vec![
        0,
        0,
        0x81,
        0x80,
        0,
        1,
        0,
        u8::try_from(ttls.len()).unwrap(),
        0,
        u8::from(denial.is_some()),
        0,
        0,
    ];
    packet.extend_from_slice(&crate::message::wire(name).unwrap());
    packet.extend_from_slice(&[0, 1, 0, 1]);
    for ttl in ttls {
        packet.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1]);
        packet.extend_from_slice(&ttl.to_be_bytes());
        packet.extend_from_slice(&[0, 4, 192, 0, 2, 1]);
    }
    if let Some(ttl) = denial {
        packet[3] |= 3;
        packet.extend_from_slice(&[0, 0, 6, 0, 1]);
        packet.extend_from_slice(&ttl.to_be_bytes());
        packet.extend_from_slice(&[0, 22, 0, 0]);
        packet.extend_from_slice(&[0; 16]);
        packet.extend_from_slice(&100_u32.to_be_bytes());
    }
    packet
}

fn put(cache: &mut Cache, name: &str, ttls: &[u32], denial: Option<u32>, now_ms: u64) {
    let packet = packet(name, ttls, denial);
    let name = Name::from_wire(&crate::message::wire(name).unwrap()).unwrap();
    let records = Records::read(&packet).unwrap();
    cache.put(
        name.wire().into(),
        &name,
        &packet,
        &records,
        &rule(),
        now_ms,
    );
}

fn get(cache: &Cache, name: &str, now_ms: u64) -> String {
    let mut packet = Vec::new();
    if !cache.get(&crate::message::wire(name).unwrap(), now_ms, &mut packet) {
        return "-".to_owned();
    }
    let records = Records::read(&packet).unwrap();
    let ttls: Vec<String> = records.with_ttl().map(|one| one.ttl.to_string()).collect();
    ttls.join(",")
}

#[test]
fn answers_hold_as_long_as_all_allow() {
    let mut cache = Cache::default();
    let mut lines = Vec::new();
    let cases: [(&str, &[u32], Option<u32>); 6] = [
        ("a.test", &[10, 60], None),
        ("long.test", &[600], None),
        ("short.test", &[1], None),
        ("zero.test", &[0], None),
        ("no.test", &[], Some(12)),
        ("web.cluster.local", &[60], None),
    ];
    for (name, ttls, denial) in cases {
        put(&mut cache, name, ttls, denial, 1000);
        let left: Vec<String> = [1000, 5999, 6000, 10_999, 11_000, 30_999, 31_000]
            .map(|now_ms| get(&cache, name, now_ms))
            .to_vec();
        lines.push(format!("{name}: {}", left.join(" ")));
    }
    expect![[r#"
        a.test: 10,10 6,6 5,5 1,1 - - -
        long.test: 30 26 25 21 20 1 -
        short.test: 5 1 - - - - -
        zero.test: - - - - - - -
        no.test: 12 8 7 3 2 - -
        web.cluster.local: - - - - - - -"#]]
    .assert_eq(&lines.join("\n"));
}

#[test]
fn the_oldest_leaves_first() {
    let mut cache = Cache::default();
    for name in ["a", "b", "c", "a", "d"] {
        put(&mut cache, name, &[10], None, 0);
    }
    for name in ["x", "y", "z"] {
        put(&mut cache, name, &[], Some(10), 0);
    }
    let there: Vec<String> = ["a", "b", "c", "d", "x", "y", "z"]
        .map(|name| format!("{name}{}", get(&cache, name, 0)))
        .to_vec();
    expect!["a- b10 c10 d10 x- y10 z10"].assert_eq(&there.join(" "));
    assert_eq!(cache.len(), 5);
    assert_eq!(
        cache.bytes,
        cache
            .entries
            .values()
            .map(|entry| entry.packet.len())
            .sum::<usize>()
    );
}
