//! Field selectors: round trips, escapes, refusals.

use super::Selector;
use expect_test::{Expect, expect};

#[track_caller]
fn check(text: &str, want: Expect) {
    want.assert_eq(&Selector::parse(text).map_or_else(|e| e.to_string(), |s| s.to_string()));
}

#[test]
fn texts() {
    check("b!=2,a=1", expect!["a=1,b!=2"]);
    check("a==1", expect!["a=1"]);
    check(r"a=x\,y\=z\\", expect![[r"a=x\,y\=z\\"]]);
    check("", expect![""]);
    check(",a=,", expect!["a="]);
    check("a", expect!["invalid selector: 'a'; can't understand 'a'"]);
    check(
        r"a=\x",
        expect![[r"invalid field selector: invalid escape sequence: \x"]],
    );
    check(
        "a=b=c",
        expect!["invalid field selector: unescaped character in value: 61"],
    );
}

#[test]
fn matching() {
    let selector = Selector::parse("metadata.name=a,spec.nodeName!=n").unwrap();
    let object = |field: &str| if field == "metadata.name" { "a" } else { "" };
    assert!(selector.matches(object));
    assert_eq!(selector.exact("metadata.name"), Some("a"));
    assert_eq!(selector.exact("spec.nodeName"), None);
}
