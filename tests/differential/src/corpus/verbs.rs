//! The verbs of one kind, with what can go wrong about each.

mod read;
mod write;

use serde_json::Value;

use super::kinds::Kind;
use crate::case::Case;

/// Requests before the fields are tried: the object is made and read.
pub(super) fn before(kind: &Kind) -> Vec<Case> {
    let mut cases = write::create(kind);
    cases.extend(read::forms(kind));
    cases.extend(read::selectors(kind));
    cases.extend(read::lists(kind));
    cases.extend(write::names(kind));
    cases.extend(write::strict(kind));
    cases.extend(write::encodings(kind));
    cases
}

/// Requests that change the object, and its end.
pub(super) fn after(kind: &Kind) -> Vec<Case> {
    let mut cases = write::patch::patches(kind);
    cases.extend(write::patch::applies(kind));
    cases.extend(write::updates(kind));
    cases.extend(write::subresources(kind));
    cases.extend(write::deletes(kind));
    cases
}

/// A request about the object itself.
fn on(kind: &Kind, group: &'static str, method: &str, query: &str) -> Case {
    Case::new(group, &kind.kind, method, format!("{}{query}", kind.path))
}

/// A request about the collection.
fn at(kind: &Kind, group: &'static str, method: &str, query: &str) -> Case {
    Case::new(
        group,
        &kind.kind,
        method,
        format!("{}{query}", kind.collection),
    )
}

fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}
