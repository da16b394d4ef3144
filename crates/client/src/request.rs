//! Requests on one resource: the paths, parameters and bodies of the API's verbs.

use std::fmt::Write as _;
use std::sync::Arc;

use api::{Gvr, Status, reason};
use base::Rng;
use bytes::Bytes;
use http::{HeaderValue, Method, Uri, header};
use parking_lot::Mutex;
use transport::{Body, Transport};

use crate::error::read_status;
use schema::scan;

use crate::{Error, Object, Watch};

/// No single answer but a list is larger; a list is bounded by the server's page.
const ANSWER_LIMIT_BYTES: usize = 1 << 30;

/// A connection to one API server under one identity. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    transport: Arc<dyn Transport>,
    user_agent: HeaderValue,
    rng: Arc<Mutex<Rng>>,
}

/// One resource, in one namespace or in all.
#[derive(Clone)]
pub struct Api {
    client: Client,
    gvr: Gvr,
    namespace: String,
}

/// The content type and body of a patch.
#[derive(Clone, Debug)]
pub enum Patch {
    /// RFC 7386.
    Merge(Bytes),
    /// Kubernetes' strategic merge.
    Strategic(Bytes),
    /// RFC 6902.
    Json(Bytes),
}

/// What becomes of a deleted object's dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// The garbage collector deletes them later.
    Background,
    /// They go before their owner.
    Foreground,
    /// They stay.
    Orphan,
}

/// Options of a delete.
#[derive(Clone, Debug, Default)]
pub struct DeleteOptions {
    /// Overrides the object's grace period.
    pub grace_period_seconds: Option<i64>,
    /// Only this incarnation.
    pub uid: Option<String>,
    /// Only this revision.
    pub resource_version: Option<String>,
    /// What becomes of dependents.
    pub propagation: Option<Propagation>,
}

/// Options of a list or watch.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// Label selector.
    pub labels: String,
    /// Field selector.
    pub fields: String,
    /// At least this revision (list) or from it on (watch).
    pub resource_version: String,
}

impl Client {
    /// A client over `transport`; `user_agent` names the component.
    pub fn new(transport: Arc<dyn Transport>, user_agent: &str) -> Self {
        let user_agent =
            HeaderValue::from_str(user_agent).unwrap_or(HeaderValue::from_static("transom"));
        Self {
            transport,
            user_agent,
            rng: Arc::new(Mutex::new(Rng::from_os())),
        }
    }

    /// Draws delays and names from `rng` instead of the system's randomness.
    #[must_use]
    pub fn with_rng(mut self, rng: Rng) -> Self {
        self.rng = Arc::new(Mutex::new(rng));
        self
    }

    /// A generator for a part of this client's component.
    pub(crate) fn rng(&self, part: &str) -> Rng {
        self.rng.lock().child(part)
    }

    /// All namespaces of a resource, or a cluster-scoped one.
    pub fn resource(&self, gvr: &Gvr) -> Api {
        Api {
            client: self.clone(),
            gvr: gvr.clone(),
            namespace: String::new(),
        }
    }

    /// A resource in one namespace.
    pub fn namespaced(&self, gvr: &Gvr, namespace: &str) -> Api {
        Api {
            client: self.clone(),
            gvr: gvr.clone(),
            namespace: namespace.to_owned(),
        }
    }

    /// Sends any request; answers of 400 and above become errors.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        content: Option<(&'static str, Bytes)>,
    ) -> Result<http::Response<Body>, Error> {
        let describe = |expected| Error::Unexpected {
            verb: method.to_string(),
            path: path.to_owned(),
            expected,
        };
        let uri: Uri = path
            .parse()
            .map_err(|_| describe("reachable: the path is no URI"))?;
        let mut request = http::Request::builder()
            .method(method.clone())
            .uri(uri)
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, &self.user_agent);
        let body = match content {
            Some((kind, bytes)) => {
                request = request.header(header::CONTENT_TYPE, kind);
                Body::from(bytes)
            }
            None => Body::empty(),
        };
        let request = request
            .body(body)
            .map_err(|_| describe("a request: a header is invalid"))?;
        let verb = method.to_string();
        let response = match self.transport.call(request).await {
            Ok(response) => response,
            Err(cause) => {
                return Err(Error::Transport {
                    verb,
                    path: path.to_owned(),
                    cause: Box::new(cause),
                });
            }
        };
        if response.status().as_u16() < 400 {
            return Ok(response);
        }
        let code = response.status();
        let bytes = match response.into_body().collect(1 << 20).await {
            Ok(bytes) => bytes,
            Err(cause) => {
                return Err(Error::Body {
                    verb,
                    path: path.to_owned(),
                    cause,
                });
            }
        };
        let status = read_status(&bytes).unwrap_or_else(|| {
            let text = String::from_utf8_lossy(&bytes);
            Status::other(code.as_u16(), reason::UNEXPECTED_SERVER_RESPONSE, &text)
        });
        Err(Error::Api {
            verb,
            path: path.to_owned(),
            status: Box::new(status),
        })
    }

    /// As [`Self::send`], with the whole answer.
    pub async fn bytes(
        &self,
        method: Method,
        path: &str,
        content: Option<(&'static str, Bytes)>,
    ) -> Result<Bytes, Error> {
        let response = self.send(method.clone(), path, content).await?;
        response
            .into_body()
            .collect(ANSWER_LIMIT_BYTES)
            .await
            .map_err(|cause| Error::Body {
                verb: method.to_string(),
                path: path.to_owned(),
                cause,
            })
    }
}

/// A complete list: its items and the revision it shows.
#[derive(Debug)]
pub struct List {
    /// The objects.
    pub items: Vec<Object>,
    /// The revision to watch from.
    pub resource_version: String,
}

impl Api {
    /// The client that this is a part of.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The resource.
    pub fn gvr(&self) -> &Gvr {
        &self.gvr
    }

    /// The same resource in another namespace.
    pub fn in_namespace(&self, namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            ..self.clone()
        }
    }

    /// Reads one object.
    pub async fn get(&self, name: &str) -> Result<Object, Error> {
        self.object(Method::GET, self.path(name, "", &[]), None)
            .await
    }

    /// Reads one object if it exists.
    pub async fn find(&self, name: &str) -> Result<Option<Object>, Error> {
        match self.get(name).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates an object.
    pub async fn create(&self, json: impl Into<Bytes>) -> Result<Object, Error> {
        self.object(
            Method::POST,
            self.path("", "", &[]),
            Some((JSON, json.into())),
        )
        .await
    }

    /// Posts to a subresource: `binding`, `eviction`, `token`.
    pub async fn create_subresource(
        &self,
        name: &str,
        subresource: &str,
        json: impl Into<Bytes>,
    ) -> Result<Bytes, Error> {
        let path = self.path(name, subresource, &[]);
        self.client
            .bytes(Method::POST, &path, Some((JSON, json.into())))
            .await
    }

    /// Replaces an object; its resourceVersion, when present, must be the current one.
    pub async fn update(&self, name: &str, json: impl Into<Bytes>) -> Result<Object, Error> {
        self.object(
            Method::PUT,
            self.path(name, "", &[]),
            Some((JSON, json.into())),
        )
        .await
    }

    /// Replaces a subresource (`status`, `finalize`, `approval`, `scale`).
    pub async fn update_subresource(
        &self,
        name: &str,
        subresource: &str,
        json: impl Into<Bytes>,
    ) -> Result<Object, Error> {
        self.object(
            Method::PUT,
            self.path(name, subresource, &[]),
            Some((JSON, json.into())),
        )
        .await
    }

    /// Changes an object, or with a non-empty `subresource` that part of it.
    pub async fn patch(
        &self,
        name: &str,
        subresource: &str,
        patch: Patch,
    ) -> Result<Object, Error> {
        let content = match patch {
            Patch::Merge(json) => ("application/merge-patch+json", json),
            Patch::Strategic(json) => ("application/strategic-merge-patch+json", json),
            Patch::Json(json) => ("application/json-patch+json", json),
        };
        self.object(
            Method::PATCH,
            self.path(name, subresource, &[]),
            Some(content),
        )
        .await
    }

    /// Deletes one object.
    pub async fn delete(&self, name: &str, options: &DeleteOptions) -> Result<(), Error> {
        let body = options.to_json();
        self.client
            .bytes(
                Method::DELETE,
                &self.path(name, "", &[]),
                Some((JSON, body.into())),
            )
            .await
            .map(|_| ())
    }

    /// Deletes all that the options select.
    pub async fn delete_collection(
        &self,
        select: &ListOptions,
        options: &DeleteOptions,
    ) -> Result<(), Error> {
        let path = self.path("", "", &select.parameters());
        self.client
            .bytes(
                Method::DELETE,
                &path,
                Some((JSON, options.to_json().into())),
            )
            .await
            .map(|_| ())
    }

    /// Lists in pages of 500 until all is read.
    pub async fn list(&self, options: &ListOptions) -> Result<List, Error> {
        let mut items = Vec::new();
        let mut token = String::new();
        loop {
            let mut parameters = options.parameters();
            parameters.push(("limit", "500".to_owned()));
            if !token.is_empty() {
                parameters.retain(|(name, _)| *name != "resourceVersion");
                parameters.push(("continue", token));
            }
            let path = self.path("", "", &parameters);
            let page = self.client.bytes(Method::GET, &path, None).await?;
            let version;
            (token, version) = read_page(&page, &mut items)
                .ok_or_else(|| self.unexpected("GET", &path, "a list"))?;
            if token.is_empty() {
                return Ok(List {
                    items,
                    resource_version: version,
                });
            }
        }
    }

    /// Watches from `options.resource_version` on, with bookmarks.
    pub async fn watch(&self, options: &ListOptions) -> Result<Watch, Error> {
        let mut parameters = options.parameters();
        parameters.push(("watch", "true".to_owned()));
        parameters.push(("allowWatchBookmarks", "true".to_owned()));
        let path = self.path("", "", &parameters);
        let response = self.client.send(Method::GET, &path, None).await?;
        Ok(Watch::new(response.into_body(), path))
    }

    /// The path of the collection, an object, or a subresource.
    pub fn path(&self, name: &str, subresource: &str, parameters: &[(&str, String)]) -> String {
        let mut path = if self.gvr.group.is_empty() {
            format!("/api/{}", self.gvr.version)
        } else {
            format!("/apis/{}/{}", self.gvr.group, self.gvr.version)
        };
        if !self.namespace.is_empty() {
            path.push_str("/namespaces/");
            encode(&self.namespace, &mut path);
        }
        path.push('/');
        path.push_str(&self.gvr.resource);
        for part in [name, subresource] {
            if !part.is_empty() {
                path.push('/');
                encode(part, &mut path);
            }
        }
        for (index, (name, value)) in parameters.iter().enumerate() {
            path.push(if index == 0 { '?' } else { '&' });
            path.push_str(name);
            path.push('=');
            encode(value, &mut path);
        }
        path
    }

    async fn object(
        &self,
        method: Method,
        path: String,
        content: Option<(&'static str, Bytes)>,
    ) -> Result<Object, Error> {
        let bytes = self.client.bytes(method.clone(), &path, content).await?;
        Object::new(bytes).ok_or_else(|| self.unexpected(method.as_str(), &path, "an object"))
    }

    fn unexpected(&self, verb: &str, path: &str, expected: &'static str) -> Error {
        Error::Unexpected {
            verb: verb.to_owned(),
            path: path.to_owned(),
            expected,
        }
    }
}

const JSON: &str = "application/json";

impl ListOptions {
    fn parameters(&self) -> Vec<(&'static str, String)> {
        [
            ("labelSelector", &self.labels),
            ("fieldSelector", &self.fields),
            ("resourceVersion", &self.resource_version),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name, value.clone()))
        .collect()
    }
}

impl DeleteOptions {
    fn to_json(&self) -> Vec<u8> {
        let mut dom = schema::Dom::new();
        let root = dom.new_map();
        dom.set_root(root);
        dom.set_str(root, "kind", "DeleteOptions");
        dom.set_str(root, "apiVersion", "v1");
        if let Some(seconds) = self.grace_period_seconds {
            dom.set_int(root, "gracePeriodSeconds", seconds);
        }
        if self.uid.is_some() || self.resource_version.is_some() {
            let preconditions = dom.new_map();
            if let Some(uid) = &self.uid {
                dom.set_str(preconditions, "uid", uid);
            }
            if let Some(version) = &self.resource_version {
                dom.set_str(preconditions, "resourceVersion", version);
            }
            dom.set(root, "preconditions", preconditions);
        }
        if let Some(propagation) = self.propagation {
            let policy = match propagation {
                Propagation::Background => "Background",
                Propagation::Foreground => "Foreground",
                Propagation::Orphan => "Orphan",
            };
            dom.set_str(root, "propagationPolicy", policy);
        }
        dom.to_json(root)
    }
}

/// Appends the items of a list answer; gives its continue token and revision.
fn read_page(page: &Bytes, items: &mut Vec<Object>) -> Option<(String, String)> {
    let (mut token, mut version) = (String::new(), String::new());
    for (key, value) in scan::members(page)? {
        match &page[key] {
            b"metadata" => {
                let metadata = &page[value];
                for (name, value) in scan::members(metadata)? {
                    match &metadata[name] {
                        b"continue" => scan::plain_string(&metadata[value])?.clone_into(&mut token),
                        b"resourceVersion" => {
                            scan::plain_string(&metadata[value])?.clone_into(&mut version);
                        }
                        _ => {}
                    }
                }
            }
            b"items" if page.get(value.clone()) != Some(b"null") => {
                let start = value.start;
                for range in scan::elements(&page[value])? {
                    // Copied, so that one long-lived object does not hold the whole page.
                    let bytes =
                        Bytes::copy_from_slice(&page[start + range.start..start + range.end]);
                    items.push(Object::new(bytes)?);
                }
            }
            _ => {}
        }
    }
    Some((token, version))
}

/// Percent-encodes all but RFC 3986's unreserved characters.
fn encode(text: &str, into: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                into.push(char::from(byte));
            }
            _ => {
                let _ = write!(into, "%{byte:02X}");
            }
        }
    }
}
