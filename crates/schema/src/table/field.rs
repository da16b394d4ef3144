//! One field: flags and numbers that are asked often; texts stay with the table.

use super::{ShapeId, Span};
use crate::names::Name;

/// How server-side apply and patches see a list.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum ListType {
    /// One value.
    Atomic,
    /// Items with an identity; see [`Table::map_keys`].
    Map,
    /// Scalars, each at most once.
    Set,
}

/// One field of a type. Texts about it are asked of its table.
#[derive(Copy, Clone, Debug)]
pub struct Field {
    pub(crate) name: Span,
    /// A static name's number, or a hash with the top bit set.
    pub(crate) code: u32,
    pub(crate) shape: ShapeId,
    pub(crate) flags: u16,
    /// Numbers from the outside in; zero ends the path.
    pub(crate) proto: [u8; 4],
    /// Facts that stay text: `L… M… S:… K:… G:… ^… E:… =…`.
    pub(crate) rest: Span,
}

pub(crate) const POINTER: u16 = 1;
pub(crate) const OMIT_EMPTY: u16 = 2;
pub(crate) const OMIT_ZERO: u16 = 4;
pub(crate) const REQUIRED: u16 = 8;
pub(crate) const DEFAULTED: u16 = 16;
pub(crate) const MAP_ATOMIC: u16 = 32;
pub(crate) const MAP_GRANULAR: u16 = 64;
pub(crate) const LIST_ATOMIC: u16 = 128;
pub(crate) const LIST_MAP: u16 = 256;
pub(crate) const LIST_SET: u16 = 512;
pub(crate) const NULLABLE: u16 = 1024;
/// An absent value is left out of JSON; follows from shape and the other flags.
pub(crate) const ABSENT_OMITTED: u16 = 2048;
/// The default is what an absent value means anyway.
pub(crate) const ZERO_DEFAULT: u16 = 4096;

impl Field {
    /// The shape of the value; behind the pointer when it is one.
    #[must_use]
    pub fn shape(&self) -> ShapeId {
        self.shape
    }

    /// The static name, with which [`crate::Dom::field`] finds the value.
    #[must_use]
    pub fn name(&self) -> Option<Name> {
        (self.code < crate::names::STATIC).then_some(Name(self.code))
    }

    /// Whether Go holds it by pointer: present zero values are printed.
    #[must_use]
    pub fn pointer(&self) -> bool {
        self.flags & POINTER != 0
    }

    /// Whether `omitempty` is set.
    #[must_use]
    pub fn omit_empty(&self) -> bool {
        self.flags & OMIT_EMPTY != 0
    }

    /// Whether `omitzero` is set.
    #[must_use]
    pub fn omit_zero(&self) -> bool {
        self.flags & OMIT_ZERO != 0
    }

    /// Whether OpenAPI lists it as required.
    #[must_use]
    pub fn required(&self) -> bool {
        self.flags & REQUIRED != 0
    }

    /// Whether a custom resource's schema allows `null`.
    #[must_use]
    pub fn nullable(&self) -> bool {
        self.flags & NULLABLE != 0
    }

    /// Protobuf field numbers from the outside in: `[2, 1]` is field 1 of the message in field
    /// 2 (a Go struct that JSON inlines). Empty when protobuf does not have the field.
    #[must_use]
    pub fn proto(&self) -> &[u8] {
        let end = self
            .proto
            .iter()
            .position(|n| *n == 0)
            .unwrap_or(self.proto.len());
        &self.proto[..end]
    }

    /// The list type, when it is a list and has one.
    #[must_use]
    pub fn list_type(&self) -> Option<ListType> {
        match self.flags & (LIST_ATOMIC | LIST_MAP | LIST_SET) {
            LIST_ATOMIC => Some(ListType::Atomic),
            LIST_MAP => Some(ListType::Map),
            LIST_SET => Some(ListType::Set),
            _ => None,
        }
    }

    /// Whether an absent value is set to something else than its zero value.
    pub(crate) fn has_default(&self) -> bool {
        self.flags & (DEFAULTED | ZERO_DEFAULT) == DEFAULTED
    }

    /// Whether the map here is said to be granular (which it would be anyway).
    #[must_use]
    pub fn granular_map(&self) -> bool {
        self.flags & MAP_GRANULAR != 0
    }

    /// Whether the map or struct here is one value for server-side apply.
    #[must_use]
    pub fn atomic_map(&self) -> bool {
        self.flags & MAP_ATOMIC != 0
    }
}
