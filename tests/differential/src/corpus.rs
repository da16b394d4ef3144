//! The requests of a run, in the order in which they are sent.
//!
//! Nothing is written per kind: a kind is its row among the resources, its type in the table and
//! its minimal object. Requests of one kind follow each other, so that its object is there.

mod discovery;
mod fields;
mod fill;
mod kinds;
pub(crate) mod openapi;
mod verbs;

use std::path::Path;

use anyhow::Result;

use crate::case::{self, Case};

pub(crate) fn batches(
    root: &Path,
    run: &str,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Vec<Vec<Case>>> {
    let folder = root.join("cases");
    let kinds = kinds::load(&folder.join("objects.yaml"), run)?;
    let mut batches = vec![discovery::cases(&kinds)];
    let mut seen = Vec::new();
    for kind in &kinds {
        let fields = fields::cases(kind, &mut seen);
        if wanted(&kind.kind) {
            batches.push(verbs::before(kind));
            batches.push(fields);
            batches.push(verbs::after(kind));
        }
    }
    if wanted("") {
        batches.push(case::files(&folder, run)?);
    }
    Ok(batches)
}
