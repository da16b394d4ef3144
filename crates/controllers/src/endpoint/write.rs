//! The documents that the endpoint controllers send, and how they send slices.

use client::{Api, DeleteOptions, Error, Key, Object};
use parking_lot::Mutex;
use schema::{Dom, Node};

use crate::endpoint::slice::Slice;
use crate::endpoint::tracker::Tracker;

/// The object that slices are owned by.
pub(super) struct Owner<'a> {
    pub(super) kind: &'static str,
    pub(super) name: &'a str,
    pub(super) uid: &'a str,
}

/// What to send.
#[derive(Debug, Default)]
pub(super) struct Writes {
    pub(super) create: Vec<Slice>,
    pub(super) update: Vec<Slice>,
    pub(super) delete: Vec<Slice>,
}

/// Sends the slices of `service`; `known` gives the documents that updates start from.
pub(super) async fn send(
    api: &Api,
    service: &Key,
    owner: &Owner<'_>,
    writes: Writes,
    known: impl Fn(&Key) -> Option<std::sync::Arc<Object>>,
    tracker: &Mutex<Tracker>,
) -> Result<(), Error> {
    tracker.lock().begin(service);
    let sent = send_all(api, service, owner, writes, known, tracker).await;
    tracker.lock().end(service);
    sent
}

async fn send_all(
    api: &Api,
    service: &Key,
    owner: &Owner<'_>,
    writes: Writes,
    known: impl Fn(&Key) -> Option<std::sync::Arc<Object>>,
    tracker: &Mutex<Tracker>,
) -> Result<(), Error> {
    let wrote = |object: &Object| {
        let revision = object.resource_version().parse().unwrap_or(0);
        tracker.lock().wrote(service, object.uid(), revision);
    };
    for slice in &writes.create {
        match api.create(document(slice, owner, None)).await {
            Ok(object) => wrote(&object),
            // The namespace ends or is gone.
            Err(error) if error.is_not_found() || error.code() == 403 => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    for slice in &writes.update {
        let key = Key::new(slice.namespace.as_str(), slice.name.as_str());
        let Some(object) = known(&key) else { continue };
        let json = document(slice, owner, Some(&object));
        wrote(&api.update(&slice.name, json).await?);
    }
    for slice in &writes.delete {
        match api.delete(&slice.name, &DeleteOptions::default()).await {
            Ok(()) => tracker.lock().deleted(service, &slice.uid),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn document(slice: &Slice, owner: &Owner<'_>, known: Option<&Object>) -> Vec<u8> {
    let mut dom = known
        .and_then(|object| object.parse().ok())
        .unwrap_or_default();
    if known.is_none() {
        let root = dom.new_map();
        dom.set_root(root);
        dom.set_str(root, "apiVersion", "discovery.k8s.io/v1");
        dom.set_str(root, "kind", "EndpointSlice");
        let metadata = dom.ensure_map(root, "metadata");
        dom.set_str(metadata, "generateName", &format!("{}-", owner.name));
        dom.set_str(metadata, "namespace", &slice.namespace);
        let family = slice.family.map_or("", |family| family.text());
        dom.set_str(root, "addressType", family);
    }
    let root = dom.root();
    let metadata = dom.ensure_map(root, "metadata");
    put_map(&mut dom, metadata, "labels", &slice.labels);
    put_map(&mut dom, metadata, "annotations", &slice.annotations);
    if !slice.is_owned_by(owner.kind, owner.uid) {
        let list = dom.new_list();
        let entry = dom.new_map();
        dom.set_str(entry, "apiVersion", "v1");
        dom.set_str(entry, "kind", owner.kind);
        dom.set_str(entry, "name", owner.name);
        dom.set_str(entry, "uid", owner.uid);
        dom.set_bool(entry, "controller", true);
        dom.set_bool(entry, "blockOwnerDeletion", true);
        dom.push(list, entry);
        dom.set(metadata, "ownerReferences", list);
    }
    slice.write(&mut dom, root);
    dom.to_json(root)
}

/// Replaces a map of texts; an empty one is absent.
pub(super) fn put_map(
    dom: &mut Dom,
    parent: Node,
    key: &str,
    entries: &std::collections::BTreeMap<String, String>,
) {
    dom.remove(parent, key);
    for (name, value) in entries {
        let map = dom.ensure_map(parent, key);
        dom.set_str(map, name, value);
    }
}
