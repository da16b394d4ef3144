//! Packets of any kind.

use expect_test::expect;
use proptest::prelude::*;

use super::*;

#[test]
fn names_as_text_and_back() {
    let all = [
        "",
        ".",
        "a",
        "A.b.",
        "x..y",
        &"a".repeat(64),
        &["abcdefg"; 40].join("."),
    ];
    let lines: Vec<String> = all
        .iter()
        .map(|text| format!("{text:.12} {:?}", wire(text).map(|wire| readable(&wire))))
        .collect();
    expect![[r#"
         Some(".")
        . Some(".")
        a Some("a.")
        A.b. Some("a.b.")
        x..y None
        aaaaaaaaaaaa None
        abcdefg.abcd None"#]]
    .assert_eq(&lines.join("\n"));
    assert_eq!(readable(b"\x04a.\\\xff\x00"), "a\\.\\\\\\255.");
}

/// A label whose content looks like labels does not make a name end in the zone.
#[test]
fn a_zone_begins_at_a_label() {
    let zone = wire("cluster.local").unwrap();
    let inside = Name::from_wire(b"\x01a\x07cluster\x05local\0").unwrap();
    assert_eq!(inside.below(&zone), Some(&b"\x01a"[..]));
    let outside = Name::from_wire(b"\x0fa\x07cluster\x05local\0");
    let outside =
        outside.unwrap_or_else(|| Name::from_wire(b"\x0ea\x07cluster\x05local\0").unwrap());
    assert_eq!(outside.below(&zone), None);
}

#[test]
fn packets_that_are_no_questions() {
    let describe = |packet: &[u8]| match Query::parse(packet) {
        Ok(query) => format!("{:?} {}", query.name, query.kind),
        Err(refusal) => format!("{refusal:?}"),
    };
    let head = |flags: u8, counts: [u8; 4]| -> Vec<u8> {
        let mut packet = vec![1, 2, flags, 0];
        packet.extend(counts.iter().flat_map(|count| [0, *count]));
        packet
    };
    let with = |mut packet: Vec<u8>, tail: &[u8]| {
        packet.extend_from_slice(tail);
        packet
    };
    let good = b"\x01a\0\0\x01\0\x01";
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("half a header", vec![0; 11]),
        ("a question", with(head(1, [1, 0, 0, 0]), good)),
        ("a reply", with(head(0x80, [1, 0, 0, 0]), good)),
        ("an update", with(head(0x28, [1, 0, 0, 0]), good)),
        ("no question", head(1, [0, 0, 0, 0])),
        ("two questions", with(head(1, [2, 0, 0, 0]), good)),
        ("a name without end", with(head(1, [1, 0, 0, 0]), b"\x05ab")),
        (
            "a pointer to itself",
            with(head(1, [1, 0, 0, 0]), b"\xc0\x0c\0\x01\0\x01"),
        ),
        ("no type", with(head(1, [1, 0, 0, 0]), b"\x01a\0\0")),
        (
            "a name of 256 bytes",
            with(
                head(1, [1, 0, 0, 0]),
                &[b"\x3f".as_slice(), &[b'a'; 63]].concat().repeat(4),
            ),
        ),
        (
            "half an option",
            with(head(1, [1, 0, 0, 1]), b"\x01a\0\0\x01\0\x01\0\0\x29"),
        ),
        (
            "two options",
            with(
                head(1, [1, 0, 0, 2]),
                &[&good[..], &b"\0\0\x29\x04\0\0\0\0\0\0\0".repeat(2)].concat(),
            ),
        ),
        ("many additional", with(head(1, [1, 0, 0, 200]), good)),
    ];
    let lines: Vec<String> = cases
        .iter()
        .map(|(what, packet)| format!("{what}: {}", describe(packet)))
        .collect();
    expect![[r#"
        nothing: Silent
        half a header: Silent
        a question: a. 1
        a reply: Silent
        an update: Code(4)
        no question: Code(1)
        two questions: Code(1)
        a name without end: Code(1)
        a pointer to itself: Code(1)
        no type: Code(1)
        a name of 256 bytes: Code(1)
        half an option: Code(1)
        two options: Code(1)
        many additional: Code(1)"#]]
    .assert_eq(&lines.join("\n"));
}

/// Pointers in a foreign reply lead backwards or nowhere.
#[test]
fn circles_of_pointers_end() {
    let mut packet = vec![
        0, 1, 0x80, 0, 0, 1, 0, 1, 0, 0, 0, 0, 1, b'a', 0, 0, 1, 0, 1,
    ];
    let at = packet.len();
    for pointer in [at, at + 2, 0, 4000] {
        let mut looped = packet.clone();
        looped.extend_from_slice(&(0xc000_u16 | u16::try_from(pointer).unwrap()).to_be_bytes());
        looped.extend_from_slice(&[0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 1, 2, 3, 4]);
        assert!(Records::read(&looped).is_none(), "{pointer}");
    }
    packet.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 1, 2, 3, 4]);
    assert_eq!(Records::read(&packet).unwrap().answer[0].ttl, 1);
}

/// A name that a pointer leads to ends before the pointer: what is cut behind a record still reads.
#[test]
fn names_end_before_what_points_to_them() {
    let mut packet = vec![
        0, 1, 0x80, 0, 0, 1, 0, 2, 0, 0, 0, 0, 1, b'a', 0, 0, 1, 0, 1,
    ];
    packet.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
    let data = packet.len();
    let check = |data_of_answer: [u8; 4], reads: bool| {
        let mut packet = packet.clone();
        packet.extend_from_slice(&data_of_answer);
        packet.extend_from_slice(&[0xc0, u8::try_from(data).unwrap()]);
        packet.extend_from_slice(&[0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4]);
        assert_eq!(
            Records::read(&packet).is_some(),
            reads,
            "{data_of_answer:?}"
        );
    };
    check([2, b'x', b'y', 0], true);
    check([1, b'x', 0xc0, 12], true);
    // Its end would be the pointer's own, or lie in the record behind the pointer.
    check([3, b'x', b'y', b'z'], false);
    check([12, b'x', b'y', b'z'], false);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5000))]

    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = Query::parse(&bytes);
        let _ = Records::read(&bytes);
        for at in 0..bytes.len().min(40) {
            let _ = expand(&bytes, at);
            let _ = Name::read(&bytes, at);
        }
    }

    #[test]
    fn any_body_behind_a_good_header(body in proptest::collection::vec(any::<u8>(), 0..200), counts in any::<[u8; 4]>()) {
        let mut packet = vec![1, 2, 1, 0];
        packet.extend(counts.iter().flat_map(|count| [0, count % 3]));
        packet.extend_from_slice(&body);
        if let Ok(query) = Query::parse(&packet) {
            let mut buffer = Vec::new();
            plain(&mut buffer, &query, 512, rcode::REFUSED);
            prop_assert!(Records::read(&buffer).is_some());
        }
        let _ = Records::read(&packet);
    }
}
