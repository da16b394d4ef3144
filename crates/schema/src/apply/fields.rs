//! The set of fields that a document sets, and whether it fits its type at all.
//!
//! Source: structured-merge-diff v6 typed/{tofieldset,validate}.go.

use std::collections::BTreeMap;

use super::place::{Form, Place};
use super::set::{Element, Set};
use crate::dom::{Dom, Node, Value};
use crate::table::Table;

/// All fields of `node`. Items whose identity cannot be told are left out.
pub(super) fn fields<'t>(table: &'t Table, dom: &Dom, node: Node, place: Place<'t>) -> Set {
    level(table, dom, node, place).0
}

/// The set below a node, and whether the node is a member by itself.
fn level<'t>(table: &'t Table, dom: &Dom, node: Node, place: Place<'t>) -> (Set, bool) {
    let mut set = Set::default();
    match place.form(dom.value(node)) {
        Form::Leaf => return (set, true),
        Form::Map => {
            for (name, value) in dom.entries(node) {
                let (place, named) = place.child(table, name).unwrap_or((Place::Unknown, false));
                let (below, member) = level(table, dom, value, place);
                let found = dom.value(value);
                let empty = found == Value::Null || (found == Value::Map && dom.is_empty(value));
                let element = Element::Field(name.into());
                if member || empty || !named {
                    set.members.insert(element.clone());
                }
                if !below.is_empty() {
                    set.children.insert(element, below);
                }
            }
        }
        Form::List => {
            let mut seen: BTreeMap<Element, Vec<Node>> = BTreeMap::new();
            for item in dom.items(node) {
                if let Ok(element) = place.identity(table, dom, item) {
                    seen.entry(element).or_default().push(item);
                }
            }
            let inner = place.item(table);
            for (element, items) in seen {
                // What comes twice is owned as a whole.
                if let [item] = items.as_slice() {
                    let (below, _) = level(table, dom, *item, inner);
                    if !below.is_empty() {
                        set.children.insert(element.clone(), below);
                    }
                }
                set.members.insert(element);
            }
        }
    }
    (set, false)
}

/// The first reason why a configuration does not fit its type: undeclared fields, items
/// without keys, items that come twice, values of a wrong kind.
pub(super) fn misfit<'t>(
    table: &'t Table,
    dom: &Dom,
    node: Node,
    place: Place<'t>,
    path: &str,
) -> Option<String> {
    let value = dom.value(node);
    match (place, value) {
        (_, Value::Null) | (Place::Leaf, _) => return None,
        (Place::Object(_) | Place::Map(_), Value::Map)
        | (Place::Keyed(..) | Place::Values, Value::List)
        | (Place::Unknown, _) => {}
        (Place::Object(_) | Place::Map(_), _) => {
            return Some(format!(
                "{path}: expected map, got &{{{}}}",
                show(dom, node)
            ));
        }
        (_, _) => {
            return Some(format!(
                "{path}: expected list, got &{{{}}}",
                show(dom, node)
            ));
        }
    }
    match place.form(value) {
        Form::Leaf => None,
        Form::Map => dom.entries(node).find_map(|(name, value)| {
            let path = format!("{path}.{name}");
            match place.child(table, name) {
                Some((place, _)) => misfit(table, dom, value, place, &path),
                None => Some(format!("{path}: field not declared in schema")),
            }
        }),
        Form::List => {
            let mut seen = std::collections::BTreeSet::new();
            for (i, item) in dom.items(node).enumerate() {
                let element = match place.identity(table, dom, item) {
                    Ok(element) => element,
                    Err(cause) => return Some(format!("{path}: element {i}: {cause}")),
                };
                let inner = format!("{path}{element}");
                if let Some(found) = misfit(table, dom, item, place.item(table), &inner) {
                    return Some(found);
                }
                if !seen.insert(element.clone()) {
                    return Some(format!("{path}: duplicate entries for key {element}"));
                }
            }
            None
        }
    }
}

fn show(dom: &Dom, node: Node) -> String {
    let text = String::from_utf8_lossy(&dom.to_json(node)).into_owned();
    text.chars().take(200).collect()
}
