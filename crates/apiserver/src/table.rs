//! The other forms of objects: tables for people, metadata alone for machines.
//!
//! Source: kubernetes v1.36.3 apiserver/pkg/endpoints/handlers/response.go.

use std::fmt::Write;

use jiff::Timestamp;
use registry::columns::Cell;
use registry::{Resource, View};
use schema::Dom;
use transport::{Body, Response};

use crate::answer;
use crate::negotiate::{Accepted, Encoding};

/// How objects of one request are shown.
pub(crate) struct Shape<'a> {
    pub(crate) accepted: &'a Accepted,
    /// `includeObject`: `None`, `Metadata`, `Object`.
    pub(crate) include: &'a str,
    pub(crate) now: Timestamp,
}

/// The head of a table up to its first row.
pub(crate) fn begin(
    resource: &Resource,
    version: &str,
    revision: &str,
    next: Option<&str>,
    remaining: Option<i64>,
    columns: bool,
) -> String {
    let mut out = String::with_capacity(1024);
    let _ = write!(
        out,
        r#"{{"kind":"Table","apiVersion":"meta.k8s.io/{version}","metadata":{{"resourceVersion":"#
    );
    api::text::json_string(&mut out, revision);
    if let Some(next) = next {
        out.push_str(r#","continue":"#);
        api::text::json_string(&mut out, next);
    }
    if let Some(remaining) = remaining {
        let _ = write!(out, r#","remainingItemCount":{remaining}"#);
    }
    out.push_str("},\"columnDefinitions\":");
    if columns {
        out.push('[');
        for (index, column) in resource.columns.columns.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            out.push_str(r#"{"name":"#);
            api::text::json_string(&mut out, &column.name);
            let _ = write!(
                out,
                r#","type":"{}","format":"{}","description":"#,
                column.kind, column.format
            );
            api::text::json_string(&mut out, &column.description);
            let _ = write!(out, r#","priority":{}}}"#, column.priority);
        }
        out.push(']');
    } else {
        out.push_str("null");
    }
    out.push_str(",\"rows\":[");
    out
}

/// One row.
pub(crate) fn row(
    out: &mut String,
    resource: &Resource,
    view: &View,
    dom: &Dom,
    version: &str,
    shape: &Shape<'_>,
    first: bool,
) {
    if !first {
        out.push(',');
    }
    out.push_str("{\"cells\":[");
    for (index, cell) in (resource.columns.cells)(resource, dom.as_ref(), shape.now)
        .iter()
        .enumerate()
    {
        if index > 0 {
            out.push(',');
        }
        match cell {
            Cell::Str(text) => api::text::json_string(out, text),
            Cell::Int(number) => {
                let _ = write!(out, "{number}");
            }
            Cell::Float(number) => {
                let _ = write!(out, "{number}");
            }
            Cell::Bool(flag) => {
                let _ = write!(out, "{flag}");
            }
            Cell::Null => out.push_str("null"),
        }
    }
    out.push_str("],\"object\":");
    match shape.include {
        "None" => out.push_str("null"),
        "Object" => {
            let types = crate::codec::type_of(view, &resource.kind);
            let json = crate::codec::to_json(types, dom, dom.root());
            out.push_str(&String::from_utf8_lossy(&json));
        }
        _ => {
            let _ = write!(
                out,
                r#"{{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/{version}","metadata":"#
            );
            let json = dom
                .as_ref()
                .get("metadata")
                .map(schema::Ref::to_json)
                .unwrap_or_default();
            out.push_str(&String::from_utf8_lossy(&json));
            out.push('}');
        }
    }
    out.push('}');
}

/// The finished table.
pub(crate) fn response(json: String, accepted: &Accepted) -> Response {
    match (accepted.encoding, Dom::parse_json(json.as_bytes())) {
        (Encoding::Yaml, Ok(dom)) => answer::document(200, &dom, accepted),
        _ => answer::bytes(200, "application/json", Body::from(json)),
    }
}

/// The metadata of an object as an object of its own.
pub(crate) fn partial(dom: &Dom, version: &str, kind: &str) -> Dom {
    let mut out = Dom::new();
    let root = out.new_map();
    out.set_root(root);
    out.set_str(root, "kind", kind);
    out.set_str(root, "apiVersion", &format!("meta.k8s.io/{version}"));
    if let Some(meta) = dom.get(dom.root(), "metadata") {
        let copy = out.import(dom, meta);
        out.set(root, "metadata", copy);
    }
    out
}
