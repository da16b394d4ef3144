//! Patches: JSON merge patch, JSON patch, strategic merge patch, all on the arena DOM.
//!
//! A patch acts on the root of a document and either succeeds or leaves a document to throw
//! away. Every error carries upstream's text; `class` says which HTTP answer upstream gives.
//! The strategic patch asks a [`Lookup`] about types; the type table implements it.
//! Example: `{"a":{"b":1,"c":2}}` merged with `{"a":{"b":null,"d":3}}` is `{"a":{"c":2,"d":3}}`.
//! Source: RFC 7386, RFC 6902; gopkg.in/evanphx/json-patch.v4 v4.13.0; apimachinery v0.36.3
//! pkg/util/strategicpatch; apiserver v0.36.3 pkg/endpoints/handlers/patch.go.

mod children;
mod go_text;
mod json;
mod merge;
mod strategic;
mod typed;

pub use go_text::value as go_text;
pub use json::{json_patch, unknown_members};
pub use merge::merge;
pub(crate) use merge::prune as drop_nulls;
pub use strategic::{FieldRule, Lookup, Strategy, strategic};
pub use typed::{Place, strategic_object};

use crate::dom::{Dom, Limits};

/// Which answer upstream gives to a patch that fails.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Class {
    /// 400 BadRequest.
    BadRequest,
    /// 422 without findings ("the server rejected our request due to an error in our request").
    Unprocessable,
    /// 413.
    TooLarge,
    /// 500 with the plain text.
    Other,
}

/// A patch that cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PatchError {
    /// Which answer to give.
    pub class: Class,
    /// Upstream's text.
    pub message: String,
}

fn fail<T>(class: Class, message: impl Into<String>) -> Result<T, PatchError> {
    let message = message.into();
    Err(PatchError { class, message })
}

/// Copies nest deeper than any text could: refuse what no reader would take.
fn check_depth(dom: &Dom) -> Result<(), PatchError> {
    if dom.depth(dom.root()) > Limits::DEFAULT.depth {
        return fail(Class::Unprocessable, "exceeded max depth");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
