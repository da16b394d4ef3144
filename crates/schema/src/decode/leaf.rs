//! Values without fields: what each kind takes, and its canonical text.
//!
//! Source: apimachinery v0.36.3 pkg/apis/meta/v1/{time,micro_time,duration}.go,
//! pkg/util/intstr/intstr.go, pkg/runtime/extension.go; apiextensions-apiserver v0.36.3
//! pkg/apis/apiextensions/v1/marshal.go.

use base64::Engine as _;

use super::{Abort, DecodeError, Decoder, Place, quantity, time};
use crate::dom::{Node, Number, Text};
use crate::table::{Leaf, ShapeId};

impl Decoder<'_> {
    /// Reads a value without fields.
    #[inline]
    pub(super) fn leaf(&mut self, leaf: Leaf, shape: ShapeId, place: Place) -> Result<Node, Abort> {
        self.check_room()?;
        let first = self.lex.peek();
        let node = match (leaf, first) {
            (Leaf::Str, Some(b'"')) => {
                let token = self.lex.string()?;
                self.dom.text_token(token)
            }
            (Leaf::Bool, Some(b't')) => {
                self.lex.literal("true")?;
                self.dom.new_bool(true)
            }
            (Leaf::Bool, Some(b'f')) => {
                self.lex.literal("false")?;
                self.dom.new_bool(false)
            }
            (
                Leaf::Int32
                | Leaf::Int64
                | Leaf::Uint32
                | Leaf::Uint64
                | Leaf::Double
                | Leaf::Float,
                Some(b'-' | b'0'..=b'9'),
            ) => self.number(leaf, shape)?,
            (Leaf::Any, _) => return self.any(place, true),
            (Leaf::Raw | Leaf::Fields | Leaf::Json, _) => return self.any(place, false),
            (Leaf::Bytes, Some(b'"')) => self.bytes()?,
            (Leaf::Bytes, Some(b'[')) => self.byte_list()?,
            (Leaf::Time | Leaf::MicroTime | Leaf::Duration, Some(b'"')) => self.time(leaf)?,
            (Leaf::Time | Leaf::MicroTime | Leaf::Duration, _) => {
                return Err(self.own_type("string"));
            }
            (Leaf::Quantity, _) => self.quantity()?,
            (Leaf::IntOrString, Some(b'"')) => {
                let token = self.lex.string()?;
                self.dom.text_token(token)
            }
            (Leaf::IntOrString, Some(b'-' | b'0'..=b'9')) => {
                let start = self.lex.pos;
                match self.lex.number()? {
                    Number::Int(n) if i32::try_from(n).is_ok() => self.dom.new_int(n),
                    _ => {
                        let text = self.lex.src.get(start..self.lex.pos).unwrap_or_default();
                        let found = format!("number {text}");
                        return Err(Abort::Value(Box::new(self.type_error(
                            &found,
                            None,
                            Some("int32"),
                        ))));
                    }
                }
            }
            (Leaf::IntOrString, _) => return Err(self.own_type("int32")),
            (Leaf::SchemaOrBool | Leaf::SchemaOrArray | Leaf::SchemaOrStrings, _) => {
                return self.schema_or(leaf, place);
            }
            _ => return self.mismatch(Some(shape), place),
        };
        self.attach(place, node);
        Ok(node)
    }

    /// The error of a type whose own parser wants a Go `string` or `int32`.
    #[cold]
    fn own_type(&mut self, wanted: &str) -> Abort {
        let found = match self.lex.peek() {
            Some(b'"') => "string",
            Some(b'{') => "object",
            Some(b'[') => "array",
            Some(b't' | b'f') => "bool",
            Some(b'-' | b'0'..=b'9') => "number",
            _ => return self.lex.unexpected("looking for beginning of value").into(),
        };
        Abort::Value(Box::new(self.type_error(found, None, Some(wanted))))
    }

    fn number(&mut self, leaf: Leaf, shape: ShapeId) -> Result<Node, Abort> {
        let start = self.lex.pos;
        let number = self.lex.number()?;
        let fits = match (leaf, number) {
            (Leaf::Int64 | Leaf::Double | Leaf::Float, Number::Int(_)) => true,
            (Leaf::Int32, Number::Int(n)) => i32::try_from(n).is_ok(),
            (Leaf::Uint32, Number::Int(n)) => u32::try_from(n).is_ok(),
            (Leaf::Uint64, Number::Int(n)) => n >= 0,
            (Leaf::Double | Leaf::Float, Number::Float(start, end)) => {
                let text = self.lex.src.get(start..end).unwrap_or_default();
                text.parse::<f64>().is_ok_and(f64::is_finite)
            }
            _ => false,
        };
        if !fits {
            let text = self.lex.src.get(start..self.lex.pos).unwrap_or_default();
            self.wrong(&format!("number {text}"), Some(shape), None);
        }
        Ok(self.dom.number_token(number))
    }

    /// The node of a token whose canonical text may differ.
    fn canonical(&mut self, token: Text, canonical: Option<&str>) -> Node {
        match canonical {
            Some(text) => self.dom.new_str(text),
            None => self.dom.text_token(token),
        }
    }

    fn bytes(&mut self) -> Result<Node, Abort> {
        let token = self.lex.string()?;
        let text = &token.read(self.lex.src);
        match check_base64(text.as_bytes()) {
            Ok(true) => Ok(self.dom.text_token(token)),
            Ok(false) => {
                let clean: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
                Ok(self.dom.new_str(&clean))
            }
            Err(at) => {
                if self.error.is_none() {
                    let text = format!("illegal base64 data at input byte {at}");
                    self.error = Some(DecodeError::Value(text));
                }
                Ok(self.dom.text_token(token))
            }
        }
    }

    /// Bytes as a list of numbers, which Go takes too.
    fn byte_list(&mut self) -> Result<Node, Abort> {
        self.enter()?;
        let mut bytes = Vec::new();
        while self.lex.peek() != Some(b']') {
            let start = self.lex.pos;
            match self.lex.peek() {
                Some(b'-' | b'0'..=b'9') => match self.lex.number()? {
                    Number::Int(n) if u8::try_from(n).is_ok() => bytes.push(n as u8),
                    _ => {
                        let text = self.lex.src.get(start..self.lex.pos).unwrap_or_default();
                        self.wrong(&format!("number {text}"), None, Some("uint8"));
                    }
                },
                Some(b'n') => {
                    self.lex.literal("null")?;
                    bytes.push(0);
                }
                _ => {
                    if let Abort::Value(error) = self.own_type("uint8") {
                        self.error.get_or_insert(*error);
                        self.skip()?;
                    } else {
                        return Err(Abort::Syntax);
                    }
                }
            }
            match self.lex.peek() {
                Some(b',') => {
                    self.lex.pos += 1;
                    if self.lex.peek() == Some(b']') {
                        return Err(self.lex.unexpected("looking for beginning of value").into());
                    }
                }
                Some(b']') => break,
                _ => return Err(self.lex.unexpected("after array element").into()),
            }
        }
        self.lex.pos += 1;
        self.depth -= 1;
        Ok(self
            .dom
            .new_str(&base64::engine::general_purpose::STANDARD.encode(&bytes)))
    }

    fn time(&mut self, leaf: Leaf) -> Result<Node, Abort> {
        let token = self.lex.string()?;
        let text = &token.read(self.lex.src);
        let canonical = match leaf {
            Leaf::Time => time::canonical(text, false),
            Leaf::MicroTime => time::canonical(text, true),
            _ => Ok(None),
        };
        match canonical {
            Ok(canonical) => Ok(self.canonical(token, canonical.as_deref())),
            Err(message) => Err(Abort::Value(Box::new(DecodeError::Value(message)))),
        }
    }

    fn quantity(&mut self) -> Result<Node, Abort> {
        let refuse = |message: &str| Abort::Value(Box::new(DecodeError::Value(message.to_owned())));
        match self.lex.peek() {
            Some(b'"') => {
                let token = self.lex.string()?;
                let canonical = quantity::canonical(&token.read(self.lex.src)).map_err(refuse)?;
                Ok(self.canonical(token, canonical.as_deref()))
            }
            Some(b'-' | b'0'..=b'9') => {
                let start = self.lex.pos;
                self.lex.number()?;
                let text = self.lex.src.get(start..self.lex.pos).unwrap_or_default();
                let canonical = quantity::canonical(text).map_err(refuse)?;
                Ok(self.dom.new_str(canonical.as_deref().unwrap_or(text)))
            }
            Some(b'{' | b'[' | b't' | b'f') => Err(refuse(quantity::FORMAT)),
            _ => Err(self.lex.unexpected("looking for beginning of value").into()),
        }
    }

    /// A JSON schema, or the other thing that may stand in its place. Upstream reads these with
    /// a parser of their own, which is not strict and stops at a wrong type.
    fn schema_or(&mut self, leaf: Leaf, place: Place) -> Result<Node, Abort> {
        let before = self.error.take();
        let node = self.schema_or_other(leaf, place)?;
        match self.error.take() {
            Some(error) => Err(Abort::Value(Box::new(error))),
            None => {
                self.error = before;
                Ok(node)
            }
        }
    }

    fn schema_or_other(&mut self, leaf: Leaf, place: Place) -> Result<Node, Abort> {
        let Some(schema) = self.table.schema_props() else {
            return self.any(place, false);
        };
        self.quiet += 1;
        let node = match (leaf, self.lex.peek()) {
            (_, Some(b'{')) => self.object(schema, place)?,
            (Leaf::SchemaOrArray, Some(b'[')) => {
                self.enter()?;
                let list = self.dom.new_list();
                self.attach(place, list);
                while self.lex.peek() != Some(b']') {
                    match self.lex.peek() {
                        Some(b'{') => self.object(schema, Some((list, None)))?,
                        Some(b'n') => {
                            self.lex.literal("null")?;
                            let zero = self.dom.new_map();
                            self.attach(Some((list, None)), zero);
                            zero
                        }
                        _ => return Err(self.own_type("v1.JSONSchemaProps")),
                    };
                    match self.lex.peek() {
                        Some(b',') => {
                            self.lex.pos += 1;
                            if self.lex.peek() == Some(b']') {
                                let place = "looking for beginning of value";
                                return Err(self.lex.unexpected(place).into());
                            }
                        }
                        Some(b']') => break,
                        _ => return Err(self.lex.unexpected("after array element").into()),
                    }
                }
                self.lex.pos += 1;
                self.depth -= 1;
                list
            }
            (Leaf::SchemaOrStrings, Some(b'[')) => self.any(place, false)?,
            (Leaf::SchemaOrBool, Some(b't' | b'f')) => self.any(place, false)?,
            (Leaf::SchemaOrBool, _) => {
                let text = "boolean or JSON schema expected".to_owned();
                return Err(Abort::Value(Box::new(DecodeError::Value(text))));
            }
            _ => {
                self.any(None, false)?;
                let null = self.dom.new_null();
                self.attach(place, null);
                null
            }
        };
        self.quiet -= 1;
        Ok(node)
    }
}

/// Whether the text is base64 without line breaks; the offset of the first mistake otherwise.
fn check_base64(text: &[u8]) -> Result<bool, usize> {
    let mut sextets = 0usize;
    let mut padding = 0usize;
    let mut clean = true;
    for (at, b) in text.iter().enumerate() {
        match b {
            b'\r' | b'\n' => clean = false,
            b'=' if sextets % 4 >= 2 && padding < 4 - sextets % 4 => padding += 1,
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' if padding == 0 => {
                sextets += 1;
            }
            _ => return Err(at),
        }
    }
    match (sextets % 4, padding) {
        (0, 0) | (2, 2) | (3, 1) => Ok(clean),
        (rest, 0) => Err(text.len() - rest),
        _ => Err(text.len()),
    }
}
