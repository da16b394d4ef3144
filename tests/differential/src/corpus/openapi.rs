//! OpenAPI documents, definition by definition and path by path.

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
            let part = &document[part];
            let part = part.get("schemas").unwrap_or(part);
            part.as_object().cloned().unwrap_or_default()
        });
        parts(report, path, part, &a, &b);
    }
    Ok(())
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
        let case = Case::new("openapi", "", "GET", path).note(name.as_str());
        let mut found = Vec::new();
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
            let last = if last.ends_with("description") {
                "description".to_owned()
            } else {
                last
            };
            found.push(Difference::new(
                format!("{part} {last} {kind}"),
                words(mine),
                words(other),
            ));
        });
        report.add(&case, found);
    }
}
