//! The fields of each type by protobuf number, worked out once for the built-in table.
//!
//! JSON inlines some Go structs that are messages of their own in protobuf: those are tree
//! nodes here. Example: `core.v1.Volume` has name at 1 and, at 2, the inlined volume source.

use std::borrow::Cow;
use std::sync::OnceLock;

use crate::table::{Table, TypeId, builtin};

/// One number of a message.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) number: u8,
    pub(super) target: Target,
}

#[derive(Clone, Debug)]
pub(super) enum Target {
    /// The field at this index of the type.
    Field(u16),
    /// A message whose fields JSON inlines.
    Inline(Vec<Entry>),
}

/// Entries of every type, by ascending number.
pub(super) struct Plans(Vec<Vec<Entry>>);

impl Plans {
    pub(super) fn of(&self, ty: TypeId) -> &[Entry] {
        self.0.get(usize::from(ty.0)).map_or(&[], Vec::as_slice)
    }

    fn new(table: &Table) -> Plans {
        Plans(table.types().map(|ty| entries(table, ty)).collect())
    }
}

/// The plans of a table; built-in ones are kept.
pub(super) fn plans(table: &Table) -> Cow<'static, Plans> {
    static BUILTIN: OnceLock<Plans> = OnceLock::new();
    if std::ptr::eq(table, builtin()) {
        return Cow::Borrowed(BUILTIN.get_or_init(|| Plans::new(table)));
    }
    Cow::Owned(Plans::new(table))
}

impl Clone for Plans {
    fn clone(&self) -> Plans {
        Plans(self.0.clone())
    }
}

fn entries(table: &Table, ty: TypeId) -> Vec<Entry> {
    let mut all = Vec::new();
    for (index, field) in table.fields(ty).iter().enumerate() {
        // Kind and version travel in the envelope.
        if table.inlined(field) == Some("TypeMeta") {
            continue;
        }
        insert(&mut all, field.proto(), index as u16);
    }
    all
}

fn insert(all: &mut Vec<Entry>, path: &[u8], index: u16) {
    let Some((number, rest)) = path.split_first() else {
        return;
    };
    let at = all.partition_point(|entry| entry.number < *number);
    if rest.is_empty() {
        all.insert(
            at,
            Entry {
                number: *number,
                target: Target::Field(index),
            },
        );
        return;
    }
    if all.get(at).is_none_or(|entry| entry.number != *number) {
        all.insert(
            at,
            Entry {
                number: *number,
                target: Target::Inline(Vec::new()),
            },
        );
    }
    if let Some(Entry {
        target: Target::Inline(inner),
        ..
    }) = all.get_mut(at)
    {
        insert(inner, rest, index);
    }
}
