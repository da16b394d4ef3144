//! JSON merge patch (RFC 7386): `null` removes, maps merge, anything else replaces.
//!
//! Upstream's library drops `null` from maps that a patch adds, also inside lists, but keeps
//! it as an item of a list. Source: gopkg.in/evanphx/json-patch.v4 v4.13.0 merge.go.

use super::children::Children;
use super::json::json_kind;
use super::{Class, PatchError, check_depth, fail};
use crate::dom::{Dom, Node, Value};

/// Merges the root of `patch` into the root of `dom`.
///
/// # Errors
/// When the patch is no map.
pub fn merge(dom: &mut Dom, patch: &Dom) -> Result<(), PatchError> {
    let top = dom.import(patch, patch.root());
    match (dom.value(dom.root()), dom.value(top)) {
        (Value::Map, Value::Map) => merge_map(dom, dom.root(), top),
        (_, Value::Map) => {
            prune(dom, top);
            dom.set_root(top);
        }
        (_, Value::Null) => return fail(Class::BadRequest, "Invalid JSON Patch"),
        (_, other) => {
            let kind = json_kind(other);
            let message = format!(
                "error decoding patch: json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
            );
            return fail(Class::BadRequest, message);
        }
    }
    check_depth(dom)
}

fn merge_map(dom: &mut Dom, map: Node, patch: Node) {
    let changes = dom.take_children(patch);
    let mut entries = Children::take(dom, map);
    for change in changes {
        let key = dom.key(change).to_owned();
        let new = dom.value(change);
        if new == Value::Null {
            entries.remove(dom, &key);
            continue;
        }
        let is_map = new == Value::Map;
        let is_list = new == Value::List;
        match entries
            .get(dom, &key)
            .map(|old| (old, dom.value(old) == Value::Map))
        {
            Some((old, true)) if is_map => merge_map(dom, old, change),
            Some((_, true)) if is_list => entries.set(dom, &key, change),
            _ => {
                prune(dom, change);
                entries.set(dom, &key, change);
            }
        }
    }
    entries.put(dom, map);
}

/// Drops entries that are `null` from every map in `node`.
pub(crate) fn prune(dom: &mut Dom, node: Node) {
    let mut open = vec![node];
    while let Some(node) = open.pop() {
        match dom.value(node) {
            Value::Map => {
                let mut kept = dom.take_children(node);
                kept.retain(|child| dom.value(*child) != Value::Null);
                open.extend(&kept);
                dom.put_children(node, kept);
            }
            Value::List => open.extend(dom.items(node)),
            _ => {}
        }
    }
}
