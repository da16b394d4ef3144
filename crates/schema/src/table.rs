//! The type table: every type's fields with all that is known about them.
//!
//! Example: the field `ports` of `core.v1.Container` has the shape "list of
//! `core.v1.ContainerPort`", protobuf number 6, list type map with the keys containerPort and
//! protocol, patch strategy merge by containerPort, and is left out of JSON when empty. The
//! built-in table is decoded from the committed text on first use; a custom resource's schema
//! becomes the same structure at run time (`Builder`). Rarely needed facts stay text and are
//! looked for when asked.
//! Knows nothing of documents; `decode`, `encode`, `defaults` and the others walk both.

mod builder;
mod field;
mod shape;
mod text;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::OnceLock;

pub use builder::{Builder, NewField, TypeFlags};
pub(crate) use field::{ABSENT_OMITTED, DEFAULTED};
pub use field::{Field, ListType};
use field::{
    LIST_ATOMIC, LIST_MAP, LIST_SET, MAP_ATOMIC, MAP_GRANULAR, NULLABLE, OMIT_EMPTY, OMIT_ZERO,
    POINTER, REQUIRED, ZERO_DEFAULT,
};
pub use shape::{Leaf, Shape};

use crate::names::Name;

/// The number of a type in its table.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeId(pub(crate) u16);

/// The number of a shape in its table.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct ShapeId(pub(crate) u16);

/// Text inside the table.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) len: u32,
}

/// One type.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Type {
    pub(crate) name: Span,
    pub(crate) package: u16,
    pub(crate) first: u32,
    pub(crate) count: u16,
    pub(crate) flags: u16,
}

/// The type's objects are one value for server-side apply.
pub(crate) const TYPE_ATOMIC: u16 = 1;
/// A custom resource's type: wrong types and `null` are kept for validation to name.
pub(crate) const TYPE_LENIENT: u16 = 2;
/// `x-kubernetes-preserve-unknown-fields`.
pub(crate) const TYPE_PRESERVE: u16 = 4;
/// `x-kubernetes-embedded-resource`.
pub(crate) const TYPE_EMBEDDED: u16 = 8;
/// A field of the type has a default.
pub(crate) const TYPE_DEFAULTS: u16 = 16;
/// The type or one that it reaches has a default.
pub(crate) const TYPE_DEFAULTS_BELOW: u16 = 32;

#[derive(Clone, Debug)]
struct Package {
    /// `core.v1`
    alias: Span,
    /// `k8s.io/api/core/v1`
    path: Span,
}

/// Types and what is known about them.
#[derive(Clone, Debug)]
pub struct Table {
    text: Cow<'static, str>,
    packages: Vec<Package>,
    types: Vec<Type>,
    fields: Vec<Field>,
    /// For each type's fields, sorted by code: code and index. Same ranges as `fields`.
    sorted: Vec<(u32, u16)>,
    shapes: Vec<Shape>,
    kinds: Vec<Kind>,
    named: HashMap<String, TypeId>,
    schema_props: Option<TypeId>,
}

/// A kind that is served.
#[derive(Copy, Clone, Debug)]
struct Kind {
    group: Span,
    version: Span,
    kind: Span,
    ty: TypeId,
}

/// The table of the built-in types.
#[must_use]
pub fn builtin() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| text::read(include_str!("../table/types.txt")))
}

impl Table {
    pub(crate) fn str(&self, span: Span) -> &str {
        let start = span.start as usize;
        self.text
            .get(start..start + span.len as usize)
            .unwrap_or_default()
    }

    #[inline]
    pub(crate) fn ty(&self, id: TypeId) -> &Type {
        &self.types[id.0 as usize]
    }

    /// All types.
    pub fn types(&self) -> impl Iterator<Item = TypeId> + '_ {
        (0..self.types.len()).map(|n| TypeId(n as u16))
    }

    /// The type of a kind. Kinds of the meta package (DeleteOptions, WatchEvent, Status, …) are
    /// found under every group and version.
    #[must_use]
    pub fn kind(&self, group: &str, version: &str, kind: &str) -> Option<TypeId> {
        let find = |group: &str, version: &str| {
            let found = self.kinds.iter().find(|k| {
                self.str(k.kind) == kind
                    && self.str(k.group) == group
                    && self.str(k.version) == version
            });
            found.map(|k| k.ty)
        };
        find(group, version).or_else(|| {
            let ty = find("", "v1").or_else(|| find("meta.k8s.io", "v1"))?;
            (self.package(ty) == "meta.v1").then_some(ty)
        })
    }

    /// Every kind: group, version, kind, type.
    pub fn kinds(&self) -> impl Iterator<Item = (&str, &str, &str, TypeId)> {
        self.kinds.iter().map(|k| {
            (
                self.str(k.group),
                self.str(k.version),
                self.str(k.kind),
                k.ty,
            )
        })
    }

    /// A type by its whole name, as in `core.v1.PodSpec`.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<TypeId> {
        self.named.get(name).copied()
    }

    /// `JSONSchemaProps`, to which three leaf kinds refer.
    #[must_use]
    pub fn schema_props(&self) -> Option<TypeId> {
        self.schema_props
    }

    /// A type's own name: `PodSpec`.
    #[must_use]
    pub fn type_name(&self, id: TypeId) -> &str {
        self.str(self.ty(id).name)
    }

    /// A type's package: `core.v1`.
    #[must_use]
    pub fn package(&self, id: TypeId) -> &str {
        self.packages
            .get(self.ty(id).package as usize)
            .map_or("", |p| self.str(p.alias))
    }

    /// A type's Go package path: `k8s.io/api/core/v1`.
    #[must_use]
    pub fn package_path(&self, id: TypeId) -> &str {
        self.packages
            .get(self.ty(id).package as usize)
            .map_or("", |p| self.str(p.path))
    }

    /// A type's fields in the order of JSON output.
    #[inline]
    #[must_use]
    pub fn fields(&self, id: TypeId) -> &[Field] {
        let ty = self.ty(id);
        let first = ty.first as usize;
        self.fields
            .get(first..first + ty.count as usize)
            .unwrap_or_default()
    }

    /// Whether objects of the type are one value for server-side apply.
    #[must_use]
    pub fn atomic(&self, id: TypeId) -> bool {
        self.ty(id).flags & TYPE_ATOMIC != 0
    }

    /// Whether a custom resource's type keeps fields that it does not declare.
    #[must_use]
    pub fn preserves_unknown(&self, id: TypeId) -> bool {
        self.ty(id).flags & TYPE_PRESERVE != 0
    }

    /// Whether a custom resource's type holds a whole object with kind and metadata.
    #[must_use]
    pub fn embedded_resource(&self, id: TypeId) -> bool {
        self.ty(id).flags & TYPE_EMBEDDED != 0
    }

    /// Whether the type comes from a custom resource's schema.
    #[inline]
    #[must_use]
    pub fn lenient(&self, id: TypeId) -> bool {
        self.ty(id).flags & TYPE_LENIENT != 0
    }

    /// The field under a JSON name.
    #[must_use]
    pub fn field(&self, id: TypeId, name: &str) -> Option<&Field> {
        self.index(id, name).map(|n| &self.fields(id)[n])
    }

    /// The position of the field under a JSON name.
    #[must_use]
    pub fn index(&self, id: TypeId, name: &str) -> Option<usize> {
        self.index_of(id, code_of(name), name)
    }

    #[inline]
    pub(crate) fn index_of(&self, id: TypeId, code: u32, name: &str) -> Option<usize> {
        let ty = self.ty(id);
        let first = ty.first as usize;
        let sorted = self.sorted.get(first..first + ty.count as usize)?;
        let at = sorted.partition_point(|(c, _)| *c < code);
        for (c, index) in sorted.get(at..)? {
            if *c != code {
                return None;
            }
            let index = *index as usize;
            if code < crate::names::STATIC || self.json_name(&self.fields[first + index]) == name {
                return Some(index);
            }
        }
        None
    }

    /// The position of the field with a static name.
    #[inline]
    #[must_use]
    pub fn index_of_name(&self, id: TypeId, name: Name) -> Option<usize> {
        (name.0 < crate::names::STATIC).then(|| self.index_of(id, name.0, ""))?
    }

    /// What a shape's number stands for.
    #[inline]
    #[must_use]
    pub fn shape(&self, id: ShapeId) -> Shape {
        self.shapes[id.0 as usize]
    }

    /// A field's JSON name.
    #[inline]
    #[must_use]
    pub fn json_name(&self, field: &Field) -> &str {
        match Name(field.code).text() {
            Some(text) => text,
            None => self.str(field.name),
        }
    }

    /// Notes what follows from other facts; when all types are there.
    fn derive(&mut self) {
        for n in 0..self.fields.len() {
            let field = self.fields[n];
            let empty = field.pointer() || self.shape(field.shape).can_be_empty();
            if field.omit_zero() || (field.omit_empty() && empty) {
                self.fields[n].flags |= ABSENT_OMITTED;
            }
        }
        self.mark_defaults();
    }

    /// Marks the types that have defaults, themselves or below; when all types are there.
    fn mark_defaults(&mut self) {
        for n in 0..self.types.len() {
            let id = TypeId(n as u16);
            if self.fields(id).iter().any(Field::has_default) {
                self.types[n].flags |= TYPE_DEFAULTS | TYPE_DEFAULTS_BELOW;
            }
        }
        loop {
            let mut changed = false;
            for n in 0..self.types.len() {
                if self.types[n].flags & TYPE_DEFAULTS_BELOW == 0
                    && self
                        .fields(TypeId(n as u16))
                        .iter()
                        .any(|f| self.defaults_in(f.shape))
                {
                    self.types[n].flags |= TYPE_DEFAULTS_BELOW;
                    changed = true;
                }
            }
            if !changed {
                return;
            }
        }
    }

    /// Whether defaults can apply inside of a value of that shape.
    #[inline]
    pub(crate) fn defaults_in(&self, mut shape: ShapeId) -> bool {
        loop {
            shape = match self.shape(shape) {
                Shape::Leaf(_) => return false,
                Shape::Struct(id) => return self.ty(id).flags & TYPE_DEFAULTS_BELOW != 0,
                Shape::List { item, .. } => item,
                Shape::Map { value } => value,
            }
        }
    }

    fn fact<'t>(&'t self, field: &Field, mark: &str) -> Option<&'t str> {
        self.str(field.rest)
            .split(' ')
            .find_map(|fact| fact.strip_prefix(mark))
    }

    /// The fields that identify an item of a list of type map.
    pub fn map_keys<'t>(&'t self, field: &Field) -> impl Iterator<Item = &'t str> + use<'t> {
        self.fact(field, "Lm:")
            .into_iter()
            .flat_map(|keys| keys.split(','))
    }

    /// The strategies of strategic merge patch (`merge`, `replace`, `retainKeys`).
    pub fn patch_strategy<'t>(&'t self, field: &Field) -> impl Iterator<Item = &'t str> + use<'t> {
        self.fact(field, "S:")
            .into_iter()
            .flat_map(|s| s.split(','))
    }

    /// The key by which strategic merge patch tells list items apart.
    #[must_use]
    pub fn patch_merge_key(&self, field: &Field) -> Option<&str> {
        self.fact(field, "K:")
    }

    /// The closed set of strings that OpenAPI allows.
    pub fn enum_values<'t>(&'t self, field: &Field) -> impl Iterator<Item = &'t str> + use<'t> {
        self.fact(field, "E:")
            .into_iter()
            .flat_map(|values| values.split('|'))
    }

    /// The names of the Go structs that JSON inlines around the field.
    #[must_use]
    pub fn inlined(&self, field: &Field) -> Option<&str> {
        self.fact(field, "^")
    }

    /// The plain default, as JSON.
    #[must_use]
    pub fn default_json(&self, field: &Field) -> Option<&str> {
        if field.flags & DEFAULTED == 0 {
            return None;
        }
        let rest = self.str(field.rest);
        rest.strip_prefix('=')
            .or_else(|| rest.split_once(" =").map(|(_, json)| json))
    }

    /// The Go type of a field, as error messages spell it.
    #[must_use]
    pub fn go_type(&self, field: &Field) -> String {
        match self.fact(field, "G:") {
            Some(text) => text.to_owned(),
            None => self.go_shape(field.shape),
        }
    }

    /// The Go type of `shape`, which is the field's own or that of its items or values.
    pub(crate) fn go_type_inside(&self, field: &Field, shape: ShapeId) -> String {
        let mut text = self.fact(field, "G:").unwrap_or_default();
        let mut here = field.shape;
        while here != shape {
            here = match self.shape(here) {
                Shape::List { item, .. } => item,
                Shape::Map { value } => value,
                _ => return self.go_shape(shape),
            };
            text = match text.strip_prefix("[]") {
                Some(item) => item,
                None => text
                    .strip_prefix("map[")
                    .and_then(|t| t.split_once(']'))
                    .map_or("", |t| t.1),
            };
        }
        match text {
            "" => self.go_shape(shape),
            text => text.to_owned(),
        }
    }

    /// The Go name of a struct: `v1.PodSpec`.
    #[must_use]
    pub fn go_struct(&self, id: TypeId) -> String {
        let package = self.package_path(id).rsplit('/').next().unwrap_or_default();
        format!("{package}.{}", self.type_name(id))
    }

    /// The Go type of a shape, as error messages spell it.
    #[must_use]
    pub fn go_shape(&self, shape: ShapeId) -> String {
        match self.shape(shape) {
            Shape::Leaf(leaf) => leaf.go_type().to_owned(),
            Shape::Struct(id) => self.go_struct(id),
            Shape::List { item, .. } => format!("[]{}", self.go_shape(item)),
            Shape::Map { value } => format!("map[string]{}", self.go_shape(value)),
        }
    }
}

/// A static name's number, or a hash with the top bit set.
pub(crate) fn code_of(name: &str) -> u32 {
    let hash = crate::names::hash(name.as_bytes());
    match crate::names::lookup(name.as_bytes(), hash) {
        Some(name) => name.0,
        None => hash | 1 << 31,
    }
}

#[cfg(test)]
mod tests;
