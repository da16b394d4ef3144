use expect_test::expect;
use http::{HeaderMap, HeaderValue};

use super::{escape, identify};
use crate::UserInfo;

/// Keys of extra fields are no header names by themselves.
#[test]
fn escapes() {
    assert_eq!(escape("scopes"), "scopes");
    let key = "authentication.kubernetes.io/credential-id";
    assert_eq!(escape(key), "authentication.kubernetes.io%2Fcredential-id");
    assert_eq!(escape("50% ü"), "50%25%20%C3%BC");
}

/// Nothing that a client says of itself is left.
#[test]
fn who_asks() {
    let mut map = HeaderMap::new();
    for name in [
        "x-remote-user",
        "x-remote-uid",
        "x-remote-group",
        "x-remote-extra-a",
    ] {
        map.append(name, HeaderValue::from_static("forged"));
    }
    let user = UserInfo {
        name: "alice".to_owned(),
        groups: vec!["a".to_owned(), "b".to_owned()],
        extra: vec![("k/l".to_owned(), vec!["1".to_owned(), "2".to_owned()])],
        ..UserInfo::default()
    };
    identify(&mut map, &user).unwrap();
    let mut lines: Vec<String> = map
        .iter()
        .map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap()))
        .collect();
    lines.sort();
    expect![[r#"
        x-remote-extra-k%2fl: 1
        x-remote-extra-k%2fl: 2
        x-remote-group: a
        x-remote-group: b
        x-remote-user: alice
    "#]]
    .assert_eq(&lines.concat());
    let nobody = UserInfo {
        name: "a\nX-Remote-Group: system:masters".to_owned(),
        ..UserInfo::default()
    };
    assert!(identify(&mut map, &nobody).is_none());
}
