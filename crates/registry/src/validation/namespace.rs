//! Namespaces: their finalizers and phases.
//!
//! Source: kubernetes v1.36.3 pkg/registry/core/namespace/strategy.go.

use schema::{Dom, Ref};

use crate::edit::{ensure_list, ensure_map, keep, text};
use crate::hooks::Context;

pub(crate) fn prepare_create(_: &Context<'_>, dom: &mut Dom) {
    let root = dom.root();
    let status = dom.new_map();
    dom.set_str(status, "phase", "Active");
    dom.set(root, "status", status);
    let spec = ensure_map(dom, root, "spec");
    let list = ensure_list(dom, spec, "finalizers");
    let present = dom
        .items(list)
        .any(|node| dom.as_str(node) == Some("kubernetes"));
    if !present {
        let name = dom.new_str("kubernetes");
        dom.push(list, name);
    }
}

pub(crate) fn prepare_update(cx: &Context<'_>, dom: &mut Dom, old: Ref<'_>) {
    let root = dom.root();
    if cx.subresource == "finalize" {
        return;
    }
    let spec = ensure_map(dom, root, "spec");
    keep(dom, spec, "finalizers", old.get("spec"));
}

pub(crate) fn prepare_status(_: &Context<'_>, dom: &mut Dom, old: Ref<'_>) {
    let root = dom.root();
    keep(dom, root, "spec", Some(old));
    let status = ensure_map(dom, root, "status");
    let deleting = api::meta::of(old).is_deleting();
    if text(dom, status, "phase").is_empty() {
        dom.set_str(
            status,
            "phase",
            if deleting { "Terminating" } else { "Active" },
        );
    }
}
