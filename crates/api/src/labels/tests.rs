//! Selector texts: what they print back, what they match, how they fail.

use super::Selector;
use expect_test::{Expect, expect};
use proptest::prelude::proptest;

#[track_caller]
fn check(text: &str, want: Expect) {
    want.assert_eq(&Selector::parse(text).map_or_else(|e| e.to_string(), |s| s.to_string()));
}

#[test]
fn prints_back() {
    check("x=a,y=b,z=c", expect!["x=a,y=b,z=c"]);
    check(
        "z==1,!a, b ,c in (q,p,q),d notin (),e!=x",
        expect!["!a,b,c in (p,q),d notin (),e!=x,z==1"],
    );
    check("x>1,y<2", expect!["x>1,y<2"]);
    check("x=,y=", expect!["x=,y="]);
    check("in in (in,notin)", expect!["in in (in,notin)"]);
    check("x in (,a,,b,)", expect!["x in (,a,b)"]);
    check("", expect![""]);
}

#[test]
fn refusals() {
    check(
        "x=a||y=b",
        expect![[
            r#"unable to parse requirement: values[0][x]: Invalid value: "a||y": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"#
        ]],
    );
    check("x,", expect!["found '', expected: identifier after ','"]);
    check(
        "x==a==b",
        expect!["found '==', expected: ',' or 'end of string'"],
    );
    check(
        "!x=a",
        expect!["found '=', expected: ',' or 'end of string'"],
    );
    check(
        "x in a",
        expect!["unable to parse requirement: found 'a' expected: '('"],
    );
    check(
        "x<=1",
        expect!["unable to parse requirement: found '=', expected: identifier"],
    );
    check(
        "x>a",
        expect![[
            r#"unable to parse requirement: values[0]: Invalid value: "a": for 'Gt', 'Lt' operators, the value must be an integer"#
        ]],
    );
    check(
        "a b",
        expect!["unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"],
    );
    check(
        "-a",
        expect![[
            r#"unable to parse requirement: <nil>: Invalid value: "-a": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"#
        ]],
    );
    check(
        "(",
        expect!["found '(', expected: !, identifier, or 'end of string'"],
    );
    check(
        "x in (a b)",
        expect!["unable to parse requirement: found 'b', expected: ',' or ')'"],
    );
    check(
        "!",
        expect!["unable to parse requirement: found '', expected: identifier"],
    );
}

#[test]
fn matching() {
    let labels = |key: &str| match key {
        "app" => Some("web"),
        "n" => Some("5"),
        _ => None,
    };
    for (text, want) in [
        ("", true),
        ("app=web", true),
        ("app!=web", false),
        ("x!=1", true),
        ("app", true),
        ("!app", false),
        ("!x", true),
        ("app in (web,db)", true),
        ("app notin (db)", true),
        ("x notin (db)", true),
        ("n>4", true),
        ("n<5", false),
        ("app>1", false),
        ("x>1", false),
    ] {
        assert_eq!(
            Selector::parse(text).unwrap().matches(labels),
            want,
            "{text}"
        );
    }
    assert!(!Selector::nothing().matches(labels));
    assert_eq!(
        Selector::parse("app in (web)").unwrap().exact("app"),
        Some("web")
    );
}

#[test]
fn from_objects() {
    let expressions = [("b", "In", vec!["2", "1"]), ("c", "Exists", vec![])];
    let selector = Selector::from_parts([("a", "1")], expressions).unwrap();
    expect!["a=1,b in (1,2),c"].assert_eq(&selector.to_string());
    let broken = Selector::from_parts([], [("b", "Is", vec![])]).unwrap_err();
    expect![[r#""Is" is not a valid label selector operator"#]].assert_eq(&broken.to_string());
    let empty = Selector::from_parts([], [("b", "In", vec![])]).unwrap_err();
    expect!["values: Invalid value: null: for 'in', 'notin' operators, values set can't be empty"]
        .assert_eq(&empty.to_string());
}

proptest! {
    #[test]
    fn any_text_is_safe(text in "[a-c=!<>(), inot\\x00é1]{0,30}") {
        if let Ok(selector) = Selector::parse(&text) {
            let printed = selector.to_string();
            let _ = selector.matches(|_| Some("1"));
            assert_eq!(Selector::parse(&printed).unwrap().to_string(), printed);
        }
    }
}
