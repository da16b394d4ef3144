//! `Ref`: a document and a place in it, the read-only handle that everything passes around.

use super::{Dom, Node, Value};
use crate::names::Name;

/// A value inside a document.
#[derive(Copy, Clone)]
pub struct Ref<'a> {
    dom: &'a Dom,
    node: Node,
}

impl<'a> Ref<'a> {
    /// The value `node` of `dom`.
    #[must_use]
    pub fn new(dom: &'a Dom, node: Node) -> Ref<'a> {
        Ref { dom, node }
    }

    /// The document.
    #[must_use]
    pub fn dom(self) -> &'a Dom {
        self.dom
    }

    /// The place.
    #[must_use]
    pub fn node(self) -> Node {
        self.node
    }

    /// What is here.
    #[must_use]
    pub fn value(self) -> Value<'a> {
        self.dom.value(self.node)
    }

    /// The value under `key`.
    #[must_use]
    pub fn get(self, key: &str) -> Option<Ref<'a>> {
        self.dom
            .get(self.node, key)
            .map(|node| Ref { node, ..self })
    }

    /// The value under a built-in field's name.
    #[must_use]
    pub fn field(self, name: Name) -> Option<Ref<'a>> {
        self.dom
            .field(self.node, name)
            .map(|node| Ref { node, ..self })
    }

    /// `null`, in a document of its own: what an absent value reads as.
    #[must_use]
    pub fn null() -> Ref<'static> {
        static NULL: std::sync::OnceLock<Dom> = std::sync::OnceLock::new();
        NULL.get_or_init(Dom::new).as_ref()
    }

    /// The value under a built-in field's name; [`Ref::null`] when there is none.
    #[must_use]
    pub fn child(self, name: Name) -> Ref<'a> {
        match self.field(name) {
            Some(value) => value,
            None => Ref::null(),
        }
    }

    /// The items of the list under a built-in field's name.
    pub fn list_under(self, name: Name) -> List<'a> {
        List::new(self.field(name))
    }

    /// The entries of the map under a built-in field's name.
    pub fn map_under(self, name: Name) -> Map<'a> {
        Map::new(self.field(name))
    }

    /// The string here; empty for anything else.
    #[must_use]
    pub fn text(self) -> &'a str {
        self.as_str().unwrap_or_default()
    }

    /// The integer here; 0 for anything else.
    #[must_use]
    pub fn integer(self) -> i64 {
        self.as_int().unwrap_or_default()
    }

    /// The boolean here; false for anything else.
    #[must_use]
    pub fn flag(self) -> bool {
        self.as_bool().unwrap_or_default()
    }

    /// The value at a path of keys.
    #[must_use]
    pub fn at(self, path: &[&str]) -> Option<Ref<'a>> {
        self.dom
            .at(self.node, path)
            .map(|node| Ref { node, ..self })
    }

    /// The string here.
    #[must_use]
    pub fn as_str(self) -> Option<&'a str> {
        match self.value() {
            Value::Str(s) => Some(s),
            _ => None,
        }
    }

    /// The integer here.
    #[must_use]
    pub fn as_int(self) -> Option<i64> {
        match self.value() {
            Value::Int(n) => Some(n),
            _ => None,
        }
    }

    /// The boolean here.
    #[must_use]
    pub fn as_bool(self) -> Option<bool> {
        match self.value() {
            Value::Bool(b) => Some(b),
            _ => None,
        }
    }

    /// The number here as a float.
    #[must_use]
    pub fn as_float(self) -> Option<f64> {
        match self.value() {
            Value::Float(f) => Some(f),
            Value::Int(n) => Some(n as f64),
            _ => None,
        }
    }

    /// Whether `null` is here.
    #[must_use]
    pub fn is_null(self) -> bool {
        self.value() == Value::Null
    }

    /// The string under `key`; empty when there is none.
    #[must_use]
    pub fn str(self, key: &str) -> &'a str {
        self.get(key).and_then(Ref::as_str).unwrap_or_default()
    }

    /// The integer under `key`.
    #[must_use]
    pub fn int(self, key: &str) -> Option<i64> {
        self.get(key).and_then(Ref::as_int)
    }

    /// The boolean under `key`.
    #[must_use]
    pub fn bool(self, key: &str) -> Option<bool> {
        self.get(key).and_then(Ref::as_bool)
    }

    /// The items of the list under `key`; none when there is no list.
    pub fn items(self, key: &str) -> List<'a> {
        List::new(self.get(key))
    }

    /// The entries of the map under `key`; none when there is no map.
    pub fn entries(self, key: &str) -> Map<'a> {
        Map::new(self.get(key))
    }

    /// The items here, when here is a list.
    pub fn list(self) -> List<'a> {
        List::new(Some(self))
    }

    /// The entries here, when here is a map.
    pub fn map(self) -> Map<'a> {
        Map::new(Some(self))
    }

    /// The number of items or entries here.
    #[must_use]
    pub fn len(self) -> usize {
        self.dom.len(self.node)
    }

    /// Whether there are no items or entries here.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The key under which this sits in its map.
    #[must_use]
    pub fn key(self) -> &'a str {
        self.dom.key(self.node)
    }

    /// Whether two values are the same, whatever their documents.
    #[must_use]
    pub fn equal(self, other: Ref<'_>) -> bool {
        self.dom.equal(self.node, other.dom, other.node)
    }

    /// The value as JSON.
    #[must_use]
    pub fn to_json(self) -> Vec<u8> {
        self.dom.to_json(self.node)
    }
}

impl std::fmt::Debug for Ref<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.to_json()))
    }
}

/// Items of a list as cursors.
#[derive(Copy, Clone, Debug)]
pub struct List<'a>(Option<Ref<'a>>);

impl<'a> List<'a> {
    /// The items of `list`, none when it is no list.
    #[must_use]
    pub fn new(list: Option<Ref<'a>>) -> List<'a> {
        List(list.filter(|r| r.value() == Value::List).and_then(first))
    }
}

impl<'a> Iterator for List<'a> {
    type Item = Ref<'a>;

    fn next(&mut self) -> Option<Ref<'a>> {
        let here = self.0?;
        self.0 = here.dom.next(here.node).map(|node| Ref { node, ..here });
        Some(here)
    }
}

/// Entries of a map as keys and cursors.
#[derive(Copy, Clone, Debug)]
pub struct Map<'a>(Option<Ref<'a>>);

impl<'a> Map<'a> {
    /// The entries of `map`, none when it is no map.
    #[must_use]
    pub fn new(map: Option<Ref<'a>>) -> Map<'a> {
        Map(map.filter(|r| r.value() == Value::Map).and_then(first))
    }
}

fn first(r: Ref<'_>) -> Option<Ref<'_>> {
    r.dom.first(r.node).map(|node| Ref { node, ..r })
}

impl<'a> Iterator for Map<'a> {
    type Item = (&'a str, Ref<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let here = self.0?;
        self.0 = here.dom.next(here.node).map(|node| Ref { node, ..here });
        Some((here.key(), here))
    }
}
