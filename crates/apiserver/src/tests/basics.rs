//! The verbs on one small kind.

use expect_test::expect;

use super::harness::Harness;

#[test]
fn config_map_create_get_update_delete() {
    let h = Harness::new();
    h.check(
        "POST /api/v1/namespaces/default/configmaps\n\n{\"metadata\":{\"name\":\"a\"},\"data\":{\"k\":\"v\"}}",
        &expect![[r#"
            201
            {"kind":"ConfigMap","apiVersion":"v1","metadata":{"resourceVersion":"186","name":"a","namespace":"default","uid":"UID","creationTimestamp":"2026-01-02T03:04:05Z"},"data":{"k":"v"}}
        "#]],
    );
    h.check("GET /api/v1/namespaces/default/configmaps/a", &expect![[r#"
        200
        {"kind":"ConfigMap","apiVersion":"v1","metadata":{"resourceVersion":"186","name":"a","namespace":"default","uid":"UID","creationTimestamp":"2026-01-02T03:04:05Z"},"data":{"k":"v"}}
    "#]]);
    h.check(
        "PATCH /api/v1/namespaces/default/configmaps/a\nContent-Type: application/merge-patch+json\n\n{\"data\":{\"k\":null,\"l\":\"w\"}}",
        &expect![[r#"
            200
            {"kind":"ConfigMap","apiVersion":"v1","metadata":{"resourceVersion":"187","name":"a","namespace":"default","uid":"UID","creationTimestamp":"2026-01-02T03:04:05Z"},"data":{"l":"w"}}
        "#]],
    );
    h.check("DELETE /api/v1/namespaces/default/configmaps/a", &expect![[r#"
        200
        {"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success","details":{"name":"a","kind":"configmaps","uid":"UID"}}
    "#]]);
    h.check("GET /api/v1/namespaces/default/configmaps/a", &expect![[r#"
        404
        {"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"configmaps \"a\" not found","reason":"NotFound","details":{"name":"a","kind":"configmaps"},"code":404}
    "#]]);
}
