//! OpenAPI v3 documents of the built-in groups, made from the table.
//!
//! One document for each group and version, as clients ask for them: kubectl looks for the
//! `fieldValidation` parameter of a kind's PATCH operation, for merge keys, and explains fields
//! by the schemas. `v2` turns such documents into parts of the one old document, `gnostic` that
//! one into protobuf. Descriptions are our own and few. Knows no resources; the caller gives rows.
//! Source: kube-openapi pkg/builder3, pkg/generators/openapi.go; the files under
//! kubernetes v1.36.3 api/openapi-spec/v3 (a test compares schemas with them).

mod descriptions;
mod gnostic;
mod operation;
mod paths;
mod schemas;
mod v2;

pub use gnostic::to_protobuf;
pub use v2::{Parts, parts};

use crate::table::{Shape, ShapeId, Table, TypeId};

/// A resource or a subresource for which the document has paths.
#[derive(Copy, Clone, Debug)]
pub struct Row<'a> {
    /// `pods` or `pods/status`.
    pub path: &'a str,
    /// Whether it lives in namespaces.
    pub namespaced: bool,
    /// The group of the objects exchanged (`autoscaling` for a scale).
    pub group: &'a str,
    /// Their version.
    pub version: &'a str,
    /// Their kind.
    pub kind: &'a str,
    /// `get`, `list`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verbs: &'a [&'a str],
    /// Whether a delete answers with the object instead of a `Status`.
    pub returns_deleted: bool,
    /// What a kind that the table does not have looks like.
    pub custom: Option<Custom<'a>>,
}

/// A path that stands alone: versions, groups, keys.
#[derive(Copy, Clone, Debug)]
pub struct Single<'a> {
    /// `/apis/apps/`
    pub path: &'a str,
    /// The operation's name.
    pub id: &'a str,
    /// Its group of operations.
    pub tag: &'a str,
    /// Media types of the answer.
    pub types: &'a [&'static str],
    /// The kind of the answer among those of `v1`; text without one.
    pub kind: &'a str,
}

/// `rbacAuthorization` and `RbacAuthorization` for the group `rbac.authorization.k8s.io`.
#[must_use]
pub fn group_names(group: &str) -> [String; 2] {
    let tag = paths::camel(group.trim_end_matches(".k8s.io"));
    let title = paths::capital(&tag);
    [tag, title]
}

/// The document of one path.
#[must_use]
pub fn single(table: &Table, one: &Single<'_>, server: &str) -> Vec<u8> {
    let mut needed = Needed::default();
    let schema = needed.kind(table, "", "v1", one.kind);
    let schema = schema.map(|ty| type_name(table, ty));
    let version = (one.kind == "Info").then(|| VERSION_INFO.to_owned());
    let mut paths = String::from("{");
    paths::single(&mut paths, one, version.clone().or(schema));
    paths.push('}');
    let mut schemas = String::from("{");
    if version.is_some() {
        schemas::version_info(&mut schemas);
    } else {
        schemas::write(&mut schemas, table, needed, &[], None);
    }
    schemas.push('}');
    document("Kubernetes", server, &paths, &schemas)
}

/// The type of what `/version` answers, which is no kind.
const VERSION_INFO: &str = "io.k8s.apimachinery.pkg.version.Info";

fn document(title: &str, server: &str, paths: &str, schemas: &str) -> Vec<u8> {
    let mut out = String::with_capacity(paths.len() + schemas.len() + 512);
    out.push_str("{\"openapi\":\"3.0.0\",\"info\":{\"title\":");
    text(&mut out, title);
    out.push_str(",\"version\":");
    text(&mut out, server);
    out.push_str("},\"paths\":");
    out.push_str(paths);
    out.push_str(",\"components\":{\"schemas\":");
    out.push_str(schemas);
    out.push_str(
        ",\"securitySchemes\":{\"BearerToken\":{\"type\":\"apiKey\",\"name\":\"authorization\",\
         \"in\":\"header\"}}}}",
    );
    out.into_bytes()
}

/// A custom resource's kind.
#[derive(Copy, Clone, Debug)]
pub struct Custom<'a> {
    /// The kind of its lists.
    pub list_kind: &'a str,
    /// Its schema in JSON, with kind, apiVersion and metadata.
    pub schema: &'a str,
}

/// A custom kind's name in OpenAPI: `com.example.v1.Foo`.
#[must_use]
pub fn custom_name(group: &str, version: &str, kind: &str) -> String {
    let mut name: Vec<&str> = group.rsplit('.').collect();
    name.extend([version, kind]);
    name.join(".")
}

/// The properties that the schema of every custom object has.
#[must_use]
pub fn header_properties() -> [(&'static str, String); 3] {
    let own = |name: &str| descriptions::of("", name).unwrap_or_default();
    let plain = |name: &str| {
        let mut out = String::from("{\"description\":");
        text(&mut out, own(name));
        out.push_str(",\"type\":\"string\"}");
        out
    };
    let mut metadata = String::from("{\"allOf\":[{\"$ref\":\"#/components/schemas/");
    metadata.push_str(OBJECT_META);
    metadata.push_str("\"}],\"description\":");
    text(&mut metadata, own("metadata"));
    metadata.push('}');
    [
        ("apiVersion", plain("apiVersion")),
        ("kind", plain("kind")),
        ("metadata", metadata),
    ]
}

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";

/// The document of one group and version; `server` is printed as the document's version.
#[must_use]
pub fn v3(table: &Table, group: &str, version: &str, rows: &[Row<'_>], server: &str) -> Vec<u8> {
    let mut needed = Needed::default();
    for kind in ["DeleteOptions", "Status", "APIResourceList", "WatchEvent"] {
        needed.kind(table, "", "v1", kind);
    }
    for name in ["meta.v1.ObjectMeta", "meta.v1.ListMeta"] {
        if let Some(ty) = table.named(name) {
            needed.ty(ty);
        }
    }
    let own = rows.iter().all(|row| row.custom.is_none());
    let mut paths = String::from("{");
    paths::write(&mut paths, table, (group, version), rows, &mut needed);
    paths.push('}');
    let mut schemas = String::from("{");
    schemas::write(&mut schemas, table, needed, rows, Some((group, version)));
    schemas.push('}');
    match own {
        true => document("Kubernetes", server, &paths, &schemas),
        false => document("Kubernetes CRD Swagger", "v0.1.0", &paths, &schemas),
    }
}

/// A type's name in OpenAPI: `io.k8s.api.core.v1.Pod`.
#[must_use]
pub fn type_name(table: &Table, ty: TypeId) -> String {
    let path = table.package_path(ty);
    let (host, rest) = path.split_once('/').unwrap_or((path, ""));
    let mut name: Vec<&str> = host.rsplit('.').collect();
    name.extend(rest.split('/'));
    name.push(table.type_name(ty));
    name.join(".")
}

/// Types to which the document refers.
#[derive(Default)]
struct Needed {
    types: Vec<TypeId>,
}

impl Needed {
    fn kind(&mut self, table: &Table, group: &str, version: &str, kind: &str) -> Option<TypeId> {
        let ty = table.kind(group, version, kind)?;
        self.ty(ty);
        Some(ty)
    }

    /// The name of a kind, of the table or a custom one; none: the table does not have it.
    fn named(&mut self, table: &Table, row: &Row<'_>, list: bool) -> Option<String> {
        match row.custom {
            Some(custom) => {
                let kind = if list { custom.list_kind } else { row.kind };
                Some(custom_name(row.group, row.version, kind))
            }
            None if list => {
                let kind = format!("{}List", row.kind);
                let ty = self.kind(table, row.group, row.version, &kind)?;
                Some(type_name(table, ty))
            }
            None => {
                let ty = self.kind(table, row.group, row.version, row.kind)?;
                Some(type_name(table, ty))
            }
        }
    }

    fn ty(&mut self, ty: TypeId) {
        if !self.types.contains(&ty) {
            self.types.push(ty);
        }
    }

    fn shape(&mut self, table: &Table, shape: ShapeId) {
        match table.shape(shape) {
            Shape::Leaf(_) => {}
            Shape::Struct(ty) => self.ty(ty),
            Shape::List { item, .. } => self.shape(table, item),
            Shape::Map { value } => self.shape(table, value),
        }
    }
}

/// Appends a JSON string.
fn text(out: &mut String, value: &str) {
    let mut bytes = Vec::new();
    crate::dom::write_string(&mut bytes, value);
    out.push_str(&String::from_utf8_lossy(&bytes));
}

/// Appends `"key":`, with a comma before it unless it opens an object.
fn key(out: &mut String, name: &str) {
    if !out.ends_with('{') {
        out.push(',');
    }
    text(out, name);
    out.push(':');
}

#[cfg(test)]
mod tests;
