//! A real local cluster of a test's own, from the real binary.
//!
//! Needs root and a binary in `TRANSOM_BIN`; says why it skips. Everything lives in a data folder
//! of its own and under a name with this process's id, so that a killed predecessor is no obstacle.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bootstrap::local::{Cluster, Options, cluster};
use client::Client;
use netlink::Namespace;
use schema::Dom;

use crate::until::object_until;

/// One cluster at a time: the host is compared before and after.
static ONE: Mutex<()> = Mutex::new(());

/// A cluster that goes with the test, also when it fails.
pub(crate) struct Fixture {
    pub(crate) name: String,
    pub(crate) binary: PathBuf,
    /// Goes after the cluster and before the folder that it is mounted in.
    disk: Option<Disk>,
    pub(crate) folder: tempfile::TempDir,
    /// The network namespace that stands for the host's; the real one when absent.
    host: Option<Namespace>,
    /// Absent of one that stands beside another.
    _one: Option<MutexGuard<'static, ()>>,
}

impl Fixture {
    /// `None` with the reason printed when this machine cannot run it.
    pub(crate) fn new(purpose: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root");
            return None;
        }
        let Some(binary) = std::env::var_os("TRANSOM_BIN") else {
            println!("skipped: TRANSOM_BIN names no binary");
            return None;
        };
        let name = format!("{purpose}{}", std::process::id());
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Self::of(name, binary.into(), Some(one)))
    }

    fn of(name: String, binary: PathBuf, _one: Option<MutexGuard<'static, ()>>) -> Self {
        // On a real file system: the nodes' overlays stand on it.
        let folder = tempfile::Builder::new()
            .prefix("transom-test")
            .tempdir_in("/var/lib")
            .unwrap();
        Self {
            name,
            binary,
            disk: None,
            folder,
            host: None,
            _one,
        }
    }

    /// Another cluster of the same host, with a data folder of its own.
    pub(crate) fn beside(&self) -> Self {
        Self::of(format!("{}b", self.name), self.binary.clone(), None)
    }

    /// The cluster's host is `namespace` instead of this one, as far as the network goes.
    pub(crate) fn on(mut self, namespace: Namespace) -> Self {
        self.host = Some(namespace);
        self
    }

    /// The data folder is a file system of its own, of `size` as tmpfs has it.
    pub(crate) fn with_disk(mut self, size: &std::ffi::CStr) -> Self {
        fs::create_dir(self.data()).unwrap();
        self.disk = Some(Disk::mount(&self.data(), size));
        self
    }

    /// The data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The binary with these words, in the cluster's surroundings.
    #[expect(clippy::disallowed_methods, reason = "a test runs the binary")]
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(words)
            .env("TRANSOM_DATA", self.data())
            .env("HOME", self.folder.path())
            .env_remove("SUDO_USER")
            .env_remove("SUDO_UID")
            .env_remove("KUBECONFIG");
        command
    }

    /// Runs a command where the cluster's host is; whether it went well, and what it printed.
    pub(crate) fn run(&self, mut command: Command) -> (bool, String) {
        let output = match &self.host {
            Some(host) => host.run(move || command.output()).unwrap(),
            None => command.output(),
        };
        let output = output.unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), text)
    }

    pub(crate) fn transom(&self, words: &[&str]) -> (bool, String) {
        self.run(self.command(words))
    }

    /// What a refused command says, with this test's folder, name and numbers left out.
    #[track_caller]
    pub(crate) fn refused(&self, words: &[&str]) -> String {
        let (good, text) = self.transom(words);
        assert!(!good, "transom {} went well\n{text}", words.join(" "));
        self.plain(&text)
    }

    /// A text with this test's folder and name left out, from its first error on.
    pub(crate) fn plain(&self, text: &str) -> String {
        let from = text.find("error: ").unwrap_or(0);
        let folder = self.folder.path().display().to_string();
        text[from..]
            .replace(&folder, "DIR")
            .replace(&self.name, "NAME")
    }

    #[track_caller]
    pub(crate) fn must(&self, words: &[&str]) -> String {
        let (good, text) = self.transom(words);
        assert!(good, "transom {}\n{text}\n{}", words.join(" "), self.logs());
        text
    }

    pub(crate) fn cluster(&self) -> Cluster {
        let root = Some(self.data());
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
    pub(crate) fn logs(&self) -> String {
        let mut text = String::new();
        let root = Some(self.data());
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

    pub(crate) fn client(&self) -> Client {
        kubectl::connect(&self.cluster().admin_kubeconfig, None)
            .unwrap()
            .client
    }
}

/// A file system in memory that goes with the test.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path, options: &std::ffi::CStr) -> Self {
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("transom-test", at, "tmpfs", flags, Some(options)).unwrap();
        Self(at.to_owned())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The host's state shows whether it is gone.
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
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

/// Pod address, container id, restarts.
pub(crate) type Running = (String, String, i64);

/// What a Ready pod says of itself.
pub(crate) fn running(pod: &Dom) -> Option<Running> {
    if !api::meta::condition_is_true(pod.as_ref(), "Ready") {
        return None;
    }
    let status = pod.as_ref().get("status")?;
    let container = status.items("containerStatuses").next()?;
    Some((
        status.str("podIP").to_owned(),
        container.str("containerID").to_owned(),
        container.int("restartCount").unwrap_or(0),
    ))
}

/// The same, once it is Ready.
pub(crate) async fn wait_until_running(pods: &client::Api, name: &str) -> Running {
    object_until(pods, name, "is Ready", running).await
}

/// The service account of a new namespace takes a moment.
pub(crate) async fn create_when_possible(pods: &client::Api, json: impl Into<String>) {
    let json = json.into();
    for _ in 0..100 {
        match pods.create(json.clone()).await {
            Ok(_) => return,
            Err(error) if error.is_already_exists() => return,
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    pods.create(json).await.unwrap();
}

impl Fixture {
    /// Gives every node an image that is the binary itself, `localhost/transom-hello:latest`.
    pub(crate) fn import_hello(&self) -> String {
        let image = self.folder.path().join("hello.tar");
        let bytes = images::build::single_binary(
            &self.binary,
            &["/transom", "hello"],
            "localhost/transom-hello:latest",
        );
        fs::write(&image, bytes.unwrap()).unwrap();
        let file = image.to_str().unwrap();
        self.must(&["image", "import", "--name", &self.name, file])
    }
}
