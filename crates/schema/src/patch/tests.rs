//! Patches as data: document, patch, result.

use std::collections::HashMap;

use expect_test::{Expect, expect};
use proptest::prelude::{
    Just, Strategy as _, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest,
};

use super::{
    FieldRule, Lookup, PatchError, Strategy, json_patch, merge, strategic, strategic_object,
};
use crate::dom::Dom;

fn dom(text: &str) -> Dom {
    Dom::parse_json(text.as_bytes()).unwrap()
}

fn show(dom: &Dom, result: Result<(), PatchError>) -> String {
    match result {
        Ok(()) => String::from_utf8(dom.to_json(dom.root())).unwrap(),
        Err(error) => format!("{:?}: {error}", error.class),
    }
}

/// A small type: `m` and `c` merge by `n`, `p` merges as a set, `r` replaces, `s` nests itself.
struct Types(HashMap<&'static str, (Strategy, &'static str)>);

impl Lookup for Types {
    type Type = ();

    fn field(&self, (): (), field: &str) -> FieldRule<'_, ()> {
        let (strategy, merge_key) = self.0.get(field).copied().unwrap_or_default();
        FieldRule {
            strategy,
            merge_key,
            of: Some(()),
        }
    }
}

fn types() -> Types {
    Types(HashMap::from([
        ("m", (Strategy::Merge, "n")),
        ("c", (Strategy::Merge, "n")),
        ("p", (Strategy::Merge, "")),
        ("r", (Strategy::Replace, "")),
    ]))
}

#[track_caller]
fn check_merge(document: &str, patch: &str, want: Expect) {
    let mut document = dom(document);
    let result = merge(&mut document, &dom(patch));
    want.assert_eq(&show(&document, result));
}

#[track_caller]
fn check_json(document: &str, patch: &str, want: Expect) {
    let mut document = dom(document);
    let result = json_patch(&mut document, &dom(patch));
    want.assert_eq(&show(&document, result));
}

#[track_caller]
fn check_strategic(document: &str, patch: &str, want: Expect) {
    let mut document = dom(document);
    let result = strategic(&mut document, &dom(patch), &types(), Some(()));
    want.assert_eq(&show(&document, result));
}

#[test]
fn merge_cases_of_the_rfc() {
    check_merge(r#"{"a":"b"}"#, r#"{"a":"c"}"#, expect![[r#"{"a":"c"}"#]]);
    check_merge(
        r#"{"a":"b"}"#,
        r#"{"b":"c"}"#,
        expect![[r#"{"a":"b","b":"c"}"#]],
    );
    check_merge(
        r#"{"a":"b","b":"c"}"#,
        r#"{"a":null}"#,
        expect![[r#"{"b":"c"}"#]],
    );
    check_merge(r#"{"a":["b"]}"#, r#"{"a":"c"}"#, expect![[r#"{"a":"c"}"#]]);
    check_merge(
        r#"{"a":{"b":"c"}}"#,
        r#"{"a":{"b":"d","c":null}}"#,
        expect![[r#"{"a":{"b":"d"}}"#]],
    );
    check_merge(
        r#"{"a":[{"b":"c"}]}"#,
        r#"{"a":[1]}"#,
        expect![[r#"{"a":[1]}"#]],
    );
    check_merge(
        r#"{"e":null}"#,
        r#"{"a":1}"#,
        expect![[r#"{"e":null,"a":1}"#]],
    );
    check_merge(
        r#"{}"#,
        r#"{"a":{"bb":{"ccc":null}}}"#,
        expect![[r#"{"a":{"bb":{}}}"#]],
    );
    check_merge(
        r#"{"a":{}}"#,
        r#"{"a":[{"b":null},null]}"#,
        expect![[r#"{"a":[{"b":null},null]}"#]],
    );
    check_merge(
        r#"{"a":1}"#,
        r#"["x"]"#,
        expect![
            "BadRequest: error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"
        ],
    );
    check_merge(
        r#"{"a":1}"#,
        "null",
        expect!["BadRequest: Invalid JSON Patch"],
    );
}

#[test]
fn json_operations() {
    check_json(
        r#"{"a":[1,2]}"#,
        r#"[{"op":"add","path":"/a/1","value":9},{"op":"add","path":"/a/-","value":3}]"#,
        expect![[r#"{"a":[1,9,2,3]}"#]],
    );
    check_json(
        r#"{"a":[1,2]}"#,
        r#"[{"op":"remove","path":"/a/-1"},{"op":"replace","path":"/b","value":{}}]"#,
        expect![[r#"{"a":[1],"b":{}}"#]],
    );
    check_json(
        r#"{"a/b":{"~":1}}"#,
        r#"[{"op":"move","from":"/a~1b/~0","path":"/c"}]"#,
        expect![[r#"{"a/b":{},"c":1}"#]],
    );
    check_json(
        r#"{"a":{"b":1}}"#,
        r#"[{"op":"copy","from":"/a","path":"/a/c"},{"op":"test","path":"/a/c/b","value":1}]"#,
        expect![[r#"{"a":{"b":1,"c":{"b":1}}}"#]],
    );
    check_json(
        r#"{"a":null}"#,
        r#"[{"op":"test","path":"/a","value":null},{"op":"test","path":"/b","value":null}]"#,
        expect![[r#"{"a":null}"#]],
    );
    check_json(
        r#"{"a":1}"#,
        r#"[{"op":"replace","path":"","value":{"b":2}}]"#,
        expect![[r#"{"b":2}"#]],
    );
}

#[test]
fn json_refusals() {
    check_json(
        r#"{"a":1}"#,
        r#"[{"op":"test","path":"/a","value":2}]"#,
        expect!["Unprocessable: testing value /a failed: test failed"],
    );
    check_json(
        r#"{"a":1}"#,
        r#"[{"op":"remove","path":"/b"}]"#,
        expect![
            "Unprocessable: error in remove for path: '/b': Unable to remove nonexistent key: b: missing value"
        ],
    );
    check_json(
        r#"{"a":1}"#,
        r#"[{"op":"add","path":"/b/c","value":1}]"#,
        expect![[
            r#"Unprocessable: add operation does not apply: doc is missing path: "/b/c": missing value"#
        ]],
    );
    check_json(
        r#"{"a":1}"#,
        r#"[{"op":"add","path":"/a/c","value":1}]"#,
        expect![[
            r#"Unprocessable: add operation does not apply: doc is missing path: "/a/c": missing value"#
        ]],
    );
    check_json(
        r#"{"a":[]}"#,
        r#"[{"op":"add","path":"/a/x","value":1}]"#,
        expect![[
            r#"Unprocessable: error in add for path: '/a/x': value was not a proper array index: 'x': strconv.Atoi: parsing "x": invalid syntax"#
        ]],
    );
    check_json(
        r#"{"a":[]}"#,
        r#"[{"op":"add","path":"/a/2","value":1}]"#,
        expect![
            "Unprocessable: error in add for path: '/a/2': Unable to access invalid index: 2: invalid index referenced"
        ],
    );
    check_json(
        r#"{"a":[]}"#,
        r#"[{"op":"replace","path":"/a/0","value":1}]"#,
        expect![
            "Unprocessable: replace operation does not apply: doc is missing key: /a/0: missing value"
        ],
    );
    check_json(
        r#"{"a":[]}"#,
        r#"[{"op":"frob","path":"/a/0"}]"#,
        expect!["Unprocessable: Unexpected kind: frob"],
    );
    check_json(
        r#"{"a":[]}"#,
        r#"[{"path":"/a/0"}]"#,
        expect!["Unprocessable: Unexpected kind: unknown"],
    );
    check_json(
        r#"{"a":[]}"#,
        r#"[{"op":"add"}]"#,
        expect!["Unprocessable: add operation failed to decode path: missing value"],
    );
    check_json(
        r#"{"a":[]}"#,
        r#"[{"op":"replace","path":3}]"#,
        expect![
            "Unprocessable: replace operation failed to decode path: json: cannot unmarshal number into Go value of type string"
        ],
    );
    check_json(
        r#"{"a":[]}"#,
        r#"{"op":"add"}"#,
        expect![
            "BadRequest: error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"
        ],
    );
    check_json(
        r#"{"a":[]}"#,
        r#"[3]"#,
        expect![
            "BadRequest: error decoding patch: json: cannot unmarshal number into Go value of type handlers.jsonPatchOp"
        ],
    );
    let many = format!("[{}]", vec!["null"; 10_001].join(","));
    check_json(
        "{}",
        &many,
        expect!["TooLarge: The allowed maximum operations in a JSON patch is 10000, got 10001"],
    );
}

#[test]
fn json_copies_are_bounded() {
    let deep = vec![r#"{"op":"copy","from":"/a","path":"/a/x"}"#; 600].join(",");
    let wide = vec![r#"{"op":"copy","from":"/a","path":"/a/-"}"#; 200].join(",");
    check_json(
        r#"{"a":{}}"#,
        &format!("[{deep}]"),
        expect!["Unprocessable: exceeded max depth"],
    );
    check_json(
        r#"{"a":[1,2,3,4]}"#,
        &format!("[{wide}]"),
        expect![
            "Unprocessable: Unable to complete the copy, the accumulated size increase of copy is 5242851, exceeding the limit 3145728"
        ],
    );
}

#[test]
fn strategic_maps() {
    check_strategic(
        r#"{"s":{"a":1,"b":2}}"#,
        r#"{"s":{"b":null,"c":3}}"#,
        expect![[r#"{"s":{"a":1,"c":3}}"#]],
    );
    check_strategic(
        r#"{"s":{"a":1}}"#,
        r#"{"s":{"$patch":"replace","c":3}}"#,
        expect![[r#"{"s":{"c":3}}"#]],
    );
    check_strategic(
        r#"{"s":{"a":1}}"#,
        r#"{"s":{"$patch":"delete"}}"#,
        expect![[r#"{"s":{}}"#]],
    );
    check_strategic(
        r#"{"a":1}"#,
        r#"{"s":{"$patch":"delete"},"t":{"x":null,"y":1}}"#,
        expect![[r#"{"a":1,"t":{"y":1}}"#]],
    );
    check_strategic(
        r#"{"r":{"a":1}}"#,
        r#"{"r":{"b":2}}"#,
        expect![[r#"{"r":{"b":2}}"#]],
    );
    check_strategic(
        r#"{"s":{"a":1}}"#,
        r#"{"s":{"$patch":"frob"}}"#,
        expect!["Other: unknown patch type: frob in map: map[$patch:frob]"],
    );
    check_strategic(
        r#"{"s":{"a":1,"b":2,"c":3}}"#,
        r#"{"s":{"$retainKeys":["b","d"],"d":4}}"#,
        expect![[r#"{"s":{"b":2,"d":4}}"#]],
    );
    check_strategic(
        r#"{"s":{"a":1}}"#,
        r#"{"s":{"$retainKeys":["b"],"d":4}}"#,
        expect!["BadRequest: invalid patch format of retainKeys"],
    );
}

#[test]
fn strategic_lists_of_maps() {
    check_strategic(
        r#"{"m":[{"n":"a","v":1},{"n":"b"}]}"#,
        r#"{"m":[{"n":"a","w":2},{"n":"c"}]}"#,
        expect![[r#"{"m":[{"n":"a","v":1,"w":2},{"n":"c"},{"n":"b"}]}"#]],
    );
    check_strategic(
        r#"{"m":[{"n":"a"},{"n":"b"},{"n":"a"}]}"#,
        r#"{"m":[{"n":"a","$patch":"delete"}]}"#,
        expect![[r#"{"m":[{"n":"b"}]}"#]],
    );
    check_strategic(
        r#"{"m":[{"n":"a"}]}"#,
        r#"{"m":[{"$patch":"replace"},{"n":"z"}]}"#,
        expect![[r#"{"m":[{"n":"z"}]}"#]],
    );
    check_strategic(
        r#"{"m":[{"n":"a"}]}"#,
        r#"{"m":[{"v":1}]}"#,
        expect!["Other: map: map[v:1] does not contain declared merge key: n"],
    );
    check_strategic(
        r#"{"x":[{"n":"a"}]}"#,
        r#"{"x":[{"v":1}]}"#,
        expect![[r#"{"x":[{"v":1}]}"#]],
    );
    check_strategic(
        r#"{"m":[{"n":"a"}]}"#,
        r#"{"m":["a"]}"#,
        expect!["Other: list element types are not identical: [[map[n:a]] [a]]"],
    );
    check_strategic(
        r#"{"m":[{"n":"a","c":[{"n":1,"q":1}]}]}"#,
        r#"{"m":[{"n":"a","c":[{"n":1,"q":2},{"n":2}]}]}"#,
        expect![[r#"{"m":[{"n":"a","c":[{"n":1,"q":2},{"n":2}]}]}"#]],
    );
    check_strategic(
        r#"{"m":[{"n":"a"},{"n":"b"},{"n":"c"}]}"#,
        r#"{"$setElementOrder/m":[{"n":"c"},{"n":"d"},{"n":"a"}],"m":[{"n":"d","v":1}]}"#,
        expect![[r#"{"m":[{"n":"b"},{"n":"c"},{"n":"d","v":1},{"n":"a"}]}"#]],
    );
    check_strategic(
        r#"{"m":[{"n":"a"},{"n":"b"}]}"#,
        r#"{"$setElementOrder/m":[{"n":"a"}],"m":[{"$patch":"delete","n":"b"}]}"#,
        expect![[r#"{"m":[{"n":"a"}]}"#]],
    );
    check_strategic(
        r#"{"m":[{"n":"a"},{"n":"b"}]}"#,
        r#"{"$setElementOrder/m":[{"n":"a"}],"m":[{"n":"b"}]}"#,
        expect![[r#"
            Other: The order in patch list:
            [map[n:b]]
             doesn't match $setElementOrder list:
            [map[n:a]]
        "#]],
    );
}

#[test]
fn strategic_lists_of_scalars() {
    check_strategic(
        r#"{"p":[1,2,3]}"#,
        r#"{"p":[3,4]}"#,
        expect![[r#"{"p":[1,2,3,4]}"#]],
    );
    check_strategic(
        r#"{"p":[1,2,3]}"#,
        r#"{"$deleteFromPrimitiveList/p":[2]}"#,
        expect![[r#"{"p":[1,3]}"#]],
    );
    check_strategic(
        r#"{"p":["a","b"]}"#,
        r#"{"$setElementOrder/p":["c","a"],"p":["c"],"$deleteFromPrimitiveList/p":["b"]}"#,
        expect![[r#"{"p":["c","a"]}"#]],
    );
    check_strategic(
        r#"{"p":[1]}"#,
        r#"{"p":["a"]}"#,
        expect!["Other: list element types are not identical: [[1] [a]]"],
    );
    check_strategic(
        r#"{"p":[1]}"#,
        r#"{"$setElementOrder/p":3}"#,
        expect!["Other: expected a []interface {}, but received a int64"],
    );
    check_strategic(r#"{"q":[1]}"#, r#"{"q":[2]}"#, expect![[r#"{"q":[2]}"#]]);
    check_strategic(
        r#"{"a":1}"#,
        r#"[]"#,
        expect![
            "BadRequest: json: cannot unmarshal array into Go value of type map[string]interface {}"
        ],
    );
}

#[track_caller]
fn check_pod(document: &str, patch: &str, want: Expect) {
    let table = crate::table::builtin();
    let ty = table.kind("", "v1", "Pod").unwrap();
    let mut document = dom(document);
    let result = strategic_object(table, ty, &mut document, &dom(patch));
    want.assert_eq(&show(&document, result));
}

#[test]
fn strategic_pods() {
    check_pod(
        r#"{"spec":{"containers":[{"name":"a","image":"1","env":[{"name":"X","value":"1"}]}],"tolerations":[{"key":"a"}]}}"#,
        r#"{"spec":{"$setElementOrder/containers":[{"name":"a"},{"name":"b"}],"containers":[{"name":"a","image":"2","env":[{"name":"Y"}]},{"name":"b"}],"tolerations":[{"key":"b"}]}}"#,
        expect![[
            r#"{"spec":{"containers":[{"name":"a","image":"2","env":[{"name":"Y"},{"name":"X","value":"1"}]},{"name":"b"}],"tolerations":[{"key":"b"}]}}"#
        ]],
    );
    check_pod(
        r#"{"metadata":{"finalizers":["a","b"],"labels":{"x":"1"},"ownerReferences":[{"uid":"1"}]}}"#,
        r#"{"metadata":{"finalizers":["c"],"$deleteFromPrimitiveList/finalizers":["a"],"labels":{"x":null,"y":"2"},"ownerReferences":[{"uid":"2"}]}}"#,
        expect![[
            r#"{"metadata":{"finalizers":["c","b"],"labels":{"y":"2"},"ownerReferences":[{"uid":"2"},{"uid":"1"}]}}"#
        ]],
    );
    check_pod(
        r#"{"spec":{"volumes":[{"name":"v","emptyDir":{}}]},"status":{"conditions":[{"type":"Ready","status":"False"}]}}"#,
        r#"{"spec":{"volumes":[{"$retainKeys":["name","secret"],"name":"v","secret":{"secretName":"s"}}]},"status":{"conditions":[{"type":"Ready","status":"True"}],"podIPs":[{"ip":"1"}]}}"#,
        expect![[
            r#"{"spec":{"volumes":[{"name":"v","secret":{"secretName":"s"}}]},"status":{"conditions":[{"type":"Ready","status":"True"}],"podIPs":[{"ip":"1"}]}}"#
        ]],
    );
    check_pod(
        r#"{"spec":{"containers":[{"name":"a"}]}}"#,
        r#"{"spec":{"containers":[{"image":"x"}]}}"#,
        expect!["Other: map: map[image:x] does not contain declared merge key: name"],
    );
}

fn json() -> impl proptest::strategy::Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|b| b.to_string()),
        (-3..3_i64).prop_map(|n| n.to_string()),
        "\"[ab]{0,2}\"".prop_map(|s| s),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        let key = prop_oneof![
            Just("a"),
            Just("n"),
            Just("m"),
            Just("p"),
            Just("r"),
            Just("$patch"),
            Just("$retainKeys"),
            Just("$setElementOrder/m"),
            Just("$setElementOrder/p"),
            Just("$deleteFromPrimitiveList/p"),
            Just("op"),
            Just("path"),
            Just("from"),
            Just("value"),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|v| format!("[{}]", v.join(","))),
            prop::collection::btree_map(key, inner, 0..5).prop_map(|m| {
                let all: Vec<_> = m.into_iter().map(|(k, v)| format!("\"{k}\":{v}")).collect();
                format!("{{{}}}", all.join(","))
            }),
        ]
    })
}

fn operations() -> impl proptest::strategy::Strategy<Value = String> {
    let path = "(/(a|m|0|1|-|-1|~0)){0,3}";
    let op = prop_oneof![
        Just("add"),
        Just("remove"),
        Just("replace"),
        Just("move"),
        Just("copy"),
        Just("test")
    ];
    let one = (op, path, path, json()).prop_map(|(op, path, from, value)| {
        format!(r#"{{"op":"{op}","path":"{path}","from":"{from}","value":{value}}}"#)
    });
    prop::collection::vec(one, 0..8).prop_map(|all| format!("[{}]", all.join(",")))
}

/// Every node that can be reached can be written and read again.
#[track_caller]
fn is_sound(dom: &Dom) {
    let text = dom.to_json(dom.root());
    let again = Dom::parse_json(&text).unwrap();
    assert!(
        again.equal(again.root(), dom, dom.root()),
        "{}",
        String::from_utf8_lossy(&text)
    );
}

proptest! {
    #[test]
    fn merge_is_idempotent(document in json(), patch in json()) {
        let patch = dom(&patch);
        let mut once = dom(&document);
        // Upstream keeps nulls inside of a list that takes an object's place, and drops them
        // when the list takes a list's place: the law holds from the second time on.
        if merge(&mut once, &patch).is_ok() && merge(&mut once, &patch).is_ok() {
            is_sound(&once);
            let mut twice = once.clone();
            prop_assert!(merge(&mut twice, &patch).is_ok());
            prop_assert_eq!(twice.to_json(twice.root()), once.to_json(once.root()));
        }
    }

    #[test]
    fn any_strategic_patch_is_safe(document in json(), patch in json()) {
        let mut document = dom(&document);
        if strategic(&mut document, &dom(&patch), &types(), Some(())).is_ok() {
            is_sound(&document);
        }
    }

    #[test]
    fn any_json_patch_is_safe(document in json(), patch in operations(), other in json()) {
        for patch in [patch, other] {
            let mut document = dom(&document);
            if json_patch(&mut document, &dom(&patch)).is_ok() {
                is_sound(&document);
            }
        }
    }
}
