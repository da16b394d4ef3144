//! Paths: the operations of each resource, with the parameters that clients look for.

use std::collections::BTreeMap;

use super::schemas::{PATCH, gvk};
use super::{Needed, Row, key, text, type_name};
use crate::table::Table;

/// Writes all paths below `base`, sorted.
pub(super) fn write(
    out: &mut String,
    table: &Table,
    base: &str,
    rows: &[Row<'_>],
    needed: &mut Needed,
) {
    let mut paths: BTreeMap<String, String> = BTreeMap::new();
    for row in rows {
        let own = needed.named(table, row, false);
        let list = needed.named(table, row, true).or_else(|| own.clone());
        let place = match row.namespaced {
            true => format!("{base}/namespaces/{{namespace}}"),
            false => base.to_owned(),
        };
        let (collection, item) = match row.path.split_once('/') {
            None => (
                format!("{place}/{}", row.path),
                format!("{place}/{}/{{name}}", row.path),
            ),
            Some((plural, sub)) => {
                let path = format!("{place}/{plural}/{{name}}/{sub}");
                (path.clone(), path)
            }
        };
        let writer = Writer {
            table,
            row,
            own,
            list,
        };
        for verb in row.verbs {
            let Some((method, action, is_item)) = operation(verb) else {
                continue;
            };
            let path = if is_item { &item } else { &collection };
            writer.add(&mut paths, path, method, action);
        }
        if row.namespaced && row.verbs.contains(&"list") {
            writer.add(&mut paths, &format!("{base}/{}", row.path), "get", "list");
        }
    }
    key(out, &format!("{base}/"));
    out.push_str("{\"get\":{\"operationId\":");
    text(out, &format!("getAPIResources{}", base.replace('/', "_")));
    out.push_str(",\"responses\":{\"200\":{\"description\":\"OK\"}}}}");
    for (path, operations) in paths {
        key(out, &path);
        out.push('{');
        out.push_str(&operations);
        parameters(out, &path);
        out.push('}');
    }
}

/// Method, action and whether it is about one object.
fn operation(verb: &str) -> Option<(&'static str, &'static str, bool)> {
    Some(match verb {
        "get" => ("get", "get", true),
        "list" => ("get", "list", false),
        "create" => ("post", "post", false),
        "update" => ("put", "put", true),
        "patch" => ("patch", "patch", true),
        "delete" => ("delete", "delete", true),
        "deletecollection" => ("delete", "deletecollection", false),
        _ => return None,
    })
}

/// Parameters of the path itself.
fn parameters(out: &mut String, path: &str) {
    if !out.ends_with('{') {
        out.push(',');
    }
    out.push_str("\"parameters\":[");
    for name in ["name", "namespace"] {
        if path.contains(&format!("{{{name}}}")) {
            parameter(out, name, "path", "string");
        }
    }
    parameter(out, "pretty", "query", "string");
    out.push(']');
}

fn parameter(out: &mut String, name: &str, place: &str, kind: &str) {
    if !out.ends_with('[') {
        out.push(',');
    }
    out.push_str("{\"name\":");
    text(out, name);
    out.push_str(&format!(",\"in\":\"{place}\""));
    if place == "path" {
        out.push_str(",\"required\":true");
    }
    out.push_str(&format!(
        ",\"schema\":{{\"type\":\"{kind}\",\"uniqueItems\":true}}}}"
    ));
}

struct Writer<'a> {
    table: &'a Table,
    row: &'a Row<'a>,
    own: Option<String>,
    list: Option<String>,
}

const LIST: [(&str, &str); 10] = [
    ("allowWatchBookmarks", "boolean"),
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("timeoutSeconds", "integer"),
    ("watch", "boolean"),
];
const WRITE: [(&str, &str); 3] = [
    ("dryRun", "string"),
    ("fieldManager", "string"),
    ("fieldValidation", "string"),
];
const DELETE: [(&str, &str); 5] = [
    ("dryRun", "string"),
    ("gracePeriodSeconds", "integer"),
    (
        "ignoreStoreReadErrorWithClusterBreakingPotential",
        "boolean",
    ),
    ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
];
const TYPES: [&str; 3] = [
    "application/json",
    "application/vnd.kubernetes.protobuf",
    "application/yaml",
];
const PATCHES: [&str; 4] = [
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

impl Writer<'_> {
    fn add(&self, paths: &mut BTreeMap<String, String>, path: &str, method: &str, action: &str) {
        let out = paths.entry(path.to_owned()).or_default();
        if !out.is_empty() {
            out.push(',');
        }
        out.push_str(&format!("\"{method}\":{{\"operationId\":"));
        text(out, &self.id(path, action));
        out.push_str(",\"parameters\":[");
        let query: Vec<(&str, &str)> = match action {
            "list" => LIST.to_vec(),
            "post" | "put" => WRITE.to_vec(),
            "patch" => WRITE.into_iter().chain([("force", "boolean")]).collect(),
            "delete" => DELETE.to_vec(),
            "deletecollection" => DELETE.into_iter().chain(LIST).collect(),
            _ => Vec::new(),
        };
        for (name, kind) in query {
            parameter(out, name, "query", kind);
        }
        out.push(']');
        let own = self.own.as_deref();
        match action {
            "post" | "put" => body(out, &["*/*"], own, true),
            "patch" => body(out, self.patches(), Some(PATCH), true),
            "delete" | "deletecollection" => {
                let options = self.table.kind("", "v1", "DeleteOptions");
                let options = options.map(|ty| type_name(self.table, ty));
                body(out, &["*/*"], options.as_deref(), false);
            }
            _ => {}
        }
        let status = self.table.kind("", "v1", "Status");
        let answer = match action {
            "list" => self.list.clone(),
            "delete" | "deletecollection" => status.map(|ty| type_name(self.table, ty)),
            _ => own.map(str::to_owned),
        };
        out.push_str(",\"responses\":{\"200\":{\"description\":\"OK\"");
        content(out, self.types(), answer.as_deref());
        out.push_str("},\"401\":{\"description\":\"Unauthorized\"}},\"x-kubernetes-action\":");
        text(out, action);
        out.push_str(",\"x-kubernetes-group-version-kind\":");
        gvk(out, self.row.group, self.row.version, self.row.kind);
        out.push('}');
    }

    /// Encodings of objects: custom ones have no protobuf.
    fn types(&self) -> &'static [&'static str] {
        match self.row.custom {
            Some(_) => &["application/json", "application/yaml"],
            None => &TYPES,
        }
    }

    /// Kinds of patches: custom objects have no strategic merge.
    fn patches(&self) -> &'static [&'static str] {
        match self.row.custom {
            Some(_) => &PATCHES[..3],
            None => &PATCHES,
        }
    }

    /// `patchAppsV1NamespacedDeploymentScale`, near enough to upstream's to be unique.
    fn id(&self, path: &str, action: &str) -> String {
        let mut id = match action {
            "get" => "read".to_owned(),
            "put" => "replace".to_owned(),
            "post" => "create".to_owned(),
            "deletecollection" => "deleteCollection".to_owned(),
            other => other.to_owned(),
        };
        let mut steps: Vec<&str> = path
            .split('/')
            .filter(|step| !step.is_empty() && !step.starts_with('{'))
            .collect();
        steps.retain(|step| !matches!(*step, "apis" | "api"));
        for step in steps {
            let step = if step == "namespaces" && self.row.path != "namespaces" {
                "namespaced"
            } else {
                step
            };
            for part in step.split(['.', '-']) {
                let mut chars = part.chars();
                id.extend(chars.next().map(|c| c.to_ascii_uppercase()));
                id.push_str(chars.as_str());
            }
        }
        id
    }
}

fn body(out: &mut String, types: &[&str], schema: Option<&str>, required: bool) {
    out.push_str(",\"requestBody\":{\"description\":\"\"");
    content(out, types, schema);
    if required {
        out.push_str(",\"required\":true");
    }
    out.push('}');
}

fn content(out: &mut String, types: &[&str], schema: Option<&str>) {
    let Some(schema) = schema else { return };
    out.push_str(",\"content\":{");
    for media in types {
        key(out, media);
        out.push_str("{\"schema\":{\"$ref\":");
        text(out, &format!("#/components/schemas/{schema}"));
        out.push_str("}}");
    }
    out.push('}');
}
