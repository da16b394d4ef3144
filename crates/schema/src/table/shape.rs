//! Shapes: how values are built, and the kinds of values without fields.

use super::{ShapeId, TypeId};

/// How a value is built.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// No fields of its own.
    Leaf(Leaf),
    /// An object with the fields of a type.
    Struct(TypeId),
    /// A list; `wrapped` ones are a message with one repeated field in protobuf.
    List {
        /// The items.
        item: ShapeId,
        /// See above.
        wrapped: bool,
    },
    /// A map from strings.
    Map {
        /// The values.
        value: ShapeId,
    },
}

/// Kinds of values without fields.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Leaf {
    /// A string, also of a named string type.
    Str,
    /// A boolean.
    Bool,
    /// 32 bits.
    Int32,
    /// 64 bits.
    Int64,
    /// 32 bits without sign.
    Uint32,
    /// 64 bits without sign.
    Uint64,
    /// 64-bit float.
    Double,
    /// 32-bit float.
    Float,
    /// Base64 text in JSON.
    Bytes,
    /// `metav1.Time`: RFC 3339 with seconds.
    Time,
    /// `metav1.MicroTime`: RFC 3339 with microseconds.
    MicroTime,
    /// `metav1.Duration`: Go's text.
    Duration,
    /// `resource.Quantity`.
    Quantity,
    /// `intstr.IntOrString`.
    IntOrString,
    /// `runtime.RawExtension`: any JSON.
    Raw,
    /// `metav1.FieldsV1`: any JSON.
    Fields,
    /// `apiextensions.JSON`: any JSON.
    Json,
    /// `apiextensions.JSONSchemaPropsOrBool`.
    SchemaOrBool,
    /// `apiextensions.JSONSchemaPropsOrArray`.
    SchemaOrArray,
    /// `apiextensions.JSONSchemaPropsOrStringArray`.
    SchemaOrStrings,
    /// An untyped value (`interface{}`; everything scalar of a custom resource).
    Any,
}

impl Shape {
    /// Whether Go's omitempty can apply: not to structs by value.
    #[inline]
    pub(crate) fn can_be_empty(self) -> bool {
        match self {
            Shape::Struct(_) => false,
            Shape::Leaf(leaf) => leaf.can_be_empty(),
            _ => true,
        }
    }
}

impl Leaf {
    fn can_be_empty(self) -> bool {
        !matches!(
            self,
            Leaf::Time
                | Leaf::MicroTime
                | Leaf::Duration
                | Leaf::Quantity
                | Leaf::IntOrString
                | Leaf::Raw
                | Leaf::Fields
                | Leaf::Json
                | Leaf::SchemaOrBool
                | Leaf::SchemaOrArray
                | Leaf::SchemaOrStrings
        )
    }

    /// The Go type, as error messages spell it.
    #[must_use]
    pub fn go_type(self) -> &'static str {
        match self {
            Leaf::Str => "string",
            Leaf::Bool => "bool",
            Leaf::Int32 => "int32",
            Leaf::Int64 => "int64",
            Leaf::Uint32 => "uint32",
            Leaf::Uint64 => "uint64",
            Leaf::Double => "float64",
            Leaf::Float => "float32",
            Leaf::Bytes => "[]uint8",
            Leaf::Time => "v1.Time",
            Leaf::MicroTime => "v1.MicroTime",
            Leaf::Duration => "v1.Duration",
            Leaf::Quantity => "resource.Quantity",
            Leaf::IntOrString => "intstr.IntOrString",
            Leaf::Raw => "runtime.RawExtension",
            Leaf::Fields => "v1.FieldsV1",
            Leaf::Json => "v1.JSON",
            Leaf::SchemaOrBool => "v1.JSONSchemaPropsOrBool",
            Leaf::SchemaOrArray => "v1.JSONSchemaPropsOrArray",
            Leaf::SchemaOrStrings => "v1.JSONSchemaPropsOrStringArray",
            Leaf::Any => "interface {}",
        }
    }
}
