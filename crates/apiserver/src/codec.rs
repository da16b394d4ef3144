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
    // What cannot be read at all is shown by its beginning.
    let unreadable = |error: &dyn std::fmt::Display| {
        Status::bad_request(&format!(
            "the object provided is unrecognized (must be of type {}): {error} ({})",
            gvk.kind,
            summary(body)
        ))
    };
    let malformed = |error: &dyn std::fmt::Display| {
        let mut words = error.to_string();
        if words == "exceeded max depth" {
            words.insert_str(0, "invalid character '{' ");
        }
        unreadable(&format!(
            "couldn't get version/kind; json parse error: {words}"
        ))
    };
    let mut findings = Vec::new();
    let dom = match encoding {
        Encoding::Protobuf => {
            let (_, dom) = schema::protobuf::from_wire(schema::builtin(), body, &LIMITS)
                .map_err(|error| unreadable(&error))?;
            dom
        }
        Encoding::Json | Encoding::Yaml => {
            let json;
            let source = if encoding == Encoding::Yaml {
                let parsed = schema::yaml::parse(body, &LIMITS).map_err(|e| unreadable(&e))?;
                if !parsed.duplicates.is_empty() {
                    findings.push(schema::yaml::strict_error(&parsed.duplicates));
                }
                json = parsed.dom.to_json(parsed.dom.root());
                &json[..]
            } else {
                body
            };
            match types {
                Some((table, ty)) => {
                    let decoded =
                        schema::decode_json(table, ty, source, &LIMITS).map_err(|e| match &e {
                            schema::DecodeError::Syntax(cause) => malformed(cause),
                            _ => match source.iter().find(|byte| !byte.is_ascii_whitespace()) {
                                Some(b'{') => other_kind(source, gvk).unwrap_or(described(&e)),
                                Some(first) => malformed(&not_an_object(*first)),
                                None => described(&e),
                            },
                        })?;
                    findings.extend(decoded.findings.iter().map(ToString::to_string));
                    decoded.dom
                }
                None => {
                    Dom::parse_json_within(source, &LIMITS)
                        .map_err(|e| malformed(&e))?
                        .dom
                }
            }
        }
    };
    if !matches!(dom.value(dom.root()), schema::Value::Map) {
        return Err(described(&"json: cannot unmarshal into Go value"));
    }
    check_kind(dom.as_ref(), gvk, body)?;
    Ok(Decoded { dom, findings })
}

/// What Go says of a document that is no object.
fn not_an_object(first: u8) -> String {
    let kind = match first {
        b'[' => "array",
        b'"' => "string",
        b't' | b'f' => "bool",
        _ => "number",
    };
    format!(
        r#"json: cannot unmarshal {kind} into Go value of type struct {{ APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }}"#
    )
}

/// The beginning of a body, in hexadecimal unless it looks like JSON.
/// Source: kubernetes v1.36.3 apiserver/pkg/endpoints/handlers/rest.go summarizeData.
fn summary(body: &[u8]) -> String {
    const MOST: usize = 30;
    let head = &body[..body.len().min(MOST)];
    let more = if body.len() > MOST { " ..." } else { "" };
    match body.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => format!("{}{more}", String::from_utf8_lossy(head)),
        Some(_) => {
            let hex: String = head.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{hex}{more}")
        }
    }
}

/// The refusal of a body that says it is something else, before its fields are looked at.
fn other_kind(source: &[u8], gvk: &api::Gvk) -> Option<Status> {
    let dom = Dom::parse_json_within(source, &LIMITS).ok()?.dom;
    check_kind(dom.as_ref(), gvk, source).err()
}

/// The Go package of a group's internal types.
fn internal_package(group: &str) -> &str {
    match group.split('.').next() {
        None | Some("" | "events") => "core",
        Some(first) => first,
    }
}

fn check_kind(object: schema::Ref<'_>, gvk: &api::Gvk, body: &[u8]) -> Result<(), Status> {
    let (kind, version) = (object.str("kind"), object.str("apiVersion"));
    let wanted = gvk.api_version();
    let (group, short) = match api::parse_api_version(version) {
        Ok(parsed) => parsed,
        Err(error) => {
            return Err(Status::bad_request(&format!(
                "the object provided is unrecognized (must be of type {}): {error} ({})",
                gvk.kind,
                summary(body)
            )));
        }
    };
    let (group, short) = if version.is_empty() {
        (gvk.group.as_str(), gvk.version.as_str())
    } else {
        (group, short)
    };
    let found = if kind.is_empty() { &gvk.kind } else { kind };
    if found != gvk.kind || group != gvk.group {
        let known = schema::builtin().kind(group, short, found).is_some();
        let cause = if known {
            let package = internal_package(&gvk.group);
            format!(
                "converting ({short}.{found}) to ({package}.{}): unknown conversion",
                gvk.kind
            )
        } else {
            let version = if version.is_empty() { &wanted } else { version };
            format!(
                "no kind {found:?} is registered for version {version:?} in scheme \"pkg/runtime/scheme.go:111\""
            )
        };
        return Err(Status::bad_request(&format!(
            "{found} in version {short:?} cannot be handled as a {}: {cause}",
            gvk.kind
        )));
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
