//! Schemas of types: properties, required ones, defaults, list and map facts.

use std::collections::BTreeMap;

use super::{
    LIST_META, Needed, Row, custom_name, descriptions, header_properties, key, text, type_name,
};
use crate::table::{Field, Leaf, ListType, Shape, ShapeId, Table, TypeId};

/// Writes the schemas of all needed types and of what they refer to, sorted by name.
pub(super) fn write(
    out: &mut String,
    table: &Table,
    mut needed: Needed,
    rows: &[Row<'_>],
    own: Option<(&str, &str)>,
) {
    let mut done = BTreeMap::new();
    let mut leaves = BTreeMap::new();
    let mut at = 0;
    while let Some(ty) = needed.types.get(at).copied() {
        at += 1;
        let mut schema = String::new();
        object(&mut schema, table, ty, own.unwrap_or_default(), &mut leaves);
        done.insert(type_name(table, ty), schema);
        for field in table.fields(ty) {
            needed.shape(table, field.shape());
            if let Shape::Leaf(Leaf::SchemaOrBool | Leaf::SchemaOrArray | Leaf::SchemaOrStrings) =
                table.shape(field.shape())
                && let Some(schema) = table.schema_props()
            {
                needed.ty(schema);
            }
        }
    }
    done.extend(leaves);
    for row in rows {
        let Some(custom) = row.custom else { continue };
        let name = custom_name(row.group, row.version, row.kind);
        let list = custom_name(row.group, row.version, custom.list_kind);
        done.insert(list, custom_list(row, custom.list_kind, &name));
        done.insert(name, custom.schema.to_owned());
    }
    if own.is_some() {
        done.insert(PATCH.to_owned(), "{\"type\":\"object\"}".to_owned());
    }
    for (name, schema) in done {
        key(out, &name);
        out.push_str(&schema);
    }
}

/// The schema of what `/version` answers.
pub(super) fn version_info(out: &mut String) {
    const REQUIRED: [&str; 9] = [
        "major",
        "minor",
        "gitVersion",
        "gitCommit",
        "gitTreeState",
        "buildDate",
        "goVersion",
        "compiler",
        "platform",
    ];
    const OPTIONAL: [&str; 4] = [
        "emulationMajor",
        "emulationMinor",
        "minCompatibilityMajor",
        "minCompatibilityMinor",
    ];
    key(out, super::VERSION_INFO);
    out.push_str("{\"type\":\"object\",\"required\":[");
    for name in REQUIRED {
        if !out.ends_with('[') {
            out.push(',');
        }
        text(out, name);
    }
    out.push_str("],\"properties\":{");
    for name in REQUIRED {
        key(out, name);
        out.push_str("{\"type\":\"string\",\"default\":\"\"}");
    }
    for name in OPTIONAL {
        key(out, name);
        out.push_str("{\"type\":\"string\"}");
    }
    out.push_str("}}");
}

/// The schema of patch bodies.
pub(super) const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";

/// The schema of lists of a custom kind.
fn custom_list(row: &Row<'_>, kind: &str, item: &str) -> String {
    let mut out = String::from("{\"type\":\"object\",\"required\":[\"items\"],\"properties\":{");
    for (name, schema) in header_properties().iter().take(2) {
        key(&mut out, name);
        out.push_str(schema);
    }
    key(&mut out, "metadata");
    out.push('{');
    reference(&mut out, LIST_META, false);
    out.push('}');
    key(&mut out, "items");
    out.push_str("{\"type\":\"array\",\"items\":{");
    reference(&mut out, item, false);
    out.push_str("}}},\"x-kubernetes-group-version-kind\":[");
    gvk(&mut out, row.group, row.version, kind);
    out.push_str("]}");
    out
}

type Leaves = BTreeMap<String, String>;

/// `own` is the document's group and version, which has kinds that every group has.
fn object(out: &mut String, table: &Table, ty: TypeId, own: (&str, &str), leaves: &mut Leaves) {
    out.push_str("{\"type\":\"object\"");
    let required: Vec<_> = table.fields(ty).iter().filter(|f| f.required()).collect();
    if !required.is_empty() {
        out.push_str(",\"required\":[");
        for (n, field) in required.iter().enumerate() {
            if n > 0 {
                out.push(',');
            }
            text(out, table.json_name(field));
        }
        out.push(']');
    }
    if !table.fields(ty).is_empty() {
        out.push_str(",\"properties\":{");
        for field in table.fields(ty) {
            let name = table.json_name(field);
            key(out, name);
            let own = format!("{}.{}", table.package(ty), table.type_name(ty));
            let words = descriptions::of(&own, name).or_else(|| {
                table
                    .kinds()
                    .any(|k| k.3 == ty)
                    .then(|| descriptions::of("", name))?
            });
            property(out, table, field, words, leaves);
        }
        out.push('}');
    }
    if table.atomic(ty) {
        out.push_str(",\"x-kubernetes-map-type\":\"atomic\"");
    }
    let mut kinds = table.kinds().filter(|(_, _, _, of)| *of == ty).peekable();
    if kinds.peek().is_some() {
        out.push_str(",\"x-kubernetes-group-version-kind\":[");
        for (n, (group, version, kind, _)) in kinds.enumerate() {
            if n > 0 {
                out.push(',');
            }
            gvk(out, group, version, kind);
            let everywhere = matches!(kind, "DeleteOptions" | "WatchEvent");
            if everywhere && group.is_empty() && !own.0.is_empty() {
                out.push(',');
                gvk(out, own.0, own.1, kind);
            }
        }
        out.push(']');
    }
    out.push('}');
}

/// The extension that names a kind.
pub(super) fn gvk(out: &mut String, group: &str, version: &str, kind: &str) {
    out.push('{');
    for (name, value) in [("group", group), ("version", version), ("kind", kind)] {
        key(out, name);
        text(out, value);
    }
    out.push('}');
}

fn property(
    out: &mut String,
    table: &Table,
    field: &Field,
    words: Option<&str>,
    leaves: &mut Leaves,
) {
    let default = match table.default_json(field) {
        Some(json) => Some(json),
        None if field.pointer() => None,
        None => zero_default(table, field),
    };
    out.push('{');
    if let Some(words) = words {
        key(out, "description");
        text(out, words);
    }
    // As upstream, whose fields all have something beside their type.
    shape(out, table, field.shape(), true, leaves);
    let is_text = |id| matches!(table.shape(id), Shape::Leaf(Leaf::Str));
    let of_items = match table.shape(field.shape()) {
        Shape::List { item, .. } => is_text(item),
        _ => false,
    };
    let mut values = table.enum_values(field).peekable();
    if values.peek().is_some() && (of_items || is_text(field.shape())) {
        if of_items {
            // The schema of the items, which stands at the end, is opened again.
            out.pop();
        }
        key(out, "enum");
        for (n, value) in values.enumerate() {
            out.push(if n == 0 { '[' } else { ',' });
            text(out, value);
        }
        out.push(']');
        if of_items {
            out.push('}');
        }
    }
    if let Some(json) = default {
        key(out, "default");
        out.push_str(json);
    }
    if let Some(list) = field.list_type() {
        key(out, "x-kubernetes-list-type");
        out.push_str(match list {
            ListType::Atomic => "\"atomic\"",
            ListType::Map => "\"map\"",
            ListType::Set => "\"set\"",
        });
    }
    let mut keys = table.map_keys(field).peekable();
    if keys.peek().is_some() {
        key(out, "x-kubernetes-list-map-keys");
        for (n, value) in keys.enumerate() {
            out.push(if n == 0 { '[' } else { ',' });
            text(out, value);
        }
        out.push(']');
    }
    if field.atomic_map() {
        key(out, "x-kubernetes-map-type");
        out.push_str("\"atomic\"");
    } else if field.granular_map() {
        key(out, "x-kubernetes-map-type");
        out.push_str("\"granular\"");
    }
    if let Some(merge_key) = table.patch_merge_key(field) {
        key(out, "x-kubernetes-patch-merge-key");
        text(out, merge_key);
    }
    let strategy: Vec<_> = table.patch_strategy(field).collect();
    if !strategy.is_empty() {
        key(out, "x-kubernetes-patch-strategy");
        text(out, &strategy.join(","));
    }
    out.push('}');
}

/// What upstream's generator prints for values that Go cannot leave unset.
fn zero_default(table: &Table, field: &Field) -> Option<&'static str> {
    match table.shape(field.shape()) {
        Shape::Struct(_) => Some("{}"),
        Shape::Leaf(
            Leaf::Time | Leaf::MicroTime | Leaf::Quantity | Leaf::IntOrString | Leaf::Raw,
        ) => None,
        Shape::Leaf(leaf) if !field.omit_empty() => zero(leaf),
        _ => None,
    }
}

fn zero(leaf: Leaf) -> Option<&'static str> {
    match leaf {
        Leaf::Str => Some("\"\""),
        Leaf::Bool => Some("false"),
        Leaf::Int32 | Leaf::Int64 | Leaf::Uint32 | Leaf::Uint64 | Leaf::Double | Leaf::Float => {
            Some("0")
        }
        _ => None,
    }
}

fn reference(out: &mut String, name: &str, siblings: bool) {
    if siblings {
        key(out, "allOf");
        out.push_str("[{");
    }
    key(out, "$ref");
    text(out, &format!("#/components/schemas/{name}"));
    if siblings {
        out.push_str("}]");
    }
}

fn shape(out: &mut String, table: &Table, id: ShapeId, siblings: bool, leaves: &mut Leaves) {
    match table.shape(id) {
        Shape::Leaf(leaf) => leaf_schema(out, leaf, siblings, leaves),
        Shape::Struct(ty) => reference(out, &type_name(table, ty), siblings),
        Shape::List { item, .. } => {
            key(out, "type");
            out.push_str("\"array\",\"items\":");
            element(out, table, item, leaves);
        }
        Shape::Map { value } => {
            key(out, "type");
            out.push_str("\"object\",\"additionalProperties\":");
            element(out, table, value, leaves);
        }
    }
}

/// The schema of items of a list or map: values by themselves, with their zero as default.
fn element(out: &mut String, table: &Table, id: ShapeId, leaves: &mut Leaves) {
    let default = match table.shape(id) {
        Shape::Struct(_) => Some("{}"),
        Shape::Leaf(leaf) => zero(leaf),
        _ => None,
    };
    out.push('{');
    shape(out, table, id, default.is_some(), leaves);
    if let Some(json) = default {
        key(out, "default");
        out.push_str(json);
    }
    out.push('}');
}

fn leaf_schema(out: &mut String, leaf: Leaf, siblings: bool, leaves: &mut Leaves) {
    const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";
    const CRD: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.";
    let plain = match leaf {
        Leaf::Str => "\"type\":\"string\"",
        Leaf::Bool => "\"type\":\"boolean\"",
        Leaf::Int32 | Leaf::Uint32 => "\"type\":\"integer\",\"format\":\"int32\"",
        Leaf::Int64 | Leaf::Uint64 => "\"type\":\"integer\",\"format\":\"int64\"",
        Leaf::Double | Leaf::Float => "\"type\":\"number\",\"format\":\"double\"",
        Leaf::Bytes => "\"type\":\"string\",\"format\":\"byte\"",
        Leaf::Any => "\"type\":\"object\"",
        _ => "",
    };
    if !plain.is_empty() {
        if !out.ends_with('{') {
            out.push(',');
        }
        out.push_str(plain);
        return;
    }
    let (name, schema) = match leaf {
        Leaf::Time => (
            format!("{META}Time"),
            "{\"type\":\"string\",\"format\":\"date-time\"}",
        ),
        Leaf::MicroTime => (
            format!("{META}MicroTime"),
            "{\"type\":\"string\",\"format\":\"date-time\"}",
        ),
        Leaf::Duration => (format!("{META}Duration"), "{\"type\":\"string\"}"),
        Leaf::Quantity => (
            "io.k8s.apimachinery.pkg.api.resource.Quantity".to_owned(),
            "{\"oneOf\":[{\"type\":\"string\"},{\"type\":\"number\"}]}",
        ),
        Leaf::IntOrString => (
            "io.k8s.apimachinery.pkg.util.intstr.IntOrString".to_owned(),
            "{\"format\":\"int-or-string\",\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"string\"}]}",
        ),
        Leaf::Raw => (
            "io.k8s.apimachinery.pkg.runtime.RawExtension".to_owned(),
            "{\"type\":\"object\"}",
        ),
        Leaf::Fields => (format!("{META}FieldsV1"), "{\"type\":\"object\"}"),
        Leaf::SchemaOrBool => (format!("{CRD}JSONSchemaPropsOrBool"), "{}"),
        Leaf::SchemaOrArray => (format!("{CRD}JSONSchemaPropsOrArray"), "{}"),
        Leaf::SchemaOrStrings => (format!("{CRD}JSONSchemaPropsOrStringArray"), "{}"),
        _ => (format!("{CRD}JSON"), "{}"),
    };
    reference(out, &name, siblings);
    leaves.insert(name, schema.to_owned());
}
