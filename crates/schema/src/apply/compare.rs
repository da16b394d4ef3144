//! What changed between two objects, as three sets of fields.
//!
//! Source: structured-merge-diff v6 typed/compare.go.

use std::collections::{BTreeMap, BTreeSet};

use super::fields::fields;
use super::place::{Form, Place};
use super::set::{Element, Set};
use crate::dom::{Dom, Node};
use crate::table::Table;

/// Fields by what happened to them.
#[derive(Clone, Debug, Default)]
pub(super) struct Comparison {
    pub(super) added: Set,
    pub(super) removed: Set,
    pub(super) modified: Set,
}

impl Comparison {
    /// Leaves out what the server sets anyway.
    pub(super) fn ignoring(self, ignored: Option<&Set>) -> Comparison {
        let Some(ignored) = ignored else { return self };
        Comparison {
            added: self.added.without_below(ignored),
            removed: self.removed.without_below(ignored),
            modified: self.modified.without_below(ignored),
        }
    }
}

pub(super) fn compare<'t>(
    table: &'t Table,
    place: Place<'t>,
    old: (&Dom, Node),
    new: (&Dom, Node),
) -> Comparison {
    let mut walk = Walk {
        table,
        old: old.0,
        new: new.0,
        path: Vec::new(),
        found: Comparison::default(),
    };
    walk.pair(place, Some(old.1), Some(new.1));
    walk.found
}

struct Walk<'t, 'd> {
    table: &'t Table,
    old: &'d Dom,
    new: &'d Dom,
    path: Vec<Element>,
    found: Comparison,
}

impl<'t> Walk<'t, '_> {
    fn leaf(&mut self, old: Option<Node>, new: Option<Node>) {
        match (old, new) {
            (None, _) => self.found.added.insert(&self.path),
            (_, None) => self.found.removed.insert(&self.path),
            (Some(a), Some(b)) => {
                if !self.old.equal(a, self.new, b) {
                    self.found.modified.insert(&self.path);
                }
            }
        }
    }

    /// All fields below the current path, prefixed with it.
    fn below(&self, dom: &Dom, node: Node, place: Place<'t>) -> Set {
        let mut set = fields(self.table, dom, node, place);
        for element in self.path.iter().rev() {
            let mut outer = Set::default();
            outer.children.insert(element.clone(), set);
            set = outer;
        }
        set
    }

    fn pair(&mut self, place: Place<'t>, old: Option<Node>, new: Option<Node>) {
        let a = old.map(|node| place.form(self.old.value(node)));
        let b = new.map(|node| place.form(self.new.value(node)));
        match (a, b) {
            (None, None) => {}
            (Some(Form::Map), Some(Form::Map) | None) | (None, Some(Form::Map)) => {
                self.maps(place, old, new);
            }
            (Some(Form::List), Some(Form::List) | None) | (None, Some(Form::List)) => {
                self.lists(place, old, new);
            }
            (Some(Form::Leaf), Some(Form::Leaf) | None) | (None, Some(Form::Leaf)) => {
                self.leaf(old, new);
            }
            // Another kind of value: everything on either side changed.
            (Some(_), Some(_)) => {
                self.found.modified.insert(&self.path);
                if let Some(node) = old {
                    let below = self.below(self.old, node, place);
                    self.found.removed = self.found.removed.union(&below);
                }
                if let Some(node) = new {
                    let below = self.below(self.new, node, place);
                    self.found.added = self.found.added.union(&below);
                }
            }
        }
    }

    fn container(&mut self, old: Option<Node>, new: Option<Node>) {
        if old.is_none() {
            self.found.added.insert(&self.path);
        } else if new.is_none() {
            self.found.removed.insert(&self.path);
        }
    }

    fn maps(&mut self, place: Place<'t>, old: Option<Node>, new: Option<Node>) {
        let count = |dom: &Dom, node: Option<Node>| node.map_or(0, |node| dom.len(node));
        if count(self.old, old) + count(self.new, new) == 0 {
            return self.leaf(old, new);
        }
        let mut entries: BTreeMap<&str, (Option<Node>, Option<Node>)> = BTreeMap::new();
        for (name, node) in old.into_iter().flat_map(|node| self.old.entries(node)) {
            entries.entry(name).or_default().0 = Some(node);
        }
        for (name, node) in new.into_iter().flat_map(|node| self.new.entries(node)) {
            entries.entry(name).or_default().1 = Some(node);
        }
        for (name, (a, b)) in entries {
            let (inner, _) = place
                .child(self.table, name)
                .unwrap_or((Place::Unknown, false));
            self.path.push(Element::Field(name.into()));
            self.pair(inner, a, b);
            self.path.pop();
        }
        self.container(old, new);
    }

    fn group(
        &self,
        dom: &Dom,
        list: Option<Node>,
        place: Place<'t>,
    ) -> BTreeMap<Element, Vec<Node>> {
        let mut all: BTreeMap<Element, Vec<Node>> = BTreeMap::new();
        for item in list.into_iter().flat_map(|list| dom.items(list)) {
            if let Ok(element) = place.identity(self.table, dom, item) {
                all.entry(element).or_default().push(item);
            }
        }
        all
    }

    fn lists(&mut self, place: Place<'t>, old: Option<Node>, new: Option<Node>) {
        let count = |dom: &Dom, node: Option<Node>| node.map_or(0, |node| dom.len(node));
        if count(self.old, old) + count(self.new, new) == 0 {
            return self.leaf(old, new);
        }
        let before = self.group(self.old, old, place);
        let after = self.group(self.new, new, place);
        let inner = place.item(self.table);
        let elements: BTreeSet<_> = before.keys().chain(after.keys()).collect();
        for element in elements {
            let a = before.get(element).map(Vec::as_slice).unwrap_or_default();
            let b = after.get(element).map(Vec::as_slice).unwrap_or_default();
            self.path.push(element.clone());
            match (a, b) {
                (_, _) if a.len() <= 1 && b.len() <= 1 => {
                    self.pair(inner, a.first().copied(), b.first().copied());
                }
                (_, _) if a.len() >= 2 && b.len() >= 2 => {
                    let same = a.len() == b.len()
                        && a.iter()
                            .zip(b)
                            .all(|(a, b)| self.old.equal(*a, self.new, *b));
                    if !same {
                        self.found.modified.insert(&self.path);
                    }
                }
                (_, _) if a.len() >= 2 => {
                    if let Some(b) = b.first() {
                        self.pair(inner, None, Some(*b));
                    }
                    self.found.removed.insert(&self.path);
                }
                (_, _) => {
                    if let Some(a) = a.first() {
                        self.pair(inner, Some(*a), None);
                    }
                    self.found.added.insert(&self.path);
                }
            }
            self.path.pop();
        }
        self.container(old, new);
    }
}
