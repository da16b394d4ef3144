//! Discovery: which groups, versions and resources there are, in the old and the new form.
//!
//! Source: kubernetes v1.36.3 apiserver/pkg/endpoints/discovery.

use schema::{Dom, Node};

use crate::aggregation::{Aggregation, Found};
use crate::catalog::{Catalog, Group, Served};

fn object(kind: &str, api_version: &str) -> (Dom, Node) {
    let mut dom = Dom::new();
    let root = dom.new_map();
    dom.set_root(root);
    dom.set_str(root, "kind", kind);
    dom.set_str(root, "apiVersion", api_version);
    (dom, root)
}

fn list(dom: &mut Dom, map: Node, key: &str, values: &[impl AsRef<str>]) {
    if values.is_empty() {
        return;
    }
    let list = dom.new_list();
    for value in values {
        let node = dom.new_str(value.as_ref());
        dom.push(list, node);
    }
    dom.set(map, key, list);
}

/// `/api`
pub(crate) fn versions(address: &str) -> Dom {
    let (mut dom, root) = object("APIVersions", "v1");
    list(&mut dom, root, "versions", &["v1"]);
    let addresses = dom.new_list();
    let one = dom.new_map();
    dom.set_str(one, "clientCIDR", "0.0.0.0/0");
    dom.set_str(one, "serverAddress", address);
    dom.push(addresses, one);
    dom.set(root, "serverAddressByClientCIDRs", addresses);
    dom
}

fn group_members(dom: &mut Dom, map: Node, group: &Group) {
    dom.set_str(map, "name", &group.name);
    let version = |dom: &mut Dom, version: &str| {
        let map = dom.new_map();
        dom.set_str(map, "groupVersion", &api::api_version(&group.name, version));
        dom.set_str(map, "version", version);
        map
    };
    let versions = dom.new_list();
    for name in &group.versions {
        let one = version(dom, name);
        dom.push(versions, one);
    }
    dom.set(map, "versions", versions);
    let preferred = version(dom, &group.versions[0]);
    dom.set(map, "preferredVersion", preferred);
}

/// `/apis`
pub(crate) fn groups(all: &[Group]) -> Dom {
    let (mut dom, root) = object("APIGroupList", "v1");
    let groups = dom.new_list();
    for group in all.iter().filter(|group| !group.name.is_empty()) {
        let one = dom.new_map();
        group_members(&mut dom, one, group);
        dom.push(groups, one);
    }
    dom.set(root, "groups", groups);
    dom
}

/// `/apis/G`
pub(crate) fn group(all: &[Group], name: &str) -> Option<Dom> {
    let group = all.iter().find(|group| group.name == name)?;
    let (mut dom, root) = object("APIGroup", "v1");
    group_members(&mut dom, root, group);
    Some(dom)
}

fn resource(dom: &mut Dom, served: &Served, subresource: Option<&registry::Subresource>) -> Node {
    let row = &served.resource;
    let map = dom.new_map();
    let (name, kind, verbs) = match subresource {
        Some(sub) => (
            format!("{}/{}", row.plural, sub.name),
            sub.kind.as_ref(),
            sub.verbs,
        ),
        None => (row.plural.to_string(), None, row.verbs),
    };
    dom.set_str(map, "name", &name);
    dom.set_str(
        map,
        "singularName",
        if subresource.is_some() {
            ""
        } else {
            &row.singular
        },
    );
    dom.set_bool(map, "namespaced", row.is_namespaced());
    match kind {
        Some(kind) => {
            if !kind.group.is_empty() {
                dom.set_str(map, "group", &kind.group);
                dom.set_str(map, "version", &kind.version);
            }
            dom.set_str(map, "kind", &kind.kind);
        }
        None => dom.set_str(map, "kind", &row.kind),
    }
    let verbs: Vec<&str> = verbs.iter().map(registry::Verb::as_str).collect();
    list(dom, map, "verbs", &verbs);
    if subresource.is_none() {
        list(dom, map, "shortNames", &row.short);
        list(dom, map, "categories", &row.categories);
        if row.is_stored() {
            dom.set_str(map, "storageVersionHash", &hash(served));
        }
    }
    map
}

/// Eight characters that change with the stored version.
fn hash(served: &Served) -> String {
    use base64::Engine;
    let gvk = served.resource.gvk(served.resource.storage());
    let text = format!("{}/{}/{}", gvk.group, gvk.version, gvk.kind);
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(&digest.as_ref()[..8])
}

/// `/api/v1`, `/apis/G/V`
pub(crate) fn resources(catalog: &Catalog, group: &str, version: &str) -> Dom {
    let (mut dom, root) = object("APIResourceList", "v1");
    dom.set_str(root, "groupVersion", &api::api_version(group, version));
    let resources = dom.new_list();
    for served in catalog.of(group, version) {
        let one = resource(&mut dom, &served, None);
        dom.push(resources, one);
        for sub in &served.resource.subresources {
            let one = resource(&mut dom, &served, Some(sub));
            dom.push(resources, one);
        }
    }
    dom.set(root, "resources", resources);
    dom
}

fn kind(dom: &mut Dom, map: Node, group: &str, version: &str, kind: &str) {
    let response = dom.new_map();
    dom.set_str(response, "group", group);
    dom.set_str(response, "version", version);
    dom.set_str(response, "kind", kind);
    dom.set(map, "responseKind", response);
}

fn aggregated_resource(dom: &mut Dom, served: &Served) -> Node {
    let row = &served.resource;
    let view = served.view();
    let map = dom.new_map();
    dom.set_str(map, "resource", &row.plural);
    let (group, version) = (view.group.as_ref(), view.version.as_ref());
    kind(dom, map, group, version, &row.kind);
    dom.set_str(
        map,
        "scope",
        if row.is_namespaced() {
            "Namespaced"
        } else {
            "Cluster"
        },
    );
    dom.set_str(map, "singularResource", &row.singular);
    let verbs: Vec<&str> = row.verbs.iter().map(registry::Verb::as_str).collect();
    list(dom, map, "verbs", &verbs);
    list(dom, map, "shortNames", &row.short);
    list(dom, map, "categories", &row.categories);
    if !row.subresources.is_empty() {
        let subs = dom.new_list();
        for sub in &row.subresources {
            let one = dom.new_map();
            dom.set_str(one, "subresource", &sub.name);
            match &sub.kind {
                Some(gvk) => kind(dom, one, &gvk.group, &gvk.version, &gvk.kind),
                None => kind(dom, one, group, version, &row.kind),
            }
            let verbs: Vec<&str> = sub.verbs.iter().map(registry::Verb::as_str).collect();
            list(dom, one, "verbs", &verbs);
            dom.push(subs, one);
        }
        dom.set(map, "subresources", subs);
    }
    map
}

/// A version that another server serves, as it said itself.
fn foreign(dom: &mut Dom, found: Option<&Found>, version: &str) -> Node {
    let of = match found.and_then(|found| found.version.as_ref()) {
        Some(said) => dom.import(said, said.root()),
        None => {
            let of = dom.new_map();
            dom.set_str(of, "version", version);
            of
        }
    };
    let fresh = found.is_some_and(|found| found.fresh);
    dom.set_str(of, "freshness", if fresh { "Current" } else { "Stale" });
    of
}

/// `/api` and `/apis` in the aggregated form.
pub(crate) fn aggregated(
    catalog: &Catalog,
    groups: &[Group],
    aggregation: &Aggregation,
    core: bool,
    version: &str,
) -> Dom {
    let services = aggregation.services();
    let (mut dom, root) = object(
        "APIGroupDiscoveryList",
        &format!("apidiscovery.k8s.io/{version}"),
    );
    let meta = dom.new_map();
    dom.set(root, "metadata", meta);
    let items = dom.new_list();
    for group in groups.iter().filter(|group| group.name.is_empty() == core) {
        let one = dom.new_map();
        let meta = dom.new_map();
        if !core {
            dom.set_str(meta, "name", &group.name);
        }
        dom.set(one, "metadata", meta);
        let versions = dom.new_list();
        for name in &group.versions {
            if let Some(remote) = services.of(&group.name, name) {
                let of = foreign(&mut dom, aggregation.found(&remote.name).as_deref(), name);
                dom.push(versions, of);
                continue;
            }
            let of = dom.new_map();
            dom.set_str(of, "version", name);
            let resources = dom.new_list();
            for served in catalog.of(&group.name, name) {
                let one = aggregated_resource(&mut dom, &served);
                dom.push(resources, one);
            }
            dom.set(of, "resources", resources);
            dom.set_str(of, "freshness", "Current");
            dom.push(versions, of);
        }
        dom.set(one, "versions", versions);
        dom.push(items, one);
    }
    dom.set(root, "items", items);
    dom
}
