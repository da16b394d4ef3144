//! The entries of one map while a patch works on them: found by key, changed, put back.
//!
//! Small maps are searched, large ones indexed, so that a large patch on a large map stays
//! linear. Order is kept; new entries come last.

use std::collections::HashMap;

use crate::dom::{Dom, Node};

const INDEXED_FROM: usize = 24;

pub(super) struct Children {
    nodes: Vec<Option<Node>>,
    index: Option<HashMap<String, usize>>,
}

impl Children {
    /// Takes the entries out of `map`.
    pub(super) fn take(dom: &mut Dom, map: Node) -> Children {
        let nodes: Vec<_> = dom.take_children(map).into_iter().map(Some).collect();
        let mut children = Children { nodes, index: None };
        if children.nodes.len() >= INDEXED_FROM {
            children.build_index(dom);
        }
        children
    }

    fn build_index(&mut self, dom: &Dom) {
        let entries = self.nodes.iter().enumerate();
        let index = entries
            .filter_map(|(i, n)| n.map(|n| (dom.key(n).to_owned(), i)))
            .collect();
        self.index = Some(index);
    }

    fn position(&self, dom: &Dom, key: &str) -> Option<usize> {
        match &self.index {
            Some(index) => index.get(key).copied(),
            None => self
                .nodes
                .iter()
                .position(|n| n.is_some_and(|n| dom.key(n) == key)),
        }
    }

    pub(super) fn get(&self, dom: &Dom, key: &str) -> Option<Node> {
        self.nodes.get(self.position(dom, key)?).copied().flatten()
    }

    /// Puts a free node under `key`.
    pub(super) fn set(&mut self, dom: &mut Dom, key: &str, node: Node) {
        let at = self.position(dom, key);
        dom.set_key(node, key);
        if let Some(place) = at.and_then(|at| self.nodes.get_mut(at)) {
            *place = Some(node);
            return;
        }
        self.nodes.push(Some(node));
        match &mut self.index {
            Some(index) => {
                index.insert(key.to_owned(), self.nodes.len() - 1);
            }
            None if self.nodes.len() >= INDEXED_FROM => self.build_index(dom),
            None => {}
        }
    }

    pub(super) fn remove(&mut self, dom: &Dom, key: &str) -> Option<Node> {
        let at = self.position(dom, key)?;
        if let Some(index) = &mut self.index {
            index.remove(key);
        }
        self.nodes.get_mut(at).and_then(Option::take)
    }

    /// The entries that are left, as nodes that carry their keys.
    pub(super) fn nodes(&self) -> Vec<Node> {
        self.nodes.iter().copied().flatten().collect()
    }

    /// Keeps the entries that `keep` says.
    pub(super) fn retain(&mut self, dom: &Dom, keep: impl Fn(&str) -> bool) {
        self.nodes.retain(|n| n.is_some_and(|n| keep(dom.key(n))));
        if self.index.is_some() {
            self.build_index(dom);
        }
    }

    /// Puts what is left back into `map`.
    pub(super) fn put(self, dom: &mut Dom, map: Node) {
        dom.put_children(map, self.nodes.into_iter().flatten());
    }
}
