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
    /// What a kind that the table does not have looks like.
    pub custom: Option<Custom<'a>>,
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
    let mut out = String::with_capacity(1 << 16);
    let own = rows.iter().all(|row| row.custom.is_none());
    let title = if own {
        "Kubernetes"
    } else {
        "Kubernetes CRD Swagger"
    };
    out.push_str("{\"openapi\":\"3.0.0\",\"info\":{\"title\":");
    text(&mut out, title);
    out.push_str(",\"version\":");
    text(&mut out, if own { server } else { "v0.1.0" });
    out.push_str("},\"paths\":{");
    let base = match group {
        "" => format!("/api/{version}"),
        group => format!("/apis/{group}/{version}"),
    };
    paths::write(&mut out, table, &base, rows, &mut needed);
    out.push_str("},\"components\":{\"schemas\":{");
    schemas::write(&mut out, table, needed, rows);
    out.push_str(
        "},\"securitySchemes\":{\"BearerToken\":{\"type\":\"apiKey\",\"name\":\"authorization\",\
         \"in\":\"header\"}}}}",
    );
    out.into_bytes()
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
