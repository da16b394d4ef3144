//! Pulls from a registry made here, with faults on request, and from Debian's docker-registry.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base::{Shutdown, SystemClock};
use bytes::Bytes;
use expect_test::{Expect, expect};
use parking_lot::Mutex;
use transport::{Body, Request, Response};

use super::Event;
use crate::build::Build;
use crate::digest::Digest;
use crate::images::{Config, Image, Images};
use crate::manifest::ImageConfig;
use crate::registry::{Auth, Registries};
use crate::tar::Reader;
use crate::{ImageError, Reference};

/// What the registry does wrong.
#[derive(Default)]
struct Faults {
    /// Only with this `Authorization`; tokens come from `/token` for ann:secret.
    protected: bool,
    /// Blobs break off after this many bytes of each answer.
    cut: Option<usize>,
    /// Every layer has one wrong byte.
    damaged: bool,
    /// Manifests have one byte more.
    padded: bool,
    /// This many answers are 503 before the first good one.
    busy: usize,
    /// Blobs are elsewhere.
    redirect: Option<String>,
}

#[derive(Default)]
struct State {
    /// `manifests/TAG`, `manifests/DIGEST`, `blobs/DIGEST`.
    documents: BTreeMap<String, Bytes>,
    faults: Faults,
    log: Vec<String>,
}

#[derive(Clone)]
struct Registry {
    state: Arc<Mutex<State>>,
    address: String,
    shutdown: Shutdown,
}

impl Drop for Registry {
    fn drop(&mut self) {
        if Arc::strong_count(&self.state) <= 2 {
            self.shutdown.trigger();
        }
    }
}

impl Registry {
    async fn start(faults: Faults) -> Registry {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(Mutex::new(State {
            faults,
            ..State::default()
        }));
        let shutdown = Shutdown::new();
        let (shared, own) = (state.clone(), address.clone());
        let service = transport::service_fn(move |request| {
            let response = answer(&shared, &own, &request);
            std::future::ready(response)
        });
        let config = transport::server::ServerConfig::default();
        let serve = transport::server::serve(listener, config, service, shutdown.clone());
        base::tasks::spawn("registry", &shutdown, async move {
            serve.await.unwrap();
        });
        Registry {
            state,
            address,
            shutdown,
        }
    }

    /// Puts the contents of an OCI archive under `demo:TAG`.
    fn push(&self, tag: &str, archive: &[u8]) {
        let mut tar = Reader::new(archive);
        let mut state = self.state.lock();
        let mut index = None;
        while let Some(entry) = tar.next().unwrap() {
            let mut data = Vec::new();
            std::io::Read::read_to_end(&mut tar.data(), &mut data).unwrap();
            let path = String::from_utf8(entry.path).unwrap();
            if path == "index.json" {
                index = Some(serde_json::from_slice::<crate::manifest::Index>(&data).unwrap());
            } else if let Some(hex) = path
                .strip_prefix("blobs/sha256/")
                .filter(|hex| !hex.is_empty())
            {
                state
                    .documents
                    .insert(format!("blobs/sha256:{hex}"), data.into());
            }
        }
        let digest = index.unwrap().manifests[0].digest;
        let manifest = state.documents[&format!("blobs/{digest}")].clone();
        state
            .documents
            .insert(format!("manifests/{tag}"), manifest.clone());
        state
            .documents
            .insert(format!("manifests/{digest}"), manifest);
    }

    fn reference(&self, tag: &str) -> String {
        format!("{}/demo:{tag}", self.address)
    }

    fn blob_requests(&self) -> usize {
        self.state
            .lock()
            .log
            .iter()
            .filter(|line| line.contains("/blobs/"))
            .count()
    }
}

fn answer(state: &Mutex<State>, own: &str, request: &Request) -> Response {
    let mut state = state.lock();
    let header = |name: &str| {
        request
            .headers()
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
            .to_owned()
    };
    let path = request.uri().path().to_owned();
    let (authorization, range) = (header("authorization"), header("range"));
    state.log.push(format!("{path} {range}").trim().to_owned());
    let respond = |status: u16, body: Body| {
        let mut response = Response::new(body);
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
        response
    };
    if path == "/token" {
        // ann:secret
        return if authorization == "Basic YW5uOnNlY3JldA==" {
            respond(200, r#"{"token":"t0k3n"}"#.into())
        } else {
            respond(
                401,
                r#"{"errors":[{"code":"UNAUTHORIZED","message":"bad password"}]}"#.into(),
            )
        };
    }
    if state.faults.busy > 0 {
        state.faults.busy -= 1;
        return respond(503, "later".into());
    }
    if state.faults.protected && authorization != "Bearer t0k3n" {
        let mut response = respond(401, Body::empty());
        let challenge = format!(
            r#"Bearer realm="http://{own}/token",service="test",scope="repository:demo:pull""#
        );
        response
            .headers_mut()
            .insert("www-authenticate", challenge.parse().unwrap());
        return response;
    }
    let Some(name) = path.strip_prefix("/v2/demo/") else {
        return respond(404, Body::empty());
    };
    let Some(document) = state.documents.get(name).cloned() else {
        return respond(
            404,
            r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"unknown"}]}"#.into(),
        );
    };
    if let (Some(elsewhere), true) = (&state.faults.redirect, name.starts_with("blobs/")) {
        let mut response = respond(307, Body::empty());
        let target = format!("http://{elsewhere}{path}?signature=x");
        response
            .headers_mut()
            .insert("location", target.parse().unwrap());
        return response;
    }
    assert!(
        state.faults.redirect.is_some() || state.faults.protected || authorization.is_empty(),
        "credentials went to another origin"
    );
    if name.starts_with("manifests/") {
        let mut bytes = document.to_vec();
        if state.faults.padded {
            bytes.push(b' ');
        }
        return respond(200, bytes.into());
    }
    let mut bytes = document.to_vec();
    if state.faults.damaged && bytes.starts_with(&[0x1f, 0x8b]) {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    }
    let start: usize = range
        .strip_prefix("bytes=")
        .map_or(0, |range| range.trim_end_matches('-').parse().unwrap());
    let status = if start > 0 { 206 } else { 200 };
    let rest = bytes.split_off(start);
    if let Some(cut) = state.faults.cut
        && rest.len() > cut
    {
        let (sender, body) = Body::channel(2);
        assert!(
            sender
                .try_send(Bytes::copy_from_slice(&rest[..cut]))
                .is_ok()
        );
        #[expect(clippy::disallowed_methods, reason = "a fault in a test")]
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            sender.abort("cut").await;
        });
        return respond(status, body);
    }
    respond(status, rest.into())
}

/// A number generator's bytes do not compress, so that a layer has many chunks.
fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    base::Rng::new(7).bytes(&mut bytes);
    bytes
}

fn demo(contents: &[u8]) -> Vec<u8> {
    let base: &[(&str, u32, &[u8])] = &[("etc/base", 0o644, b"base")];
    let config = ImageConfig {
        cmd: vec!["/app".into()],
        ..ImageConfig::default()
    };
    let build = Build::new(config).files(base).unwrap();
    let build = build.files(&[("app", 0o755, contents)]).unwrap();
    build
        .archive(&"demo:1".parse::<Reference>().unwrap())
        .unwrap()
}

fn store() -> (tempfile::TempDir, Images) {
    let folder = tempfile::tempdir().unwrap();
    let images = Images::open(Config::new(folder.path()), Arc::new(SystemClock)).unwrap();
    (folder, images)
}

async fn pull(images: &Images, reference: &str, auth: &Auth) -> Result<Image, ImageError> {
    let registries = Registries::default().with_retry_pause(Duration::from_millis(1));
    images.pull(&registries, reference, auth, None).await
}

fn stored(root: &Path) -> usize {
    let count = |folder: &str| std::fs::read_dir(root.join(folder)).unwrap().count();
    count("blobs/sha256") + count("layers")
}

#[tokio::test]
async fn an_image_is_pulled_once() {
    let registry = Registry::start(Faults::default()).await;
    registry.push("1", &demo(b"elf"));
    let (_folder, images) = store();
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = events.clone();
    let registries = Registries::default();
    let progress: super::Progress = Arc::new(move |event| {
        let line = match event {
            Event::Resolved { layers, .. } => format!("resolved {layers}"),
            Event::Downloading { .. } => return,
            Event::Downloaded { .. } => "downloaded".to_owned(),
            Event::Unpacked { layer, layers } => format!("unpacked {layer}/{layers}"),
        };
        seen.lock().push(line);
    });
    let reference = registry.reference("1");
    let image = images
        .pull(&registries, &reference, &Auth::Anonymous, Some(progress))
        .await
        .unwrap();
    assert_eq!(std::fs::read(image.layers[0].join("app")).unwrap(), b"elf");
    assert_eq!(image.config.cmd, ["/app"]);
    assert_eq!(image.repo_tags, std::slice::from_ref(&reference));
    let mut events = std::mem::take(&mut *events.lock());
    assert_eq!(events[0], "resolved 2");
    events.sort();
    expect!["downloaded downloaded resolved 2 unpacked 1/2 unpacked 2/2"]
        .assert_eq(&events.join(" "));

    // A known image costs one question; by digest the same image comes.
    let before = registry.blob_requests();
    pull(&images, &reference, &Auth::Anonymous).await.unwrap();
    let by_digest = pull(&images, &image.repo_digests[0], &Auth::Anonymous)
        .await
        .unwrap();
    assert_eq!(by_digest.id, image.id);
    assert_eq!(registry.blob_requests(), before);
}

#[tokio::test]
async fn pulls_at_the_same_time_download_once() {
    let registry = Registry::start(Faults::default()).await;
    registry.push("1", &demo(&noise(300_000)));
    let (_folder, images) = store();
    let reference = registry.reference("1");
    let pulls = (0..8).map(|_| pull(&images, &reference, &Auth::Anonymous));
    let done = futures_util::future::join_all(pulls).await;
    assert!(done.iter().all(Result::is_ok), "{done:?}");
    assert_eq!(registry.blob_requests(), 3);
}

#[tokio::test]
async fn a_broken_download_goes_on() {
    let registry = Registry::start(Faults {
        cut: Some(60_000),
        ..Faults::default()
    })
    .await;
    let contents = noise(200_000);
    registry.push("1", &demo(&contents));
    let (_folder, images) = store();
    let image = pull(&images, &registry.reference("1"), &Auth::Anonymous)
        .await
        .unwrap();
    assert_eq!(
        std::fs::read(image.layers[0].join("app")).unwrap(),
        contents
    );
    let log = registry.state.lock().log.clone();
    let ranges: Vec<&String> = log.iter().filter(|line| line.contains("bytes=")).collect();
    assert!(ranges.len() >= 3, "{ranges:?}");
}

#[tokio::test]
async fn tokens_are_fetched_with_the_password() {
    let registry = Registry::start(Faults {
        protected: true,
        ..Faults::default()
    })
    .await;
    registry.push("1", &demo(b"elf"));
    let (folder, images) = store();
    let reference = registry.reference("1");
    let ann = |password: &str| Auth::Basic {
        username: "ann".into(),
        password: password.into(),
    };
    for auth in [Auth::Anonymous, ann("wrong")] {
        let error = pull(&images, &reference, &auth)
            .await
            .unwrap_err()
            .to_string();
        let expected =
            "the registry refused access (401): token service: UNAUTHORIZED bad password";
        assert!(error.ends_with(expected), "{error}");
    }
    assert_eq!(stored(folder.path()), 0);
    pull(&images, &reference, &ann("secret")).await.unwrap();
    let tokens = registry
        .state
        .lock()
        .log
        .iter()
        .filter(|line| *line == "/token")
        .count();
    assert_eq!(tokens, 3);
    let debug = format!("{:?}", ann("secret"));
    assert_eq!(debug, "Basic");
}

#[tokio::test]
async fn redirects_lose_the_credentials() {
    let elsewhere = Registry::start(Faults::default()).await;
    elsewhere.push("1", &demo(b"elf"));
    let faults = Faults {
        protected: true,
        redirect: Some(elsewhere.address.clone()),
        ..Faults::default()
    };
    let registry = Registry::start(faults).await;
    registry.push("1", &demo(b"elf"));
    let (_folder, images) = store();
    let auth = Auth::Basic {
        username: "ann".into(),
        password: "secret".into(),
    };
    pull(&images, &registry.reference("1"), &auth)
        .await
        .unwrap();
    assert_eq!(elsewhere.blob_requests(), 3);
}

/// One fault, one message; nothing stays behind.
#[track_caller]
fn check(faults: Faults, tag: &'static str, expect: Expect) -> impl Future<Output = ()> {
    let place = std::panic::Location::caller();
    async move {
        let registry = Registry::start(faults).await;
        registry.push("1", &demo(&noise(50_000)));
        let (folder, images) = store();
        let got = match pull(&images, &registry.reference(tag), &Auth::Anonymous).await {
            Ok(_) => "ok".to_owned(),
            Err(error) => {
                assert_eq!(stored(folder.path()), 0, "{place}");
                assert!(images.list().is_empty(), "{place}");
                error.to_string()
            }
        };
        let mut got = got.replace(&registry.address, "REGISTRY");
        while let Some(at) = got.find("sha256:").filter(|at| got.len() >= at + 71) {
            got.replace_range(at..at + 71, "DIGEST");
        }
        expect.assert_eq(&got);
    }
}

#[tokio::test]
async fn faults_are_named() {
    let none = Faults::default;
    check(
        none(),
        "2",
        expect!["REGISTRY/demo:2: not found in the registry"],
    )
    .await;
    check(
        Faults {
            damaged: true,
            ..none()
        },
        "1",
        expect!["digest mismatch of layer DIGEST of REGISTRY/demo:1: expected DIGEST, got DIGEST"],
    )
    .await;
    check(Faults { busy: 2, ..none() }, "1", expect!["ok"]).await;
    check(
        Faults {
            busy: 100,
            ..none()
        },
        "1",
        expect!["registry answered 503 to http://REGISTRY/v2/demo/manifests/1: later"],
    )
    .await;
}

#[tokio::test]
async fn a_manifest_asked_for_by_digest_is_verified() {
    let registry = Registry::start(Faults {
        padded: true,
        ..Faults::default()
    })
    .await;
    registry.push("1", &demo(b"elf"));
    let (folder, images) = store();
    let manifest = registry.state.lock().documents["manifests/1"].clone();
    let reference = format!("{}/demo@{}", registry.address, Digest::of(&manifest));
    let error = pull(&images, &reference, &Auth::Anonymous)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("digest mismatch of manifest of "),
        "{error}"
    );
    assert_eq!(stored(folder.path()), 0);
}

#[tokio::test]
async fn nobody_listening_is_unreachable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (_folder, images) = store();
    let error = pull(&images, &format!("{address}/demo:1"), &Auth::Anonymous)
        .await
        .unwrap_err();
    assert!(error.transient());
    let error = error.to_string().replace(&address.to_string(), "REGISTRY");
    assert!(
        error.starts_with("cannot reach registry REGISTRY: "),
        "{error}"
    );
}

#[tokio::test]
async fn indexes_lead_to_this_machines_image() {
    let registry = Registry::start(Faults::default()).await;
    registry.push("1", &demo(b"elf"));
    let manifest = registry.state.lock().documents["manifests/1"].clone();
    let (os, architecture) = ("linux", crate::manifest::Platform::host().architecture);
    let entry = |digest: Digest, architecture: &str| {
        format!(
            r#"{{"digest":"{digest}","size":{},"platform":{{"os":"{os}","architecture":"{architecture}"}}}}"#,
            manifest.len()
        )
    };
    let index = |entries: &[String]| {
        Bytes::from(format!(
            r#"{{"schemaVersion":2,"manifests":[{}]}}"#,
            entries.join(",")
        ))
    };
    let other = entry(Digest::of(b"other"), "mips");
    let list = index(&[other.clone(), entry(Digest::of(&manifest), &architecture)]);
    {
        let mut state = registry.state.lock();
        state
            .documents
            .insert("manifests/list".into(), list.clone());
        state
            .documents
            .insert("manifests/foreign".into(), index(&[other]));
    }
    let (_folder, images) = store();
    let image = pull(&images, &registry.reference("list"), &Auth::Anonymous)
        .await
        .unwrap();
    let expected = format!("{}/demo@{}", registry.address, Digest::of(&list));
    assert_eq!(image.repo_digests, [expected]);
    let error = pull(&images, &registry.reference("foreign"), &Auth::Anonymous)
        .await
        .unwrap_err();
    assert!(error.to_string().ends_with("it has linux/mips"), "{error}");
}

#[tokio::test]
async fn debians_registry_serves_us() {
    #[expect(clippy::disallowed_methods, reason = "a real registry")]
    let command = |program: &str| std::process::Command::new(program);
    let present = |path: &str| Path::new(path).exists();
    if !present("/usr/bin/docker-registry") || !present("/usr/bin/skopeo") {
        eprintln!("skipped debians_registry_serves_us: docker-registry or skopeo is missing");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let settings = folder.path().join("config.yml");
    let root = folder.path().join("registry");
    let text = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\nhttp: {{addr: {address}}}\n",
        root.display()
    );
    std::fs::write(&settings, text).unwrap();
    let mut server = command("/usr/bin/docker-registry")
        .current_dir(folder.path())
        .arg("serve")
        .arg(&settings)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    for _ in 0..200 {
        if tokio::net::TcpStream::connect(address).await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let archive = folder.path().join("demo.tar");
    let contents = noise(3_000_000);
    std::fs::write(&archive, demo(&contents)).unwrap();
    let reference = format!("{address}/team/demo:1");
    let push = command("/usr/bin/skopeo")
        .current_dir(folder.path())
        .args(["--insecure-policy", "copy", "--dest-tls-verify=false"])
        .arg(format!("oci-archive:{}", archive.display()))
        .arg(format!("docker://{reference}"))
        .output()
        .unwrap();
    let pushed = push.status.success();
    let (_store, images) = store();
    let image = pull(&images, &reference, &Auth::Anonymous).await;
    let missing = pull(&images, &format!("{address}/team/none:1"), &Auth::Anonymous).await;
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(pushed, "{}", String::from_utf8_lossy(&push.stderr));
    let image = image.unwrap();
    assert_eq!(
        std::fs::read(image.layers[0].join("app")).unwrap(),
        contents
    );
    let missing = missing.unwrap_err().to_string();
    assert!(
        missing.ends_with("team/none:1: not found in the registry"),
        "{missing}"
    );
}
