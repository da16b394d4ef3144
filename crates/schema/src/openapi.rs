//! OpenAPI v3 documents of the built-in groups, made from the table.
//!
//! One document for each group and version, as clients ask for them: kubectl looks for the
//! `fieldValidation` parameter of a kind's PATCH operation, for merge keys, and explains fields
//! by the schemas. Descriptions are left out. Knows no resources; the caller gives rows.
//! Source: kube-openapi pkg/builder3, pkg/generators/openapi.go; the files under
//! kubernetes v1.36.3 api/openapi-spec/v3 (a test compares schemas with them).

mod paths;
mod schemas;

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
}

/// The document of one group and version; `server` is printed as the document's version.
#[must_use]
pub fn v3(table: &Table, group: &str, version: &str, rows: &[Row<'_>], server: &str) -> Vec<u8> {
    let mut needed = Needed::default();
    for kind in ["DeleteOptions", "Status", "APIResourceList", "WatchEvent"] {
        needed.kind(table, "", "v1", kind);
    }
    let mut out = String::with_capacity(1 << 16);
    out.push_str("{\"openapi\":\"3.0.0\",\"info\":{\"title\":\"Kubernetes\",\"version\":");
    text(&mut out, server);
    out.push_str("},\"paths\":{");
    let base = match group {
        "" => format!("/api/{version}"),
        group => format!("/apis/{group}/{version}"),
    };
    paths::write(&mut out, table, &base, rows, &mut needed);
    out.push_str("},\"components\":{\"schemas\":{");
    schemas::write(&mut out, table, needed);
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
