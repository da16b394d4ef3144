//! A configuration merged into a live object: what it sets wins, what it leaves out stays.
//!
//! Items of a list keep the live order; items that both have follow the configuration's
//! order; new ones stand after the item that they follow in the configuration.
//! Source: structured-merge-diff v6 typed/merge.go.

use std::collections::BTreeMap;
use std::collections::{HashSet, VecDeque};

use super::place::{Form, Place};
use super::set::Element;
use crate::dom::{Dom, Node};
use crate::table::Table;

/// The merged object, or why the two cannot be merged.
pub(super) fn merge<'t>(
    table: &'t Table,
    place: Place<'t>,
    live: &Dom,
    config: &Dom,
) -> Result<Dom, String> {
    let mut merger = Merger {
        table,
        live,
        config,
        out: Dom::new(),
    };
    let root = merger.pair(place, Some(live.root()), Some(config.root()))?;
    let root = match root {
        Some(root) => root,
        None => merger.out.new_map(),
    };
    merger.out.set_root(root);
    Ok(merger.out)
}

struct Merger<'t, 'd> {
    table: &'t Table,
    live: &'d Dom,
    config: &'d Dom,
    out: Dom,
}

/// A list by identity.
#[derive(Default)]
struct Index {
    /// Identities and items in order.
    order: Vec<(Element, Node)>,
    /// The item of each identity; `None` for one that comes twice.
    found: BTreeMap<Element, Option<Node>>,
}

impl Index {
    fn first(&self, element: &Element) -> Option<Node> {
        self.found.get(element).copied().flatten()
    }
}

type Merged = Result<Option<Node>, String>;

impl<'t> Merger<'t, '_> {
    fn leaf(&mut self, live: Option<Node>, config: Option<Node>) -> Option<Node> {
        match (live, config) {
            (_, Some(node)) => Some(self.out.import(self.config, node)),
            (Some(node), None) => Some(self.out.import(self.live, node)),
            (None, None) => None,
        }
    }

    fn pair(&mut self, place: Place<'t>, live: Option<Node>, config: Option<Node>) -> Merged {
        let a = live.map(|node| place.form(self.live.value(node)));
        let b = config.map(|node| place.form(self.config.value(node)));
        match (a, b) {
            (Some(a), Some(b)) if a != b => self.pair(place, None, config),
            (Some(Form::Map), _) | (_, Some(Form::Map)) => self.maps(place, live, config),
            (Some(Form::List), _) | (_, Some(Form::List)) => self.lists(place, live, config),
            _ => Ok(self.leaf(live, config)),
        }
    }

    fn is_hollow(&self, live: Option<Node>, config: Option<Node>) -> bool {
        live.is_none_or(|node| self.live.is_empty(node))
            && config.is_none_or(|node| self.config.is_empty(node))
    }

    fn maps(&mut self, place: Place<'t>, live: Option<Node>, config: Option<Node>) -> Merged {
        if self.is_hollow(live, config) {
            return Ok(self.leaf(live, config));
        }
        let mut order: Vec<&str> = Vec::new();
        let mut entries: BTreeMap<&str, (Option<Node>, Option<Node>)> = BTreeMap::new();
        for (name, node) in live.into_iter().flat_map(|node| self.live.entries(node)) {
            order.push(name);
            entries.entry(name).or_default().0 = Some(node);
        }
        for (name, node) in config
            .into_iter()
            .flat_map(|node| self.config.entries(node))
        {
            let entry = entries.entry(name).or_default();
            if entry.0.is_none() {
                order.push(name);
            }
            entry.1 = Some(node);
        }
        let map = self.out.new_map();
        for name in order {
            let (a, b) = entries.get(name).copied().unwrap_or_default();
            let (inner, _) = place
                .child(self.table, name)
                .unwrap_or((Place::Unknown, false));
            let merged = self
                .pair(inner, a, b)
                .map_err(|cause| format!(".{name}{cause}"))?;
            if let Some(node) = merged {
                self.out.append_entry(map, name, node);
            }
        }
        Ok((!self.out.is_empty(map)).then_some(map))
    }

    fn index(
        &self,
        dom: &Dom,
        list: Option<Node>,
        place: Place<'t>,
        twice: bool,
    ) -> Result<Index, String> {
        let mut index = Index::default();
        for (i, item) in list
            .into_iter()
            .flat_map(|list| dom.items(list))
            .enumerate()
        {
            let element = place
                .identity(self.table, dom, item)
                .map_err(|cause| format!(": element {i}: {cause}"))?;
            match index.found.get_mut(&element) {
                Some(_) if !twice => {
                    return Err(format!(": duplicate entries for key {element}"));
                }
                Some(first) => *first = None,
                None => {
                    index.found.insert(element.clone(), Some(item));
                }
            }
            index.order.push((element, item));
        }
        Ok(index)
    }

    fn lists(&mut self, place: Place<'t>, live: Option<Node>, config: Option<Node>) -> Merged {
        if self.is_hollow(live, config) {
            return Ok(self.leaf(live, config));
        }
        let right = self.index(self.config, config, place, false)?;
        let left = self.index(self.live, live, place, true)?;
        let known = |element: &&Element| left.found.contains_key(*element);
        let mut shared: VecDeque<&Element> = right
            .order
            .iter()
            .map(|(element, _)| element)
            .filter(known)
            .collect();
        let mut next = shared.pop_front();
        let inner = place.item(self.table);
        let list = self.out.new_list();
        let mut done: HashSet<&Element> = HashSet::new();
        let (mut l, mut r) = (0, 0);
        while l < left.order.len() || r < right.order.len() {
            if let (Some((a, _)), Some((b, _))) = (left.order.get(l), right.order.get(r)) {
                if a == b {
                    done.insert(b);
                    self.item(inner, a, left.first(a), right.first(a), list)?;
                    l += 1;
                    r += 1;
                    next = shared.pop_front();
                    continue;
                }
                if right.found.contains_key(a) && next.is_some_and(|next| next != a) {
                    // The configuration moves it: it comes in its turn.
                    l += 1;
                    continue;
                }
            }
            if let Some((a, node)) = left.order.get(l) {
                if !right.found.contains_key(a) {
                    self.item(inner, a, Some(*node), None, list)?;
                    l += 1;
                    continue;
                }
                if done.contains(a) {
                    l += 1;
                }
            }
            if let Some((b, _)) = right.order.get(r) {
                done.insert(b);
                self.item(inner, b, left.first(b), right.first(b), list)?;
                r += 1;
                if next == Some(b) {
                    next = shared.pop_front();
                }
            }
        }
        Ok((!self.out.is_empty(list)).then_some(list))
    }

    fn item(
        &mut self,
        place: Place<'t>,
        element: &Element,
        live: Option<Node>,
        config: Option<Node>,
        list: Node,
    ) -> Result<(), String> {
        let merged = self
            .pair(place, live, config)
            .map_err(|cause| format!("{element}{cause}"))?;
        if let Some(node) = merged {
            self.out.put_children(list, [node]);
        }
        Ok(())
    }
}
