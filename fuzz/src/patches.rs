//! Patches: a document, a line of three dashes, a patch.
//!
//! Laws: what comes out is a document; merging and applying twice is as once.

use schema::patch::{json_patch as patch_json, merge as patch_merge, strategic_object};
use schema::{Dom, Limits};

use crate::documents::{LIMITS, same, type_of};
use crate::{Heap, Target};

/// What is here.
pub const TARGETS: &[Target] = &[
    Target::new("merge-patch", merge, 2048, Heap::DOCUMENT),
    Target::new("json-patch", json_patch, 2048, Heap::DOCUMENT),
    Target::new("strategic-patch", strategic, 2048, Heap::DOCUMENT),
    Target::new("apply", apply, 2048, Heap::DOCUMENT),
];

fn pair(data: &[u8]) -> Option<(Dom, Dom)> {
    let parts = crate::parts(data);
    let [document, patch, ..] = parts.as_slice() else {
        return None;
    };
    let document = Dom::parse_json_within(document, &LIMITS).ok()?.dom;
    let patch = Dom::parse_json_within(patch, &LIMITS).ok()?.dom;
    Some((document, patch))
}

/// What a patch leaves is a document that any reader takes.
fn whole(dom: &Dom) -> Vec<u8> {
    let json = dom.to_json(dom.root());
    let limits = Limits {
        depth: 1024,
        ..Limits::DEFAULT
    };
    let again = Dom::parse_json_within(&json, &limits).expect("the result reads");
    assert!(
        same((dom, dom.root()), (&again.dom, again.dom.root())),
        "another document: {}",
        crate::text(&json)
    );
    json
}

pub(crate) fn merge(data: &[u8]) {
    let Some((mut document, patch)) = pair(data) else {
        return;
    };
    if patch_merge(&mut document, &patch).is_err() {
        return;
    }
    let once = whole(&document);
    patch_merge(&mut document, &patch).expect("what merged once merges again");
    assert_eq!(
        crate::text(&once),
        crate::text(&whole(&document)),
        "merged twice"
    );
}

pub(crate) fn json_patch(data: &[u8]) {
    let Some((mut document, patch)) = pair(data) else {
        return;
    };
    if patch_json(&mut document, &patch).is_ok() {
        whole(&document);
    }
}

pub(crate) fn strategic(data: &[u8]) {
    let Some((mut document, patch)) = pair(data) else {
        return;
    };
    let table = schema::builtin();
    let ty = type_of(table, &document);
    if strategic_object(table, ty, &mut document, &patch).is_ok() {
        whole(&document);
    }
}

pub(crate) fn apply(data: &[u8]) {
    let table = schema::builtin();
    let Some((live, config)) = pair(data) else {
        return;
    };
    let ty = type_of(table, &live);
    let object = live.as_ref();
    let (api_version, kind) = match (object.str("apiVersion"), object.str("kind")) {
        (version, kind) if !version.is_empty() && !kind.is_empty() => (version, kind),
        _ => ("v1", "Pod"),
    };
    // What is stored was read by its type.
    let Ok(stored) = schema::decode_json(table, ty, &live.to_json(live.root()), &LIMITS) else {
        return;
    };
    let request = schema::apply::Request {
        table,
        ty,
        api_version,
        kind,
        manager: "fuzz",
        subresource: "",
        time: "2026-01-02T03:04:05Z",
        ignored: None,
    };
    let _ = schema::apply::apply(&request, Some(&stored.dom), &config, false);
    let again = |live: &Dom| {
        let applied = schema::apply::apply(&request, Some(live), &config, false);
        let applied = applied.expect("who owns what was applied may apply it again");
        whole(&applied);
        applied
    };
    if let Ok(mut once) = schema::apply::apply(&request, Some(&stored.dom), &config, true) {
        whole(&once);
        // Who gives up the last field leaves an object without managers, and whoever applies next
        // takes it for one that is older than they are: upstream does the same.
        // Source: kubernetes v1.36 apimachinery pkg/util/managedfields/internal/stripmeta.go
        // (stripFields) and skipnonapplied.go (Apply).
        if once.as_ref().at(&["metadata", "managedFields"]).is_none() {
            once = again(&once);
        }
        let stored = |dom| schema::encode_json(table, ty, dom, Dom::root(dom));
        assert_eq!(
            crate::text(&stored(&once)),
            crate::text(&stored(&again(&once))),
            "applied twice"
        );
    }
    if let Ok(once) = schema::apply::apply(&request, None, &config, false) {
        whole(&once);
    }
    let mut new = stored.dom.clone();
    schema::apply::update(&request, Some(&live), &mut new);
    whole(&new);
}
