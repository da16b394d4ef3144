//! `scale`: the number of replicas of anything that has one.
//!
//! Source: kubernetes v1.36.3 pkg/registry/apps/*/storage ScaleREST; apiextensions-apiserver
//! v0.36.3 pkg/registry/customresource/etcd.go.

use api::{Gvk, Status, meta};
use schema::{Dom, Node, Ref, Value};
use transport::{Request, Response};

use super::body_as;
use crate::answer;
use crate::options::WriteOptions;
use crate::verbs::{Call, body_of};

/// Paths of the three facts: those of built-in kinds, or those a definition names.
struct Paths {
    spec: Vec<String>,
    status: Vec<String>,
    selector: Option<Vec<String>>,
}

fn paths(call: &Call) -> Paths {
    let words = |path: &str| {
        path.trim_matches('.')
            .split('.')
            .map(str::to_owned)
            .collect()
    };
    match crate::custom::scale_paths(call.resource(), call.view()) {
        Some((spec, status, selector)) => Paths {
            spec: words(&spec),
            status: words(&status),
            selector: selector.map(|path| words(&path)),
        },
        None => Paths {
            spec: words("spec.replicas"),
            status: words("status.replicas"),
            selector: None,
        },
    }
}

fn at<'a>(object: Ref<'a>, path: &[String]) -> Option<Ref<'a>> {
    path.iter().try_fold(object, |node, key| node.get(key))
}

fn selector(call: &Call, object: Ref<'_>, paths: &Paths) -> String {
    if let Some(path) = &paths.selector {
        return at(object, path)
            .and_then(Ref::as_str)
            .unwrap_or_default()
            .to_owned();
    }
    let found = object.at(&["spec", "selector"]);
    let selector = if call.resource().kind == "ReplicationController" {
        Ok(meta::set_selector(found))
    } else {
        meta::label_selector(found)
    };
    selector
        .map(|selector| selector.to_string())
        .unwrap_or_default()
}

fn scale(call: &Call, object: Ref<'_>) -> Dom {
    let paths = paths(call);
    let mut dom = Dom::new();
    let root = dom.new_map();
    dom.set_root(root);
    dom.set_str(root, "kind", "Scale");
    dom.set_str(root, "apiVersion", "autoscaling/v1");
    let own = dom.new_map();
    dom.set(root, "metadata", own);
    if let Some(from) = object.get("metadata") {
        for key in [
            "name",
            "namespace",
            "uid",
            "resourceVersion",
            "creationTimestamp",
        ] {
            let value = from.str(key);
            if !value.is_empty() {
                dom.set_str(own, key, value);
            }
        }
    }
    let spec = dom.new_map();
    dom.set(root, "spec", spec);
    if let Some(replicas) = at(object, &paths.spec).and_then(Ref::as_int) {
        dom.set_int(spec, "replicas", replicas);
    }
    let status = dom.new_map();
    dom.set(root, "status", status);
    dom.set_int(
        status,
        "replicas",
        at(object, &paths.status).and_then(Ref::as_int).unwrap_or(0),
    );
    let text = selector(call, object, &paths);
    if !text.is_empty() {
        dom.set_str(status, "selector", &text);
    }
    dom
}

fn set_path(dom: &mut Dom, root: Node, path: &[String], value: i64) {
    let Some((last, parents)) = path.split_last() else {
        return;
    };
    let mut node = root;
    for key in parents {
        node = dom.ensure_map(node, key);
    }
    dom.set_int(node, last, value);
}

pub(super) async fn run(call: Call, request: Request) -> Result<Response, Status> {
    let name = call.info.name.clone();
    if call.info.verb == "get" {
        let stored = call.read(&name)?;
        let object = crate::object::parse(&stored.value, stored.revision);
        return Ok(answer::document(
            200,
            &scale(&call, object.as_ref()),
            &call.accepted,
        ));
    }
    let options = WriteOptions::parse(&call.query, "UpdateOptions")?;
    let gvk = Gvk::new("autoscaling", "v1", "Scale");
    let mut given: Option<Dom> = None;
    let mut patch: Option<(crate::verbs::PatchKind, Dom)> = None;
    if call.info.verb == "update" {
        given = Some(body_as(request, &gvk).await?);
    } else {
        let kind = crate::verbs::patch_kind(&request, false)?;
        let body = body_of(request).await?;
        let parsed = Dom::parse_json(&body)
            .map_err(|error| Status::bad_request(&format!("error decoding patch: {error}")))?;
        patch = Some((kind, parsed));
    }
    let paths = paths(&call);
    let changed = call
        .change(&name, "scale", &options, None, &mut |old| {
            let wanted = match (&given, &patch) {
                (Some(given), _) => given.clone(),
                (None, Some((kind, patch))) => {
                    let mut dom = scale(&call, old.as_ref());
                    crate::verbs::apply_patch(*kind, &gvk, &mut dom, patch)?;
                    let map = dom.root();
                    let map = dom.ensure_map(map, "metadata");
                    dom.remove(map, "resourceVersion");
                    dom
                }
                _ => return Err(Status::method_not_allowed()),
            };
            let wanted_ref = wanted.as_ref();
            let replicas = match wanted_ref.at(&["spec", "replicas"]).map(Ref::value) {
                Some(Value::Int(number)) => number,
                _ => 0,
            };
            if replicas < 0 {
                let at = api::Path::new("spec").child("replicas");
                let detail = "must be greater than or equal to 0";
                let error = api::FieldError::invalid(&at, replicas, detail);
                return Err(Status::invalid(&gvk.group_kind(), &name, &[error]));
            }
            let mut new = old.clone();
            let root = new.root();
            let map = new.ensure_map(root, "metadata");
            let revision = meta::of(wanted_ref).resource_version();
            if revision.is_empty() {
                new.remove(map, "resourceVersion");
            } else {
                new.set_str(map, "resourceVersion", revision);
            }
            let uid = meta::of(wanted_ref).uid();
            if !uid.is_empty() {
                new.set_str(map, "uid", uid);
            }
            set_path(&mut new, root, &paths.spec, replicas);
            Ok(new)
        })
        .await?;
    let dom = match changed {
        crate::verbs::Changed::Dry(dom) => dom,
        crate::verbs::Changed::Stored(stored)
        | crate::verbs::Changed::Removed(stored)
        | crate::verbs::Changed::Created(stored) => {
            crate::object::parse(&stored.value, stored.revision)
        }
    };
    Ok(answer::document(
        200,
        &scale(&call, dom.as_ref()),
        &call.accepted,
    ))
}
