//! What the table says about a place in an object: one value, an object, a list with identities.
//!
//! Source: structured-merge-diff v6 typed/helpers.go (deduceAtom, listItemToPathElement);
//! kube-openapi pkg/schemaconv (lists are atomic unless typed, arbitrary values are atomic).

use super::set::{Element, Scalar};
use crate::dom::{Dom, Node, Value};
use crate::table::{Field, Leaf, ListType, Shape, ShapeId, Table, TypeId};

/// A place.
#[derive(Copy, Clone, Debug)]
pub(super) enum Place<'t> {
    /// An object whose fields are owned one by one.
    Object(TypeId),
    /// A map whose entries are owned one by one.
    Map(ShapeId),
    /// A list whose items are told apart by keys.
    Keyed(&'t Field, ShapeId),
    /// A list of scalars, each at most once.
    Values,
    /// One value, whatever it holds.
    Leaf,
    /// Nothing is known: maps are owned entry by entry, all else is one value.
    Unknown,
}

/// How a value at a place is walked.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Leaf,
    Map,
    List,
}

impl<'t> Place<'t> {
    /// The place of an object of a type.
    pub(super) fn of_type(table: &Table, ty: TypeId) -> Place<'t> {
        if table.atomic(ty) {
            Place::Leaf
        } else {
            Place::Object(ty)
        }
    }

    fn of_field(table: &'t Table, field: &'t Field) -> Place<'t> {
        match table.shape(field.shape()) {
            Shape::List { item, .. } => match field.list_type() {
                Some(ListType::Map) => Place::Keyed(field, item),
                Some(ListType::Set) => Place::Values,
                Some(ListType::Atomic) | None => Place::Leaf,
            },
            _ if field.atomic_map() => Place::Leaf,
            _ => Place::of_shape(table, field.shape()),
        }
    }

    fn of_shape(table: &'t Table, shape: ShapeId) -> Place<'t> {
        match table.shape(shape) {
            Shape::Struct(ty) => Place::of_type(table, ty),
            Shape::Map { value } => Place::Map(value),
            Shape::Leaf(Leaf::Any) => Place::Unknown,
            Shape::Leaf(_) | Shape::List { .. } => Place::Leaf,
        }
    }

    /// The place of an entry, and whether the type declares it by name. `None` when the type
    /// does not allow the name.
    pub(super) fn child(self, table: &'t Table, name: &str) -> Option<(Place<'t>, bool)> {
        match self {
            Place::Object(ty) => match table.field(ty, name) {
                Some(field) => Some((Place::of_field(table, field), true)),
                None if table.preserves_unknown(ty) || table.embedded_resource(ty) => {
                    Some((Place::Unknown, false))
                }
                None => None,
            },
            Place::Map(value) => Some((Place::of_shape(table, value), false)),
            _ => Some((Place::Unknown, false)),
        }
    }

    /// Is it an object's metadata?
    pub(super) fn is_metadata(self, table: &Table) -> bool {
        matches!(self, Place::Object(ty) if table.type_name(ty) == "ObjectMeta")
    }

    /// The place of an item of a list with identities.
    pub(super) fn item(self, table: &'t Table) -> Place<'t> {
        match self {
            Place::Keyed(_, item) => Place::of_shape(table, item),
            _ => Place::Leaf,
        }
    }

    /// How a value here is walked; null counts as an empty list or map.
    pub(super) fn form(self, value: Value<'_>) -> Form {
        match (self, value) {
            (Place::Object(_) | Place::Map(_), Value::Map | Value::Null) => Form::Map,
            (Place::Unknown, Value::Map) => Form::Map,
            (Place::Keyed(..) | Place::Values, Value::List | Value::Null) => Form::List,
            _ => Form::Leaf,
        }
    }

    /// The identity of an item.
    pub(super) fn identity(
        self,
        table: &'t Table,
        dom: &Dom,
        item: Node,
    ) -> Result<Element, String> {
        let Place::Keyed(field, shape) = self else {
            return match dom.value(item) {
                Value::Map => {
                    Err("associative list without keys has an element that's a map type".into())
                }
                Value::List => Err("not supported: associative list with lists as elements".into()),
                Value::Null => {
                    let text =
                        "associative list without keys has an element that's an explicit null";
                    Err(text.into())
                }
                _ => Ok(Element::Value(Scalar::of(dom, item))),
            };
        };
        match dom.value(item) {
            Value::Map => {}
            Value::Null => {
                return Err("associative list with keys may not have a null element".into());
            }
            _ => return Err("associative list with keys may not have non-map elements".into()),
        }
        let mut keys = Vec::new();
        for name in table.map_keys(field) {
            let own = dom.get(item, name).map(|node| Scalar::of(dom, node));
            let default = || match table.shape(shape) {
                Shape::Struct(ty) => default_key(table, table.field(ty, name)?),
                _ => None,
            };
            if let Some(value) = own.or_else(default) {
                keys.push((name.into(), value));
            }
        }
        if keys.is_empty() {
            let names: Vec<_> = table
                .map_keys(field)
                .map(|name| format!("{name:?}"))
                .collect();
            return Err(format!(
                "associative list with keys has an element that omits all key fields [{}] (and doesn't have default values for any key fields)",
                names.join(" ")
            ));
        }
        keys.sort();
        Ok(Element::Key(keys))
    }
}

/// What an absent key stands for: its default, or the zero value where Go always prints one.
fn default_key(table: &Table, field: &Field) -> Option<Scalar> {
    if let Some(json) = table.default_json(field) {
        return Scalar::from_json(json);
    }
    if field.pointer() || field.omit_empty() {
        return None;
    }
    match table.shape(field.shape()) {
        Shape::Leaf(Leaf::Str) => Some(Scalar::Text("".into())),
        Shape::Leaf(Leaf::Bool) => Some(Scalar::Bool(false)),
        Shape::Leaf(Leaf::Int32 | Leaf::Int64) => Some(Scalar::Int(0)),
        _ => None,
    }
}
