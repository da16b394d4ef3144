//! Strategic merge patch: merging by what the types say about their lists and maps.
//!
//! Directives inside a patch: `$patch` (replace, delete), `$retainKeys`, and per list
//! `$deleteFromPrimitiveList/NAME` and `$setElementOrder/NAME`. Lists of strategy `merge` are
//! merged by merge key (maps) or as sets (scalars); all others are replaced.
//! Example: containers `[a, b]` patched with `$setElementOrder: [b, c]`, containers `[c]`
//! become `[a, b, c]`: what only the server has keeps its place among the others.
//! Source: apimachinery v0.36.3 pkg/util/strategicpatch/patch.go, pkg/util/mergepatch/errors.go.

use super::children::Children;
use super::json::json_kind;
use super::{Class, PatchError, check_depth, fail, go_text, merge};
use crate::dom::{Dom, Node, Value};

mod lists;

use lists::{Items, Key, key_of, merge_key_of};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList";
const SET_ORDER: &str = "$setElementOrder";

/// How a field is patched.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Maps merge, lists are replaced.
    #[default]
    Default,
    /// Lists merge too.
    Merge,
    /// Maps are replaced too.
    Replace,
}

/// What a type says about one of its fields.
#[derive(Copy, Clone, Debug)]
pub struct FieldRule<'a, T> {
    /// How the field is patched.
    pub strategy: Strategy,
    /// Which field tells the items of the list apart; empty for none.
    pub merge_key: &'a str,
    /// The type of the value, or of the list's items; `None` when nothing is known of it.
    pub of: Option<T>,
}

impl<T> FieldRule<'_, T> {
    /// A field of which nothing is known.
    #[must_use]
    pub const fn unknown() -> Self {
        Self {
            strategy: Strategy::Default,
            merge_key: "",
            of: None,
        }
    }
}

/// What a strategic patch asks about types.
pub trait Lookup {
    /// Names a type.
    type Type: Copy;

    /// The rule of `field` of type `of` (of a map type: of every value).
    fn field(&self, of: Self::Type, field: &str) -> FieldRule<'_, Self::Type>;
}

/// Patches the root of `dom`, an object of type `of`, with the root of `patch`.
///
/// # Errors
/// When the patch is no map, misuses a directive, or lacks a merge key.
pub fn strategic<L: Lookup>(
    dom: &mut Dom,
    patch: &Dom,
    lookup: &L,
    of: Option<L::Type>,
) -> Result<(), PatchError> {
    let top = dom.import(patch, patch.root());
    let root = dom.root();
    if dom.value(root) != Value::Map || dom.value(top) != Value::Map {
        let kind = json_kind(dom.value(top));
        let message = format!(
            "json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
        );
        return fail(Class::BadRequest, message);
    }
    let merged = Merger { lookup }.map(dom, root, top, of)?;
    if merged != root {
        dom.set_root(merged);
    }
    check_depth(dom)
}

struct Merger<'a, L> {
    lookup: &'a L,
}

fn bad_type<T>(expected: &str, found: Value<'_>) -> Result<T, PatchError> {
    let found = go_text::type_of(found);
    fail(
        Class::Other,
        format!("expected a {expected}, but received a {found}"),
    )
}

fn bad_directive<T>(dom: &Dom, directive: Node, map: Node) -> Result<T, PatchError> {
    let (directive, map) = (go_text::value(dom, directive), go_text::value(dom, map));
    fail(
        Class::Other,
        format!("unknown patch type: {directive} in map: {map}"),
    )
}

/// Drops maps that carry a directive, and entries and items that are such maps.
/// Says whether `node` itself may stay.
fn remove_directives(dom: &mut Dom, node: Node) -> bool {
    if dom.get(node, DIRECTIVE).is_some() {
        return false;
    }
    let mut open = vec![node];
    while let Some(node) = open.pop() {
        if matches!(dom.value(node), Value::Map | Value::List) {
            let mut kept = dom.take_children(node);
            kept.retain(|child| dom.get(*child, DIRECTIVE).is_none());
            open.extend(&kept);
            dom.put_children(node, kept);
        }
    }
    true
}

/// As Go compares dynamic types before merging.
fn same_type(a: Value<'_>, b: Value<'_>) -> bool {
    a != Value::Null && std::mem::discriminant(&a) == std::mem::discriminant(&b)
}

impl<L: Lookup> Merger<'_, L> {
    fn rule(&self, of: Option<L::Type>, field: &str) -> FieldRule<'_, L::Type> {
        of.map_or(FieldRule::unknown(), |of| self.lookup.field(of, field))
    }

    /// Merges `patch` into `original`; the result is one of the two, or a new map.
    fn map(
        &self,
        dom: &mut Dom,
        original: Node,
        patch: Node,
        of: Option<L::Type>,
    ) -> Result<Node, PatchError> {
        if let Some(directive) = dom.get(patch, DIRECTIVE) {
            return match dom.value(directive) {
                Value::Str("replace") => {
                    dom.detach(directive);
                    Ok(patch)
                }
                Value::Str("delete") => Ok(dom.new_map()),
                _ => bad_directive(dom, directive, patch),
            };
        }
        let mut target = Children::take(dom, original);
        let mut source = Children::take(dom, patch);
        retain_keys(dom, &mut target, &mut source)?;
        self.set_orders(dom, &mut target, &mut source, of)?;
        for change in source.nodes() {
            let name = dom.key(change).to_owned();
            match name.strip_prefix(DELETE_FROM) {
                Some(rest) => match rest.strip_prefix('/') {
                    Some(list) => self.entry(dom, &mut target, list, change, true, of)?,
                    None => {
                        let message = "invalid patch format of primitive list";
                        return fail(Class::BadRequest, message);
                    }
                },
                None => self.entry(dom, &mut target, &name, change, false, of)?,
            }
        }
        target.put(dom, original);
        Ok(original)
    }

    fn entry(
        &self,
        dom: &mut Dom,
        target: &mut Children,
        key: &str,
        change: Node,
        delete_items: bool,
        of: Option<L::Type>,
    ) -> Result<(), PatchError> {
        if dom.value(change) == Value::Null {
            target.remove(dom, key);
            return Ok(());
        }
        let old = target.get(dom, key);
        let merges = old.filter(|old| same_type(dom.value(*old), dom.value(change)));
        let Some(old) = merges else {
            if !delete_items {
                merge::prune(dom, change);
                put_clean(dom, target, key, change);
            }
            return Ok(());
        };
        match dom.value(change) {
            Value::Map => {
                let rule = self.rule(of, key);
                if rule.strategy == Strategy::Replace {
                    target.set(dom, key, change);
                } else {
                    let merged = self.map(dom, old, change, rule.of)?;
                    target.set(dom, key, merged);
                }
            }
            Value::List => {
                let rule = self.rule(of, key);
                let merged = if rule.strategy == Strategy::Merge || delete_items {
                    let original = dom.take_children(old);
                    let change = dom.take_children(change);
                    self.list(dom, original, change, &rule, delete_items)?
                } else {
                    dom.take_children(change)
                };
                let list = dom.new_list();
                dom.put_children(list, merged);
                target.set(dom, key, list);
            }
            _ => target.set(dom, key, change),
        }
        Ok(())
    }

    /// The lists whose final order the patch gives.
    fn set_orders(
        &self,
        dom: &mut Dom,
        target: &mut Children,
        source: &mut Children,
        of: Option<L::Type>,
    ) -> Result<(), PatchError> {
        for order in source.nodes() {
            let name = dom.key(order).to_owned();
            let Some(rest) = name.strip_prefix(SET_ORDER) else {
                continue;
            };
            source.remove(dom, &name);
            if dom.value(order) != Value::List {
                return bad_type("[]interface {}", dom.value(order));
            }
            let Some(field) = rest.strip_prefix('/') else {
                return fail(
                    Class::BadRequest,
                    "invalid patch format of setElementOrder list",
                );
            };
            let order = dom.take_children(order);
            let old = target.get(dom, field);
            let change = source.get(dom, field);
            for list in [old, change].into_iter().flatten() {
                if dom.value(list) != Value::List {
                    return bad_type("[]interface {}", dom.value(list));
                }
            }
            if old.is_none() && change.is_none() {
                continue;
            }
            let rule = self.rule(of, field);
            let original = old.map(|old| dom.take_children(old)).unwrap_or_default();
            let server_order = lists::positions(dom, &original, rule.merge_key);
            let changes = change.map(|c| dom.take_children(c)).unwrap_or_default();
            lists::check_order(dom, &changes, &order, rule.merge_key)?;
            let kind = lists::element_type(dom, &original, &changes)?;
            let merged = match (old, change) {
                (Some(_), Some(_)) if rule.strategy == Strategy::Merge => {
                    self.list(dom, original, changes, &rule, false)?
                }
                (Some(_), None) => original,
                (None, _) => {
                    let mut kept = changes;
                    kept.retain(|item| remove_directives(dom, *item));
                    kept
                }
                (Some(_), Some(_)) => changes,
            };
            source.remove(dom, field);
            let order = lists::positions(dom, &order, rule.merge_key);
            let items = lists::arrange(dom, merged, &order, &server_order, rule.merge_key, kind)?;
            let list = dom.new_list();
            dom.put_children(list, items);
            target.set(dom, field, list);
        }
        Ok(())
    }

    fn list(
        &self,
        dom: &mut Dom,
        original: Items,
        patch: Items,
        rule: &FieldRule<'_, L::Type>,
        delete_items: bool,
    ) -> Result<Items, PatchError> {
        if original.is_empty() && patch.is_empty() {
            return Ok(original);
        }
        let kind = lists::element_type(dom, &original, &patch)?;
        if !kind.is_map() {
            if delete_items {
                return lists::without(dom, original, &patch);
            }
            let server_order = lists::positions(dom, &original, "");
            let patch_order = lists::positions(dom, &patch, "");
            let merged = lists::union(dom, original, patch)?;
            return lists::arrange(dom, merged, &patch_order, &server_order, "", kind);
        }
        if rule.merge_key.is_empty() {
            return fail(
                Class::Other,
                "cannot merge lists without merge key for struct",
            );
        }
        let (mut original, patch) = lists::apply_specials(dom, original, patch, rule.merge_key)?;
        let patch_order = lists::positions(dom, &patch, rule.merge_key);
        let server_order = lists::positions(dom, &original, rule.merge_key);
        self.items(dom, &mut original, patch, rule)?;
        lists::arrange(
            dom,
            original,
            &patch_order,
            &server_order,
            rule.merge_key,
            kind,
        )
    }

    /// Merges each item into its namesake, or appends it.
    fn items(
        &self,
        dom: &mut Dom,
        original: &mut Items,
        patch: Items,
        rule: &FieldRule<'_, L::Type>,
    ) -> Result<(), PatchError> {
        let mut places = lists::positions(dom, original, rule.merge_key);
        for item in patch {
            let key = merge_key_of(dom, item, rule.merge_key)?;
            match places
                .get(&key)
                .and_then(|at| original.get(*at).map(|old| (*at, *old)))
            {
                Some((at, old)) => {
                    let merged = self.map(dom, old, item, rule.of)?;
                    if let Some(place) = original.get_mut(at) {
                        *place = merged;
                    }
                }
                None => {
                    places.insert(key, original.len());
                    original.push(item);
                }
            }
        }
        Ok(())
    }
}

fn put_clean(dom: &mut Dom, target: &mut Children, key: &str, node: Node) {
    if remove_directives(dom, node) {
        target.set(dom, key, node);
    } else {
        target.remove(dom, key);
    }
}

/// `$retainKeys`: everything else goes; the patch may set nothing else.
fn retain_keys(
    dom: &mut Dom,
    target: &mut Children,
    source: &mut Children,
) -> Result<(), PatchError> {
    let Some(list) = source.remove(dom, RETAIN_KEYS) else {
        return Ok(());
    };
    let bad = || fail(Class::BadRequest, "invalid patch format of retainKeys");
    if dom.value(list) != Value::List {
        return bad();
    }
    let kept: std::collections::HashSet<Key> = dom
        .items(list)
        .filter_map(|item| key_of(dom, item))
        .collect();
    for change in source.nodes() {
        let key = dom.key(change);
        let special = key.starts_with(DELETE_FROM) || key.starts_with(SET_ORDER);
        if !special && dom.value(change) != Value::Null && !kept.contains(&Key::Text(key.into())) {
            return bad();
        }
    }
    target.retain(dom, |key| kept.contains(&Key::Text(key.into())));
    Ok(())
}
