//! A document as upstream prints it: fields in the order of the Go struct, maps sorted by key,
//! and zero values left out or written as the Go tags say.
//!
//! What is absent: a pointer is omitted, or `null` without omitempty; so are lists and maps; a
//! struct by value is printed with its own zero values; a scalar is omitted with omitempty,
//! else printed as `""`, `0` or `false`. What is present is printed, except zero scalars by
//! value and empty lists and maps with omitempty. Types of custom resources print what is
//! there, all keys sorted.
//! Source: Go 1.26 encoding/json/encode.go (isEmptyValue, structEncoder, mapEncoder).

use smallvec::SmallVec;

use crate::dom::{Dom, Node, Value, write_float, write_int, write_string};
use crate::names::Name;
use crate::table::{ABSENT_OMITTED, Field, Leaf, Shape, ShapeId, Table, TypeId};

/// The canonical JSON of `node`, a value of the type `ty`.
#[must_use]
pub fn encode_json(table: &Table, ty: TypeId, dom: &Dom, node: Node) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    write_json(table, ty, dom, node, &mut out);
    out
}

/// [`encode_json`], appended to `out`.
pub fn write_json(table: &Table, ty: TypeId, dom: &Dom, node: Node, out: &mut Vec<u8>) {
    Encoder { table, dom, out }.object(ty, Some(node), 0);
}

/// The zero of `metav1.Time`, which prints as `null`.
const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// Zero values of types that contain themselves end here; no document is nested deeper.
const DEPTH: usize = 1024;

struct Encoder<'a> {
    table: &'a Table,
    dom: &'a Dom,
    out: &'a mut Vec<u8>,
}

impl Encoder<'_> {
    /// `node` is `None` for a zero value.
    fn object(&mut self, ty: TypeId, node: Option<Node>, depth: usize) {
        if depth > DEPTH {
            self.out.extend_from_slice(b"null");
            return;
        }
        if let Some(node) = node
            && self.dom.value(node) != Value::Map
        {
            return self.any(node);
        }
        if self.table.lenient(ty) {
            match node {
                Some(node) => self.sorted(node),
                None => self.out.extend_from_slice(b"{}"),
            }
            return;
        }
        let fields = self.table.fields(ty);
        let start = self.out.len();
        self.out.push(b'{');
        // The children of a document that was decoded from canonical text come in order.
        let mut child = node.and_then(|node| self.dom.first(node));
        for field in fields {
            match child {
                Some(here) if self.dom.name(here).0 == field.code => {
                    self.field(field, Some(here), depth);
                    child = self.dom.next(here);
                }
                _ => self.field(field, None, depth),
            }
        }
        if child.is_some() {
            self.out.truncate(start + 1);
            self.in_any_order(ty, node, depth);
        }
        self.out.push(b'}');
    }

    fn in_any_order(&mut self, ty: TypeId, node: Option<Node>, depth: usize) {
        let fields = self.table.fields(ty);
        let mut places: SmallVec<[Option<Node>; 64]> = SmallVec::from_elem(None, fields.len());
        let mut child = node.and_then(|node| self.dom.first(node));
        while let Some(here) = child {
            if let Some(index) = self.table.index_of_name(ty, self.dom.name(here)) {
                places[index] = Some(here);
            }
            child = self.dom.next(here);
        }
        for (field, place) in fields.iter().zip(places) {
            self.field(field, place, depth);
        }
    }

    #[inline]
    fn field(&mut self, field: &Field, node: Option<Node>, depth: usize) {
        match node {
            None if field.flags & ABSENT_OMITTED != 0 => {}
            None => self.absent(field, depth),
            Some(node) => self.present(field, node, depth),
        }
    }

    fn key(&mut self, field: &Field) {
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
        match Name::quoted(field.code) {
            Some(key) => self.out.extend_from_slice(key.as_bytes()),
            None => {
                write_string(self.out, self.table.json_name(field));
                self.out.push(b':');
            }
        }
    }

    fn absent(&mut self, field: &Field, depth: usize) {
        self.key(field);
        match field.pointer() {
            true => self.out.extend_from_slice(b"null"),
            false => self.value(field.shape, None, depth),
        }
    }

    fn present(&mut self, field: &Field, node: Node, depth: usize) {
        let shape = self.table.shape(field.shape);
        let value = self.dom.value(node);
        let kept = matches!(
            shape,
            Shape::Leaf(Leaf::Any | Leaf::Raw | Leaf::SchemaOrArray | Leaf::SchemaOrStrings)
        );
        if value == Value::Null && !kept {
            return self.field(field, None, depth);
        }
        if !field.pointer() && field.omit_empty() && self.empty(shape, node) {
            return;
        }
        if field.omit_zero() && value == Value::Str(ZERO_TIME) {
            return;
        }
        self.key(field);
        match (shape, value) {
            (Shape::Leaf(Leaf::Str | Leaf::Quantity), Value::Str(text)) => {
                write_string(self.out, text);
            }
            _ => self.value(field.shape, Some(node), depth),
        }
    }

    /// Whether Go's omitempty leaves a present value out.
    fn empty(&self, shape: Shape, node: Node) -> bool {
        match (shape, self.dom.value(node)) {
            (Shape::Leaf(Leaf::Any), _) => false,
            (shape, _) if !shape.can_be_empty() => false,
            (_, Value::Null | Value::Bool(false) | Value::Int(0) | Value::Str("")) => true,
            (_, Value::Float(f)) => f == 0.0,
            (_, Value::List | Value::Map) => self.dom.is_empty(node),
            _ => false,
        }
    }

    fn value(&mut self, shape: ShapeId, node: Option<Node>, depth: usize) {
        match (self.table.shape(shape), node) {
            (Shape::Struct(ty), node) => self.object(ty, node, depth + 1),
            (Shape::Leaf(leaf), None) => self.out.extend_from_slice(zero(leaf)),
            (Shape::Leaf(leaf), Some(node)) => self.leaf(leaf, node, depth),
            (_, None) => self.out.extend_from_slice(b"null"),
            (Shape::List { item, .. }, Some(node)) => self.list(item, node, depth),
            (Shape::Map { value }, Some(node)) => self.map(value, node, depth),
        }
    }

    fn element(&mut self, shape: ShapeId, node: Node, depth: usize) {
        let null = self.dom.value(node) == Value::Null;
        self.value(shape, (!null).then_some(node), depth);
    }

    fn list(&mut self, item: ShapeId, node: Node, depth: usize) {
        if self.dom.value(node) != Value::List || depth > DEPTH {
            return self.any(node);
        }
        self.out.push(b'[');
        for (n, node) in self.dom.items(node).enumerate() {
            if n > 0 {
                self.out.push(b',');
            }
            self.element(item, node, depth + 1);
        }
        self.out.push(b']');
    }

    fn map(&mut self, value: ShapeId, node: Node, depth: usize) {
        if self.dom.value(node) != Value::Map || depth > DEPTH {
            return self.any(node);
        }
        self.out.push(b'{');
        let dom = self.dom;
        let mut write = |n: usize, key: &str, node: Node| {
            if n > 0 {
                self.out.push(b',');
            }
            write_string(self.out, key);
            self.out.push(b':');
            self.element(value, node, depth + 1);
        };
        if dom.entries(node).is_sorted_by(|a, b| a.0 < b.0) {
            dom.entries(node)
                .enumerate()
                .for_each(|(n, (key, node))| write(n, key, node));
        } else {
            let mut entries: Vec<_> = dom.entries(node).collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            entries
                .iter()
                .enumerate()
                .for_each(|(n, (key, node))| write(n, key, *node));
        }
        self.out.push(b'}');
    }

    fn leaf(&mut self, leaf: Leaf, node: Node, depth: usize) {
        match (leaf, self.dom.value(node)) {
            (Leaf::Raw | Leaf::Fields | Leaf::Json, _) => self.dom.write_raw(node, self.out),
            (Leaf::SchemaOrBool | Leaf::SchemaOrArray | Leaf::SchemaOrStrings, value) => {
                match (self.table.schema_props(), value) {
                    (Some(schema), Value::Map) => self.object(schema, Some(node), depth + 1),
                    (Some(schema), Value::List) if leaf == Leaf::SchemaOrArray => {
                        if self.dom.is_empty(node) {
                            self.out.extend_from_slice(b"null");
                            return;
                        }
                        for (n, item) in self.dom.items(node).enumerate() {
                            self.out.push(if n == 0 { b'[' } else { b',' });
                            self.object(schema, Some(item), depth + 1);
                        }
                        self.out.push(b']');
                    }
                    (_, Value::List) if self.dom.is_empty(node) => {
                        self.out.extend_from_slice(b"null");
                    }
                    _ => self.any(node),
                }
            }
            (Leaf::Any, Value::List | Value::Map) => self.sorted(node),
            (Leaf::Double, Value::Float(f)) => write_float(self.out, f),
            (Leaf::Time, Value::Str("" | ZERO_TIME))
            | (Leaf::MicroTime, Value::Str("" | "0001-01-01T00:00:00.000000Z")) => {
                self.out.extend_from_slice(b"null");
            }
            (_, Value::Str(text)) => write_string(self.out, text),
            (_, Value::Int(n)) => write_int(self.out, n),
            _ => self.any(node),
        }
    }

    fn any(&mut self, node: Node) {
        self.dom.write_json(node, self.out);
    }

    /// Untyped JSON as Go prints it from its own maps: every map sorted by key.
    fn sorted(&mut self, node: Node) {
        self.dom.write_sorted(node, self.out);
    }
}

fn zero(leaf: Leaf) -> &'static [u8] {
    match leaf {
        Leaf::Str => b"\"\"",
        Leaf::Bool | Leaf::SchemaOrBool => b"false",
        Leaf::Int32
        | Leaf::Int64
        | Leaf::Uint32
        | Leaf::Uint64
        | Leaf::Double
        | Leaf::Float
        | Leaf::IntOrString => b"0",
        Leaf::Quantity => b"\"0\"",
        Leaf::Duration => b"\"0s\"",
        _ => b"null",
    }
}

#[cfg(test)]
mod tests;
