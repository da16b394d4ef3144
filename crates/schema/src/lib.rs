//! The type table and everything that it drives; the arena DOM.

pub mod apply;
pub mod decode;
mod defaults;
pub mod dom;
pub mod encode;
mod names;
pub mod openapi;
pub mod patch;
pub mod protobuf;
pub mod scan;
pub mod table;
pub mod yaml;

pub use decode::{DecodeError, Decoded, Finding, FindingKind, decode_json};
pub use defaults::apply_defaults;
pub use dom::{Dom, Limits, Node, Ref, SyntaxError, Value};
pub use encode::{encode_json, write_json};
pub use names::Name;
pub use table::{Field, Leaf, ListType, Shape, ShapeId, Table, TypeId, builtin};
