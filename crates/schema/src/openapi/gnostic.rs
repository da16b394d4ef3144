//! The OpenAPI v2 document in protobuf, as clients written in Go ask for it.
//!
//! The messages are rows: JSON name, field number, form. Names that begin with `x-` go to a
//! message's own field for extensions; other names that a message does not have are left out.
//! Knows nothing of Kubernetes.
//! Source: gnostic-models v0.7.0 openapiv2/OpenAPIv2.proto (numbers).

use std::convert::Infallible;

use crate::dom::{Dom, Ref, Value};
use crate::protobuf::wire::{put_bytes, put_message, put_number};

/// How a member is written.
enum Form {
    Str,
    Strs,
    Bool,
    Int,
    Double,
    /// Any value, as YAML (which JSON is).
    Any,
    Anys,
    One(&'static Message),
    Many(&'static Message),
    /// One message that holds pairs of name and value under the number.
    Map(u8, &'static Message),
    /// Inside of one more message, under the number there.
    In(u8, &'static Form),
    /// Schema or flag.
    SchemaOrBool,
    /// A parameter of an operation.
    Parameters,
}

struct Message {
    fields: &'static [(&'static str, u8, Form)],
    extensions: u8,
}

static INFO: Message = Message {
    fields: &[("title", 1, Form::Str), ("version", 2, Form::Str)],
    extensions: 7,
};

static SCHEMA: Message = Message {
    fields: &[
        ("$ref", 1, Form::Str),
        ("format", 2, Form::Str),
        ("title", 3, Form::Str),
        ("description", 4, Form::Str),
        ("default", 5, Form::Any),
        ("multipleOf", 6, Form::Double),
        ("maximum", 7, Form::Double),
        ("exclusiveMaximum", 8, Form::Bool),
        ("minimum", 9, Form::Double),
        ("exclusiveMinimum", 10, Form::Bool),
        ("maxLength", 11, Form::Int),
        ("minLength", 12, Form::Int),
        ("pattern", 13, Form::Str),
        ("maxItems", 14, Form::Int),
        ("minItems", 15, Form::Int),
        ("uniqueItems", 16, Form::Bool),
        ("maxProperties", 17, Form::Int),
        ("minProperties", 18, Form::Int),
        ("required", 19, Form::Strs),
        ("enum", 20, Form::Anys),
        ("additionalProperties", 21, Form::SchemaOrBool),
        ("type", 22, Form::In(1, &Form::Str)),
        ("items", 23, Form::In(1, &Form::One(&SCHEMA))),
        ("allOf", 24, Form::Many(&SCHEMA)),
        ("properties", 25, Form::Map(1, &SCHEMA)),
        ("example", 30, Form::Any),
    ],
    extensions: 31,
};

static BODY: Message = Message {
    fields: &[
        ("description", 1, Form::Str),
        ("name", 2, Form::Str),
        ("in", 3, Form::Str),
        ("required", 4, Form::Bool),
        ("schema", 5, Form::One(&SCHEMA)),
    ],
    extensions: 6,
};

static QUERY: Message = Message {
    fields: &[
        ("required", 1, Form::Bool),
        ("in", 2, Form::Str),
        ("description", 3, Form::Str),
        ("name", 4, Form::Str),
        ("type", 6, Form::Str),
        ("format", 7, Form::Str),
        ("uniqueItems", 20, Form::Bool),
    ],
    extensions: 23,
};

static PATH_PARAMETER: Message = Message {
    fields: &[
        ("required", 1, Form::Bool),
        ("in", 2, Form::Str),
        ("description", 3, Form::Str),
        ("name", 4, Form::Str),
        ("type", 5, Form::Str),
        ("format", 6, Form::Str),
        ("uniqueItems", 19, Form::Bool),
    ],
    extensions: 22,
};

static RESPONSE: Message = Message {
    fields: &[
        ("description", 1, Form::Str),
        ("schema", 2, Form::In(1, &Form::One(&SCHEMA))),
    ],
    extensions: 5,
};

/// A response, or a reference to one.
static RESPONSE_VALUE: Message = Message {
    fields: &[("", 1, Form::One(&RESPONSE))],
    extensions: 0,
};

static OPERATION: Message = Message {
    fields: &[
        ("tags", 1, Form::Strs),
        ("description", 3, Form::Str),
        ("operationId", 5, Form::Str),
        ("produces", 6, Form::Strs),
        ("consumes", 7, Form::Strs),
        ("parameters", 8, Form::Parameters),
        ("responses", 9, Form::Map(1, &RESPONSE_VALUE)),
        ("schemes", 10, Form::Strs),
    ],
    extensions: 13,
};

static PATH: Message = Message {
    fields: &[
        ("get", 2, Form::One(&OPERATION)),
        ("put", 3, Form::One(&OPERATION)),
        ("post", 4, Form::One(&OPERATION)),
        ("delete", 5, Form::One(&OPERATION)),
        ("patch", 8, Form::One(&OPERATION)),
        ("parameters", 9, Form::Parameters),
    ],
    extensions: 10,
};

static API_KEY: Message = Message {
    fields: &[
        ("type", 1, Form::Str),
        ("name", 2, Form::Str),
        ("in", 3, Form::Str),
        ("description", 4, Form::Str),
    ],
    extensions: 5,
};

/// One of the ways to say who asks; ours is a key.
static SECURITY: Message = Message {
    fields: &[("", 2, Form::One(&API_KEY))],
    extensions: 0,
};

static DOCUMENT: Message = Message {
    fields: &[
        ("swagger", 1, Form::Str),
        ("info", 2, Form::One(&INFO)),
        ("paths", 8, Form::Map(2, &PATH)),
        ("definitions", 9, Form::Map(1, &SCHEMA)),
        ("securityDefinitions", 13, Form::Map(1, &SECURITY)),
    ],
    extensions: 16,
};

/// The document in protobuf.
#[must_use]
pub fn to_protobuf(document: &Dom) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 << 20);
    message(&mut out, &DOCUMENT, document.as_ref());
    out
}

fn nest(out: &mut Vec<u8>, number: u8, content: impl FnOnce(&mut Vec<u8>)) {
    let done: Result<(), Infallible> = put_message(out, number, |out| {
        content(out);
        Ok(())
    });
    match done {
        Ok(()) => {}
        Err(never) => match never {},
    }
}

fn message(out: &mut Vec<u8>, kind: &'static Message, value: Ref<'_>) {
    // A message that only wraps another has a field without a name.
    if let [("", number, form)] = kind.fields {
        member(out, *number, form, value);
        return;
    }
    for (name, member_of) in value.map() {
        if let Some((_, number, form)) = kind.fields.iter().find(|(own, ..)| *own == name) {
            member(out, *number, form, member_of);
        } else if name.starts_with("x-") && kind.extensions > 0 {
            nest(out, kind.extensions, |out| {
                put_bytes(out, 1, name.as_bytes());
                nest(out, 2, |out| any(out, member_of));
            });
        }
    }
}

fn any(out: &mut Vec<u8>, value: Ref<'_>) {
    let mut yaml = value.to_json();
    yaml.push(b'\n');
    put_bytes(out, 2, &yaml);
}

fn member(out: &mut Vec<u8>, number: u8, form: &Form, value: Ref<'_>) {
    match form {
        Form::Str => put_bytes(out, number, value.as_str().unwrap_or_default().as_bytes()),
        Form::Strs => {
            for one in value.list().filter_map(Ref::as_str) {
                put_bytes(out, number, one.as_bytes());
            }
        }
        Form::Bool => put_number(out, number, u64::from(value.as_bool() == Some(true))),
        Form::Int => put_number(out, number, value.as_int().unwrap_or(0).cast_unsigned()),
        Form::Double => {
            let number_of = value.as_float().unwrap_or(0.0);
            crate::protobuf::wire::put_tag(out, number, crate::protobuf::wire::FIXED64);
            out.extend_from_slice(&number_of.to_le_bytes());
        }
        Form::Any => nest(out, number, |out| any(out, value)),
        Form::Anys => {
            for one in value.list() {
                nest(out, number, |out| any(out, one));
            }
        }
        Form::One(kind) => nest(out, number, |out| message(out, kind, value)),
        Form::Many(kind) => {
            for one in value.list() {
                nest(out, number, |out| message(out, kind, one));
            }
        }
        Form::Map(inner, kind) => nest(out, number, |out| {
            for (name, one) in value.map() {
                nest(out, *inner, |out| {
                    put_bytes(out, 1, name.as_bytes());
                    nest(out, 2, |out| message(out, kind, one));
                });
            }
        }),
        Form::In(inner, form) => nest(out, number, |out| member(out, *inner, form, value)),
        Form::SchemaOrBool => nest(out, number, |out| match value.value() {
            Value::Bool(flag) => put_number(out, 2, u64::from(flag)),
            _ => nest(out, 1, |out| message(out, &SCHEMA, value)),
        }),
        Form::Parameters => {
            for parameter in value.list() {
                nest(out, number, |out| self::parameter(out, parameter));
            }
        }
    }
}

/// Parameters are wrapped by where they are.
fn parameter(out: &mut Vec<u8>, parameter: Ref<'_>) {
    nest(out, 1, |out| match parameter.str("in") {
        "body" => nest(out, 1, |out| message(out, &BODY, parameter)),
        "path" => nest(out, 2, |out| {
            nest(out, 4, |out| message(out, &PATH_PARAMETER, parameter));
        }),
        _ => nest(out, 2, |out| {
            nest(out, 3, |out| message(out, &QUERY, parameter));
        }),
    });
}
