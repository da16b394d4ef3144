//! RESOURCES: one row a resource, and the hooks that a table cannot express.
//!
//! Owns what the API server must know of each kind: names, verbs, subresources, where it is
//! stored, its columns, its selectable fields, its defaults, its validation and the admission
//! that is built in. Does no IO: what a hook needs of other objects it reads through [`Lookup`],
//! and what must be written together with the object it returns in [`Extras`].

pub mod admission;
pub mod columns;
mod convert;
mod defaults;
mod edit;
mod hooks;
pub mod rbac;
mod resource;
mod rows;
pub mod rules;
pub mod strategy;
pub mod validation;
mod warnings;

pub use hooks::{Context, Extra, Extras, Lookup, User};
pub use resource::{
    Convert, Field, Resource, Scope, Selectable, StatusRule, Subresource, Text, Types, Verb, Verbs,
    View,
};
pub use rows::RESOURCES;
pub use strategy::Strategy;
