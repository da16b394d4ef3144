//! `binding`: the scheduler's decision, written into the pod.
//!
//! The pod takes on the node's zone and region as labels of its own.
//! Source: kubernetes v1.36.3 pkg/registry/core/pod/storage/storage.go BindingREST,
//! plugin/pkg/admission/podtopologylabels.

use api::{FieldError, Gvk, Path, Status, meta};
use schema::Ref;
use transport::{Request, Response};

use super::body_as;
use crate::answer;
use crate::options::WriteOptions;
use crate::verbs::Call;

/// Labels of the node that its pods get.
const TOPOLOGY: [&str; 2] = [
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
];

pub(super) async fn run(mut call: Call, request: Request) -> Result<Response, Status> {
    let gvk = Gvk::new("", "v1", "Binding");
    let options = WriteOptions::parse(&call.query, "CreateOptions")?;
    let mut body = body_as(request, &gvk).await?;
    if call.resource().kind == "Binding" {
        // The old resource of its own: the name is in the body.
        let catalog = call.server.catalog.load();
        let pods = catalog
            .find("", "v1", "pods")
            .ok_or_else(Status::path_not_found)?;
        drop(catalog);
        call.served = pods;
        call.info.resource = "pods".to_owned();
        call.info.name = meta::of(body.as_ref()).name().to_owned();
    }
    let name = call.info.name.clone();
    call.admit_foreign("binding", &gvk, &mut body, options.dry_run)
        .await?;
    let body = body.as_ref();
    let target = body
        .at(&["target", "name"])
        .and_then(Ref::as_str)
        .unwrap_or_default()
        .to_owned();
    let kind = body
        .at(&["target", "kind"])
        .and_then(Ref::as_str)
        .unwrap_or_default();
    let mut errors = Vec::new();
    if target.is_empty() {
        errors.push(FieldError::required(&Path::new("target").child("name"), ""));
    }
    if !kind.is_empty() && kind != "Node" {
        let known = ["Node", "<empty>"];
        errors.push(FieldError::not_supported(
            &Path::new("target").child("kind"),
            kind,
            &known,
        ));
    }
    if !errors.is_empty() {
        return Err(Status::invalid(&gvk.group_kind(), &name, &errors));
    }
    let uid = meta::of(body).uid().to_owned();
    let now = api::time::format_seconds(call.server.config.clock.now());
    let gr = call.gr();
    let mut labels = labels(body);
    labels.extend(topology(&call, &target));
    call.change(&name, "binding", &options, None, &mut |old| {
        let own = meta::of(old.as_ref());
        if !uid.is_empty() && uid != own.uid() {
            let cause = format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                own.uid()
            );
            return Err(Status::conflict(&gr, &name, &cause));
        }
        if own.is_deleting() {
            let cause = format!("pod {name} is being deleted, cannot be assigned to a host");
            return Err(Status::conflict(&gr, &name, &cause));
        }
        let node = old
            .as_ref()
            .at(&["spec", "nodeName"])
            .and_then(Ref::as_str)
            .unwrap_or_default();
        if !node.is_empty() {
            let cause = format!("pod {name} is already assigned to node {node:?}");
            return Err(Status::conflict(&gr, &name, &cause));
        }
        let gated = old
            .as_ref()
            .get("spec")
            .is_some_and(|s| s.items("schedulingGates").next().is_some());
        if gated {
            let cause = format!("pod {name} has non-empty .spec.schedulingGates");
            return Err(Status::conflict(&gr, &name, &cause));
        }
        let mut new = old.clone();
        let root = new.root();
        let map = new.ensure_map(root, "metadata");
        new.remove(map, "resourceVersion");
        let spec = new.ensure_map(root, "spec");
        new.set_str(spec, "nodeName", &target);
        for (key, value) in body
            .at(&["metadata"])
            .into_iter()
            .flat_map(|m| m.entries("annotations"))
        {
            let annotations = new.ensure_map(map, "annotations");
            new.set_str(annotations, key, value.as_str().unwrap_or_default());
        }
        for (key, value) in &labels {
            let own = new.ensure_map(map, "labels");
            new.set_str(own, key, value);
        }
        let status = new.ensure_map(root, "status");
        new.remove(status, "nominatedNodeName");
        let list = new.ensure_list(status, "conditions");
        let found = new
            .items(list)
            .find(|&node| new.at_node(node).str("type") == "PodScheduled");
        let condition = match found {
            Some(node) => node,
            None => {
                let node = new.new_map();
                new.push(list, node);
                node
            }
        };
        for key in ["reason", "message", "observedGeneration"] {
            new.remove(condition, key);
        }
        new.set_str(condition, "type", "PodScheduled");
        new.set_str(condition, "status", "True");
        new.set_str(condition, "lastTransitionTime", &now);
        Ok(new)
    })
    .await?;
    Ok(answer::status(&Status::succeeded(201), &call.accepted))
}

fn labels(object: Ref<'_>) -> Vec<(String, String)> {
    let metadata = object.get("metadata");
    let labels = metadata.into_iter().flat_map(|m| m.entries("labels"));
    labels
        .map(|(key, value)| {
            let value = value.as_str().unwrap_or_default();
            (key.to_owned(), value.to_owned())
        })
        .collect()
}

fn topology(call: &Call, node: &str) -> Vec<(String, String)> {
    let node = call.server.lookup().get("minions", "", node);
    let mut found = node.map_or(Vec::new(), |node| labels(node.as_ref()));
    found.retain(|(key, _)| TOPOLOGY.contains(&key.as_str()));
    found
}
