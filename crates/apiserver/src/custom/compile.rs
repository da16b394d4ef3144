//! A definition as a row: types from its structural schemas, names, columns, subresources.
//!
//! Source: apiextensions-apiserver v0.36.3 pkg/apiserver/{customresource_handler.go,schema}.

use std::sync::Arc;

use registry::{
    Resource, Scope, Selectable, StatusRule, Strategy, Subresource, Text, Types, Verbs, View,
};
use schema::table::{Builder, NewField, TypeFlags};
use schema::{Dom, Leaf, ListType, Ref, Shape, ShapeId, TypeId};

use super::columns;

/// Schemas deeper than this are not served.
const DEPTH: usize = 64;

fn text(value: &str) -> Text {
    Text::Owned(value.to_owned())
}

fn texts(object: Ref<'_>, key: &str) -> Vec<Text> {
    object
        .items(key)
        .filter_map(Ref::as_str)
        .map(text)
        .collect()
}

/// The row of a definition; none when its schema cannot be compiled.
pub(super) fn row(definition: &Dom) -> Option<Resource> {
    let spec = definition.as_ref().get("spec")?;
    let names = spec.get("names")?;
    let group = spec.str("group");
    let mut views = Vec::new();
    let mut stored = 0;
    let mut subresources: Vec<Subresource> = Vec::new();
    let mut status = StatusRule::None;
    let mut shown = None;
    let mut selectable: Vec<Selectable> = Vec::new();
    for version in spec.items("versions") {
        let (table, ty) = types(version)?;
        if version.bool("storage") == Some(true) {
            stored = views.len();
            shown = Some(columns::of(version));
        }
        if version.at(&["subresources", "status"]).is_some() {
            status = StatusRule::Isolated;
            add(&mut subresources, Subresource::own("status"));
        }
        if version.at(&["subresources", "scale"]).is_some() {
            add(&mut subresources, Subresource::scale());
        }
        for field in version.items("selectableFields") {
            let name = field.str("jsonPath").trim_start_matches('.').to_owned();
            if !selectable.iter().any(|known| known.name == name) {
                selectable.push(Selectable::path(name));
            }
        }
        views.push(View {
            group: text(group),
            version: text(version.str("name")),
            types: Types::Custom(Arc::new(table), ty),
            convert: None,
            served: version.bool("served") == Some(true),
            rules: version
                .at(&["schema", "openAPIV3Schema"])
                .and_then(registry::rules::compile),
        });
    }
    if views.is_empty() {
        return None;
    }
    subresources.sort_by(|a, b| a.name.cmp(&b.name));
    let plural = names.str("plural");
    Some(Resource {
        plural: text(plural),
        singular: text(names.str("singular")),
        kind: text(names.str("kind")),
        list_kind: text(names.str("listKind")),
        short: texts(names, "shortNames"),
        categories: texts(names, "categories"),
        scope: if spec.str("scope") == "Namespaced" {
            Scope::Namespaced
        } else {
            Scope::Cluster
        },
        verbs: Verbs::ALL,
        subresources,
        views,
        stored,
        prefix: Text::Owned(format!("{group}/{plural}")),
        columns: shown.unwrap_or_default(),
        selectable,
        strategy: Strategy {
            generation: true,
            status,
            unconditional_update: false,
            ..Strategy::DEFAULT
        },
        definition: Some(Arc::new(definition.clone())),
    })
}

fn add(list: &mut Vec<Subresource>, one: Subresource) {
    if !list.iter().any(|known| known.name == one.name) {
        list.push(one);
    }
}

/// The types of one version.
fn types(version: Ref<'_>) -> Option<(schema::Table, TypeId)> {
    let mut builder = Builder::new();
    let built_in = schema::builtin();
    let meta = built_in
        .kind("", "v1", "ConfigMap")
        .and_then(|ty| built_in.field(ty, "metadata").map(|field| field.shape()))
        .and_then(|shape| match built_in.shape(shape) {
            Shape::Struct(ty) => Some(ty),
            _ => None,
        })?;
    let meta = builder.take_over(built_in, meta)?;
    let schema = version.at(&["schema", "openAPIV3Schema"]);
    let preserve = schema
        .is_none_or(|schema| schema.bool("x-kubernetes-preserve-unknown-fields") == Some(true));
    let root = builder.reserve(
        "Object",
        TypeFlags {
            preserve_unknown: preserve,
            ..TypeFlags::default()
        },
    )?;
    header(&mut builder, root, meta)?;
    if let Some(schema) = schema {
        properties(&mut builder, root, schema, meta, 0)?;
    }
    Some((builder.finish(), root))
}

/// apiVersion, kind and metadata.
fn header(builder: &mut Builder, ty: TypeId, meta: TypeId) -> Option<()> {
    let string = builder.shape(Shape::Leaf(Leaf::Str))?;
    let metadata = builder.shape(Shape::Struct(meta))?;
    for (name, shape) in [
        ("apiVersion", string),
        ("kind", string),
        ("metadata", metadata),
    ] {
        builder.field(ty, &NewField::new(name, shape));
    }
    Some(())
}

fn properties(
    builder: &mut Builder,
    ty: TypeId,
    schema: Ref<'_>,
    meta: TypeId,
    depth: usize,
) -> Option<()> {
    let required: Vec<&str> = schema.items("required").filter_map(Ref::as_str).collect();
    for (name, property) in schema.entries("properties") {
        let root = depth == 0;
        let embedded = schema.bool("x-kubernetes-embedded-resource") == Some(true);
        if (root || embedded) && matches!(name, "apiVersion" | "kind" | "metadata") {
            continue;
        }
        let shape = shape(builder, property, meta, depth + 1)?;
        let mut field = NewField::new(name, shape);
        field.required = required.contains(&name);
        field.nullable = property.bool("nullable") == Some(true);
        field.atomic = property.str("x-kubernetes-map-type") == "atomic";
        if property.str("type") == "array" {
            field.list_type = match property.str("x-kubernetes-list-type") {
                "map" => Some(ListType::Map),
                "set" => Some(ListType::Set),
                _ => Some(ListType::Atomic),
            };
            field.map_keys = property
                .items("x-kubernetes-list-map-keys")
                .filter_map(Ref::as_str)
                .map(str::to_owned)
                .collect();
        }
        field.default = property
            .get("default")
            .map(|value| String::from_utf8_lossy(&value.to_json()).into_owned());
        builder.field(ty, &field);
    }
    Some(())
}

fn shape(builder: &mut Builder, schema: Ref<'_>, meta: TypeId, depth: usize) -> Option<ShapeId> {
    if depth > DEPTH {
        return None;
    }
    let preserve = schema.bool("x-kubernetes-preserve-unknown-fields") == Some(true);
    let embedded = schema.bool("x-kubernetes-embedded-resource") == Some(true);
    match schema.str("type") {
        "array" => {
            let item = match schema.get("items") {
                Some(items) => shape(builder, items, meta, depth + 1)?,
                None => builder.any()?,
            };
            builder.shape(Shape::List {
                item,
                wrapped: false,
            })
        }
        "object" => {
            let additional = schema.get("additionalProperties");
            if let Some(additional) = additional
                && schema.get("properties").is_none()
            {
                let value = match additional.as_bool() {
                    Some(_) => builder.any()?,
                    None => shape(builder, additional, meta, depth + 1)?,
                };
                return builder.shape(Shape::Map { value });
            }
            if preserve && schema.get("properties").is_none() && !embedded {
                return builder.any();
            }
            let flags = TypeFlags {
                preserve_unknown: preserve,
                embedded_resource: embedded,
                atomic: schema.str("x-kubernetes-map-type") == "atomic",
            };
            let ty = builder.reserve("", flags)?;
            if embedded {
                header(builder, ty, meta)?;
            }
            properties(builder, ty, schema, meta, depth)?;
            builder.shape(Shape::Struct(ty))
        }
        _ => builder.any(),
    }
}
