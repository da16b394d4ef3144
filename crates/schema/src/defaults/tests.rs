//! Defaults of built-in types and of a custom resource.

use expect_test::{Expect, expect};

use super::apply_defaults;
use crate::table::{Builder, NewField, TypeFlags};
use crate::{Dom, Leaf, Limits, Shape, Table, TypeId, builtin, decode_json, encode_json};

#[track_caller]
fn check(table: &Table, ty: TypeId, source: &str, expect: Expect) {
    let mut decoded = decode_json(table, ty, source.as_bytes(), &Limits::DEFAULT).unwrap();
    let root = decoded.dom.root();
    apply_defaults(table, ty, &mut decoded.dom, root);
    let mut text = String::from_utf8(encode_json(table, ty, &decoded.dom, root)).unwrap();
    for finding in decoded.findings {
        text.push_str(&format!("; {finding}"));
    }
    expect.assert_eq(&text);
}

#[test]
fn built_in() {
    check(
        builtin(),
        builtin().named("core.v1.Container").unwrap(),
        r#"{"name":"a","ports":[{"containerPort":80},{"containerPort":53,"protocol":"UDP"}]}"#,
        expect![[
            r#"{"name":"a","ports":[{"containerPort":80,"protocol":"TCP"},{"containerPort":53,"protocol":"UDP"}],"resources":{}}"#
        ]],
    );
}

/// `spec: {size: default 3, note: nullable default "n", free: preserve-unknown}`
fn custom() -> (Table, TypeId) {
    let mut builder = Builder::new();
    let meta = builtin().named("meta.v1.ObjectMeta").unwrap();
    let meta = builder.take_over(builtin(), meta).unwrap();
    let meta = builder.shape(Shape::Struct(meta)).unwrap();
    let any = builder.any().unwrap();
    let preserve = TypeFlags {
        preserve_unknown: true,
        ..TypeFlags::default()
    };
    let free = builder.reserve("free", preserve).unwrap();
    let free = builder.shape(Shape::Struct(free)).unwrap();
    let spec = builder.reserve("spec", TypeFlags::default()).unwrap();
    builder.field(
        spec,
        &NewField {
            default: Some("3".into()),
            ..NewField::new("size", any)
        },
    );
    builder.field(
        spec,
        &NewField {
            default: Some("\"n\"".into()),
            nullable: true,
            ..NewField::new("note", any)
        },
    );
    builder.field(spec, &NewField::new("freeForm", free));
    let spec = builder.shape(Shape::Struct(spec)).unwrap();
    let list = builder
        .shape(Shape::List {
            item: spec,
            wrapped: false,
        })
        .unwrap();
    let top = builder.reserve("Thing", TypeFlags::default()).unwrap();
    for name in ["apiVersion", "kind"] {
        builder.field(top, &NewField::new(name, any));
    }
    builder.field(top, &NewField::new("metadata", meta));
    builder.field(
        top,
        &NewField {
            default: Some("{}".into()),
            ..NewField::new("spec", spec)
        },
    );
    builder.field(top, &NewField::new("moreSpecs", list));
    builder.kind("example.com", "v1", "Thing", top);
    (builder.finish(), top)
}

#[test]
fn a_custom_resource() {
    let (table, ty) = custom();
    assert_eq!(table.kind("example.com", "v1", "Thing"), Some(ty));
    check(
        &table,
        ty,
        r#"{"spec":{"size":null,"note":null,"freeForm":{"b":1.0,"a":[null]},"other":1},"metadata":{"name":"n","foo":1},"kind":"Thing","apiVersion":"example.com/v1"}"#,
        expect![[
            r#"{"apiVersion":"example.com/v1","kind":"Thing","metadata":{"name":"n"},"spec":{"freeForm":{"a":[null],"b":1},"note":null,"size":3}}; unknown field "spec.other"; unknown field "metadata.foo""#
        ]],
    );
    check(
        &table,
        ty,
        r#"{"moreSpecs":[{},{"size":"wrong"}]}"#,
        expect![[
            r#"{"moreSpecs":[{"note":"n","size":3},{"note":"n","size":"wrong"}],"spec":{"note":"n","size":3}}"#
        ]],
    );
    check(
        &table,
        ty,
        r#"{"spec":[1],"extra":{}}"#,
        expect![[r#"{"spec":[1]}; unknown field "extra""#]],
    );
    let mut dom = Dom::new();
    let root = dom.root();
    apply_defaults(&table, ty, &mut dom, root);
    assert_eq!(
        table.shape(table.field(ty, "kind").unwrap().shape()),
        Shape::Leaf(Leaf::Any)
    );
}
