//! What a write answers besides the object: warnings, and dry runs as if they had been written.
//!
//! Each line was a difference to upstream (docs/DIFFERENTIAL.md).

use expect_test::expect;

use super::harness::Harness;

const CONFIG_MAP: &str =
    "POST /api/v1/namespaces/default/configmaps\n\n{\"metadata\":{\"name\":\"a\"}}";

/// A dry run answers with the revision that it found.
#[test]
fn dry_run_of_an_update() {
    let h = Harness::new();
    h.send(CONFIG_MAP);
    h.check(
        "PATCH /api/v1/namespaces/default/configmaps/a?dryRun=All\nContent-Type: application/merge-patch+json\n\n{\"data\":{\"k\":\"v\"}}",
        &expect![[r#"
            200
            {"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a","namespace":"default","uid":"UID","resourceVersion":"186","creationTimestamp":"2026-01-02T03:04:05Z"},"data":{"k":"v"}}
        "#]],
    );
}

/// A dry run of a delete answers with the mark that finalizers would leave.
#[test]
fn dry_run_of_a_delete() {
    let h = Harness::new();
    h.send(
        "POST /api/v1/namespaces/default/configmaps\n\n{\"metadata\":{\"name\":\"a\",\"finalizers\":[\"example.com/a\"]}}",
    );
    h.check(
        "DELETE /api/v1/namespaces/default/configmaps/a?dryRun=All",
        &expect![[r#"
            200
            {"kind":"ConfigMap","apiVersion":"v1","metadata":{"resourceVersion":"186","name":"a","namespace":"default","uid":"UID","creationTimestamp":"2026-01-02T03:04:05Z","deletionTimestamp":"2026-01-02T03:04:05Z","deletionGracePeriodSeconds":0,"finalizers":["example.com/a"]}}
        "#]],
    );
}

#[test]
fn owners_that_are_there_twice() {
    let h = Harness::new();
    h.check(
        "POST /api/v1/namespaces/default/configmaps\n\n{\"metadata\":{\"name\":\"a\",\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"name\":\"n\",\"uid\":\"u\"},{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"name\":\"n\",\"uid\":\"u\"}]}}",
        &expect![[r#"
            201
            warning: 299 - ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: u"
            {"kind":"ConfigMap","apiVersion":"v1","metadata":{"resourceVersion":"186","name":"a","namespace":"default","uid":"UID","creationTimestamp":"2026-01-02T03:04:05Z","ownerReferences":[{"apiVersion":"v1","kind":"Node","name":"n","uid":"UID"}]}}
        "#]],
    );
}

#[test]
fn deprecated_kinds_say_so() {
    let h = Harness::new();
    h.check(
        "GET /api/v1/namespaces/default/endpoints/none",
        &expect![[r#"
            404
            warning: 299 - "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
            {"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"endpoints \"none\" not found","reason":"NotFound","details":{"name":"none","kind":"endpoints"},"code":404}
        "#]],
    );
    h.check(
        "POST /api/v1/namespaces/default/endpoints?dryRun=All\n\n{\"metadata\":{\"name\":\"a\"}}",
        &expect![[r#"
            201
            warning: 299 - "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
            {"kind":"Endpoints","apiVersion":"v1","metadata":{"name":"a","namespace":"default","uid":"UID","creationTimestamp":"2026-01-02T03:04:05Z"}}
        "#]],
    );
}

/// What is doubtful is said of an object that is refused for something else, too.
#[test]
fn warnings_of_refusals() {
    let h = Harness::new();
    h.check(
        "POST /api/v1/namespaces/default/configmaps\n\n{\"metadata\":{\"name\":\"A\"},\"colour\":1}",
        &expect![[r#"
            422
            warning: 299 - "unknown field \"colour\""
            {"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"ConfigMap \"A\" is invalid: metadata.name: Invalid value: \"A\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')","reason":"Invalid","details":{"name":"A","kind":"ConfigMap","causes":[{"reason":"FieldValueInvalid","message":"Invalid value: \"A\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')","field":"metadata.name"}]},"code":422}
        "#]],
    );
}

/// Members that no operation of a JSON patch has, strict and not.
#[test]
fn unknown_members_of_patches() {
    let h = Harness::new();
    h.send(CONFIG_MAP);
    let request = |mode: &str| {
        format!(
            "PATCH /api/v1/namespaces/default/configmaps/a?dryRun=All&fieldValidation={mode}\nContent-Type: application/json-patch+json\n\n[{{\"op\":\"add\",\"path\":\"/data\",\"value\":{{}},\"extra\":1}}]"
        )
    };
    h.check(&request("Warn"), &expect![[r#"
        200
        warning: 299 - "json patch unknown field \"[0].extra\""
        {"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a","namespace":"default","uid":"UID","resourceVersion":"186","creationTimestamp":"2026-01-02T03:04:05Z"}}
    "#]]);
    let (code, _, body) = h.send(&request("Strict"));
    assert_eq!(code, 422, "{body}");
    assert!(
        body.contains(r#"strict decoding error: json patch unknown field \"[0].extra\""#),
        "{body}"
    );
    h.check(&request("Ignore"), &expect![[r#"
        200
        {"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a","namespace":"default","uid":"UID","resourceVersion":"186","creationTimestamp":"2026-01-02T03:04:05Z"}}
    "#]]);
}

/// What a server adds to new objects of these kinds.
#[test]
fn additions() {
    let h = Harness::new();
    let spec = r#""containers":[{"name":"a","image":"a"}]"#;
    let (_, _, job) = h.send(&format!(
        "POST /apis/batch/v1/namespaces/default/jobs?dryRun=All\n\n{{\"metadata\":{{\"name\":\"a\"}},\"spec\":{{\"template\":{{\"spec\":{{\"restartPolicy\":\"Never\",{spec}}}}}}}}}"
    ));
    assert!(
        job.contains(r#""batch.kubernetes.io/job-name":"a","#),
        "{job}"
    );
    let metadata = job.split("\"spec\"").next().unwrap_or_default();
    assert!(metadata.contains(r#""job-name":"a""#), "{job}");
    let (_, _, set) = h.send(&format!(
        "POST /apis/apps/v1/namespaces/default/daemonsets?dryRun=All\n\n{{\"metadata\":{{\"name\":\"a\"}},\"spec\":{{\"selector\":{{\"matchLabels\":{{\"a\":\"b\"}}}},\"template\":{{\"metadata\":{{\"labels\":{{\"a\":\"b\"}}}},\"spec\":{{{spec}}}}}}}}}"
    ));
    assert!(
        set.contains(r#""annotations":{"deprecated.daemonset.template.generation":"1"}"#),
        "{set}"
    );
    let (_, _, volume) = h.send(
        "POST /api/v1/persistentvolumes?dryRun=All\n\n{\"metadata\":{\"name\":\"a\"},\"spec\":{\"capacity\":{\"storage\":\"1\"},\"accessModes\":[\"ReadWriteOnce\"],\"hostPath\":{\"path\":\"/a\"}}}",
    );
    assert!(
        volume.contains(r#""lastPhaseTransitionTime":"2026-01-02T03:04:05Z""#),
        "{volume}"
    );
}
