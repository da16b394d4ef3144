//! The two operations: recording a plain write, and applying a configuration.
//!
//! Source: structured-merge-diff v6 merge/{update,conflict}.go; apimachinery v0.36.3
//! pkg/util/managedfields/internal/{fieldmanager,structuredmerge,managedfieldsupdater,
//! skipnonapplied,stripmeta,lastappliedmanager,lastappliedupdater,conflict}.go.

use std::sync::OnceLock;

use super::compare::{Comparison, compare};
use super::fields::{fields, misfit};
use super::managers::{self, Manager, Operation};
use super::merge::merge;
use super::place::Place;
use super::remove::{remove, with_keys, with_named_fields};
use super::set::Set;
use super::{ApplyError, Conflict};
use crate::dom::{Dom, Node, Ref, Value};
use crate::encode::encode_json;
use crate::table::{Table, TypeId};

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The manager that gets what an object held before anyone applied to it.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Who writes what kind of object.
#[derive(Copy, Clone, Debug)]
pub struct Request<'a> {
    /// The table that has the type.
    pub table: &'a Table,
    /// The object's type.
    pub ty: TypeId,
    /// The version written in, as in `apiVersion`.
    pub api_version: &'a str,
    /// The kind.
    pub kind: &'a str,
    /// Name of the manager.
    pub manager: &'a str,
    /// Subresource written through, empty for the object itself.
    pub subresource: &'a str,
    /// Now, as RFC 3339 with seconds.
    pub time: &'a str,
    /// Fields that the server resets on this write and that nobody owns through it.
    pub ignored: Option<&'a Set>,
}

impl<'a> Request<'a> {
    fn place(&self) -> Place<'a> {
        Place::of_type(self.table, self.ty)
    }

    fn manager(&self, operation: Operation) -> Manager {
        let name = if self.manager.is_empty() {
            "unknown"
        } else {
            self.manager
        };
        Manager {
            name: name.to_owned(),
            operation,
            api_version: self.api_version.to_owned(),
            subresource: self.subresource.to_owned(),
            time: Some(self.time.to_owned()),
            fields: Set::default(),
        }
    }

    fn compare(&self, old: &Dom, new: &Dom) -> Comparison {
        let found = compare(
            self.table,
            self.place(),
            (old, old.root()),
            (new, new.root()),
        );
        found.ignoring(self.ignored)
    }
}

/// Fields that no manager owns.
fn nobody_owns() -> &'static Set {
    static SET: OnceLock<Set> = OnceLock::new();
    SET.get_or_init(|| {
        let mut set = Set::of_fields(&[&["apiVersion"], &["kind"], &["metadata"]]);
        for name in [
            "name",
            "namespace",
            "creationTimestamp",
            "selfLink",
            "uid",
            "clusterName",
            "generation",
            "managedFields",
            "resourceVersion",
        ] {
            set = set.union(&Set::of_fields(&[&["metadata", name]]));
        }
        set
    })
}

/// What an object of the type holds before anyone sets a field: Go's zero value has the
/// structs that it holds by value, so nobody comes to own them by creating the object.
fn empty_object(request: &Request<'_>) -> Dom {
    let mut dom = Dom::new();
    let root = dom.new_map();
    dom.set_root(root);
    bare(request, &dom)
}

/// A copy in canonical form without the entries themselves, which nobody compares.
fn bare(request: &Request<'_>, dom: &Dom) -> Dom {
    let mut copy = dom.clone();
    managers::clear(&mut copy);
    if request.table.lenient(request.ty) {
        return copy;
    }
    let json = encode_json(request.table, request.ty, &copy, copy.root());
    Dom::parse_json(&json).unwrap_or(copy)
}

/// Records a create (`live` is `None`), update or patch in `metadata.managedFields` of `new`.
pub fn update(request: &Request<'_>, live: Option<&Dom>, new: &mut Dom) {
    let own = new.at(new.root(), &["metadata", "managedFields"]);
    let theirs = live.and_then(|live| {
        let list = live.at(live.root(), &["metadata", "managedFields"])?;
        Some((live, list))
    });
    let given = own.is_some_and(|own| !new.is_empty(own)) && request.subresource.is_empty();
    let unchanged = match (given, own, theirs) {
        (true, Some(own), Some((live, list))) => new.equal(own, live, list),
        (false, ..) => !managers::is_reset(new.as_ref()) || !request.subresource.is_empty(),
        _ => false,
    };
    let target = bare(request, new);
    let found = match live {
        Some(live) => request.compare(&bare(request, live), &target),
        None => request.compare(&empty_object(request), &target),
    };
    if found.is_empty() && unchanged {
        // Nothing to record: the entries stay as they are.
        managers::clear(new);
        if let Some((live, list)) = theirs {
            let list = new.import(live, list);
            let root = new.root();
            let metadata = new.ensure_map(root, "metadata");
            new.set(metadata, "managedFields", list);
        }
        return;
    }
    let of_live = || live.map(|live| managers::read(live.as_ref()).unwrap_or_default());
    let known = if !request.subresource.is_empty() {
        of_live()
    } else if managers::is_reset(new.as_ref()) {
        None
    } else {
        match managers::read(new.as_ref()) {
            Ok(own) if !own.is_empty() => Some(own),
            _ => of_live(),
        }
    };
    let mut known = known.unwrap_or_default();
    managers::clear(new);
    // An object that nobody tracked so far stays untracked until someone applies to it.
    if known.is_empty() && live.is_some() {
        return;
    }
    record(
        request,
        found,
        &mut known,
        request.manager(Operation::Update),
    );
    managers::cap(&mut known);
    managers::write(new, known);
}

/// Moves ownership of what changed to `writer`.
fn record(request: &Request<'_>, found: Comparison, known: &mut Vec<Manager>, writer: Manager) {
    if found.is_empty() {
        return;
    }
    let changed = found.modified.union(&found.added);
    for manager in known.iter_mut() {
        manager.fields = manager
            .fields
            .difference(&changed)
            .difference(&found.removed);
    }
    known.retain(|manager| !manager.fields.is_empty());
    let mut fields = changed.difference(nobody_owns());
    if let Some(ignored) = request.ignored {
        fields = fields.without_below(ignored);
    }
    if fields.is_empty() {
        return;
    }
    match known.iter_mut().find(|manager| manager.is_same(&writer)) {
        Some(manager) => {
            manager.fields = manager.fields.union(&fields);
            manager.time = writer.time;
        }
        None => known.push(Manager { fields, ..writer }),
    }
}

/// Applies `config` to `live` (`None` creates). The result carries its managers; defaults,
/// admission and validation are still to come.
///
/// # Errors
/// When the configuration is not of the request's kind, does not fit its type, or conflicts
/// with other managers and `force` is not set.
pub fn apply(
    request: &Request<'_>,
    live: Option<&Dom>,
    config: &Dom,
    force: bool,
) -> Result<Dom, ApplyError> {
    let object = config.as_ref();
    check_kind(request, object)?;
    if let Some(cause) = misfit(request.table, config, config.root(), request.place(), "") {
        let metadata = object.get("metadata");
        let name = |key| metadata.map_or("", |m| m.str(key));
        let object = format!(
            "{}/{}; {}, Kind={}",
            name("namespace"),
            name("name"),
            gv(request.api_version),
            request.kind
        );
        return Err(ApplyError::Typed { object, cause });
    }
    let known = match live {
        Some(live) => managers::read(live.as_ref()).map_err(|cause| {
            ApplyError::BadRequest(format!("failed to decode managed fields: {cause}"))
        })?,
        None => Vec::new(),
    };
    let old = live.map_or_else(|| empty_object(request), |live| bare(request, live));
    let mut known = known;
    if known.is_empty() && live.is_some() {
        let mut writer = request.manager(Operation::Update);
        writer.name = BEFORE_FIRST_APPLY.to_owned();
        let untracked = Request {
            ignored: None,
            ..*request
        };
        let found = untracked.compare(&empty_object(request), &old);
        record(&untracked, found, &mut known, writer);
    }
    let result = match try_apply(request, &old, config, known.clone(), force) {
        Err(conflicts) if request.manager == "kubectl" => {
            let allowed = last_applied_fields(request, &old);
            let left: Vec<_> = conflicts
                .into_iter()
                .filter(|(_, path)| !allowed.contains(path))
                .collect();
            if left.is_empty() {
                try_apply(request, &old, config, known, true)
            } else {
                Err(left)
            }
        }
        result => result,
    };
    let (mut new, known) = result.map_err(conflict_error)?;
    if !request.table.lenient(request.ty) {
        let root = new.root();
        crate::patch::drop_nulls(&mut new, root);
    }
    if request.manager == "kubectl" {
        refresh_last_applied(&mut new, config);
    }
    managers::write(&mut new, known);
    Ok(new)
}

fn gv(api_version: &str) -> String {
    if api_version.contains('/') {
        api_version.to_owned()
    } else {
        format!("/{api_version}")
    }
}

fn check_kind(request: &Request<'_>, object: Ref<'_>) -> Result<(), ApplyError> {
    let (version, kind) = (object.str("apiVersion"), object.str("kind"));
    if version != request.api_version || kind != request.kind {
        let text = format!("invalid object type: {}, Kind={kind}", gv(version));
        return Err(ApplyError::BadRequest(text));
    }
    let entries = object.at(&["metadata", "managedFields"]);
    if entries.is_some_and(|entries| !entries.is_null()) {
        return Err(ApplyError::BadRequest(
            "metadata.managedFields must be nil".to_owned(),
        ));
    }
    Ok(())
}

/// Manager and path of each conflict.
type Conflicts = Vec<(String, String)>;

fn try_apply(
    request: &Request<'_>,
    live: &Dom,
    config: &Dom,
    mut known: Vec<Manager>,
    force: bool,
) -> Result<(Dom, Vec<Manager>), Conflicts> {
    let (table, place) = (request.table, request.place());
    // `misfit` has found everything that could keep the two from merging.
    let merged = merge(table, place, live, config).unwrap_or_else(|_| live.clone());
    let mut applied = fields(table, config, config.root(), place);
    if let Some(ignored) = request.ignored {
        applied = applied.without_below(ignored);
    }
    let writer = request.manager(Operation::Apply);
    let at = known.iter().position(|manager| manager.is_same(&writer));
    let (at, last) = match at {
        Some(at) => (at, known.get(at).map(|manager| manager.fields.clone())),
        None => {
            known.push(Manager {
                time: None,
                ..writer.clone()
            });
            (known.len() - 1, None)
        }
    };
    if let Some(own) = known.get_mut(at) {
        own.fields = applied;
        own.api_version.clone_from(&writer.api_version);
    }
    let new = match last.filter(|last| !last.is_empty()) {
        Some(last) => prune(request, merged, &known, &last),
        None => merged,
    };
    let found = request.compare(live, &new);
    let changed = found.modified.union(&found.added);
    let mut conflicts = Vec::new();
    for (i, manager) in known.iter_mut().enumerate() {
        if i == at {
            continue;
        }
        let disputed = manager.fields.intersection(&changed);
        if !disputed.is_empty() {
            let title = manager.title();
            conflicts.extend(
                disputed
                    .paths()
                    .into_iter()
                    .map(|path| (title.clone(), path)),
            );
        }
        manager.fields = manager
            .fields
            .difference(&disputed)
            .difference(&found.removed);
    }
    if !force && !conflicts.is_empty() {
        return Err(conflicts);
    }
    let same = live.equal(live.root(), &new, new.root());
    if let Some(own) = known.get_mut(at) {
        own.fields = own.fields.difference(nobody_owns());
        if !same {
            own.time = writer.time;
        }
    }
    Ok((new, known))
}

/// Takes away what the manager applied last time and neither it nor anyone else owns now.
fn prune(request: &Request<'_>, merged: Dom, known: &[Manager], last: &Set) -> Dom {
    let (table, place) = (request.table, request.place());
    let named = |set: &Set| with_named_fields(table, place, set);
    let all = |dom: &Dom| named(&fields(table, dom, dom.root(), place));
    let last = named(last);
    let pruned = remove(table, place, &merged, &last);
    let owned = known
        .iter()
        .fold(Set::default(), |all, manager| all.union(&manager.fields));
    let merged_fields = all(&merged);
    // Back comes what someone owns, with the keys of items, which nobody need own …
    let keep = all(&pruned).union(&with_keys(&named(&owned)));
    let pruned = remove(table, place, &merged, &merged_fields.difference(&keep));
    // … and what hung on removed items without having been applied.
    let gone = merged_fields.difference(&all(&pruned)).intersection(&last);
    remove(table, place, &merged, &gone)
}

/// What client-side apply set last and is still as it set it: the same tool may take it over.
fn last_applied_fields(request: &Request<'_>, live: &Dom) -> Vec<String> {
    let annotation = live.as_ref().at(&["metadata", "annotations", LAST_APPLIED]);
    let text = annotation.and_then(Ref::as_str).unwrap_or_default();
    let Ok(last) = Dom::parse_json(text.as_bytes()) else {
        return Vec::new();
    };
    if last.as_ref().str("apiVersion") != request.api_version {
        return Vec::new();
    }
    let set = fields(request.table, &last, last.root(), request.place());
    let found = compare(
        request.table,
        request.place(),
        (&last, last.root()),
        (live, live.root()),
    );
    let changed = found.modified.union(&found.added).union(&found.removed);
    set.difference(&changed).paths()
}

/// Keeps the annotation of client-side apply in step, where there is one.
fn refresh_last_applied(new: &mut Dom, config: &Dom) {
    let Some(annotations) = new.at(new.root(), &["metadata", "annotations"]) else {
        return;
    };
    let is_set = new
        .get(annotations, LAST_APPLIED)
        .and_then(|node| new.as_str(node));
    if is_set.is_none_or(str::is_empty) {
        return;
    }
    let mut config = config.clone();
    if let Some(own) = config.at(config.root(), &["metadata", "annotations"]) {
        config.remove(own, LAST_APPLIED);
    }
    let mut text = Vec::new();
    write_sorted(&config, config.root(), &mut text);
    text.push(b'\n');
    new.set_str(annotations, LAST_APPLIED, &String::from_utf8_lossy(&text));
}

/// JSON with sorted keys, as upstream prints objects without a Go type.
fn write_sorted(dom: &Dom, node: Node, out: &mut Vec<u8>) {
    match dom.value(node) {
        Value::Map => {
            let mut entries: Vec<_> = dom.entries(node).collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            for (i, (key, value)) in entries.into_iter().enumerate() {
                out.push(if i == 0 { b'{' } else { b',' });
                crate::dom::write_string(out, key);
                out.push(b':');
                write_sorted(dom, value, out);
            }
            out.extend_from_slice(if dom.is_empty(node) { b"{}" } else { b"}" });
        }
        Value::List => {
            for (i, item) in dom.items(node).enumerate() {
                out.push(if i == 0 { b'[' } else { b',' });
                write_sorted(dom, item, out);
            }
            out.extend_from_slice(if dom.is_empty(node) { b"[]" } else { b"]" });
        }
        _ => dom.write_json(node, out),
    }
}

fn conflict_error(mut all: Conflicts) -> ApplyError {
    all.sort();
    let message = match all.as_slice() {
        [(manager, path)] => {
            format!("Apply failed with 1 conflict: conflict with {manager}: {path}")
        }
        many => {
            let mut lines = Vec::new();
            let mut last = None;
            for (manager, path) in many {
                if last != Some(manager) {
                    lines.push(format!("conflicts with {manager}:"));
                    last = Some(manager);
                }
                lines.push(format!("- {path}"));
            }
            format!(
                "Apply failed with {} conflicts: {}",
                many.len(),
                lines.join("\n")
            )
        }
    };
    let conflicts = all
        .into_iter()
        .map(|(manager, path)| Conflict { manager, path })
        .collect();
    ApplyError::Conflicts { message, conflicts }
}
