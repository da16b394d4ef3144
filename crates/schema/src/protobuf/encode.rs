//! A document's value as a protobuf message of its type.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::plan::{Entry, Plans, Target, plans};
use super::wire::{FIXED32, FIXED64, put_bytes, put_message, put_number, put_tag};
use super::{ProtobufError, clock};
use crate::dom::{Dom, Node, Value};
use crate::table::{Field, Leaf, Shape, ShapeId, Table, TypeId};

/// The bare message (no envelope) of `node`, an object of type `ty`.
///
/// # Errors
/// When a value does not fit its field; documents that were decoded by the table always fit.
pub fn encode(table: &Table, ty: TypeId, dom: &Dom, node: Node) -> Result<Vec<u8>, ProtobufError> {
    let plans = plans(table);
    let encoder = Encoder {
        table,
        plans: &plans,
        dom,
    };
    let mut out = Vec::with_capacity(1024);
    encoder.object(ty, Some(node), &mut out)?;
    Ok(out)
}

struct Encoder<'a> {
    table: &'a Table,
    plans: &'a Plans,
    dom: &'a Dom,
}

type Done = Result<(), ProtobufError>;

/// Written even when absent, unless behind a pointer: its zero value.
fn is_scalar(leaf: Leaf) -> bool {
    matches!(
        leaf,
        Leaf::Str
            | Leaf::Bool
            | Leaf::Int32
            | Leaf::Int64
            | Leaf::Uint32
            | Leaf::Uint64
            | Leaf::Double
            | Leaf::Float
    )
}

impl Encoder<'_> {
    fn object(&self, ty: TypeId, node: Option<Node>, out: &mut Vec<u8>) -> Done {
        self.entries(self.plans.of(ty), ty, node, out)
    }

    fn entries(&self, plan: &[Entry], ty: TypeId, node: Option<Node>, out: &mut Vec<u8>) -> Done {
        for entry in plan {
            match &entry.target {
                Target::Field(index) => {
                    if let Some(field) = self.table.fields(ty).get(usize::from(*index)) {
                        let value = node.and_then(|node| self.value_of(node, field));
                        self.field(entry.number, field, value, out)?;
                    }
                }
                Target::Inline(inner) => {
                    put_message(out, entry.number, |out| self.entries(inner, ty, node, out))?;
                }
            }
        }
        Ok(())
    }

    /// The value of a field; `null` is absent.
    fn value_of(&self, node: Node, field: &Field) -> Option<Node> {
        let value = match field.name() {
            Some(name) => self.dom.field(node, name),
            None => self.dom.get(node, self.table.json_name(field)),
        };
        value.filter(|value| self.dom.value(*value) != Value::Null)
    }

    fn wrong(&self, field: &Field, message: &'static str) -> ProtobufError {
        ProtobufError::Value {
            field: self.table.json_name(field).to_owned(),
            message,
        }
    }

    fn field(&self, number: u8, field: &Field, value: Option<Node>, out: &mut Vec<u8>) -> Done {
        match self.table.shape(field.shape()) {
            Shape::List { item, wrapped } => {
                let Some(list) = value else { return Ok(()) };
                if self.dom.value(list) != Value::List {
                    return Err(self.wrong(field, "expected a list"));
                }
                if wrapped {
                    return put_message(out, number, |out| self.list(1, field, item, list, out));
                }
                self.list(number, field, item, list, out)
            }
            Shape::Map { value: of } => {
                let Some(map) = value else { return Ok(()) };
                if self.dom.value(map) != Value::Map {
                    return Err(self.wrong(field, "expected a map"));
                }
                let mut entries: Vec<_> = self.dom.entries(map).collect();
                entries.sort_unstable_by_key(|(key, _)| *key);
                for (key, value) in entries {
                    put_message(out, number, |out| {
                        put_bytes(out, 1, key.as_bytes());
                        let value = Some(value).filter(|v| self.dom.value(*v) != Value::Null);
                        self.single(2, field, of, value, out)
                    })?;
                }
                Ok(())
            }
            _ if value.is_none() && field.pointer() => Ok(()),
            _ => self.single(number, field, field.shape(), value, out),
        }
    }

    fn list(
        &self,
        number: u8,
        field: &Field,
        item: ShapeId,
        list: Node,
        out: &mut Vec<u8>,
    ) -> Done {
        for node in self.dom.items(list) {
            let value = Some(node).filter(|node| self.dom.value(*node) != Value::Null);
            self.single(number, field, item, value, out)?;
        }
        Ok(())
    }

    /// One value that is there, or the zero value of one that is not.
    fn single(
        &self,
        number: u8,
        field: &Field,
        shape: ShapeId,
        value: Option<Node>,
        out: &mut Vec<u8>,
    ) -> Done {
        match self.table.shape(shape) {
            Shape::Leaf(leaf) if is_scalar(leaf) => self.scalar(number, field, leaf, value, out),
            Shape::Leaf(Leaf::Bytes) => {
                let Some(value) = value else { return Ok(()) };
                let text = self.dom.as_str(value);
                let text = text.ok_or_else(|| self.wrong(field, "expected base64 text"))?;
                let bytes = decode_base64(text);
                let bytes = bytes.ok_or_else(|| self.wrong(field, "illegal base64 data"))?;
                put_bytes(out, number, &bytes);
                Ok(())
            }
            Shape::Leaf(leaf) => put_message(out, number, |out| self.leaf(field, leaf, value, out)),
            Shape::Struct(ty) => {
                if value.is_some_and(|value| self.dom.value(value) != Value::Map) {
                    return Err(self.wrong(field, "expected an object"));
                }
                put_message(out, number, |out| self.object(ty, value, out))
            }
            Shape::List {
                item,
                wrapped: true,
            } => put_message(out, number, |out| match value {
                Some(list) => self.list(1, field, item, list, out),
                None => Ok(()),
            }),
            Shape::List { .. } | Shape::Map { .. } => {
                Err(self.wrong(field, "lists of lists have no protobuf form"))
            }
        }
    }

    fn int(&self, field: &Field, value: Option<Node>) -> Result<i64, ProtobufError> {
        match value.map(|value| self.dom.value(value)) {
            None => Ok(0),
            Some(Value::Int(n)) => Ok(n),
            _ => Err(self.wrong(field, "expected a whole number")),
        }
    }

    fn float(&self, field: &Field, value: Option<Node>) -> Result<f64, ProtobufError> {
        match value.map(|value| self.dom.value(value)) {
            None => Ok(0.0),
            #[expect(
                clippy::cast_precision_loss,
                reason = "a float field given as an integer"
            )]
            Some(Value::Int(n)) => Ok(n as f64),
            Some(Value::Float(f)) => Ok(f),
            _ => Err(self.wrong(field, "expected a number")),
        }
    }

    fn text(&self, field: &Field, value: Option<Node>) -> Result<&str, ProtobufError> {
        match value.map(|value| self.dom.value(value)) {
            None => Ok(""),
            Some(Value::Str(text)) => Ok(text),
            _ => Err(self.wrong(field, "expected a string")),
        }
    }

    fn scalar(
        &self,
        number: u8,
        field: &Field,
        leaf: Leaf,
        value: Option<Node>,
        out: &mut Vec<u8>,
    ) -> Done {
        match leaf {
            Leaf::Str => put_bytes(out, number, self.text(field, value)?.as_bytes()),
            Leaf::Bool => {
                let bit = match value.map(|value| self.dom.value(value)) {
                    None => false,
                    Some(Value::Bool(bit)) => bit,
                    _ => return Err(self.wrong(field, "expected a boolean")),
                };
                put_number(out, number, u64::from(bit));
            }
            Leaf::Double => {
                let bits = self.float(field, value)?.to_le_bytes();
                put_tag(out, number, FIXED64);
                out.extend_from_slice(&bits);
            }
            #[expect(clippy::cast_possible_truncation, reason = "the field has 32 bits")]
            Leaf::Float => {
                let bits = (self.float(field, value)? as f32).to_le_bytes();
                put_tag(out, number, FIXED32);
                out.extend_from_slice(&bits);
            }
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a float checked to be whole"
            )]
            Leaf::Uint64 => {
                let value = match value.map(|value| self.dom.value(value)) {
                    Some(Value::Float(f)) if f >= 0.0 && f.fract() == 0.0 => f as u64,
                    _ => self.int(field, value)? as u64,
                };
                put_number(out, number, value);
            }
            _ => put_number(out, number, self.int(field, value)? as u64),
        }
        Ok(())
    }

    /// The content of a leaf that is a message.
    fn leaf(&self, field: &Field, leaf: Leaf, value: Option<Node>, out: &mut Vec<u8>) -> Done {
        match leaf {
            Leaf::Time | Leaf::MicroTime => {
                let Some(text) = value.and_then(|value| self.dom.as_str(value)) else {
                    return Ok(());
                };
                let time =
                    clock::parse(text).ok_or_else(|| self.wrong(field, "expected a time"))?;
                let (seconds, nanos) = time;
                if seconds == clock::ZERO && nanos == 0 {
                    return Ok(());
                }
                put_number(out, 1, seconds as u64);
                let nanos = if leaf == Leaf::MicroTime {
                    nanos / 1000 * 1000
                } else {
                    0
                };
                put_number(out, 2, nanos as u64);
                Ok(())
            }
            Leaf::Quantity => {
                let text = match value.map(|value| self.dom.value(value)) {
                    None => "0".to_owned(),
                    Some(Value::Str(text)) => text.to_owned(),
                    Some(Value::Int(n)) => n.to_string(),
                    Some(Value::Float(f)) => f.to_string(),
                    _ => return Err(self.wrong(field, "expected a quantity")),
                };
                put_bytes(out, 1, text.as_bytes());
                Ok(())
            }
            Leaf::IntOrString => {
                let (kind, number, text) = match value.map(|value| self.dom.value(value)) {
                    None => (0, 0, ""),
                    Some(Value::Int(n)) => (0, n, ""),
                    Some(Value::Str(text)) => (1, 0, text),
                    _ => return Err(self.wrong(field, "expected a number or a string")),
                };
                put_number(out, 1, kind);
                put_number(out, 2, number as u64);
                put_bytes(out, 3, text.as_bytes());
                Ok(())
            }
            Leaf::Raw | Leaf::Fields | Leaf::Json => {
                if let Some(value) = value {
                    let mut json = Vec::new();
                    self.dom.write_raw(value, &mut json);
                    put_bytes(out, 1, &json);
                }
                Ok(())
            }
            Leaf::SchemaOrBool => match value.map(|value| (value, self.dom.value(value))) {
                Some((value, Value::Map)) => {
                    put_number(out, 1, 1);
                    self.schema(2, value, out)
                }
                Some((_, Value::Bool(bit))) => {
                    put_number(out, 1, u64::from(bit));
                    Ok(())
                }
                None => {
                    put_number(out, 1, 0);
                    Ok(())
                }
                _ => Err(self.wrong(field, "expected a boolean or an object")),
            },
            Leaf::SchemaOrArray | Leaf::SchemaOrStrings => {
                let Some(value) = value else { return Ok(()) };
                if self.dom.value(value) == Value::Map {
                    return self.schema(1, value, out);
                }
                for item in self.dom.items(value) {
                    match (leaf, self.dom.as_str(item)) {
                        (Leaf::SchemaOrStrings, Some(text)) => put_bytes(out, 2, text.as_bytes()),
                        (Leaf::SchemaOrArray, None) => self.schema(2, item, out)?,
                        _ => return Err(self.wrong(field, "items of a wrong type")),
                    }
                }
                Ok(())
            }
            _ => Err(self.wrong(field, "has no protobuf form")),
        }
    }

    fn schema(&self, number: u8, value: Node, out: &mut Vec<u8>) -> Done {
        let Some(ty) = self.table.schema_props() else {
            return Ok(());
        };
        put_message(out, number, |out| self.object(ty, Some(value), out))
    }
}

/// Base64 as Go reads it: line breaks do not count.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    if text.contains(['\n', '\r']) {
        let compact: String = text.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
        return STANDARD.decode(compact).ok();
    }
    STANDARD.decode(text).ok()
}
