//! Server-side apply and the bookkeeping of who set which field.
//!
//! Every write records its fields under its manager in `metadata.managedFields`; an apply
//! merges its configuration into the live object, takes away what the manager applied before
//! and no longer does (unless others own it), and conflicts with other owners unless forced.
//! Works on the DOM by the type table, for custom resources as for built-in kinds.
//! Example: live `{spec:{replicas:1}}` owned by A; B applies `{spec:{replicas:2}}` → conflict
//! with A at `.spec.replicas`; forced, B owns it and A loses it.
//! Differs from upstream in one point: sets recorded under another API version are compared
//! by path, without converting the object to that version.
//! Source: sigs.k8s.io/structured-merge-diff v6 merge, typed, fieldpath; apimachinery v0.36.3
//! pkg/util/managedfields/internal.

mod compare;
mod fields;
mod managers;
mod merge;
mod place;
mod remove;
mod set;
mod update;

pub use managers::{Manager, Operation};
pub use set::{Element, Scalar, Set};
pub use update::{Request, apply, update};

/// A path on which an apply disagrees with another manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The other manager as upstream prints it: `"name" using apps/v1`.
    pub manager: String,
    /// `.spec.template.spec.containers[name="a"].image`
    pub path: String,
}

/// Why a configuration cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// 409: other managers own fields with other values. Each conflict is a cause
    /// `FieldManagerConflict` with the message `conflict with {manager}` and its path as field.
    #[error("{message}")]
    Conflicts {
        /// Upstream's message.
        message: String,
        /// One by one.
        conflicts: Vec<Conflict>,
    },
    /// 400.
    #[error("{0}")]
    BadRequest(String),
    /// 500: the configuration does not fit its type.
    #[error("failed to create typed patch object ({object}): {cause}")]
    Typed {
        /// Namespace, name and kind.
        object: String,
        /// Where and why.
        cause: String,
    },
}

#[cfg(test)]
mod tests;
