//! Plausible values made from the type table.

use schema::{Leaf, Shape, Table, TypeId};
use serde_json::{Map, Value, json};

/// How deep a full object goes.
const DEEPEST: usize = 9;

/// A value of the shape with nothing but what is required.
pub(super) fn least(table: &Table, name: &str, field: &schema::Field) -> Value {
    value(
        table,
        name,
        table.enum_values(field).next(),
        table.shape(field.shape()),
        &mut Depth::Least(0),
    )
}

/// A value of the shape with every field filled.
pub(super) fn full(table: &Table, ty: TypeId) -> Value {
    object(table, ty, &mut Depth::Full(Vec::new()))
}

/// What is filled: what is required, or everything that does not repeat a type.
enum Depth {
    Least(usize),
    Full(Vec<TypeId>),
}

fn object(table: &Table, ty: TypeId, depth: &mut Depth) -> Value {
    let mut map = Map::new();
    match depth {
        Depth::Least(level) if *level >= DEEPEST => return Value::Object(map),
        Depth::Full(open) if open.len() >= DEEPEST || open.contains(&ty) => {
            return Value::Object(map);
        }
        Depth::Least(level) => *level += 1,
        Depth::Full(open) => open.push(ty),
    }
    for field in table.fields(ty) {
        let name = table.json_name(field);
        let made = matches!(
            name,
            "managedFields" | "status" | "resourceVersion" | "uid" | "deletionTimestamp"
        );
        let wanted = match depth {
            Depth::Least(_) => field.required(),
            Depth::Full(_) => !made && table.inlined(field) != Some("TypeMeta"),
        };
        if wanted {
            let choice = table.enum_values(field).next();
            map.insert(
                name.to_owned(),
                value(table, name, choice, table.shape(field.shape()), depth),
            );
        }
    }
    match depth {
        Depth::Least(level) => *level -= 1,
        Depth::Full(open) => {
            open.pop();
        }
    }
    Value::Object(map)
}

fn value(
    table: &Table,
    name: &str,
    choice: Option<&str>,
    shape: Shape,
    depth: &mut Depth,
) -> Value {
    match shape {
        Shape::Leaf(leaf) => self::leaf(name, choice, leaf),
        Shape::Struct(ty) => object(table, ty, depth),
        Shape::List { item, .. } => json!([value(table, name, choice, table.shape(item), depth)]),
        Shape::Map { value: of } => {
            json!({"a-key": value(table, name, choice, table.shape(of), depth)})
        }
    }
}

/// A plausible value of a leaf, guessed from the field's name.
pub(super) fn leaf(name: &str, choice: Option<&str>, leaf: Leaf) -> Value {
    match leaf {
        Leaf::Str | Leaf::Any => choice.map_or_else(|| text(name).into(), Value::from),
        Leaf::Bool => true.into(),
        Leaf::Int32 | Leaf::Int64 | Leaf::Uint32 | Leaf::Uint64 => match () {
            () if name.to_ascii_lowercase().ends_with("port") => 8080.into(),
            () => 1.into(),
        },
        Leaf::Double | Leaf::Float => 0.5.into(),
        Leaf::Bytes => "YQ==".into(),
        Leaf::Time => "2026-01-02T03:04:05Z".into(),
        Leaf::MicroTime => "2026-01-02T03:04:05.000000Z".into(),
        Leaf::Duration => "1s".into(),
        Leaf::Quantity => "1".into(),
        Leaf::IntOrString => 1.into(),
        Leaf::Raw => json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}),
        Leaf::Fields => json!({"f:data": {}}),
        Leaf::Json => json!({"a": 1}),
        Leaf::SchemaOrBool => true.into(),
        Leaf::SchemaOrArray => json!({"type": "string"}),
        Leaf::SchemaOrStrings => json!(["a"]),
    }
}

/// By the end of the field's name, first match.
const TEXTS: [(&str, &str); 34] = [
    ("apiversion", "v1"),
    ("cidr", "10.3.0.0/24"),
    ("cidrs", "10.3.0.0/24"),
    ("podips", "10.1.2.3"),
    ("ips", "10.1.2.3"),
    ("ip", "10.1.2.3"),
    ("addresses", "10.1.2.3"),
    ("address", "10.1.2.3"),
    ("hostname", "a-host"),
    ("host", "a-host"),
    ("image", "example.com/a:1"),
    ("url", "https://127.0.0.1:1/"),
    ("path", "/a/path"),
    ("subpath", "a/path"),
    ("mountpath", "/a/path"),
    ("devicepath", "/dev/a"),
    ("schedule", "0 0 1 1 *"),
    ("timezone", "Etc/UTC"),
    ("expression", "true"),
    ("messageexpression", "'text'"),
    ("fieldpath", "metadata.name"),
    ("version", "v1"),
    ("apigroup", "example.com"),
    ("group", "example.com"),
    ("apigroups", "example.com"),
    ("controller", "example.com/a"),
    ("provisioner", "example.com/a"),
    ("signername", "example.com/a"),
    ("driver", "a.example.com"),
    ("verbs", "get"),
    ("finalizers", "example.com/a"),
    ("accessmodes", "ReadWriteOnce"),
    ("usages", "client auth"),
    ("kind", "ConfigMap"),
];

fn text(name: &str) -> &'static str {
    let name = name.to_ascii_lowercase();
    let found = TEXTS.iter().find(|(end, _)| name.ends_with(end));
    found.map_or("a-value", |(_, text)| text)
}
