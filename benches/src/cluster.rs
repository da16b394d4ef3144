//! The cluster under measurement: a folder of its own, a name with this process's id, gone with
//! the fixture.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use api::Gvr;
use bootstrap::local::{Cluster, Options, cluster};
use client::{ListOptions, WatchEvent};
use kubectl::Connection;
use tokio::time::{Instant, sleep, timeout};

use crate::leftovers::{PARENT, PREFIX};
use crate::report::line;

/// The image that the pods run.
pub(crate) const IMAGE: &str = "localhost/transom-hello:latest";

/// A start that takes longer than this has failed.
const START_WITHIN: Duration = Duration::from_secs(30);

/// How long from the exec of `transom up` to …
pub(crate) struct Started {
    /// … an answer of 200 from /readyz.
    pub(crate) api_ready: Duration,
    /// … the watch event that shows the last node Ready.
    pub(crate) node_ready: Duration,
}

pub(crate) struct Fixture {
    pub(crate) name: String,
    pub(crate) binary: PathBuf,
    nodes: usize,
    folder: tempfile::TempDir,
}

impl Fixture {
    pub(crate) fn new(binary: &Path, nodes: usize) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(PARENT)
            .with_context(|| format!("create a folder in {PARENT}"))?;
        Ok(Self {
            name: format!("bench{}", std::process::id()),
            binary: binary.to_owned(),
            nodes,
            folder,
        })
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    fn command<S: AsRef<OsStr>>(&self, words: &[S]) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(&self.binary);
        command
            .args(words)
            .env("TRANSOM_DATA", self.folder.path().join("data"))
            .env("HOME", self.folder.path())
            .env_remove("SUDO_USER")
            .env_remove("KUBECONFIG")
            .stdin(Stdio::null());
        command
    }

    async fn must<S: AsRef<OsStr>>(&self, words: &[S]) -> Result<()> {
        let words: Vec<&OsStr> = words.iter().map(AsRef::as_ref).collect();
        let output = self.command(&words).output().await;
        let output = output.with_context(|| format!("run {}", self.binary.display()))?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            bail!("transom {words:?}: {}", text.trim());
        }
        Ok(())
    }

    pub(crate) fn cluster(&self) -> Result<Cluster> {
        let options = Options {
            root: Some(self.folder.path().join("data")),
            program: Some(self.binary.clone()),
        };
        cluster(&self.name, &options).context("look at the cluster")
    }

    /// A client with a connection of its own.
    pub(crate) fn connect(&self) -> Result<Connection> {
        kubectl::connect(&self.cluster()?.admin_kubeconfig, None)
    }

    /// First boot: keys, store and node are made on the way.
    pub(crate) async fn up(&self) -> Result<Started> {
        let start = Instant::now();
        let nodes = self.nodes.to_string();
        let mut child = self
            .command(&["up", "--name", &self.name, "--nodes", &nodes])
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("run {}", self.binary.display()))?;
        let seen = async {
            let connection = self.answer().await;
            let api_ready = start.elapsed();
            let nodes = connection.client.resource(&Gvr::new("", "v1", "nodes"));
            let list = nodes.list(&ListOptions::default()).await?;
            let mut watch = nodes
                .watch(&ListOptions {
                    resource_version: list.resource_version,
                    ..ListOptions::default()
                })
                .await?;
            let mut objects = list.items;
            let mut ready = HashSet::new();
            loop {
                for node in objects {
                    let dom = node.parse().context("parse a node")?;
                    if api::meta::condition_is_true(dom.as_ref(), "Ready") {
                        ready.insert(node.name().to_owned());
                    }
                }
                if ready.len() == self.nodes {
                    let node_ready = start.elapsed();
                    return Ok(Started {
                        api_ready,
                        node_ready,
                    });
                }
                objects = match watch.next().await.context("the watch of nodes ended")?? {
                    WatchEvent::Added(node) | WatchEvent::Modified(node) => vec![node],
                    _ => Vec::new(),
                };
            }
        };
        let seen: Result<Started> = timeout(START_WITHIN, seen)
            .await
            .unwrap_or_else(|_| bail!("not all nodes are Ready after {START_WITHIN:?}"));
        let status = timeout(START_WITHIN, child.wait()).await;
        let status = status.context("transom up does not end")?;
        let status = status.context("wait for transom up")?;
        if !status.success() {
            bail!("transom up: {status}");
        }
        seen
    }

    /// Asks again and again: nothing announces an API that does not exist yet.
    async fn answer(&self) -> Connection {
        loop {
            if let Ok(connection) = self.connect() {
                let answer = connection.client.bytes(http::Method::GET, "/readyz", None);
                if answer.await.is_ok() {
                    return connection;
                }
            }
            sleep(Duration::from_millis(3)).await;
        }
    }

    /// Gives the node the image of the pods: the binary itself, which must be static.
    pub(crate) async fn import_image(&self) -> Result<()> {
        let archive = images::build::single_binary(&self.binary, &["/transom", "hello"], IMAGE)?;
        let path = self.folder.path().join("hello.tar");
        fs::write(&path, archive).with_context(|| format!("write {}", path.display()))?;
        let words: [&OsStr; 5] = [
            "image".as_ref(),
            "import".as_ref(),
            "--name".as_ref(),
            self.name.as_ref(),
            path.as_ref(),
        ];
        self.must(&words).await
    }

    /// The ends of all logs.
    pub(crate) fn logs(&self) -> String {
        let mut text = String::new();
        if let Ok(found) = self.cluster() {
            let nodes = found.nodes.iter().map(|node| node.log.clone());
            for file in nodes.chain([found.server_log.clone()]) {
                let log = fs::read_to_string(&file).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                let last = lines[lines.len().saturating_sub(20)..].join("\n");
                text.push_str(&format!("--- {}\n{last}\n", file.display()));
            }
        }
        text
    }
}

impl Drop for Fixture {
    #[expect(clippy::disallowed_methods, reason = "no runtime is left to wait on")]
    fn drop(&mut self) {
        let output = std::process::Command::new(&self.binary)
            .args(["down", "--name", &self.name])
            .env("TRANSOM_DATA", self.folder.path().join("data"))
            .env("HOME", self.folder.path())
            .env_remove("SUDO_USER")
            .env_remove("KUBECONFIG")
            .output();
        match output {
            Ok(output) if output.status.success() => {}
            Ok(output) => {
                let text = String::from_utf8_lossy(&output.stderr).into_owned();
                if !text.contains("no cluster") {
                    line(&format!("transom down: {}", text.trim()));
                }
            }
            Err(error) => line(&format!("transom down: {error}")),
        }
    }
}
