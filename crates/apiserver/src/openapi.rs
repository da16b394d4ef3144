//! OpenAPI documents of what is served: v3 for each group and version, v2 for everything.
//!
//! Documents of built-in types never change within a release, so their hash is that of the
//! release; those of custom resources have the hash of their definitions. What v2 takes from
//! built-in types is made once, on first demand; the whole of a catalog is kept with the catalog.
//! Source: kube-openapi pkg/handler, pkg/handler3; apiextensions-apiserver v0.36.3
//! pkg/controller/openapi/builder/builder.go; kubectl v0.36.3 (query_param_verifier_v3.go).

use std::fmt::Write;
use std::sync::OnceLock;

use api::Status;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use schema::openapi::{self, Custom, Parts, Row, Single};
use schema::{Dom, Node, Ref};
use transport::Response;

use crate::aggregation::Aggregation;
use crate::answer;
use crate::catalog::{Catalog, Served};

/// The server's version as documents say it.
const VERSION: &str = "v1.36.3";

/// What a catalog keeps once it was asked.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    v2: OnceLock<Bytes>,
    v2_protobuf: OnceLock<Bytes>,
}

/// Encodings of the v2 document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Json,
    Protobuf,
}

/// `/openapi/v3`
pub(crate) fn index(catalog: &Catalog, aggregation: &Aggregation) -> String {
    let services = aggregation.services();
    let mut out = String::from("{\"paths\":{");
    let mut first = true;
    for group in catalog.groups() {
        for version in &group.versions {
            let path = if group.name.is_empty() {
                format!("api/{version}")
            } else {
                format!("apis/{}/{version}", group.name)
            };
            if services.of(&group.name, version).is_some() {
                continue;
            }
            let comma = if first { "" } else { "," };
            first = false;
            let hash = hash(&catalog.of(&group.name, version));
            let _ = write!(
                out,
                r#"{comma}"{path}":{{"serverRelativeURL":"/openapi/v3/{path}?hash={hash}"}}"#
            );
        }
    }
    for remote in services.remote() {
        let found = aggregation.found(&remote.name);
        if let Some(url) = found.as_ref().and_then(|found| found.openapi.as_ref()) {
            let path = remote.path();
            let mut text = String::new();
            api::text::json_string(&mut text, url);
            let path = path.trim_matches('/');
            let _ = write!(out, r#","{path}":{{"serverRelativeURL":{text}}}"#);
        }
    }
    for own in singles(catalog) {
        let path = own.path.trim_matches('/');
        let hash = hash(&[]);
        let _ = write!(
            out,
            r#","{path}":{{"serverRelativeURL":"/openapi/v3/{path}?hash={hash}"}}"#
        );
    }
    out.push_str("}}\n");
    out
}

/// A path with a document of its own.
struct Own {
    path: String,
    id: String,
    tag: String,
    types: &'static [&'static str],
    kind: &'static str,
}

impl Own {
    fn document(&self) -> Vec<u8> {
        let single = Single {
            path: &self.path,
            id: &self.id,
            tag: &self.tag,
            types: self.types,
            kind: self.kind,
        };
        openapi::single(schema::builtin(), &single, VERSION)
    }
}

/// Paths that belong to no group and version.
fn singles(catalog: &Catalog) -> Vec<Own> {
    const OBJECTS: &[&str] = &[
        "application/json",
        "application/yaml",
        "application/vnd.kubernetes.protobuf",
    ];
    const JSON: &[&str] = &["application/json"];
    const KEYS: &[&str] = &["application/jwk-set+json"];
    let own = |path: &str, id: &str, tag: &str, types, kind| Own {
        path: path.to_owned(),
        id: id.to_owned(),
        tag: tag.to_owned(),
        types,
        kind,
    };
    let (issuer, keys) = (
        "getServiceAccountIssuerOpenIDConfiguration",
        "getServiceAccountIssuerOpenIDKeyset",
    );
    let mut all = vec![
        own(
            "/.well-known/openid-configuration/",
            issuer,
            "WellKnown",
            JSON,
            "",
        ),
        own(
            "/api/",
            "getCoreAPIVersions",
            "core",
            OBJECTS,
            "APIVersions",
        ),
        own("/apis/", "getAPIVersions", "apis", OBJECTS, "APIGroupList"),
        own("/openid/v1/jwks/", keys, "openid", KEYS, ""),
        own("/version/", "getCodeVersion", "version", JSON, "Info"),
    ];
    let groups = catalog.groups().iter();
    for group in groups.filter(|group| !group.name.is_empty()) {
        let [tag, title] = openapi::group_names(&group.name);
        let (path, id) = (
            format!("/apis/{}/", group.name),
            format!("get{title}APIGroup"),
        );
        all.push(own(&path, &id, &tag, OBJECTS, "APIGroup"));
    }
    all
}

/// `/openapi/v3/version`: documents of paths outside of groups and versions.
pub(crate) fn single(catalog: &Catalog, path: &[&str]) -> Option<Vec<u8>> {
    let path = format!("/{}/", path.join("/"));
    let found = singles(catalog).into_iter().find(|own| own.path == path)?;
    Some(found.document())
}

/// Changes when the documents of these resources change.
fn hash(served: &[Served]) -> String {
    let mut context = ring::digest::Context::new(&ring::digest::SHA512);
    context.update(VERSION.as_bytes());
    context.update(env!("CARGO_PKG_VERSION").as_bytes());
    for one in served {
        if let Some(definition) = &one.resource.definition {
            let uid = api::meta::of(Dom::as_ref(definition)).uid();
            context.update(uid.as_bytes());
            let spec = Dom::as_ref(definition).get("spec");
            context.update(&spec.map(Ref::to_json).unwrap_or_default());
        }
    }
    let digest = context.finish();
    let mut out = String::with_capacity(128);
    for byte in digest.as_ref() {
        let _ = write!(out, "{byte:02X}");
    }
    out
}

/// The ETag of the v2 document.
pub(crate) fn v2_tag(catalog: &Catalog) -> String {
    let custom: Vec<Served> = all(catalog)
        .into_iter()
        .flat_map(|(_, _, served)| served)
        .filter(|served| served.resource.definition.is_some())
        .collect();
    hash(&custom)
}

fn all(catalog: &Catalog) -> Vec<(&str, &str, Vec<Served>)> {
    let mut all = Vec::new();
    for group in catalog.groups() {
        for version in &group.versions {
            let served = catalog.of(&group.name, version);
            all.push((group.name.as_str(), version.as_str(), served));
        }
    }
    all
}

/// `/openapi/v2`
pub(crate) fn v2(catalog: &Catalog, encoding: Encoding) -> Bytes {
    let json = catalog.documents.v2.get_or_init(|| {
        let mut parts = built_in(catalog).clone();
        for (group, version, served) in all(catalog) {
            let custom: Vec<Served> = served
                .into_iter()
                .filter(|served| served.resource.definition.is_some())
                .collect();
            if !custom.is_empty() {
                parts.add(&of(group, version, &custom));
            }
        }
        Bytes::from(parts.document(VERSION))
    });
    match encoding {
        Encoding::Json => json.clone(),
        Encoding::Protobuf => {
            let made = catalog.documents.v2_protobuf.get_or_init(|| {
                let dom = Dom::parse_json(json);
                base::always!(dom.is_ok(), "a document of ours is JSON");
                Bytes::from(
                    dom.map(|dom| openapi::to_protobuf(&dom))
                        .unwrap_or_default(),
                )
            });
            made.clone()
        }
    }
}

/// The v2 document in the encoding that the client prefers, unless it has it.
pub(crate) fn respond(catalog: &Catalog, headers: &HeaderMap) -> Result<Response, Status> {
    const OLD: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    const NEW: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
    let mut encoding = None;
    let mut asked = false;
    for value in headers.get_all(header::ACCEPT) {
        for clause in value.to_str().unwrap_or_default().split(',') {
            asked = true;
            let media = clause.split(';').next().unwrap_or_default().trim();
            let found = match media {
                "application/json" | "*/*" | "application/*" => Some(Encoding::Json),
                OLD | NEW => Some(Encoding::Protobuf),
                _ => None,
            };
            encoding = encoding.or(found);
        }
    }
    if !asked {
        encoding = Some(Encoding::Json);
    }
    let Some(encoding) = encoding else {
        return Err(Status::not_acceptable(&["application/json", OLD, NEW]));
    };
    let tag = format!("\"{}\"", v2_tag(catalog));
    let has = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|v| v.to_str().ok());
    let mut response = if has.is_some_and(|has| has.contains(&tag)) {
        answer::bytes(
            304,
            "application/json",
            transport::Body::from(String::new()),
        )
    } else {
        let mime = match encoding {
            Encoding::Json => "application/json",
            Encoding::Protobuf => NEW,
        };
        answer::bytes(200, mime, v2(catalog, encoding))
    };
    let headers = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    Ok(response)
}

/// What built-in types give to v2.
fn built_in(catalog: &Catalog) -> &'static Parts {
    static PARTS: OnceLock<Parts> = OnceLock::new();
    PARTS.get_or_init(|| {
        let mut parts = Parts::default();
        let custom = |own: &Own| {
            let group = own.path.trim_matches('/').strip_prefix("apis/");
            group.is_some_and(|group| {
                let of = all(catalog).into_iter().filter(|(name, ..)| *name == group);
                of.flat_map(|(_, _, served)| served)
                    .any(|served| served.resource.definition.is_some())
            })
        };
        for own in singles(catalog).iter().filter(|own| !custom(own)) {
            if let Ok(dom) = Dom::parse_json(&own.document()) {
                parts.add(&openapi::parts(&dom));
            }
        }
        for (group, version, served) in all(catalog) {
            let own: Vec<Served> = served
                .into_iter()
                .filter(|served| served.resource.definition.is_none())
                .collect();
            if !own.is_empty() {
                parts.add(&of(group, version, &own));
            }
        }
        parts
    })
}

fn of(group: &str, version: &str, served: &[Served]) -> Parts {
    let v3 = Dom::parse_json(&make(group, version, served));
    base::always!(v3.is_ok(), "a document of ours is JSON");
    v3.map(|dom| openapi::parts(&dom)).unwrap_or_default()
}

/// `/openapi/v3/apis/G/V`
pub(crate) fn document(catalog: &Catalog, group: &str, version: &str) -> Option<Vec<u8>> {
    if !catalog.has_version(group, version) {
        return None;
    }
    Some(make(group, version, &catalog.of(group, version)))
}

struct Named {
    returns_deleted: bool,
    path: String,
    namespaced: bool,
    gvk: api::Gvk,
    verbs: Vec<&'static str>,
    /// The list's kind and the schema of a custom resource.
    custom: Option<(String, String)>,
}

fn make(group: &str, version: &str, all: &[Served]) -> Vec<u8> {
    let mut named: Vec<Named> = Vec::new();
    for served in all {
        let row = &served.resource;
        let verbs = |verbs: registry::Verbs| verbs.iter().map(registry::Verb::as_str).collect();
        let own = row.gvk(served.view());
        let custom = row
            .definition
            .as_deref()
            .map(|definition| (row.list_kind.to_string(), custom(definition, &own)));
        named.push(Named {
            returns_deleted: crate::verbs::returns_deleted(&own.group, &own.kind),
            path: row.plural.to_string(),
            namespaced: row.is_namespaced(),
            gvk: own.clone(),
            verbs: verbs(row.verbs),
            custom: custom.clone(),
        });
        for sub in &row.subresources {
            named.push(Named {
                returns_deleted: false,
                path: format!("{}/{}", row.plural, sub.name),
                namespaced: row.is_namespaced(),
                gvk: sub.kind.clone().unwrap_or_else(|| own.clone()),
                verbs: verbs(sub.verbs),
                custom: custom.clone().filter(|_| sub.kind.is_none()),
            });
        }
    }
    let rows: Vec<Row<'_>> = named
        .iter()
        .map(|one| Row {
            path: &one.path,
            namespaced: one.namespaced,
            group: &one.gvk.group,
            version: &one.gvk.version,
            kind: &one.gvk.kind,
            verbs: &one.verbs,
            returns_deleted: one.returns_deleted,
            custom: one
                .custom
                .as_ref()
                .map(|(list_kind, schema)| Custom { list_kind, schema }),
        })
        .collect();
    openapi::v3(schema::builtin(), group, version, &rows, VERSION)
}

/// The schema of a version of a definition with what all objects have.
fn custom(definition: &Dom, gvk: &api::Gvk) -> String {
    let spec = definition.as_ref().get("spec");
    let version = spec
        .into_iter()
        .flat_map(|spec| spec.items("versions"))
        .find(|of| of.str("name") == gvk.version);
    let mut dom = Dom::new();
    let root = match version.and_then(|of| of.at(&["schema", "openAPIV3Schema"])) {
        Some(own) => {
            let root = dom.import(own.dom(), own.node());
            native(&mut dom, root, true, 0);
            root
        }
        None => {
            let root = dom.new_map();
            dom.set_str(root, "type", "object");
            root
        }
    };
    dom.set_root(root);
    let kinds = dom.new_list();
    let one = dom.new_map();
    for (key, value) in [
        ("group", &gvk.group),
        ("version", &gvk.version),
        ("kind", &gvk.kind),
    ] {
        dom.set_str(one, key, value);
    }
    dom.push(kinds, one);
    dom.set(root, "x-kubernetes-group-version-kind", kinds);
    if let Some(fields) = version.and_then(|of| of.get("selectableFields"))
        && !fields.is_empty()
    {
        let list = dom.new_list();
        for field in fields.list() {
            let one = dom.new_map();
            dom.set_str(
                one,
                "fieldPath",
                field.str("jsonPath").trim_start_matches('.'),
            );
            dom.push(list, one);
        }
        dom.set(root, "x-kubernetes-selectable-fields", list);
    }
    String::from_utf8_lossy(&dom.to_json(root)).into_owned()
}

/// Schemas deeper than this are published as they are.
const DEPTH: usize = 64;

/// Adds kind, apiVersion and metadata where whole objects are, and spells out what a number or a
/// text is.
fn native(dom: &mut Dom, node: Node, top: bool, depth: usize) {
    if depth > DEPTH || !matches!(dom.value(node), schema::Value::Map) {
        return;
    }
    let own = dom.at_node(node);
    let embedded = own.bool("x-kubernetes-embedded-resource") == Some(true);
    let either = own.bool("x-kubernetes-int-or-string") == Some(true)
        && own.get("anyOf").is_none()
        && own.get("allOf").is_none();
    let mut below: Vec<Node> = own.entries("properties").map(|(_, of)| of.node()).collect();
    below.extend(own.get("items").map(Ref::node));
    below.extend(own.get("additionalProperties").map(Ref::node));
    for inner in below {
        native(dom, inner, false, depth + 1);
    }
    if top || embedded {
        let properties = dom.ensure_map(node, "properties");
        for (name, json) in openapi::header_properties() {
            if let Ok(schema) = Dom::parse_json(json.as_bytes()) {
                let copy = dom.import(&schema, schema.root());
                dom.set(properties, name, copy);
            }
        }
    }
    if embedded {
        let required = dom.ensure_list(node, "required");
        for name in ["kind", "apiVersion"] {
            if !dom.items(required).any(|one| dom.as_str(one) == Some(name)) {
                let one = dom.new_str(name);
                dom.push(required, one);
            }
        }
    }
    if either {
        let list = dom.new_list();
        for kind in ["integer", "string"] {
            let one = dom.new_map();
            dom.set_str(one, "type", kind);
            dom.push(list, one);
        }
        dom.set(node, "anyOf", list);
    }
}
