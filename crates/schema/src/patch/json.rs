//! JSON patch (RFC 6902), with the habits of upstream's library.
//!
//! Its habits: `replace` of a key that is not there adds it; `test` of an absent key against
//! `null` holds; indexes may be negative; text before the first slash of a path is ignored.
//! Source: gopkg.in/evanphx/json-patch.v4 v4.13.0 patch.go.

use super::{Class, PatchError, check_depth, fail};
use crate::dom::{Dom, Node, Ref, Value};

const MAX_OPERATIONS: usize = 10_000;
/// What all `copy` operations of a patch may add, as JSON text.
const MAX_COPY_BYTES: usize = 3 << 20;

/// Paths of members of operations that no operation has: `[0].extra`.
#[must_use]
pub fn unknown_members(patch: &Dom) -> Vec<String> {
    let known = ["op", "path", "from", "value"];
    let mut found = Vec::new();
    for (index, operation) in patch.as_ref().list().enumerate() {
        let names = operation.map().map(|(name, _)| name);
        found.extend(
            names
                .filter(|name| !known.contains(name))
                .map(|name| format!("[{index}].{name}")),
        );
    }
    found
}

/// Applies the list of operations at the root of `patch` to the root of `dom`.
///
/// # Errors
/// When the patch is malformed or too long, or an operation does not apply.
pub fn json_patch(dom: &mut Dom, patch: &Dom) -> Result<(), PatchError> {
    let list = patch.as_ref();
    if list.is_null() {
        return Ok(());
    }
    if list.value() != Value::List {
        let kind = json_kind(list.value());
        let message = format!(
            "error decoding patch: json: cannot unmarshal {kind} into Go value of type []handlers.jsonPatchOp"
        );
        return fail(Class::BadRequest, message);
    }
    let count = patch.len(patch.root());
    for operation in list.list() {
        if !matches!(operation.value(), Value::Map | Value::Null) {
            let kind = json_kind(operation.value());
            let message = format!(
                "error decoding patch: json: cannot unmarshal {kind} into Go value of type handlers.jsonPatchOp"
            );
            return fail(Class::BadRequest, message);
        }
    }
    if count > MAX_OPERATIONS {
        let message = format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {count}"
        );
        return fail(Class::TooLarge, message);
    }
    let mut copied = 0;
    for operation in list.list() {
        let done = apply(dom, operation, &mut copied);
        done.or_else(|message| fail(Class::Unprocessable, message))?;
    }
    check_depth(dom)
}

pub(super) fn json_kind(value: Value<'_>) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Int(_) | Value::Float(_) => "number",
        Value::Str(_) => "string",
        Value::List => "array",
        Value::Map => "object",
    }
}

fn text<'a>(operation: Ref<'a>, name: &str, absent: &str) -> Result<&'a str, String> {
    match operation.get(name).map(Ref::value) {
        Some(Value::Str(text)) => Ok(text),
        None | Some(Value::Null) => Err(format!("{absent}: missing value")),
        Some(other) => {
            let kind = json_kind(other);
            Err(format!(
                "json: cannot unmarshal {kind} into Go value of type string"
            ))
        }
    }
}

fn path_of<'a>(operation: Ref<'a>) -> Result<&'a str, String> {
    text(operation, "path", "operation missing path field")
}

fn from_of<'a>(operation: Ref<'a>) -> Result<&'a str, String> {
    text(operation, "from", "operation, missing from field")
}

fn value_of(dom: &mut Dom, operation: Ref<'_>) -> Node {
    match operation.get("value") {
        Some(value) => dom.import(value.dom(), value.node()),
        None => dom.new_null(),
    }
}

fn apply(dom: &mut Dom, operation: Ref<'_>, copied: &mut usize) -> Result<(), String> {
    match operation.get("op").map(Ref::value) {
        Some(Value::Str("add")) => add(dom, operation),
        Some(Value::Str("remove")) => remove(dom, operation),
        Some(Value::Str("replace")) => replace(dom, operation),
        Some(Value::Str("move")) => move_value(dom, operation),
        Some(Value::Str("test")) => test(dom, operation),
        Some(Value::Str("copy")) => copy(dom, operation, copied),
        Some(Value::Str(other)) => Err(format!("Unexpected kind: {other}")),
        _ => Err("Unexpected kind: unknown".to_owned()),
    }
}

/// The list or map that holds the last segment of `path`, and that segment.
fn find(dom: &Dom, path: &str) -> Option<(Node, String)> {
    let (_, rest) = path.split_once('/')?;
    let (parents, last) = match rest.rsplit_once('/') {
        Some((parents, last)) => (Some(parents), last),
        None => (None, rest),
    };
    let mut at = dom.root();
    for part in parents.into_iter().flat_map(|parents| parents.split('/')) {
        let part = decode(part);
        at = match dom.value(at) {
            Value::Map => dom.get(at, &part)?,
            _ => item(dom, at, &part).ok()?,
        };
        if !matches!(dom.value(at), Value::Map | Value::List) {
            return None;
        }
    }
    matches!(dom.value(at), Value::Map | Value::List).then(|| (at, decode(last)))
}

/// `~1` is a slash, `~0` a tilde; one pass, as upstream.
fn decode(part: &str) -> String {
    let mut out = String::with_capacity(part.len());
    let mut rest = part;
    while let Some(at) = rest.find('~') {
        out.push_str(&rest[..at]);
        let (length, decoded) = match rest.as_bytes().get(at + 1) {
            Some(b'1') => (2, '/'),
            Some(b'0') => (2, '~'),
            _ => (1, '~'),
        };
        out.push(decoded);
        rest = &rest[at + length..];
    }
    out.push_str(rest);
    out
}

fn number(key: &str) -> Result<i64, String> {
    key.parse().map_err(|error: std::num::ParseIntError| {
        let cause = match error.kind() {
            std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => {
                "value out of range"
            }
            _ => "invalid syntax",
        };
        format!("strconv.Atoi: parsing \"{}\": {cause}", key.escape_debug())
    })
}

/// The position that `key` means in a list with room for `count` positions.
fn position(key: &str, count: usize) -> Result<usize, String> {
    let index = number(key)?;
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let from_start = if index < 0 {
        index.saturating_add(count)
    } else {
        index
    };
    if index >= count || from_start < 0 {
        return Err(format!(
            "Unable to access invalid index: {index}: invalid index referenced"
        ));
    }
    usize::try_from(from_start).map_err(|_| "invalid index referenced".to_owned())
}

fn item(dom: &Dom, list: Node, key: &str) -> Result<Node, String> {
    let at = position(key, dom.len(list))?;
    dom.item(list, at)
        .ok_or_else(|| "invalid index referenced".to_owned())
}

/// An absent key of a map is no error here, as upstream.
fn get(dom: &Dom, container: Node, key: &str) -> Result<Option<Node>, String> {
    match dom.value(container) {
        Value::Map => Ok(dom.get(container, key)),
        _ => item(dom, container, key).map(Some),
    }
}

fn add_at(dom: &mut Dom, container: Node, key: &str, value: Node) -> Result<(), String> {
    if dom.value(container) == Value::Map {
        dom.set(container, key, value);
    } else if key == "-" {
        dom.push(container, value);
    } else {
        let at = number(key)
            .map_err(|cause| format!("value was not a proper array index: '{key}': {cause}"))
            .and_then(|_| position(key, dom.len(container) + 1))?;
        dom.insert_item(container, at, value);
    }
    Ok(())
}

fn remove_at(dom: &mut Dom, container: Node, key: &str) -> Result<(), String> {
    let node = match dom.value(container) {
        Value::Map => dom
            .get(container, key)
            .ok_or_else(|| format!("Unable to remove nonexistent key: {key}: missing value"))?,
        _ => item(dom, container, key)?,
    };
    dom.detach(node);
    Ok(())
}

fn add(dom: &mut Dom, operation: Ref<'_>) -> Result<(), String> {
    let path = path_of(operation)
        .map_err(|_| "add operation failed to decode path: missing value".to_owned())?;
    let (container, key) = find(dom, path).ok_or_else(|| {
        format!("add operation does not apply: doc is missing path: \"{path}\": missing value")
    })?;
    let value = value_of(dom, operation);
    add_at(dom, container, &key, value)
        .map_err(|cause| format!("error in add for path: '{path}': {cause}"))
}

fn remove(dom: &mut Dom, operation: Ref<'_>) -> Result<(), String> {
    let path = path_of(operation)
        .map_err(|_| "remove operation failed to decode path: missing value".to_owned())?;
    let (container, key) = find(dom, path).ok_or_else(|| {
        format!("remove operation does not apply: doc is missing path: \"{path}\": missing value")
    })?;
    remove_at(dom, container, &key)
        .map_err(|cause| format!("error in remove for path: '{path}': {cause}"))
}

fn replace(dom: &mut Dom, operation: Ref<'_>) -> Result<(), String> {
    let path = path_of(operation)
        .map_err(|cause| format!("replace operation failed to decode path: {cause}"))?;
    if path.is_empty() {
        let value = value_of(dom, operation);
        if !matches!(dom.value(value), Value::Map | Value::List) {
            return Err("replace operation value must be object or array: %!w(<nil>)".to_owned());
        }
        dom.set_root(value);
        return Ok(());
    }
    let (container, key) = find(dom, path).ok_or_else(|| {
        format!("replace operation does not apply: doc is missing path: {path}: missing value")
    })?;
    let old = get(dom, container, &key).map_err(|_| {
        format!("replace operation does not apply: doc is missing key: {path}: missing value")
    })?;
    let value = value_of(dom, operation);
    match old {
        Some(old) => dom.replace(old, value),
        None => dom.set(container, &key, value),
    }
    Ok(())
}

fn move_value(dom: &mut Dom, operation: Ref<'_>) -> Result<(), String> {
    let from = from_of(operation)
        .map_err(|cause| format!("move operation failed to decode from: {cause}"))?;
    let (container, key) = find(dom, from).ok_or_else(|| {
        format!("move operation does not apply: doc is missing from path: {from}: missing value")
    })?;
    let in_key = |cause| format!("error in move for path: '{key}': {cause}");
    let value = get(dom, container, &key).map_err(in_key)?;
    remove_at(dom, container, &key).map_err(in_key)?;
    let path = path_of(operation)
        .map_err(|cause| format!("move operation failed to decode path: {cause}"))?;
    let (container, key) = find(dom, path).ok_or_else(|| {
        format!(
            "move operation does not apply: doc is missing destination path: {path}: missing value"
        )
    })?;
    let value = value.unwrap_or_else(|| dom.new_null());
    add_at(dom, container, &key, value)
        .map_err(|cause| format!("error in move for path: '{path}': {cause}"))
}

fn test(dom: &mut Dom, operation: Ref<'_>) -> Result<(), String> {
    let path = path_of(operation)
        .map_err(|cause| format!("test operation failed to decode path: {cause}"))?;
    let failed = || format!("testing value {path} failed: test failed");
    let found = if path.is_empty() {
        Some(dom.root())
    } else {
        let (container, key) = find(dom, path).ok_or_else(|| {
            format!("test operation does not apply: is missing path: {path}: missing value")
        })?;
        get(dom, container, &key)
            .map_err(|cause| format!("error in test for path: '{path}': {cause}"))?
    };
    let holds = match (found, operation.get("value")) {
        (None, None) => true,
        (None, Some(value)) => value.is_null(),
        (Some(found), None) => dom.value(found) == Value::Null,
        (Some(found), Some(value)) => dom.equal(found, value.dom(), value.node()),
    };
    if holds { Ok(()) } else { Err(failed()) }
}

fn copy(dom: &mut Dom, operation: Ref<'_>, copied: &mut usize) -> Result<(), String> {
    let from = from_of(operation)
        .map_err(|cause| format!("copy operation failed to decode from: {cause}"))?;
    let (container, key) = find(dom, from).ok_or_else(|| {
        format!("copy operation does not apply: doc is missing from path: {from}: missing value")
    })?;
    let value = get(dom, container, &key)
        .map_err(|cause| format!("error in copy for from: '{from}': {cause}"))?;
    let path = path_of(operation)
        .map_err(|_| "copy operation failed to decode path: missing value".to_owned())?;
    let (container, key) = find(dom, path).ok_or_else(|| {
        format!(
            "copy operation does not apply: doc is missing destination path: {path}: missing value"
        )
    })?;
    let value = match value {
        Some(value) => {
            *copied += dom.to_json(value).len();
            if *copied > MAX_COPY_BYTES {
                return Err(format!(
                    "Unable to complete the copy, the accumulated size increase of copy is {copied}, exceeding the limit {MAX_COPY_BYTES}"
                ));
            }
            dom.copy(value)
        }
        None => dom.new_null(),
    };
    add_at(dom, container, &key, value)
        .map_err(|cause| format!("error while adding value during copy: {cause}"))
}
