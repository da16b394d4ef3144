//! What changed between two objects, as three sets of fields.
//!
//! Sets are built from the leaves upwards: each level hands its parent what changed below it
//! and how it changed itself. `metadata.managedFields` is never compared.
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

    /// Nothing changed.
    pub(super) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.modified.is_empty()
    }

    /// Takes over what happened below `element` and to it.
    fn take(&mut self, element: Element, (below, change): (Comparison, Change)) {
        let marked = match change {
            Change::None => None,
            Change::Added => Some(&mut self.added),
            Change::Removed => Some(&mut self.removed),
            Change::Modified => Some(&mut self.modified),
        };
        if let Some(set) = marked {
            set.members.insert(element.clone());
        }
        let pairs = [
            (&mut self.added, below.added),
            (&mut self.removed, below.removed),
            (&mut self.modified, below.modified),
        ];
        for (set, child) in pairs {
            if !child.is_bare() {
                set.children.insert(element.clone(), child);
            }
        }
    }
}

/// What happened to a value as a whole.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Change {
    None,
    Added,
    Removed,
    Modified,
}

pub(super) fn compare<'t>(
    table: &'t Table,
    place: Place<'t>,
    old: (&Dom, Node),
    new: (&Dom, Node),
) -> Comparison {
    let walk = Walk {
        table,
        old: old.0,
        new: new.0,
    };
    walk.pair(place, Some(old.1), Some(new.1)).0
}

struct Walk<'t, 'd> {
    table: &'t Table,
    old: &'d Dom,
    new: &'d Dom,
}

type Found = (Comparison, Change);

fn one_sided(old: Option<Node>, new: Option<Node>) -> Change {
    match (old, new) {
        (None, _) => Change::Added,
        (_, None) => Change::Removed,
        _ => Change::None,
    }
}

impl<'t> Walk<'t, '_> {
    fn leaf(&self, old: Option<Node>, new: Option<Node>) -> Found {
        let change = match (old, new) {
            (Some(a), Some(b)) if !self.old.equal(a, self.new, b) => Change::Modified,
            _ => one_sided(old, new),
        };
        (Comparison::default(), change)
    }

    fn pair(&self, place: Place<'t>, old: Option<Node>, new: Option<Node>) -> Found {
        let a = old.map(|node| place.form(self.old.value(node)));
        let b = new.map(|node| place.form(self.new.value(node)));
        match (a, b) {
            (Some(a), Some(b)) if a != b => {
                // Another kind of value: everything on either side changed.
                let below = |dom: &Dom, node: Option<Node>| {
                    node.map(|node| fields(self.table, dom, node, place))
                        .unwrap_or_default()
                };
                let (removed, added) = (below(self.old, old), below(self.new, new));
                (
                    Comparison {
                        added,
                        removed,
                        modified: Set::default(),
                    },
                    Change::Modified,
                )
            }
            (Some(Form::Map), _) | (_, Some(Form::Map)) => self.maps(place, old, new),
            (Some(Form::List), _) | (_, Some(Form::List)) => self.lists(place, old, new),
            (Some(Form::Leaf), _) | (_, Some(Form::Leaf)) => self.leaf(old, new),
            (None, None) => (Comparison::default(), Change::None),
        }
    }

    fn is_hollow(&self, old: Option<Node>, new: Option<Node>) -> bool {
        old.is_none_or(|node| self.old.is_empty(node))
            && new.is_none_or(|node| self.new.is_empty(node))
    }

    fn maps(&self, place: Place<'t>, old: Option<Node>, new: Option<Node>) -> Found {
        if self.is_hollow(old, new) {
            return self.leaf(old, new);
        }
        let mut entries: BTreeMap<&str, (Option<Node>, Option<Node>)> = BTreeMap::new();
        for (name, node) in old.into_iter().flat_map(|node| self.old.entries(node)) {
            entries.entry(name).or_default().0 = Some(node);
        }
        for (name, node) in new.into_iter().flat_map(|node| self.new.entries(node)) {
            entries.entry(name).or_default().1 = Some(node);
        }
        let mut found = Comparison::default();
        for (name, (a, b)) in entries {
            let (inner, _) = place
                .child(self.table, name)
                .unwrap_or((Place::Unknown, false));
            if name == "managedFields" && place.is_metadata(self.table) {
                continue;
            }
            let (below, change) = self.pair(inner, a, b);
            if change != Change::None || !below.is_empty() {
                found.take(Element::Field(name.into()), (below, change));
            }
        }
        (found, one_sided(old, new))
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

    fn lists(&self, place: Place<'t>, old: Option<Node>, new: Option<Node>) -> Found {
        if self.is_hollow(old, new) {
            return self.leaf(old, new);
        }
        let before = self.group(self.old, old, place);
        let after = self.group(self.new, new, place);
        let inner = place.item(self.table);
        let mut found = Comparison::default();
        let elements: BTreeSet<_> = before.keys().chain(after.keys()).collect();
        for element in elements {
            let a = before.get(element).map(Vec::as_slice).unwrap_or_default();
            let b = after.get(element).map(Vec::as_slice).unwrap_or_default();
            found.take(element.clone(), self.items(inner, a, b));
        }
        (found, one_sided(old, new))
    }

    /// The items of one identity; more than one count as a whole.
    fn items(&self, inner: Place<'t>, a: &[Node], b: &[Node]) -> Found {
        match (a, b) {
            ([] | [_], [] | [_]) => self.pair(inner, a.first().copied(), b.first().copied()),
            ([_, _, ..], [_, _, ..]) => {
                let same = a.len() == b.len()
                    && a.iter()
                        .zip(b)
                        .all(|(a, b)| self.old.equal(*a, self.new, *b));
                (
                    Comparison::default(),
                    if same { Change::None } else { Change::Modified },
                )
            }
            ([_, _, ..], _) => {
                let below = b.first().map(|b| self.pair(inner, None, Some(*b)).0);
                (below.unwrap_or_default(), Change::Removed)
            }
            (_, _) => {
                let below = a.first().map(|a| self.pair(inner, Some(*a), None).0);
                (below.unwrap_or_default(), Change::Added)
            }
        }
    }
}
