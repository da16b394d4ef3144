//! What is written into a quota's status.

use std::collections::BTreeMap;

use api::Gr;
use expect_test::expect;
use schema::Dom;

use super::{add, write};

#[test]
fn usage_replaces_the_status_once() {
    let mut quota = Dom::parse_json(
        br#"{"spec":{"hard":{"pods":"5","cpu":"2"}},"status":{"used":{"pods":"3"}}}"#,
    )
    .unwrap();
    let pod =
        Dom::parse_json(br#"{"spec":{"containers":[{"resources":{"requests":{"cpu":"500m"}}}]}}"#)
            .unwrap();
    let mut used = BTreeMap::new();
    add(&mut used, &Gr::new("", "pods"), pod.as_ref());
    add(&mut used, &Gr::new("", "pods"), pod.as_ref());
    let names = ["pods".to_owned(), "cpu".to_owned()];
    assert!(write(&mut quota, &names, &used));
    let status = quota.as_ref().get("status").unwrap().to_json();
    expect![[r#"{"used":{"cpu":"1","pods":"2"},"hard":{"pods":"5","cpu":"2"}}"#]]
        .assert_eq(&String::from_utf8(status).unwrap());
    assert!(!write(&mut quota, &names, &used));
}
