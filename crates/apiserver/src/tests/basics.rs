//! The verbs on one small kind.

use expect_test::expect;

use super::harness::Harness;

#[test]
fn config_map_create_get_update_delete() {
    let h = Harness::new();
    h.check(
        "POST /api/v1/namespaces/default/configmaps\n\n{\"metadata\":{\"name\":\"a\"},\"data\":{\"k\":\"v\"}}",
        &expect![[r#""#]],
    );
    h.check("GET /api/v1/namespaces/default/configmaps/a", &expect![[r#""#]]);
    h.check(
        "PATCH /api/v1/namespaces/default/configmaps/a\nContent-Type: application/merge-patch+json\n\n{\"data\":{\"k\":null,\"l\":\"w\"}}",
        &expect![[r#""#]],
    );
    h.check("DELETE /api/v1/namespaces/default/configmaps/a", &expect![[r#""#]]);
    h.check("GET /api/v1/namespaces/default/configmaps/a", &expect![[r#""#]]);
}
