//! Kills at random moments under load: the control plane, the agent, or both.
//!
//! Containers run on and log on, nothing restarts, addresses stay, every acknowledged write is
//! there, and a watch that goes on where it broke off is told each once. Needs root and a static
//! binary in `TRANSOM_BIN`; logs are compared where the machine has a static busybox. More rounds
//! with `KILL_ROUNDS=50`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use api::Gvr;
use client::{Api, Client, ListOptions, Object, WatchEvent};
use parking_lot::Mutex;

use crate::fixture::{Fixture, create_when_possible, wait_until_running};

/// Counts, several times a second.
const TICKER: &str = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"ticker","namespace":"default"},
"spec":{"containers":[{"name":"c","image":"localhost/busybox:latest","imagePullPolicy":"IfNotPresent",
"command":["sh","-c","i=0; while :; do echo tick $i; i=$((i+1)); sleep 0.05; done"]}]}}"#;
/// Where there is no shell.
pub(crate) const HELLO: &str = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"ticker","namespace":"default"},
"spec":{"containers":[{"name":"c","image":"localhost/transom-hello:latest","imagePullPolicy":"IfNotPresent"}]}}"#;

/// So many are acknowledged between two kills at least.
const WRITES_BEFORE_A_KILL: usize = 20;
/// Keepers wait up to ten seconds.
const SERVES_AGAIN: Duration = Duration::from_secs(60);

/// What a watch was told, over all its lives.
#[derive(Default)]
struct Told {
    added: Vec<String>,
    resumed: usize,
    refused: Vec<String>,
}

#[test]
fn kills_under_load_lose_nothing() {
    let Some(fixture) = Fixture::new("k") else {
        return;
    };
    let rounds: u32 = std::env::var("KILL_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(10);
    fixture.must(&["up", "--name", &fixture.name]);
    fixture.import_hello();
    let ticks = import_busybox(&fixture);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client = fixture.client();
        let pods = client.namespaced(&Gvr::new("", "v1", "pods"), "default");
        create_when_possible(&pods, if ticks { TICKER } else { HELLO }).await;
        let first = wait_until_running(&pods, "ticker").await;
        let maps = client.namespaced(&Gvr::new("", "v1", "configmaps"), "default");
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::new(Mutex::new(Told::default()));
        let from = maps.list(&ListOptions::default()).await.unwrap();
        let watch = spawn(follow(maps.clone(), from.resource_version, told.clone()));
        let (count, mut counted) = tokio::sync::watch::channel(0_usize);
        let writer = spawn(write_load(maps.clone(), stop.clone(), count));
        let mut rng = base::Rng::from_os();
        let mut written = 0;
        for round in 0..rounds {
            // Whatever was killed serves again, and then dies at any moment. Now and then it lives so
            // long that its keeper forgets that it died so often (and starts it at once again).
            let serves = counted.wait_for(|now| *now >= written + WRITES_BEFORE_A_KILL);
            written = *within(SERVES_AGAIN, "writes are acknowledged again", serves)
                .await
                .unwrap();
            let life = match round % 10 {
                9 if round + 1 < rounds => 10_500,
                _ => rng.below(1500),
            };
            // Nothing is waited for: the moment of a power cut or a crash is any.
            tokio::time::sleep(Duration::from_millis(life)).await;
            let victims = victims(&fixture, rng.below(3)).await;
            println!("round {round}: kill -9 {victims:?}");
            for pid in victims {
                let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        let serves = counted.wait_for(|now| *now >= written + WRITES_BEFORE_A_KILL);
        within(SERVES_AGAIN, "writes are acknowledged again", serves)
            .await
            .unwrap();
        stop.store(true, Ordering::SeqCst);
        let acknowledged = writer.await.unwrap();
        let last = wait_until_running(&pods, "ticker").await;
        assert_eq!(first, last, "(pod address, container id, restarts) changed");
        check_writes(&maps, &acknowledged, rounds).await;
        check_watch(&told, &acknowledged).await;
        watch.abort();
        if ticks {
            check_log(&client).await;
        }
    });
}

fn import_busybox(fixture: &Fixture) -> bool {
    let Some(bytes) = crate::busybox::archive() else {
        println!("logs are not compared: needs Debian's busybox-static");
        return false;
    };
    let image = fixture.data().join("busybox.tar");
    fs::write(&image, bytes).unwrap();
    let file = image.to_str().unwrap();
    fixture.must(&["image", "import", "--name", &fixture.name, file]);
    true
}

async fn within<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> T {
    let result = tokio::time::timeout(limit, future).await;
    result.unwrap_or_else(|_| panic!("{what} within {limit:?}"))
}

/// 0: the control plane, 1: the agents, 2: both; waited for where the last kill still shows.
async fn victims(fixture: &Fixture, what: u64) -> Vec<u32> {
    for _ in 0..600 {
        let found = fixture.cluster();
        let server = found.server_pid;
        let agents: Vec<u32> = found
            .nodes
            .iter()
            .filter_map(|node| agent_of(node.pid?))
            .collect();
        match (what, server) {
            (0, Some(server)) => return vec![server],
            (1, _) if !agents.is_empty() => return agents,
            (2, Some(server)) if !agents.is_empty() => {
                return std::iter::once(server).chain(agents).collect();
            }
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    panic!("what was killed did not come back within 30 seconds");
}

/// Creates objects one after the other; gives the names that the server acknowledged.
async fn write_load(
    maps: Api,
    stop: Arc<AtomicBool>,
    count: tokio::sync::watch::Sender<usize>,
) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let mut number = 0_u32;
    while !stop.load(Ordering::SeqCst) {
        number += 1;
        let name = format!("load-{number}");
        let json = format!(
            r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}"}},"data":{{"n":"{number}"}}}}"#
        );
        let request = tokio::time::timeout(Duration::from_secs(5), maps.create(json)).await;
        match request {
            Ok(Ok(_)) => {
                acknowledged.push(name);
                count.send_replace(acknowledged.len());
            }
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    acknowledged
}

/// Watches, and goes on where it broke off; never lists again.
async fn follow(maps: Api, mut from: String, told: Arc<Mutex<Told>>) {
    loop {
        let options = ListOptions {
            resource_version: from.clone(),
            ..ListOptions::default()
        };
        let Ok(mut watch) = maps.watch(&options).await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        told.lock().resumed += 1;
        while let Some(event) = watch.next().await {
            match event {
                Ok(WatchEvent::Added(object)) => {
                    from = object.resource_version().to_owned();
                    told.lock().added.push(object.name().to_owned());
                }
                Ok(WatchEvent::Modified(object) | WatchEvent::Deleted(object)) => {
                    from = object.resource_version().to_owned();
                }
                Ok(WatchEvent::Bookmark { resource_version }) => from = resource_version,
                Err(error @ client::Error::Api { .. }) => {
                    told.lock().refused.push(format!("from {from}: {error}"));
                    return;
                }
                Err(_) => break,
            }
        }
    }
}

async fn check_writes(maps: &Api, acknowledged: &[String], rounds: u32) {
    let list = maps.list(&ListOptions::default()).await.unwrap();
    let present: BTreeMap<&str, &Object> = list
        .items
        .iter()
        .map(|object| (object.name(), object))
        .collect();
    let lost: Vec<&String> = acknowledged
        .iter()
        .filter(|name| !present.contains_key(name.as_str()))
        .collect();
    println!(
        "{} writes acknowledged over {rounds} kills",
        acknowledged.len()
    );
    let least = WRITES_BEFORE_A_KILL * (usize::try_from(rounds).unwrap() + 1);
    assert!(acknowledged.len() >= least, "writes before each kill");
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
}

async fn check_watch(told: &Mutex<Told>, acknowledged: &[String]) {
    let missing = || {
        let told = told.lock();
        let added: BTreeSet<&String> = told.added.iter().collect();
        let missing = acknowledged.iter().filter(|name| !added.contains(name));
        missing.cloned().collect::<Vec<_>>()
    };
    for _ in 0..100 {
        if missing().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let missing = missing();
    let told = told.lock();
    let different: BTreeSet<&String> = told.added.iter().collect();
    println!(
        "the watch was told of {} objects and went on {} times",
        told.added.len(),
        told.resumed
    );
    assert!(told.refused.is_empty(), "{:?}", told.refused);
    assert!(missing.is_empty(), "never told: {missing:?}");
    assert_eq!(different.len(), told.added.len(), "told twice");
    assert!(told.resumed > 1, "it broke off at least once");
}

/// No tick is missing, none is there twice, and they come to this moment.
async fn check_log(client: &Client) {
    let read = || async {
        let path = "/api/v1/namespaces/default/pods/ticker/log";
        let mut answer = client.bytes(http::Method::GET, path, None).await;
        // The agent was killed a moment ago, perhaps.
        for _ in 0..600 {
            if answer.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            answer = client.bytes(http::Method::GET, path, None).await;
        }
        let bytes = answer.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let ticks = text.lines().map(|line| {
            let number = line.strip_prefix("tick ").map(str::parse::<u64>);
            number.unwrap_or_else(|| panic!("{line:?}")).unwrap()
        });
        ticks.collect::<Vec<u64>>()
    };
    let before = read().await;
    let first = before.first().copied().unwrap_or_default();
    let expected: Vec<u64> = (first..).take(before.len()).collect();
    assert_eq!(before, expected, "ticks are missing or doubled");
    assert!(before.len() > 100, "{} ticks", before.len());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let after = read().await;
    assert!(after.last() > before.last(), "the container logs on");
    println!("{} ticks in the log, none missing", after.len());
}

/// The agent's pid on the host: the child of the node's pid 1 that runs `agent`.
pub(crate) fn agent_of(node: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{node}/task/{node}/children")).ok()?;
    children
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .find(|pid: &u32| {
            let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split('\0').any(|word| word == "agent")
        })
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test's task ends with the test"
)]
fn spawn<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> tokio::task::JoinHandle<T> {
    tokio::spawn(future)
}
