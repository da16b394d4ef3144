//! Applies and updates as scripts, and the laws of sets.

use std::fmt::Write;

use expect_test::{Expect, expect};
use proptest::prelude::{Just, Strategy, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::{Request, Set, apply, update};
use crate::dom::Dom;
use crate::table::builtin;

/// Runs lines like `apply a {…}`, `force a {…}`, `update a {…}` on one object of a kind and
/// shows the object and its managers after each.
#[track_caller]
fn check(api_version: &str, kind: &str, script: &str, want: Expect) {
    let table = builtin();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let ty = table.kind(group, version, kind).unwrap();
    let mut live: Option<Dom> = None;
    let mut out = String::new();
    for (i, line) in script
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .enumerate()
    {
        let (verb, rest) = line.split_once(' ').unwrap();
        let (manager, json) = rest.split_once(' ').unwrap();
        let mut object = Dom::parse_json(json.as_bytes()).unwrap();
        let root = object.root();
        object.set_str(root, "apiVersion", api_version);
        object.set_str(root, "kind", kind);
        let time = format!("2026-01-01T00:00:{i:02}Z");
        let request = Request {
            table,
            ty,
            api_version,
            kind,
            manager,
            subresource: "",
            time: &time,
            ignored: None,
        };
        let result = match verb {
            "update" => {
                update(&request, live.as_ref(), &mut object);
                Ok(object)
            }
            verb => apply(&request, live.as_ref(), &object, verb == "force"),
        };
        match result {
            Ok(new) => {
                let _ = writeln!(out, "{}", show(&new));
                live = Some(new);
            }
            Err(error) => {
                let _ = writeln!(out, "{error}");
            }
        }
    }
    want.assert_eq(&out);
}

fn show(object: &Dom) -> String {
    let mut bare = object.clone();
    let root = bare.root();
    bare.remove(root, "apiVersion");
    bare.remove(root, "kind");
    super::managers::clear(&mut bare);
    let mut out = String::from_utf8(bare.to_json(root)).unwrap();
    for entry in object
        .as_ref()
        .get("metadata")
        .into_iter()
        .flat_map(|m| m.items("managedFields"))
    {
        let fields = entry.get("fieldsV1").unwrap();
        let (name, op) = (entry.str("manager"), entry.str("operation"));
        let _ = write!(
            out,
            "\n  {name} {op} {} {fields:?}",
            entry.str("time").get(17..19).unwrap_or("--")
        );
    }
    out
}

#[test]
fn ownership_of_scalars() {
    check(
        "apps/v1",
        "Deployment",
        r#"
        update c {"metadata":{"name":"d"},"spec":{"replicas":1,"paused":true}}
        apply a {"metadata":{"name":"d"},"spec":{"replicas":1}}
        apply b {"spec":{"replicas":2}}
        force b {"spec":{"replicas":2}}
        apply b {"spec":{"minReadySeconds":5}}
        apply a {"spec":{"replicas":9}}
    "#,
        expect![[r#"
            {"metadata":{"name":"d"},"spec":{"replicas":1,"paused":true}}
              c Update 00 {"f:spec":{"f:paused":{},"f:replicas":{}}}
            {"metadata":{"name":"d"},"spec":{"replicas":1,"template":{"metadata":{},"spec":{}},"strategy":{},"paused":true},"status":{}}
              a Apply -- {"f:spec":{"f:replicas":{}}}
              c Update 00 {"f:spec":{"f:paused":{},"f:replicas":{}}}
            Apply failed with 2 conflicts: conflicts with "a":
            - .spec.replicas
            conflicts with "c" using apps/v1:
            - .spec.replicas
            {"metadata":{"name":"d"},"spec":{"replicas":2,"template":{"metadata":{},"spec":{}},"strategy":{},"paused":true},"status":{}}
              b Apply 03 {"f:spec":{"f:replicas":{}}}
              c Update 00 {"f:spec":{"f:paused":{}}}
            {"metadata":{"name":"d"},"spec":{"template":{"metadata":{},"spec":{}},"strategy":{},"paused":true,"minReadySeconds":5},"status":{}}
              b Apply 04 {"f:spec":{"f:minReadySeconds":{}}}
              c Update 00 {"f:spec":{"f:paused":{}}}
            {"metadata":{"name":"d"},"spec":{"template":{"metadata":{},"spec":{}},"strategy":{},"minReadySeconds":5,"paused":true,"replicas":9},"status":{}}
              b Apply 04 {"f:spec":{"f:minReadySeconds":{}}}
              a Apply 05 {"f:spec":{"f:replicas":{}}}
              c Update 00 {"f:spec":{"f:paused":{}}}
        "#]],
    );
}

#[test]
fn lists_of_maps() {
    check(
        "v1",
        "Pod",
        r#"
        apply a {"spec":{"containers":[{"name":"x","image":"1","ports":[{"containerPort":80}]},{"name":"y","image":"1"}]}}
        apply b {"spec":{"containers":[{"name":"z","image":"1"}]}}
        apply b {"spec":{"containers":[{"name":"x","image":"2"}]}}
        apply a {"spec":{"containers":[{"name":"x","image":"1","ports":[{"containerPort":81}]}]}}
        apply b {"spec":{}}
    "#,
        expect![[r#"
            {"metadata":{},"spec":{"containers":[{"name":"x","image":"1","ports":[{"containerPort":80}]},{"name":"y","image":"1"}]},"status":{}}
              a Apply 00 {"f:spec":{"f:containers":{"k:{\"name\":\"x\"}":{".":{},"f:image":{},"f:name":{},"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}}},"k:{\"name\":\"y\"}":{".":{},"f:image":{},"f:name":{}}}}}
            {"metadata":{},"spec":{"containers":[{"name":"x","image":"1","ports":[{"containerPort":80}],"resources":{}},{"name":"y","image":"1","resources":{}},{"name":"z","image":"1"}]},"status":{}}
              a Apply 00 {"f:spec":{"f:containers":{"k:{\"name\":\"x\"}":{".":{},"f:image":{},"f:name":{},"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}}},"k:{\"name\":\"y\"}":{".":{},"f:image":{},"f:name":{}}}}}
              b Apply 01 {"f:spec":{"f:containers":{"k:{\"name\":\"z\"}":{".":{},"f:image":{},"f:name":{}}}}}
            Apply failed with 1 conflict: conflict with "a": .spec.containers[name="x"].image
            {"metadata":{},"spec":{"containers":[{"name":"x","image":"1","ports":[{"containerPort":81}],"resources":{}},{"name":"z","image":"1","resources":{}}]},"status":{}}
              b Apply 01 {"f:spec":{"f:containers":{"k:{\"name\":\"z\"}":{".":{},"f:image":{},"f:name":{}}}}}
              a Apply 03 {"f:spec":{"f:containers":{"k:{\"name\":\"x\"}":{".":{},"f:image":{},"f:name":{},"f:ports":{"k:{\"containerPort\":81,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}}}}}}
            {"metadata":{},"spec":{"containers":[{"name":"x","image":"1","ports":[{"containerPort":81}],"resources":{}}]},"status":{}}
              a Apply 03 {"f:spec":{"f:containers":{"k:{\"name\":\"x\"}":{".":{},"f:image":{},"f:name":{},"f:ports":{"k:{\"containerPort\":81,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}}}}}}
              b Apply 04 {"f:spec":{}}
        "#]],
    );
}

#[test]
fn sets_maps_and_atomic_values() {
    check(
        "v1",
        "ConfigMap",
        r#"
        apply a {"metadata":{"finalizers":["x/1","x/2"],"labels":{"k":"1"}},"data":{"a":"1"}}
        apply b {"metadata":{"finalizers":["x/2","x/3"]},"data":{"b":"1"}}
        apply a {"metadata":{"finalizers":["x/1"]},"data":{}}
        update c {"metadata":{"finalizers":["x/1"]},"data":{"b":"2"}}
    "#,
        expect![[r#"
            {"metadata":{"finalizers":["x/1","x/2"],"labels":{"k":"1"}},"data":{"a":"1"}}
              a Apply 00 {"f:data":{"f:a":{}},"f:metadata":{"f:finalizers":{"v:\"x/1\"":{},"v:\"x/2\"":{}},"f:labels":{"f:k":{}}}}
            {"metadata":{"labels":{"k":"1"},"finalizers":["x/1","x/2","x/3"]},"data":{"a":"1","b":"1"}}
              a Apply 00 {"f:data":{"f:a":{}},"f:metadata":{"f:finalizers":{"v:\"x/1\"":{},"v:\"x/2\"":{}},"f:labels":{"f:k":{}}}}
              b Apply 01 {"f:data":{"f:b":{}},"f:metadata":{"f:finalizers":{"v:\"x/2\"":{},"v:\"x/3\"":{}}}}
            {"metadata":{"finalizers":["x/1","x/2","x/3"]},"data":{"b":"1"}}
              b Apply 01 {"f:data":{"f:b":{}},"f:metadata":{"f:finalizers":{"v:\"x/2\"":{},"v:\"x/3\"":{}}}}
              a Apply 02 {"f:data":{},"f:metadata":{"f:finalizers":{"v:\"x/1\"":{}}}}
            {"metadata":{"finalizers":["x/1"]},"data":{"b":"2"}}
              a Apply 02 {"f:data":{},"f:metadata":{"f:finalizers":{"v:\"x/1\"":{}}}}
              c Update 03 {"f:data":{"f:b":{}}}
        "#]],
    );
    check(
        "v1",
        "Service",
        r#"
        apply a {"spec":{"selector":{"x":"1"},"ports":[{"port":80},{"port":80,"protocol":"UDP"}]}}
        apply b {"spec":{"selector":{"y":"1"},"ports":[{"port":80,"name":"n"}]}}
    "#,
        expect![[r#"
            {"metadata":{},"spec":{"selector":{"x":"1"},"ports":[{"port":80},{"port":80,"protocol":"UDP"}]},"status":{"loadBalancer":{}}}
              a Apply 00 {"f:spec":{"f:ports":{"k:{\"port\":80,\"protocol\":\"TCP\"}":{".":{},"f:port":{}},"k:{\"port\":80,\"protocol\":\"UDP\"}":{".":{},"f:port":{},"f:protocol":{}}},"f:selector":{}}}
            Apply failed with 1 conflict: conflict with "a": .spec.selector
        "#]],
    );
}

#[test]
fn before_first_apply_and_resets() {
    check(
        "v1",
        "ConfigMap",
        r#"
        update a {"data":{"a":"1"},"metadata":{"managedFields":[]}}
        update a {"data":{"a":"2"},"metadata":{"managedFields":[{}]}}
        update a {"data":{"a":"3"}}
        apply b {"data":{"a":"4"}}
        force b {"data":{"a":"4"}}
    "#,
        expect![[r#"
            {"data":{"a":"1"},"metadata":{}}
              a Update 00 {"f:data":{".":{},"f:a":{}}}
            {"data":{"a":"2"},"metadata":{}}
            {"data":{"a":"3"}}
            Apply failed with 1 conflict: conflict with "before-first-apply" using v1: .data.a
            {"metadata":{},"data":{"a":"4"}}
              b Apply 04 {"f:data":{"f:a":{}}}
              before-first-apply Update 04 {"f:data":{}}
        "#]],
    );
}

#[test]
fn kubectl_takes_over_from_client_side_apply() {
    check(
        "v1",
        "ConfigMap",
        r#"
        update kubectl-client-side-apply {"metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"data\":{\"a\":\"1\"}}"}},"data":{"a":"1"}}
        apply kubectl {"data":{"a":"2"}}
    "#,
        expect![[r#"
            {"metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"data\":{\"a\":\"1\"}}"}},"data":{"a":"1"}}
              kubectl-client-side-apply Update 00 {"f:data":{".":{},"f:a":{}},"f:metadata":{"f:annotations":{".":{},"f:kubectl.kubernetes.io/last-applied-configuration":{}}}}
            {"metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{\"apiVersion\":\"v1\",\"data\":{\"a\":\"2\"},\"kind\":\"ConfigMap\"}\n"}},"data":{"a":"2"}}
              kubectl Apply 01 {"f:data":{"f:a":{}}}
              kubectl-client-side-apply Update 00 {"f:data":{},"f:metadata":{"f:annotations":{".":{},"f:kubectl.kubernetes.io/last-applied-configuration":{}}}}
        "#]],
    );
}

#[test]
fn misfits() {
    check(
        "v1",
        "Pod",
        r#"
        apply a {"spec":{"containerz":[]}}
        apply a {"spec":{"containers":[{"image":"x"}]}}
        apply a {"spec":{"containers":[{"name":"x"},{"name":"x"}]}}
        apply a {"spec":{"containers":3}}
        apply a {"spec":[]}
        apply a {"metadata":{"managedFields":[{}]}}
    "#,
        expect![[r#"
            failed to create typed patch object (/; /v1, Kind=Pod): .spec.containerz: field not declared in schema
            {"metadata":{},"spec":{"containers":[{"image":"x"}]},"status":{}}
              a Apply 01 {"f:spec":{"f:containers":{"k:{\"name\":\"\"}":{".":{},"f:image":{}}}}}
            failed to create typed patch object (/; /v1, Kind=Pod): .spec.containers: duplicate entries for key [name="x"]
            failed to create typed patch object (/; /v1, Kind=Pod): .spec.containers: expected list, got &{3}
            failed to create typed patch object (/; /v1, Kind=Pod): .spec: expected map, got &{[]}
            metadata.managedFields must be nil
        "#]],
    );
}

#[test]
fn many_updaters_share_a_bucket() {
    let lines: Vec<_> = (0..13)
        .map(|i| {
            format!(
                r#"update m{i:02} {{"data":{{{}}}}}"#,
                (0..=i)
                    .map(|k| format!(r#""k{k}":"""#))
                    .collect::<Vec<_>>()
                    .join(",")
            )
        })
        .collect();
    let table = builtin();
    let ty = table.kind("", "v1", "ConfigMap").unwrap();
    let mut live: Option<Dom> = None;
    for (i, line) in lines.iter().enumerate() {
        let (head, json) = line.split_once('{').unwrap();
        let mut object = Dom::parse_json(format!("{{{json}").as_bytes()).unwrap();
        let time = format!("2026-01-01T00:00:{i:02}Z");
        let request = Request {
            table,
            ty,
            api_version: "v1",
            kind: "ConfigMap",
            manager: head[7..].trim(),
            subresource: "",
            time: &time,
            ignored: None,
        };
        update(&request, live.as_ref(), &mut object);
        live = Some(object);
    }
    let live = live.unwrap();
    let names: Vec<_> = live
        .as_ref()
        .get("metadata")
        .unwrap()
        .items("managedFields")
        .map(|m| m.str("manager").to_owned())
        .collect();
    assert_eq!(names.len(), 10);
    assert_eq!(names[0], "ancient-changes");
}

#[test]
fn sets_read_back() {
    let text = r#"{"f:metadata":{"f:finalizers":{".":{},"v:\"x/1\"":{}}},"f:spec":{"f:ports":{".":{},"k:{\"port\":80,\"protocol\":\"TCP\"}":{".":{},"f:port":{}}}}}"#;
    let dom = Dom::parse_json(text.as_bytes()).unwrap();
    let set = Set::read(&dom, dom.root());
    expect![[r#"
        .metadata.finalizers
        .metadata.finalizers[="x/1"]
        .spec.ports
        .spec.ports[port=80,protocol="TCP"]
        .spec.ports[port=80,protocol="TCP"].port"#]]
    .assert_eq(&set.paths().join("\n"));
    let mut out = Dom::new();
    let node = set.write(&mut out);
    assert_eq!(String::from_utf8(out.to_json(node)).unwrap(), text);
}

fn set() -> impl Strategy<Value = Set> {
    let path = prop::collection::vec(prop_oneof![Just("a"), Just("b"), Just("c")], 1..4);
    prop::collection::vec(path, 0..6).prop_map(|paths| {
        let paths: Vec<&[&str]> = paths.iter().map(Vec::as_slice).collect();
        Set::of_fields(&paths)
    })
}

fn config() -> impl Strategy<Value = String> {
    let container =
        ("[xyz]", "[12]", prop::option::of(80..82_u16)).prop_map(|(name, image, port)| {
            let ports = port
                .map(|p| format!(r#","ports":[{{"containerPort":{p}}}]"#))
                .unwrap_or_default();
            format!(r#"{{"name":"{name}","image":"{image}"{ports}}}"#)
        });
    let labels = prop::collection::btree_map("[kl]", "[12]", 0..3);
    (prop::collection::vec(container, 0..4), labels, prop::option::of("[ab]")).prop_map(|(c, l, node)| {
        let labels: Vec<_> = l.iter().map(|(k, v)| format!(r#""{k}":"{v}""#)).collect();
        let node = node.map(|n| format!(r#","nodeName":"{n}""#)).unwrap_or_default();
        format!(r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"labels":{{{}}}}},"spec":{{"containers":[{}]{node}}}}}"#, labels.join(","), c.join(","))
    })
}

proptest! {
    #[test]
    fn set_laws(a in set(), b in set(), c in set()) {
        prop_assert_eq!(a.union(&b).paths(), b.union(&a).paths());
        prop_assert_eq!(a.intersection(&b).paths(), b.intersection(&a).paths());
        prop_assert!(a.difference(&b).intersection(&b).is_empty());
        let parts = a.difference(&b).union(&a.intersection(&b));
        prop_assert_eq!(parts.paths(), a.paths());
        let (left, right) = (a.union(&b).difference(&c), a.difference(&c).union(&b.difference(&c)));
        prop_assert_eq!(left.paths(), right.paths());
        let mut dom = Dom::new();
        let node = a.write(&mut dom);
        prop_assert_eq!(Set::read(&dom, node).paths(), a.paths());
    }

    /// A forced apply makes its fields true and is idempotent; applying nothing takes them back.
    #[test]
    fn apply_laws(first in config(), second in config()) {
        let table = builtin();
        let ty = table.kind("", "v1", "Pod").unwrap();
        let request = |manager, time| Request {
            table, ty, api_version: "v1", kind: "Pod", manager, subresource: "", time, ignored: None,
        };
        let parse = |text: &str| Dom::parse_json(text.as_bytes()).unwrap();
        let (t0, t1) = ("2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z");
        let Ok(live) = apply(&request("a", t0), None, &parse(&first), true) else { return Ok(()) };
        let Ok(both) = apply(&request("b", t1), Some(&live), &parse(&second), true) else { return Ok(()) };
        let again = apply(&request("b", t1), Some(&both), &parse(&second), false).unwrap();
        let canonical = |dom: &Dom| String::from_utf8(crate::encode_json(table, ty, dom, dom.root())).unwrap();
        prop_assert_eq!(canonical(&again), canonical(&both));
        let nothing = parse(r#"{"apiVersion":"v1","kind":"Pod"}"#);
        let back = apply(&request("b", t1), Some(&both), &nothing, false).unwrap();
        let managers = back.as_ref().get("metadata").into_iter().flat_map(|m| m.items("managedFields"));
        prop_assert!(managers.into_iter().all(|m| m.str("manager") == "a"));
    }
}
