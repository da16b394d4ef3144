//! The document against serde_json and against Go's error texts.

use expect_test::{Expect, expect};
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};

use super::{Dom, Limits, SyntaxError};

#[track_caller]
fn check(source: &str, expect: Expect) {
    let text = match Dom::parse_json_within(source.as_bytes(), &Limits::DEFAULT) {
        Ok(parsed) => {
            let mut text = String::from_utf8(parsed.dom.to_json(parsed.dom.root())).unwrap();
            for path in parsed.duplicates {
                text.push_str(&format!(" duplicate {path}"));
            }
            text
        }
        Err(error) => error.to_string(),
    };
    expect.assert_eq(&text);
}

#[test]
fn values() {
    check(
        r#" {"a":[1,-2,3.5,true,null],"b":{}} "#,
        expect![[r#"{"a":[1,-2,3.5,true,null],"b":{}}"#]],
    );
    check("[]", expect!["[]"]);
    check("[[],[[]],{}]", expect!["[[],[[]],{}]"]);
    check(
        r#""\u0041\ud83d\ude00\ud800x\n<&>""#,
        expect![[r#""A😀�x\n\u003c\u0026\u003e""#]],
    );
    check("9223372036854775807", expect!["9223372036854775807"]);
    check("9223372036854775808", expect!["9223372036854776000"]);
    check("-9223372036854775808", expect!["-9223372036854775808"]);
    check(
        "[1e3,1.0,1e21,1e-7,123456789012345678901234567890]",
        expect!["[1000,1,1e+21,1e-7,1.2345678901234568e+29]"],
    );
    check("-0", expect!["0"]);
}

#[test]
fn duplicates_keep_the_last_value_and_are_reported() {
    check(
        r#"{"spec":{"x":1,"y":2,"x":3},"l":[0,{"k":1,"k":2}]}"#,
        expect![[r#"{"spec":{"y":2,"x":3},"l":[0,{"k":2}]} duplicate spec.x duplicate l[1].k"#]],
    );
}

#[test]
fn duplicates_in_a_large_map() {
    let mut text = String::from("{");
    for i in 0..3000 {
        text.push_str(&format!("\"k{i}\":{i},"));
    }
    text.push_str("\"k7\":8,\"k2999\":1}");
    let parsed = Dom::parse_json_within(text.as_bytes(), &Limits::DEFAULT).unwrap();
    assert_eq!(parsed.duplicates, ["k7", "k2999"]);
    assert_eq!(parsed.dom.len(parsed.dom.root()), 3000);
    assert_eq!(parsed.dom.as_ref().int("k7"), Some(8));
}

#[test]
fn errors_as_upstream_words_them() {
    check("", expect!["unexpected end of JSON input"]);
    check(
        "{\"a\":}",
        expect!["invalid character '}' looking for beginning of value"],
    );
    check(
        "{\"a\" 1}",
        expect!["invalid character '1' after object key"],
    );
    check(
        "{\"a\":1 2}",
        expect!["invalid character '2' after object key:value pair"],
    );
    check(
        "{a:1}",
        expect!["invalid character 'a' looking for beginning of object key string"],
    );
    check(
        "{\"a\":1,}",
        expect!["invalid character '}' looking for beginning of object key string"],
    );
    check(
        "[1 2]",
        expect!["invalid character '2' after array element"],
    );
    check(
        "[1,]",
        expect!["invalid character ']' looking for beginning of value"],
    );
    check(
        "[,1]",
        expect!["invalid character ',' looking for beginning of value"],
    );
    check(
        "{} x",
        expect!["invalid character 'x' after top-level value"],
    );
    check(
        "tru",
        expect!["invalid character ' ' in literal true (expecting 'e')"],
    );
    check(
        "trux",
        expect!["invalid character 'x' in literal true (expecting 'e')"],
    );
    check("-x", expect!["invalid character 'x' in numeric literal"]);
    check("01", expect!["invalid character '1' after top-level value"]);
    check(
        "1.",
        expect!["invalid character ' ' after decimal point in numeric literal"],
    );
    check(
        "\"a\tb\"",
        expect![[r"invalid character '\t' in string literal"]],
    );
    check(
        "\"\\x\"",
        expect!["invalid character 'x' in string escape code"],
    );
    let deep = "[".repeat(600);
    check(&deep, expect!["exceeded max depth"]);
}

#[test]
fn limits_hold() {
    let limits = Limits {
        bytes: 10,
        depth: 2,
        nodes: 3,
    };
    let parse = |text: &str| Dom::parse_json_within(text.as_bytes(), &limits).map(|_| ());
    assert_eq!(parse("[[1]]"), Ok(()));
    assert_eq!(
        Dom::parse_json(b"[1e308,-1e400]")
            .map(drop)
            .unwrap_err()
            .to_string(),
        "json: cannot unmarshal number -1e400 into Go value of type float64"
    );
    assert_eq!(parse("[[[]]]"), Err(SyntaxError::Depth));
    assert_eq!(parse("[1,2,3]"), Err(SyntaxError::Nodes { limit: 3 }));
    assert_eq!(
        parse("[1,2,3,4,5]"),
        Err(SyntaxError::Bytes {
            found: 11,
            limit: 10
        })
    );
}

#[test]
fn changing() {
    let mut dom = Dom::parse_json(br#"{"metadata":{"name":"a"},"l":[1,2,3]}"#).unwrap();
    let root = dom.root();
    let metadata = dom.get(root, "metadata").unwrap();
    dom.set_str(metadata, "name", "b");
    let labels = dom.ensure_map(metadata, "labels");
    dom.set_str(labels, "x/y", "z");
    assert!(dom.remove_item(dom.get(root, "l").unwrap(), 1));
    let list = dom.get(root, "l").unwrap();
    let nine = dom.new_int(9);
    dom.insert_item(list, 0, nine);
    dom.insert_item(list, 2, nine);
    dom.push(list, nine);
    // A value that sits somewhere is copied, so nothing can contain itself.
    dom.set(metadata, "self", root);
    dom.push(list, metadata);
    assert!(dom.remove(metadata, "labels"));
    expect![[r#"{"metadata":{"name":"b","self":{"metadata":{"name":"b","labels":{"x/y":"z"}},"l":[9,1,9,3,9]}},"l":[9,1,9,3,9,{"name":"b","labels":{"x/y":"z"},"self":{"metadata":{"name":"b","labels":{"x/y":"z"}},"l":[9,1,9,3,9]}}]}"#]]
    .assert_eq(&String::from_utf8(dom.to_json(root)).unwrap());
    let mut other = Dom::new();
    let copy = other.import(&dom, root);
    other.set_root(copy);
    assert!(dom.equal(root, &other, other.root()));
    other.set_bool(copy, "l", true);
    assert!(!dom.equal(root, &other, other.root()));
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        proptest::num::f64::NORMAL.prop_map(serde_json::Value::from),
        any::<String>().prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(serde_json::Value::from),
            proptest::collection::vec((any::<String>(), inner), 0..8)
                .prop_map(|v| serde_json::Value::Object(v.into_iter().collect())),
        ]
    })
}

/// Floats without a fraction lose their point, as in Go; compare as numbers.
fn close(a: &serde_json::Value, b: &serde_json::Value) -> bool {
    use serde_json::Value::{Array, Number, Object};
    match (a, b) {
        (Number(a), Number(b)) => match (a.as_f64(), b.as_f64()) {
            // serde_json reads floats not quite to the last digit.
            (Some(x), Some(y)) => (x - y).abs() <= x.abs() * 1e-13,
            _ => a == b,
        },
        (Array(a), Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| close(a, b)),
        (Object(a), Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| close(v, w)))
        }
        _ => a == b,
    }
}

proptest! {
    #[test]
    fn agrees_with_serde_json(value in json()) {
        let text = serde_json::to_vec(&value).unwrap();
        let dom = Dom::parse_json(&text).unwrap();
        let back: serde_json::Value = serde_json::from_slice(&dom.to_json(dom.root())).unwrap();
        assert!(close(&value, &back), "{value} {back}");
    }

    #[test]
    fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = Dom::parse_json(&bytes);
    }

    #[test]
    fn accepts_what_serde_json_accepts(text in r#"[\[\]{}:,"a0-9.eE+\\ntrufals -]{0,24}"#) {
        let ours = Dom::parse_json(text.as_bytes());
        let theirs: Result<serde_json::Value, _> = serde_json::from_str(&text);
        // serde_json refuses what does not fit a double; Go (and we) refuse it only by type.
        if !text.contains(['e', 'E']) {
            assert_eq!(ours.is_ok(), theirs.is_ok(), "{text:?}");
        }
    }
}

/// Repeated keys far down a long list, and large maps in another order, stay cheap.
#[test]
fn hostile_documents_are_cheap() {
    let mut text = format!("[{}{{", "0,".repeat(20_000));
    text.push_str(&"\"a\":1,".repeat(50_000));
    text.push_str("\"a\":2}]");
    let parsed = Dom::parse_json_within(text.as_bytes(), &Limits::DEFAULT).unwrap();
    assert_eq!(parsed.duplicates, ["[20000].a"]);
    assert_eq!(parsed.dom.as_ref().list().last().unwrap().int("a"), Some(2));
    let keys = |order: &mut dyn Iterator<Item = u32>| {
        let entries: Vec<_> = order.map(|n| format!("\"k{n}\":{n}")).collect();
        Dom::parse_json(format!("{{{}}}", entries.join(",")).as_bytes()).unwrap()
    };
    let up = keys(&mut (0..20_000));
    let down = keys(&mut (0..20_000).rev());
    assert!(up.equal(up.root(), &down, down.root()));
}
