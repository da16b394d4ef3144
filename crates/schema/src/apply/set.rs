//! Sets of field paths: what `fieldsV1` holds.
//!
//! A tree: `members` are the paths that end here, `children` those that go on. In JSON a path
//! element is a key (`f:name`, `k:{"name":"a"}`, `v:"x"`, `i:0`), an empty map ends a path and
//! `.` says that a path with children is a member itself.
//! Source: structured-merge-diff v6 fieldpath/{set,element,serialize,serialize-pe}.go.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::dom::{Dom, Node, Value};

/// A scalar inside a path.
#[derive(Clone, Debug)]
pub enum Scalar {
    /// A whole number.
    Int(i64),
    /// Another number.
    Float(f64),
    /// A string.
    Text(Box<str>),
    /// A boolean.
    Bool(bool),
    /// Lists, maps and null, as JSON; no valid object has them in a key.
    Other(Box<str>),
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Element {
    /// A field of an object or key of a map.
    Field(Box<str>),
    /// An item of a list, by its keys (sorted by name).
    Key(Vec<(Box<str>, Scalar)>),
    /// An item of a set of scalars.
    Value(Scalar),
    /// An item by position.
    Index(i64),
}

/// A set of paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    pub(super) members: BTreeSet<Element>,
    pub(super) children: BTreeMap<Element, Set>,
}

impl Scalar {
    #[expect(clippy::cast_precision_loss, reason = "numbers compare as numbers")]
    fn order(&self, other: &Scalar) -> Ordering {
        match (self, other) {
            (Scalar::Int(a), Scalar::Int(b)) => a.cmp(b),
            (Scalar::Int(a), Scalar::Float(b)) => (*a as f64).total_cmp(b),
            (Scalar::Float(a), Scalar::Int(b)) => a.total_cmp(&(*b as f64)),
            (Scalar::Float(a), Scalar::Float(b)) => a.total_cmp(b),
            (Scalar::Text(a), Scalar::Text(b)) | (Scalar::Other(a), Scalar::Other(b)) => a.cmp(b),
            (Scalar::Bool(a), Scalar::Bool(b)) => a.cmp(b),
            (a, b) => a.rank().cmp(&b.rank()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Scalar::Int(_) | Scalar::Float(_) => 0,
            Scalar::Text(_) => 1,
            Scalar::Bool(_) => 2,
            Scalar::Other(_) => 3,
        }
    }

    pub(super) fn of(dom: &Dom, node: Node) -> Scalar {
        match dom.value(node) {
            Value::Int(n) => Scalar::Int(n),
            Value::Float(f) => Scalar::Float(f),
            Value::Str(text) => Scalar::Text(text.into()),
            Value::Bool(bit) => Scalar::Bool(bit),
            _ => Scalar::Other(String::from_utf8_lossy(&dom.to_json(node)).into()),
        }
    }

    /// Reads the JSON of a default or of a path element.
    pub(super) fn from_json(json: &str) -> Option<Scalar> {
        let dom = Dom::parse_json(json.as_bytes()).ok()?;
        Some(Scalar::of(&dom, dom.root()))
    }

    fn json(&self) -> String {
        let mut dom = Dom::new();
        let node = match self {
            Scalar::Int(n) => dom.new_int(*n),
            Scalar::Float(f) => dom.new_float(*f),
            Scalar::Text(text) => dom.new_str(text),
            Scalar::Bool(bit) => dom.new_bool(*bit),
            Scalar::Other(json) => return json.to_string(),
        };
        String::from_utf8_lossy(&dom.to_json(node)).into_owned()
    }
}

impl PartialEq for Scalar {
    fn eq(&self, other: &Scalar) -> bool {
        self.order(other).is_eq()
    }
}

impl Eq for Scalar {}

impl std::hash::Hash for Scalar {
    #[expect(clippy::cast_precision_loss, reason = "equal numbers hash alike")]
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        match self {
            Scalar::Int(n) => (*n as f64).to_bits().hash(state),
            Scalar::Float(f) => f.to_bits().hash(state),
            Scalar::Text(text) | Scalar::Other(text) => text.hash(state),
            Scalar::Bool(bit) => bit.hash(state),
        }
    }
}

impl PartialOrd for Scalar {
    fn partial_cmp(&self, other: &Scalar) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scalar {
    fn cmp(&self, other: &Scalar) -> Ordering {
        self.order(other)
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Text(text) => write!(f, "{text:?}"),
            other => f.write_str(&other.json()),
        }
    }
}

impl fmt::Display for Element {
    /// As conflicts print paths: `.field`, `[name="a"]`, `[="x"]`, `[0]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Element::Field(name) => write!(f, ".{name}"),
            Element::Key(keys) => {
                f.write_str("[")?;
                for (i, (name, value)) in keys.iter().enumerate() {
                    let comma = if i > 0 { "," } else { "" };
                    write!(f, "{comma}{name}={value}")?;
                }
                f.write_str("]")
            }
            Element::Value(value) => write!(f, "[={value}]"),
            Element::Index(index) => write!(f, "[{index}]"),
        }
    }
}

impl Element {
    /// The key in `fieldsV1`.
    fn text(&self) -> String {
        match self {
            Element::Field(name) => format!("f:{name}"),
            Element::Key(keys) => {
                let mut text = String::from("k:{");
                for (i, (name, value)) in keys.iter().enumerate() {
                    let comma = if i > 0 { "," } else { "" };
                    let name = Scalar::Text(name.clone()).json();
                    text.push_str(&format!("{comma}{name}:{}", value.json()));
                }
                text.push('}');
                text
            }
            Element::Value(value) => format!("v:{}", value.json()),
            Element::Index(index) => format!("i:{index}"),
        }
    }

    /// Reads a key of `fieldsV1`; `None` for kinds that are not known.
    fn parse(text: &str) -> Option<Element> {
        let (kind, rest) = text.split_at_checked(2)?;
        match kind {
            "f:" => Some(Element::Field(rest.into())),
            "v:" => Scalar::from_json(rest).map(Element::Value),
            "i:" => rest.parse().ok().map(Element::Index),
            "k:" => {
                let dom = Dom::parse_json(rest.as_bytes()).ok()?;
                if dom.value(dom.root()) != Value::Map {
                    return None;
                }
                let mut keys: Vec<(Box<str>, Scalar)> = dom
                    .entries(dom.root())
                    .map(|(name, node)| (name.into(), Scalar::of(&dom, node)))
                    .collect();
                keys.sort();
                Some(Element::Key(keys))
            }
            _ => None,
        }
    }
}

impl Set {
    /// A set of these paths of fields.
    #[must_use]
    pub fn of_fields(paths: &[&[&str]]) -> Set {
        let mut set = Set::default();
        for path in paths {
            let path: Vec<_> = path
                .iter()
                .map(|name| Element::Field((*name).into()))
                .collect();
            set.insert(&path);
        }
        set
    }

    /// Adds a path.
    pub fn insert(&mut self, path: &[Element]) {
        let Some((last, parents)) = path.split_last() else {
            return;
        };
        let mut set = self;
        for element in parents {
            set = set.children.entry(element.clone()).or_default();
        }
        set.members.insert(last.clone());
    }

    /// Does it hold no path?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.children.values().all(Set::is_empty)
    }

    /// Is the path in it?
    #[must_use]
    pub fn has(&self, path: &[Element]) -> bool {
        let Some((last, parents)) = path.split_last() else {
            return false;
        };
        let mut set = self;
        for element in parents {
            match set.children.get(element) {
                Some(child) => set = child,
                None => return false,
            }
        }
        set.members.contains(last)
    }

    /// Paths of either.
    #[must_use]
    pub fn union(&self, other: &Set) -> Set {
        let mut out = self.clone();
        out.absorb(other);
        out
    }

    fn absorb(&mut self, other: &Set) {
        self.members.extend(other.members.iter().cloned());
        for (element, child) in &other.children {
            match self.children.get_mut(element) {
                Some(own) => own.absorb(child),
                None => {
                    self.children.insert(element.clone(), child.clone());
                }
            }
        }
    }

    /// Paths of both.
    #[must_use]
    pub fn intersection(&self, other: &Set) -> Set {
        let mut out = Set {
            members: self.members.intersection(&other.members).cloned().collect(),
            children: BTreeMap::new(),
        };
        for (element, child) in &self.children {
            if let Some(theirs) = other.children.get(element) {
                out.keep(element, child.intersection(theirs));
            }
        }
        out
    }

    fn keep(&mut self, element: &Element, child: Set) {
        if !child.is_empty() {
            self.children.insert(element.clone(), child);
        }
    }

    /// Paths that are not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Set) -> Set {
        let mut out = Set {
            members: self.members.difference(&other.members).cloned().collect(),
            children: BTreeMap::new(),
        };
        for (element, child) in &self.children {
            match other.children.get(element) {
                Some(theirs) => out.keep(element, child.difference(theirs)),
                None => out.keep(element, child.clone()),
            }
        }
        out
    }

    /// Paths that are not in `other` nor below one of its members.
    #[must_use]
    pub fn without_below(&self, other: &Set) -> Set {
        let mut out = Set {
            members: self.members.difference(&other.members).cloned().collect(),
            children: BTreeMap::new(),
        };
        for (element, child) in &self.children {
            if other.members.contains(element) {
                continue;
            }
            match other.children.get(element) {
                Some(theirs) => out.keep(element, child.without_below(theirs)),
                None => out.keep(element, child.clone()),
            }
        }
        out
    }

    /// Every path as text, in order: the members of a level before what lies deeper.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        let mut out = Vec::new();
        self.collect("", &mut out);
        out
    }

    fn collect(&self, prefix: &str, out: &mut Vec<String>) {
        out.extend(
            self.members
                .iter()
                .map(|element| format!("{prefix}{element}")),
        );
        for (element, child) in &self.children {
            child.collect(&format!("{prefix}{element}"), out);
        }
    }

    /// The `fieldsV1` form, as a map in `dom`.
    pub fn write(&self, dom: &mut Dom) -> Node {
        self.write_level(dom, false)
    }

    fn write_level(&self, dom: &mut Dom, is_member: bool) -> Node {
        let map = dom.new_map();
        if is_member {
            let empty = dom.new_map();
            dom.append_entry(map, ".", empty);
        }
        let elements: BTreeSet<_> = self.members.iter().chain(self.children.keys()).collect();
        for element in elements {
            let is_member = self.members.contains(element);
            let child = match self.children.get(element) {
                Some(child) => child.write_level(dom, is_member && !child.is_bare()),
                None => dom.new_map(),
            };
            dom.append_entry(map, &element.text(), child);
        }
        map
    }

    /// Is nothing in it, not even an empty level?
    pub(super) fn is_bare(&self) -> bool {
        self.members.is_empty() && self.children.is_empty()
    }

    /// Reads the `fieldsV1` form; elements of unknown kinds are left out, as upstream.
    #[must_use]
    pub fn read(dom: &Dom, node: Node) -> Set {
        Set::read_level(dom, node).0
    }

    /// The set below a node, and whether the node is a member itself.
    fn read_level(dom: &Dom, node: Node) -> (Set, bool) {
        let mut set = Set::default();
        let mut is_member = false;
        for (key, value) in dom.entries(node) {
            if key == "." {
                is_member = true;
                continue;
            }
            let Some(element) = Element::parse(key) else {
                continue;
            };
            let (child, child_is_member) = Set::read_level(dom, value);
            if child_is_member {
                set.members.insert(element.clone());
            }
            if !child.is_bare() {
                set.children.insert(element, child);
            }
        }
        let leaf = set.is_bare();
        (set, is_member || leaf)
    }
}
