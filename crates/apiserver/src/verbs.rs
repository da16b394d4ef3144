//! The generic verbs over every row.
//!
//! A [`Call`] is one request about one resource. What all verbs share is here: contexts for
//! hooks, decoding, warnings, the text of refusals.

mod apply;
mod create;
mod delete;
mod patch;
pub(crate) mod read;
mod selection;
mod update;
mod watch;

use std::sync::Arc;

use api::{Gr, Status};
use bytes::Bytes;
use http::HeaderValue;
use parking_lot::Mutex;
use registry::{Context, Resource, View};
use schema::Dom;
use transport::{Body, Request, Response};

pub(crate) use delete::{Deleted, returns_deleted};
pub(crate) use patch::{Kind as PatchKind, apply as apply_patch, kind_of as patch_kind};
pub(crate) use update::Changed;

use crate::catalog::Served;
use crate::negotiate::Accepted;
use crate::options::WriteOptions;
use crate::request::Query;
use crate::server::Server;
use crate::table::Shape;
use crate::{RequestInfo, UserInfo, answer, codec, negotiate, object, subresource};

/// One request about one resource.
pub(crate) struct Call {
    pub(crate) server: Arc<Server>,
    pub(crate) info: RequestInfo,
    pub(crate) query: Query,
    pub(crate) user: UserInfo,
    pub(crate) accepted: Accepted,
    pub(crate) served: Served,
    /// What hooks want the client to know.
    pub(crate) warnings: Arc<Mutex<Vec<String>>>,
}

/// An object as written or read.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) value: Bytes,
    pub(crate) revision: u64,
}

impl Call {
    pub(crate) fn resource(&self) -> &Resource {
        &self.served.resource
    }

    pub(crate) fn view(&self) -> &View {
        self.served.view()
    }

    /// Group and plural as the client named them.
    pub(crate) fn gr(&self) -> Gr {
        Gr::new(&self.info.group, &self.info.resource)
    }

    pub(crate) fn key(&self, name: &str) -> Bytes {
        self.key_in(&self.info.namespace, name)
    }

    pub(crate) fn key_in(&self, namespace: &str, name: &str) -> Bytes {
        let namespace = if self.resource().is_namespaced() {
            namespace
        } else {
            ""
        };
        object::key(
            &self.server.config.root,
            &self.resource().prefix,
            namespace,
            name,
        )
    }

    pub(crate) fn shape(&self) -> Shape<'_> {
        let include = self.query.get("includeObject").and_then(|v| v.first());
        Shape {
            accepted: &self.accepted,
            include: include.map_or("Metadata", String::as_str),
            now: self.server.config.clock.now(),
        }
    }

    /// Runs `body` with the circumstances of this request.
    pub(crate) fn with<R>(
        &self,
        namespace: &str,
        subresource: &str,
        dry_run: bool,
        body: impl FnOnce(&Context<'_>) -> R,
    ) -> R {
        let below = |bound| self.server.below(bound);
        body(&Context {
            resource: self.resource(),
            view: self.view(),
            now: self.server.config.clock.now(),
            user: &self.user,
            namespace,
            subresource,
            lookup: &self.server.lookup,
            below: &below,
            dry_run,
            service_ranges: &self.server.config.service_ranges,
        })
    }

    pub(crate) fn read(&self, name: &str) -> Result<Stored, Status> {
        match self.server.config.store.get(&self.key(name)) {
            Some(found) => Ok(Stored {
                value: found.value,
                revision: found.mod_revision.0,
            }),
            None => Err(Status::not_found(&self.gr(), name)),
        }
    }

    /// A stored object in the request's version.
    pub(crate) async fn show(&self, code: u16, stored: &Stored) -> Result<Response, Status> {
        let value = self.seen_value(&stored.value).await?;
        let revision = stored.revision;
        Ok(self.answer(code, &Stored { value, revision }))
    }

    fn answer(&self, code: u16, stored: &Stored) -> Response {
        crate::answer::stored(
            code,
            self.resource(),
            self.view(),
            &stored.value,
            stored.revision,
            &self.shape(),
        )
    }

    /// Reads a body as an object of this view and turns it into the stored view with defaults.
    pub(crate) fn decode(
        &self,
        encoding: negotiate::Encoding,
        body: &[u8],
        options: &WriteOptions,
    ) -> Result<(Dom, Vec<String>), Status> {
        let types = codec::type_of(self.view(), &self.resource().kind);
        let gvk = self.resource().gvk(self.view());
        let decoded = codec::decode(types, &gvk, encoding, body)?;
        let warnings = findings(&gvk, options, decoded.findings)?;
        let mut dom = decoded.dom;
        self.to_stored_view(&mut dom);
        Ok((dom, warnings))
    }

    /// From the request's view to the stored one, with defaults.
    pub(crate) fn to_stored_view(&self, dom: &mut Dom) {
        if let Some((to_stored, _)) = self.view().convert {
            to_stored(dom);
        }
        self.default(dom);
    }

    /// The view in which objects are while a request changes them: the stored one, or that of the
    /// request for custom resources.
    pub(crate) fn written_view(&self) -> &View {
        match self.resource().definition {
            Some(_) => self.view(),
            None => self.resource().storage(),
        }
    }

    pub(crate) fn default(&self, dom: &mut Dom) {
        let resource = self.resource();
        if let Some((table, ty)) = codec::type_of(self.written_view(), &resource.kind) {
            let root = dom.root();
            schema::apply_defaults(table, ty, dom, root);
        }
        (resource.strategy.default)(dom);
    }

    fn supports(&self, verb: registry::Verb) -> bool {
        self.resource().verbs.has(verb)
    }

    /// A warning that goes with the answer, once.
    pub(crate) fn tell(&self, warning: String) {
        let mut warnings = self.warnings.lock();
        if !warning.is_empty() && !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }

    /// What the kind's rules warn of.
    pub(crate) fn tell_about(&self, new: schema::Ref<'_>, old: Option<schema::Ref<'_>>) {
        let mut found = Vec::new();
        (self.resource().strategy.warn)(new, old, &mut found);
        for warning in found {
            self.tell(warning);
        }
    }

    /// Removes owners that are there twice.
    pub(crate) fn distinct_owners(&self, dom: &mut Dom) {
        let Some(list) = dom.at(dom.root(), &["metadata", "ownerReferences"]) else {
            return;
        };
        let owners: Vec<schema::Node> = dom.items(list).collect();
        let (mut kept, mut twice): (Vec<schema::Node>, Vec<(usize, String)>) = Default::default();
        for (index, owner) in owners.into_iter().enumerate() {
            if kept.iter().any(|other| dom.equal(owner, dom, *other)) {
                twice.push((index, dom.at_node(owner).str("uid").to_owned()));
            } else {
                kept.push(owner);
            }
        }
        if twice.is_empty() {
            return;
        }
        for (index, _) in twice.iter().rev() {
            dom.remove_item(list, *index);
        }
        let uids: Vec<String> = twice.into_iter().map(|(_, uid)| uid).collect();
        self.tell(format!(
            ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}",
            uids.join(", ")
        ));
    }

    /// What a table may include.
    fn check_shape(&self) -> Result<(), Status> {
        let include = self.shape().include;
        let table = matches!(self.accepted.form, negotiate::Form::Table(_));
        if table && !["", "None", "Metadata", "Object"].contains(&include) {
            return Err(Status::bad_request(&format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: {include:?}: must be 'Metadata', 'Object', 'None', or empty"
            )));
        }
        Ok(())
    }

    /// Runs the verb and adds what hooks warn of.
    pub(crate) async fn run(self, request: Request) -> Result<Response, Status> {
        self.check_shape()?;
        let warnings = Arc::clone(&self.warnings);
        self.tell(self.resource().strategy.deprecated.to_owned());
        // A refusal is said in the client's encoding, but never as another form.
        let plain = negotiate::accept(request.headers(), false, false);
        let answer = self.dispatch(request).await;
        let warnings = std::mem::take(&mut *warnings.lock());
        match (answer, plain) {
            (Ok(response), _) => Ok(warn(response, &warnings)),
            (Err(status), Ok(plain)) if !warnings.is_empty() => {
                Ok(warn(answer::status(&status, &plain), &warnings))
            }
            (Err(status), _) => Err(status),
        }
    }

    /// The verb of the request.
    async fn dispatch(self, request: Request) -> Result<Response, Status> {
        use registry::Verb;
        let info = &self.info;
        if !info.subresource.is_empty() {
            return Box::pin(subresource::run(self, request)).await;
        }
        if self.resource().is_namespaced()
            && info.namespace.is_empty()
            && !matches!(info.verb.as_str(), "list" | "watch")
            && !(info.verb == "get" && info.name.is_empty())
        {
            // POST and DELETE to the collection of all namespaces.
            return Err(
                if info.verb == "create" || info.verb == "deletecollection" {
                    Status::method_not_allowed()
                } else {
                    Status::path_not_found()
                },
            );
        }
        if request.method() == http::Method::HEAD {
            return Err(Status::method_not_allowed());
        }
        let verb = match info.verb.as_str() {
            "create" => Verb::Create,
            "get" => Verb::Get,
            "list" => Verb::List,
            "watch" => Verb::Watch,
            "update" => Verb::Update,
            "patch" => Verb::Patch,
            "delete" => Verb::Delete,
            "deletecollection" => Verb::DeleteCollection,
            _ => return Err(Status::method_not_allowed()),
        };
        let about_one = match verb {
            Verb::Create => info.name.is_empty(),
            Verb::Update | Verb::Patch => !info.name.is_empty(),
            _ => true,
        };
        if !about_one || !self.supports(verb) {
            return Err(Status::method_not_allowed());
        }
        if !self.resource().is_stored() {
            return Box::pin(subresource::review(self, request)).await;
        }
        // What a read does not need is not part of every request's future.
        match verb {
            Verb::Get => {
                self.preconditions_of_get()?;
                let stored = self.read(&self.info.name)?;
                self.show(200, &stored).await
            }
            Verb::List => self.list().await,
            Verb::Watch => Box::pin(self.watch()).await,
            Verb::Create => {
                let encoding = negotiate::content_type(request.headers())?;
                let body = body_of(request).await?;
                Box::pin(self.create(encoding, &body)).await
            }
            Verb::Update => {
                let encoding = negotiate::content_type(request.headers())?;
                let body = body_of(request).await?;
                Box::pin(self.put(encoding, &body, "")).await
            }
            Verb::Patch => Box::pin(self.patch(request, "")).await,
            Verb::Delete => Box::pin(self.delete(request)).await,
            Verb::DeleteCollection => Box::pin(self.delete_collection(request)).await,
        }
    }

    /// A read may ask for a revision that is not there yet.
    fn preconditions_of_get(&self) -> Result<(), Status> {
        let wanted = self.query.get("resourceVersion").and_then(|v| v.first());
        let Some(wanted) = wanted.filter(|text| !text.is_empty()) else {
            return Ok(());
        };
        let Ok(wanted) = wanted.parse::<u64>() else {
            return Err(Status::plain_error(&format!(
                "resourceVersion: Invalid value: {wanted:?}: strconv.ParseUint: parsing {wanted:?}: invalid syntax"
            )));
        };
        let current = self.server.config.store.current_revision().0;
        if wanted > current {
            return Err(Status::revision_too_large(wanted, current, 1));
        }
        Ok(())
    }
}

/// The rest of a body that is too large is read up to here, so that its sender hears why.
const DRAINED: usize = 32 << 20;

/// The body within bounds.
pub(crate) async fn body_of(request: Request) -> Result<Bytes, Status> {
    let mut body: Body = request.into_body();
    let mut all = bytes::BytesMut::new();
    let mut read = 0;
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| Status::bad_request(&error.to_string()))?;
        read += chunk.len();
        if read <= codec::MAX_BODY {
            all.extend_from_slice(&chunk);
        } else if read > DRAINED {
            break;
        }
    }
    if read > codec::MAX_BODY {
        let limit = codec::MAX_BODY;
        return Err(Status::too_large(&format!("limit is {limit}")));
    }
    Ok(all.freeze())
}

/// What strict, warning or ignoring validation makes of findings.
pub(crate) fn findings(
    gvk: &api::Gvk,
    options: &WriteOptions,
    findings: Vec<String>,
) -> Result<Vec<String>, Status> {
    match options.validation.as_str() {
        "Ignore" => Ok(Vec::new()),
        "Strict" if !findings.is_empty() => Err(Status::bad_request(&format!(
            "{} in version \"{}\" cannot be handled as a {}: strict decoding error: {}",
            gvk.kind,
            gvk.version,
            gvk.kind,
            findings.join(", ")
        ))),
        _ => Ok(findings
            .iter()
            .flat_map(
                |found| match found.strip_prefix("yaml: unmarshal errors:\n") {
                    Some(lines) => lines.lines().map(str::trim).map(str::to_owned).collect(),
                    None => vec![found.clone()],
                },
            )
            .collect()),
    }
}

/// Adds `Warning` headers.
pub(crate) fn warn(mut response: Response, warnings: &[String]) -> Response {
    for warning in warnings {
        let text = warning.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{text}\"")) {
            response.headers_mut().append(http::header::WARNING, value);
        }
    }
    response
}

/// A failed write in the API's words.
pub(crate) fn store_error(error: &store::StoreError) -> Status {
    match error {
        store::StoreError::TooLarge { bytes, limit, .. } => {
            Status::too_large(&format!("{bytes} bytes are more than the limit of {limit}"))
        }
        store::StoreError::Compacted { .. } => {
            Status::expired("The resourceVersion for the provided list is too old.")
        }
        store::StoreError::Closed => Status::service_unavailable("the server is shutting down"),
        store::StoreError::Full { .. } => {
            Status::service_unavailable(&base::Chain(error).to_string())
        }
        other => {
            tracing::error!(err = %base::Chain(other), "store");
            Status::internal(&base::Chain(other).to_string())
        }
    }
}
