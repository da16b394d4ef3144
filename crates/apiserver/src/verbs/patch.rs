//! PATCH: JSON patch, merge patch, strategic merge patch.
//!
//! Source: kubernetes v1.36.3 apiserver/pkg/endpoints/handlers/patch.go.

use api::Status;
use registry::Types;
use schema::Dom;
use schema::patch::{self, Class, PatchError};
use transport::{Request, Response};

use super::{Call, body_of, findings, warn};
use crate::options::WriteOptions;
use crate::{codec, object};

/// The kinds of patches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Json,
    Merge,
    Strategic,
}

const ACCEPTED: [&str; 5] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
    "application/apply-patch+cbor",
];

pub(crate) fn kind_of(request: &Request, custom: bool) -> Result<Kind, Status> {
    let value = request
        .headers()
        .get(http::header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok());
    match value
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
    {
        "application/json-patch+json" => Ok(Kind::Json),
        "application/merge-patch+json" => Ok(Kind::Merge),
        "application/strategic-merge-patch+json" if !custom => Ok(Kind::Strategic),
        _ => {
            let accepted: Vec<&str> = ACCEPTED
                .iter()
                .filter(|mime| !(custom && mime.contains("strategic")))
                .filter(|mime| !mime.contains("cbor"))
                .copied()
                .collect();
            // The list of what is taken is left to those who send no type at all.
            if value.is_some() {
                let mut status = Status::unsupported_media_type(&accepted);
                status.message = "415: Unsupported Media Type".to_owned();
                status.has_details = true;
                return Err(status);
            }
            Err(Status::unsupported_media_type(&accepted))
        }
    }
}

pub(crate) fn patch_error(error: &PatchError) -> Status {
    match error.class {
        Class::BadRequest => Status::bad_request(&error.message),
        Class::TooLarge => Status::too_large(&error.message),
        Class::Unprocessable => Status::unprocessable_patch(),
        Class::Other => Status::other(500, "", &error.message),
    }
}

impl Call {
    pub(crate) async fn patch(
        self,
        request: Request,
        subresource: &str,
    ) -> Result<Response, Status> {
        let mut options = WriteOptions::parse(&self.query, "PatchOptions")?;
        if super::apply::is_apply(&request) {
            return self.apply(request, subresource, options).await;
        }
        let custom = matches!(self.view().types, Types::Custom(..));
        let kind = kind_of(&request, custom)?;
        if options.force.is_some() {
            let at = api::Path::new("force");
            let detail = "may not be specified for non-apply patch";
            let error = api::FieldError::forbidden(&at, detail);
            let gk = api::Gk::new("meta.k8s.io", "PatchOptions");
            return Err(Status::invalid(&gk, "", &[error]));
        }
        let body = body_of(request).await?;
        let patch = Dom::parse_json_within(&body, &codec::LIMITS).map_err(|error| {
            let prefix = match kind {
                Kind::Strategic => "",
                _ => "error decoding patch: ",
            };
            Status::bad_request(&format!("{prefix}{error}"))
        })?;
        let doubts: Vec<String> = match kind {
            Kind::Json => patch::unknown_members(&patch.dom)
                .into_iter()
                .map(|path| format!("json patch unknown field {path:?}"))
                .collect(),
            _ => patch
                .duplicates
                .iter()
                .map(|path| format!("duplicate field {path:?}"))
                .collect(),
        };
        let mut warnings = match options.validation.as_str() {
            "Ignore" => Vec::new(),
            _ => doubts.clone(),
        };
        // Only a patch that names a revision may fail for it; others start over.
        let names_revision = kind != Kind::Json
            && patch
                .dom
                .at(patch.dom.root(), &["metadata", "resourceVersion"])
                .is_some();
        options.names_revision = names_revision
            && !self.resource().strategy.unconditional_update
            && subresource.is_empty();
        let name = self.info.name.clone();
        let types = codec::type_of(self.view(), &self.resource().kind);
        let gvk = self.resource().gvk(self.view());
        let changed = self
            .change(&name, subresource, &options, None, &mut |old| {
                let mut dom = old.clone();
                object::to_view(self.resource(), self.view(), &mut dom);
                let gk = self.resource().group_kind();
                let refuse = |error: PatchError| patch_error(&error);
                match (kind, types) {
                    (Kind::Json, _) => patch::json_patch(&mut dom, &patch.dom).map_err(refuse)?,
                    (Kind::Strategic, Some((table, ty))) => {
                        patch::strategic_object(table, ty, &mut dom, &patch.dom).map_err(refuse)?;
                    }
                    _ => patch::merge(&mut dom, &patch.dom).map_err(refuse)?,
                }
                let json = dom.to_json(dom.root());
                let unfit = |cause: &str| {
                    let shown = match kind {
                        Kind::Strategic => patch::go_text(&patch.dom, patch.dom.root()),
                        _ => sorted(&dom),
                    };
                    let at = api::Path::new("patch");
                    let error = api::FieldError::invalid(&at, shown, cause);
                    Status::invalid(&api::Gk::default(), "", &[error])
                };
                let decoded = codec::decode(types, &gvk, crate::negotiate::Encoding::Json, &json)
                    .map_err(|status| {
                    let mark = format!("cannot be handled as a {}: ", gvk.kind);
                    match status.message.split_once(&mark) {
                        Some((_, cause)) => unfit(cause),
                        None => unfit(&status.message),
                    }
                })?;
                let mut all = doubts.clone();
                all.extend(decoded.findings.iter().cloned());
                if options.validation == "Strict" && !all.is_empty() {
                    return Err(unfit(&format!("strict decoding error: {}", all.join(", "))));
                }
                let found = findings(&gvk, &options, decoded.findings)?;
                for warning in found {
                    if !warnings.contains(&warning) {
                        warnings.push(warning);
                    }
                }
                let mut dom = decoded.dom;
                let own = api::meta::of(dom.as_ref());
                if own.name().is_empty() {
                    return Err(Status::bad_request(&format!(
                        "the name of the object ({name} based on URL) was undeterminable: name must be provided"
                    )));
                }
                if self.resource().is_namespaced()
                    && !own.namespace().is_empty()
                    && own.namespace() != self.info.namespace
                {
                    return Err(Status::bad_request(OTHER_NAMESPACE));
                }
                if own.name() != name {
                    return Err(Status::bad_request(&format!(
                        "the name of the object ({}) does not match the name on the URL ({name})",
                        own.name()
                    )));
                }
                let uid = api::meta::of(old.as_ref()).uid();
                if own.uid() != uid {
                    let at = api::Path::new("metadata").child("uid");
                    let error = api::FieldError::invalid(&at, own.uid(), "field is immutable");
                    return Err(Status::invalid(&gk, &name, &[error]));
                }
                if !names_revision {
                    let root = dom.root();
                    let map = dom.ensure_map(root, "metadata");
                    dom.remove(map, "resourceVersion");
                }
                self.to_stored_view(&mut dom);
                Ok(dom)
            })
            .await?;
        Ok(warn(self.answer_changed(changed).await?, &warnings))
    }
}

/// An object that says that it is elsewhere.
pub(super) const OTHER_NAMESPACE: &str =
    "the namespace of the provided object does not match the namespace sent on the request";

/// The object as its JSON with sorted members on top.
fn sorted(dom: &Dom) -> String {
    let mut members: Vec<(&str, schema::Node)> = dom.entries(dom.root()).collect();
    members.sort_by_key(|(key, _)| *key);
    let mut out = String::from("{");
    for (key, node) in members {
        if out.len() > 1 {
            out.push(',');
        }
        api::text::json_string(&mut out, key);
        out.push(':');
        let table = schema::builtin();
        let json = match table.named("meta.v1.ObjectMeta") {
            Some(ty) if key == "metadata" && matches!(dom.value(node), schema::Value::Map) => {
                schema::encode_json(table, ty, dom, node)
            }
            _ => dom.to_json(node),
        };
        out.push_str(&String::from_utf8_lossy(&json));
    }
    out.push('}');
    out
}

/// Applies a patch to a document of a built-in kind.
pub(crate) fn apply(kind: Kind, gvk: &api::Gvk, dom: &mut Dom, patch: &Dom) -> Result<(), Status> {
    let table = schema::builtin();
    let ty = table.kind(&gvk.group, &gvk.version, &gvk.kind);
    let done = match (kind, ty) {
        (Kind::Json, _) => patch::json_patch(dom, patch),
        (Kind::Strategic, Some(ty)) => patch::strategic_object(table, ty, dom, patch),
        _ => patch::merge(dom, patch),
    };
    done.map_err(|error| patch_error(&error))
}
