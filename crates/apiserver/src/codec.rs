//! Between bytes of a request, documents, and the stored form.
//!
//! Owns no rule of any kind: which type belongs to a view, how a body becomes a document of that
//! type, and how a document is written in the encodings.

use api::Status;
use bytes::Bytes;
use registry::{Resource, Types, View};
use schema::{Dom, Limits, Node, Table, TypeId};

use crate::negotiate::Encoding;

/// Largest body of a request.
pub(crate) const MAX_BODY: usize = 3 * 1024 * 1024;

/// Bounds on a body.
pub(crate) const LIMITS: Limits = Limits {
    bytes: MAX_BODY,
    depth: 200,
    nodes: 1 << 20,
};

/// The type of a view; none for kinds that only exist as JSON.
pub(crate) fn type_of<'a>(view: &'a View, kind: &str) -> Option<(&'a Table, TypeId)> {
    match &view.types {
        Types::Builtin => {
            let table = schema::builtin();
            Some((table, table.kind(&view.group, &view.version, kind)?))
        }
        Types::Custom(table, ty) => Some((table, *ty)),
    }
}

/// A body as a document.
pub(crate) struct Decoded {
    pub(crate) dom: Dom,
    /// Unknown and duplicate fields, in upstream's words.
    pub(crate) findings: Vec<String>,
}

/// Reads a body of the type `(group, version, kind)`.
pub(crate) fn decode(
    types: Option<(&Table, TypeId)>,
    gvk: &api::Gvk,
    encoding: Encoding,
    body: &[u8],
) -> Result<Decoded, Status> {
    let described = |error: &dyn std::fmt::Display| {
        let version = gvk.api_version();
        let (_, short) = version.rsplit_once('/').unwrap_or(("", &version));
        Status::bad_request(&format!(
            "{} in version \"{short}\" cannot be handled as a {}: {error}",
            gvk.kind, gvk.kind
        ))
    };
    let mut findings = Vec::new();
    let dom = match encoding {
        Encoding::Protobuf => {
            let (_, dom) = schema::protobuf::from_wire(schema::builtin(), body, &LIMITS)
                .map_err(|error| Status::bad_request(&error.to_string()))?;
            dom
        }
        Encoding::Json | Encoding::Yaml => {
            let json;
            let source = if encoding == Encoding::Yaml {
                let parsed = schema::yaml::parse(body, &LIMITS).map_err(|e| {
                    Status::bad_request(&format!("error converting YAML to JSON: {e}"))
                })?;
                findings.extend(parsed.duplicates);
                json = parsed.dom.to_json(parsed.dom.root());
                &json[..]
            } else {
                body
            };
            match types {
                Some((table, ty)) => {
                    let decoded = schema::decode_json(table, ty, source, &LIMITS)
                        .map_err(|e| described(&e))?;
                    findings.extend(decoded.findings.iter().map(ToString::to_string));
                    decoded.dom
                }
                None => {
                    Dom::parse_json_within(source, &LIMITS)
                        .map_err(|e| described(&e))?
                        .dom
                }
            }
        }
    };
    if !matches!(dom.value(dom.root()), schema::Value::Map) {
        return Err(described(&"json: cannot unmarshal into Go value"));
    }
    check_kind(&dom, gvk)?;
    Ok(Decoded { dom, findings })
}

fn check_kind(dom: &Dom, gvk: &api::Gvk) -> Result<(), Status> {
    let object = dom.as_ref();
    let (kind, version) = (object.str("kind"), object.str("apiVersion"));
    let wanted = gvk.api_version();
    if !kind.is_empty() && kind != gvk.kind {
        let message = format!(
            "the object provided is unrecognized (must be of type {}): couldn't get version/kind; expected kind {:?}, found {kind:?}",
            gvk.kind, gvk.kind
        );
        return Err(Status::bad_request(&message));
    }
    if !version.is_empty() && version != wanted {
        let message = format!(
            "the API version in the data ({version}) does not match the expected API version ({wanted})"
        );
        return Err(Status::bad_request(&message));
    }
    Ok(())
}

/// The canonical JSON of a document, without a trailing line end.
pub(crate) fn to_json(types: Option<(&Table, TypeId)>, dom: &Dom, node: Node) -> Vec<u8> {
    match types {
        Some((table, ty)) => schema::encode_json(table, ty, dom, node),
        None => dom.to_json(node),
    }
}

/// The stored form of an object: without apiVersion, kind and resourceVersion, metadata first.
pub(crate) fn to_stored(resource: &Resource, dom: &mut Dom) -> Bytes {
    to_stored_as(resource, &resource.storage().api_version(), dom)
}

/// The same for a custom object of another version, which it says.
pub(crate) fn to_stored_as(resource: &Resource, version: &str, dom: &mut Dom) -> Bytes {
    let root = dom.root();
    dom.remove(root, "kind");
    dom.remove(root, "apiVersion");
    if let Some(meta) = dom.get(root, "metadata") {
        dom.remove(meta, "resourceVersion");
        dom.remove(meta, "selfLink");
    }
    let view = resource.storage();
    let bytes = match &view.types {
        Types::Builtin => to_json(type_of(view, &resource.kind), dom, root),
        Types::Custom(..) => {
            // Metadata first, so that reads can be spliced.
            let mut out = Vec::with_capacity(512);
            out.extend_from_slice(b"{\"metadata\":");
            match dom.get(root, "metadata") {
                Some(meta) => dom.write_json(meta, &mut out),
                None => out.extend_from_slice(b"{}"),
            }
            out.extend_from_slice(b",\"apiVersion\":");
            let mut text = String::new();
            api::text::json_string(&mut text, version);
            out.extend_from_slice(text.as_bytes());
            for (key, node) in dom.entries(root) {
                if key != "metadata" {
                    out.push(b',');
                    let mut text = String::new();
                    api::text::json_string(&mut text, key);
                    out.extend_from_slice(text.as_bytes());
                    out.push(b':');
                    dom.write_json(node, &mut out);
                }
            }
            out.push(b'}');
            out
        }
    };
    base::always!(
        bytes.starts_with(b"{\"metadata\":{"),
        "stored objects start with metadata"
    );
    Bytes::from(bytes)
}
