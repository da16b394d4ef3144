//! Columns of nodes.
//!
//! Source: kubernetes v1.36.3 pkg/printers/internalversion/printers.go, printNode.

use jiff::Timestamp;
use schema::Ref;

use super::{Cell, Columns, age, at, name, or_none};
use crate::resource::Resource;

pub(crate) fn node() -> Columns {
    Columns::new(
        "Name|Status|Roles|Age|Version|Internal-IP*|External-IP*|OS-Image*|Kernel-Version*|Container-Runtime*",
        cells,
    )
}

fn status(node: Ref<'_>) -> String {
    let mut words = match api::meta::condition(node, "Ready") {
        Some(ready) if ready.str("status") == "True" => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if node.at(&["spec", "unschedulable"]).and_then(Ref::as_bool) == Some(true) {
        words.push_str(",SchedulingDisabled");
    }
    words
}

fn roles(node: Ref<'_>) -> String {
    let mut roles: Vec<&str> = Vec::new();
    for (key, value) in api::meta::of(node).labels() {
        match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) if !role.is_empty() => roles.push(role),
            _ if key == "kubernetes.io/role" && !value.is_empty() => roles.push(value),
            _ => {}
        }
    }
    roles.sort_unstable();
    roles.dedup();
    or_none(&roles.join(","))
}

fn address(node: Ref<'_>, kind: &str) -> String {
    let addresses = node
        .get("status")
        .into_iter()
        .flat_map(|status| status.items("addresses"));
    let mut of_kind = addresses.filter(|address| address.str("type") == kind);
    or_none(of_kind.next().map_or("", |address| address.str("address")))
}

fn known(text: &str) -> Cell {
    if text.is_empty() {
        "<unknown>".into()
    } else {
        text.into()
    }
}

fn cells(_: &Resource, node: Ref<'_>, now: Timestamp) -> Vec<Cell> {
    let info = |key| at(node, &["status", "nodeInfo", key]);
    vec![
        name(node),
        status(node).into(),
        roles(node).into(),
        age(node, now),
        info("kubeletVersion").into(),
        address(node, "InternalIP").into(),
        address(node, "ExternalIP").into(),
        known(info("osImage")),
        known(info("kernelVersion")),
        known(info("containerRuntimeVersion")),
    ]
}
