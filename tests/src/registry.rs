//! Pods whose images come from Debian's docker-registry on the loopback: open and with a password,
//! a damaged blob on its disk, names and digests that it does not have.
//!
//! The registry's store is written in its own layout, so that nothing has to push. It ends with its
//! parent, also when that is killed; ports and folders are its own.
//! Needs root, a binary in `TRANSOM_BIN`, docker-registry and busybox; says why it skips.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use api::Gvr;
use client::{Api, Client};
use images::build::Build;
use images::{ImageConfig, Reference};
use schema::Dom;

use crate::fixture::{Fixture, create_when_possible};
use crate::until::object_until;

const REGISTRY: &str = "/usr/bin/docker-registry";
const BUSYBOX: &str = "/bin/busybox";
/// `demo` with the password `secret`.
const PASSWORDS: &str = "demo:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

#[expect(clippy::disallowed_methods, reason = "a test runs other programs")]
fn command(program: &str) -> Command {
    Command::new(program)
}

/// docker-registry over a folder.
struct Registry {
    server: Child,
    root: PathBuf,
    address: String,
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

impl Registry {
    fn start(folder: &Path, name: &str, is_open: bool) -> Self {
        let folder = folder.join(name);
        let root = folder.join("store");
        fs::create_dir_all(&root).unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let passwords = folder.join("htpasswd");
        fs::write(&passwords, PASSWORDS).unwrap();
        let mut text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\nhttp: {{addr: {address}}}\n",
            root.display()
        );
        if !is_open {
            let path = passwords.display();
            text.push_str(&format!(
                "auth: {{htpasswd: {{realm: demo, path: {path}}}}}\n"
            ));
        }
        let settings = folder.join("config.yml");
        fs::write(&settings, text).unwrap();
        let server = command("setpriv")
            .args(["--pdeathsig", "KILL", REGISTRY, "serve"])
            .arg(&settings)
            .current_dir(&folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let started = Self {
            server,
            root,
            address: address.to_string(),
        };
        for _ in 0..200 {
            if std::net::TcpStream::connect(address).is_ok() {
                return started;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("docker-registry does not listen on {address}");
    }

    /// Puts an image of one program, `sleep`, under `REPOSITORY:1`; its largest blob's file.
    fn put(&self, repository: &str) -> PathBuf {
        let sleep = fs::read(BUSYBOX).unwrap();
        let archive = Build::new(ImageConfig::default())
            .files(&[
                ("bin/sleep", 0o755, &sleep),
                ("name", 0o644, repository.as_bytes()),
            ])
            .unwrap();
        let reference: Reference = "localhost/any:1".parse().unwrap();
        let archive = archive.archive(&reference).unwrap();
        let layout = self
            .root
            .join(format!("layout-{}", repository.replace('/', "-")));
        fs::create_dir(&layout).unwrap();
        fs::write(layout.join("archive.tar"), archive).unwrap();
        let unpacked = command("tar")
            .args(["-xf", "archive.tar"])
            .current_dir(&layout)
            .status();
        assert!(unpacked.unwrap().success());
        let index = fs::read(layout.join("index.json")).unwrap();
        let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
        let manifest = index["manifests"][0]["digest"].as_str().unwrap();
        let store = self.root.join("docker/registry/v2");
        let own = store.join("repositories").join(repository);
        let link = |path: &str, digest: &str| {
            let folder = own.join(path);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("link"), digest).unwrap();
        };
        let mut largest = (0, PathBuf::new());
        for blob in fs::read_dir(layout.join("blobs/sha256")).unwrap() {
            let blob = blob.unwrap().path();
            let hex = blob.file_name().unwrap().to_str().unwrap().to_owned();
            let at = store.join("blobs/sha256").join(&hex[..2]).join(&hex);
            fs::create_dir_all(&at).unwrap();
            let size = fs::copy(&blob, at.join("data")).unwrap();
            largest = largest.max((size, at.join("data")));
            link(&format!("_layers/sha256/{hex}"), &format!("sha256:{hex}"));
        }
        let hex = manifest.strip_prefix("sha256:").unwrap();
        link(&format!("_manifests/revisions/sha256/{hex}"), manifest);
        link("_manifests/tags/1/current", manifest);
        link(&format!("_manifests/tags/1/index/sha256/{hex}"), manifest);
        largest.1
    }
}

fn sha256(file: &Path) -> String {
    let output = command("sha256sum").arg(file).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().next().unwrap().to_owned()
}

fn turn_a_byte(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes).unwrap();
}

async fn pod(pods: &Api, name: &str, image: &str, secret: &str) {
    let secrets = match secret {
        "" => String::new(),
        secret => format!(r#""imagePullSecrets":[{{"name":"{secret}"}}],"#),
    };
    let json = format!(
        r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{name}"}},"spec":{{{secrets}"terminationGracePeriodSeconds":0,"containers":[{{"name":"c","image":"{image}","command":["/bin/sleep","3600"]}}]}}}}"#
    );
    create_when_possible(pods, json).await;
}

/// Phase, and why the container waits.
fn state(pod: &Dom) -> (String, String, String) {
    let status = pod.as_ref().get("status").unwrap();
    let container = status.items("containerStatuses").next();
    let waiting = container.and_then(|container| container.at(&["state", "waiting"]));
    let text = |key| waiting.map_or("", |waiting| waiting.str(key)).to_owned();
    (
        status.str("phase").to_owned(),
        text("reason"),
        text("message"),
    )
}

/// What is said about a pull that failed.
async fn failure(pods: &Api, name: &str) -> String {
    object_until(pods, name, "cannot be pulled", |pod| {
        let (phase, reason, message) = state(pod);
        assert_ne!(phase, "Running", "pod {name} runs");
        matches!(reason.as_str(), "ErrImagePull" | "ImagePullBackOff").then_some(message)
    })
    .await
}

async fn running(pods: &Api, name: &str) {
    object_until(pods, name, "runs", |pod| {
        (state(pod).0 == "Running").then_some(())
    })
    .await;
}

#[test]
fn pods_of_a_registry() {
    for program in [REGISTRY, BUSYBOX] {
        if !Path::new(program).exists() {
            println!("skipped: {program} is missing");
            return;
        }
    }
    let Some(fixture) = Fixture::new("r") else {
        return;
    };
    let folder = fixture.folder.path();
    let open = Registry::start(folder, "open", true);
    let closed = Registry::start(folder, "closed", false);
    open.put("team/demo");
    closed.put("team/private");
    let damaged = open.put("team/damaged");
    let expected = sha256(&damaged);
    turn_a_byte(&damaged);
    let found = sha256(&damaged);
    fixture.must(&["up", "--name", &fixture.name]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client = fixture.client();
        let pods = client.namespaced(&Gvr::new("", "v1", "pods"), "default");
        let (open, closed) = (&open.address, &closed.address);
        pod(&pods, "plain", &format!("{open}/team/demo:1"), "").await;
        let nothing = format!("{open}/team/demo@sha256:{}", "0".repeat(64));
        pod(&pods, "wrong-digest", &nothing, "").await;
        pod(&pods, "no-tag", &format!("{open}/team/demo:2"), "").await;
        pod(&pods, "no-repository", &format!("{open}/team/none:1"), "").await;
        pod(&pods, "damaged", &format!("{open}/team/damaged:1"), "").await;
        let private = format!("{closed}/team/private:1");
        pod(&pods, "no-secret", &private, "").await;
        secret(&client, "wrong", closed, "demo", "guess").await;
        secret(&client, "right", closed, "demo", "secret").await;
        pod(&pods, "wrong-secret", &private, "wrong").await;

        running(&pods, "plain").await;
        for (name, words) in [
            (
                "wrong-digest",
                vec![nothing.as_str(), "not found in the registry"],
            ),
            ("no-tag", vec!["team/demo:2", "not found in the registry"]),
            (
                "no-repository",
                vec!["team/none:1", "not found in the registry"],
            ),
            (
                "damaged",
                vec![expected.as_str(), found.as_str(), "digest mismatch"],
            ),
            ("no-secret", vec!["team/private"]),
            ("wrong-secret", vec!["team/private"]),
        ] {
            let message = failure(&pods, name).await;
            println!("{name}: {message}");
            for word in words {
                assert!(message.contains(word), "{name}: {word:?} in {message:?}");
            }
        }

        // Nothing of the damaged image is there, and it comes when the registry is mended.
        turn_a_byte(&damaged);
        running(&pods, "damaged").await;
        for name in [
            "wrong-digest",
            "no-tag",
            "no-repository",
            "no-secret",
            "wrong-secret",
        ] {
            let pod = pods.get(name).await.unwrap().parse().unwrap();
            assert_eq!(state(&pod).0, "Pending", "{name}");
        }
        // Last, for what is on the node serves every pod of it.
        pod(&pods, "right-secret", &private, "right").await;
        running(&pods, "right-secret").await;
    });
    fixture.must(&["down", "--name", &fixture.name]);
}

async fn secret(client: &Client, name: &str, registry: &str, user: &str, password: &str) {
    let document =
        format!(r#"{{"auths":{{"{registry}":{{"username":"{user}","password":"{password}"}}}}}}"#);
    let json = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": document},
    });
    let secrets = client.namespaced(&Gvr::new("", "v1", "secrets"), "default");
    secrets.create(json.to_string()).await.unwrap();
}
