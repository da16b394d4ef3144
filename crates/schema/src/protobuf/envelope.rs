//! What stands around messages: the `k8s\0` envelope, lists and watch frames made of parts.
//!
//! `runtime.Unknown` names kind and version and holds the message. A watch stream is frames,
//! each four bytes of length (big end first) and a bare `WatchEvent` whose object is enveloped.
//! Source: apimachinery v0.36.3 pkg/runtime/{generated.proto,serializer/protobuf},
//! pkg/util/framer.

use super::wire::{Reader, Wire, put_bytes, put_message, put_number, put_varint};
use super::{ProtobufError, decode_into, encode};
use crate::dom::{Dom, Limits, Node};
use crate::table::{Table, TypeId};

/// The four bytes before every enveloped object.
pub const PREFIX: [u8; 4] = *b"k8s\0";

/// An object's kind, version and bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown<'a> {
    /// `apiVersion`.
    pub api_version: String,
    /// `kind`.
    pub kind: String,
    /// The bare message.
    pub raw: &'a [u8],
    /// `contentEncoding`, empty for none.
    pub content_encoding: String,
    /// `contentType`, empty for protobuf.
    pub content_type: String,
}

/// Do the bytes start with the prefix of an envelope?
#[must_use]
pub fn is_enveloped(bytes: &[u8]) -> bool {
    bytes.starts_with(&PREFIX)
}

/// Puts a bare message into an envelope.
#[must_use]
pub fn wrap(api_version: &str, kind: &str, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + api_version.len() + kind.len() + 24);
    out.extend_from_slice(&PREFIX);
    let head = put_message(&mut out, 1, |out| {
        put_bytes(out, 1, api_version.as_bytes());
        put_bytes(out, 2, kind.as_bytes());
        Ok::<(), std::convert::Infallible>(())
    });
    head.unwrap_or_else(|never| match never {});
    put_bytes(&mut out, 2, message);
    put_bytes(&mut out, 3, b"");
    put_bytes(&mut out, 4, b"");
    out
}

/// Takes a message out of its envelope.
///
/// # Errors
/// When the bytes are no envelope.
pub fn unwrap(bytes: &[u8]) -> Result<Unknown<'_>, ProtobufError> {
    let body = bytes.strip_prefix(&PREFIX).ok_or(ProtobufError::Prefix)?;
    if body.is_empty() {
        return Err(ProtobufError::Empty);
    }
    let mut unknown = Unknown {
        api_version: String::new(),
        kind: String::new(),
        raw: &[],
        content_encoding: String::new(),
        content_type: String::new(),
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut reader = Reader::new(body);
    while let Some((number, wire)) = reader.field()? {
        let Wire::Bytes(value) = wire else { continue };
        match number {
            1 => {
                let mut names = Reader::new(value);
                while let Some((number, wire)) = names.field()? {
                    match (number, wire) {
                        (1, Wire::Bytes(value)) => unknown.api_version = text(value),
                        (2, Wire::Bytes(value)) => unknown.kind = text(value),
                        _ => {}
                    }
                }
            }
            2 => unknown.raw = value,
            3 => unknown.content_encoding = text(value),
            4 => unknown.content_type = text(value),
            _ => {}
        }
    }
    Ok(unknown)
}

fn kind_of(table: &Table, api_version: &str, kind: &str) -> Result<TypeId, ProtobufError> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    table
        .kind(group, version, kind)
        .ok_or_else(|| ProtobufError::Kind {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
        })
}

/// Reads an enveloped object; the document carries `apiVersion` and `kind`.
///
/// # Errors
/// When the envelope, its kind or its message cannot be read.
pub fn from_wire(
    table: &Table,
    bytes: &[u8],
    limits: &Limits,
) -> Result<(TypeId, Dom), ProtobufError> {
    let unknown = unwrap(bytes)?;
    let ty = kind_of(table, &unknown.api_version, &unknown.kind)?;
    let mut dom = Dom::new();
    let root = dom.new_map();
    dom.set_root(root);
    dom.set_str(root, "kind", &unknown.kind);
    dom.set_str(root, "apiVersion", &unknown.api_version);
    decode_into(table, ty, unknown.raw, limits, &mut dom, root)?;
    Ok((ty, dom))
}

/// Envelopes an object whose document carries `apiVersion` and `kind`.
///
/// # Errors
/// When the kind has no protobuf form or a value does not fit.
pub fn to_wire(table: &Table, dom: &Dom, node: Node) -> Result<Vec<u8>, ProtobufError> {
    let object = dom.at_node(node);
    let (api_version, kind) = (object.str("apiVersion"), object.str("kind"));
    let ty = kind_of(table, api_version, kind)?;
    if !has_message(table, ty) {
        return Err(ProtobufError::NoProtobuf(kind.to_owned()));
    }
    Ok(wrap(api_version, kind, &encode(table, ty, dom, node)?))
}

/// Does any field of the type have a number? (`Table` has none, upstream serves it in JSON.)
fn has_message(table: &Table, ty: TypeId) -> bool {
    let own = |field: &&crate::table::Field| table.inlined(field) != Some("TypeMeta");
    table
        .fields(ty)
        .iter()
        .filter(own)
        .any(|field| !field.proto().is_empty())
}

/// Metadata of a list.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct ListHead<'a> {
    /// `metadata.resourceVersion`.
    pub resource_version: &'a str,
    /// `metadata.continue`.
    pub continue_token: &'a str,
    /// `metadata.remainingItemCount`.
    pub remaining: Option<i64>,
}

/// The bare message of a list from the bare messages of its items (every list kind has its
/// metadata at 1 and its items at 2).
#[must_use]
pub fn list_message<'i>(head: &ListHead<'_>, items: impl IntoIterator<Item = &'i [u8]>) -> Vec<u8> {
    let mut out = Vec::with_capacity(4096);
    let metadata = put_message(&mut out, 1, |out| {
        put_bytes(out, 1, b"");
        put_bytes(out, 2, head.resource_version.as_bytes());
        put_bytes(out, 3, head.continue_token.as_bytes());
        if let Some(count) = head.remaining {
            put_number(out, 4, count as u64);
        }
        Ok::<(), std::convert::Infallible>(())
    });
    metadata.unwrap_or_else(|never| match never {});
    for item in items {
        put_bytes(&mut out, 2, item);
    }
    out
}

/// One frame of a watch: event type and enveloped object.
#[must_use]
pub fn watch_frame(event: &str, enveloped: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(enveloped.len() + event.len() + 24);
    out.extend_from_slice(&[0; 4]);
    put_bytes(&mut out, 1, event.as_bytes());
    let mut raw_head = vec![0x0a];
    put_varint(&mut raw_head, enveloped.len() as u64);
    out.push(0x12);
    put_varint(&mut out, (raw_head.len() + enveloped.len()) as u64);
    out.extend_from_slice(&raw_head);
    out.extend_from_slice(enveloped);
    let length = u32::try_from(out.len() - 4).unwrap_or(u32::MAX);
    out[..4].copy_from_slice(&length.to_be_bytes());
    out
}

/// One event of a watch stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK`, `ERROR`.
    pub event: String,
    /// The enveloped object.
    pub object: &'a [u8],
    /// Bytes of the stream that the frame took.
    pub length: usize,
}

/// The first frame of a buffer; `None` when it is not there in full yet.
///
/// # Errors
/// When the frame is longer than `limit` or no watch event.
pub fn next_frame(buffer: &[u8], limit: usize) -> Result<Option<Frame<'_>>, ProtobufError> {
    let Some((head, rest)) = buffer.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*head) as usize;
    if length > limit {
        return Err(ProtobufError::Limit("frame"));
    }
    let Some(message) = rest.get(..length) else {
        return Ok(None);
    };
    let mut frame = Frame {
        event: String::new(),
        object: &[],
        length: length + 4,
    };
    let mut reader = Reader::new(message);
    while let Some((number, wire)) = reader.field()? {
        match (number, wire) {
            (1, Wire::Bytes(value)) => frame.event = String::from_utf8_lossy(value).into_owned(),
            (2, Wire::Bytes(value)) => {
                let mut inner = Reader::new(value);
                while let Some((number, wire)) = inner.field()? {
                    if let (1, Wire::Bytes(raw)) = (number, wire) {
                        frame.object = raw;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(Some(frame))
}
