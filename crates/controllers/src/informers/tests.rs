use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use transport::{Body, InProcess, Request, Response, service_fn};

use crate::testing::context;
use crate::{CONTROLLERS, start_all};

const GROUPS: &str =
    r#"{"groups":[{"name":"apps","preferredVersion":{"groupVersion":"apps/v1","version":"v1"}}]}"#;
const PODS: &str = r#"{"resources":[{"name":"pods","kind":"Pod","namespaced":true,"verbs":["list","watch","delete"]}]}"#;
const SETS: &str = r#"{"resources":[{"name":"replicasets","kind":"ReplicaSet","namespaced":true,"verbs":["list","watch","delete"]}]}"#;
const NONE: &str = r#"{"metadata":{"resourceVersion":"1"},"items":[]}"#;

fn answer(body: impl Into<Body>) -> Response {
    http::Response::new(body.into())
}

/// Controllers that end (another process leads, or the leader crashed) leave no watch behind and
/// no memory: twice a minute for a year would be two million informers.
#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_controllers_that_ended() {
    let requests = Arc::new(AtomicUsize::new(0));
    let streams = Arc::new(Mutex::new(Vec::new()));
    let (count, kept) = (requests.clone(), streams.clone());
    let service = service_fn(move |request: Request| {
        count.fetch_add(1, Ordering::Relaxed);
        let uri = request.uri();
        let watches = uri
            .query()
            .is_some_and(|query| query.contains("watch=true"));
        let response = match uri.path() {
            _ if watches => {
                let (sender, body) = Body::channel(1);
                kept.lock().push(sender);
                answer(body)
            }
            "/apis" => answer(GROUPS),
            "/api/v1" => answer(PODS),
            "/apis/apps/v1" => answer(SETS),
            _ => answer(NONE),
        };
        async move { response }
    });
    let transport = Arc::new(InProcess::new(service, http::Extensions::new()));
    let left = Arc::downgrade(&transport);
    let context = context(transport);
    let (client, shutdown) = (context.client.clone(), context.shutdown.clone());
    start_all(CONTROLLERS, &context, |_| client.clone());
    let informers = Arc::downgrade(&context.informers.inner);
    drop((context, client));
    // The time is virtual: it passes as soon as all wait.
    tokio::time::sleep(Duration::from_secs(90)).await;
    assert!(requests.load(Ordering::Relaxed) > 20);

    shutdown.trigger();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = requests.load(Ordering::Relaxed);
    streams.lock().clear();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(requests.load(Ordering::Relaxed), before, "somebody goes on");
    assert_eq!(informers.strong_count(), 0, "informers hold themselves");
    assert_eq!(left.strong_count(), 0, "somebody holds the client");
}
