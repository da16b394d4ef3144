//! Bodies as values: whatever the encoding, blanked of what a server makes up.

use serde_json::{Map, Value};

use super::text;
use crate::side::Answer;

/// Made up by a server, in `metadata`.
const MADE_UP: [&str; 5] = [
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
    "continue",
];

/// A body, or its text when it is no document.
pub(super) fn read(answer: &Answer, masked: &str, run: &str, managers: bool) -> Value {
    let limits = schema::Limits::default();
    let mut value = if answer.media.contains("protobuf") {
        match schema::protobuf::from_wire(schema::builtin(), &answer.body, &limits) {
            Ok((_, dom)) => parse(&text::mask(&json(&dom), run)),
            Err(error) => Value::String(format!("not protobuf: {error}")),
        }
    } else if answer.media.contains("yaml") {
        match schema::yaml::parse(masked.as_bytes(), &limits) {
            Ok(parsed) => parse(&json(&parsed.dom)),
            Err(error) => Value::String(format!("not YAML: {error}")),
        }
    } else {
        parse(masked)
    };
    scrub(&mut value, managers);
    value
}

fn json(dom: &schema::Dom) -> String {
    String::from_utf8_lossy(&dom.to_json(dom.root())).into_owned()
}

/// One document, several (a watch), or text.
fn parse(text: &str) -> Value {
    let mut documents = Vec::new();
    for document in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        match document {
            Ok(document) => documents.push(document),
            Err(_) => return Value::String(text.to_owned()),
        }
    }
    match documents.len() {
        1 => documents.remove(0),
        _ => Value::Array(documents),
    }
}

fn scrub(value: &mut Value, managers: bool) {
    match value {
        Value::Object(map) => {
            if let Some(Value::Object(metadata)) = map.get_mut("metadata") {
                blank(metadata, managers);
            }
            if let Some(Value::Array(columns)) = map.get_mut("columnDefinitions") {
                // Descriptions are in each side's own words.
                for column in columns.iter_mut().filter_map(Value::as_object_mut) {
                    column.remove("description");
                }
            }
            if let Some(Value::Array(cells)) = map.get_mut("cells") {
                for cell in cells.iter_mut().filter(|cell| is_age(cell)) {
                    *cell = Value::from("AGE");
                }
            }
            for (_, value) in map.iter_mut() {
                scrub(value, managers);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| scrub(item, managers)),
        _ => {}
    }
}

fn blank(metadata: &mut Map<String, Value>, managers: bool) {
    for key in MADE_UP {
        if let Some(value) = metadata.get_mut(key)
            && value.as_str().is_some_and(|text| !text.is_empty())
        {
            *value = Value::from("SET");
        }
    }
    if !managers {
        metadata.remove("managedFields");
    }
}

/// `0s`, `3m20s`.
fn is_age(cell: &Value) -> bool {
    cell.as_str().is_some_and(|text| {
        text.starts_with(|c: char| c.is_ascii_digit())
            && text.ends_with(['s', 'm', 'h', 'd', 'y'])
            && text
                .chars()
                .all(|c| c.is_ascii_digit() || "smhdy".contains(c))
    })
}

/// Told of a place where two values differ; `None` is what is absent.
pub(crate) type Note<'n> = dyn FnMut(&str, Option<&Value>, Option<&Value>) + 'n;

/// Calls `note` for every place where two values differ, with `None` for what is absent.
pub(crate) fn values(path: &str, a: &Value, b: &Value, note: &mut Note<'_>) {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            for (key, a) in a {
                let path = format!("{path}.{key}");
                match b.get(key) {
                    Some(b) => values(&path, a, b, note),
                    None => note(&path, Some(a), None),
                }
            }
            for (key, b) in b.iter().filter(|(key, _)| !a.contains_key(*key)) {
                note(&format!("{path}.{key}"), None, Some(b));
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            if let (Some(mine), Some(other)) = (names(a), names(b)) {
                return named(path, (a, &mine), (b, &other), note);
            }
            for n in 0..a.len().max(b.len()) {
                let path = format!("{path}[{n}]");
                match (a.get(n), b.get(n)) {
                    (Some(a), Some(b)) => values(&path, a, b, note),
                    (a, b) => note(&path, a, b),
                }
            }
        }
        _ if a == b => {}
        _ => note(path, Some(a), Some(b)),
    }
}

/// What tells the items of a list apart, if all have it and no two the same.
fn names(items: &[Value]) -> Option<Vec<&str>> {
    let mut names = Vec::with_capacity(items.len());
    for item in items {
        let name = item["name"]
            .as_str()
            .or_else(|| item["metadata"]["name"].as_str())?;
        if names.contains(&name) {
            return None;
        }
        names.push(name);
    }
    Some(names)
}

fn named(
    path: &str,
    (a, mine): (&[Value], &[&str]),
    (b, other): (&[Value], &[&str]),
    note: &mut Note<'_>,
) {
    for (name, a) in mine.iter().zip(a) {
        let path = format!("{path}[{name}]");
        match other.iter().position(|other| other == name) {
            Some(at) => values(&path, a, &b[at], note),
            None => note(&path, Some(a), None),
        }
    }
    for (name, b) in other
        .iter()
        .zip(b)
        .filter(|(name, _)| !mine.contains(*name))
    {
        note(&format!("{path}[{name}]"), None, Some(b));
    }
    let common = |list: &[&str], in_other: &[&str]| -> Vec<Value> {
        let kept = list.iter().filter(|name| in_other.contains(*name));
        kept.map(|name| Value::from(*name)).collect()
    };
    let (a, b) = (common(mine, other), common(other, mine));
    if a != b {
        let path = format!("{path}[] order");
        note(&path, Some(&Value::from(a)), Some(&Value::from(b)));
    }
}
