//! `metadata.managedFields`: reading, writing, order, and the cap on old updaters.
//!
//! Source: apimachinery v0.36.3 pkg/util/managedfields/internal/{managedfields,capmanagers,
//! conflict}.go.

use super::set::Set;
use crate::dom::{Dom, Node, Ref, Value};

/// How a manager came to own its fields.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Server-side apply.
    Apply,
    /// Any other write.
    Update,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manager {
    /// Name.
    pub name: String,
    /// Operation.
    pub operation: Operation,
    /// Version of the API that the paths are of.
    pub api_version: String,
    /// Subresource written through, may be empty.
    pub subresource: String,
    /// Time of the last change, RFC 3339.
    pub time: Option<String>,
    /// What it owns.
    pub fields: Set,
}

const MAX_UPDATERS: usize = 10;
const BUCKET: &str = "ancient-changes";

impl Manager {
    /// Is it the same writer? Appliers are one over all versions.
    pub(super) fn is_same(&self, other: &Manager) -> bool {
        self.name == other.name
            && self.operation == other.operation
            && self.subresource == other.subresource
            && (self.operation == Operation::Apply || self.api_version == other.api_version)
    }

    /// As conflicts name it.
    pub(super) fn title(&self) -> String {
        let mut title = format!("{:?}", self.name);
        if !self.subresource.is_empty() {
            title.push_str(&format!(" with subresource {:?}", self.subresource));
        }
        if self.operation == Operation::Update {
            title.push_str(&format!(" using {}", self.api_version));
        }
        title
    }
}

fn read_one(entry: Ref<'_>) -> Result<Manager, String> {
    let operation = match entry.str("operation") {
        "Apply" => Operation::Apply,
        "Update" => Operation::Update,
        _ => return Err("operation must be `Apply` or `Update`".to_owned()),
    };
    if entry.str("apiVersion").is_empty() {
        return Err("apiVersion must not be empty".to_owned());
    }
    match entry.str("fieldsType") {
        "FieldsV1" => {}
        "" => return Err("missing fieldsType in managed fields entry".to_owned()),
        other => {
            return Err(format!(
                "invalid fieldsType {other:?} in managed fields entry"
            ));
        }
    }
    let fields = entry
        .get("fieldsV1")
        .map(|f| Set::read(f.dom(), f.node()))
        .unwrap_or_default();
    Ok(Manager {
        name: entry.str("manager").to_owned(),
        operation,
        api_version: entry.str("apiVersion").to_owned(),
        subresource: entry.str("subresource").to_owned(),
        time: entry.get("time").and_then(Ref::as_str).map(str::to_owned),
        fields,
    })
}

/// The managers of an object.
pub(super) fn read(object: Ref<'_>) -> Result<Vec<Manager>, String> {
    let Some(metadata) = object.get("metadata") else {
        return Ok(Vec::new());
    };
    let mut all: Vec<Manager> = Vec::new();
    for entry in metadata.items("managedFields") {
        let manager = read_one(entry)?;
        match all.iter_mut().find(|known| known.is_same(&manager)) {
            Some(known) => *known = manager,
            None => all.push(manager),
        }
    }
    Ok(all)
}

/// Did a client ask to forget all managers (`[]` or `[{}]`)?
pub(super) fn is_reset(object: Ref<'_>) -> bool {
    let Some(list) = object.at(&["metadata", "managedFields"]) else {
        return false;
    };
    if list.value() != Value::List {
        return false;
    }
    let mut items = list.list();
    match (items.next(), items.next()) {
        (None, _) => true,
        (Some(only), None) => only.value() == Value::Map && only.map().next().is_none(),
        _ => false,
    }
}

/// Takes the entries out of an object.
pub(super) fn clear(dom: &mut Dom) {
    if let Some(metadata) = dom.get(dom.root(), "metadata") {
        dom.remove(metadata, "managedFields");
    }
}

/// Seconds of a time, for ordering; texts of one form order as text.
fn time_key(manager: &Manager) -> &str {
    manager.time.as_deref().unwrap_or("")
}

/// Writes the entries into an object, in upstream's order.
pub(super) fn write(dom: &mut Dom, mut managers: Vec<Manager>) {
    managers.retain(|manager| !manager.fields.is_empty());
    if managers.is_empty() {
        return clear(dom);
    }
    managers.sort_by(|a, b| {
        let key = |m: &Manager| (m.name.clone(), m.api_version.clone(), m.subresource.clone());
        a.operation
            .cmp(&b.operation)
            .then_with(|| time_key(a).cmp(time_key(b)))
            .then_with(|| key(a).cmp(&key(b)))
    });
    let list = dom.new_list();
    for manager in &managers {
        let entry = write_one(dom, manager);
        dom.push(list, entry);
    }
    let root = dom.root();
    let metadata = dom.ensure_map(root, "metadata");
    dom.set(metadata, "managedFields", list);
}

fn write_one(dom: &mut Dom, manager: &Manager) -> Node {
    let entry = dom.new_map();
    dom.set_str(entry, "manager", &manager.name);
    let operation = match manager.operation {
        Operation::Apply => "Apply",
        Operation::Update => "Update",
    };
    dom.set_str(entry, "operation", operation);
    dom.set_str(entry, "apiVersion", &manager.api_version);
    if let Some(time) = &manager.time {
        dom.set_str(entry, "time", time);
    }
    dom.set_str(entry, "fieldsType", "FieldsV1");
    let fields = manager.fields.write(dom);
    dom.set(entry, "fieldsV1", fields);
    if !manager.subresource.is_empty() {
        dom.set_str(entry, "subresource", &manager.subresource);
    }
    entry
}

/// Merges the oldest updaters of a version into one bucket, until ten are left.
pub(super) fn cap(managers: &mut Vec<Manager>) {
    let updaters = |all: &[Manager]| {
        all.iter()
            .filter(|m| m.operation == Operation::Update)
            .count()
    };
    if updaters(managers) <= MAX_UPDATERS {
        return;
    }
    managers.sort_by(|a, b| {
        time_key(a)
            .cmp(time_key(b))
            .then_with(|| a.name.cmp(&b.name))
    });
    while updaters(managers) > MAX_UPDATERS {
        let mut pair = None;
        for (i, first) in managers.iter().enumerate() {
            let same = |m: &Manager| {
                m.operation == Operation::Update && m.api_version == first.api_version
            };
            if first.operation == Operation::Update
                && let Some(j) = managers.iter().skip(i + 1).position(same)
            {
                pair = Some((i, i + 1 + j));
                break;
            }
        }
        let Some((first, second)) = pair else { return };
        let younger = managers.remove(second);
        if let Some(bucket) = managers.get_mut(first) {
            bucket.name = BUCKET.to_owned();
            bucket.subresource = String::new();
            bucket.fields = bucket.fields.union(&younger.fields);
            bucket.time = younger.time;
        }
    }
}
