//! Lists in pieces.

use super::harness::Harness;

/// A list whose revision was compacted away goes on from the last key, at the newest revision, with
/// the token that the refusal brings.
#[test]
fn a_list_goes_on_behind_a_compaction() {
    let harness = Harness::new();
    let path = "/api/v1/namespaces/default/configmaps";
    for name in ["a", "b", "c", "d", "e"] {
        let request = format!("POST {path}\n\n{{\"metadata\":{{\"name\":\"{name}\"}}}}");
        assert_eq!(harness.send(&request).0, 201);
    }
    let list = |next: &str| {
        let (code, _, body) = harness.send(&format!("GET {path}?limit=2&continue={next}"));
        let body = schema::Dom::parse_json(body.as_bytes()).unwrap();
        let body = body.as_ref();
        let meta = body.get("metadata").unwrap();
        let names = body.items("items").map(|item| {
            let meta = item.get("metadata").unwrap();
            meta.str("name").to_owned()
        });
        let seen = format!(
            "{code} {:?} {:?}",
            names.collect::<Vec<_>>(),
            meta.int("remainingItemCount")
        );
        (
            seen,
            meta.str("continue").to_owned(),
            body.str("message").to_owned(),
        )
    };
    let (seen, next, _) = list("");
    assert_eq!(seen, r#"200 ["a", "b"] Some(3)"#);
    let store = &harness.server.config.store;
    let request = format!("POST {path}\n\n{{\"metadata\":{{\"name\":\"b2\"}}}}");
    assert_eq!(harness.send(&request).0, 201);
    store.compact(store.current_revision()).unwrap();

    let (seen, newer, message) = list(&next);
    assert_eq!(seen, "410 [] None");
    assert!(
        message.contains("or use the continue token in this response"),
        "{message}"
    );
    let (seen, next, _) = list(&newer);
    assert_eq!(seen, r#"200 ["b2", "c"] Some(2)"#);
    assert_eq!(list(&next).0, r#"200 ["d", "e"] None"#);
}
