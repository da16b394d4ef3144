//! The store as the runtime sees it: import, resolve, hold, remove, survive.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base::ManualClock;
use expect_test::expect;

use super::{CollectPolicy, Config, Images};
use crate::build::{Build, single_binary};
use crate::manifest::ImageConfig;

fn open(root: &Path) -> (Images, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(
        jiff::Timestamp::from_second(1000).unwrap(),
    ));
    (
        Images::open(Config::new(root), clock.clone()).unwrap(),
        clock,
    )
}

fn config() -> ImageConfig {
    ImageConfig {
        env: vec!["A=b".into()],
        entrypoint: vec!["/app".into()],
        user: "1000:1000".into(),
        volumes: vec!["/data".into()],
        exposed_ports: vec!["80/tcp".into()],
        ..ImageConfig::default()
    }
}

fn demo(name: &str, contents: &[u8]) -> Vec<u8> {
    let build = Build::new(config());
    let base: &[(&str, u32, &[u8])] = &[("etc/base", 0o644, b"base")];
    let build = build
        .files(base)
        .unwrap()
        .files(&[("app", 0o755, contents)])
        .unwrap();
    build.archive(&name.parse().unwrap()).unwrap()
}

fn import_of(bytes: &[u8]) -> std::io::Cursor<Vec<u8>> {
    std::io::Cursor::new(bytes.to_vec())
}

fn files(root: &Path, folder: &str) -> usize {
    std::fs::read_dir(root.join(folder)).unwrap().count()
}

/// Waits for the flush behind the last import.
async fn settle(images: &Images) {
    while Arc::strong_count(&images.inner) > 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    images.inner.layers.flush().unwrap();
}

#[tokio::test]
async fn an_archive_becomes_an_image() {
    let folder = tempfile::tempdir().unwrap();
    let (images, _) = open(folder.path());
    images
        .import(import_of(&demo("demo:1", b"elf")), None)
        .await
        .unwrap();
    for name in ["demo:1", "docker.io/library/demo:1"] {
        let image = images.resolve(name).unwrap();
        assert_eq!(image.config, config());
        assert_eq!(std::fs::read(image.layers[0].join("app")).unwrap(), b"elf");
        assert_eq!(
            std::fs::read(image.layers[1].join("etc/base")).unwrap(),
            b"base"
        );
        assert_eq!(images.resolve(&image.id).unwrap().id, image.id);
        assert_eq!(images.resolve(&image.repo_digests[0]).unwrap().id, image.id);
        assert_eq!(images.resolve(&image.id[7..20]).unwrap().id, image.id);
    }
    assert!(images.resolve("demo:2").is_none());
    expect![[r#"["docker.io/library/demo:1"]"#]].assert_eq(&format!(
        "{:?}",
        images.resolve("demo:1").unwrap().repo_tags
    ));
}

#[tokio::test]
async fn names_move_and_layers_go_when_nobody_holds_them() {
    let folder = tempfile::tempdir().unwrap();
    let (images, _) = open(folder.path());
    images
        .import(import_of(&demo("demo:1", b"one")), None)
        .await
        .unwrap();
    let old = images.resolve("demo:1").unwrap();
    images
        .import(import_of(&demo("demo:1", b"two")), None)
        .await
        .unwrap();
    let new = images.resolve("demo:1").unwrap();
    assert_ne!(old.id, new.id);
    assert!(images.resolve(&old.id).unwrap().repo_tags.is_empty());
    // The lowest layer is shared.
    assert_eq!(old.layers[1], new.layers[1]);
    assert_eq!(files(folder.path(), "layers"), 3);

    let (acquired, hold) = images.acquire(&old.id).await.unwrap();
    assert_eq!(acquired.layers, old.layers);
    assert!(images.acquire("demo:9").await.is_err());
    images.remove(&old.id).await.unwrap();
    assert!(old.layers[0].exists(), "a container runs from it");
    drop(hold);
    images.sweep().await.unwrap();
    assert!(!old.layers[0].exists() && new.layers[1].exists());
    images.remove("demo:1").await.unwrap();
    images.remove("demo:1").await.unwrap();
    assert_eq!(
        (
            files(folder.path(), "layers"),
            files(folder.path(), "blobs/sha256")
        ),
        (0, 0)
    );
}

#[tokio::test]
async fn a_new_process_finds_all_and_drops_leftovers() {
    let folder = tempfile::tempdir().unwrap();
    let (images, _) = open(folder.path());
    let archive = demo("demo:1", b"elf");
    images.import(import_of(&archive), None).await.unwrap();
    settle(&images).await;
    std::fs::create_dir_all(folder.path().join("work/half/fs")).unwrap();
    std::fs::write(folder.path().join("ingest/77.0"), "half").unwrap();
    drop(images);
    let (images, _) = open(folder.path());
    assert_eq!(
        (files(folder.path(), "work"), files(folder.path(), "ingest")),
        (0, 0)
    );
    assert!(
        images.resolve("demo:1").unwrap().layers[0]
            .join("app")
            .exists()
    );

    // After another boot an unflushed layer is unpacked again.
    let layer = images.resolve("demo:1").unwrap().layers[0].clone();
    let note = layer.parent().unwrap().join("layer.json");
    settle(&images).await;
    drop(images);
    let text = std::fs::read_to_string(&note).unwrap();
    let text = text.trim_end_matches('}').to_owned() + r#","unflushed_since":"earlier"}"#;
    std::fs::write(&note, text).unwrap();
    let (images, _) = open(folder.path());
    assert!(!layer.exists());
    images.ensure_unpacked("demo:1").await.unwrap();
    assert!(layer.join("app").exists());
}

#[tokio::test]
async fn a_wrong_archive_stores_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (images, _) = open(folder.path());
    let mut damaged = demo("demo:1", &[7; 40_000]);
    let check = async |bytes: &[u8], expected: &str| {
        let error = images
            .import(import_of(bytes), None)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
        assert!(images.list().is_empty());
        assert_eq!(
            files(folder.path(), "blobs/sha256") + files(folder.path(), "layers"),
            0
        );
        assert_eq!(files(folder.path(), "ingest"), 0);
    };
    check(
        b"no archive at all",
        "damaged archive: it ends inside a header",
    )
    .await;
    check(
        &[0; 1024],
        "neither index.json (OCI) nor manifest.json (docker)",
    )
    .await;
    let length = damaged.len();
    check(&damaged[..length / 2], "damaged archive").await;
    // One byte inside a blob.
    let at = damaged
        .windows(2)
        .rposition(|two| two == [0x1f, 0x8b])
        .unwrap();
    damaged[at + 20] ^= 1;
    check(&damaged, "digest mismatch of blobs/sha256/").await;
}

#[tokio::test]
async fn collection_takes_the_longest_unused() {
    let folder = tempfile::tempdir().unwrap();
    let (images, clock) = open(folder.path());
    for name in ["a:1", "b:1", "c:1", "d:1"] {
        images
            .import(import_of(&demo(name, name.as_bytes())), None)
            .await
            .unwrap();
        clock.advance(Duration::from_secs(100));
    }
    let held = images.hold(&images.resolve("b:1").unwrap());
    let policy = CollectPolicy {
        max_age: Some(Duration::from_secs(150)),
        keep: vec!["c:1".into()],
        ..CollectPolicy::default()
    };
    images.resolve("d:1").unwrap();
    assert_eq!(images.collect(&policy).await.unwrap().len(), 1);
    let left: Vec<String> = images
        .list()
        .into_iter()
        .flat_map(|image| image.repo_tags)
        .collect();
    assert_eq!(left.len(), 3, "{left:?}");
    assert!(images.resolve("a:1").is_none());
    drop(held);
    let all = CollectPolicy {
        max_bytes: Some(0),
        ..CollectPolicy::default()
    };
    assert_eq!(images.collect(&all).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_single_binary_is_an_image() {
    let folder = tempfile::tempdir().unwrap();
    let binary = folder.path().join("binary");
    std::fs::write(&binary, "static").unwrap();
    let archive = single_binary(&binary, &["/transom", "demo"], "transom.local/demo:dev").unwrap();
    assert_eq!(
        archive,
        single_binary(&binary, &["/transom", "demo"], "transom.local/demo:dev").unwrap()
    );
    let (images, _) = open(&folder.path().join("store"));
    images.import(import_of(&archive), None).await.unwrap();
    let image = images.resolve("transom.local/demo:dev").unwrap();
    assert_eq!(image.config.entrypoint, ["/transom", "demo"]);
    assert_eq!(
        std::fs::read(image.layers[0].join("transom")).unwrap(),
        b"static"
    );
}

#[tokio::test]
async fn docker_archives_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let (images, _) = open(&folder.path().join("store"));
    let mut layer = crate::tar::Writer::new(Vec::new());
    layer.file("hello", 0o644, b"hi").unwrap();
    let layer = layer.finish().unwrap();
    let diff_id = crate::Digest::of(&layer);
    let config = format!(
        r#"{{"os":"linux","architecture":"amd64","config":{{"Cmd":["/hello"]}},"rootfs":{{"type":"layers","diff_ids":["{diff_id}","{diff_id}"]}}}}"#
    );
    let manifest = r#"[{"Config":"c.json","RepoTags":["hello:1","hello:2"],"Layers":["a/layer.tar","b/layer.tar"]}]"#;
    let mut tar = crate::tar::Writer::new(Vec::new());
    tar.file("c.json", 0o644, config.as_bytes()).unwrap();
    tar.file("a/layer.tar", 0o644, &layer).unwrap();
    tar.entry(b'2', b"b/layer.tar", b"../a/layer.tar", 0o777, b"")
        .unwrap();
    tar.file("manifest.json", 0o644, manifest.as_bytes())
        .unwrap();
    let archive = tar.finish().unwrap();
    let gzip = {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut gzip, &archive).unwrap();
        gzip.finish().unwrap()
    };
    images
        .import(std::io::Cursor::new(gzip), None)
        .await
        .unwrap();
    let image = images.resolve("hello:2").unwrap();
    assert_eq!(image.id, images.resolve("hello:1").unwrap().id);
    assert_eq!(image.layers.len(), 2);
    assert_eq!(std::fs::read(image.layers[0].join("hello")).unwrap(), b"hi");
}

/// Runs only as the child of the test below: imports until it is killed.
#[tokio::test]
async fn child_that_imports() {
    let Some(folder) = std::env::var_os("IMAGES_TEST_CHILD") else {
        return;
    };
    let (images, _) = open(Path::new(&folder));
    for round in 0.. {
        let archive = demo(
            &format!("demo:{}", round % 3),
            format!("elf {round}").as_bytes(),
        );
        images.import(import_of(&archive), None).await.unwrap();
    }
}

#[tokio::test]
async fn kill_9_leaves_a_whole_store() {
    let folder = tempfile::tempdir().unwrap();
    let mut rng = base::Rng::new(9);
    let mut most = 0;
    for _ in 0..20 {
        #[expect(clippy::disallowed_methods, reason = "a process to kill")]
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .current_dir("/")
            .args(["--exact", "images::tests::child_that_imports"])
            .env("IMAGES_TEST_CHILD", folder.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        tokio::time::sleep(Duration::from_millis(30 + rng.below(120))).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let (images, _) = open(folder.path());
        most = most.max(images.list().len());
        for image in images.list() {
            let app = std::fs::read_to_string(image.layers[0].join("app")).unwrap();
            assert!(app.starts_with("elf "), "{app:?}");
            assert!(image.layers[1].join("etc/base").exists());
        }
        images.sweep().await.unwrap();
        for entry in std::fs::read_dir(folder.path().join("blobs/sha256")).unwrap() {
            let path = entry.unwrap().path();
            let digest = crate::Digest::of(&std::fs::read(&path).unwrap());
            assert_eq!(digest.hex(), path.file_name().unwrap().to_str().unwrap());
        }
    }
    assert!(most > 0, "the child never got to import anything");
}
