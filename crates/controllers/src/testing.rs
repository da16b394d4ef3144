//! An API of a few objects for tests of whole controllers: it lists, tells watchers, and notes what
//! it is asked to change. No rules: what is sent is stored.
//! Example: `api.put("nodes", json)` → the watch of nodes has it; the controller patches it → the
//! watch has the result, `api.asked()` the line `PATCH nodes a`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use base::{Clock, ManualClock, Shutdown};
use client::{Client, Recorder};
use http::Method;
use parking_lot::Mutex;
use schema::Dom;
use transport::{Body, BodySender, InProcess, Request, Response, Transport, service_fn};

use crate::{CONTROLLERS, Context, Informers, PodRanges};

/// Events that a watcher may be behind.
const BEHIND: usize = 4096;

#[derive(Default)]
struct State {
    /// By resource and name; names of all namespaces differ.
    objects: BTreeMap<(String, String), Dom>,
    watchers: Vec<(String, BodySender)>,
    /// Resources whose watchers are behind, and what they have still to hear.
    behind: HashMap<String, Vec<String>>,
    revision: u64,
    asked: Vec<String>,
    /// Answers come so much later than what they answer is done.
    delay: Duration,
}

/// See the module's header.
#[derive(Clone, Default)]
pub(crate) struct TestApi {
    state: Arc<Mutex<State>>,
}

impl State {
    /// Stores what has a name or gets one; gives it back.
    fn put(&mut self, resource: &str, mut dom: Dom) -> Vec<u8> {
        self.revision += 1;
        let root = dom.root();
        let metadata = dom.ensure_map(root, "metadata");
        let own = api::meta::of(dom.as_ref());
        let name = match own.name() {
            "" => format!("{}{}", own.generate_name(), self.revision),
            name => name.to_owned(),
        };
        let uid = match own.uid() {
            "" => format!("uid-{name}"),
            uid => uid.to_owned(),
        };
        dom.set_str(metadata, "name", &name);
        dom.set_str(metadata, "uid", &uid);
        dom.set_str(metadata, "resourceVersion", &self.revision.to_string());
        let json = dom.to_json(dom.root());
        let key = (resource.to_owned(), name);
        let kind = match self.objects.insert(key, dom) {
            None => "ADDED",
            Some(_) => "MODIFIED",
        };
        self.tell(resource, kind, &json);
        json
    }

    fn remove(&mut self, resource: &str, name: &str) -> Option<Vec<u8>> {
        let key = (resource.to_owned(), name.to_owned());
        let mut dom = self.objects.remove(&key)?;
        self.revision += 1;
        let root = dom.root();
        let metadata = dom.ensure_map(root, "metadata");
        dom.set_str(metadata, "resourceVersion", &self.revision.to_string());
        let json = dom.to_json(root);
        self.tell(resource, "DELETED", &json);
        Some(json)
    }

    fn tell(&mut self, resource: &str, kind: &str, json: &[u8]) {
        let object = String::from_utf8_lossy(json);
        let line = format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n");
        match self.behind.get_mut(resource) {
            Some(lines) => lines.push(line),
            None => self.send(resource, &line),
        }
    }

    fn send(&self, resource: &str, line: &str) {
        for (of, sender) in &self.watchers {
            if of == resource {
                let told = sender.try_send(line.to_owned().into());
                assert!(told.is_ok(), "a watcher of {resource} reads nothing");
            }
        }
    }

    fn list(&self, resource: &str) -> String {
        let all = self.objects.iter().filter(|((of, _), _)| of == resource);
        let items: Vec<String> = all
            .map(|(_, dom)| String::from_utf8_lossy(&dom.to_json(dom.root())).into_owned())
            .collect();
        let (revision, items) = (self.revision, items.join(","));
        format!(r#"{{"metadata":{{"resourceVersion":"{revision}"}},"items":[{items}]}}"#)
    }
}

fn answer(code: u16, body: impl Into<Body>) -> Response {
    let response = http::Response::builder().status(code);
    response.body(body.into()).unwrap()
}

/// The resource of a path, and a name if it has one.
fn target(path: &str) -> (&str, &str) {
    let mut parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let head = if parts[0] == "api" { 2 } else { 3 };
    parts.drain(..head.min(parts.len()));
    if parts.len() > 2 && parts[0] == "namespaces" {
        parts.drain(..2);
    }
    let part = |at: usize| parts.get(at).copied().unwrap_or_default();
    (part(0), part(1))
}

/// Merges; strategically only core kinds, the only ones of which anybody asks it.
fn patch(resource: &str, parts: &http::request::Parts, dom: &mut Dom, patch: &Dom) {
    let how = parts.headers.get(http::header::CONTENT_TYPE);
    if how.is_none_or(|how| how != "application/strategic-merge-patch+json") {
        schema::patch::merge(dom, patch).unwrap();
        return;
    }
    let kind = match resource {
        "nodes" => "Node",
        "pods" => "Pod",
        other => panic!("a strategic patch of {other}"),
    };
    let table = schema::builtin();
    let ty = table.kind("", "v1", kind).unwrap();
    schema::patch::strategic_object(table, ty, dom, patch).unwrap();
}

impl TestApi {
    pub(crate) fn put(&self, resource: &str, json: &str) {
        let dom = Dom::parse_json(json.as_bytes()).unwrap();
        self.state.lock().put(resource, dom);
    }

    pub(crate) fn remove(&self, resource: &str, name: &str) {
        self.state.lock().remove(resource, name).unwrap();
    }

    pub(crate) fn object(&self, resource: &str, name: &str) -> Dom {
        let key = (resource.to_owned(), name.to_owned());
        self.state.lock().objects[&key].clone()
    }

    pub(crate) fn names(&self, resource: &str) -> Vec<String> {
        let state = self.state.lock();
        let all = state.objects.keys().filter(|(of, _)| of == resource);
        all.map(|(_, name)| name.clone()).collect()
    }

    /// Its watchers hear nothing, until they catch up.
    pub(crate) fn hold_back(&self, resource: &str) {
        let mut state = self.state.lock();
        state.behind.entry(resource.to_owned()).or_default();
    }

    pub(crate) fn catch_up(&self, resource: &str) {
        let mut state = self.state.lock();
        let lines = state.behind.remove(resource).unwrap_or_default();
        lines.iter().for_each(|line| state.send(resource, line));
    }

    pub(crate) fn delay_answers(&self, delay: Duration) {
        self.state.lock().delay = delay;
    }

    /// What was asked for that changes something, since the last look.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().asked)
    }

    async fn answer(self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let body = body.collect(1 << 20).await.unwrap();
        let response = self.act(&parts, &body);
        let delay = self.state.lock().delay;
        tokio::time::sleep(delay).await;
        response
    }

    fn act(&self, parts: &http::request::Parts, body: &[u8]) -> Response {
        let (resource, name) = target(parts.uri.path());
        let watches = parts.uri.query().is_some_and(|q| q.contains("watch=true"));
        let mut state = self.state.lock();
        if parts.method != Method::GET {
            let line = format!("{} {resource} {name}", parts.method);
            state.asked.push(line.trim_end().to_owned());
        }
        let key = (resource.to_owned(), name.to_owned());
        match parts.method.clone() {
            Method::GET if watches => {
                let (sender, body) = Body::channel(BEHIND);
                state.watchers.push((resource.to_owned(), sender));
                answer(200, body)
            }
            Method::GET if name.is_empty() => answer(200, state.list(resource)),
            Method::POST => {
                let dom = Dom::parse_json(body).unwrap();
                answer(201, state.put(resource, dom))
            }
            Method::DELETE => match state.remove(resource, name) {
                Some(json) => answer(200, json),
                None => answer(404, Body::empty()),
            },
            method => {
                let Some(mut dom) = state.objects.get(&key).cloned() else {
                    return answer(404, Body::empty());
                };
                let root = dom.root();
                match method {
                    Method::GET => return answer(200, dom.to_json(root)),
                    Method::PUT => dom = Dom::parse_json(body).unwrap(),
                    _ => patch(resource, parts, &mut dom, &Dom::parse_json(body).unwrap()),
                }
                answer(200, state.put(resource, dom))
            }
        }
    }

    /// Starts a controller upon what is there; it ends with the shutdown.
    pub(crate) fn start(&self, controller: &str, pod_ranges: PodRanges) -> Shutdown {
        let api = self.clone();
        let service = service_fn(move |request: Request| api.clone().answer(request));
        let mut context = context(Arc::new(InProcess::new(service, http::Extensions::new())));
        context.pod_ranges = Arc::new(pod_ranges);
        start(controller, context)
    }
}

/// What controllers are started with, upon this API.
pub(crate) fn context(api: Arc<dyn Transport>) -> Context {
    let client = Client::new(api, "test");
    let shutdown = Shutdown::new();
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new("2026-01-02T03:04:05Z".parse().unwrap()));
    Context {
        informers: Informers::new(client.clone(), &shutdown),
        client: client.clone(),
        recorder: Recorder::start(client, "test", "", clock.clone(), &shutdown),
        clock,
        shutdown,
        root_ca: "CA".into(),
        pod_ranges: Arc::default(),
        signer: None,
    }
}

/// Starts a controller by its name; it ends with the shutdown.
pub(crate) fn start(controller: &str, context: Context) -> Shutdown {
    let row = CONTROLLERS.iter().find(|row| row.name == controller);
    (row.unwrap().start)(context.clone());
    context.informers.start();
    context.shutdown
}

/// Lets everything happen that does within five seconds, of which none is real: time is paused.
pub(crate) async fn settle() {
    tokio::time::sleep(Duration::from_secs(5)).await;
}
