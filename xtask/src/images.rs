//! `cargo xtask images`: every image that upstream's Conformance specs run, made from packages.
//!
//! No container registry is asked: programs come from Go modules (tests/conformance), tools from
//! Debian packages of the mirror that the machine's apt uses. The result is one OCI archive,
//! .build/images/conformance.tar, whose images carry the names that the suite asks for. Times and
//! owners are fixed, so the same packages give the same digests. What each image must contain:
//! kubernetes v1.36.3 test/images/*/Dockerfile and test/utils/image/manifest.go.

mod layer;
mod layout;
mod rootfs;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

pub(crate) use layer::Layer;
pub(crate) use layout::{Config, Layout};
pub(crate) use rootfs::{busybox, mirror};

use crate::tool::{command, say};

const E2E: &str = "registry.k8s.io/e2e-test-images";
/// Where `PATH` of every image leads.
const PATHS: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Programs by name and Go package.
const PROGRAMS: [(&str, &str); 7] = [
    ("agnhost", "k8s.io/kubernetes/test/images/agnhost"),
    ("nnp", "k8s.io/kubernetes/test/images/nonewprivs"),
    ("pause", "./pause"),
    ("sh", "./sh"),
    ("sample-apiserver", "k8s.io/sample-apiserver"),
    ("etcd", "go.etcd.io/etcd/server/v3"),
    // Its folder holds files that the image serves.
    ("kubernetes", "k8s.io/kubernetes"),
];

pub(crate) fn run() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the workspace's folder")?;
    let work = root.join(".build/images");
    let module = root.join("tests/conformance");
    fs::create_dir_all(work.join("bin"))?;
    for (name, package) in &PROGRAMS[..6] {
        build(&module, package, &work.join("bin").join(name))?;
    }
    let sources = module_folder(&module, PROGRAMS[6].1)?;
    let tools = rootfs::tools(&work)?;
    let nginx = rootfs::nginx(&work)?;
    let layout = compose(&work, &sources, &tools, &nginx)?;
    let archive = work.join("conformance.tar");
    layout.write(&archive)?;
    say(&format!(
        "{} holds {} images",
        archive.display(),
        layout.len()
    ));
    Ok(())
}

/// As the Makefile's for upstream's suite: what both need is compiled once.
const COMPILE: &str = "-gcflags=all=-dwarf=false -l";

fn build(module: &Path, package: &str, output: &Path) -> Result<()> {
    if output.exists() {
        return Ok(());
    }
    say(&format!("building {package}"));
    let status = command("go", module)
        .env("CGO_ENABLED", "0")
        .env("GOGC", "400")
        .args(["build", "-mod=readonly", COMPILE, "-ldflags", "-s -w", "-o"])
        .arg(output)
        .arg(package)
        .status()
        .context("run go: install Go 1.26")?;
    ensure!(status.success(), "go build {package} failed");
    Ok(())
}

/// Where the module cache keeps a module's files.
pub(crate) fn module_folder(module: &Path, path: &str) -> Result<PathBuf> {
    let output = command("go", module)
        .args(["list", "-m", "-f", "{{.Dir}}", path])
        .output()
        .context("run go list")?;
    let folder = String::from_utf8(output.stdout).context("go list prints a path")?;
    ensure!(output.status.success(), "go list -m {path} failed");
    Ok(PathBuf::from(folder.trim()))
}

fn compose(work: &Path, sources: &Path, tools: &Path, nginx: &Path) -> Result<Layout> {
    let bin = |name: &str| fs::read(work.join("bin").join(name)).with_context(|| name.to_owned());
    let porter = |name: &str| fs::read(sources.join("test/images/agnhost/porter").join(name));
    let mut layout = Layout::default();
    let tools_layer = layout.layer(Layer::of_folder(tools)?)?;
    let busybox = fs::read(tools.join("usr/bin/busybox")).context("busybox of the tools")?;
    let bash = fs::read(tools.join("usr/bin/bash-static")).context("bash-static of the tools")?;
    let busybox_layer = layout.layer(rootfs::busybox(&busybox, &bash, &bin("sh")?)?)?;

    let mut agnhost = Layer::new();
    agnhost.file("agnhost", 0o755, &bin("agnhost")?)?;
    agnhost.link("agnhost-2", "agnhost")?;
    agnhost.file("localhost.crt", 0o644, &porter("localhost.crt")?)?;
    agnhost.file("localhost.key", 0o644, &porter("localhost.key")?)?;
    agnhost.folder("uploads", 0o755)?;
    agnhost.folder("var/registry", 0o755)?;
    let agnhost_layer = layout.layer(agnhost)?;
    let serve =
        |command: &[&str]| Config::new(&["/agnhost"], command).ports(&[80, 8080, 8081, 9376, 5000]);
    // Another label, so that the two versions are two images.
    for (tag, label) in [("agnhost:2.63.0", "2.63.0"), ("agnhost:2.55", "2.55")] {
        let config = serve(&["pause"]).label("version", label);
        layout.image(
            &format!("{E2E}/{tag}"),
            &config,
            &[tools_layer, agnhost_layer],
        )?;
    }
    for name in ["nautilus", "kitten"] {
        let mut data = Layer::new();
        let text = format!("{{\n\"image\": \"{name}.jpg\"\n}}\n");
        data.file("data.json", 0o644, text.as_bytes())?;
        // The specs of image volumes look for the distribution of upstream's image.
        data.file("etc/os-release", 0o644, b"NAME=\"Alpine Linux\"\n")?;
        let data = layout.layer(data)?;
        let layers = [tools_layer, agnhost_layer, data];
        layout.image(
            &format!("{E2E}/{name}:1.8"),
            &serve(&["test-webserver"]),
            &layers,
        )?;
    }

    let shell = Config::new(&[], &["sh"]);
    for tag in ["1.37.0-1", "1.36.1-1"] {
        let config = shell.clone().label("version", tag);
        layout.image(&format!("{E2E}/busybox:{tag}"), &config, &[busybox_layer])?;
    }
    let nonroot = shell.clone().user("1234");
    layout.image(&format!("{E2E}/nonroot:1.5"), &nonroot, &[busybox_layer])?;
    layout.image(&format!("{E2E}/ipc-utils:1.4"), &shell, &[tools_layer])?;
    layout.image(
        &format!("{E2E}/glibc-dns-testing:2.0.0"),
        &shell,
        &[tools_layer],
    )?;

    let mut nnp = Layer::new();
    nnp.file("usr/local/bin/nnp", 0o6755, &bin("nnp")?)?;
    let nnp = layout.layer(nnp)?;
    let config = Config::new(&[], &["nnp"]);
    layout.image(
        &format!("{E2E}/nonewprivs:1.4"),
        &config,
        &[busybox_layer, nnp],
    )?;

    let mut pause = Layer::new();
    pause.file("pause", 0o755, &bin("pause")?)?;
    let pause = layout.layer(pause)?;
    let config = Config::new(&["/pause"], &[]).user("65535:65535");
    layout.image("registry.k8s.io/pause:3.10.2", &config, &[pause])?;

    let mut sample = Layer::new();
    sample.file("sample-apiserver", 0o755, &bin("sample-apiserver")?)?;
    let sample = layout.layer(sample)?;
    let config = Config::new(&["/sample-apiserver"], &[]);
    let name = format!("{E2E}/sample-apiserver:1.29.2");
    layout.image(&name, &config, &[busybox_layer, sample])?;

    let mut etcd = Layer::new();
    etcd.file("usr/local/bin/etcd", 0o755, &bin("etcd")?)?;
    let etcd = layout.layer(etcd)?;
    let config = Config::new(&[], &["etcd"]);
    layout.image(
        "registry.k8s.io/etcd:3.6.8-0",
        &config,
        &[busybox_layer, etcd],
    )?;

    let nginx = layout.layer(Layer::of_folder(nginx)?)?;
    for tag in ["1.15-4", "1.27-0"] {
        let config = Config::new(&[], &["nginx", "-g", "daemon off;"])
            .ports(&[80])
            .label("version", tag);
        layout.image(&format!("{E2E}/nginx:{tag}"), &config, &[nginx])?;
    }
    Ok(layout)
}
