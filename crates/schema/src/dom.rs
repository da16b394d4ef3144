//! The arena DOM: one document as a vector of 24-byte nodes and one text buffer.
//!
//! Parsing `{"a":["x"],"b":1}` makes four nodes: the map (first child 1, last child 3), the
//! list under the key `a` (next sibling 3, first child 2), the string `x` as a span of the
//! text (a copy of the source), and the integer. Keys are numbers: static ones for field names
//! of the built-in types (`names`), others for this document, so a lookup compares integers.
//! A removed or replaced node stays in the arena until the document is dropped.
//! Knows nothing of types; those are in `table`.

mod build;
mod children;
mod cursor;
mod lex;
mod parse;
mod write;

pub use cursor::Ref;
pub use lex::SyntaxError;
use lex::unescape;
pub(crate) use lex::{Lexer, Number, Stop, Text, quote_go};
pub(crate) use parse::{LargeMaps, parse_value, sanitize};
pub use parse::{Limits, Parsed};
pub(crate) use write::{write_float, write_int, write_string};

use crate::names::{self, Name, STATIC};

/// The number of a node in its document.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node(pub(crate) u32);

/// What a node holds.
#[derive(Copy, Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number without fraction that fits.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A string.
    Str(&'a str),
    /// A list; see [`Dom::items`].
    List,
    /// A map; see [`Dom::entries`].
    Map,
}

/// One document.
#[derive(Clone, Debug)]
pub struct Dom {
    slots: Vec<Slot>,
    text: String,
    keys: Vec<Key>,
    root: u32,
}

/// No node.
const NONE: u32 = u32::MAX;
/// In the place of a key: the same key came again. Gone when parsing is over.
const DEAD: u32 = u32::MAX - 1;

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Tag {
    Null,
    Bool,
    Int,
    Float,
    Str,
    List,
    Map,
}

/// `a` and `b` are: the halves of an integer; start and length of a text (also of other numbers,
/// which untyped values print as they came); first and last child.
#[derive(Copy, Clone, Debug)]
struct Slot {
    key: u32,
    next: u32,
    parent: u32,
    /// Tag in the low byte, number of children above it.
    meta: u32,
    a: u32,
    b: u32,
}

/// A key that is not static.
#[derive(Copy, Clone, Debug)]
struct Key {
    start: u32,
    len: u32,
    hash: u32,
}

impl Slot {
    #[inline]
    fn leaf(tag: Tag, a: u32, b: u32) -> Slot {
        Slot {
            key: NONE,
            next: NONE,
            parent: NONE,
            meta: tag as u32,
            a,
            b,
        }
    }

    #[inline]
    fn wide(tag: Tag, bits: u64) -> Slot {
        Slot::leaf(tag, bits as u32, (bits >> 32) as u32)
    }

    #[inline]
    fn bits(&self) -> u64 {
        u64::from(self.a) | (u64::from(self.b) << 32)
    }

    #[inline]
    fn tag(&self) -> Tag {
        match self.meta as u8 {
            1 => Tag::Bool,
            2 => Tag::Int,
            3 => Tag::Float,
            4 => Tag::Str,
            5 => Tag::List,
            6 => Tag::Map,
            _ => Tag::Null,
        }
    }

    #[inline]
    fn count(&self) -> u32 {
        self.meta >> 8
    }
}

impl Default for Dom {
    fn default() -> Self {
        Dom::new()
    }
}

impl Dom {
    /// A document whose root is `null`.
    #[must_use]
    pub fn new() -> Dom {
        Dom {
            slots: vec![Slot::leaf(Tag::Null, 0, 0)],
            text: String::new(),
            keys: Vec::new(),
            root: 0,
        }
    }

    /// How many nodes the arena holds, removed ones included.
    pub(crate) fn nodes(&self) -> usize {
        self.slots.len()
    }

    /// The document's value.
    #[must_use]
    pub fn root(&self) -> Node {
        Node(self.root)
    }

    /// A cursor on the root.
    #[must_use]
    pub fn as_ref(&self) -> Ref<'_> {
        self.at_node(self.root())
    }

    /// A cursor on `node`.
    #[must_use]
    pub fn at_node(&self, node: Node) -> Ref<'_> {
        Ref::new(self, node)
    }

    #[inline]
    fn slot(&self, node: u32) -> &Slot {
        &self.slots[node as usize]
    }

    #[inline]
    pub(crate) fn tag(&self, node: Node) -> Tag {
        self.slot(node.0).tag()
    }

    #[inline]
    fn span(&self, start: u32, len: u32) -> &str {
        let start = start as usize;
        self.text
            .get(start..start + len as usize)
            .unwrap_or_default()
    }

    /// What `node` holds.
    #[inline]
    #[must_use]
    pub fn value(&self, node: Node) -> Value<'_> {
        let slot = self.slot(node.0);
        match slot.tag() {
            Tag::Null => Value::Null,
            Tag::Bool => Value::Bool(slot.a != 0),
            Tag::Int => Value::Int(slot.bits() as i64),
            Tag::Float => Value::Float(self.span(slot.a, slot.b).parse().unwrap_or(f64::INFINITY)),
            Tag::Str => Value::Str(self.span(slot.a, slot.b)),
            Tag::List => Value::List,
            Tag::Map => Value::Map,
        }
    }

    /// The text of a string node.
    #[must_use]
    pub fn as_str(&self, node: Node) -> Option<&str> {
        match self.value(node) {
            Value::Str(s) => Some(s),
            _ => None,
        }
    }

    /// The number of children of a list or map; 0 for anything else.
    #[must_use]
    pub fn len(&self, node: Node) -> usize {
        self.slot(node.0).count() as usize
    }

    /// Whether `node` has no children.
    #[must_use]
    pub fn is_empty(&self, node: Node) -> bool {
        self.len(node) == 0
    }

    #[inline]
    pub(crate) fn first(&self, node: Node) -> Option<Node> {
        let slot = self.slot(node.0);
        let container = matches!(slot.tag(), Tag::List | Tag::Map);
        (container && slot.a != NONE).then_some(Node(slot.a))
    }

    #[inline]
    pub(crate) fn next(&self, node: Node) -> Option<Node> {
        let next = self.slot(node.0).next;
        (next != NONE).then_some(Node(next))
    }

    /// The number of the key under which `node` sits in its map.
    #[inline]
    pub(crate) fn name(&self, node: Node) -> Name {
        Name(self.slot(node.0).key)
    }

    /// The key under which `node` sits in its map; empty in a list or at the root.
    #[inline]
    #[must_use]
    pub fn key(&self, node: Node) -> &str {
        self.text_of(Name(self.slot(node.0).key))
    }

    #[inline]
    fn text_of(&self, name: Name) -> &str {
        if name.0 < STATIC {
            return name.text().unwrap_or_default();
        }
        match self.keys.get((name.0 - STATIC) as usize) {
            Some(key) => self.span(key.start, key.len),
            None => "",
        }
    }

    /// The value under a built-in field's name.
    #[inline]
    #[must_use]
    pub fn field(&self, map: Node, name: Name) -> Option<Node> {
        if self.tag(map) != Tag::Map {
            return None;
        }
        let mut child = self.first(map);
        while let Some(node) = child {
            if self.slot(node.0).key == name.0 {
                return Some(node);
            }
            child = self.next(node);
        }
        None
    }

    /// The value under `key`.
    #[must_use]
    pub fn get(&self, map: Node, key: &str) -> Option<Node> {
        let hash = names::hash(key.as_bytes());
        if let Some(name) = names::lookup(key.as_bytes(), hash) {
            return self.field(map, name);
        }
        self.get_own(map, key, hash)
    }

    /// The value under a key that is not static.
    fn get_own(&self, map: Node, key: &str, hash: u32) -> Option<Node> {
        if self.tag(map) != Tag::Map {
            return None;
        }
        let mut child = self.first(map);
        while let Some(node) = child {
            let number = self.slot(node.0).key;
            if number >= STATIC
                && let Some(own) = self.keys.get((number - STATIC) as usize)
                && own.hash == hash
                && self.span(own.start, own.len) == key
            {
                return Some(node);
            }
            child = self.next(node);
        }
        None
    }

    /// The value at a path of keys.
    #[must_use]
    pub fn at(&self, node: Node, path: &[&str]) -> Option<Node> {
        path.iter().try_fold(node, |node, key| self.get(node, key))
    }

    /// Keys and values of a map, in document order.
    pub fn entries(&self, map: Node) -> Entries<'_> {
        let next = if self.tag(map) == Tag::Map {
            self.first(map)
        } else {
            None
        };
        Entries { dom: self, next }
    }

    /// Values of a list, in order.
    pub fn items(&self, list: Node) -> Items<'_> {
        let next = if self.tag(list) == Tag::List {
            self.first(list)
        } else {
            None
        };
        Items { dom: self, next }
    }

    /// The `index`th value of a list.
    #[must_use]
    pub fn item(&self, list: Node, index: usize) -> Option<Node> {
        self.items(list).nth(index)
    }

    /// Pairs the values of two maps of one size by key; false when keys differ.
    fn pair_entries(&self, a: Node, other: &Dom, b: Node, open: &mut Vec<(Node, Node)>) -> bool {
        let mut beside = other.first(b);
        let start = open.len();
        for (key, value) in self.entries(a) {
            match beside {
                Some(twin) if other.key(twin) == key => {
                    open.push((value, twin));
                    beside = other.next(twin);
                }
                _ => {
                    open.truncate(start);
                    break;
                }
            }
        }
        if open.len() - start == self.len(a) {
            return true;
        }
        // Another order: sort both, so that large maps stay cheap.
        let mut left: Vec<_> = self.entries(a).collect();
        let mut right: Vec<_> = other.entries(b).collect();
        left.sort_unstable_by_key(|(key, _)| *key);
        right.sort_unstable_by_key(|(key, _)| *key);
        let same = left
            .iter()
            .map(|(key, _)| key)
            .eq(right.iter().map(|(key, _)| key));
        open.extend(left.iter().zip(&right).map(|((_, a), (_, b))| (*a, *b)));
        same
    }

    /// Whether two values are the same; order of keys does not matter, of list items it does.
    #[must_use]
    pub fn equal(&self, a: Node, other: &Dom, b: Node) -> bool {
        let mut open = vec![(a, b)];
        while let Some((a, b)) = open.pop() {
            match (self.value(a), other.value(b)) {
                (Value::List, Value::List) => {
                    if self.len(a) != other.len(b) {
                        return false;
                    }
                    open.extend(self.items(a).zip(other.items(b)));
                }
                (Value::Map, Value::Map) => {
                    if self.len(a) != other.len(b) {
                        return false;
                    }
                    if !self.pair_entries(a, other, b, &mut open) {
                        return false;
                    }
                }
                (a, b) => {
                    if a != b {
                        return false;
                    }
                }
            }
        }
        true
    }
}

/// See [`Dom::entries`].
#[derive(Clone)]
pub struct Entries<'a> {
    dom: &'a Dom,
    next: Option<Node>,
}

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a str, Node);

    fn next(&mut self) -> Option<Self::Item> {
        let node = self.next?;
        self.next = self.dom.next(node);
        Some((self.dom.key(node), node))
    }
}

/// See [`Dom::items`].
#[derive(Clone)]
pub struct Items<'a> {
    dom: &'a Dom,
    next: Option<Node>,
}

impl Iterator for Items<'_> {
    type Item = Node;

    fn next(&mut self) -> Option<Node> {
        let node = self.next?;
        self.next = self.dom.next(node);
        Some(node)
    }
}

#[cfg(test)]
mod tests;
