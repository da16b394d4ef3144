//! Plain defaults: a field that is absent gets the table's constant.
//!
//! Defaults that depend on other fields are code in `registry`. Only types that have a default
//! somewhere below are walked. In a custom resource `null` also gives way to the default,
//! unless the field is nullable.
//! Source: apiextensions-apiserver v0.36.3 pkg/apiserver/schema/defaulting/algorithm.go.

use crate::dom::{Dom, Node, Value};
use crate::table::{Field, Shape, ShapeId, TYPE_DEFAULTS, Table, TypeId};

/// Fills in the table's defaults below `node`, a value of the type `ty`.
pub fn apply_defaults(table: &Table, ty: TypeId, dom: &mut Dom, node: Node) {
    object(table, ty, dom, node);
}

fn object(table: &Table, ty: TypeId, dom: &mut Dom, node: Node) {
    if dom.value(node) != Value::Map {
        return;
    }
    if table.ty(ty).flags & TYPE_DEFAULTS != 0 {
        for field in table.fields(ty).iter().filter(|f| f.has_default()) {
            own(table, table.lenient(ty), field, dom, node);
        }
    }
    let mut child = dom.first(node);
    while let Some(here) = child {
        let index = match table.index_of_name(ty, dom.name(here)) {
            Some(index) => Some(index),
            None if table.lenient(ty) => table.index(ty, dom.key(here)),
            None => None,
        };
        if let Some(index) = index {
            let shape = table.fields(ty)[index].shape;
            if table.defaults_in(shape) {
                value(table, shape, dom, here);
            }
        }
        child = dom.next(here);
    }
}

fn own(table: &Table, lenient: bool, field: &Field, dom: &mut Dom, node: Node) {
    let name = table.json_name(field);
    let there = dom.get(node, name);
    let wanted = match there.map(|there| dom.value(there)) {
        None => true,
        Some(Value::Null) => lenient && !field.nullable(),
        // A string by value cannot be told from an absent one.
        Some(Value::Str("")) => !lenient && !field.pointer(),
        Some(_) => false,
    };
    if !wanted {
        return;
    }
    let Some(json) = table.default_json(field) else {
        return;
    };
    let Ok(default) = Dom::parse_json(json.as_bytes()) else {
        return;
    };
    let value = dom.import(&default, default.root());
    dom.set(node, name, value);
}

fn value(table: &Table, shape: ShapeId, dom: &mut Dom, node: Node) {
    let inner = match table.shape(shape) {
        Shape::Leaf(_) => return,
        Shape::Struct(ty) => return object(table, ty, dom, node),
        Shape::List { item, .. } => item,
        Shape::Map { value } => value,
    };
    let mut child = dom.first(node);
    while let Some(here) = child {
        value(table, inner, dom, here);
        child = dom.next(here);
    }
}

#[cfg(test)]
mod tests;
