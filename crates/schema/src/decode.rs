//! JSON text into a document, checked against a type.
//!
//! One pass from bytes to nodes. Fields that the type does not have are dropped and reported,
//! fields that come twice are reported, `null` counts as absent, names match by case. A value
//! of the wrong type fails with upstream's words once the rest has been read. Quantities, times
//! and bytes get their canonical text here. Types of custom resources are lenient: a value of
//! the wrong type stays as it is, for validation to name.
//! Source: sigs.k8s.io/json internal/golang/encoding/json/{decode,kubernetes_patch}.go (the
//! order of errors included: syntax, a type's own parser, the first wrong type, strictness).

mod leaf;
pub(crate) mod quantity;
pub(crate) mod time;

use std::fmt;

use thiserror::Error;

use crate::dom::{
    Dom, LargeMaps, Lexer, Limits, Node, Stop, SyntaxError, Text, parse_value, quote_go, sanitize,
};
use crate::names::{self, Name};
use crate::table::{Field, Leaf, Shape, ShapeId, Table, TypeId};

/// A document that fits its type.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The document, without unknown fields.
    pub dom: Dom,
    /// What strict field validation would refuse, at most 100.
    pub findings: Vec<Finding>,
}

/// Why strict field validation refuses a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which of the two it is.
    pub kind: FindingKind,
    /// Where, like `spec.containers[0].imag`.
    pub path: String,
}

/// See [`Finding`].
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum FindingKind {
    /// The type has no such field.
    Unknown,
    /// The field came before; the last one counts.
    Duplicate,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            FindingKind::Unknown => "unknown field",
            FindingKind::Duplicate => "duplicate field",
        };
        write!(f, "{kind} {}", quote_go(&self.path))
    }
}

/// Why bytes are not a value of a type.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Not JSON, or beyond the limits.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// A JSON value of another kind than the field's.
    #[error("{0}")]
    Type(String),
    /// Text that is no time, quantity, base64 …
    #[error("{0}")]
    Value(String),
}

/// Reads `source` as a value of the type `ty`.
///
/// # Errors
/// When the text is not JSON, goes beyond the limits or does not fit the type.
pub fn decode_json(
    table: &Table,
    ty: TypeId,
    source: &[u8],
    limits: &Limits,
) -> Result<Decoded, DecodeError> {
    let limit = limits.bytes.min(1 << 30);
    if source.len() > limit {
        return Err(SyntaxError::Bytes {
            found: source.len(),
            limit,
        }
        .into());
    }
    let source = sanitize(source);
    let mut decoder = Decoder {
        table,
        lex: Lexer::new(&source),
        dom: Dom::over(&source),
        limits,
        findings: Vec::new(),
        error: None,
        large: LargeMaps::default(),
        steps: Vec::new(),
        quiet: 0,
        depth: 0,
        top: ty,
    };
    match decoder.document() {
        Ok(()) => {}
        Err(Abort::Syntax) => return Err(decoder.lex.into_error().into()),
        Err(Abort::Value(error)) => {
            let error = *error;
            // Upstream checks the syntax of the whole text first.
            Dom::parse_json_within(source.as_bytes(), limits)?;
            return Err(error);
        }
    }
    decoder.dom.bury(&mut decoder.large);
    match decoder.error {
        Some(error) => Err(error),
        None => Ok(Decoded {
            dom: decoder.dom,
            findings: decoder.findings,
        }),
    }
}

/// Why decoding stops at once.
enum Abort {
    /// The lexer knows.
    Syntax,
    Value(Box<DecodeError>),
}

impl From<Stop> for Abort {
    fn from(_: Stop) -> Self {
        Abort::Syntax
    }
}

/// Where a value will sit: its container, and its key unless that is a list.
type Place = Option<(Node, Option<Name>)>;

struct Decoder<'a> {
    table: &'a Table,
    lex: Lexer<'a>,
    dom: Dom,
    limits: &'a Limits,
    findings: Vec<Finding>,
    /// The first value of a wrong type.
    error: Option<DecodeError>,
    large: LargeMaps,
    /// The struct fields around the current value.
    steps: Vec<(TypeId, u16)>,
    /// Above zero inside of types whose own parser is not strict.
    quiet: u32,
    depth: usize,
    top: TypeId,
}

impl<'a> Decoder<'a> {
    fn document(&mut self) -> Result<(), Abort> {
        let root = match self.lex.peek() {
            Some(b'{') => self.object(self.top, None)?,
            Some(b'n') => {
                self.lex.literal("null")?;
                self.dom.new_map()
            }
            _ => self.mismatch(None, None)?,
        };
        self.dom.set_root(root);
        match self.lex.peek() {
            None => Ok(()),
            Some(_) => Err(self.lex.unexpected("after top-level value").into()),
        }
    }

    fn attach(&mut self, place: Place, node: Node) {
        if let Some((parent, key)) = place {
            self.dom.attach(parent, node, key);
        }
    }

    #[inline]
    fn check_room(&mut self) -> Result<(), Stop> {
        match self.dom.nodes() >= self.limits.nodes {
            true => Err(self.lex.fail(SyntaxError::Nodes {
                limit: self.limits.nodes,
            })),
            false => Ok(()),
        }
    }

    #[inline]
    fn enter(&mut self) -> Result<(), Stop> {
        self.lex.pos += 1;
        self.depth += 1;
        match self.depth > self.limits.depth {
            true => Err(self.lex.fail(SyntaxError::Depth)),
            false => Ok(()),
        }
    }

    fn find(&mut self, kind: FindingKind, map: Node, key: &str) {
        if self.quiet > 0 || self.findings.len() >= 100 || !self.large.may_report() {
            return;
        }
        let mut path = self.dom.path_to(map, None);
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(key);
        let finding = Finding { kind, path };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    /// Reads an object whose brace is next.
    fn object(&mut self, ty: TypeId, place: Place) -> Result<Node, Abort> {
        self.check_room()?;
        self.enter()?;
        let map = self.dom.new_map();
        self.attach(place, map);
        let table = self.table;
        let fields = table.fields(ty);
        let lenient = table.lenient(ty);
        let mut seen = 0u128;
        let mut expected = 0;
        if self.lex.peek() == Some(b'}') {
            self.lex.pos += 1;
            self.depth -= 1;
            return Ok(map);
        }
        loop {
            if self.lex.peek() != Some(b'"') {
                return Err(self
                    .lex
                    .unexpected("looking for beginning of object key string")
                    .into());
            }
            let token = self.lex.string()?;
            let key = &*token.read(self.lex.src);
            let found = match fields.get(expected) {
                Some(field) if table.json_name(field) == key => Some(expected),
                _ => table.index(ty, key),
            };
            if self.lex.peek() != Some(b':') {
                return Err(self.lex.unexpected("after object key").into());
            }
            self.lex.pos += 1;
            match found {
                Some(index) => {
                    expected = index + 1;
                    let field = &fields[index];
                    let name = match field.name() {
                        Some(name) => name,
                        None => self.dom.key_token(self.lex.src, token),
                    };
                    let bit = 1u128.checked_shl(index as u32).unwrap_or(0);
                    if seen & bit != 0 || bit == 0 {
                        self.again(map, name, key);
                    }
                    seen |= bit;
                    self.steps.push((ty, index as u16));
                    self.field(field, lenient, map, name)?;
                    self.steps.pop();
                }
                None if lenient => self.undeclared(ty, map, token, key)?,
                None => {
                    self.find(FindingKind::Unknown, map, key);
                    self.skip()?;
                }
            }
            match self.lex.peek() {
                Some(b',') => self.lex.pos += 1,
                Some(b'}') => break,
                _ => return Err(self.lex.unexpected("after object key:value pair").into()),
            }
            self.lex.peek();
        }
        self.lex.pos += 1;
        self.depth -= 1;
        Ok(map)
    }

    /// Takes an earlier value under the same key out.
    #[cold]
    fn again(&mut self, map: Node, name: Name, key: &str) {
        if let Some(old) = self.dom.find_again(&mut self.large, map, name) {
            self.dom.kill(&mut self.large, map, old);
            self.find(FindingKind::Duplicate, map, key);
        } else if name.0 < names::STATIC {
            // The earlier one was `null`.
            self.find(FindingKind::Duplicate, map, key);
        }
    }

    fn field(&mut self, field: &Field, lenient: bool, map: Node, name: Name) -> Result<(), Abort> {
        if self.lex.peek() == Some(b'n') {
            self.lex.literal("null")?;
            if lenient {
                self.check_room()?;
                let node = self.dom.new_null();
                self.dom.attach(map, node, Some(name));
            }
            return Ok(());
        }
        self.value(field.shape, lenient, Some((map, Some(name))))?;
        Ok(())
    }

    /// A field that a custom resource's schema does not declare.
    fn undeclared(&mut self, ty: TypeId, map: Node, token: Text, key: &str) -> Result<(), Abort> {
        if !self.table.preserves_unknown(ty) {
            self.find(FindingKind::Unknown, map, key);
            return self.skip();
        }
        let name = self.dom.key_token(self.lex.src, token);
        if let Some(old) = self.dom.find_again(&mut self.large, map, name) {
            self.dom.kill(&mut self.large, map, old);
            self.find(FindingKind::Duplicate, map, key);
        }
        let node = self.any(Some((map, Some(name))), true)?;
        self.dom.remember(&mut self.large, map, node);
        Ok(())
    }

    /// Reads a value and drops it.
    fn skip(&mut self) -> Result<(), Abort> {
        self.any(None, false)?;
        Ok(())
    }

    /// Reads a value of any shape.
    fn any(&mut self, place: Place, report: bool) -> Result<Node, Abort> {
        let mut duplicates = Vec::new();
        let node = parse_value(
            &mut self.lex,
            &mut self.dom,
            self.limits,
            self.depth,
            place,
            &mut self.large,
            &mut duplicates,
        )?;
        if report && self.quiet == 0 {
            for path in duplicates {
                self.findings.push(Finding {
                    kind: FindingKind::Duplicate,
                    path,
                });
            }
        }
        Ok(node)
    }

    /// Reads a value that is not `null`.
    #[inline]
    fn value(&mut self, shape: ShapeId, lenient: bool, place: Place) -> Result<Node, Abort> {
        let first = self.lex.peek();
        match (self.table.shape(shape), first) {
            (Shape::Leaf(leaf), _) => self.leaf(leaf, shape, place),
            (Shape::Struct(ty), Some(b'{')) => self.object(ty, place),
            (Shape::List { item, .. }, Some(b'[')) => self.list(item, lenient, place),
            (Shape::Map { value }, Some(b'{')) => self.map(value, lenient, place),
            _ if lenient => self.any(place, true),
            _ => self.mismatch(Some(shape), place),
        }
    }

    fn list(&mut self, item: ShapeId, lenient: bool, place: Place) -> Result<Node, Abort> {
        self.check_room()?;
        self.enter()?;
        let list = self.dom.new_list();
        self.attach(place, list);
        if self.lex.peek() == Some(b']') {
            self.lex.pos += 1;
            self.depth -= 1;
            return Ok(list);
        }
        loop {
            self.element(item, lenient, (list, None))?;
            match self.lex.peek() {
                Some(b',') => self.lex.pos += 1,
                Some(b']') => break,
                _ => return Err(self.lex.unexpected("after array element").into()),
            }
        }
        self.lex.pos += 1;
        self.depth -= 1;
        Ok(list)
    }

    fn map(&mut self, value: ShapeId, lenient: bool, place: Place) -> Result<Node, Abort> {
        self.check_room()?;
        self.enter()?;
        let map = self.dom.new_map();
        self.attach(place, map);
        if self.lex.peek() == Some(b'}') {
            self.lex.pos += 1;
            self.depth -= 1;
            return Ok(map);
        }
        loop {
            if self.lex.peek() != Some(b'"') {
                return Err(self
                    .lex
                    .unexpected("looking for beginning of object key string")
                    .into());
            }
            let token = self.lex.string()?;
            let name = self.dom.key_token(self.lex.src, token);
            if self.lex.peek() != Some(b':') {
                return Err(self.lex.unexpected("after object key").into());
            }
            self.lex.pos += 1;
            if let Some(old) = self.dom.find_again(&mut self.large, map, name) {
                let key = self.dom.key(old).to_owned();
                self.find(FindingKind::Duplicate, map, &key);
                self.dom.kill(&mut self.large, map, old);
            }
            let node = self.element(value, lenient, (map, Some(name)))?;
            self.dom.remember(&mut self.large, map, node);
            match self.lex.peek() {
                Some(b',') => self.lex.pos += 1,
                Some(b'}') => break,
                _ => return Err(self.lex.unexpected("after object key:value pair").into()),
            }
        }
        self.lex.pos += 1;
        self.depth -= 1;
        Ok(map)
    }

    /// An item of a list or a map, where `null` stands for the zero value.
    fn element(
        &mut self,
        shape: ShapeId,
        lenient: bool,
        (parent, key): (Node, Option<Name>),
    ) -> Result<Node, Abort> {
        if self.lex.peek() != Some(b'n') {
            return self.value(shape, lenient, Some((parent, key)));
        }
        self.check_room()?;
        self.lex.literal("null")?;
        let node = match self.table.shape(shape) {
            _ if lenient => self.dom.new_null(),
            Shape::Struct(_) => self.dom.new_map(),
            Shape::Leaf(Leaf::Str) => self.dom.new_str(""),
            Shape::Leaf(Leaf::Bool) => self.dom.new_bool(false),
            Shape::Leaf(Leaf::Int32 | Leaf::Int64 | Leaf::Uint32 | Leaf::Uint64) => {
                self.dom.new_int(0)
            }
            Shape::Leaf(Leaf::Quantity) => self.dom.new_str("0"),
            _ => self.dom.new_null(),
        };
        self.dom.attach(parent, node, key);
        Ok(node)
    }

    /// Remembers that a value has the wrong type, unless one had before, and reads past it.
    #[cold]
    fn mismatch(&mut self, shape: Option<ShapeId>, place: Place) -> Result<Node, Abort> {
        let found = match self.lex.peek() {
            Some(b'"') => "string",
            Some(b'{') => "object",
            Some(b'[') => "array",
            Some(b't' | b'f') => "bool",
            Some(b'-' | b'0'..=b'9') => "number",
            _ => return Err(self.lex.unexpected("looking for beginning of value").into()),
        };
        self.wrong(found, shape, None);
        let node = self.any(None, false)?;
        let _ = place;
        Ok(node)
    }

    /// Notes a value of the wrong type; `own` overrides the type's name.
    fn wrong(&mut self, found: &str, shape: Option<ShapeId>, own: Option<&str>) {
        if self.error.is_none() {
            self.error = Some(self.type_error(found, shape, own));
        }
    }

    fn type_error(&self, found: &str, shape: Option<ShapeId>, own: Option<&str>) -> DecodeError {
        let table = self.table;
        let of_type = match (own, shape, self.steps.last()) {
            (Some(own), _, _) => own.to_owned(),
            (None, Some(shape), Some((ty, index))) => {
                let field = &table.fields(*ty)[*index as usize];
                table.go_type_inside(field, shape)
            }
            (None, Some(shape), None) => table.go_shape(shape),
            (None, None, _) => table.go_struct(self.top),
        };
        let Some((ty, _)) = self.steps.last() else {
            return DecodeError::Type(format!(
                "json: cannot unmarshal {found} into Go value of type {of_type}"
            ));
        };
        let mut path = String::new();
        for (ty, index) in &self.steps {
            let field = &table.fields(*ty)[*index as usize];
            for part in table
                .inlined(field)
                .into_iter()
                .chain([table.json_name(field)])
            {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(part);
            }
        }
        let holder = table.type_name(*ty);
        DecodeError::Type(format!(
            "json: cannot unmarshal {found} into Go struct field {holder}.{path} of type {of_type}"
        ))
    }
}

#[cfg(test)]
mod tests;
