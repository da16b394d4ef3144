//! Columns of the table form: definitions and the cells of one object.
//!
//! A row of the table writes its columns as one text, `Name|Ready|Desired:i|IP*`: `:i` and `:b`
//! are integers and booleans, `*` is shown only when more is asked for. Relative times are
//! computed when the table is made. Knows nothing of HTTP or of the table's JSON envelope.
//! Source: kubernetes v1.36.3 pkg/printers/internalversion/printers.go.

mod cluster;
mod core;
mod network;
mod node;
mod pod;
mod storage;
mod workload;

use std::borrow::Cow;

use api::meta;
use jiff::Timestamp;
use schema::{Ref, Value};

use crate::resource::{Resource, Text};

pub(crate) use self::core::{
    config_map, controller_revision, event, lease, namespace, pod_template, resource_quota, secret,
};
pub(crate) use cluster::{
    admission_binding, api_service, certificate, definition, flow_schema, mutating_policy,
    priority_class, priority_level, role, role_binding, runtime_class, validating_policy, webhooks,
};
pub(crate) use network::{
    disruption_budget, endpoint_slice, endpoints, ingress, ingress_class, ip_address,
    network_policy, service, service_cidr,
};
pub(crate) use node::node;
pub(crate) use pod::pod;
pub(crate) use storage::{
    attributes_class, capacity, claim, class, csi_driver, csi_node, volume, volume_attachment,
};
pub(crate) use workload::{
    autoscaler, cron_job, daemon_set, deployment, device_slice, job, replica_set, resource_claim,
    stateful_set,
};

/// One column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Heading.
    pub name: Text,
    /// `string`, `integer`, `boolean`, `date`, `number`.
    pub kind: Text,
    /// `name` for the name of the object.
    pub format: Text,
    /// Words.
    pub description: Text,
    /// 0: always shown.
    pub priority: i64,
}

/// One cell.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Text.
    Str(String),
    /// A number.
    Int(i64),
    /// A fraction.
    Float(f64),
    /// A flag.
    Bool(bool),
    /// Nothing.
    Null,
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::Str(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell::Str(text)
    }
}

impl From<i64> for Cell {
    fn from(number: i64) -> Cell {
        Cell::Int(number)
    }
}

impl From<bool> for Cell {
    fn from(flag: bool) -> Cell {
        Cell::Bool(flag)
    }
}

/// The cells of one object.
pub type Cells = fn(&Resource, Ref<'_>, Timestamp) -> Vec<Cell>;

/// Columns of one resource.
#[derive(Clone, Debug)]
pub struct Columns {
    /// Headings.
    pub columns: Cow<'static, [Column]>,
    /// Cells.
    pub cells: Cells,
    /// For custom resources: where each cell is, besides the name.
    pub paths: Vec<Vec<Text>>,
}

impl Default for Columns {
    fn default() -> Columns {
        Columns::new("Name|Created At:d", |_, object, _| {
            let created = object
                .get("metadata")
                .map_or("", |meta| meta.str("creationTimestamp"));
            vec![name(object), created.into()]
        })
    }
}

impl Columns {
    /// From the short form.
    pub fn new(spec: &str, cells: Cells) -> Columns {
        let columns: Vec<Column> = spec.split('|').map(column).collect();
        Columns {
            columns: columns.into(),
            cells,
            paths: Vec::new(),
        }
    }
}

fn column(spec: &str) -> Column {
    let (spec, priority) = match spec.strip_suffix('*') {
        Some(spec) => (spec, 1),
        None => (spec, 0),
    };
    let (name, kind) = match spec.rsplit_once(':') {
        Some((name, "i")) => (name, "integer"),
        Some((name, "b")) => (name, "boolean"),
        Some((name, "d")) => (name, "date"),
        _ => (spec, "string"),
    };
    Column {
        name: name.to_owned().into(),
        kind: kind.into(),
        format: if name == "Name" {
            "name".into()
        } else {
            "".into()
        },
        description: describe(name).into(),
        priority,
    }
}

fn describe(name: &str) -> String {
    match name {
        "Name" => "Name of the object, unique within its namespace.".to_owned(),
        "Age" => "Time since the object was created.".to_owned(),
        _ => format!("{name} of the object."),
    }
}

/// The object's name.
pub(crate) fn name(object: Ref<'_>) -> Cell {
    meta::of(object).name().into()
}

/// Time since creation.
pub(crate) fn age(object: Ref<'_>, now: Timestamp) -> Cell {
    match meta::of(object).created() {
        Some(created) => since(created, now).into(),
        None => "<unknown>".into(),
    }
}

/// Time since then, in words.
pub(crate) fn since(then: Timestamp, now: Timestamp) -> String {
    api::duration::human(now.as_second() - then.as_second())
}

/// Time since the one in a field.
pub(crate) fn since_field(object: Ref<'_>, key: &str, now: Timestamp) -> Option<String> {
    let then = api::time::field(object, key)?;
    Some(since(then, now))
}

/// `a.b.c` as text.
pub(crate) fn at<'a>(object: Ref<'a>, path: &[&str]) -> &'a str {
    object.at(path).and_then(Ref::as_str).unwrap_or_default()
}

/// `a.b.c` as a number.
pub(crate) fn int_at(object: Ref<'_>, path: &[&str]) -> i64 {
    object.at(path).and_then(Ref::as_int).unwrap_or_default()
}

/// The text, or `<none>`.
pub(crate) fn or_none(text: &str) -> String {
    if text.is_empty() {
        "<none>".to_owned()
    } else {
        text.to_owned()
    }
}

/// The text, or `<unset>`.
pub(crate) fn or_unset(text: &str) -> String {
    if text.is_empty() {
        "<unset>".to_owned()
    } else {
        text.to_owned()
    }
}

/// A scalar as text.
pub(crate) fn scalar(node: Option<Ref<'_>>) -> String {
    match node.map(Ref::value) {
        Some(Value::Str(text)) => text.to_owned(),
        Some(Value::Int(number)) => number.to_string(),
        Some(Value::Float(number)) => number.to_string(),
        Some(Value::Bool(flag)) => flag.to_string(),
        _ => String::new(),
    }
}

/// Names and images of the containers of a pod template's spec.
pub(crate) fn containers(spec: Option<Ref<'_>>) -> [Cell; 2] {
    let join = |key: &str| {
        let containers = spec.into_iter().flat_map(|spec| spec.items("containers"));
        containers
            .map(|container| container.str(key))
            .collect::<Vec<_>>()
            .join(",")
    };
    [join("name").into(), join("image").into()]
}

/// A label selector as text.
pub(crate) fn selector(selector: Option<Ref<'_>>) -> String {
    match meta::label_selector(selector) {
        Ok(selector) if selector.is_nothing() => "<none>".to_owned(),
        Ok(selector) => or_none(&selector.to_string()),
        Err(_) => "<error>".to_owned(),
    }
}

/// A set of labels as a selector.
pub(crate) fn label_set(labels: Option<Ref<'_>>) -> String {
    let entries = labels.into_iter().flat_map(Ref::map);
    let mut pairs: Vec<String> = entries
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    pairs.sort();
    or_none(&pairs.join(","))
}
