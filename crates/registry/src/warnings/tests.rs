use expect_test::{Expect, expect};
use schema::Dom;

#[track_caller]
fn check(warn: crate::strategy::Warn, object: &str, expect: Expect) {
    let dom = Dom::parse_json(object.as_bytes()).unwrap();
    let mut out = Vec::new();
    warn(dom.as_ref(), None, &mut out);
    expect.assert_eq(&out.join("\n"));
}

#[test]
fn of_a_pod() {
    check(
        super::pod,
        r#"{"metadata":{"name":"a.b"},"spec":{"volumes":[{"name":"v","gitRepo":{}},{"name":"p","projected":{"sources":[{}]}}],
            "imagePullSecrets":[{},{}],"hostAliases":[{"ip":"10.1.2.3"},{"ip":"10.1.2.3"}],
            "containers":[{"env":[{"name":"A","value":"1"},{"name":"A","value":"2"},{"name":"A","value":"$(A)3"}]}]}}"#,
        expect![[r#"
            metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [must not contain dots]
            spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+
            volume "p" (Projected) has no sources provided
            spec.hostAliases[1].ip: duplicate ip "10.1.2.3"
            spec.imagePullSecrets[1].name: duplicate name ""
            spec.imagePullSecrets[0].name: invalid empty name ""
            spec.imagePullSecrets[1].name: invalid empty name ""
            spec.containers[0].env[1]: hides previous definition of "A", which may be dropped when using apply"#]],
    );
}

#[test]
fn of_a_template() {
    check(
        super::template,
        r#"{"spec":{"template":{"spec":{"topologySpreadConstraints":[{"topologyKey":"zone"}]}}}}"#,
        expect![
            "spec.template.spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod"
        ],
    );
}

#[test]
fn of_a_service() {
    check(
        super::service,
        r#"{"spec":{"type":"ClusterIP","externalName":"a.example.com"}}"#,
        expect![[r#"spec.externalName is ignored when spec.type is not "ExternalName""#]],
    );
}
