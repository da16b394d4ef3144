//! Responses: objects, lists and errors in the encoding and form that the client asked for.

use api::Status;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use registry::{Resource, View};
use schema::Dom;
use transport::{Body, Response};

use crate::negotiate::{Accepted, Encoding, Form};
use crate::{codec, object, table};

/// A response with a body of that type.
pub(crate) fn bytes(code: u16, mime: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or_default();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(mime));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// Plain text.
pub(crate) fn text(code: u16, body: impl Into<String>) -> Response {
    bytes(code, "text/plain; charset=utf-8", Body::from(body.into()))
}

/// An error, or plain success.
pub(crate) fn status(status: &Status, accepted: &Accepted) -> Response {
    let json = status.to_json();
    let code = status.code();
    let mut response = match Dom::parse_json(&json) {
        Ok(dom) if accepted.encoding != Encoding::Json => document(code, &dom, accepted),
        _ => bytes(code, "application/json", line(json)),
    };
    if status.retry_after_seconds > 0
        && let Ok(value) = HeaderValue::from_str(&status.retry_after_seconds.to_string())
    {
        response
            .headers_mut()
            .insert(http::header::RETRY_AFTER, value);
    }
    response
}

fn line(mut json: Vec<u8>) -> Vec<u8> {
    if json.last() != Some(&b'\n') {
        json.push(b'\n');
    }
    json
}

/// A document that says its kind and version.
pub(crate) fn document(code: u16, dom: &Dom, accepted: &Accepted) -> Response {
    let root = dom.root();
    match accepted.encoding {
        Encoding::Protobuf => match schema::protobuf::to_wire(schema::builtin(), dom, root) {
            Ok(wire) => bytes(code, Encoding::Protobuf.mime(), wire),
            Err(_) => bytes(code, "application/json", line(json_of(dom))),
        },
        Encoding::Yaml => bytes(
            code,
            "application/yaml",
            schema::yaml::to_yaml(dom, root).into_bytes(),
        ),
        Encoding::Json => bytes(code, "application/json", line(json_of(dom))),
    }
}

/// Canonical JSON of a document that says its kind and version.
pub(crate) fn json_of(dom: &Dom) -> Vec<u8> {
    let object = dom.as_ref();
    let kind = api::meta::gvk(object);
    let table = schema::builtin();
    let ty = table.kind(&kind.group, &kind.version, &kind.kind);
    codec::to_json(ty.map(|ty| (table, ty)), dom, dom.root())
}

/// One stored object.
pub(crate) fn stored(
    code: u16,
    resource: &Resource,
    view: &View,
    value: &Bytes,
    revision: u64,
    shape: &table::Shape<'_>,
) -> Response {
    let accepted = shape.accepted;
    if accepted.form == Form::Plain && accepted.encoding == Encoding::Json {
        let mut parts = Vec::with_capacity(3);
        object::json(resource, view, value, revision, &mut parts);
        parts.push(Bytes::from_static(b"\n"));
        return bytes(code, "application/json", Body::slices(parts));
    }
    let dom = object::load(resource, view, value, revision);
    one(code, resource, view, &dom, shape)
}

/// One object as a document of its view.
pub(crate) fn one(
    code: u16,
    resource: &Resource,
    view: &View,
    dom: &Dom,
    shape: &table::Shape<'_>,
) -> Response {
    match &shape.accepted.form {
        Form::Table(version) => {
            let mut out = table::begin(
                resource,
                version,
                dom.as_ref()
                    .at(&["metadata", "resourceVersion"])
                    .and_then(schema::Ref::as_str)
                    .unwrap_or(""),
                None,
                None,
                true,
            );
            table::row(&mut out, resource, view, dom, version, shape, true);
            out.push_str("]}\n");
            table::response(out, shape.accepted)
        }
        Form::Partial(version) => {
            let partial = table::partial(dom, version, "PartialObjectMetadata");
            document(code, &partial, shape.accepted)
        }
        _ => {
            let types = codec::type_of(view, &resource.kind);
            match (shape.accepted.encoding, types) {
                (Encoding::Json, types) => {
                    let json = codec::to_json(types, dom, dom.root());
                    bytes(code, "application/json", line(json))
                }
                _ => document(code, dom, shape.accepted),
            }
        }
    }
}
