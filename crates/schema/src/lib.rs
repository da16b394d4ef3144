//! The type table and everything that it drives; the arena DOM.

pub mod dom;
mod names;
pub mod patch;
pub mod table;
pub mod yaml;

pub use dom::{Dom, Limits, Node, Ref, SyntaxError, Value};
pub use names::Name;
pub use table::{Field, Leaf, ListType, Shape, ShapeId, Table, TypeId, builtin};
