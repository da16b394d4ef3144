//! What a definition's status says, and the end of deleted definitions.
//!
//! Source: apiextensions-apiserver v0.36.3 pkg/controller/{status,establish,finalizer}.

use std::sync::Arc;

use api::meta;
use schema::{Dom, Node};

use super::{FINALIZER, compile};
use crate::Server;
use crate::bootstrap;
use crate::options::{DeleteOptions, WriteOptions};

const GROUP: &str = "apiextensions.k8s.io";

/// Brings the status of all definitions up to date.
pub(super) async fn settle(server: &Arc<Server>, definitions: &[Dom]) {
    for definition in definitions {
        let own = meta::of(definition.as_ref());
        if own.is_deleting() {
            if own.has_finalizer(FINALIZER) {
                clean(server, definition).await;
            }
            continue;
        }
        let conditions = ["NamesAccepted", "Established"];
        let settled = conditions
            .iter()
            .all(|kind| meta::condition_is_true(definition.as_ref(), kind))
            && accepted(definition);
        if settled || compile::row(definition).is_none() {
            continue;
        }
        let Some(mut call) = bootstrap::call(server, GROUP, "v1", "customresourcedefinitions", "")
        else {
            return;
        };
        call.info.name = own.name().to_owned();
        call.info.subresource = "status".to_owned();
        let now = api::time::format_seconds(server.config.clock.now());
        let done = call
            .change(
                own.name(),
                "status",
                &WriteOptions::default(),
                None,
                &mut |old| Ok(with_status(old, &now)),
            )
            .await;
        if let Err(status) = done {
            tracing::warn!(name = own.name(), err = %status, "status of a definition");
        }
    }
}

/// Whether the accepted names are the wanted ones.
fn accepted(definition: &Dom) -> bool {
    let object = definition.as_ref();
    match (
        object.at(&["spec", "names"]),
        object.at(&["status", "acceptedNames"]),
    ) {
        (Some(wanted), Some(accepted)) => wanted.equal(accepted),
        _ => false,
    }
}

fn condition(dom: &mut Dom, list: Node, kind: &str, reason: &str, message: &str, now: &str) {
    let found = dom
        .items(list)
        .find(|&node| dom.at_node(node).str("type") == kind);
    let node = match found {
        Some(node) => node,
        None => {
            let node = dom.new_map();
            dom.push(list, node);
            node
        }
    };
    if dom.at_node(node).str("status") != "True" {
        dom.set_str(node, "lastTransitionTime", now);
    }
    dom.set_str(node, "type", kind);
    dom.set_str(node, "status", "True");
    dom.set_str(node, "reason", reason);
    dom.set_str(node, "message", message);
}

fn with_status(old: &Dom, now: &str) -> Dom {
    let mut dom = old.clone();
    let root = dom.root();
    let meta = dom.ensure_map(root, "metadata");
    dom.remove(meta, "resourceVersion");
    let status = dom.ensure_map(root, "status");
    if let Some(names) = dom.at(root, &["spec", "names"]) {
        let copy = dom.copy(names);
        dom.set(status, "acceptedNames", copy);
    }
    let list = dom.ensure_list(status, "conditions");
    condition(
        &mut dom,
        list,
        "NamesAccepted",
        "NoConflicts",
        "no conflicts found",
        now,
    );
    condition(
        &mut dom,
        list,
        "Established",
        "InitialNamesAccepted",
        "the initial names have been accepted",
        now,
    );
    let storage = dom.as_ref().get("spec").and_then(|spec| {
        let mut versions = spec.items("versions");
        versions
            .find(|v| v.bool("storage") == Some(true))
            .map(|v| v.str("name").to_owned())
    });
    if let Some(storage) = storage {
        let stored = dom.ensure_list(status, "storedVersions");
        if !dom
            .items(stored)
            .any(|node| dom.as_str(node) == Some(&storage))
        {
            let node = dom.new_str(&storage);
            dom.push(stored, node);
        }
    }
    dom
}

/// Deletes the objects of a definition, then lets it go.
async fn clean(server: &Arc<Server>, definition: &Dom) {
    let own = meta::of(definition.as_ref());
    let mut left = false;
    if let Some(row) = compile::row(definition) {
        let view = row.storage();
        let served = row.views.iter().find(|view| view.served).unwrap_or(view);
        let (group, version) = (served.group.to_string(), served.version.to_string());
        use registry::Lookup;
        for object in server.lookup.list(&row.prefix, "") {
            let of = meta::of(object.as_ref());
            let Some(mut call) =
                bootstrap::call(server, &group, &version, &row.plural, of.namespace())
            else {
                left = true;
                break;
            };
            call.info.name = of.name().to_owned();
            match call.remove(of.name(), &DeleteOptions::default()).await {
                Ok(crate::verbs::Deleted::Gone(_)) => {}
                Ok(crate::verbs::Deleted::Marked(_)) => left = true,
                Err(status) => left |= status.code() != 404,
            }
        }
    }
    if left {
        // Whoever holds the objects changes them; the definition is looked at again when it, or
        // another one, changes.
        tracing::info!(
            name = own.name(),
            "objects of a deleted definition have finalizers"
        );
        return;
    }
    let Some(mut call) = bootstrap::call(server, GROUP, "v1", "customresourcedefinitions", "")
    else {
        return;
    };
    call.info.name = own.name().to_owned();
    let done = call
        .change(own.name(), "", &WriteOptions::default(), None, &mut |old| {
            let mut dom = old.clone();
            let root = dom.root();
            let map = dom.ensure_map(root, "metadata");
            dom.remove(map, "resourceVersion");
            let kept: Vec<String> = meta::of(old.as_ref())
                .finalizers()
                .filter(|name| *name != FINALIZER)
                .map(str::to_owned)
                .collect();
            let list = dom.new_list();
            for name in kept {
                let node = dom.new_str(&name);
                dom.push(list, node);
            }
            dom.set(map, "finalizers", list);
            Ok(dom)
        })
        .await;
    if let Err(status) = done {
        tracing::warn!(name = own.name(), err = %status, "end of a definition");
    }
}
