//! A real local cluster from the real binary: scenarios, kills, and a host left as found.
//!
//! Needs root, a static binary in `TRANSOM_BIN` and, for the scenarios, upstream's kubectl in
//! `SCENARIO_KUBECTL`; says why it skips. Everything lives in a data folder of its own and under
//! a name with this process's id, so that a killed predecessor is no obstacle.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use api::Gvr;
use bootstrap::local::{Cluster, Options, cluster};
use bootstrap::snapshot::{HostState, Scope};
use client::{Client, Object};

/// One cluster at a time: the host is compared before and after.
static ONE: Mutex<()> = Mutex::new(());

/// A cluster that goes with the test, also when it fails.
struct Fixture {
    name: String,
    binary: PathBuf,
    folder: tempfile::TempDir,
    _one: MutexGuard<'static, ()>,
}

impl Fixture {
    /// `None` with the reason printed when this machine cannot run it.
    fn new(purpose: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root");
            return None;
        }
        let Some(binary) = std::env::var_os("TRANSOM_BIN") else {
            println!("skipped: TRANSOM_BIN names no binary");
            return None;
        };
        let name = format!("{purpose}{}", std::process::id());
        // On a real file system: the nodes' overlays stand on it.
        let folder = tempfile::Builder::new()
            .prefix("transom-test")
            .tempdir_in("/var/lib")
            .unwrap();
        let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Self {
            name,
            binary: binary.into(),
            folder,
            _one,
        })
    }

    #[expect(clippy::disallowed_methods, reason = "a test runs the binary")]
    fn transom(&self, words: &[&str]) -> (bool, String) {
        let output = Command::new(&self.binary)
            .args(words)
            .env("TRANSOM_DATA", self.folder.path().join("data"))
            .env("HOME", self.folder.path())
            .env_remove("SUDO_USER")
            .env_remove("KUBECONFIG")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), text)
    }

    #[track_caller]
    fn must(&self, words: &[&str]) -> String {
        let (good, text) = self.transom(words);
        assert!(good, "transom {}\n{text}\n{}", words.join(" "), self.logs());
        text
    }

    fn cluster(&self) -> Cluster {
        let root = Some(self.folder.path().join("data"));
        cluster(
            &self.name,
            &Options {
                root,
                program: Some(self.binary.clone()),
            },
        )
        .unwrap()
    }

    /// The ends of all logs, for a failure's message.
    fn logs(&self) -> String {
        let mut text = String::new();
        let root = Some(self.folder.path().join("data"));
        let options = Options {
            root,
            program: Some(self.binary.clone()),
        };
        if let Ok(found) = cluster(&self.name, &options) {
            let files = found.nodes.iter().map(|node| node.log.clone());
            for file in files.chain([found.server_log.clone()]) {
                let log = fs::read_to_string(&file).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                let last = lines[lines.len().saturating_sub(40)..].join("\n");
                text.push_str(&format!("--- {}\n{last}\n", file.display()));
            }
        }
        text
    }

    fn client(&self) -> Client {
        kubectl::connect(&self.cluster().admin_kubeconfig, None)
            .unwrap()
            .client
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.logs());
        }
        let (good, text) = self.transom(&["down", "--name", &self.name]);
        if !good && !text.contains("no cluster") {
            println!("transom down: {text}");
        }
    }
}

/// Brings a cluster up, runs every scenario, takes it down; the host is as before.
#[test]
fn scenarios_and_a_clean_host() {
    let Some(fixture) = Fixture::new("s") else {
        return;
    };
    let scope = Scope {
        folders: Vec::new(),
        commands: vec![fixture.folder.path().display().to_string()],
    };
    let before = HostState::take(&scope).unwrap();
    fixture.must(&["up", "--name", &fixture.name]);
    fixture.must(&["up", "--name", &fixture.name]);
    assert!(fixture.must(&["clusters"]).contains("running"));
    let image = fixture.folder.path().join("hello.tar");
    let bytes = images::build::single_binary(
        &fixture.binary,
        &["/transom", "hello"],
        "localhost/transom-hello:latest",
    );
    fs::write(&image, bytes.unwrap()).unwrap();
    let file = image.to_str().unwrap();
    let printed = fixture.must(&["image", "import", "--name", &fixture.name, file]);
    assert!(
        printed.contains("localhost/transom-hello:latest"),
        "{printed}"
    );
    let node = fixture.cluster().nodes[0].name.clone();
    let program = fixture.binary.to_str().unwrap();
    let version = fixture.must(&[
        "node",
        "exec",
        "--name",
        &fixture.name,
        &node,
        "--",
        program,
        "--version",
    ]);
    assert!(version.contains("transom"), "{version}");
    if let Some(kubectl) = std::env::var_os("SCENARIO_KUBECTL") {
        let kubeconfig = fixture.cluster().admin_kubeconfig;
        for folder in ["api", "node"] {
            for file in crate::scenario::files(folder) {
                println!("{}", file.display());
                crate::scenario::run(&file, &kubeconfig, Path::new(&kubectl));
            }
        }
    } else {
        println!("scenarios skipped: SCENARIO_KUBECTL names no kubectl");
    }
    fixture.must(&["stop", "--name", &fixture.name]);
    fixture.must(&["start", "--name", &fixture.name]);
    fixture.must(&["down", "--name", &fixture.name]);
    let mut left = HostState::take(&scope).unwrap().since(&before);
    // What went away belonged to others.
    left.retain(|line| line.starts_with('+'));
    assert!(left.is_empty(), "left behind: {left:#?}");
}

/// Kills the control plane, the agent or both at random moments while objects are written:
/// containers run on, addresses stay, and every acknowledged write is there.
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
    let image = fixture.folder.path().join("hello.tar");
    let bytes = images::build::single_binary(
        &fixture.binary,
        &["/transom", "hello"],
        "localhost/transom-hello:latest",
    );
    fs::write(&image, bytes.unwrap()).unwrap();
    fixture.must(&[
        "image",
        "import",
        "--name",
        &fixture.name,
        image.to_str().unwrap(),
    ]);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client = fixture.client();
        let pods = client.namespaced(&Gvr::new("", "v1", "pods"), "default");
        create_when_possible(&pods, POD).await;
        let first = wait_until_running(&pods, "ticker").await;
        let stop = Arc::new(AtomicBool::new(false));
        let writer = {
            let (client, stop) = (client.clone(), stop.clone());
            spawn(write_load(client, stop))
        };
        let mut rng = base::Rng::from_os();
        for round in 0..rounds {
            tokio::time::sleep(Duration::from_millis(200 + rng.below(1500))).await;
            let what = rng.below(3);
            let found = fixture.cluster();
            let mut victims = Vec::new();
            if what != 1 {
                victims.extend(found.server_pid);
            }
            if what != 0 {
                victims.extend(found.nodes.iter().filter_map(|node| agent_of(node.pid?)));
            }
            println!("round {round}: kill -9 {victims:?}");
            for pid in victims {
                let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        stop.store(true, Ordering::SeqCst);
        let acknowledged = writer.await.unwrap();
        let last = wait_until_running(&pods, "ticker").await;
        assert_eq!(first, last, "(pod address, container id, restarts) changed");
        let maps = client.namespaced(&Gvr::new("", "v1", "configmaps"), "default");
        let list = maps.list(&client::ListOptions::default()).await.unwrap();
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
        assert!(acknowledged.len() > 20, "the load wrote something");
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    });
}

const POD: &str = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"ticker","namespace":"default"},
"spec":{"containers":[{"name":"c","image":"localhost/transom-hello:latest","imagePullPolicy":"IfNotPresent"}]}}"#;

/// The service account of a new namespace takes a moment.
async fn create_when_possible(pods: &client::Api, json: &'static str) {
    for _ in 0..100 {
        match pods.create(json).await {
            Ok(_) => return,
            Err(error) if error.is_already_exists() => return,
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    pods.create(json).await.unwrap();
}

/// (pod address, container id, restarts) of a Ready pod.
async fn wait_until_running(pods: &client::Api, name: &str) -> (String, String, i64) {
    for _ in 0..600 {
        if let Ok(pod) = pods.get(name).await
            && let Ok(dom) = pod.parse()
            && api::meta::condition_is_true(dom.as_ref(), "Ready")
            && let Some(status) = dom.as_ref().get("status")
            && let Some(container) = status.items("containerStatuses").next()
        {
            return (
                status.str("podIP").to_owned(),
                container.str("containerID").to_owned(),
                container.int("restartCount").unwrap_or(0),
            );
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("pod {name} is not Ready after a minute");
}

/// Creates objects one after the other; gives the names that the server acknowledged.
async fn write_load(client: Client, stop: Arc<AtomicBool>) -> Vec<String> {
    let maps = client.namespaced(&Gvr::new("", "v1", "configmaps"), "default");
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
            Ok(Ok(_)) => acknowledged.push(name),
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    acknowledged
}

/// The agent's pid on the host: the child of the node's pid 1 that runs `agent`.
fn agent_of(node: u32) -> Option<u32> {
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
