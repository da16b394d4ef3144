//! OpenAPI documents, definition by definition and path by path.
//!
//! What is said in words is a group of its own: our descriptions are our own, and few. References
//! to shared parameters are followed, since their names are hashes of such words.

use anyhow::Result;
use serde_json::{Map, Value};

use crate::case::Case;
use crate::compare::{Difference, values};
use crate::report::Report;
use crate::side::Side;

pub(crate) async fn compare(sides: &mut [Side; 2], report: &mut Report) -> Result<()> {
    document(sides, report, "/openapi/v2", "definitions").await?;
    let index = fetch(sides, "/openapi/v3").await?;
    let paths = |index: &Value| -> Vec<String> {
        let paths = index["paths"].as_object().into_iter().flatten();
        paths.map(|(path, _)| path.clone()).collect()
    };
    let (mine, other) = (paths(&index[0]), paths(&index[1]));
    for path in &other {
        let case = Case::new("openapi", "", "GET", format!("/openapi/v3/{path}"));
        if mine.contains(path) {
            document(sides, report, &case.path, "components").await?;
        } else {
            let cause = format!("document {path} missing");
            report.add(&case, vec![Difference::new(cause, "absent", "served")]);
        }
    }
    Ok(())
}

async fn fetch(sides: &mut [Side; 2], path: &str) -> Result<[Value; 2]> {
    let case = Case::new("openapi", "", "GET", path).accept("application/json");
    let (a, b) = crate::both(sides, &case).await?;
    Ok([a, b].map(|answer| serde_json::from_slice(&answer.body).unwrap_or(Value::Null)))
}

async fn document(
    sides: &mut [Side; 2],
    report: &mut Report,
    path: &str,
    types: &str,
) -> Result<()> {
    let documents = fetch(sides, path).await?;
    for part in [types, "paths"] {
        let [a, b] = documents.each_ref().map(|document| {
            let shared = &document["parameters"];
            let part = &document[part];
            let part = part.get("schemas").unwrap_or(part);
            let mut part = part.as_object().cloned().unwrap_or_default();
            part.values_mut().for_each(|value| follow(value, shared));
            part
        });
        parts(report, path, part, &a, &b);
    }
    Ok(())
}

/// Puts shared parameters where they are referred to.
fn follow(value: &mut Value, shared: &Value) {
    match value {
        Value::Object(map) => {
            let name = map.get("$ref").and_then(Value::as_str);
            let found = name.and_then(|name| shared.get(name.strip_prefix("#/parameters/")?));
            if let Some(found) = found {
                *value = found.clone();
                return;
            }
            map.values_mut().for_each(|value| follow(value, shared));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| follow(item, shared)),
        _ => {}
    }
}

fn parts(
    report: &mut Report,
    path: &str,
    part: &str,
    a: &Map<String, Value>,
    b: &Map<String, Value>,
) {
    let mut names: Vec<&String> = a.keys().chain(b.keys()).collect();
    names.sort();
    names.dedup();
    for name in names {
        let case = |group| Case::new(group, "", "GET", path).note(name.as_str());
        let (mut found, mut said) = (Vec::new(), Vec::new());
        let none = Value::Null;
        let (mine, other) = (a.get(name).unwrap_or(&none), b.get(name).unwrap_or(&none));
        let words = |value: Option<&Value>| {
            value.map_or_else(|| "absent".to_owned(), crate::compare::short)
        };
        values("", mine, other, &mut |place, mine, other| {
            let kind = match (mine, other) {
                (None, _) => "missing",
                (_, None) => "extra",
                (Some(Value::Null), _) => "missing",
                (_, Some(Value::Null)) => "extra",
                _ => "differs",
            };
            // Fields and parameters are many; what is said of them is little.
            let last: Vec<&str> = place.rsplit('.').take(2).collect();
            let last = match last.as_slice() {
                [last, before] if !before.contains("properties") => format!("{before}.{last}"),
                [_, _] => "properties.*".to_owned(),
                _ => place.to_owned(),
            };
            let last = match place.find(".parameters[") {
                Some(at) => place[at + 1..]
                    .split('[')
                    .next()
                    .unwrap_or_default()
                    .to_owned(),
                None => last,
            };
            let is_said = place.ends_with(".description");
            let (to, last) = match is_said {
                true => (&mut said, "description".to_owned()),
                false => (&mut found, last),
            };
            to.push(Difference::new(
                format!("{part} {last} {kind}"),
                words(mine),
                words(other),
            ));
        });
        report.add(&case("openapi"), found);
        report.add(&case("openapi words"), said);
    }
}
