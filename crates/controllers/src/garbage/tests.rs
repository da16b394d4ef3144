use std::sync::Arc;
use std::time::Duration;

use http::Method;
use parking_lot::Mutex;
use tokio::time::Instant;
use transport::{Body, InProcess, Request, Response, service_fn};

use crate::garbage::start;
use crate::testing::context;

const GROUPS: &str =
    r#"{"groups":[{"name":"apps","preferredVersion":{"groupVersion":"apps/v1","version":"v1"}}]}"#;
const CORE: &str = r#"{"resources":[
    {"name":"pods","kind":"Pod","namespaced":true,"verbs":["list","watch","delete"]}]}"#;
const APPS: &str = r#"{"resources":[
    {"name":"deployments","kind":"Deployment","namespaced":true,"verbs":["list","watch","delete"]}]}"#;
const NONE: &str = r#"{"metadata":{"resourceVersion":"1"},"items":[]}"#;
const OWNER: &str = r#"{"metadata":{"name":"web","namespace":"default","uid":"u"}}"#;
const DEPENDENTS: &str = r#"{"metadata":{"resourceVersion":"1"},"items":[{"metadata":{
    "name":"web-1","namespace":"default","uid":"d","resourceVersion":"1","ownerReferences":[
    {"apiVersion":"apps/v1","kind":"Deployment","name":"web","uid":"u","controller":true}]}}]}"#;

fn answer(code: u16, body: impl Into<Body>) -> Response {
    let response = http::Response::builder().status(code);
    response.body(body.into()).unwrap()
}

/// What is deleted within a minute and a half when the owner `web` goes after five seconds, its
/// group is discovered only after a while, and then its kind is listed only after a while.
async fn deleted(discovered: Duration, listed: Duration) -> Vec<String> {
    let (began, deleted) = (Instant::now(), Arc::new(Mutex::new(Vec::new())));
    let (told, streams) = (deleted.clone(), Arc::new(Mutex::new(Vec::new())));
    let service = service_fn(move |request: Request| {
        let (told, streams) = (told.clone(), streams.clone());
        async move {
            let (path, query) = (request.uri().path(), request.uri().query());
            match path {
                _ if query.is_some_and(|query| query.contains("watch=true")) => {
                    let (sender, body) = Body::channel(1);
                    streams.lock().push(sender);
                    answer(200, body)
                }
                _ if request.method() == Method::DELETE => {
                    told.lock().push(path.to_owned());
                    answer(200, "{}")
                }
                "/apis" => answer(200, GROUPS),
                "/api/v1" => answer(200, CORE),
                "/apis/apps/v1" if began.elapsed() < discovered => answer(500, "{}"),
                "/apis/apps/v1" => answer(200, APPS),
                "/api/v1/pods" => answer(200, DEPENDENTS),
                "/apis/apps/v1/deployments" => {
                    tokio::time::sleep(listed).await;
                    answer(200, NONE)
                }
                "/apis/apps/v1/namespaces/default/deployments/web"
                    if began.elapsed() < Duration::from_secs(5) =>
                {
                    answer(200, OWNER)
                }
                "/apis/apps/v1/namespaces/default/deployments/web" => {
                    answer(404, r#"{"code":404,"reason":"NotFound"}"#)
                }
                _ => answer(200, NONE),
            }
        }
    });
    let context = context(Arc::new(InProcess::new(service, http::Extensions::new())));
    let shutdown = context.shutdown.clone();
    start(context);
    tokio::time::sleep(Duration::from_secs(90)).await;
    shutdown.trigger();
    std::mem::take(&mut *deleted.lock())
}

/// Its dependents are known, it was looked up and was there, or nobody knew where to look; and
/// when its kind is listed it has gone: no event ever tells of it.
#[tokio::test(start_paused = true)]
async fn an_owner_that_goes_before_it_was_seen_is_noticed() {
    let (now, later) = (Duration::ZERO, Duration::from_secs(10));
    for (discovered, listed) in [(now, later), (later, now)] {
        let dependents = ["/api/v1/namespaces/default/pods/web-1"];
        assert_eq!(deleted(discovered, listed).await, dependents);
    }
}
