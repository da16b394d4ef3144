//! All children of a node at once: taking them out, putting them back.
//!
//! For algorithms that rebuild a whole list or map (patches, protobuf): each call is linear,
//! where single removals from a chain would be quadratic on hostile input. A child keeps the
//! number of its key while it is out.

use super::{Dom, NONE, Node, Tag};

impl Dom {
    /// Takes every child out of a list or map, in order; none of anything else.
    pub(crate) fn take_children(&mut self, node: Node) -> Vec<Node> {
        let mut all = Vec::with_capacity(self.len(node));
        let mut child = self.first(node);
        while let Some(c) = child {
            child = self.next(c);
            let slot = &mut self.slots[c.0 as usize];
            slot.parent = NONE;
            slot.next = NONE;
            all.push(c);
        }
        if matches!(self.tag(node), Tag::List | Tag::Map) {
            let slot = &mut self.slots[node.0 as usize];
            slot.meta &= 0xff;
            slot.a = NONE;
            slot.b = NONE;
        }
        all
    }

    /// Appends free nodes under the keys they carry (maps) or without any (lists). The caller
    /// has made sure that keys are new and nodes are free.
    pub(crate) fn put_children(&mut self, node: Node, children: impl IntoIterator<Item = Node>) {
        let map = match self.tag(node) {
            Tag::Map => true,
            Tag::List => false,
            _ => return,
        };
        for child in children {
            debug_assert_eq!(self.slot(child.0).parent, NONE);
            let key = if map { self.slot(child.0).key } else { NONE };
            self.append(node, child, key);
        }
    }

    /// Gives a free node the key under which [`Dom::put_children`] will put it.
    pub(crate) fn set_key(&mut self, node: Node, key: &str) {
        let name = self.intern(key);
        self.slots[node.0 as usize].key = name.0;
    }

    /// Appends a free node under a key that the caller knows to be new.
    pub(crate) fn append_entry(&mut self, map: Node, key: &str, value: Node) {
        self.set_key(value, key);
        self.put_children(map, [value]);
    }

    /// Nesting of lists and maps below and including `node`.
    pub(crate) fn depth(&self, node: Node) -> usize {
        let mut deepest = 0;
        let mut open = vec![(node, 1)];
        while let Some((node, depth)) = open.pop() {
            deepest = deepest.max(depth);
            let mut child = self.first(node);
            while let Some(c) = child {
                if self.first(c).is_some() {
                    open.push((c, depth + 1));
                }
                child = self.next(c);
            }
        }
        deepest
    }
}
