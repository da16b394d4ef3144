//! Rules of a definition against objects, as a table.

use expect_test::{Expect, expect};
use schema::Dom;

use super::compile;

const SCHEMA: &str = r#"{"type":"object",
"x-kubernetes-validations":[{"rule":"self.metadata.name.startsWith('a')","message":"must start with a"}],
"properties":{"spec":{"type":"object",
 "x-kubernetes-validations":[
  {"rule":"self.min <= self.max","messageExpression":"'min ' + string(self.min) + ' is over ' + string(self.max)","fieldPath":".min"},
  {"rule":"!has(self.class) || self.class == oldSelf.class","message":"class is immutable"},
  {"rule":"oldSelf.hasValue() || self.max < 100","optionalOldSelf":true,"reason":"FieldValueForbidden","message":"new ones are small"}],
 "properties":{"min":{"type":"integer","x-kubernetes-validations":[{"rule":"self >= 0"}]},
  "max":{"type":"integer"},"class":{"type":"string"},
  "when":{"type":"string","format":"date-time","x-kubernetes-validations":[{"rule":"self.getFullYear() > 2000"}]},
  "namespace":{"type":"string"},
  "parts":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["name"],
   "items":{"type":"object","x-kubernetes-validations":[{"rule":"self.size >= oldSelf.size","message":"parts only grow"}],
    "properties":{"name":{"type":"string"},"size":{"type":"integer"}}}},
  "labels":{"type":"object","additionalProperties":{"type":"string","x-kubernetes-validations":[{"rule":"self != 'bad'"}]}}}}}}"#;

#[track_caller]
fn check(spec: &str, old: Option<&str>, expected: Expect) {
    let schema = Dom::parse_json(SCHEMA.as_bytes()).unwrap();
    let rules = compile(schema.as_ref()).unwrap();
    let object = |spec: &str| {
        let text = format!(
            r#"{{"apiVersion":"e.com/v1","kind":"T","metadata":{{"name":"ab"}},"spec":{spec}}}"#
        );
        Dom::parse_json(text.as_bytes()).unwrap()
    };
    let (own, old) = (object(spec), old.map(object));
    let mut errors = Vec::new();
    rules.check(own.as_ref(), old.as_ref().map(Dom::as_ref), &mut errors);
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    expected.assert_eq(&lines.join("\n"));
}

#[test]
fn new_objects() {
    check(r#"{"min":1,"max":2}"#, None, expect![""]);
    check(
        r#"{"min":3,"max":2}"#,
        None,
        expect!["spec.min: Invalid value: min 3 is over 2"],
    );
    check(
        r#"{"min":-1,"max":200}"#,
        None,
        expect![
            "spec: Forbidden: new ones are small\nspec.min: Invalid value: -1: failed rule: self >= 0"
        ],
    );
    check(
        r#"{"max":2}"#,
        None,
        expect![
            "spec: Invalid value: \"object\": no such key: min evaluating rule: self.min <= self.max"
        ],
    );
    check(
        r#"{"min":1,"max":2,"when":"1999-01-01T00:00:00Z","labels":{"x":"bad"}}"#,
        None,
        expect![
            "spec.when: Invalid value: \"1999-01-01T00:00:00Z\": failed rule: self.getFullYear() > 2000\nspec.labels[x]: Invalid value: \"bad\": failed rule: self != 'bad'"
        ],
    );
}

#[test]
fn transitions() {
    let old = r#"{"min":1,"max":200,"class":"a","parts":[{"name":"x","size":2}]}"#;
    check(old, Some(old), expect![""]);
    check(
        r#"{"min":1,"max":200,"class":"b","parts":[{"name":"y","size":1},{"name":"x","size":1}]}"#,
        Some(old),
        expect![
            "spec: Invalid value: class is immutable\nspec.parts[1]: Invalid value: parts only grow"
        ],
    );
}

/// What was wrong before and is the same now does not stop an update.
#[test]
fn unchanged_values_are_not_judged_again() {
    check(
        r#"{"min":-1,"max":3,"labels":{"x":"bad"}}"#,
        Some(r#"{"min":-1,"max":2,"labels":{"x":"bad"}}"#),
        expect![""],
    );
}
