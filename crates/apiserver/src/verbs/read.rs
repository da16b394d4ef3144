//! GET of a collection: selection, pages, revisions, and the list in every encoding and form.
//!
//! Source: kubernetes v1.36.3 apiserver/pkg/endpoints/handlers/get.go,
//! apiserver/pkg/storage/{continue,selection_predicate}.go.

use api::Status;
use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use schema::Dom;
use schema::protobuf::{ListHead, list_message, wrap};
use store::{KeyValue, Range, Revision};
use transport::{Body, Response};

use super::selection::Selection;
use super::{Call, store_error};
use crate::negotiate::{Encoding, Form};
use crate::options::ListOptions;
use crate::{answer, codec, object, table};

/// Objects that one page of the store gives.
const PAGE: usize = 500;

/// A selected part of a collection.
pub(super) struct Selected {
    pub(super) items: Vec<KeyValue>,
    pub(super) revision: u64,
    pub(super) next: Option<String>,
    pub(super) remaining: Option<i64>,
}

impl Call {
    /// Refuses selectors that the resource does not know.
    pub(super) fn check_fields(&self, options: &ListOptions) -> Result<(), Status> {
        for term in options.fields.terms() {
            if !self.resource().has_field(&term.field) {
                let message = if self.resource().selectable.is_empty() {
                    format!(
                        "{:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
                        term.field
                    )
                } else {
                    format!("field label not supported: {}", term.field)
                };
                return Err(Status::bad_request(&message));
            }
        }
        Ok(())
    }

    pub(super) fn prefix(&self) -> Bytes {
        self.key_in(&self.info.namespace, "")
    }

    pub(super) async fn list(self) -> Result<Response, Status> {
        let options = ListOptions::parse(&self.query, false)?;
        let selected = self.select(&options).await?;
        Ok(self.answer_list(&selected))
    }

    pub(super) async fn select(&self, options: &ListOptions) -> Result<Selected, Status> {
        self.check_fields(options)?;
        let prefix = self.prefix();
        let current = self.server.config.store.current_revision().0;
        let mut range = Range::prefix(&prefix);
        let wanted = options.revision_number()?;
        let mut start_over = None;
        if !options.next.is_empty() {
            if wanted.is_some_and(|revision| revision != 0) {
                let message = "specifying resource version is not allowed when using continue";
                return Err(Status::bad_request(message));
            }
            let (revision, start) = decode_token(&options.next)?;
            let mut key = prefix.to_vec();
            key.extend_from_slice(start.as_bytes());
            range.start = Bytes::from(key);
            range.at = (revision > 0).then_some(Revision(revision));
            start_over = Some(token(NEWEST, &start));
        } else if let Some(revision) = wanted.filter(|revision| *revision > 0) {
            if revision > current {
                return Err(Status::revision_too_large(revision, current, 1));
            }
            let exact = options.revision_match == "Exact"
                || options.revision_match.is_empty() && options.limit > 0;
            range.at = exact.then_some(Revision(revision));
        }
        let selection = Selection::new(self.resource(), options);
        let (everything, marks) = (selection.is_everything(), selection.marks(self));
        let limit = if options.limit == 0 {
            usize::MAX
        } else {
            options.limit
        };
        let mut selected = Selected {
            items: Vec::new(),
            revision: 0,
            next: None,
            remaining: None,
        };
        loop {
            let step = if everything {
                limit
            } else {
                PAGE.max(options.limit)
            };
            let mut ask = range.clone().having(marks);
            if step != usize::MAX {
                ask = ask.limit(step);
                ask.count = everything;
            }
            let page = self
                .server
                .config
                .store
                .range(&ask)
                .map_err(|error| expired(&error, start_over.take()))?;
            selected.revision = page.revision.0;
            range.at = Some(page.revision);
            let last = page.items.last().map(|kv| kv.key.clone());
            let count = page.items.len();
            let items = self.seen(page.items).await?;
            for (index, kv) in items.into_iter().enumerate() {
                if !everything && !selection.has(self, &kv.value) {
                    continue;
                }
                let key = kv.key.clone();
                selected.items.push(kv);
                if selected.items.len() == limit {
                    if page.more || index + 1 < count {
                        selected.next = Some(encode_token(selected.revision, &prefix, &key));
                        if everything {
                            let left = page.remaining + (count - index - 1);
                            selected.remaining = i64::try_from(left).ok();
                        }
                    }
                    return Ok(selected);
                }
            }
            match last {
                Some(last) if page.more => range = range.after(&last),
                _ => return Ok(selected),
            }
        }
    }

    pub(super) fn answer_list(&self, selected: &Selected) -> Response {
        match &self.accepted.form {
            Form::Table(version) => self.table_list(selected, version),
            Form::Partial(version) => self.partial_list(selected, version),
            _ if self.accepted.encoding == Encoding::Protobuf => self
                .protobuf_list(selected)
                .unwrap_or_else(|| self.json_list(selected)),
            _ => self.json_list(selected),
        }
    }

    fn head(&self, selected: &Selected, kind: &str, api_version: &str) -> String {
        let mut out = format!(
            r#"{{"kind":"{kind}","apiVersion":"{api_version}","metadata":{{"resourceVersion":"{}""#,
            selected.revision
        );
        if let Some(next) = &selected.next {
            out.push_str(&format!(r#","continue":"{next}""#));
        }
        if let Some(remaining) = selected.remaining {
            out.push_str(&format!(r#","remainingItemCount":{remaining}"#));
        }
        out.push_str("},\"items\":[");
        out
    }

    fn json_list(&self, selected: &Selected) -> Response {
        let (resource, view) = (self.resource(), self.view());
        let head = self.head(selected, &resource.list_kind, &view.api_version());
        let mut parts = vec![Bytes::from(head)];
        let stored = selected.items.iter();
        let stored = stored.map(|kv| (&kv.value, kv.mod_revision.0));
        object::items(resource, view, stored, &mut parts);
        parts.push(Bytes::from_static(b"]}\n"));
        if self.accepted.encoding == Encoding::Yaml
            && let Ok(dom) = Dom::parse_json(&parts.concat())
        {
            let text = schema::yaml::to_yaml(&dom, dom.root());
            return answer::bytes(200, "application/yaml", text);
        }
        answer::bytes(200, "application/json", Body::slices(parts))
    }

    fn protobuf_list(&self, selected: &Selected) -> Option<Response> {
        let (resource, view) = (self.resource(), self.view());
        if !matches!(view.types, registry::Types::Builtin) {
            return None;
        }
        let (table, ty) = codec::type_of(view, &resource.kind)?;
        let mut messages = Vec::with_capacity(selected.items.len());
        for kv in &selected.items {
            let mut dom = object::parse(&kv.value, kv.mod_revision.0);
            if let Some((_, from_stored)) = view.convert {
                from_stored(&mut dom);
            }
            let message = schema::protobuf::encode(table, ty, &dom, dom.root());
            messages.push(
                message
                    .inspect_err(|error| {
                        tracing::error!(kind = %resource.kind, err = %error, "encode in protobuf");
                    })
                    .ok()?,
            );
        }
        let revision = selected.revision.to_string();
        let head = ListHead {
            resource_version: &revision,
            continue_token: selected.next.as_deref().unwrap_or_default(),
            remaining: selected.remaining,
        };
        let list = list_message(&head, messages.iter().map(Vec::as_slice));
        let wire = wrap(&view.api_version(), &resource.list_kind, &list);
        Some(answer::bytes(200, Encoding::Protobuf.mime(), wire))
    }

    fn table_list(&self, selected: &Selected, version: &str) -> Response {
        let (resource, view, shape) = (self.resource(), self.view(), self.shape());
        let revision = selected.revision.to_string();
        let next = selected.next.as_deref();
        let mut out = table::begin(resource, version, &revision, next, selected.remaining, true);
        for (index, kv) in selected.items.iter().enumerate() {
            let dom = self.for_table(&kv.value, kv.mod_revision.0);
            table::row(&mut out, resource, view, &dom, version, &shape, index == 0);
        }
        out.push_str("]}\n");
        table::response(out, &self.accepted)
    }

    /// Columns read the stored view, except that it must say what it is.
    pub(super) fn for_table(&self, value: &Bytes, revision: u64) -> Dom {
        let mut dom = object::parse(value, revision);
        let root = dom.root();
        dom.set_str(root, "kind", &self.resource().kind);
        dom.set_str(root, "apiVersion", &self.view().api_version());
        dom
    }

    fn partial_list(&self, selected: &Selected, version: &str) -> Response {
        let api_version = format!("meta.k8s.io/{version}");
        let mut out = self
            .head(selected, "PartialObjectMetadataList", &api_version)
            .into_bytes();
        for (index, kv) in selected.items.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            let dom = object::parse(&kv.value, kv.mod_revision.0);
            let partial = table::partial(&dom, version, "PartialObjectMetadata");
            out.extend_from_slice(&partial.to_json(partial.root()));
        }
        out.extend_from_slice(b"]}\n");
        if selected.items.is_empty() && out.ends_with(b"[]}\n") {
            out.truncate(out.len() - b"[]}\n".len());
            out.extend_from_slice(b"null}\n");
        }
        match Dom::parse_json(&out) {
            Ok(dom) if self.accepted.encoding != Encoding::Json => {
                answer::document(200, &dom, &self.accepted)
            }
            _ => answer::bytes(200, "application/json", out),
        }
    }
}

/// Stands in a token for the newest revision.
const NEWEST: i64 = -1;

pub(crate) fn encode_token(revision: u64, prefix: &[u8], last: &[u8]) -> String {
    let last = String::from_utf8_lossy(last.get(prefix.len()..).unwrap_or_default());
    token(revision.cast_signed(), &format!("{last}\0"))
}

fn token(revision: i64, start: &str) -> String {
    let mut text = format!(r#"{{"v":"meta.k8s.io/v1","rv":{revision},"start":"#);
    api::text::json_string(&mut text, start);
    text.push('}');
    URL_SAFE_NO_PAD.encode(text)
}

/// Whoever has read a part of a list whose revision is gone may go on with the newest.
fn expired(error: &store::StoreError, next: Option<String>) -> Status {
    let (store::StoreError::Compacted { .. }, Some(next)) = (error, next) else {
        return store_error(error);
    };
    let mut status = Status::expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
    );
    status.continue_token = next;
    status
}

pub(crate) fn decode_token(token: &str) -> Result<(u64, String), Status> {
    let invalid = |cause: &str| {
        Status::bad_request(&format!(
            "invalid continue token: continue key is not valid: {cause}"
        ))
    };
    // As Go: bits left over at the end do not matter.
    const LENIENT: GeneralPurpose =
        GeneralPurpose::new(&URL_SAFE, NO_PAD.with_decode_allow_trailing_bits(true));
    let bytes = LENIENT
        .decode(token.trim_end_matches('='))
        .map_err(|error| {
            let at = match error {
                base64::DecodeError::InvalidByte(at, _) => at,
                // A digit alone at the end says too little to be a byte.
                _ => token.trim_end_matches('=').len() / 4 * 4,
            };
            invalid(&format!("illegal base64 data at input byte {at}"))
        })?;
    let dom = Dom::parse_json(&bytes).map_err(|error| invalid(&error.to_string()))?;
    let token = dom.as_ref();
    let version = token.str("v");
    if version != "meta.k8s.io/v1" {
        return Err(invalid(&format!(
            "server does not recognize this encoded version {version}"
        )));
    }
    let Some(revision) = token.int("rv").filter(|revision| *revision != 0) else {
        return Err(invalid(
            "incorrect encoded start resourceVersion (version meta.k8s.io/v1)",
        ));
    };
    let start = token.str("start").to_owned();
    if start.is_empty() {
        return Err(invalid(
            "encoded start key is empty (version meta.k8s.io/v1)",
        ));
    }
    if start.contains("..") {
        return Err(invalid(&start));
    }
    Ok((u64::try_from(revision).unwrap_or(0), start))
}
