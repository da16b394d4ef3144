//! What a remote server serves, as it says itself.
//!
//! Asked in the aggregated form, and where the server does not know it in the old one, which is
//! converted. What cannot be asked stays as it was and is marked stale. The place of its OpenAPI
//! document is asked for as well.
//! Source: kube-aggregator v0.36.3 pkg/apiserver/handler_discovery.go,
//! pkg/controllers/openapiv3/aggregator; apiserver v0.36.3 pkg/endpoints/installer.go
//! (ConvertGroupVersionIntoToDiscovery).

use http::header;
use schema::{Dom, Node, Ref};

use super::{ApiService, relay};
use crate::Server;

/// The aggregated form in both versions.
const ACCEPT: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";

/// What is known of a remote group's version.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// An `APIVersionDiscovery`; none: never heard.
    pub(crate) version: Option<Dom>,
    /// The last question was answered.
    pub(crate) fresh: bool,
    /// The relative URL of its OpenAPI v3 document.
    pub(crate) openapi: Option<String>,
}

/// Asks again; whether there was an answer.
pub(super) async fn refresh(server: &Server, service: &ApiService) -> bool {
    match fetch(server, service).await {
        Ok(version) => {
            let openapi = openapi(server, service).await;
            let found = Found {
                version: Some(version),
                fresh: true,
                openapi,
            };
            server.aggregation.set_found(&service.name, found);
            true
        }
        Err(err) => {
            let name = &service.name;
            tracing::debug!(name, err, "the discovery of an aggregated server");
            stale(server, service);
            false
        }
    }
}

/// Marks what is known as old.
pub(super) fn stale(server: &Server, service: &ApiService) {
    let before = server.aggregation.found(&service.name);
    let found = Found {
        version: before.as_ref().and_then(|found| found.version.clone()),
        fresh: false,
        openapi: before.as_ref().and_then(|found| found.openapi.clone()),
    };
    server.aggregation.set_found(&service.name, found);
}

async fn fetch(server: &Server, service: &ApiService) -> Result<Dom, String> {
    let (code, headers, body) = relay::ask(server, service, "/apis", ACCEPT).await?;
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if code == 200 && kind.contains("as=APIGroupDiscoveryList") {
        let dom = Dom::parse_json(&body).map_err(|error| error.to_string())?;
        return Ok(of_list(&dom, &service.group, &service.version));
    }
    if code == 503 {
        return Err("it answers 503".to_owned());
    }
    let path = service.path();
    let (code, _, body) = relay::ask(server, service, &path, "application/json").await?;
    if code != 200 {
        return Err(format!("it answers {code}"));
    }
    let dom = Dom::parse_json(&body).map_err(|error| error.to_string())?;
    convert(dom.as_ref(), &service.version)
}

/// The version's part of an aggregated document; without resources when it has none.
fn of_list(list: &Dom, group: &str, version: &str) -> Dom {
    let mut items = list.as_ref().items("items");
    let found = items
        .find(|of| of.at(&["metadata", "name"]).and_then(Ref::as_str) == Some(group))
        .and_then(|of| of.items("versions").find(|of| of.str("version") == version));
    let mut dom = Dom::new();
    let root = match found {
        Some(found) => dom.import(list, found.node()),
        None => {
            let root = dom.new_map();
            dom.set_str(root, "version", version);
            root
        }
    };
    dom.set_root(root);
    // Old clients fall over resources without a kind.
    let mut bare: Vec<Node> = Vec::new();
    for resource in dom.as_ref().items("resources") {
        let subresources = resource.items("subresources");
        let all = std::iter::once(resource).chain(subresources);
        bare.extend(
            all.filter(|of| of.get("responseKind").is_none())
                .map(Ref::node),
        );
    }
    for node in bare {
        kind(&mut dom, node, ["", "", ""]);
    }
    dom
}

fn kind(dom: &mut Dom, map: Node, [group, version, kind]: [&str; 3]) {
    let response = dom.new_map();
    dom.set_str(response, "group", group);
    dom.set_str(response, "version", version);
    dom.set_str(response, "kind", kind);
    dom.set(map, "responseKind", response);
}

/// The old form of a version's resources in the new one.
fn convert(list: Ref<'_>, version: &str) -> Result<Dom, String> {
    let mut dom = Dom::new();
    let root = dom.new_map();
    dom.set_root(root);
    dom.set_str(root, "version", version);
    let resources = dom.new_list();
    let mut parents: Vec<(String, Node)> = Vec::new();
    let scope = |of: Ref<'_>| match of.bool("namespaced") {
        Some(true) => "Namespaced",
        _ => "Cluster",
    };
    let own = |of: Ref<'_>| !of.str("name").contains('/');
    for of in list.items("resources").filter(|of| own(*of)) {
        let node = dom.new_map();
        dom.set_str(node, "resource", of.str("name"));
        kind(
            &mut dom,
            node,
            [of.str("group"), of.str("version"), of.str("kind")],
        );
        dom.set_str(node, "scope", scope(of));
        dom.set_str(node, "singularResource", of.str("singularName"));
        for key in ["verbs", "shortNames", "categories"] {
            if let Some(value) = of.get(key) {
                let copy = dom.import(value.dom(), value.node());
                dom.set(node, key, copy);
            }
        }
        dom.push(resources, node);
        parents.push((of.str("name").to_owned(), node));
    }
    for of in list.items("resources") {
        let Some((parent, name)) = of.str("name").split_once('/') else {
            continue;
        };
        let found = parents.iter().find(|(of, _)| of == parent);
        let node = match found.map(|(_, node)| *node) {
            Some(node) => node,
            None => {
                let node = dom.new_map();
                dom.set_str(node, "resource", parent);
                kind(&mut dom, node, ["", "", ""]);
                dom.set_str(node, "scope", scope(of));
                dom.push(resources, node);
                parents.push((parent.to_owned(), node));
                node
            }
        };
        if dom.at_node(node).str("scope") != scope(of) {
            return Err(format!(
                "{parent} and {parent}/{name} have different scopes"
            ));
        }
        let sub = dom.new_map();
        dom.set_str(sub, "subresource", name);
        kind(
            &mut dom,
            sub,
            match of.str("kind") {
                "" => ["", "", ""],
                name => [of.str("group"), of.str("version"), name],
            },
        );
        if let Some(verbs) = of.get("verbs") {
            let copy = dom.import(verbs.dom(), verbs.node());
            dom.set(sub, "verbs", copy);
        }
        let list = dom.ensure_list(node, "subresources");
        dom.push(list, sub);
    }
    dom.set(root, "resources", resources);
    Ok(dom)
}

/// Where its OpenAPI document is, if it has one.
async fn openapi(server: &Server, service: &ApiService) -> Option<String> {
    let asked = relay::ask(server, service, "/openapi/v3", "application/json").await;
    let (_, _, body) = asked.ok().filter(|(code, ..)| *code == 200)?;
    let dom = Dom::parse_json(&body).ok()?;
    let path = service.path();
    let entry = dom.as_ref().at(&["paths", path.trim_start_matches('/')])?;
    let url = entry.str("serverRelativeURL");
    url.starts_with("/openapi/v3/").then(|| url.to_owned())
}

#[cfg(test)]
mod tests;
