//! Values: cursors into documents, or made by an expression.
//!
//! `object.spec` is a cursor; its fields become values when they are looked at, as their declared
//! types say (a text of format `date-time` is a timestamp).

use std::cmp::Ordering;
use std::ops::Deref;
use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use schema::{Dom, Node, Ref};

use crate::eval::EvalError;
use crate::functions::Opaque;
use crate::types::{Object, Type};

/// A text of a document or a new one.
#[derive(Clone, Debug)]
pub enum Str<'a> {
    /// In a document or an expression.
    Borrowed(&'a str),
    /// New.
    Owned(Rc<str>),
}

impl Deref for Str<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Str::Borrowed(text) => text,
            Str::Owned(text) => text,
        }
    }
}

/// What an expression yields.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A number.
    Int(i64),
    /// A number without sign.
    Uint(u64),
    /// A number with a fraction.
    Double(f64),
    /// A text.
    Str(Str<'a>),
    /// Bytes.
    Bytes(Rc<[u8]>),
    /// Nanoseconds.
    Duration(i64),
    /// An instant.
    Timestamp(Timestamp),
    /// A type.
    Type(&'static str),
    /// A list.
    List(List<'a>),
    /// A map or an object.
    Map(Map<'a>),
    /// An object under construction.
    Struct(Rc<Struct<'a>>),
    /// Something or nothing.
    Optional(Option<Rc<Value<'a>>>),
    /// Of a library.
    #[doc(hidden)]
    Opaque(Opaque<'a>),
}

/// A list.
#[derive(Clone, Debug)]
pub enum List<'a> {
    /// In a document, with the type of its items.
    Doc(Ref<'a>, Option<&'a Type>),
    /// New.
    Own(Rc<Vec<Value<'a>>>),
}

/// A map.
#[derive(Clone, Debug)]
pub enum Map<'a> {
    /// In a document, with its type.
    Doc(Ref<'a>, Option<&'a Type>),
    /// New.
    Own(Rc<Vec<(Value<'a>, Value<'a>)>>),
}

/// `Object.spec{…}`
#[derive(Clone, Debug)]
pub struct Struct<'a> {
    /// Its type.
    pub name: String,
    /// Its fields in order.
    pub fields: Vec<(String, Value<'a>)>,
}

impl<'a> List<'a> {
    /// How many items.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            List::Doc(at, _) => at.len(),
            List::Own(items) => items.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The item at a place.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Value<'a>> {
        match self {
            List::Doc(at, ty) => at.list().nth(index).map(|at| Value::of(at, *ty)),
            List::Own(items) => items.get(index).cloned(),
        }
    }

    /// All items.
    pub fn iter(&self) -> Box<dyn Iterator<Item = Value<'a>> + '_> {
        match self {
            List::Doc(at, ty) => Box::new(at.list().map(|at| Value::of(at, *ty))),
            List::Own(items) => Box::new(items.iter().cloned()),
        }
    }
}

impl<'a> Map<'a> {
    /// How many entries.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Map::Doc(at, _) => at.len(),
            Map::Own(entries) => entries.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value under a field name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<Value<'a>> {
        match self {
            Map::Doc(at, None) => at.get(name).map(|at| Value::of(at, None)),
            Map::Doc(at, Some(Type::Map(_, value))) => {
                at.get(name).map(|at| Value::of(at, Some(&**value)))
            }
            Map::Doc(at, Some(Type::Object(Object::Declared(declared)))) => {
                let member = declared.member(name)?;
                at.get(&member.json)
                    .map(|at| Value::of(at, Some(&member.ty)))
            }
            Map::Doc(at, Some(_)) => at.get(name).map(|at| Value::of(at, None)),
            Map::Own(entries) => entries
                .iter()
                .find(|(key, _)| matches!(key, Value::Str(key) if &**key == name))
                .map(|(_, value)| value.clone()),
        }
    }

    /// The value under a key.
    #[must_use]
    pub fn get(&self, key: &Value<'a>) -> Option<Value<'a>> {
        match (self, key) {
            (_, Value::Str(name)) => self.field(name),
            (Map::Own(entries), key) => entries
                .iter()
                .find(|(known, _)| known.equal(key))
                .map(|(_, value)| value.clone()),
            _ => None,
        }
    }

    /// All entries.
    pub fn iter(&self) -> Box<dyn Iterator<Item = (Value<'a>, Value<'a>)> + '_> {
        match self {
            Map::Doc(at, Some(Type::Object(Object::Declared(declared)))) => {
                Box::new(at.map().filter_map(|(key, at)| {
                    let member = declared.fields.iter().find(|field| field.json == key)?;
                    let key = Value::Str(Str::Borrowed(&member.name));
                    Some((key, Value::of(at, Some(&member.ty))))
                }))
            }
            Map::Doc(at, ty) => {
                let inner = match ty {
                    Some(Type::Map(_, value)) => Some(&**value),
                    _ => None,
                };
                Box::new(
                    at.map()
                        .map(move |(key, at)| (Value::borrowed(key), Value::of(at, inner))),
                )
            }
            Map::Own(entries) => Box::new(entries.iter().cloned()),
        }
    }
}

impl<'a> Value<'a> {
    /// A value of a document.
    #[must_use]
    pub fn of(at: Ref<'a>, ty: Option<&'a Type>) -> Value<'a> {
        match at.value() {
            schema::Value::Null => Value::Null,
            schema::Value::Bool(value) => Value::Bool(value),
            schema::Value::Int(value) => match ty {
                #[expect(clippy::cast_precision_loss, reason = "as the declared type says")]
                Some(Type::Double) => Value::Double(value as f64),
                _ => Value::Int(value),
            },
            schema::Value::Float(value) => match ty {
                #[expect(clippy::cast_possible_truncation, reason = "it has no fraction")]
                Some(Type::Int) if value.fract() == 0.0 && value.abs() < 9e18 => {
                    Value::Int(value as i64)
                }
                _ => Value::Double(value),
            },
            schema::Value::Str(text) => match ty {
                Some(Type::Timestamp) => match text.parse() {
                    Ok(time) => Value::Timestamp(time),
                    Err(_) => Value::borrowed(text),
                },
                Some(Type::Duration) => match api::duration::parse_nanos(text) {
                    Ok(nanos) => Value::Duration(nanos),
                    Err(_) => Value::borrowed(text),
                },
                Some(Type::Bytes) => match STANDARD.decode(text) {
                    Ok(bytes) => Value::Bytes(bytes.into()),
                    Err(_) => Value::borrowed(text),
                },
                _ => Value::borrowed(text),
            },
            schema::Value::List => match ty {
                Some(Type::List(item)) => Value::List(List::Doc(at, Some(&**item))),
                _ => Value::List(List::Doc(at, None)),
            },
            schema::Value::Map => Value::Map(Map::Doc(at, ty)),
        }
    }

    /// A text that lives elsewhere.
    #[must_use]
    pub fn borrowed(text: &'a str) -> Value<'a> {
        Value::Str(Str::Borrowed(text))
    }

    /// A new text.
    #[must_use]
    pub fn text(text: impl Into<Rc<str>>) -> Value<'a> {
        Value::Str(Str::Owned(text.into()))
    }

    /// A new list.
    #[must_use]
    pub fn list(items: Vec<Value<'a>>) -> Value<'a> {
        Value::List(List::Own(Rc::new(items)))
    }

    pub(crate) fn some(self) -> Value<'a> {
        Value::Optional(Some(Rc::new(self)))
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The name of its type.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Null => "null_type",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Uint(_) => "uint",
            Value::Double(_) => "double",
            Value::Str(_) => "string",
            Value::Bytes(_) => "bytes",
            Value::Duration(_) => "google.protobuf.Duration",
            Value::Timestamp(_) => "google.protobuf.Timestamp",
            Value::Type(_) => "type",
            Value::List(_) => "list",
            Value::Map(_) | Value::Struct(_) => "map",
            Value::Optional(_) => "optional_type",
            Value::Opaque(opaque) => opaque.type_name(),
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "numbers of two types are compared so"
    )]
    fn number(&self) -> Option<f64> {
        match self {
            Value::Int(value) => Some(*value as f64),
            Value::Uint(value) => Some(*value as f64),
            Value::Double(value) => Some(*value),
            _ => None,
        }
    }

    /// Which comes first; none: they cannot be compared.
    #[must_use]
    pub fn order(&self, other: &Value<'_>) -> Option<Ordering> {
        match (self, other) {
            (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
            (Value::Uint(a), Value::Uint(b)) => Some(a.cmp(b)),
            (Value::Int(a), Value::Uint(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
            (Value::Uint(a), Value::Int(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
            (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
            (Value::Str(a), Value::Str(b)) => Some((**a).cmp(&**b)),
            (Value::Bytes(a), Value::Bytes(b)) => Some(a.cmp(b)),
            (Value::Duration(a), Value::Duration(b)) => Some(a.cmp(b)),
            (Value::Timestamp(a), Value::Timestamp(b)) => Some(a.cmp(b)),
            _ => self.number()?.partial_cmp(&other.number()?),
        }
    }

    /// Whether they are the same; values of different types are not.
    #[must_use]
    pub fn equal(&self, other: &Value<'_>) -> bool {
        match (self, other) {
            (Value::Null, Value::Null) => true,
            (Value::Type(a), Value::Type(b)) => a == b,
            (Value::List(a), Value::List(b)) => {
                a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| a.equal(&b))
            }
            (Value::Map(a), Value::Map(b)) => {
                a.len() == b.len()
                    && a.iter().all(|(key, value)| {
                        let mut entries = b.iter();
                        entries.any(|(other, twin)| key.equal(&other) && value.equal(&twin))
                    })
            }
            (Value::Struct(a), Value::Struct(b)) => {
                a.name == b.name
                    && a.fields.len() == b.fields.len()
                    && a.fields
                        .iter()
                        .zip(&b.fields)
                        .all(|((a, x), (b, y))| a == b && x.equal(y))
            }
            (Value::Optional(a), Value::Optional(b)) => match (a, b) {
                (Some(a), Some(b)) => a.equal(b),
                (None, None) => true,
                _ => false,
            },
            (Value::Opaque(a), Value::Opaque(b)) => a.equal(b),
            (a, b) => a.order(b) == Some(Ordering::Equal),
        }
    }

    /// How much work it is to look at all of it, at most `most`.
    pub(crate) fn weight(&self, most: u64) -> u64 {
        let mut total = 1;
        match self {
            Value::Str(text) => total += text.len() as u64 / 10,
            Value::Bytes(bytes) => total += bytes.len() as u64 / 10,
            Value::List(list) => {
                for item in list.iter() {
                    if total >= most {
                        break;
                    }
                    total += item.weight(most - total);
                }
            }
            Value::Map(map) => {
                for (key, item) in map.iter() {
                    if total >= most {
                        break;
                    }
                    total += key.weight(most) + item.weight(most.saturating_sub(total));
                }
            }
            _ => {}
        }
        total
    }

    /// Writes it into a document.
    pub fn write(&self, dom: &mut Dom) -> Result<Node, EvalError> {
        Ok(match self {
            Value::Null => dom.new_null(),
            Value::Bool(value) => dom.new_bool(*value),
            Value::Int(value) => dom.new_int(*value),
            Value::Uint(value) => match i64::try_from(*value) {
                Ok(value) => dom.new_int(value),
                Err(_) => return Err(EvalError::new("unsigned number is too large")),
            },
            Value::Double(value) => dom.new_float(*value),
            Value::Str(text) => dom.new_str(text),
            Value::Bytes(bytes) => dom.new_str(&STANDARD.encode(bytes)),
            Value::Duration(_) | Value::Timestamp(_) => {
                let text = crate::functions::to_text(self)?;
                dom.new_str(&text)
            }
            Value::List(List::Doc(at, _)) => dom.import(at.dom(), at.node()),
            Value::Map(Map::Doc(at, _)) => dom.import(at.dom(), at.node()),
            Value::List(list) => {
                let node = dom.new_list();
                for item in list.iter() {
                    let item = item.write(dom)?;
                    dom.push(node, item);
                }
                node
            }
            Value::Map(map) => {
                let node = dom.new_map();
                for (key, value) in map.iter() {
                    let Value::Str(key) = key else {
                        return Err(EvalError::new("keys of objects must be strings"));
                    };
                    let value = value.write(dom)?;
                    dom.set(node, &key, value);
                }
                node
            }
            Value::Struct(object) => {
                let node = dom.new_map();
                for (key, value) in &object.fields {
                    let value = value.write(dom)?;
                    dom.set(node, key, value);
                }
                node
            }
            Value::Optional(Some(value)) => value.write(dom)?,
            other => {
                let message = format!("a {} cannot be part of an object", other.type_name());
                return Err(EvalError::new(&message));
            }
        })
    }
}

impl<'a> Value<'a> {
    /// `authorizer`, and `authorizer.requestResource`.
    #[must_use]
    pub fn authorizer(authorizer: &'a dyn crate::Authorizer, of_request: bool) -> Value<'a> {
        Value::Opaque(if of_request {
            Opaque::request(authorizer)
        } else {
            Opaque::authorizer(authorizer)
        })
    }
}
