//! Creating, changing and deleting.

pub(super) mod patch;

use serde_json::{Value, json};

use super::{Kind, at, bytes, on};
use crate::case::Case;

pub(super) fn create(kind: &Kind) -> Vec<Case> {
    vec![
        at(kind, "create", "POST", "?dryRun=All")
            .body(bytes(&kind.object))
            .note("dry run"),
        on(kind, "create", "GET", "").note("nothing came of the dry run"),
        at(kind, "create", "POST", "?dryRun=x").body(bytes(&kind.object)),
        at(kind, "create", "POST", "?fieldManager=diff")
            .body(bytes(&kind.object))
            .managers()
            .needed()
            .settle(kind.settle()),
        at(kind, "create", "POST", "")
            .body(bytes(&kind.object))
            .note("again"),
        at(kind, "create", "POST", "").body("{}"),
        at(kind, "create", "POST", "").body("[]"),
        at(kind, "create", "POST", "").body("{"),
        at(kind, "create", "POST", "").body(r#"{"kind":"Nothing","apiVersion":"v1"}"#),
        at(kind, "create", "POST", "").body(r#"{"kind":"Pod","apiVersion":"v2"}"#),
        on(kind, "create", "POST", "")
            .body(bytes(&kind.object))
            .note("to the object"),
        at(kind, "create", "PUT", "")
            .body(bytes(&kind.object))
            .note("to the collection"),
        at(kind, "create", "PATCH", "")
            .body("{}")
            .media("application/merge-patch+json"),
        at(kind, "create", "POST", "/none/none").body("{}"),
        at(kind, "create", "POST", "?fieldManager=%00").body(bytes(&kind.object)),
    ]
}

pub(super) fn names(kind: &Kind) -> Vec<Case> {
    let mut cases = Vec::new();
    let long = "x".repeat(254);
    for name in [
        "",
        "Upper",
        "a_b",
        ".",
        "..",
        "a/b",
        "a%b",
        "-a",
        "a.b",
        "1a",
        "a b",
        &long,
        "x".repeat(64).as_str(),
    ] {
        let case = at(kind, "names", "POST", "?dryRun=All").body(bytes(&kind.named(name)));
        cases.push(case.note(name.chars().take(20).collect::<String>()));
    }
    let mut with = |note: &str, change: &dyn Fn(&mut Value)| {
        let mut object = kind.named("other");
        change(&mut object);
        cases.push(
            at(kind, "names", "POST", "?dryRun=All")
                .body(bytes(&object))
                .note(note),
        );
    };
    with("another namespace", &|object| {
        object["metadata"]["namespace"] = "none".into()
    });
    with("uid", &|object| object["metadata"]["uid"] = "a".into());
    with("resourceVersion", &|object| {
        object["metadata"]["resourceVersion"] = "7".into()
    });
    with("bad label", &|object| {
        object["metadata"]["labels"] = json!({"a b": "c d"})
    });
    with("bad annotation", &|object| {
        object["metadata"]["annotations"] = json!({"a b": "c d"})
    });
    with("owner", &|object| {
        object["metadata"]["ownerReferences"] = json!([{}])
    });
    with("owners", &|object| {
        let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "u", "controller": true});
        object["metadata"]["ownerReferences"] = json!([owner, owner]);
    });
    with("finalizer", &|object| {
        object["metadata"]["finalizers"] = json!(["a b", "plain"])
    });
    with("no metadata", &|object| object["metadata"] = Value::Null);
    with("metadata is a list", &|object| {
        object["metadata"] = json!([])
    });
    with("long generateName", &|object| {
        object["metadata"] = json!({"generateName": "X_"});
    });
    cases
}

pub(super) fn strict(kind: &Kind) -> Vec<Case> {
    let mut unknown = kind.named("other");
    unknown["nothing"] = 1.into();
    unknown["metadata"]["nothing"] = 1.into();
    if unknown["spec"].is_object() {
        unknown["spec"]["nothing"] = json!({"a": 1});
    }
    let double = kind
        .named("other")
        .to_string()
        .replacen('{', r#"{"kind":"x","#, 1);
    let mut cases = Vec::new();
    for mode in [
        "",
        "&fieldValidation=Strict",
        "&fieldValidation=Warn",
        "&fieldValidation=Ignore",
        "&fieldValidation=x",
    ] {
        let query = format!("?dryRun=All{mode}");
        for body in [unknown.to_string(), double.clone()] {
            cases.push(at(kind, "strict", "POST", &query).body(body));
        }
        cases.push(on(kind, "strict", "PUT", &query).body(bytes(&{
            let mut object = unknown.clone();
            object["metadata"]["name"] = kind.name.as_str().into();
            object
        })));
        for media in [
            "application/merge-patch+json",
            "application/strategic-merge-patch+json",
        ] {
            let body = r#"{"nothing":1,"metadata":{"nothing":2},"nothing":3}"#;
            cases.push(on(kind, "strict", "PATCH", &query).body(body).media(media));
        }
        let body = r#"[{"op":"add","path":"/nothing","value":1,"extra":1}]"#;
        cases.push(
            on(kind, "strict", "PATCH", &query)
                .body(body)
                .media("application/json-patch+json"),
        );
    }
    cases
}

pub(super) fn encodings(kind: &Kind) -> Vec<Case> {
    let object = kind.named("other");
    let text = object.to_string();
    let mut cases = vec![
        at(kind, "encodings", "POST", "?dryRun=All")
            .body(text.clone())
            .media("text/plain"),
        at(kind, "encodings", "POST", "?dryRun=All")
            .body(text.clone())
            .media("application/json; charset=utf-8"),
        at(kind, "encodings", "POST", "?dryRun=All")
            .body("not protobuf")
            .media("application/vnd.kubernetes.protobuf"),
        at(kind, "encodings", "POST", "?dryRun=All")
            .body(vec![b'k', b'8', b's', 0, 0xff, 1])
            .media("application/vnd.kubernetes.protobuf"),
        at(kind, "encodings", "POST", "?dryRun=All")
            .body("a: [")
            .media("application/yaml"),
    ];
    if let Ok(dom) = schema::Dom::parse_json(text.as_bytes()) {
        let yaml = schema::yaml::to_yaml(&dom, dom.root());
        cases.push(
            at(kind, "encodings", "POST", "?dryRun=All")
                .body(yaml.clone())
                .media("application/yaml")
                .accept("application/yaml"),
        );
        let double = format!("{yaml}nothing: 1\nkind: Other\n");
        cases.push(
            at(
                kind,
                "encodings",
                "POST",
                "?dryRun=All&fieldValidation=Strict",
            )
            .body(double)
            .media("application/yaml"),
        );
        if let Ok(wire) = schema::protobuf::to_wire(schema::builtin(), &dom, dom.root()) {
            let media = "application/vnd.kubernetes.protobuf";
            cases.push(
                at(kind, "encodings", "POST", "?dryRun=All")
                    .body(wire.clone())
                    .media(media),
            );
            cases.push(
                at(kind, "encodings", "POST", "?dryRun=All")
                    .body(wire)
                    .media(media)
                    .accept(media),
            );
        }
    }
    cases
}

pub(super) fn updates(kind: &Kind) -> Vec<Case> {
    let with = |change: &dyn Fn(&mut Value)| {
        let mut object = kind.object.clone();
        change(&mut object);
        bytes(&object)
    };
    let same = with(&|_| {});
    let mut cases = vec![
        on(kind, "update", "PUT", "")
            .body(same.clone())
            .note("no resourceVersion"),
        on(kind, "update", "PUT", "?dryRun=All").body(with(&|object| {
            object["metadata"]["resourceVersion"] = "1".into();
        })),
        on(kind, "update", "PUT", "?dryRun=All").body(with(&|object| {
            object["metadata"]["resourceVersion"] = "x".into();
        })),
        on(kind, "update", "PUT", "?dryRun=All").body(with(&|object| {
            object["metadata"]["uid"] = "x".into();
        })),
        on(kind, "update", "PUT", "?dryRun=All").body(with(&|object| {
            object["metadata"]["name"] = "x".into();
        })),
        on(kind, "update", "PUT", "?dryRun=All").body(with(&|object| {
            object["metadata"]["namespace"] = "x".into();
        })),
        on(kind, "update", "PUT", "?dryRun=All").body("{}"),
        Case::new(
            "update",
            &kind.kind,
            "PUT",
            format!("{}/missing", kind.collection),
        )
        .body(bytes(&kind.named("missing"))),
        on(kind, "update", "PUT", "?fieldManager=diff")
            .managers()
            .body(with(&|object| {
                object["metadata"]["labels"] = json!({"put": "yes"});
                object["metadata"]["annotations"] = json!({"put": "yes"});
            })),
    ];
    // Every leaf of the minimal object changed or gone: what is immutable?
    for (path, note) in leaves(&kind.object) {
        let mut object = kind.object.clone();
        if let Some(value) = object.pointer_mut(&path) {
            *value = match value {
                Value::String(text) => json!(format!("{text}x")),
                Value::Number(number) => json!(number.as_i64().unwrap_or(0) + 1),
                Value::Bool(on) => json!(!*on),
                _ => Value::Null,
            };
        }
        cases.push(
            on(kind, "update", "PUT", "?dryRun=All")
                .body(bytes(&object))
                .note(format!("{note} changed")),
        );
        let (parent, key) = path.rsplit_once('/').unwrap_or(("", ""));
        let mut object = kind.object.clone();
        if let Some(Value::Object(map)) = object.pointer_mut(parent) {
            map.remove(key);
            cases.push(
                on(kind, "update", "PUT", "?dryRun=All")
                    .body(bytes(&object))
                    .note(format!("{note} gone")),
            );
        }
    }
    cases
}

/// JSON pointers of all leaves outside of metadata and type.
fn leaves(object: &Value) -> Vec<(String, String)> {
    fn walk(value: &Value, path: &str, out: &mut Vec<String>) {
        match value {
            Value::Object(map) if !map.is_empty() => {
                for (key, value) in map {
                    walk(
                        value,
                        &format!("{path}/{}", key.replace('~', "~0").replace('/', "~1")),
                        out,
                    );
                }
            }
            Value::Array(items) if !items.is_empty() => {
                for (n, value) in items.iter().enumerate() {
                    walk(value, &format!("{path}/{n}"), out);
                }
            }
            _ => out.push(path.to_owned()),
        }
    }
    let mut out = Vec::new();
    walk(object, "", &mut out);
    out.retain(|path| !path.starts_with("/metadata") && path != "/kind" && path != "/apiVersion");
    out.into_iter().map(|path| (path.clone(), path)).collect()
}

pub(super) fn subresources(kind: &Kind) -> Vec<Case> {
    let mut cases = Vec::new();
    if kind.has("status") {
        let mut object = kind.object.clone();
        object["metadata"]["labels"] = json!({"from": "status"});
        cases.push(on(kind, "status", "GET", "/status"));
        cases.push(on(kind, "status", "PUT", "/status?dryRun=All").body(bytes(&object)));
        cases.push(on(kind, "status", "PUT", "/status?dryRun=All").body("{}"));
        cases.push(on(kind, "status", "POST", "/status").body(bytes(&object)));
        cases.push(on(kind, "status", "DELETE", "/status"));
        let conditions = json!({"status": {"conditions": [{"type": "Tested", "status": "True", "reason": "R", "message": "m", "lastTransitionTime": "2026-01-02T03:04:05Z"}]}});
        for media in [
            "application/merge-patch+json",
            "application/strategic-merge-patch+json",
        ] {
            cases.push(
                on(kind, "status", "PATCH", "/status?dryRun=All")
                    .media(media)
                    .body(bytes(&conditions)),
            );
        }
        let mut applied = kind.object.clone();
        applied["status"] = conditions["status"].clone();
        let apply = on(
            kind,
            "status",
            "PATCH",
            "/status?dryRun=All&fieldManager=diff&force=true",
        );
        cases.push(
            apply
                .media("application/apply-patch+yaml")
                .body(bytes(&applied))
                .managers(),
        );
    } else {
        cases.push(on(kind, "status", "GET", "/status"));
    }
    if kind.has("scale") {
        cases.push(on(kind, "scale", "GET", "/scale"));
        let scale = |change: Value| json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": {"name": kind.name}, "spec": change});
        for spec in [
            json!({"replicas": 2}),
            json!({}),
            json!({"replicas": -1}),
            json!({"replicas": "x"}),
        ] {
            cases.push(
                on(kind, "scale", "PUT", "/scale?dryRun=All").body(bytes(&scale(spec.clone()))),
            );
            cases.push(
                on(kind, "scale", "PATCH", "/scale?dryRun=All")
                    .media("application/merge-patch+json")
                    .body(bytes(&json!({"spec": spec}))),
            );
        }
        cases.push(on(kind, "scale", "PUT", "/scale?dryRun=All").body("{}"));
        cases
            .push(on(kind, "scale", "GET", "/scale").accept("application/vnd.kubernetes.protobuf"));
        cases.push(
            on(kind, "scale", "GET", "/scale")
                .accept("application/json;as=Table;v=v1;g=meta.k8s.io"),
        );
    } else {
        cases.push(on(kind, "scale", "GET", "/scale"));
    }
    cases
}

pub(super) fn deletes(kind: &Kind) -> Vec<Case> {
    let options = |body: Value| on(kind, "delete", "DELETE", "?dryRun=All").body(bytes(&body));
    let mut cases = vec![
        on(kind, "delete", "DELETE", "?dryRun=All"),
        on(kind, "delete", "DELETE", "?dryRun=x"),
        on(kind, "delete", "DELETE", "?propagationPolicy=x"),
        on(kind, "delete", "DELETE", "?gracePeriodSeconds=x"),
        on(
            kind,
            "delete",
            "DELETE",
            "?dryRun=All&propagationPolicy=Foreground",
        ),
        on(
            kind,
            "delete",
            "DELETE",
            "?dryRun=All&propagationPolicy=Orphan",
        ),
        on(
            kind,
            "delete",
            "DELETE",
            "?dryRun=All&gracePeriodSeconds=-1",
        ),
        options(json!({"preconditions": {"uid": "none"}})),
        options(json!({"preconditions": {"resourceVersion": "1"}})),
        options(json!({"propagationPolicy": "x"})),
        options(json!({"orphanDependents": true, "propagationPolicy": "Orphan"})),
        options(json!({"kind": "Pod", "apiVersion": "v1"})),
        options(json!({"kind": "DeleteOptions", "apiVersion": "v1", "unknown": 1})),
        on(kind, "delete", "DELETE", "").body("["),
        Case::new(
            "delete",
            &kind.kind,
            "DELETE",
            format!("{}/missing", kind.collection),
        ),
    ];
    if kind.collection_deletes {
        cases.push(at(kind, "delete", "DELETE", "?labelSelector=none%3Dsuch"));
        cases.push(at(kind, "delete", "DELETE", "?labelSelector=none+in+("));
        cases.push(at(kind, "delete", "DELETE", "?fieldSelector=spec.none%3Da"));
        cases.push(at(
            kind,
            "delete",
            "DELETE",
            "?labelSelector=none%3Dsuch&dryRun=x",
        ));
    } else {
        cases.push(at(kind, "delete", "DELETE", "?labelSelector=none%3Dsuch"));
    }
    // A finalizer holds it once.
    let hold = r#"{"metadata":{"finalizers":["example.com/hold"]}}"#;
    let release = r#"{"metadata":{"finalizers":null}}"#;
    let merge = |body: &str| {
        on(kind, "delete", "PATCH", "")
            .media("application/merge-patch+json")
            .body(body)
    };
    cases.extend([
        merge(hold),
        on(kind, "delete", "DELETE", "?gracePeriodSeconds=0"),
        on(kind, "delete", "GET", ""),
        merge(r#"{"metadata":{"labels":{"while":"deleting"}}}"#),
        merge(release).note("released").settle(kind.settle()),
        on(kind, "delete", "DELETE", "?gracePeriodSeconds=0")
            .needed()
            .note("again"),
        on(kind, "delete", "GET", ""),
    ]);
    cases
}
