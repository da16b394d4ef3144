//! Changing a document: new values, attaching, removing, copying between documents.
//!
//! A node sits in at most one place. Attaching one that already sits somewhere (or that
//! contains the place) attaches a copy, so no call can tie a knot.

use super::{DEAD, Dom, Key, NONE, Node, Slot, Tag, Value};
use crate::names::{self, Name, STATIC};

impl Dom {
    #[inline]
    pub(super) fn add(&mut self, slot: Slot) -> Node {
        let number = self.slots.len();
        assert!(
            number < DEAD as usize,
            "fewer than 2^32 nodes: bodies are bounded far below"
        );
        self.slots.push(slot);
        Node(number as u32)
    }

    pub(super) fn add_text(&mut self, text: &str) -> (u32, u32) {
        let start = u32::try_from(self.text.len());
        let end = u32::try_from(self.text.len() + text.len());
        let (Ok(start), Ok(end)) = (start, end) else {
            panic!("less than 4 GiB of text: bodies are bounded far below");
        };
        self.text.push_str(text);
        (start, end - start)
    }

    pub(super) fn intern(&mut self, key: &str) -> Name {
        let hash = names::hash(key.as_bytes());
        if let Some(name) = names::lookup(key.as_bytes(), hash) {
            return name;
        }
        let (start, len) = self.add_text(key);
        self.add_key(Key { start, len, hash })
    }

    #[inline]
    pub(super) fn add_key(&mut self, key: Key) -> Name {
        let name = Name(STATIC + self.keys.len() as u32);
        self.keys.push(key);
        name
    }

    /// Makes `node` the document's value.
    pub fn set_root(&mut self, node: Node) {
        let node = if self.slot(node.0).parent == NONE {
            node
        } else {
            self.copy(node)
        };
        self.root = node.0;
    }

    /// `null`, not attached.
    pub fn new_null(&mut self) -> Node {
        self.add(Slot::leaf(Tag::Null, 0, 0))
    }

    /// A boolean, not attached.
    pub fn new_bool(&mut self, value: bool) -> Node {
        self.add(Slot::leaf(Tag::Bool, u32::from(value), 0))
    }

    /// An integer, not attached.
    pub fn new_int(&mut self, value: i64) -> Node {
        self.add(Slot::wide(Tag::Int, value as u64))
    }

    /// A float, not attached.
    pub fn new_float(&mut self, value: f64) -> Node {
        let mut text = Vec::new();
        super::write::write_float(&mut text, value);
        let (start, len) = self.add_text(&String::from_utf8_lossy(&text));
        self.add(Slot::leaf(Tag::Float, start, len))
    }

    /// A string, not attached.
    pub fn new_str(&mut self, value: &str) -> Node {
        let (start, len) = self.add_text(value);
        self.add(Slot::leaf(Tag::Str, start, len))
    }

    /// An empty list, not attached.
    pub fn new_list(&mut self) -> Node {
        self.add(Slot::leaf(Tag::List, NONE, NONE))
    }

    /// An empty map, not attached.
    pub fn new_map(&mut self) -> Node {
        self.add(Slot::leaf(Tag::Map, NONE, NONE))
    }

    /// Appends a child; the caller has made sure that it is free and that the key is new.
    #[inline]
    pub(super) fn append(&mut self, parent: Node, child: Node, key: u32) {
        let slot = &mut self.slots[child.0 as usize];
        slot.parent = parent.0;
        slot.key = key;
        slot.next = NONE;
        let slot = &mut self.slots[parent.0 as usize];
        slot.meta = slot.meta.saturating_add(1 << 8);
        let last = slot.b;
        slot.b = child.0;
        if last == NONE {
            slot.a = child.0;
        } else {
            self.slots[last as usize].next = child.0;
        }
    }

    /// `node` itself when it can be attached below `place`, else a copy.
    fn free(&mut self, place: Node, node: Node) -> Node {
        if self.slot(node.0).parent != NONE || node.0 == self.root {
            return self.copy(node);
        }
        let mut above = place.0;
        while above != NONE {
            if above == node.0 {
                return self.copy(node);
            }
            above = self.slot(above).parent;
        }
        node
    }

    /// Puts `value` under `key`, in the place of what was there or at the end.
    /// Does nothing when `map` is not a map.
    pub fn set(&mut self, map: Node, key: &str, value: Node) {
        if self.tag(map) != Tag::Map {
            return;
        }
        if let Some(old) = self.get(map, key) {
            if old != value {
                self.replace(old, value);
            }
            return;
        }
        let value = self.free(map, value);
        let name = self.intern(key);
        self.append(map, value, name.0);
    }

    /// [`Dom::set`] with a new string.
    pub fn set_str(&mut self, map: Node, key: &str, value: &str) {
        let node = self.new_str(value);
        self.set(map, key, node);
    }

    /// [`Dom::set`] with a new integer.
    pub fn set_int(&mut self, map: Node, key: &str, value: i64) {
        let node = self.new_int(value);
        self.set(map, key, node);
    }

    /// [`Dom::set`] with a new boolean.
    pub fn set_bool(&mut self, map: Node, key: &str, value: bool) {
        let node = self.new_bool(value);
        self.set(map, key, node);
    }

    /// Appends `value` to a list. Does nothing when `list` is not a list.
    pub fn push(&mut self, list: Node, value: Node) {
        if self.tag(list) != Tag::List {
            return;
        }
        let value = self.free(list, value);
        self.append(list, value, NONE);
    }

    /// Inserts `value` before the `index`th item, or at the end.
    pub fn insert_item(&mut self, list: Node, index: usize, value: Node) {
        if self.tag(list) != Tag::List {
            return;
        }
        if index >= self.len(list) {
            self.push(list, value);
            return;
        }
        let value = self.free(list, value);
        let before = index.checked_sub(1).and_then(|i| self.item(list, i));
        let next = match before {
            Some(before) => std::mem::replace(&mut self.slots[before.0 as usize].next, value.0),
            None => std::mem::replace(&mut self.slots[list.0 as usize].a, value.0),
        };
        let slot = &mut self.slots[value.0 as usize];
        slot.parent = list.0;
        slot.next = next;
        slot.key = NONE;
        let slot = &mut self.slots[list.0 as usize];
        slot.meta = slot.meta.saturating_add(1 << 8);
    }

    /// Takes the value under `key` out of a map; says whether there was one.
    pub fn remove(&mut self, map: Node, key: &str) -> bool {
        match self.get(map, key) {
            Some(node) => {
                self.detach(node);
                true
            }
            None => false,
        }
    }

    /// Takes the `index`th value out of a list; says whether there was one.
    pub fn remove_item(&mut self, list: Node, index: usize) -> bool {
        match self.item(list, index) {
            Some(node) => {
                self.detach(node);
                true
            }
            None => false,
        }
    }

    /// Takes `node` out of the list or map in which it sits.
    pub fn detach(&mut self, node: Node) {
        let Slot { parent, next, .. } = *self.slot(node.0);
        if parent == NONE {
            return;
        }
        let mut before = NONE;
        let mut child = self.slot(parent).a;
        while child != node.0 && child != NONE {
            before = child;
            child = self.slot(child).next;
        }
        if before == NONE {
            self.slots[parent as usize].a = next;
        } else {
            self.slots[before as usize].next = next;
        }
        let slot = &mut self.slots[parent as usize];
        slot.meta -= 1 << 8;
        if slot.b == node.0 {
            slot.b = before;
        }
        let slot = &mut self.slots[node.0 as usize];
        slot.parent = NONE;
        slot.next = NONE;
        slot.key = NONE;
    }

    /// Gives `node` the content of `with`, in its place and under its key. `with` is spent: it
    /// is `null` afterwards (a copy is taken when it sits somewhere itself).
    pub fn replace(&mut self, node: Node, with: Node) {
        if node == with {
            return;
        }
        let with = self.free(node, with);
        let content = *self.slot(with.0);
        let slot = &mut self.slots[node.0 as usize];
        slot.meta = content.meta;
        slot.a = content.a;
        slot.b = content.b;
        let mut child = self.first(node);
        while let Some(c) = child {
            self.slots[c.0 as usize].parent = node.0;
            child = self.next(c);
        }
        self.slots[with.0 as usize] = Slot::leaf(Tag::Null, 0, 0);
    }

    /// The map under `key`, made (also in the place of anything else) when it is not there.
    pub fn ensure_map(&mut self, map: Node, key: &str) -> Node {
        self.ensure(map, key, Tag::Map)
    }

    /// The list under `key`, made (also in the place of anything else) when it is not there.
    pub fn ensure_list(&mut self, map: Node, key: &str) -> Node {
        self.ensure(map, key, Tag::List)
    }

    fn ensure(&mut self, map: Node, key: &str, tag: Tag) -> Node {
        match self.get(map, key) {
            Some(node) if self.tag(node) == tag => node,
            Some(node) => {
                let new = self.add(Slot::leaf(tag, NONE, NONE));
                self.replace(node, new);
                node
            }
            None => {
                let new = self.add(Slot::leaf(tag, NONE, NONE));
                self.set(map, key, new);
                new
            }
        }
    }

    /// A deep copy in the same document, not attached.
    pub fn copy(&mut self, node: Node) -> Node {
        let top = self.copy_slot(node);
        let mut open = vec![(node, top)];
        while let Some((from, to)) = open.pop() {
            let mut child = self.first(from);
            while let Some(c) = child {
                let twin = self.copy_slot(c);
                let key = self.slot(c.0).key;
                self.append(to, twin, key);
                if self.first(c).is_some() {
                    open.push((c, twin));
                }
                child = self.next(c);
            }
        }
        top
    }

    fn copy_slot(&mut self, node: Node) -> Node {
        let from = *self.slot(node.0);
        let slot = match from.tag() {
            tag @ (Tag::List | Tag::Map) => Slot::leaf(tag, NONE, NONE),
            tag => Slot::leaf(tag, from.a, from.b),
        };
        self.add(slot)
    }

    /// A deep copy of another document's value, not attached.
    pub fn import(&mut self, other: &Dom, node: Node) -> Node {
        let top = self.import_one(other, node);
        let mut open = vec![(node, top)];
        while let Some((from, to)) = open.pop() {
            let mut child = other.first(from);
            while let Some(c) = child {
                let twin = self.import_one(other, c);
                let key = match other.name(c) {
                    Name(NONE) => Name(NONE),
                    name if name.0 < STATIC => name,
                    _ => self.intern(other.key(c)),
                };
                self.append(to, twin, key.0);
                if other.first(c).is_some() {
                    open.push((c, twin));
                }
                child = other.next(c);
            }
        }
        top
    }

    fn import_one(&mut self, other: &Dom, node: Node) -> Node {
        match other.value(node) {
            Value::Null => self.new_null(),
            Value::Bool(b) => self.new_bool(b),
            Value::Int(n) => self.new_int(n),
            Value::Float(_) => {
                let slot = *other.slot(node.0);
                let (start, len) = self.add_text(other.span(slot.a, slot.b));
                self.add(Slot::leaf(Tag::Float, start, len))
            }
            Value::Str(s) => self.new_str(s),
            Value::List => self.new_list(),
            Value::Map => self.new_map(),
        }
    }
}
