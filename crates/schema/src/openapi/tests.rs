//! Documents: valid JSON, the parameters that kubectl wants, schemas equal to upstream's.

use std::path::PathBuf;

use super::{Row, v3};
use crate::{Dom, Ref, Value, builtin};

const ALL: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

fn apps() -> Dom {
    let row = |path, kind, verbs| Row {
        path,
        namespaced: true,
        group: "apps",
        version: "v1",
        kind,
        verbs,
        returns_deleted: false,
        custom: None,
    };
    let mut rows = vec![
        row("controllerrevisions", "ControllerRevision", ALL),
        row("daemonsets", "DaemonSet", ALL),
        row("deployments", "Deployment", ALL),
        row(
            "deployments/status",
            "Deployment",
            &["get", "patch", "update"],
        ),
        row("replicasets", "ReplicaSet", ALL),
        row("statefulsets", "StatefulSet", ALL),
    ];
    rows.push(Row {
        path: "deployments/scale",
        namespaced: true,
        group: "autoscaling",
        version: "v1",
        kind: "Scale",
        verbs: &["get", "patch", "update"],
        returns_deleted: false,
        custom: None,
    });
    Dom::parse_json(&v3(builtin(), "apps", "v1", &rows, "v1.36.3")).unwrap()
}

#[test]
fn kubectl_finds_field_validation() {
    let dom = apps();
    let path = "/apis/apps/v1/namespaces/{namespace}/deployments/{name}";
    let patch = dom.as_ref().at(&["paths", path, "patch"]).unwrap();
    let kind = patch.get("x-kubernetes-group-version-kind").unwrap();
    assert_eq!(
        (kind.str("group"), kind.str("kind")),
        ("apps", "Deployment")
    );
    let mut names = patch.items("parameters").map(|p| p.str("name"));
    assert!(names.any(|name| name == "fieldValidation"));
    assert!(
        dom.as_ref()
            .at(&["paths", "/apis/apps/v1/deployments", "get"])
            .is_some()
    );
    let scale = "/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale";
    assert!(dom.as_ref().at(&["paths", scale, "put"]).is_some());
}

/// What differs between two schemas; descriptions, enums and unions aside (upstream's files
/// have no enums).
fn differences(path: &str, ours: Ref<'_>, theirs: Ref<'_>, out: &mut Vec<String>) {
    // `allOf` of one reference is the reference.
    let simple = |r: Ref<'_>| r.get("allOf").is_some_and(|all| all.len() == 1);
    if simple(ours) != simple(theirs) {
        let reference = |r: Ref<'_>| match r.items("allOf").next() {
            Some(first) => first.str("$ref").to_owned(),
            None => r.str("$ref").to_owned(),
        };
        if reference(ours) != reference(theirs) {
            out.push(format!("{path}: reference"));
        }
    }
    match (ours.value(), theirs.value()) {
        (Value::Map, Value::Map) => {
            const IGNORED: [&str; 6] = [
                "description",
                "enum",
                "x-kubernetes-unions",
                "allOf",
                "$ref",
                "x-kubernetes-group-version-kind",
            ];
            let inside = path.ends_with(".properties");
            let skip = |key: &str| !inside && IGNORED.contains(&key);
            for (key, value) in ours.map().filter(|(key, _)| !skip(key)) {
                match theirs.get(key) {
                    Some(other) => differences(&format!("{path}.{key}"), value, other, out),
                    None => out.push(format!("{path}.{key}: {value:?} only ours")),
                }
            }
            for (key, value) in theirs.map().filter(|(key, _)| !skip(key)) {
                if ours.get(key).is_none() {
                    out.push(format!("{path}.{key}: {value:?} only theirs"));
                }
            }
        }
        _ if path.ends_with(".required") => {
            let sorted = |r: Ref<'_>| {
                let mut all: Vec<_> = r.list().map(Ref::text).collect();
                all.sort_unstable();
                all.join(",")
            };
            if sorted(ours) != sorted(theirs) {
                out.push(format!("{path}: {ours:?} {theirs:?}"));
            }
        }
        _ if !ours.equal(theirs) => out.push(format!("{path}: {ours:?} {theirs:?}")),
        _ => {}
    }
}

/// Upstream's own documents, when the Go module cache has them.
fn upstream() -> Option<PathBuf> {
    let home = std::env::var_os("GOMODCACHE")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join("go/pkg/mod")))?;
    let folder = home.join("k8s.io/kubernetes@v1.36.3/api/openapi-spec/v3");
    folder.is_dir().then_some(folder)
}

#[test]
fn schemas_equal_upstream() {
    let Some(folder) = upstream() else {
        println!("skipped: no k8s.io/kubernetes@v1.36.3 in a Go module cache");
        return;
    };
    let table = builtin();
    let mut groups: Vec<_> = table
        .kinds()
        .map(|(group, version, _, _)| (group, version))
        .collect();
    groups.dedup();
    let mut found = Vec::new();
    let mut compared = 0;
    for (group, version) in groups {
        let file = match group {
            "" => format!("api__{version}_openapi.json"),
            group => format!("apis__{group}__{version}_openapi.json"),
        };
        let Ok(source) = std::fs::read(folder.join(file)) else {
            continue;
        };
        let theirs = Dom::parse_json(&source).unwrap();
        let rows: Vec<_> = table
            .kinds()
            .filter(|(g, v, kind, _)| *g == group && *v == version && !kind.ends_with("List"))
            .map(|(group, version, kind, _)| Row {
                path: "things",
                namespaced: false,
                group,
                version,
                kind,
                verbs: ALL,
                returns_deleted: false,
                custom: None,
            })
            .collect();
        let ours = Dom::parse_json(&v3(table, group, version, &rows, "v1.36.3")).unwrap();
        for (name, schema) in ours.as_ref().at(&["components", "schemas"]).unwrap().map() {
            if let Some(other) = theirs.as_ref().at(&["components", "schemas", name]) {
                differences(name, schema, other, &mut found);
                compared += 1;
            }
        }
    }
    assert!(
        found.is_empty(),
        "{} differences: {:#?}",
        found.len(),
        &found[..found.len().min(40)]
    );
    assert!(compared > 500, "only {compared} schemas");
}

/// One old document: references, flat parameters, bodies as parameters, no unions or defaults.
#[test]
fn v2_says_the_same() {
    let parts = super::parts(&apps());
    let dom = Dom::parse_json(&parts.document("v1.36.3")).unwrap();
    let root = dom.as_ref();
    let path = "/apis/apps/v1/namespaces/{namespace}/deployments/{name}";
    let patch = root.at(&["paths", path, "patch"]).unwrap();
    let body = patch.items("parameters").next().unwrap();
    assert_eq!((body.str("in"), body.str("name")), ("body", "body"));
    let spec = [
        "definitions",
        "io.k8s.api.apps.v1.Deployment",
        "properties",
        "spec",
    ];
    let spec = root.at(&spec).unwrap();
    assert_eq!(
        spec.str("$ref"),
        "#/definitions/io.k8s.api.apps.v1.DeploymentSpec"
    );
    let quantity = [
        "definitions",
        "io.k8s.apimachinery.pkg.api.resource.Quantity",
    ];
    assert_eq!(
        root.at(&quantity).unwrap().to_json(),
        br#"{"type":"string"}"#
    );
    assert!(super::to_protobuf(&dom).len() > 10_000);
}

#[test]
fn v2_of_custom_schemas() {
    let schema = r#"{"type":"object","properties":{"a":{"type":"array","nullable":true,"items":{"type":"string"}},"b":{"type":"object","x-kubernetes-preserve-unknown-fields":true,"properties":{"c":{"type":"string"}}},"d":{"type":"string","default":"x","anyOf":[{}]}},"required":["a","d"]}"#;
    let row = Row {
        path: "foos",
        namespaced: true,
        group: "example.com",
        version: "v1",
        kind: "Foo",
        verbs: ALL,
        returns_deleted: false,
        custom: Some(super::Custom {
            list_kind: "FooList",
            schema,
        }),
    };
    let v3 = Dom::parse_json(&v3(builtin(), "example.com", "v1", &[row], "v1.36.3")).unwrap();
    let parts = super::parts(&v3);
    expect_test::expect![[r#"{"type":"object","properties":{"a":{},"b":{"x-kubernetes-preserve-unknown-fields":true},"d":{"type":"string","default":"x"}},"required":["d"]}"#]]
        .assert_eq(&parts.definitions["com.example.v1.Foo"]);
    assert!(parts.definitions.contains_key("com.example.v1.FooList"));
}
