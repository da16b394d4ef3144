//! Stored objects: their keys, and how they are served from the stored buffer.
//!
//! Stored is `{"metadata":{"name":"a",…},…}`; served is the same buffer behind a head that adds
//! kind, apiVersion and resourceVersion, so that a read copies nothing but the head.

use bytes::{BufMut, Bytes, BytesMut};
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

/// Writes metadata's beginning with the revision; the part of `stored` that is served behind it as
/// it is.
fn splice(revision: u64, stored: &Bytes, text: &mut impl BufMut) -> Bytes {
    let rest = stored.slice(START.len().min(stored.len())..);
    text.put_slice(b"\"metadata\":{\"resourceVersion\":\"");
    text.put_slice(Digits::of(revision).as_bytes());
    text.put_u8(b'"');
    if !rest.starts_with(b"}") {
        text.put_u8(b',');
    }
    rest
}

/// A number as text, without an allocation.
struct Digits {
    bytes: [u8; 20],
    from: usize,
}

impl Digits {
    fn of(mut number: u64) -> Digits {
        let (mut bytes, mut from) = ([b'0'; 20], 20);
        while number > 0 || from == 20 {
            from -= 1;
            bytes[from] += u8::try_from(number % 10).unwrap_or(0);
            number /= 10;
        }
        Digits { bytes, from }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.from..]
    }
}

/// Room for what `splice` writes, with a comma and a brace before it.
const SPLICED: usize = 56;

/// `{"kind":"Pod","apiVersion":"v1",`.
fn put_kind(resource: &Resource, view: &View, text: &mut impl BufMut) {
    text.put_slice(b"{\"kind\":\"");
    text.put_slice(resource.kind.as_bytes());
    text.put_slice(b"\",\"apiVersion\":\"");
    if !view.group.is_empty() {
        text.put_slice(view.group.as_bytes());
        text.put_u8(b'/');
    }
    text.put_slice(view.version.as_bytes());
    text.put_slice(b"\",");
}

fn room(resource: &Resource, view: &View) -> usize {
    SPLICED + 32 + resource.kind.len() + view.group.len() + view.version.len()
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

/// Whether a view serves what is stored as it is.
fn is_spliced(resource: &Resource, view: &View) -> bool {
    view.convert.is_none() && resource.definition.is_none()
}

/// Writes the head of an object's served JSON; the rest, which in most views is what is stored.
fn head(
    resource: &Resource,
    view: &View,
    stored: &Bytes,
    revision: u64,
    text: &mut impl BufMut,
) -> Bytes {
    if !is_spliced(resource, view) {
        return Bytes::from(converted(resource, view, stored, revision));
    }
    put_kind(resource, view, text);
    splice(revision, stored, text)
}

/// The served JSON of an object in a view, as slices behind those that are there.
pub(crate) fn json(
    resource: &Resource,
    view: &View,
    stored: &Bytes,
    revision: u64,
    parts: &mut Vec<Bytes>,
) {
    let mut text = BytesMut::with_capacity(room(resource, view));
    let rest = head(resource, view, stored, revision, &mut text);
    if !text.is_empty() {
        parts.push(text.freeze());
    }
    parts.push(rest);
}

/// The same behind other text, in one buffer.
pub(crate) fn write_json(
    resource: &Resource,
    view: &View,
    stored: &Bytes,
    revision: u64,
    out: &mut Vec<u8>,
) {
    let rest = head(resource, view, stored, revision, out);
    out.extend_from_slice(&rest);
}

/// The items of a list with commas between, as slices: what is added to all of them stands in one
/// buffer. Those of built-in lists have no kind.
pub(crate) fn items<'a>(
    resource: &Resource,
    view: &View,
    stored: impl ExactSizeIterator<Item = (&'a Bytes, u64)>,
    parts: &mut Vec<Bytes>,
) {
    let spliced = is_spliced(resource, view);
    let mut text = BytesMut::new();
    if spliced {
        text.reserve(stored.len() * SPLICED);
        parts.reserve(2 * stored.len() + 1);
    }
    for (index, (stored, revision)) in stored.enumerate() {
        if index > 0 {
            text.put_u8(b',');
        }
        if spliced {
            text.put_u8(b'{');
            let rest = splice(revision, stored, &mut text);
            parts.extend([text.split().freeze(), rest]);
        } else {
            let json = converted(resource, view, stored, revision);
            parts.extend([text.split().freeze(), Bytes::from(json)]);
        }
    }
}

fn converted(resource: &Resource, view: &View, stored: &[u8], revision: u64) -> Vec<u8> {
    let dom = load(resource, view, stored, revision);
    codec::to_json(codec::type_of(view, &resource.kind), &dom, dom.root())
}

#[cfg(test)]
mod tests;
