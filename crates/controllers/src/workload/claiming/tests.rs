//! Every kind of workload against an API that answers from a few objects: what of the orphans
//! it patches, and what it makes, when its cache is older than the owner.

use std::sync::Arc;

use expect_test::{Expect, expect};
use http::Method;
use parking_lot::Mutex;
use tokio::time::Duration;
use transport::{Body, InProcess, Request, Response, service_fn};

use crate::testing::{context, start};

/// `KIND resource of the owners`; the owner `web` has the uid `u`.
struct Row {
    controller: &'static str,
    owners: &'static str,
}

const ROWS: [Row; 6] = [
    row("daemonset-controller", "/apis/apps/v1/daemonsets"),
    row("statefulset-controller", "/apis/apps/v1/statefulsets"),
    row("replicaset-controller", "/apis/apps/v1/replicasets"),
    row("job-controller", "/apis/batch/v1/jobs"),
    row("deployment-controller", "/apis/apps/v1/deployments"),
    row("cronjob-controller", "/apis/batch/v1/cronjobs"),
];

const fn row(controller: &'static str, owners: &'static str) -> Row {
    Row { controller, owners }
}

/// What all may own, and nobody does.
const ORPHANS: [(&str, &str); 3] = [
    ("/api/v1/pods", "web-0"),
    ("/apis/apps/v1/replicasets", "web-1"),
    ("/apis/apps/v1/controllerrevisions", "web-2"),
];

fn owner(metadata: &str) -> String {
    format!(
        r#"{{"metadata":{{"name":"web","namespace":"default","resourceVersion":"1",
        "creationTimestamp":"2026-01-02T03:00:00Z",{metadata}}},
        "spec":{{"replicas":1,"completions":1,"parallelism":1,"schedule":"* * * * *","jobTemplate":{{}},
        "selector":{{"matchLabels":{{"app":"web"}}}},
        "template":{{"metadata":{{"labels":{{"app":"web"}}}},"spec":{{"containers":[]}}}}}}}}"#
    )
}

fn orphan(name: &str) -> String {
    format!(
        r#"{{"metadata":{{"name":"{name}","namespace":"default","uid":"{name}",
        "resourceVersion":"1","labels":{{"app":"web"}}}},"revision":1,
        "spec":{{"replicas":0}},"status":{{"phase":"Running"}}}}"#
    )
}

fn answer(code: u16, body: impl Into<Body>) -> Response {
    let response = http::Response::builder().status(code);
    response.body(body.into()).unwrap()
}

/// What the API was asked to do: names of orphans to adopt, paths of things to make; and how often
/// for the owner.
#[derive(Default)]
struct Asked {
    adopted: Vec<String>,
    made: Vec<String>,
    looks: usize,
}

/// Who adopts what when the caches hold an owner that lives, and `fresh` is there by now.
#[track_caller]
fn check(fresh: Option<&'static str>, expect: &Expect) {
    check_asked(fresh, true, |asked| asked.adopted, expect);
}

/// Who makes what when nobody has orphans.
#[track_caller]
fn check_made(fresh: Option<&'static str>, expect: &Expect) {
    check_asked(fresh, false, |asked| asked.made, expect);
}

#[track_caller]
fn check_asked(
    fresh: Option<&'static str>,
    has_orphans: bool,
    of_interest: fn(Asked) -> Vec<String>,
    expect: &Expect,
) {
    let mut lines = String::new();
    for row in ROWS {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        let mut names = of_interest(runtime.block_on(asked(&row, fresh, has_orphans)));
        names.sort();
        names.dedup();
        lines.push_str(&format!("{}: {}\n", row.controller, names.join(" ")));
    }
    expect.assert_eq(&lines);
}

async fn asked(row: &Row, fresh: Option<&'static str>, has_orphans: bool) -> Asked {
    let asked: Arc<Mutex<Asked>> = Arc::default();
    let (seen, owners) = (asked.clone(), row.owners);
    let streams = Arc::new(Mutex::new(Vec::new()));
    let service = service_fn(move |request: Request| {
        let (seen, streams) = (seen.clone(), streams.clone());
        async move {
            let (parts, body) = request.into_parts();
            let path = parts.uri.path();
            match parts.method {
                Method::GET if parts.uri.query().is_some_and(|q| q.contains("watch=true")) => {
                    let (sender, body) = Body::channel(1);
                    streams.lock().push(sender);
                    answer(200, body)
                }
                Method::GET if path.ends_with("/web") => {
                    seen.lock().looks += 1;
                    match fresh {
                        Some(metadata) => answer(200, owner(metadata)),
                        None => answer(404, Body::empty()),
                    }
                }
                Method::GET => {
                    let orphans = ORPHANS.iter().filter(|(of, _)| has_orphans && *of == path);
                    let mut items: Vec<String> = orphans.map(|(_, name)| orphan(name)).collect();
                    if path == owners {
                        items.push(owner(r#""uid":"u""#));
                    }
                    let items = items.join(",");
                    let metadata = r#"{"resourceVersion":"1"}"#;
                    answer(
                        200,
                        format!(r#"{{"metadata":{metadata},"items":[{items}]}}"#),
                    )
                }
                method => {
                    let name = path.rsplit('/').next().unwrap_or_default().to_owned();
                    match method {
                        Method::PATCH => seen.lock().adopted.push(name),
                        Method::POST if !path.ends_with("/events") => seen.lock().made.push(name),
                        _ => {}
                    }
                    answer(200, body.collect(1 << 20).await.unwrap())
                }
            }
        }
    });
    let context = context(Arc::new(InProcess::new(service, http::Extensions::new())));
    let shutdown = start(row.controller, context);
    tokio::time::sleep(Duration::from_secs(1)).await;
    shutdown.trigger();
    std::mem::take(&mut *asked.lock())
}

#[test]
fn an_owner_that_lives_adopts() {
    check(
        Some(r#""uid":"u""#),
        &expect![[r#"
            daemonset-controller: web-0 web-2
            statefulset-controller: web-0 web-2
            replicaset-controller: web-0
            job-controller: web-0
            deployment-controller: web-1
            cronjob-controller: 
        "#]],
    );
}

/// No controller touches anything.
fn nothing() -> Expect {
    expect![[r#"
        daemonset-controller: 
        statefulset-controller: 
        replicaset-controller: 
        job-controller: 
        deployment-controller: 
        cronjob-controller: 
    "#]]
}

/// Its watch may be behind that of what it owns, which the garbage collector takes: anything made
/// then is taken too, and would be made again at once, for as long as the cache is behind.
#[test]
fn nothing_is_made_for_an_owner_that_is_gone() {
    check_made(
        Some(r#""uid":"u""#),
        &expect![[r#"
        daemonset-controller: controllerrevisions
        statefulset-controller: controllerrevisions pods
        replicaset-controller: pods
        job-controller: pods
        deployment-controller: replicasets
        cronjob-controller: jobs
    "#]],
    );
    check_made(Some(r#""uid":"v""#), &nothing());
    check_made(None, &nothing());
}

/// Whatever the cache says: who goes, went, or is another by now takes nothing in.
#[test]
fn an_owner_that_goes_adopts_nothing() {
    check(
        Some(r#""uid":"u","deletionTimestamp":"2026-01-02T03:04:00Z""#),
        &nothing(),
    );
    check(Some(r#""uid":"v""#), &nothing());
    check(None, &nothing());
}

/// For adoptions, revisions and pods together.
#[test]
fn an_owner_is_asked_for_once_a_sync() {
    let looks = |asked: Asked| vec![asked.looks.to_string()];
    let once = expect![[r#"
        daemonset-controller: 1
        statefulset-controller: 1
        replicaset-controller: 1
        job-controller: 1
        deployment-controller: 1
        cronjob-controller: 1
    "#]];
    for has_orphans in [true, false] {
        check_asked(Some(r#""uid":"u""#), has_orphans, looks, &once);
    }
}
