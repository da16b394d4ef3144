//! LimitRanger: defaults and bounds for containers, pods and claims of a namespace.
//!
//! Source: kubernetes v1.36.3 plugin/pkg/admission/limitranger/admission.go.

use api::{Gr, Quantity, Status};
use schema::{Dom, Ref};

use crate::columns::scalar;
use crate::edit::{ensure_map, items, map};
use crate::hooks::Context;

fn ranges(cx: &Context<'_>) -> Vec<Dom> {
    if cx.namespace.is_empty() {
        Vec::new()
    } else {
        cx.lookup.list("limitranges", cx.namespace)
    }
}

fn limits<'a>(ranges: &'a [Dom], kind: &'a str) -> impl Iterator<Item = Ref<'a>> {
    ranges
        .iter()
        .filter_map(|range| range.as_ref().get("spec"))
        .flat_map(|spec| spec.items("limits"))
        .filter(move |limit| limit.str("type") == kind)
}

/// Requests and limits of containers that name none.
pub(super) fn apply_defaults(cx: &Context<'_>, dom: &mut Dom) {
    let ranges = ranges(cx);
    if ranges.is_empty() {
        return;
    }
    let root = dom.root();
    let Some(spec) = map(dom, root, "spec") else {
        return;
    };
    for limit in limits(&ranges, "Container") {
        for list in ["containers", "initContainers"] {
            for container in items(dom, spec, list) {
                let resources = ensure_map(dom, container, "resources");
                for (from, to) in [("default", "limits"), ("defaultRequest", "requests")] {
                    for (name, value) in limit.entries(from) {
                        let into = ensure_map(dom, resources, to);
                        if dom.get(into, name).is_none() {
                            let copy = dom.import(value.dom(), value.node());
                            dom.set(into, name, copy);
                        }
                    }
                }
            }
        }
    }
}

fn parse(node: Option<Ref<'_>>) -> Option<Quantity> {
    Quantity::parse(&scalar(Some(node?))).ok()
}

fn bounds(limit: Ref<'_>, kind: &str, resources: Ref<'_>, errors: &mut Vec<String>) {
    for (name, min) in limit.entries("min") {
        let Some(min) = parse(Some(min)) else {
            continue;
        };
        let (request, cap) = (
            parse(resources.at(&["requests", name])),
            parse(resources.at(&["limits", name])),
        );
        match request {
            None => errors.push(format!(
                "minimum {name} usage per {kind} is {min}.  No request is specified"
            )),
            Some(request) if request < min => {
                errors.push(format!(
                    "minimum {name} usage per {kind} is {min}, but request is {request}"
                ));
            }
            _ => {}
        }
        if let Some(cap) = cap
            && cap < min
        {
            errors.push(format!(
                "minimum {name} usage per {kind} is {min}, but limit is {cap}"
            ));
        }
    }
    for (name, max) in limit.entries("max") {
        let Some(max) = parse(Some(max)) else {
            continue;
        };
        let (request, cap) = (
            parse(resources.at(&["requests", name])),
            parse(resources.at(&["limits", name])),
        );
        match &cap {
            None => errors.push(format!(
                "maximum {name} usage per {kind} is {max}.  No limit is specified"
            )),
            Some(cap) if *cap > max => {
                errors.push(format!(
                    "maximum {name} usage per {kind} is {max}, but limit is {cap}"
                ));
            }
            _ => {}
        }
        if let Some(request) = request
            && request > max
        {
            errors.push(format!(
                "maximum {name} usage per {kind} is {max}, but request is {request}"
            ));
        }
    }
    for (name, ratio) in limit.entries("maxLimitRequestRatio") {
        let (request, cap) = (
            parse(resources.at(&["requests", name])),
            parse(resources.at(&["limits", name])),
        );
        let Some(wanted) = parse(Some(ratio)) else {
            continue;
        };
        let (Some(request), Some(cap)) = (request, cap) else {
            errors.push(format!("{name} max limit to request ratio per {kind} is {wanted}, but no request is specified or request is 0"));
            continue;
        };
        if request.is_zero() || cap.as_f64() / request.as_f64() > wanted.as_f64() {
            let observed = cap.as_f64() / request.as_f64();
            errors.push(format!("{name} max limit to request ratio per {kind} is {wanted}, but provided ratio is {observed:.6}"));
        }
    }
}

/// Refuses what is out of bounds.
pub(super) fn check(cx: &Context<'_>, object: Ref<'_>) -> Result<(), Status> {
    let pod = cx.resource.kind == "Pod";
    if !pod && cx.resource.kind != "PersistentVolumeClaim" {
        return Ok(());
    }
    let ranges = ranges(cx);
    if ranges.is_empty() {
        return Ok(());
    }
    let mut errors = Vec::new();
    let spec = object.get("spec");
    if pod {
        for limit in limits(&ranges, "Container") {
            for list in ["containers", "initContainers"] {
                for container in spec.into_iter().flat_map(|spec| spec.items(list)) {
                    if let Some(resources) = container.get("resources") {
                        bounds(limit, "Container", resources, &mut errors);
                    }
                }
            }
        }
        for limit in limits(&ranges, "Pod") {
            let mut sum = Dom::new();
            let root = sum.new_map();
            sum.set_root(root);
            let options = api::pod::RequestOptions::default();
            for (key, amounts) in [
                ("requests", api::pod::requests(object, &options)),
                ("limits", api::pod::limits(object, &options)),
            ] {
                let list = sum.new_map();
                for (name, amount) in amounts {
                    sum.set_str(list, &name, &amount.to_string());
                }
                sum.set(root, key, list);
            }
            bounds(limit, "Pod", sum.as_ref(), &mut errors);
        }
    } else {
        for limit in limits(&ranges, "PersistentVolumeClaim") {
            if let Some(resources) = spec.and_then(|spec| spec.get("resources")) {
                let size = parse(resources.at(&["requests", "storage"]));
                let Some(size) = size else { continue };
                if let Some(min) = parse(limit.at(&["min", "storage"])).filter(|min| size < *min) {
                    errors.push(format!("minimum storage usage per PersistentVolumeClaim is {min}, but request is {size}"));
                }
                if let Some(max) = parse(limit.at(&["max", "storage"])).filter(|max| size > *max) {
                    errors.push(format!("maximum storage usage per PersistentVolumeClaim is {max}, but request is {size}"));
                }
            }
        }
    }
    if errors.is_empty() {
        return Ok(());
    }
    let gr = Gr::new("", &cx.resource.plural);
    let cause = match errors.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    };
    Err(Status::forbidden(&gr, api::meta::of(object).name(), &cause))
}
