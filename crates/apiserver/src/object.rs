//! Stored objects: their keys, and how they are served from the stored buffer.
//!
//! Stored is `{"metadata":{"name":"a",…},…}`; served is the same buffer behind a head that adds
//! kind, apiVersion and resourceVersion, so that a read copies nothing but the head.

use bytes::Bytes;
use registry::{Resource, View};
use schema::Dom;

use crate::codec;

/// What every stored buffer starts with.
const START: &[u8] = b"{\"metadata\":{";

/// Key of an object, or of all objects of a namespace (empty name), below the root of a control
/// plane.
pub(crate) fn key(root: &str, prefix: &str, namespace: &str, name: &str) -> Bytes {
    let mut key =
        String::with_capacity(root.len() + prefix.len() + namespace.len() + name.len() + 4);
    key.push_str(root);
    key.push('/');
    key.push_str(prefix);
    key.push('/');
    if !namespace.is_empty() {
        key.push_str(namespace);
        key.push('/');
    }
    key.push_str(name);
    Bytes::from(key)
}

/// The served JSON of a stored object in the stored view, as slices.
pub(crate) fn splice(head: &Head, revision: u64, stored: &Bytes) -> [Bytes; 2] {
    let rest = stored.slice(START.len().min(stored.len())..);
    let mut text = Vec::with_capacity(head.text.len() + 40);
    text.extend_from_slice(&head.text);
    text.extend_from_slice(b"\"metadata\":{\"resourceVersion\":\"");
    text.extend_from_slice(revision.to_string().as_bytes());
    text.push(b'"');
    if !rest.starts_with(b"}") {
        text.push(b',');
    }
    [Bytes::from(text), rest]
}

/// `{"kind":"Pod","apiVersion":"v1",`, or `{` inside lists.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    text: Vec<u8>,
}

impl Head {
    pub(crate) fn of(resource: &Resource, view: &View) -> Head {
        let text = format!(
            "{{\"kind\":\"{}\",\"apiVersion\":\"{}\",",
            resource.kind,
            view.api_version()
        );
        Head {
            text: text.into_bytes(),
        }
    }

    /// Items of built-in lists have no kind.
    pub(crate) fn of_item(resource: &Resource, view: &View) -> Head {
        match view.types {
            registry::Types::Builtin => Head {
                text: b"{".to_vec(),
            },
            registry::Types::Custom(..) => Head::of(resource, view),
        }
    }
}

/// A stored object as a document in the stored view, with its resourceVersion.
pub(crate) fn parse(stored: &[u8], revision: u64) -> Dom {
    let mut dom = match Dom::parse_json(stored) {
        Ok(dom) => dom,
        Err(_) => {
            base::never!(true, "a stored object is not JSON");
            let mut dom = Dom::new();
            let root = dom.new_map();
            dom.set_root(root);
            dom
        }
    };
    let root = dom.root();
    let meta = dom.ensure_map(root, "metadata");
    dom.set_str(meta, "resourceVersion", &revision.to_string());
    dom
}

/// A stored object as a document in any view, with kind, apiVersion and resourceVersion.
pub(crate) fn load(resource: &Resource, view: &View, stored: &[u8], revision: u64) -> Dom {
    let mut dom = parse(stored, revision);
    to_view(resource, view, &mut dom);
    if let registry::Types::Custom(table, ty) = &view.types {
        // A definition may have got defaults after the object was written.
        let root = dom.root();
        schema::apply_defaults(table, *ty, &mut dom, root);
    }
    dom
}

/// Turns a document of the stored view into one of `view` and says so in it.
pub(crate) fn to_view(resource: &Resource, view: &View, dom: &mut Dom) {
    if let Some((_, from_stored)) = view.convert {
        from_stored(dom);
    }
    let root = dom.root();
    dom.set_str(root, "kind", &resource.kind);
    dom.set_str(root, "apiVersion", &view.api_version());
}

/// The served JSON of an object in a view.
pub(crate) fn json(
    resource: &Resource,
    view: &View,
    stored: &Bytes,
    revision: u64,
    item: bool,
) -> Vec<Bytes> {
    if view.convert.is_none() && resource.definition.is_none() {
        let head = if item {
            Head::of_item(resource, view)
        } else {
            Head::of(resource, view)
        };
        return splice(&head, revision, stored).to_vec();
    }
    let dom = load(resource, view, stored, revision);
    vec![Bytes::from(codec::to_json(
        codec::type_of(view, &resource.kind),
        &dom,
        dom.root(),
    ))]
}
