//! Every field of every type, one at a time, in a dry-run create of the minimal object.
//!
//! A type is looked at where it is met first (a pod's fields in Pod, not in every template).
//! Each field is set to plausible, empty, negative, wrong and null values, and left out where the
//! minimal object has it. Fields of `status` go to the status by a merge patch.

use schema::{Leaf, Shape, Table, TypeId};
use serde_json::{Value, json};

use super::fill;
use super::kinds::Kind;
use crate::case::Case;

/// A step on the way to a field.
#[derive(Clone)]
enum Step {
    Key(String),
    First,
}

const DEEPEST: usize = 12;

struct Walk<'a> {
    table: &'static Table,
    kind: &'a Kind,
    seen: &'a mut Vec<TypeId>,
    cases: Vec<Case>,
}

pub(super) fn cases(kind: &Kind, seen: &mut Vec<TypeId>) -> Vec<Case> {
    let table = schema::builtin();
    let mut walk = Walk {
        table,
        kind,
        seen,
        cases: Vec::new(),
    };
    walk.of_type(kind.ty, &mut Vec::new(), &kind.object);
    let mut full = fill::full(table, kind.ty);
    full["apiVersion"] = kind.api_version.as_str().into();
    full["kind"] = kind.kind.as_str().into();
    full["metadata"] = kind.object["metadata"].clone();
    walk.create("full", &full, "every field");
    walk.cases
}

impl Walk<'_> {
    fn of_type(&mut self, ty: TypeId, path: &mut Vec<Step>, base: &Value) {
        if self.seen.contains(&ty) || path.len() > DEEPEST {
            return;
        }
        self.seen.push(ty);
        for field in self.table.fields(ty) {
            let name = self.table.json_name(field);
            let managed = path.len() == 1 && name == "managedFields";
            if self.table.inlined(field) == Some("TypeMeta") || managed {
                continue;
            }
            path.push(Step::Key(name.to_owned()));
            let choices: Vec<&str> = self.table.enum_values(field).collect();
            let shape = self.table.shape(field.shape());
            let least = fill::least(self.table, name, field);
            self.values(path, base, name, &choices, shape, &least);
            let steps = path.len();
            let mut inner = shape;
            while let Shape::List { item, .. } = inner {
                path.push(Step::First);
                inner = self.table.shape(item);
            }
            if let Shape::Map { value } = inner {
                path.push(Step::Key("a-key".to_owned()));
                inner = self.table.shape(value);
            }
            if let Shape::Struct(below) = inner {
                // What is there already is a better place than what was made up.
                let mut base = base.clone();
                if get(&base, path).is_none() {
                    set(&mut base, &path[..steps], least);
                }
                self.of_type(below, path, &base);
            }
            path.truncate(steps - 1);
        }
    }

    fn values(
        &mut self,
        path: &[Step],
        base: &Value,
        name: &str,
        choices: &[&str],
        shape: Shape,
        least: &Value,
    ) {
        if get(base, path).is_some() {
            let mut object = base.clone();
            remove(&mut object, path);
            self.send(path, &object, "left out");
        }
        let mut values = vec![least.clone(), Value::Null];
        match shape {
            Shape::Leaf(leaf) => values.extend(of_leaf(name, choices, leaf)),
            Shape::Struct(_) => values.extend([json!({}), json!("text"), json!([])]),
            Shape::List { item, .. } => {
                let one = least[0].clone();
                values.extend([json!([]), json!([one, one]), json!("text"), json!({})]);
                if let Shape::Leaf(leaf) = self.table.shape(item) {
                    values.extend(
                        of_leaf(name, choices, leaf)
                            .into_iter()
                            .map(|one| json!([one])),
                    );
                } else {
                    values.extend([json!([{}]), json!([null])]);
                }
            }
            Shape::Map { value } => {
                let one = least["a-key"].clone();
                values.extend([
                    json!({}),
                    json!({"Bad Key!": one}),
                    json!("text"),
                    json!([]),
                ]);
                if let Shape::Leaf(leaf) = self.table.shape(value) {
                    values.extend(
                        of_leaf(name, choices, leaf)
                            .into_iter()
                            .map(|one| json!({"a-key": one})),
                    );
                }
            }
        }
        for value in values {
            let mut object = base.clone();
            let note = value.to_string();
            set(&mut object, path, value);
            self.send(path, &object, &note);
        }
    }

    fn send(&mut self, path: &[Step], object: &Value, note: &str) {
        let spelled: Vec<&str> = path
            .iter()
            .map(|step| match step {
                Step::Key(key) => key.as_str(),
                Step::First => "0",
            })
            .collect();
        let note = format!(
            "{} = {}",
            spelled.join("."),
            note.get(..note.len().min(80)).unwrap_or_default()
        );
        if spelled[0] == "status" && self.kind.has("status") {
            let case = Case::new(
                "status fields",
                &self.kind.kind,
                "PATCH",
                format!("{}/status?dryRun=All", self.kind.path),
            )
            .media("application/merge-patch+json")
            .body(json!({"status": object["status"]}).to_string());
            self.cases.push(case.note(note));
            return;
        }
        self.create("fields", object, &note);
    }

    fn create(&mut self, group: &'static str, object: &Value, note: &str) {
        let mut object = object.clone();
        // The name is taken; metadata's own fields are tried with whatever name they say.
        if object["metadata"]["name"] == self.kind.object["metadata"]["name"]
            && renamable(self.kind)
        {
            object["metadata"]["name"] = format!("{}x", self.kind.name).into();
        }
        let path = format!("{}?dryRun=All", self.kind.collection);
        let case = Case::new(group, &self.kind.kind, "POST", path).body(object.to_string());
        self.cases.push(case.note(note));
    }
}

/// Names of the others say something about their content.
fn renamable(kind: &Kind) -> bool {
    !matches!(
        kind.kind.as_str(),
        "CustomResourceDefinition" | "APIService" | "IPAddress"
    )
}

fn of_leaf(name: &str, choices: &[&str], leaf: Leaf) -> Vec<Value> {
    let mut values = vec![fill::leaf(name, choices.first().copied(), leaf)];
    match leaf {
        Leaf::Str | Leaf::Any => {
            values.extend(choices.iter().skip(1).map(|choice| Value::from(*choice)));
            values.extend([
                json!(""),
                json!("Bad_Value!"),
                json!("x".repeat(300)),
                json!(7),
            ]);
        }
        Leaf::Bool => values.extend([json!(false), json!("text")]),
        Leaf::Int32 | Leaf::Int64 | Leaf::Uint32 | Leaf::Uint64 => {
            let numbers = [
                "0",
                "-1",
                "70000",
                "9999999999",
                "99999999999999999999",
                "1.5",
            ];
            let numbers = numbers
                .iter()
                .filter_map(|text| serde_json::from_str(text).ok());
            values.extend(numbers.chain([json!("text")]));
        }
        Leaf::Double | Leaf::Float => values.extend([json!(-1.5), json!("text")]),
        Leaf::Bytes => values.extend([json!(""), json!("***"), json!(7)]),
        Leaf::Time | Leaf::MicroTime | Leaf::Duration => {
            values.extend([json!("text"), json!(""), json!(7)])
        }
        Leaf::Quantity => {
            let texts = ["0", "-1", "1.5", "1Ki", "text", ""];
            values.extend(texts.map(Value::from));
            values.push(json!(2));
        }
        Leaf::IntOrString => values.extend([
            json!(0),
            json!(-1),
            json!("50%"),
            json!("text"),
            json!(""),
            json!(70000),
            json!([]),
        ]),
        _ => values.push(json!("text")),
    }
    values
}

fn get<'v>(value: &'v Value, path: &[Step]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, step| match step {
        Step::Key(key) => value.get(key),
        Step::First => value.get(0),
    })
}

/// Makes what is missing on the way.
fn set(value: &mut Value, path: &[Step], to: Value) {
    let Some((step, rest)) = path.split_first() else {
        *value = to;
        return;
    };
    match step {
        Step::Key(key) => {
            if !value.is_object() {
                *value = json!({});
            }
            set(&mut value[key.as_str()], rest, to);
        }
        Step::First => {
            if value.as_array().is_none_or(Vec::is_empty) {
                *value = json!([null]);
            }
            set(&mut value[0], rest, to);
        }
    }
}

fn remove(value: &mut Value, path: &[Step]) {
    let Some((Step::Key(last), before)) = path.split_last() else {
        return;
    };
    let parent = before.iter().try_fold(value, |value, step| match step {
        Step::Key(key) => value.get_mut(key),
        Step::First => value.get_mut(0),
    });
    if let Some(Value::Object(map)) = parent {
        map.remove(last);
    }
}
