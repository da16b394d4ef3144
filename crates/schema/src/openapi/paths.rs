//! Paths: which operations each resource has, under upstream's names.
//!
//! An operation's name is its action, the group and version, the kind and the subresource:
//! `patchAppsV1NamespacedDeploymentScale`. `operation` writes them.
//! Source: apiserver v0.36.3 pkg/endpoints/installer.go registerResourceHandlers,
//! pkg/endpoints/openapi/openapi.go GetOperationIDAndTags.

use std::collections::BTreeMap;

use super::operation::{self, Body, Operation, Parameter};
use super::{Needed, Row, type_name};
use crate::table::{Leaf, Shape, Table};

/// Encodings of objects, as upstream lists them.
const TYPES: [&str; 3] = [
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];
/// Encodings of lists, which may be watched.
const STREAMS: [&str; 5] = [
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf;stream=watch",
];
const LOG_TYPES: [&str; 4] = [
    "text/plain",
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];
const PATCHES: [&str; 4] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];
const LIST: [(&str, &str); 11] = [
    ("allowWatchBookmarks", "boolean"),
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("shardSelector", "string"),
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

/// Writes all paths of a group and version, sorted.
pub(super) fn write(
    out: &mut String,
    table: &Table,
    (group, version): (&str, &str),
    rows: &[Row<'_>],
    needed: &mut Needed,
) {
    let base = match group {
        "" => format!("/api/{version}"),
        group => format!("/apis/{group}/{version}"),
    };
    let short = match group {
        "" => "core",
        group => group.trim_end_matches(".k8s.io"),
    };
    let names = Names {
        group: capital(&camel(short)) + &capital(version),
        tag: format!("{}_{version}", camel(short)),
    };
    let mut paths: BTreeMap<String, Vec<Operation>> = BTreeMap::new();
    let mut add = |path: String, operation: Operation| {
        paths.entry(path).or_default().push(operation);
    };
    let list = needed.kind(table, "", "v1", "APIResourceList");
    let mut index = Operation::new("get", "");
    index.id = format!("get{}APIResources", names.group);
    index.tag.clone_from(&names.tag);
    index.answer(&["200"], &TYPES, list.map(|ty| type_name(table, ty)));
    add(format!("{base}/"), index);
    for row in rows {
        let plural = row.path.split('/').next().unwrap_or_default();
        let parent = rows.iter().find(|row| row.path == plural).unwrap_or(row);
        // What connects has parameters instead of a body.
        let connects = row.path.contains('/') && row.kind.ends_with("Options");
        let own = match connects {
            true => None,
            false => needed.named(table, row, false),
        };
        let list = match row.verbs.contains(&"list") {
            true => needed.named(table, row, true),
            false => None,
        };
        let maker = Maker {
            table,
            names: &names,
            row,
            kind: parent.kind,
            own,
            list,
        };
        maker.all(&base, needed, &mut add);
    }
    for (path, operations) in paths {
        operation::write(out, &path, &operations);
    }
}

struct Names {
    /// `AppsV1`
    group: String,
    /// `apps_v1`
    tag: String,
}

struct Maker<'a> {
    table: &'a Table,
    names: &'a Names,
    row: &'a Row<'a>,
    /// The kind of the resource, also for its subresources.
    kind: &'a str,
    own: Option<String>,
    list: Option<String>,
}

impl Maker<'_> {
    fn all(&self, base: &str, needed: &mut Needed, add: &mut dyn FnMut(String, Operation)) {
        let row = self.row;
        let in_namespace = match row.namespaced {
            true => "/namespaces/{namespace}",
            false => "",
        };
        let (plural, item) = match row.path.split_once('/') {
            None => (row.path, format!("/{}/{{name}}", row.path)),
            Some((plural, sub)) => (plural, format!("/{plural}/{{name}}/{sub}")),
        };
        let is_sub = row.path.contains('/');
        let collection = match is_sub {
            true => item.clone(),
            false => format!("/{plural}"),
        };
        if is_sub && row.kind.ends_with("Options") {
            return self.connections(&format!("{base}{in_namespace}{item}"), add);
        }
        let has = |verb: &str| row.verbs.contains(&verb);
        for verb in row.verbs {
            let about_one = matches!(*verb, "get" | "update" | "patch" | "delete");
            let path = if about_one { &item } else { &collection };
            let path = format!("{base}{in_namespace}{path}");
            if let Some(operation) = self.operation(verb, &path, needed) {
                add(path, operation);
            }
        }
        if is_sub || !has("list") {
            return;
        }
        let everywhere = format!("{base}{collection}");
        if row.namespaced {
            let mut operation = self.listing(&everywhere);
            operation.id = self.id("list", "", false, "ForAllNamespaces");
            add(everywhere.clone(), operation);
        }
        if !has("watch") || row.custom.is_some() {
            return;
        }
        let event = needed.kind(self.table, "", "v1", "WatchEvent");
        let event = event.map(|ty| type_name(self.table, ty));
        let mut watch = |path: String, action: &str, namespaced: bool, suffix: &str| {
            let mut operation = self.listing(&path);
            operation.id = self.id("watch", "", namespaced, suffix);
            operation.action = action.to_owned();
            operation.answer(&["200"], &STREAMS, event.clone());
            add(path, operation);
        };
        if row.namespaced {
            let path = format!("{base}/watch{collection}");
            watch(path, "watchlist", false, "ListForAllNamespaces");
        }
        let place = format!("{base}/watch{in_namespace}");
        let path = format!("{place}{collection}");
        watch(path, "watchlist", row.namespaced, "List");
        if has("get") {
            watch(format!("{place}{item}"), "watch", row.namespaced, "");
        }
    }

    fn listing(&self, path: &str) -> Operation {
        let mut operation = self.begin("get", "list", path);
        operation.query(&LIST);
        operation.answer(&["200"], self.streams(), self.list.clone());
        operation
    }

    fn operation(&self, verb: &str, path: &str, needed: &mut Needed) -> Option<Operation> {
        let row = self.row;
        let own = self.own.clone();
        let sub = row.path.split_once('/').map(|(_, sub)| capital(sub));
        let sub = sub.unwrap_or_default();
        let id = |action: &str, before: &str| self.id(action, before, row.namespaced, &sub);
        let mut one = match verb {
            "get" => self.begin("get", "get", path),
            "list" => self.listing(path),
            "create" => self.begin("post", "post", path),
            "update" => self.begin("put", "put", path),
            "patch" => self.begin("patch", "patch", path),
            "delete" => self.begin("delete", "delete", path),
            "deletecollection" => self.begin("delete", "deletecollection", path),
            _ => return None,
        };
        let types = self.types();
        match verb {
            "get" => {
                one.id = id("read", "");
                one.answer(&["200"], types, own);
                if row.path.ends_with("/log") {
                    one.parameters.extend(self.of_options("PodLogOptions"));
                    one.answer(&["200"], &LOG_TYPES, None);
                }
            }
            "list" => one.id = id("list", ""),
            "create" | "update" => {
                let create = verb == "create";
                one.id = id(if create { "create" } else { "replace" }, "");
                one.query(&WRITE);
                one.body = Some(Body::of(&["*/*"], own.clone(), true));
                let codes: &[&str] = match create {
                    true => &["200", "201", "202"],
                    false => &["200", "201"],
                };
                one.answer(codes, types, own);
            }
            "patch" => {
                one.id = id("patch", "");
                one.query(&WRITE);
                one.query(&[("force", "boolean")]);
                let patch = Some(super::schemas::PATCH.to_owned());
                one.body = Some(Body::of(self.patches(), patch, true));
                let codes: &[&str] = match row.custom {
                    Some(_) => &["200"],
                    None => &["200", "201"],
                };
                one.answer(codes, types, own);
            }
            _ => {
                let all = verb == "deletecollection";
                one.id = id("delete", if all { "Collection" } else { "" });
                one.query(&DELETE);
                if all {
                    let kept = |(name, _): &&(&str, &str)| {
                        !matches!(*name, "allowWatchBookmarks" | "watch")
                    };
                    let list: Vec<_> = LIST.iter().filter(kept).copied().collect();
                    one.query(&list);
                }
                let options = needed.kind(self.table, "", "v1", "DeleteOptions");
                let options = options.map(|ty| type_name(self.table, ty));
                one.body = Some(Body::of(&["*/*"], options, false));
                let status = needed.kind(self.table, "", "v1", "Status");
                let status = status.map(|ty| type_name(self.table, ty));
                let answer = if row.returns_deleted && !all {
                    own
                } else {
                    status
                };
                let codes: &[&str] = if all { &["200"] } else { &["200", "202"] };
                one.answer(codes, types, answer);
            }
        }
        Some(one)
    }

    /// Streams and proxies: every method, and what lies below a proxy.
    fn connections(&self, path: &str, add: &mut dyn FnMut(String, Operation)) {
        let (_, sub) = self.row.path.split_once('/').unwrap_or_default();
        let proxy = sub == "proxy";
        let methods: &[&str] = match proxy {
            true => &["get", "put", "post", "delete", "options", "head", "patch"],
            false => &["get", "post"],
        };
        let below = [
            (path.to_owned(), ""),
            (format!("{path}/{{path}}"), "WithPath"),
        ];
        for (path, suffix) in below.into_iter().take(if proxy { 2 } else { 1 }) {
            for method in methods {
                let mut one = self.begin(method, "connect", &path);
                one.parameters.retain(|known| known.name != "pretty");
                one.parameters.extend(self.of_options(self.row.kind));
                let suffix = format!("{}{suffix}", capital(sub));
                let id = self.id("", "", self.row.namespaced, &suffix);
                let group = &self.names.group;
                let rest = id.strip_prefix(group.as_str()).unwrap_or(&id);
                one.id = format!("connect{group}{}{rest}", capital(method));
                one.answer(&["200"], &["*/*"], None);
                add(path.clone(), one);
            }
        }
    }

    /// Parameters made of the plain fields of a type of options.
    fn of_options(&self, kind: &str) -> Vec<Parameter> {
        let Some(ty) = self.table.kind("", "v1", kind) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for field in self.table.fields(ty) {
            let mut shape = self.table.shape(field.shape());
            if let Shape::List { item, .. } = shape {
                shape = self.table.shape(item);
            }
            let kind = match shape {
                Shape::Leaf(Leaf::Bool) => "boolean",
                Shape::Leaf(Leaf::Int32 | Leaf::Int64) => "integer",
                Shape::Leaf(Leaf::Str) => "string",
                _ => continue,
            };
            let name = self.table.json_name(field);
            if self.table.inlined(field) == Some("TypeMeta") {
                continue;
            }
            found.push(Parameter {
                name: name.to_owned(),
                place: "query",
                kind,
            });
        }
        found
    }

    fn begin(&self, method: &'static str, action: &str, path: &str) -> Operation {
        let mut operation = Operation::new(method, action);
        operation.tag.clone_from(&self.names.tag);
        let row = self.row;
        operation.of = Some([row.group, row.version, row.kind].map(str::to_owned));
        for name in ["name", "namespace", "path"] {
            if path.contains(&format!("{{{name}}}")) {
                operation.parameters.push(Parameter {
                    name: name.to_owned(),
                    place: "path",
                    kind: "string",
                });
            }
        }
        operation.query(&[("pretty", "string")]);
        operation
    }

    fn id(&self, action: &str, before: &str, namespaced: bool, suffix: &str) -> String {
        let namespaced = if namespaced { "Namespaced" } else { "" };
        let (group, kind) = (&self.names.group, self.kind);
        format!("{action}{group}{before}{namespaced}{kind}{suffix}")
    }

    /// Encodings of objects: custom ones have no protobuf.
    fn types(&self) -> &'static [&'static str] {
        match self.row.custom {
            Some(_) => &TYPES[..2],
            None => &TYPES,
        }
    }

    fn streams(&self) -> &'static [&'static str] {
        match self.row.custom {
            Some(_) => &STREAMS[..2],
            None => &STREAMS,
        }
    }

    /// Kinds of patches: custom objects have no strategic merge.
    fn patches(&self) -> &'static [&'static str] {
        const CUSTOM: [&str; 3] = [PATCHES[0], PATCHES[1], PATCHES[3]];
        match self.row.custom {
            Some(_) => &CUSTOM,
            None => &PATCHES,
        }
    }
}

/// A path that stands alone, for documents of one path.
pub(super) fn single(out: &mut String, one: &super::Single<'_>, schema: Option<String>) {
    let mut operation = Operation::new("get", "");
    operation.id = one.id.to_owned();
    operation.tag = one.tag.to_owned();
    operation.answer(&["200"], one.types, schema);
    operation::write(out, one.path, &[operation]);
}

/// `rbac.authorization` → `rbacAuthorization`.
pub(super) fn camel(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (index, part) in text.split(['.', '-']).enumerate() {
        if index == 0 {
            out.push_str(part);
        } else {
            out.push_str(&capital(part));
        }
    }
    out
}

pub(super) fn capital(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_ascii_uppercase().to_string() + chars.as_str(),
        None => String::new(),
    }
}
