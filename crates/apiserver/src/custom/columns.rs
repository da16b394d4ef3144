//! Printer columns of a definition, read by simple JSON paths.
//!
//! Understood are names, `[n]`, and `[?(@.k=="v")]`.
//! Source: apiextensions-apiserver v0.36.3 pkg/registry/customresource/tableconvertor.

use jiff::Timestamp;
use registry::columns::{Cell, Column, Columns};
use registry::{Resource, Text};
use schema::{Ref, Value};

pub(super) fn of(version: Ref<'_>) -> Columns {
    let name = Column {
        name: "Name".into(),
        kind: "string".into(),
        format: "name".into(),
        description: "Name of the object, unique within its namespace.".into(),
        priority: 0,
    };
    let (mut columns, mut paths) = (vec![name], Vec::new());
    let text = |value: &str| Text::Owned(value.to_owned());
    for column in version.items("additionalPrinterColumns") {
        columns.push(Column {
            name: text(column.str("name")),
            kind: text(column.str("type")),
            format: text(column.str("format")),
            description: text(column.str("description")),
            priority: column.int("priority").unwrap_or(0),
        });
        paths.push(vec![text(column.str("jsonPath"))]);
    }
    if paths.is_empty() {
        columns.push(Column {
            name: "Age".into(),
            kind: "date".into(),
            format: "".into(),
            description: "Time since the object was created.".into(),
            priority: 0,
        });
        paths.push(vec![".metadata.creationTimestamp".into()]);
    }
    Columns {
        columns: columns.into(),
        cells,
        paths,
    }
}

/// The first value at a path.
pub(super) fn find<'a>(object: Ref<'a>, path: &str) -> Option<Ref<'a>> {
    let mut at = object;
    let mut rest = path.trim_start_matches('$');
    while !rest.is_empty() {
        if let Some(tail) = rest.strip_prefix('.') {
            let end = tail.find(['.', '[']).unwrap_or(tail.len());
            if end > 0 {
                at = at.get(&tail[..end])?;
            }
            rest = &tail[end..];
        } else if let Some(tail) = rest.strip_prefix('[') {
            let end = tail.find(']')?;
            let inner = &tail[..end];
            rest = &tail[end + 1..];
            if let Some(filter) = inner.strip_prefix("?(@.") {
                let (key, value) = filter.trim_end_matches(')').split_once("==")?;
                let value = value.trim().trim_matches(['"', '\'']);
                at = at.list().find(|item| item.str(key.trim()) == value)?;
            } else if let Ok(index) = inner.parse::<usize>() {
                at = at.list().nth(index)?;
            } else {
                at = at.get(inner.trim_matches(['"', '\'']))?;
            }
        } else {
            return None;
        }
    }
    Some(at)
}

fn cells(resource: &Resource, object: Ref<'_>, now: Timestamp) -> Vec<Cell> {
    let mut cells = vec![Cell::Str(api::meta::of(object).name().to_owned())];
    for (column, path) in resource
        .columns
        .columns
        .iter()
        .skip(1)
        .zip(&resource.columns.paths)
    {
        let value = path.first().and_then(|path| find(object, path));
        let cell = match (column.kind.as_ref(), value.map(Ref::value)) {
            (_, None | Some(Value::Null)) => Cell::Null,
            ("date", Some(Value::Str(text))) => match api::time::parse(text) {
                Ok(time) => Cell::Str(api::duration::human(now.as_second() - time.as_second())),
                Err(_) => Cell::Str("<invalid>".to_owned()),
            },
            ("integer", Some(Value::Int(number))) => Cell::Int(number),
            ("integer", Some(Value::Float(number))) => Cell::Float(number),
            ("number", Some(Value::Int(number))) => Cell::Int(number),
            ("number", Some(Value::Float(number))) => Cell::Float(number),
            ("boolean", Some(Value::Bool(flag))) => Cell::Bool(flag),
            ("string", Some(Value::Str(text))) => Cell::Str(text.to_owned()),
            ("string", Some(Value::Int(number))) => Cell::Str(number.to_string()),
            ("string", Some(Value::Bool(flag))) => Cell::Str(flag.to_string()),
            ("string", Some(_)) => {
                let json = value.map(Ref::to_json).unwrap_or_default();
                Cell::Str(String::from_utf8_lossy(&json).into_owned())
            }
            _ => Cell::Null,
        };
        cells.push(cell);
    }
    cells
}
