//! Protobuf in and out of the DOM, by the numbers of the type table.
//!
//! Upstream's generator (gogo, proto2) writes fields by ascending number, always writes what
//! Go holds by value (also when zero), sorts map entries by key and never packs lists; so does
//! this, to the byte. Reading drops zero values that JSON would omit, so that both encodings
//! of an object make the same document.
//! Example: `{"name":"a"}` of a type with name @1 and count @2 by value is `0a 01 61 10 00`.
//! Source: api v0.36.3 */generated.pb.go; apimachinery v0.36.3
//! pkg/runtime/serializer/protobuf, pkg/apis/meta/v1/{time,micro_time}_proto.go,
//! pkg/api/resource/quantity_proto.go.

mod clock;
mod decode;
mod encode;
mod envelope;
mod plan;
pub(crate) mod wire;

pub use decode::{decode, decode_into};
pub use encode::encode;
pub use envelope::{
    Frame, ListHead, PREFIX, Unknown, from_wire, is_enveloped, list_message, next_frame, to_wire,
    unwrap, watch_frame, wrap,
};

use crate::dom::{Dom, SyntaxError};
use crate::table::{Table, TypeId};

/// Why bytes or a document cannot be converted.
#[derive(Debug, thiserror::Error)]
pub enum ProtobufError {
    /// The bytes end inside a value.
    #[error("unexpected EOF")]
    Eof,
    /// A number takes more than ten bytes.
    #[error("proto: integer overflow")]
    Overflow,
    /// A field has another wire type than its type says.
    #[error("proto: wrong wireType = {wire} for field {field}")]
    WireType {
        /// Wire type found.
        wire: u8,
        /// JSON name of the field.
        field: String,
    },
    /// A tag that does not exist.
    #[error("proto: illegal tag {0}")]
    Tag(u64),
    /// The bytes do not start with `k8s\0`.
    #[error(
        "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
    )]
    Prefix,
    /// Nothing follows the prefix.
    #[error("empty body")]
    Empty,
    /// The envelope names a kind that is not in the table.
    #[error("no kind \"{kind}\" is registered for version \"{api_version}\"")]
    Kind {
        /// Version as the envelope gives it.
        api_version: String,
        /// Kind as the envelope gives it.
        kind: String,
    },
    /// The kind exists in JSON only.
    #[error("kind \"{0}\" has no protobuf form")]
    NoProtobuf(String),
    /// Deeper or larger than allowed.
    #[error("proto: message exceeds the limit of {0}")]
    Limit(&'static str),
    /// A value of the document does not fit its field.
    #[error("field {field}: {message}")]
    Value {
        /// JSON name of the field.
        field: String,
        /// What is wrong.
        message: &'static str,
    },
    /// The JSON to convert, or embedded JSON, is malformed.
    #[error(transparent)]
    Json(#[from] SyntaxError),
}

/// Converts an object of a type from JSON to a bare message (no envelope).
///
/// # Errors
/// When the JSON is malformed or does not fit the type.
pub fn json_to_protobuf(table: &Table, ty: TypeId, json: &[u8]) -> Result<Vec<u8>, ProtobufError> {
    let dom = Dom::parse_json(json)?;
    encode(table, ty, &dom, dom.root())
}

#[cfg(test)]
mod tests;
