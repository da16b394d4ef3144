//! Strategic patches of built-in kinds: the type table answers what the merge asks.

use super::{FieldRule, Lookup, PatchError, Strategy, strategic};
use crate::dom::Dom;
use crate::table::{Shape, ShapeId, Table, TypeId};

/// A place in the table: a type or the shape of a field.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// An object of a type.
    Type(TypeId),
    /// A value of a shape.
    Shape(ShapeId),
}

impl Lookup for Table {
    type Type = Place;

    fn field(&self, of: Place, name: &str) -> FieldRule<'_, Place> {
        let ty = match of {
            Place::Type(ty) => ty,
            Place::Shape(shape) => match self.shape(shape) {
                Shape::Struct(ty) => ty,
                Shape::Map { value } => {
                    return FieldRule {
                        of: Some(self.behind(value)),
                        ..FieldRule::unknown()
                    };
                }
                Shape::List { .. } | Shape::Leaf(_) => return FieldRule::unknown(),
            },
        };
        let Some(field) = self.field(ty, name) else {
            return FieldRule::unknown();
        };
        let mut strategy = Strategy::Default;
        for word in self.patch_strategy(field) {
            match word {
                "merge" => strategy = Strategy::Merge,
                "replace" => strategy = Strategy::Replace,
                // `retainKeys` only tells clients to send the directive.
                _ => {}
            }
        }
        FieldRule {
            strategy,
            merge_key: self.patch_merge_key(field).unwrap_or_default(),
            of: Some(self.behind(field.shape())),
        }
    }
}

impl Table {
    /// The place of a value, or of a list's items.
    fn behind(&self, shape: ShapeId) -> Place {
        match self.shape(shape) {
            Shape::List { item, .. } => Place::Shape(item),
            _ => Place::Shape(shape),
        }
    }
}

/// [`strategic`] for an object of a type of the table.
///
/// # Errors
/// When the patch is no map, misuses a directive, or lacks a merge key.
pub fn strategic_object(
    table: &Table,
    ty: TypeId,
    dom: &mut Dom,
    patch: &Dom,
) -> Result<(), PatchError> {
    strategic(dom, patch, table, Some(Place::Type(ty)))
}
