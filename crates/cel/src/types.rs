//! Types as the checker knows them, and objects whose fields are declared.
//!
//! An object's fields come from a declaration ([`Declared`]) or from the table of built-in types.
//! Names print as upstream's: `list(map(string, dyn))`.

use std::fmt;
use std::sync::Arc;

use schema::{Leaf, Shape, ShapeId, Table, TypeId};

/// What an expression yields.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Type {
    /// Known when it is evaluated.
    #[default]
    Dyn,
    /// `null`
    Null,
    /// `bool`
    Bool,
    /// `int`
    Int,
    /// `uint`
    Uint,
    /// `double`
    Double,
    /// `string`
    String,
    /// `bytes`
    Bytes,
    /// `google.protobuf.Duration`
    Duration,
    /// `google.protobuf.Timestamp`
    Timestamp,
    /// A type.
    Type,
    /// A list.
    List(Arc<Type>),
    /// A map.
    Map(Arc<Type>, Arc<Type>),
    /// An object with declared fields.
    Object(Object),
    /// `optional_type`
    Optional(Arc<Type>),
    /// A type of a library: `net.IP`.
    Opaque(&'static str),
    /// An object under construction: `Object.spec`.
    Struct(Arc<str>),
    /// A place in a signature.
    Param(char),
}

/// Where the fields of an object are declared.
#[derive(Clone, Debug)]
pub enum Object {
    /// Here.
    Declared(Arc<Declared>),
    /// In the table of built-in types.
    BuiltIn(TypeId),
}

/// An object's fields.
#[derive(Debug, Default)]
pub struct Declared {
    /// Its name in messages.
    pub name: String,
    /// Its fields.
    pub fields: Vec<Member>,
}

/// A field of an object.
#[derive(Debug)]
pub struct Member {
    /// As expressions write it.
    pub name: String,
    /// As documents write it.
    pub json: String,
    /// What it holds.
    pub ty: Type,
}

impl Declared {
    /// An object of fields whose names need no escapes.
    #[must_use]
    pub fn of(name: &str, fields: Vec<(&str, Type)>) -> Type {
        let fields = fields.into_iter().map(|(field, ty)| Member {
            name: escape(field),
            json: field.to_owned(),
            ty,
        });
        Type::Object(Object::Declared(Arc::new(Declared {
            name: name.to_owned(),
            fields: fields.collect(),
        })))
    }

    /// The field that expressions call `name`.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&Member> {
        self.fields.iter().find(|field| field.name == name)
    }
}

impl PartialEq for Object {
    fn eq(&self, other: &Object) -> bool {
        match (self, other) {
            (Object::Declared(a), Object::Declared(b)) => Arc::ptr_eq(a, b),
            (Object::BuiltIn(a), Object::BuiltIn(b)) => a == b,
            _ => false,
        }
    }
}

/// Names that expressions cannot write as they are.
/// Source: apiserver v0.36.3 pkg/cel/escaping.go.
#[must_use]
pub fn escape(name: &str) -> String {
    const KEYWORDS: [&str; 18] = [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
    ];
    if KEYWORDS.contains(&name) || matches!(name, "var" | "void" | "while") {
        return format!("__{name}__");
    }
    let mut out = String::with_capacity(name.len());
    let chars: Vec<char> = name.chars().collect();
    let mut at = 0;
    while let Some(c) = chars.get(at) {
        match c {
            '_' if chars.get(at + 1) == Some(&'_') => {
                out.push_str("__underscores__");
                at += 1;
            }
            '.' => out.push_str("__dot__"),
            '-' => out.push_str("__dash__"),
            '/' => out.push_str("__slash__"),
            other => out.push(*other),
        }
        at += 1;
    }
    out
}

impl Type {
    /// A list of `item`.
    #[must_use]
    pub fn list(item: Type) -> Type {
        Type::List(Arc::new(item))
    }

    /// A map.
    #[must_use]
    pub fn map(key: Type, value: Type) -> Type {
        Type::Map(Arc::new(key), Arc::new(value))
    }

    /// A kind of the table of built-in types.
    #[must_use]
    pub fn built_in(id: TypeId) -> Type {
        Type::Object(Object::BuiltIn(id))
    }

    pub(crate) fn optional(of: Type) -> Type {
        Type::Optional(Arc::new(of))
    }

    /// The type of a field of an object; none: it has no such field.
    pub(crate) fn field(object: &Object, name: &str) -> Option<Type> {
        match object {
            Object::Declared(declared) => declared.member(name).map(|field| field.ty.clone()),
            Object::BuiltIn(id) => {
                let table = schema::builtin();
                let fields = table.fields(*id);
                let field = fields.iter().find(|field| {
                    let json = table.json_name(field);
                    json == name || escape(json) == name
                })?;
                Some(shaped(table, field.shape()))
            }
        }
    }

    /// Whether there is nothing but this type.
    pub(crate) fn is_dyn(&self) -> bool {
        matches!(self, Type::Dyn)
    }
}

fn shaped(table: &Table, shape: ShapeId) -> Type {
    match table.shape(shape) {
        Shape::Leaf(leaf) => match leaf {
            Leaf::Str | Leaf::Quantity | Leaf::Duration | Leaf::Bytes => Type::String,
            Leaf::Bool => Type::Bool,
            Leaf::Int32 | Leaf::Int64 | Leaf::Uint32 | Leaf::Uint64 => Type::Int,
            Leaf::Double | Leaf::Float => Type::Double,
            Leaf::Time | Leaf::MicroTime => Type::Timestamp,
            _ => Type::Dyn,
        },
        Shape::Struct(id) => Type::built_in(id),
        Shape::List { item, .. } => Type::list(shaped(table, item)),
        Shape::Map { value } => Type::map(Type::String, shaped(table, value)),
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Dyn => f.write_str("dyn"),
            Type::Null => f.write_str("null"),
            Type::Bool => f.write_str("bool"),
            Type::Int => f.write_str("int"),
            Type::Uint => f.write_str("uint"),
            Type::Double => f.write_str("double"),
            Type::String => f.write_str("string"),
            Type::Bytes => f.write_str("bytes"),
            Type::Duration => f.write_str("google.protobuf.Duration"),
            Type::Timestamp => f.write_str("google.protobuf.Timestamp"),
            Type::Type => f.write_str("type"),
            Type::List(item) => write!(f, "list({item})"),
            Type::Map(key, value) => write!(f, "map({key}, {value})"),
            Type::Object(Object::Declared(declared)) => f.write_str(&declared.name),
            Type::Object(Object::BuiltIn(id)) => f.write_str(schema::builtin().type_name(*id)),
            Type::Optional(of) => write!(f, "optional_type({of})"),
            Type::Opaque(name) => f.write_str(name),
            Type::Struct(name) => f.write_str(name),
            Type::Param(name) => write!(f, "{name}"),
        }
    }
}
