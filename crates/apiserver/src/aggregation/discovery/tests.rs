use expect_test::{Expect, expect};
use schema::Dom;

use super::{convert, of_list};

fn text(dom: &Dom) -> String {
    String::from_utf8_lossy(&dom.to_json(dom.root())).into_owned()
}

#[track_caller]
fn check(list: &str, expect: &Expect) {
    let list = Dom::parse_json(list.as_bytes()).unwrap();
    let made = match convert(list.as_ref(), "v1") {
        Ok(dom) => text(&dom),
        Err(error) => error,
    };
    expect.assert_eq(&made);
}

#[test]
fn the_old_form() {
    check(
        r#"{"resources":[{"name":"nodes","singularName":"","namespaced":false,"kind":"NodeMetrics","verbs":["get","list"]},{"name":"nodes/status","singularName":"","namespaced":false,"kind":"NodeMetrics","group":"g","version":"v2","verbs":["get"]},{"name":"lost/scale","namespaced":true,"kind":"","verbs":[]}]}"#,
        &expect![[
            r#"{"version":"v1","resources":[{"resource":"nodes","responseKind":{"group":"","version":"","kind":"NodeMetrics"},"scope":"Cluster","singularResource":"","verbs":["get","list"],"subresources":[{"subresource":"status","responseKind":{"group":"g","version":"v2","kind":"NodeMetrics"},"verbs":["get"]}]},{"resource":"lost","responseKind":{"group":"","version":"","kind":""},"scope":"Namespaced","subresources":[{"subresource":"scale","responseKind":{"group":"","version":"","kind":""},"verbs":[]}]}]}"#
        ]],
    );
    check(
        r#"{"resources":[{"name":"nodes","namespaced":false},{"name":"nodes/x","namespaced":true}]}"#,
        &expect!["nodes and nodes/x have different scopes"],
    );
}

#[test]
fn the_new_form() {
    let list = r#"{"items":[{"metadata":{"name":"a"},"versions":[{"version":"v1","resources":[{"resource":"x","scope":"Cluster","subresources":[{"subresource":"s"}]},{"resource":"y","responseKind":{"kind":"Y"}}]}]}]}"#;
    let list = Dom::parse_json(list.as_bytes()).unwrap();
    expect![[r#"{"version":"v1","resources":[{"resource":"x","scope":"Cluster","subresources":[{"subresource":"s","responseKind":{"group":"","version":"","kind":""}}],"responseKind":{"group":"","version":"","kind":""}},{"resource":"y","responseKind":{"kind":"Y"}}]}"#]].assert_eq(&text(&of_list(&list, "a", "v1")));
    assert_eq!(text(&of_list(&list, "a", "v2")), r#"{"version":"v2"}"#);
    assert_eq!(text(&of_list(&list, "b", "v1")), r#"{"version":"v1"}"#);
}
