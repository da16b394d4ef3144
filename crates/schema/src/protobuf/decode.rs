//! A protobuf message as a document of its type.
//!
//! Zero values that Go holds by value and JSON omits are dropped, so that the document is the
//! one that the JSON form would have made. Unknown numbers are skipped, as upstream.

use std::borrow::Cow;
use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::plan::{Entry, Plans, Target, plans};
use super::wire::{BYTES, Reader, Wire};
use super::{ProtobufError, clock, envelope};
use crate::dom::{Dom, Limits, Node, Value};
use crate::table::{Field, Leaf, Shape, ShapeId, Table, TypeId};

/// Reads a bare message (no envelope) of type `ty`.
///
/// # Errors
/// When the bytes are malformed or exceed `limits`.
pub fn decode(
    table: &Table,
    ty: TypeId,
    bytes: &[u8],
    limits: &Limits,
) -> Result<Dom, ProtobufError> {
    let mut dom = Dom::new();
    let root = dom.new_map();
    dom.set_root(root);
    decode_into(table, ty, bytes, limits, &mut dom, root)?;
    Ok(dom)
}

/// Reads a bare message of type `ty` into the map `root` of a document.
///
/// # Errors
/// When the bytes are malformed or exceed `limits`.
pub fn decode_into(
    table: &Table,
    ty: TypeId,
    bytes: &[u8],
    limits: &Limits,
    dom: &mut Dom,
    root: Node,
) -> Result<(), ProtobufError> {
    if bytes.len() > limits.bytes {
        return Err(ProtobufError::Limit("bytes"));
    }
    let plans = plans(table);
    let mut decoder = Decoder {
        table,
        plans: &plans,
        dom,
        limits,
        depth: 1,
        nodes: 0,
        keys: HashMap::new(),
    };
    decoder.object(ty, bytes, root)
}

struct Decoder<'a> {
    table: &'a Table,
    plans: &'a Plans,
    dom: &'a mut Dom,
    limits: &'a Limits,
    depth: usize,
    nodes: usize,
    /// Entries of large maps, so that repeated keys are found without searching.
    keys: HashMap<(Node, String), Node>,
}

/// From this many entries on, a map's keys are looked up in a table.
const LARGE: usize = 16;

fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

impl Decoder<'_> {
    fn count(&mut self) -> Result<(), ProtobufError> {
        self.nodes += 1;
        if self.nodes > self.limits.nodes {
            return Err(ProtobufError::Limit("values"));
        }
        Ok(())
    }

    fn object(&mut self, ty: TypeId, bytes: &[u8], map: Node) -> Result<(), ProtobufError> {
        let plans = self.plans;
        self.entries(plans.of(ty), ty, bytes, map)
    }

    fn entries(
        &mut self,
        plan: &[Entry],
        ty: TypeId,
        bytes: &[u8],
        map: Node,
    ) -> Result<(), ProtobufError> {
        let table = self.table;
        let mut reader = Reader::new(bytes);
        while let Some((number, wire)) = reader.field()? {
            let found = plan.iter().find(|entry| u32::from(entry.number) == number);
            match found.map(|entry| &entry.target) {
                None => {}
                Some(Target::Inline(inner)) => match wire {
                    Wire::Bytes(bytes) => self.entries(inner, ty, bytes, map)?,
                    other => {
                        let field = table.type_name(ty).to_owned();
                        return Err(ProtobufError::WireType {
                            wire: other.kind(),
                            field,
                        });
                    }
                },
                Some(Target::Field(index)) => {
                    if let Some(field) = table.fields(ty).get(usize::from(*index)) {
                        self.field(field, wire, map)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn wrong(&self, field: &Field, wire: Wire<'_>) -> ProtobufError {
        let field = self.table.json_name(field).to_owned();
        ProtobufError::WireType {
            wire: wire.kind(),
            field,
        }
    }

    fn bytes<'w>(&self, field: &Field, wire: Wire<'w>) -> Result<&'w [u8], ProtobufError> {
        match wire {
            Wire::Bytes(bytes) => Ok(bytes),
            other => Err(self.wrong(field, other)),
        }
    }

    fn find(&self, map: Node, field: &Field) -> Option<Node> {
        match field.name() {
            Some(name) => self.dom.field(map, name),
            None => self.dom.get(map, self.table.json_name(field)),
        }
    }

    fn put(&mut self, map: Node, field: &Field, value: Node) {
        match self.find(map, field) {
            Some(old) => self.dom.replace(old, value),
            None => self
                .dom
                .append_entry(map, self.table.json_name(field), value),
        }
    }

    fn field(&mut self, field: &Field, wire: Wire<'_>, map: Node) -> Result<(), ProtobufError> {
        match self.table.shape(field.shape()) {
            Shape::List { item, wrapped } => {
                let list = match self.find(map, field) {
                    Some(list) => list,
                    None => {
                        self.count()?;
                        let list = self.dom.new_list();
                        self.put(map, field, list);
                        list
                    }
                };
                if !wrapped {
                    return self.items(field, item, wire, list);
                }
                self.wrapped(field, item, self.bytes(field, wire)?, list)
            }
            Shape::Map { value } => {
                let target = match self.find(map, field) {
                    Some(target) => target,
                    None => {
                        self.count()?;
                        let target = self.dom.new_map();
                        self.put(map, field, target);
                        target
                    }
                };
                self.map_entry(field, value, self.bytes(field, wire)?, target)
            }
            Shape::Struct(ty) => {
                let bytes = self.bytes(field, wire)?;
                // A message that comes twice is merged.
                let target = match self.find(map, field) {
                    Some(target) => target,
                    None => {
                        if bytes.is_empty() && field.omit_zero() {
                            return Ok(());
                        }
                        self.count()?;
                        let target = self.dom.new_map();
                        self.put(map, field, target);
                        target
                    }
                };
                self.nested(ty, bytes, target)
            }
            Shape::Leaf(leaf) => {
                let value = self.leaf(field, leaf, wire)?;
                if self.is_omitted(field, value) {
                    return Ok(());
                }
                self.put(map, field, value);
                Ok(())
            }
        }
    }

    fn nested(&mut self, ty: TypeId, bytes: &[u8], map: Node) -> Result<(), ProtobufError> {
        self.depth += 1;
        if self.depth > self.limits.depth {
            return Err(ProtobufError::Limit("depth"));
        }
        self.object(ty, bytes, map)?;
        self.depth -= 1;
        Ok(())
    }

    /// Is this a zero value that the JSON form leaves out?
    fn is_omitted(&self, field: &Field, value: Node) -> bool {
        if field.pointer() {
            return false;
        }
        match self.dom.value(value) {
            Value::Null => field.omit_zero(),
            // No struct is left out, also one that is written as an empty text.
            _ if !field.omit_empty() || !self.table.shape(field.shape()).can_be_empty() => false,
            Value::Bool(bit) => !bit,
            Value::Int(number) => number == 0,
            Value::Float(number) => number == 0.0,
            Value::Str(text) => text.is_empty(),
            Value::List | Value::Map => false,
        }
    }

    fn items(
        &mut self,
        field: &Field,
        item: ShapeId,
        wire: Wire<'_>,
        list: Node,
    ) -> Result<(), ProtobufError> {
        if let (Shape::Leaf(leaf), Wire::Bytes(packed)) = (self.table.shape(item), wire)
            && matches!(
                leaf,
                Leaf::Int32 | Leaf::Int64 | Leaf::Uint32 | Leaf::Uint64 | Leaf::Bool
            )
        {
            let mut reader = Reader::new(packed);
            while !reader.is_empty() {
                let number = reader.varint()?;
                let value = self.leaf(field, leaf, Wire::Varint(number))?;
                self.dom.put_children(list, [value]);
            }
            return Ok(());
        }
        let value = self.single(field, item, wire)?;
        self.dom.put_children(list, [value]);
        Ok(())
    }

    fn wrapped(
        &mut self,
        field: &Field,
        item: ShapeId,
        bytes: &[u8],
        list: Node,
    ) -> Result<(), ProtobufError> {
        let mut reader = Reader::new(bytes);
        while let Some((number, wire)) = reader.field()? {
            if number == 1 {
                self.items(field, item, wire, list)?;
            }
        }
        Ok(())
    }

    /// A value without a name: an item, or an entry of a map.
    fn single(
        &mut self,
        field: &Field,
        shape: ShapeId,
        wire: Wire<'_>,
    ) -> Result<Node, ProtobufError> {
        match self.table.shape(shape) {
            Shape::Leaf(leaf) => self.leaf(field, leaf, wire),
            Shape::Struct(ty) => {
                let bytes = self.bytes(field, wire)?;
                self.count()?;
                let map = self.dom.new_map();
                self.nested(ty, bytes, map)?;
                Ok(map)
            }
            Shape::List {
                item,
                wrapped: true,
            } => {
                let bytes = self.bytes(field, wire)?;
                self.count()?;
                let list = self.dom.new_list();
                self.wrapped(field, item, bytes, list)?;
                Ok(list)
            }
            Shape::List { .. } | Shape::Map { .. } => Err(self.wrong(field, wire)),
        }
    }

    fn map_entry(
        &mut self,
        field: &Field,
        shape: ShapeId,
        bytes: &[u8],
        map: Node,
    ) -> Result<(), ProtobufError> {
        let mut reader = Reader::new(bytes);
        let mut key = Cow::Borrowed("");
        let mut value = None;
        while let Some((number, wire)) = reader.field()? {
            match number {
                1 => key = text(self.bytes(field, wire)?),
                2 => value = Some(wire),
                _ => {}
            }
        }
        let value = match value {
            Some(wire) => self.single(field, shape, wire)?,
            None => match self.table.shape(shape) {
                Shape::Leaf(Leaf::Bytes) => self.dom.new_null(),
                Shape::Leaf(leaf) => self.zero(leaf),
                _ => self.single(field, shape, Wire::Bytes(&[]))?,
            },
        };
        self.put_entry(map, &key, value);
        Ok(())
    }

    fn zero(&mut self, leaf: Leaf) -> Node {
        match leaf {
            Leaf::Str => self.dom.new_str(""),
            Leaf::Bool => self.dom.new_bool(false),
            Leaf::Quantity => self.dom.new_str("0"),
            Leaf::Time | Leaf::MicroTime | Leaf::Raw | Leaf::Json | Leaf::Fields => {
                self.dom.new_null()
            }
            _ => self.dom.new_int(0),
        }
    }

    fn put_entry(&mut self, map: Node, key: &str, value: Node) {
        let count = self.dom.len(map);
        if count < LARGE {
            match self.dom.get(map, key) {
                Some(old) => self.dom.replace(old, value),
                None => self.dom.append_entry(map, key, value),
            }
            return;
        }
        if count == LARGE {
            let entries: Vec<_> = self
                .dom
                .entries(map)
                .map(|(key, node)| ((map, key.to_owned()), node))
                .collect();
            self.keys.extend(entries);
        }
        match self.keys.get(&(map, key.to_owned())) {
            Some(old) => self.dom.replace(*old, value),
            None => {
                self.dom.append_entry(map, key, value);
                self.keys.insert((map, key.to_owned()), value);
            }
        }
    }

    fn whole(&mut self, value: f64) -> Node {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "checked to be whole and small"
        )]
        if value.fract() == 0.0 && value.abs() < 9e15 {
            return self.dom.new_int(value as i64);
        }
        if value.is_finite() {
            self.dom.new_float(value)
        } else {
            self.dom.new_null()
        }
    }

    fn leaf(&mut self, field: &Field, leaf: Leaf, wire: Wire<'_>) -> Result<Node, ProtobufError> {
        self.count()?;
        let node = match (leaf, wire) {
            (Leaf::Str, Wire::Bytes(bytes)) => self.dom.new_str(&text(bytes)),
            (Leaf::Bytes, Wire::Bytes(bytes)) => {
                let text = STANDARD.encode(bytes);
                self.dom.new_str(&text)
            }
            (Leaf::Bool, Wire::Varint(n)) => self.dom.new_bool(n != 0),
            #[expect(clippy::cast_possible_truncation, reason = "the field has 32 bits")]
            (Leaf::Int32, Wire::Varint(n)) => self.dom.new_int(i64::from(n as i32)),
            (Leaf::Int64, Wire::Varint(n)) => self.dom.new_int(n as i64),
            #[expect(clippy::cast_possible_truncation, reason = "the field has 32 bits")]
            (Leaf::Uint32, Wire::Varint(n)) => self.dom.new_int(i64::from(n as u32)),
            (Leaf::Uint64, Wire::Varint(n)) => match i64::try_from(n) {
                Ok(n) => self.dom.new_int(n),
                #[expect(clippy::cast_precision_loss, reason = "as in JSON")]
                Err(_) => self.dom.new_float(n as f64),
            },
            (Leaf::Double, Wire::Fixed64(bits)) => self.whole(f64::from_bits(bits)),
            (Leaf::Float, Wire::Fixed32(bits)) => self.whole(f64::from(f32::from_bits(bits))),
            (_, Wire::Bytes(bytes)) => return self.message_leaf(field, leaf, bytes),
            (_, other) => return Err(self.wrong(field, other)),
        };
        Ok(node)
    }

    fn message_leaf(
        &mut self,
        field: &Field,
        leaf: Leaf,
        bytes: &[u8],
    ) -> Result<Node, ProtobufError> {
        match leaf {
            Leaf::Time | Leaf::MicroTime => self.time(field, leaf, bytes),
            Leaf::Quantity => {
                let mut found = Cow::Borrowed("0");
                let mut reader = Reader::new(bytes);
                while let Some((number, wire)) = reader.field()? {
                    if let (1, Wire::Bytes(bytes)) = (number, wire) {
                        found = text(bytes);
                    }
                }
                Ok(self.dom.new_str(&found))
            }
            Leaf::IntOrString => {
                let (mut kind, mut number, mut string) = (0, 0, Cow::Borrowed(""));
                let mut reader = Reader::new(bytes);
                while let Some(found) = reader.field()? {
                    match found {
                        (1, Wire::Varint(n)) => kind = n,
                        #[expect(clippy::cast_possible_truncation, reason = "32 bits")]
                        (2, Wire::Varint(n)) => number = i64::from(n as i32),
                        (3, Wire::Bytes(bytes)) => string = text(bytes),
                        _ => {}
                    }
                }
                Ok(if kind == 1 {
                    self.dom.new_str(&string)
                } else {
                    self.dom.new_int(number)
                })
            }
            Leaf::Raw | Leaf::Fields | Leaf::Json => {
                let mut raw: &[u8] = &[];
                let mut reader = Reader::new(bytes);
                while let Some((number, wire)) = reader.field()? {
                    if let (1, Wire::Bytes(bytes)) = (number, wire) {
                        raw = bytes;
                    }
                }
                self.embedded(raw)
            }
            Leaf::SchemaOrBool | Leaf::SchemaOrArray | Leaf::SchemaOrStrings => {
                self.schema_or(leaf, bytes)
            }
            _ => Err(ProtobufError::WireType {
                wire: BYTES,
                field: self.table.json_name(field).to_owned(),
            }),
        }
    }

    fn time(&mut self, field: &Field, leaf: Leaf, bytes: &[u8]) -> Result<Node, ProtobufError> {
        if bytes.is_empty() {
            return Ok(self.dom.new_null());
        }
        let (mut seconds, mut nanos) = (0_i64, 0_i64);
        let mut reader = Reader::new(bytes);
        while let Some((number, wire)) = reader.field()? {
            match (number, wire) {
                (1, Wire::Varint(n)) => seconds = n as i64,
                #[expect(clippy::cast_possible_truncation, reason = "the field has 32 bits")]
                (2, Wire::Varint(n)) => nanos = i64::from(n as i32),
                _ => {}
            }
        }
        let micros = (leaf == Leaf::MicroTime).then_some(nanos.clamp(0, 999_999_999) / 1000);
        if seconds == clock::ZERO && micros.unwrap_or(0) == 0 {
            return Ok(self.dom.new_null());
        }
        match clock::format(seconds, micros) {
            Some(text) => Ok(self.dom.new_str(&text)),
            None => Err(ProtobufError::Value {
                field: self.table.json_name(field).to_owned(),
                message: "time out of range",
            }),
        }
    }

    /// Any JSON, or an enveloped protobuf object.
    fn embedded(&mut self, raw: &[u8]) -> Result<Node, ProtobufError> {
        if raw.is_empty() {
            return Ok(self.dom.new_null());
        }
        let depth = self.limits.depth.saturating_sub(self.depth);
        let limits = Limits {
            depth,
            ..*self.limits
        };
        let inner = if envelope::is_enveloped(raw) {
            if depth == 0 {
                return Err(ProtobufError::Limit("depth"));
            }
            envelope::from_wire(self.table, raw, &limits)?.1
        } else {
            Dom::parse_json_within(raw, &limits)?.dom
        };
        Ok(self.dom.import(&inner, inner.root()))
    }

    fn schema_or(&mut self, leaf: Leaf, bytes: &[u8]) -> Result<Node, ProtobufError> {
        let Some(ty) = self.table.schema_props() else {
            return Ok(self.dom.new_null());
        };
        let mut allowed = false;
        let mut schema = None;
        let list = self.dom.new_list();
        let mut reader = Reader::new(bytes);
        while let Some(found) = reader.field()? {
            match (leaf, found) {
                (Leaf::SchemaOrBool, (1, Wire::Varint(n))) => allowed = n != 0,
                (Leaf::SchemaOrBool, (2, Wire::Bytes(bytes)))
                | (Leaf::SchemaOrArray | Leaf::SchemaOrStrings, (1, Wire::Bytes(bytes))) => {
                    let map = self.dom.new_map();
                    self.nested(ty, bytes, map)?;
                    schema = Some(map);
                }
                (Leaf::SchemaOrArray, (2, Wire::Bytes(bytes))) => {
                    self.count()?;
                    let map = self.dom.new_map();
                    self.nested(ty, bytes, map)?;
                    self.dom.put_children(list, [map]);
                }
                (Leaf::SchemaOrStrings, (2, Wire::Bytes(bytes))) => {
                    self.count()?;
                    let item = self.dom.new_str(&text(bytes));
                    self.dom.put_children(list, [item]);
                }
                _ => {}
            }
        }
        Ok(match schema {
            _ if !self.dom.is_empty(list) => list,
            Some(schema) => schema,
            None if leaf == Leaf::SchemaOrBool => self.dom.new_bool(allowed),
            None => self.dom.new_null(),
        })
    }
}
