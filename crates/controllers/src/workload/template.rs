//! Pod templates: the pod made from one, whether two are the same, and a name for one.
//!
//! Source: kubernetes v1.36.3 pkg/controller/controller_utils.go (GetPodFromTemplate,
//! ComputeHash), pkg/controller/deployment/util/deployment_util.go (EqualIgnoreHash),
//! apimachinery v0.36.3 pkg/util/rand (SafeEncodeString).

use schema::{Dom, Node, Ref, Value};

use crate::workload::claims::Owner;

/// The label that tells a Deployment's ReplicaSets apart.
pub(crate) const HASH_LABEL: &str = "pod-template-hash";

/// A pod of `owner` as its template says; its name, or what its name begins with, is the caller's.
pub(crate) fn pod(template: Ref<'_>, owner: &Owner) -> Dom {
    let mut dom = Dom::new();
    let root = dom.new_map();
    dom.set_root(root);
    dom.set_str(root, "apiVersion", "v1");
    dom.set_str(root, "kind", "Pod");
    let metadata = dom.ensure_map(root, "metadata");
    if let Some(from) = template.get("metadata") {
        for field in ["labels", "annotations", "finalizers"] {
            if let Some(value) = from.get(field).filter(|value| !value.is_null()) {
                let copy = dom.import(value.dom(), value.node());
                dom.set(metadata, field, copy);
            }
        }
    }
    owner.write(&mut dom, metadata);
    if let Some(spec) = template.get("spec") {
        let copy = dom.import(spec.dom(), spec.node());
        dom.set(root, "spec", copy);
    }
    dom
}

/// What the names of an owner's pods begin with: a dash follows where that is still a name.
pub(crate) fn name_prefix(owner: &str) -> String {
    let prefix = format!("{owner}-");
    match api::names::name_is_subdomain(&prefix, true).is_empty() {
        true => prefix,
        false => owner.to_owned(),
    }
}

/// Whether two templates make the same pods, whatever their hash labels say.
pub(crate) fn same(a: Ref<'_>, b: Ref<'_>) -> bool {
    same_value(a, b, 0)
}

/// Absent, null and empty are the same; the hash label counts only outside of labels.
fn same_value(a: Ref<'_>, b: Ref<'_>, depth: usize) -> bool {
    match (a.value(), b.value()) {
        (Value::Map, Value::Map) => {
            let covered = |a: Ref<'_>, b: Ref<'_>| {
                a.map().all(|(key, value)| {
                    let skipped = depth == 2 && key == HASH_LABEL;
                    skipped
                        || match b.get(key) {
                            Some(other) => same_value(value, other, depth + 1),
                            None => is_void(value, depth + 1),
                        }
                })
            };
            let absent = |a: Ref<'_>, b: Ref<'_>| {
                b.map().all(|(key, value)| {
                    let skipped = depth == 2 && key == HASH_LABEL;
                    skipped || a.get(key).is_some() || is_void(value, depth + 1)
                })
            };
            covered(a, b) && absent(a, b)
        }
        (Value::List, Value::List) => {
            a.len() == b.len()
                && a.list()
                    .zip(b.list())
                    .all(|(a, b)| same_value(a, b, depth + 1))
        }
        (Value::Null, _) => is_void(b, depth),
        (_, Value::Null) => is_void(a, depth),
        _ => a.equal(b),
    }
}

/// Null, an empty list, or near the top a map of nothing but such, or of the hash label.
/// An empty map deeper inside says something (`emptyDir: {}`).
fn is_void(value: Ref<'_>, depth: usize) -> bool {
    match value.value() {
        Value::Null => true,
        Value::List => value.is_empty(),
        Value::Map => {
            let own = |key: &str| depth == 2 && key == HASH_LABEL;
            depth <= 2
                && value
                    .map()
                    .all(|(key, v)| own(key) || is_void(v, depth + 1))
        }
        _ => false,
    }
}

/// A short text for a template, another one for every count of collisions.
pub(crate) fn hash(template: Ref<'_>, collisions: Option<i64>) -> String {
    let mut text = Vec::new();
    template.dom().write_sorted(template.node(), &mut text);
    if let Some(collisions) = collisions {
        text.extend_from_slice(&collisions.to_le_bytes());
    }
    api::names::safe_encode(&fnv(&text).to_string())
}

/// FNV-1a of 32 bits.
fn fnv(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

/// Puts `hash` into the labels of a template (a node of `dom`).
pub(crate) fn set_hash(dom: &mut Dom, template: Node, hash: &str) {
    let metadata = dom.ensure_map(template, "metadata");
    let labels = dom.ensure_map(metadata, "labels");
    dom.set_str(labels, HASH_LABEL, hash);
}

#[cfg(test)]
mod tests;
