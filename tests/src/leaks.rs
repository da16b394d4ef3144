//! Nothing is left of what is gone: pods come and go, processes are killed and come back, and in
//! the end everything that can be counted is as many as in the beginning.
//!
//! In continuous integration a small run; `make leaks` is the whole one (`LEAK_PODS=2000
//! LEAK_RESTARTS=100`), with a table. A day of Leases is a test of the store
//! (`a_day_of_leases_leaves_nothing`). Needs root, `TRANSOM_BIN` and Debian's busybox-static.

mod state;

use std::fs;
use std::time::Duration;

use api::Gvr;
use client::{Api, Client, ListOptions};

use crate::fixture::{Fixture, create_when_possible};
use crate::until::until;
use state::State;

/// Pods that come and go together.
const BATCH: usize = 30;
/// History is kept so long, and with it the database and memory of what is gone.
const HISTORY: Duration = Duration::from_secs(420);

fn number(name: &str, otherwise: usize) -> usize {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

/// A pod with what pods have: a token, files, a volume, a probe that executes something, and a
/// Service that leads to it. Every third one ends by itself.
fn pod(name: &str, kind: usize) -> String {
    let command = match kind % 3 {
        0 => "true",
        _ => "trap exit TERM; sleep 1000 & wait",
    };
    let mut container = serde_json::json!({
        "name": "c", "image": "localhost/busybox:latest", "imagePullPolicy": "Never",
        "command": ["sh", "-c", command],
        "volumeMounts": [{"name": "files", "mountPath": "/files"}, {"name": "work", "mountPath": "/work"}],
    });
    if !kind.is_multiple_of(3) {
        container["readinessProbe"] =
            serde_json::json!({"exec": {"command": ["true"]}, "periodSeconds": 1});
    }
    if kind % 3 == 1 {
        container["ports"] =
            serde_json::json!([{"containerPort": 80, "hostPort": 20_000 + kind % BATCH}]);
    }
    serde_json::json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "leaks"}},
        "spec": {
            "restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container],
            "shareProcessNamespace": kind.is_multiple_of(5),
            "volumes": [{"name": "files", "configMap": {"name": "files"}}, {"name": "work", "emptyDir": {"medium": "Memory"}}],
        },
    })
    .to_string()
}

/// Makes `count` pods, waits until each runs or has ended, takes them away and waits until they are.
async fn batch(pods: &Api, first: usize, count: usize) {
    for kind in first..first + count {
        create_when_possible(pods, pod(&format!("leak-{kind}"), kind)).await;
    }
    let settled = |object: &client::Object| {
        let dom = object.parse().unwrap();
        let phase = dom
            .as_ref()
            .get("status")
            .map_or("", |s| s.str("phase"))
            .to_owned();
        phase == "Succeeded" || api::meta::condition_is_true(dom.as_ref(), "Ready")
    };
    until(pods, "come up", |pods| {
        (pods.len() == count && pods.values().all(settled)).then_some(())
    })
    .await;
    for kind in first..first + count {
        let _gone = pods
            .delete(&format!("leak-{kind}"), &client::DeleteOptions::default())
            .await;
    }
    until(pods, "go", |pods| pods.is_empty().then_some(())).await;
}

/// Kills the control plane and every agent and waits until they are back; every second time the
/// whole cluster is stopped and started, which also begins the keepers' back-off anew.
async fn restart(fixture: &Fixture, client: &Client, count: usize) {
    let before = state::processes(fixture);
    if count.is_multiple_of(2) {
        fixture.must(&["stop", "--name", &fixture.name]);
        fixture.must(&["start", "--name", &fixture.name]);
    } else {
        for (_, pid) in &before {
            let pid = rustix::process::Pid::from_raw(i32::try_from(*pid).unwrap()).unwrap();
            let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
    let nodes = client.resource(&Gvr::new("", "v1", "nodes"));
    // Processes and what the kernel keeps of them announce nothing: they are looked at again.
    for _ in 0..1200 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = state::processes(fixture);
        let new = now.len() == before.len() && now.iter().zip(&before).all(|(n, b)| n.1 != b.1);
        if new && nodes.list(&ListOptions::default()).await.is_ok() {
            return;
        }
    }
    panic!("the processes are not back after a minute");
}

/// Takes states until nothing is more than before, and shows the last.
async fn settle(fixture: &Fixture, before: &State, memory: bool) -> State {
    let mut now = State::take(fixture);
    for _ in 0..60 {
        if before.grown(&now, memory).is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        now = State::take(fixture);
    }
    now
}

#[test]
fn nothing_is_left_of_what_is_gone() {
    let (pods, restarts) = (number("LEAK_PODS", 60), number("LEAK_RESTARTS", 3));
    let Some(archive) = crate::busybox::archive() else {
        println!("skipped: needs Debian's busybox-static");
        return;
    };
    let Some(fixture) = Fixture::new("l") else {
        return;
    };
    fixture.must(&["up", "--name", &fixture.name]);
    let image = fixture.data().join("busybox.tar");
    fs::write(&image, archive).unwrap();
    let file = image.to_str().unwrap();
    fixture.must(&["image", "import", "--name", &fixture.name, file]);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let grown = runtime.block_on(run(&fixture, pods, restarts));
    assert!(grown.is_empty(), "more than in the beginning: {grown:#?}");
}

async fn run(fixture: &Fixture, pods: usize, restarts: usize) -> Vec<String> {
    // In a whole run also what history holds has to go.
    let whole = pods >= 1000;
    let client = fixture.client();
    let api = |name: &str| client.namespaced(&Gvr::new("", "v1", name), "default");
    let files = r#"{"metadata":{"name":"files"},"data":{"a":"1"}}"#;
    api("configmaps").create(files).await.unwrap();
    let service = r#"{"metadata":{"name":"leaks"},"spec":{"selector":{"app":"leaks"},"ports":[{"port":80}]}}"#;
    api("services").create(service).await.unwrap();
    let (all, events) = (api("pods"), "/api/v1/namespaces/default/events");
    // They would go by themselves after an hour.
    let forget = async || {
        client
            .bytes(http::Method::DELETE, events, None)
            .await
            .unwrap()
    };
    // What is made once and kept is there before it is counted, in the database too, into which an
    // orderly end moves its log.
    restart(fixture, &client, 1).await;
    restart(fixture, &client, 2).await;
    batch(&all, 0, BATCH).await;
    forget().await;
    let before = settle(fixture, &State::default(), false).await;
    let mut made = BATCH;
    while made < BATCH + pods {
        let count = BATCH.min(BATCH + pods - made);
        batch(&all, made, count).await;
        made += count;
        if whole && (made / BATCH).is_multiple_of(10) {
            let used = State::take(fixture).memory();
            println!("{} pods, memory in KiB {used:?}", made - BATCH);
        }
    }
    forget().await;
    if whole {
        tokio::time::sleep(HISTORY).await;
    }
    let after = settle(fixture, &before, whole).await;
    println!("after {pods} pods");
    print!("{}", before.table(&after));
    let mut grown = before.grown(&after, whole);
    for count in 1..=restarts {
        restart(fixture, &client, count).await;
        if whole && count.is_multiple_of(10) {
            println!("{count} restarts");
        }
    }
    batch(&all, made, BATCH).await;
    forget().await;
    let after = settle(fixture, &before, whole).await;
    println!("after {restarts} restarts of each process");
    print!("{}", before.table(&after));
    grown.extend(before.grown(&after, whole));
    grown
}
