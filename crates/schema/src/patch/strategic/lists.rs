//! Lists of strategic patches: keys of items, sets, deletions, final order.
//!
//! Where upstream searches lists again and again, here is a table of positions by key; the
//! results are the same, in linear time.
//! Source: apimachinery v0.36.3 pkg/util/strategicpatch/patch.go (mergeSlice…,
//! normalizeElementOrder, mergeSortedSlice, validatePatchWithSetOrderList).

use std::collections::{HashMap, HashSet};
use std::mem::{Discriminant, discriminant};

use super::super::{Class, PatchError, fail, go_text};
use super::{DIRECTIVE, SET_ORDER, bad_directive, bad_type};
use crate::dom::{Dom, Node, Value};

/// Items of a list, detached from it.
pub(super) type Items = Vec<Node>;

/// A scalar that tells items apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Null,
    Bool(bool),
    Int(i64),
    Float(u64),
    Text(Box<str>),
}

/// The type that all items of a list have in common.
#[derive(Copy, Clone, PartialEq, Eq)]
pub(super) struct Kind(Discriminant<Value<'static>>);

impl Kind {
    fn of(value: Value<'_>) -> Kind {
        Kind(match value {
            Value::Null => discriminant(&Value::Null),
            Value::Bool(_) => discriminant(&Value::Bool(false)),
            Value::Int(_) => discriminant(&Value::Int(0)),
            Value::Float(_) => discriminant(&Value::Float(0.0)),
            Value::Str(_) => discriminant(&Value::Str("")),
            Value::List => discriminant(&Value::List),
            Value::Map => discriminant(&Value::Map),
        })
    }

    pub(super) fn is_map(self) -> bool {
        self == Kind::of(Value::Map)
    }
}

pub(super) fn key_of(dom: &Dom, node: Node) -> Option<Key> {
    Some(match dom.value(node) {
        Value::Null => Key::Null,
        Value::Bool(b) => Key::Bool(b),
        Value::Int(n) => Key::Int(n),
        Value::Float(f) => Key::Float(f.to_bits()),
        Value::Str(text) => Key::Text(text.into()),
        Value::List | Value::Map => return None,
    })
}

/// The key of an item: the value under the merge key, or the item itself without one.
fn item_key(dom: &Dom, item: Node, merge_key: &str) -> Option<Key> {
    if merge_key.is_empty() {
        return key_of(dom, item);
    }
    key_of(dom, dom.get(item, merge_key)?)
}

/// The value under the merge key; its absence is upstream's error.
pub(super) fn merge_key_of(dom: &Dom, item: Node, merge_key: &str) -> Result<Key, PatchError> {
    if dom.value(item) != Value::Map {
        return bad_type("map[string]interface {}", dom.value(item));
    }
    match item_key(dom, item, merge_key) {
        Some(key) => Ok(key),
        None => {
            let item = go_text::value(dom, item);
            let message = format!("map: {item} does not contain declared merge key: {merge_key}");
            fail(Class::Other, message)
        }
    }
}

/// The first position of each key.
pub(super) fn positions(dom: &Dom, items: &[Node], merge_key: &str) -> HashMap<Key, usize> {
    let mut all = HashMap::with_capacity(items.len());
    for (i, item) in items.iter().enumerate() {
        if let Some(key) = item_key(dom, *item, merge_key) {
            all.entry(key).or_insert(i);
        }
    }
    all
}

/// The one type of all items.
pub(super) fn element_type(dom: &Dom, a: &[Node], b: &[Node]) -> Result<Kind, PatchError> {
    let mut found: Option<Kind> = None;
    for item in a.iter().chain(b) {
        let value = dom.value(*item);
        if value == Value::Null {
            return fail(Class::Other, "lists to merge may not hold null");
        }
        let kind = Kind::of(value);
        match found {
            None if value == Value::List => {
                return fail(Class::Unprocessable, "lists of lists are not supported");
            }
            None => found = Some(kind),
            Some(first) if first != kind => {
                let lists = go_text::lists(dom, [a, b]);
                let message = format!("list element types are not identical: {lists}");
                return fail(Class::Other, message);
            }
            Some(_) => {}
        }
    }
    match found {
        Some(kind) => Ok(kind),
        None => fail(Class::Other, "no elements in any of the given slices"),
    }
}

/// Scalars of `list` that `gone` does not hold.
pub(super) fn without(dom: &Dom, list: Items, gone: &[Node]) -> Result<Items, PatchError> {
    let gone: HashSet<_> = gone.iter().filter_map(|item| key_of(dom, *item)).collect();
    let stays = |item: &Node| key_of(dom, *item).is_none_or(|key| !gone.contains(&key));
    Ok(list.into_iter().filter(stays).collect())
}

/// Both lists of scalars, each value once.
pub(super) fn union(dom: &Dom, a: Items, b: Items) -> Result<Items, PatchError> {
    let mut seen = HashSet::new();
    let new = |item: &Node| key_of(dom, *item).is_none_or(|key| seen.insert(key));
    Ok(a.into_iter().chain(b).filter(new).collect())
}

/// `$patch` inside items: deletions happen, `replace` empties the list first.
/// Returns what is left of the original, and the plain items of the patch.
pub(super) fn apply_specials(
    dom: &Dom,
    original: Items,
    patch: Items,
    merge_key: &str,
) -> Result<(Items, Items), PatchError> {
    let mut plain = Vec::with_capacity(patch.len());
    let mut deleted = HashSet::new();
    let mut replace = false;
    for item in patch {
        let Some(directive) = dom.get(item, DIRECTIVE) else {
            plain.push(item);
            continue;
        };
        match dom.value(directive) {
            Value::Str("delete") => {
                deleted.insert(merge_key_of(dom, item, merge_key)?);
            }
            Value::Str("replace") => replace = true,
            Value::Str("merge") => {
                let message = "merging lists cannot yet be specified in the patch";
                return fail(Class::Other, message);
            }
            _ => return bad_directive(dom, directive, item),
        }
    }
    if replace {
        return Ok((plain, Vec::new()));
    }
    let stays =
        |item: &Node| item_key(dom, *item, merge_key).is_none_or(|key| !deleted.contains(&key));
    Ok((original.into_iter().filter(stays).collect(), plain))
}

/// The items of a patch must come in the order that the patch gives for the list.
pub(super) fn check_order(
    dom: &Dom,
    patch: &[Node],
    order: &[Node],
    merge_key: &str,
) -> Result<(), PatchError> {
    if order.is_empty() || patch.is_empty() {
        return Ok(());
    }
    let key = |item: Node| {
        if merge_key.is_empty() {
            Ok(key_of(dom, item))
        } else {
            merge_key_of(dom, item, merge_key).map(Some)
        }
    };
    let plain: Vec<_> = patch
        .iter()
        .copied()
        .filter(|item| dom.get(*item, DIRECTIVE).is_none())
        .collect();
    let mut at = 0;
    for place in order {
        let Some(item) = plain.get(at) else {
            return Ok(());
        };
        if key(*item)? == key(*place)? {
            at += 1;
        }
    }
    if at < plain.len() {
        let [patch, order] = [patch, order].map(|list| go_text::lists(dom, [list, &[]]));
        let show = |text: &str| {
            text.trim_end_matches(" []]")
                .get(1..)
                .unwrap_or("")
                .to_owned()
        };
        let message = format!(
            "The order in patch list:\n{}\n doesn't match {SET_ORDER} list:\n{}\n",
            show(&patch),
            show(&order)
        );
        return fail(Class::Other, message);
    }
    Ok(())
}

/// The final order: items of the patch in the patch's order, items that only the server has
/// in the server's order, and the latter before the former where the server had them so.
pub(super) fn arrange(
    dom: &Dom,
    items: Items,
    patch_order: &HashMap<Key, usize>,
    server_order: &HashMap<Key, usize>,
    merge_key: &str,
    kind: Kind,
) -> Result<Items, PatchError> {
    let mut patched = Vec::new();
    let mut server = Vec::new();
    for item in items {
        let key = if kind.is_map() && !merge_key.is_empty() {
            Some(merge_key_of(dom, item, merge_key)?)
        } else {
            item_key(dom, item, merge_key)
        };
        let place = |order: &HashMap<Key, usize>| key.as_ref().and_then(|k| order.get(k).copied());
        let in_server = place(server_order);
        match place(patch_order) {
            Some(at) => patched.push((at, in_server, item)),
            None => server.push((in_server.unwrap_or(usize::MAX), in_server, item)),
        }
    }
    patched.sort_by_key(|(at, ..)| *at);
    server.sort_by_key(|(at, ..)| *at);
    let mut left = server.into_iter().peekable();
    let mut right = patched.into_iter().peekable();
    let mut all = Vec::new();
    loop {
        let take_left = match (left.peek(), right.peek()) {
            (None, None) => return Ok(all),
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some((_, a, _)), Some((_, b, _))) => matches!((a, b), (Some(a), Some(b)) if a < b),
        };
        all.extend(if take_left { left.next() } else { right.next() }.map(|(.., item)| item));
    }
}
