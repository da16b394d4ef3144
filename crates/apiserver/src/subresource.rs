//! Subresources, and resources that are only asked and answered.
//!
//! Those that take the whole object are the generic verbs with a projection: what else the
//! client changed is put back. The others have a file each.
//! Source: kubernetes v1.36.3 pkg/registry/core/pod/storage, pkg/registry/core/serviceaccount.

mod binding;
mod eviction;
mod proxy;
mod reviews;
mod scale;
mod token;

use api::{Gvk, Status};
use schema::{Dom, Ref};
use transport::{Request, Response};

use crate::codec;
use crate::negotiate::{self, Encoding};
use crate::verbs::{Call, body_of};

/// A request to a subresource.
pub(crate) async fn run(call: Call, request: Request) -> Result<Response, Status> {
    let name = call.info.subresource.clone();
    let Some(found) = call.resource().find_subresource(&name) else {
        return Err(Status::path_not_found());
    };
    if call.resource().is_namespaced() && call.info.namespace.is_empty() {
        return Err(Status::path_not_found());
    }
    if matches!(
        name.as_str(),
        "log" | "exec" | "attach" | "portforward" | "proxy"
    ) {
        return proxy::run(call, request).await;
    }
    let verb = match call.info.verb.as_str() {
        "create" => registry::Verb::Create,
        "get" => registry::Verb::Get,
        "update" => registry::Verb::Update,
        "patch" => registry::Verb::Patch,
        _ => return Err(Status::method_not_allowed()),
    };
    if !found.verbs.has(verb) {
        return Err(Status::method_not_allowed());
    }
    match (name.as_str(), verb) {
        ("scale", _) => scale::run(call, request).await,
        ("binding", _) => binding::run(call, request).await,
        ("eviction", _) => eviction::run(call, request).await,
        ("token", _) => token::run(call, request).await,
        (_, registry::Verb::Get) => {
            let stored = call.read(&call.info.name)?;
            call.show(200, &stored).await
        }
        (sub, registry::Verb::Update) => {
            let encoding = negotiate::content_type(request.headers())?;
            let body = body_of(request).await?;
            let sub = sub.to_owned();
            call.put(encoding, &body, &sub).await
        }
        (sub, registry::Verb::Patch) => {
            let sub = sub.to_owned();
            call.patch(request, &sub).await
        }
        _ => Err(Status::method_not_allowed()),
    }
}

/// A request to a resource that stores nothing.
pub(crate) async fn review(call: Call, request: Request) -> Result<Response, Status> {
    match call.resource().kind.as_ref() {
        "Binding" => binding::run(call, request).await,
        "ComponentStatus" => reviews::components(&call),
        _ => reviews::run(call, request).await,
    }
}

/// Reads the body as an object of another kind.
pub(crate) async fn body_as(request: Request, gvk: &Gvk) -> Result<Dom, Status> {
    let encoding: Encoding = negotiate::content_type(request.headers())?;
    let body = body_of(request).await?;
    let table = schema::builtin();
    let types = table
        .kind(&gvk.group, &gvk.version, &gvk.kind)
        .map(|ty| (table, ty));
    Ok(codec::decode(types, gvk, encoding, &body)?.dom)
}

/// Puts back what a subresource may not change.
pub(crate) fn project(new: &mut Dom, old: Ref<'_>, subresource: &str) {
    let root = new.root();
    match subresource {
        "ephemeralcontainers" => {
            let wanted = take(new, &["spec", "ephemeralContainers"]);
            put_back(new, "spec", old);
            if let Some(wanted) = wanted {
                let spec = new.ensure_map(root, "spec");
                let copy = new.import(&wanted, wanted.root());
                new.set(spec, "ephemeralContainers", copy);
            }
        }
        "finalize" => {
            let wanted = take(new, &["spec", "finalizers"]);
            put_back(new, "spec", old);
            let spec = new.ensure_map(root, "spec");
            match wanted {
                Some(wanted) => {
                    let copy = new.import(&wanted, wanted.root());
                    new.set(spec, "finalizers", copy);
                }
                None => {
                    new.remove(spec, "finalizers");
                }
            }
        }
        "resize" => {
            let mut resources: Vec<(&str, String, Dom)> = Vec::new();
            for list in ["containers", "initContainers"] {
                for container in new
                    .as_ref()
                    .get("spec")
                    .into_iter()
                    .flat_map(|s| s.items(list))
                {
                    for key in ["resources", "resizePolicy"] {
                        let Some(value) = container.get(key) else {
                            continue;
                        };
                        let mut copy = Dom::new();
                        let node = copy.import(value.dom(), value.node());
                        copy.set_root(node);
                        resources.push((key, format!("{list}/{}", container.str("name")), copy));
                    }
                }
            }
            put_back(new, "spec", old);
            let spec = new.ensure_map(root, "spec");
            for list in ["containers", "initContainers"] {
                let Some(containers) = new.get(spec, list) else {
                    continue;
                };
                for container in new.items(containers).collect::<Vec<_>>() {
                    let name = new.at_node(container).str("name").to_owned();
                    for (key, of, value) in &resources {
                        if *of == format!("{list}/{name}") {
                            let copy = new.import(value, value.root());
                            new.set(container, key, copy);
                        }
                    }
                }
            }
        }
        _ => {}
    }
}

fn take(dom: &Dom, path: &[&str]) -> Option<Dom> {
    let node = dom.at(dom.root(), path)?;
    let mut copy = Dom::new();
    let root = copy.import(dom, node);
    copy.set_root(root);
    Some(copy)
}

fn put_back(new: &mut Dom, key: &str, old: Ref<'_>) {
    let root = new.root();
    match old.get(key) {
        Some(value) => {
            let copy = new.import(value.dom(), value.node());
            new.set(root, key, copy);
        }
        None => {
            new.remove(root, key);
        }
    }
}
