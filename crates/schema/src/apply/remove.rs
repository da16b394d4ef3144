//! Taking a set of fields out of an object, and what prune needs to know of sets.
//!
//! A list or map that loses all it had goes too (upstream leaves `null`, which no reader keeps).
//! Source: structured-merge-diff v6 typed/remove.go, fieldpath/set.go
//! (EnsureNamedFieldsAreMembers).

use super::place::{Form, Place};
use super::set::{Element, Set};
use crate::dom::{Dom, Node};
use crate::table::Table;

/// `dom` without the fields of `gone`.
pub(super) fn remove<'t>(table: &'t Table, place: Place<'t>, dom: &Dom, gone: &Set) -> Dom {
    let mut remover = Remover {
        table,
        dom,
        out: Dom::new(),
    };
    let root = match remover.node(place, dom.root(), gone) {
        Some(root) => root,
        None => remover.out.new_map(),
    };
    remover.out.set_root(root);
    remover.out
}

struct Remover<'t, 'd> {
    table: &'t Table,
    dom: &'d Dom,
    out: Dom,
}

impl<'t> Remover<'t, '_> {
    fn node(&mut self, place: Place<'t>, node: Node, gone: &Set) -> Option<Node> {
        let empty = self.dom.is_empty(node);
        match place.form(self.dom.value(node)) {
            Form::Map if !empty => {
                let map = self.out.new_map();
                for (name, value) in self.dom.entries(node) {
                    let element = Element::Field(name.into());
                    if gone.members.contains(&element) {
                        continue;
                    }
                    let (inner, _) = place
                        .child(self.table, name)
                        .unwrap_or((Place::Unknown, false));
                    if let Some(kept) = self.child(inner, value, gone.children.get(&element)) {
                        self.out.append_entry(map, name, kept);
                    }
                }
                (!self.out.is_empty(map)).then_some(map)
            }
            Form::List if !empty => {
                let list = self.out.new_list();
                for item in self.dom.items(node) {
                    let element = place.identity(self.table, self.dom, item).ok();
                    if element.as_ref().is_some_and(|e| gone.members.contains(e)) {
                        continue;
                    }
                    let below = element.as_ref().and_then(|e| gone.children.get(e));
                    if let Some(kept) = self.child(place.item(self.table), item, below) {
                        self.out.put_children(list, [kept]);
                    }
                }
                (!self.out.is_empty(list)).then_some(list)
            }
            _ => Some(self.out.import(self.dom, node)),
        }
    }

    fn child(&mut self, place: Place<'t>, node: Node, gone: Option<&Set>) -> Option<Node> {
        match gone.filter(|set| !set.is_empty()) {
            Some(gone) => self.node(place, node, gone),
            None => Some(self.out.import(self.dom, node)),
        }
    }
}

/// Makes every declared field with fields below it a member itself, so that set arithmetic
/// sees when all of it is gone.
pub(super) fn with_named_fields<'t>(table: &'t Table, place: Place<'t>, set: &Set) -> Set {
    let mut out = Set {
        members: set.members.clone(),
        ..Set::default()
    };
    for (element, child) in &set.children {
        let inner = match element {
            Element::Field(name) => match place.child(table, name) {
                Some((inner, named)) => {
                    if named {
                        out.members.insert(element.clone());
                    }
                    inner
                }
                None => Place::Unknown,
            },
            Element::Key(_) => place.item(table),
            _ => Place::Unknown,
        };
        out.children
            .insert(element.clone(), with_named_fields(table, inner, child));
    }
    out
}

/// Makes the keys of every item members: an item that stays without them would be another.
pub(super) fn with_keys(set: &Set) -> Set {
    let mut out = Set {
        members: set.members.clone(),
        ..Set::default()
    };
    for (element, child) in &set.children {
        out.children.insert(element.clone(), with_keys(child));
    }
    for element in set.members.iter().chain(set.children.keys()) {
        if let Element::Key(keys) = element {
            let names = keys.iter().map(|(name, _)| Element::Field(name.clone()));
            let item = out.children.entry(element.clone()).or_default();
            item.members.extend(names);
        }
    }
    out
}
