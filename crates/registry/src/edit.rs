//! Small edits that defaults are made of.
//!
//! All of them leave a value alone that is there; a JSON null counts as absent.

use schema::{Dom, Node, Value};

/// The value, unless it is absent or null.
pub(crate) fn get(dom: &Dom, map: Node, key: &str) -> Option<Node> {
    let node = dom.get(map, key)?;
    (!matches!(dom.value(node), Value::Null)).then_some(node)
}

/// A map inside a map.
pub(crate) fn map(dom: &Dom, map: Node, key: &str) -> Option<Node> {
    get(dom, map, key).filter(|&node| matches!(dom.value(node), Value::Map))
}

/// The items of a list inside a map.
pub(crate) fn items(dom: &Dom, map: Node, key: &str) -> Vec<Node> {
    match get(dom, map, key) {
        Some(list) if matches!(dom.value(list), Value::List) => dom.items(list).collect(),
        _ => Vec::new(),
    }
}

/// The text, or "".
pub(crate) fn text<'a>(dom: &'a Dom, map: Node, key: &str) -> &'a str {
    dom.get(map, key)
        .and_then(|node| dom.as_str(node))
        .unwrap_or_default()
}

/// Sets an absent or empty text.
pub(crate) fn default_str(dom: &mut Dom, map: Node, key: &str, value: &str) {
    if text(dom, map, key).is_empty() && get(dom, map, key).is_none_or(|n| dom.as_str(n).is_some())
    {
        dom.set_str(map, key, value);
    }
}

/// Sets an absent number.
pub(crate) fn default_int(dom: &mut Dom, map: Node, key: &str, value: i64) {
    if get(dom, map, key).is_none() {
        dom.set_int(map, key, value);
    }
}

/// Sets an absent or zero number (fields that are no pointers).
pub(crate) fn default_nonzero(dom: &mut Dom, map: Node, key: &str, value: i64) {
    if get(dom, map, key).is_none_or(|node| dom.value(node) == Value::Int(0)) {
        dom.set_int(map, key, value);
    }
}

/// Sets an absent flag.
pub(crate) fn default_bool(dom: &mut Dom, map: Node, key: &str, value: bool) {
    if get(dom, map, key).is_none() {
        dom.set_bool(map, key, value);
    }
}

/// The map at the key, made if it is absent or null.
pub(crate) fn ensure_map(dom: &mut Dom, parent: Node, key: &str) -> Node {
    match map(dom, parent, key) {
        Some(node) => node,
        None => {
            let node = dom.new_map();
            dom.set(parent, key, node);
            node
        }
    }
}

/// The list at the key, made if it is absent or null.
pub(crate) fn ensure_list(dom: &mut Dom, parent: Node, key: &str) -> Node {
    match get(dom, parent, key) {
        Some(node) if matches!(dom.value(node), Value::List) => node,
        _ => {
            let node = dom.new_list();
            dom.set(parent, key, node);
            node
        }
    }
}

/// Copies what `from` has at the key into `map`, or removes it.
pub(crate) fn keep(dom: &mut Dom, map: Node, key: &str, from: Option<schema::Ref<'_>>) {
    match from.and_then(|from| from.get(key)) {
        Some(value) => {
            let copy = dom.import(value.dom(), value.node());
            dom.set(map, key, copy);
        }
        None => {
            dom.remove(map, key);
        }
    }
}
