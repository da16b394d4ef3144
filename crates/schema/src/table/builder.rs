//! A table made at run time, from a custom resource's structural schema.
//!
//! Types are reserved first and filled later, so that they may refer to each other. The types
//! of `metadata` can be taken over from the built-in table.

use std::borrow::Cow;
use std::collections::HashMap;

use super::{
    DEFAULTED, Field, Kind, LIST_ATOMIC, LIST_MAP, LIST_SET, Leaf, ListType, MAP_ATOMIC, NULLABLE,
    OMIT_EMPTY, Package, REQUIRED, Shape, ShapeId, Span, TYPE_ATOMIC, TYPE_EMBEDDED, TYPE_LENIENT,
    TYPE_PRESERVE, Table, Type, TypeId, code_of,
};

/// One field of a type that is being built.
#[derive(Clone, Debug)]
pub struct NewField {
    /// JSON name.
    pub name: String,
    /// Shape of the value.
    pub shape: ShapeId,
    /// The schema's `required` lists it.
    pub required: bool,
    /// `nullable: true`.
    pub nullable: bool,
    /// The map or object here is one value for server-side apply.
    pub atomic: bool,
    /// `x-kubernetes-list-type`.
    pub list_type: Option<ListType>,
    /// `x-kubernetes-list-map-keys`.
    pub map_keys: Vec<String>,
    /// `default`, as compact JSON.
    pub default: Option<String>,
}

impl NewField {
    /// A field about which nothing is known but its name and shape.
    #[must_use]
    pub fn new(name: &str, shape: ShapeId) -> NewField {
        NewField {
            name: name.to_owned(),
            shape,
            required: false,
            nullable: false,
            atomic: false,
            list_type: None,
            map_keys: Vec::new(),
            default: None,
        }
    }
}

/// Flags of a type that is being built.
#[derive(Copy, Clone, Debug, Default)]
pub struct TypeFlags {
    /// `x-kubernetes-preserve-unknown-fields`.
    pub preserve_unknown: bool,
    /// `x-kubernetes-embedded-resource`.
    pub embedded_resource: bool,
    /// `x-kubernetes-map-type: atomic`.
    pub atomic: bool,
}

/// Makes a [`Table`].
#[derive(Debug)]
pub struct Builder {
    text: String,
    names: Vec<Span>,
    flags: Vec<u16>,
    fields: Vec<Vec<Field>>,
    shapes: Vec<Shape>,
    by_shape: HashMap<Shape, ShapeId>,
    kinds: Vec<Kind>,
}

impl Default for Builder {
    fn default() -> Self {
        Builder::new()
    }
}

impl Builder {
    /// A table without types.
    #[must_use]
    pub fn new() -> Builder {
        Builder {
            text: String::new(),
            names: Vec::new(),
            flags: Vec::new(),
            fields: Vec::new(),
            shapes: Vec::new(),
            by_shape: HashMap::new(),
            kinds: Vec::new(),
        }
    }

    fn add(&mut self, text: &str) -> Span {
        let start = self.text.len() as u32;
        self.text.push_str(text);
        Span {
            start,
            len: text.len() as u32,
        }
    }

    /// Makes room for a type; `None` when the table is full (65535 types).
    pub fn reserve(&mut self, name: &str, flags: TypeFlags) -> Option<TypeId> {
        let id = u16::try_from(self.names.len()).ok()?;
        let name = self.add(name);
        self.names.push(name);
        let mut bits = TYPE_LENIENT;
        if flags.preserve_unknown {
            bits |= TYPE_PRESERVE;
        }
        if flags.embedded_resource {
            bits |= TYPE_EMBEDDED;
        }
        if flags.atomic {
            bits |= TYPE_ATOMIC;
        }
        self.flags.push(bits);
        self.fields.push(Vec::new());
        Some(TypeId(id))
    }

    /// The number of a shape; `None` when the table is full.
    pub fn shape(&mut self, shape: Shape) -> Option<ShapeId> {
        if let Some(id) = self.by_shape.get(&shape) {
            return Some(*id);
        }
        let id = ShapeId(u16::try_from(self.shapes.len()).ok()?);
        self.shapes.push(shape);
        self.by_shape.insert(shape, id);
        Some(id)
    }

    /// Adds a field to a reserved type.
    pub fn field(&mut self, ty: TypeId, new: &NewField) {
        let mut flags = OMIT_EMPTY;
        for (set, bit) in [
            (new.required, REQUIRED),
            (new.nullable, NULLABLE),
            (new.atomic, MAP_ATOMIC),
            (new.default.is_some(), DEFAULTED),
            (new.list_type == Some(ListType::Atomic), LIST_ATOMIC),
            (new.list_type == Some(ListType::Map), LIST_MAP),
            (new.list_type == Some(ListType::Set), LIST_SET),
        ] {
            if set {
                flags |= bit;
            }
        }
        let mut rest = String::new();
        if new.list_type == Some(ListType::Map) {
            rest.push_str("Lm:");
            rest.push_str(&new.map_keys.join(","));
        }
        if let Some(json) = &new.default {
            if !rest.is_empty() {
                rest.push(' ');
            }
            rest.push('=');
            rest.push_str(json);
        }
        let name = self.add(&new.name);
        let rest = self.add(&rest);
        let code = code_of(&new.name);
        let field = Field {
            name,
            code,
            shape: new.shape,
            flags,
            proto: [0; 4],
            rest,
        };
        if let Some(fields) = self.fields.get_mut(ty.0 as usize) {
            fields.push(field);
        }
    }

    /// Takes a type and all that it refers to over from another table.
    pub fn take_over(&mut self, from: &Table, id: TypeId) -> Option<TypeId> {
        self.take(from, id, &mut HashMap::new())
    }

    fn take(
        &mut self,
        from: &Table,
        id: TypeId,
        done: &mut HashMap<TypeId, TypeId>,
    ) -> Option<TypeId> {
        if let Some(id) = done.get(&id) {
            return Some(*id);
        }
        let own = self.reserve(from.type_name(id), TypeFlags::default())?;
        self.flags[own.0 as usize] = from.ty(id).flags;
        done.insert(id, own);
        for field in from.fields(id) {
            let name = self.add(from.json_name(field));
            let rest = self.add(from.str(field.rest));
            let shape = self.take_shape(from, field.shape, done)?;
            self.fields[own.0 as usize].push(Field {
                name,
                rest,
                shape,
                ..*field
            });
        }
        Some(own)
    }

    fn take_shape(
        &mut self,
        from: &Table,
        id: ShapeId,
        done: &mut HashMap<TypeId, TypeId>,
    ) -> Option<ShapeId> {
        let shape = match from.shape(id) {
            Shape::Leaf(leaf) => Shape::Leaf(leaf),
            Shape::Struct(ty) => Shape::Struct(self.take(from, ty, done)?),
            Shape::List { item, wrapped } => Shape::List {
                item: self.take_shape(from, item, done)?,
                wrapped,
            },
            Shape::Map { value } => Shape::Map {
                value: self.take_shape(from, value, done)?,
            },
        };
        self.shape(shape)
    }

    /// Says of which kind a type is.
    pub fn kind(&mut self, group: &str, version: &str, kind: &str, ty: TypeId) {
        let (group, version, kind) = (self.add(group), self.add(version), self.add(kind));
        self.kinds.push(Kind {
            group,
            version,
            kind,
            ty,
        });
    }

    /// The table.
    #[must_use]
    pub fn finish(mut self) -> Table {
        let alias = self.add("");
        let mut fields = Vec::new();
        let mut sorted: Vec<(u32, u16)> = Vec::new();
        let mut types = Vec::new();
        for ((name, flags), own) in self.names.iter().zip(&self.flags).zip(&mut self.fields) {
            let first = fields.len();
            own.truncate(usize::from(u16::MAX));
            sorted.extend(own.iter().enumerate().map(|(n, f)| (f.code, n as u16)));
            sorted[first..].sort_unstable();
            let count = own.len() as u16;
            fields.append(own);
            types.push(Type {
                name: *name,
                package: 0,
                first: first as u32,
                count,
                flags: *flags,
            });
        }
        let mut table = Table {
            text: Cow::Owned(self.text),
            packages: vec![Package { alias, path: alias }],
            types,
            fields,
            sorted,
            shapes: self.shapes,
            kinds: self.kinds,
            named: HashMap::new(),
            schema_props: None,
        };
        table.derive();
        table
    }

    /// The shape of an untyped value.
    pub fn any(&mut self) -> Option<ShapeId> {
        self.shape(Shape::Leaf(Leaf::Any))
    }
}
