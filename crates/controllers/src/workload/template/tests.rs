//! Templates compared and named.

use schema::Dom;

use super::*;

fn dom(json: &str) -> Dom {
    Dom::parse_json(json.as_bytes()).unwrap()
}

#[track_caller]
fn check(a: &str, b: &str, expected: bool) {
    let (a, b) = (dom(a), dom(b));
    assert_eq!(same(a.as_ref(), b.as_ref()), expected);
    assert_eq!(same(b.as_ref(), a.as_ref()), expected);
}

#[test]
fn the_hash_label_and_empty_fields_make_no_difference() {
    let plain = r#"{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"c"}]}}"#;
    let stored = r#"{"metadata":{"creationTimestamp":null,"labels":{"app":"web","pod-template-hash":"x"},"annotations":{}},"spec":{"containers":[{"name":"c","env":[]}]}}"#;
    check(plain, stored, true);
    check(
        r#"{"spec":{}}"#,
        r#"{"metadata":{"labels":{"pod-template-hash":"x"}},"spec":{}}"#,
        true,
    );
    let other =
        r#"{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"c","image":"i"}]}}"#;
    check(plain, other, false);
    let volume = |source: &str| format!(r#"{{"spec":{{"volumes":[{{"name":"v"{source}}}]}}}}"#);
    check(&volume(r#","emptyDir":{}"#), &volume(""), false);
    check(
        r#"{"metadata":{"labels":{"app":"web"}}}"#,
        r#"{"metadata":{"labels":{"app":"db"}}}"#,
        false,
    );
}

#[test]
fn a_hash_is_stable_and_counts_collisions() {
    let a = dom(r#"{"spec":{"a":1,"b":2}}"#);
    let b = dom(r#"{"spec":{"b":2,"a":1}}"#);
    assert_eq!(hash(a.as_ref(), None), hash(b.as_ref(), None));
    assert_ne!(hash(a.as_ref(), None), hash(a.as_ref(), Some(1)));
    assert!(hash(a.as_ref(), None).len() <= 10);
}

#[test]
fn pods_are_named_after_their_owner() {
    assert_eq!(name_prefix("web"), "web-");
    assert_eq!(name_prefix("Web"), "Web");
}
