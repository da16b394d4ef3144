//! Patches of each type, and server-side apply with its conflicts.

use serde_json::{Value, json};

use super::{Kind, bytes, on};
use crate::case::Case;

const JSON: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

pub(in crate::corpus::verbs) fn patches(kind: &Kind) -> Vec<Case> {
    let patch = |query: &str, media: &str, body: &str| {
        on(kind, "patch", "PATCH", query).media(media).body(body)
    };
    let mut cases = vec![
        patch(
            "?fieldManager=merger",
            MERGE,
            r#"{"metadata":{"labels":{"merge":"yes"}}}"#,
        )
        .managers(),
        patch(
            "?fieldManager=jsoner",
            JSON,
            r#"[{"op":"add","path":"/metadata/labels/json","value":"yes"}]"#,
        )
        .managers(),
        patch(
            "",
            STRATEGIC,
            r#"{"metadata":{"labels":{"strategic":"yes"}}}"#,
        )
        .managers(),
        on(kind, "patch", "GET", "").managers(),
    ];
    for (media, body) in [
        (MERGE, r#"{"metadata":{"labels":null}}"#),
        (MERGE, r#"{"metadata":{"labels":{"a b":"c"}}}"#),
        (MERGE, r#"{"metadata":{"name":"x"}}"#),
        (MERGE, r#"{"metadata":{"namespace":"x"}}"#),
        (MERGE, r#"{"metadata":{"uid":"x"}}"#),
        (MERGE, r#"{"metadata":{"resourceVersion":"1"}}"#),
        (MERGE, r#"{"metadata":{"resourceVersion":""}}"#),
        (MERGE, r#"{"metadata":{"generation":7}}"#),
        (MERGE, r#"{"metadata":{"creationTimestamp":null}}"#),
        (MERGE, r#"{"metadata":"x"}"#),
        (MERGE, r#"{"kind":"x"}"#),
        (MERGE, r#"{"apiVersion":"x"}"#),
        (MERGE, r#"{"spec":null}"#),
        (MERGE, r#"{"spec":"x"}"#),
        (MERGE, r#"{"status":{"phase":"x"}}"#),
        (MERGE, r#"[]"#),
        (MERGE, r#"{"#),
        (MERGE, r#""x""#),
        (MERGE, r#"null"#),
        (MERGE, r#"{}"#),
        (STRATEGIC, r#"{}"#),
        (STRATEGIC, r#"[]"#),
        (STRATEGIC, r#"{"#),
        (STRATEGIC, r#"{"metadata":{"labels":{"$patch":"delete"}}}"#),
        (
            STRATEGIC,
            r#"{"metadata":{"labels":{"$patch":"replace","a":"b"}}}"#,
        ),
        (STRATEGIC, r#"{"metadata":{"labels":{"$patch":"x"}}}"#),
        (
            STRATEGIC,
            r#"{"metadata":{"finalizers":["example.com/a"],"$setElementOrder/finalizers":["example.com/a"]}}"#,
        ),
        (
            STRATEGIC,
            r#"{"metadata":{"$deleteFromPrimitiveList/finalizers":["example.com/a"]}}"#,
        ),
        (
            STRATEGIC,
            r#"{"metadata":{"ownerReferences":[{"uid":"u"}]}}"#,
        ),
        (STRATEGIC, r#"{"metadata":{"name":"x"}}"#),
        (STRATEGIC, r#"{"spec":{"$retainKeys":["none"]}}"#),
        (STRATEGIC, r#"{"$patch":"replace","metadata":{}}"#),
        (JSON, r#"[]"#),
        (JSON, r#"{}"#),
        (JSON, r#"["#),
        (JSON, r#"[{}]"#),
        (JSON, r#"[{"op":"x","path":"/metadata"}]"#),
        (
            JSON,
            r#"[{"op":"test","path":"/metadata/name","value":"x"}]"#,
        ),
        (JSON, r#"[{"op":"test","path":"/none","value":"x"}]"#),
        (JSON, r#"[{"op":"remove","path":"/metadata/none"}]"#),
        (
            JSON,
            r#"[{"op":"replace","path":"/metadata/none","value":1}]"#,
        ),
        (
            JSON,
            r#"[{"op":"replace","path":"/metadata/labels","value":{"a":"b"}}]"#,
        ),
        (
            JSON,
            r#"[{"op":"add","path":"/metadata/none/none","value":1}]"#,
        ),
        (
            JSON,
            r#"[{"op":"copy","from":"/metadata/name","path":"/metadata/labels/copied"}]"#,
        ),
        (
            JSON,
            r#"[{"op":"move","from":"/metadata/none","path":"/metadata/labels/moved"}]"#,
        ),
        (JSON, r#"[{"op":"add","path":"none","value":1}]"#),
        (JSON, r#"[{"op":"remove","path":"/metadata"}]"#),
        (JSON, r#"[{"op":"replace","path":"","value":{}}]"#),
        (
            JSON,
            r#"[{"op":"add","path":"/metadata/labels","value":[]}]"#,
        ),
        ("application/json", r#"{}"#),
        ("text/plain", r#"{}"#),
        ("application/merge-patch+json; charset=utf-8", r#"{}"#),
    ] {
        cases.push(patch("?dryRun=All", media, body));
    }
    for media in [JSON, MERGE, STRATEGIC] {
        let body = if media == JSON { "[]" } else { "{}" };
        let missing = format!("{}/missing", kind.collection);
        cases.push(
            Case::new("patch", &kind.kind, "PATCH", missing)
                .media(media)
                .body(body),
        );
        cases.push(patch("?force=true", media, body));
    }
    // Every leaf, by each of the three.
    for key in kind
        .object
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, _)| key)
    {
        if matches!(key.as_str(), "kind" | "apiVersion" | "metadata") {
            continue;
        }
        let null = json!({ key.as_str(): Value::Null });
        let same = json!({ key.as_str(): kind.object[key.as_str()] });
        let remove = json!([{"op": "remove", "path": format!("/{key}")}]);
        for (media, body) in [
            (MERGE, &null),
            (STRATEGIC, &null),
            (MERGE, &same),
            (STRATEGIC, &same),
            (JSON, &remove),
        ] {
            cases.push(patch("?dryRun=All", media, &body.to_string()));
        }
    }
    cases
}

pub(in crate::corpus::verbs) fn applies(kind: &Kind) -> Vec<Case> {
    let apply = |query: &str, body: &Value| {
        on(kind, "apply", "PATCH", query)
            .media(APPLY)
            .body(bytes(body))
    };
    let with = |labels: Value| {
        let mut object = kind.object.clone();
        object["metadata"]["labels"] = labels;
        object
    };
    let mut other = kind.named("applied");
    other["metadata"]["labels"] = json!({"one": "1"});
    let path = format!("{}/applied?dryRun=All&fieldManager=one", kind.collection);
    vec![
        Case::new("apply", &kind.kind, "PATCH", path)
            .media(APPLY)
            .body(bytes(&other))
            .managers(),
        apply("", &kind.object).note("no manager"),
        apply("?fieldManager=one", &with(json!({"own": "1"}))).managers(),
        apply("?fieldManager=one", &with(json!({"own": "1"})))
            .managers()
            .note("again"),
        apply("?fieldManager=two", &with(json!({"own": "2"})))
            .managers()
            .note("conflict"),
        apply(
            "?fieldManager=two&dryRun=All&force=true",
            &with(json!({"own": "2"})),
        )
        .managers(),
        apply("?fieldManager=two&force=true", &with(json!({"own": "2"}))).managers(),
        apply("?fieldManager=one", &with(json!({"own": "2"})))
            .managers()
            .note("shared"),
        apply("?fieldManager=one&force=true", &with(json!({})))
            .managers()
            .note("given up"),
        apply("?fieldManager=two&force=true", &with(json!({})))
            .managers()
            .note("gone"),
        apply("?fieldManager=one", &json!({})),
        apply(
            "?fieldManager=one",
            &json!({"apiVersion": kind.api_version, "kind": kind.kind}),
        ),
        apply(
            "?fieldManager=one",
            &json!({"apiVersion": kind.api_version, "kind": "Nothing"}),
        ),
        apply(
            "?fieldManager=one",
            &json!({"apiVersion": "v7", "kind": kind.kind}),
        ),
        apply(
            "?fieldManager=one",
            &json!({"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": "x"}}),
        ),
        apply(
            "?fieldManager=one",
            &json!({"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": kind.name, "managedFields": [{}]}}),
        ),
        apply(
            "?fieldManager=one&dryRun=All",
            &json!({"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": kind.name, "resourceVersion": "1"}}),
        ),
        apply(
            "?fieldManager=one&dryRun=All",
            &json!({"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": kind.name, "labels": {"a b": "c"}}}),
        ),
        apply(
            "?fieldManager=one&dryRun=All",
            &json!({"apiVersion": kind.api_version, "kind": kind.kind, "nothing": 1, "metadata": {"name": kind.name}}),
        ),
        apply("?fieldManager=one&force=x", &kind.object),
        on(kind, "apply", "PATCH", "?fieldManager=one")
            .media(APPLY)
            .body("a: ["),
        on(kind, "apply", "GET", "").managers(),
    ]
}
