//! The CRI service on this host, as root: real containers, an image that is one static program,
//! a network that is none. What a kill -9 of the agent leaves is what `Runtime::open` finds.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base::{Shutdown, SystemClock};
use nodeapi::cni::{AddRequest, Cni, CniError, CniResult};
use nodeapi::{Code, CriError, Io, RuntimeService as _, Streams, TerminalSize, cri};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{Config, Image, ImageConfig, Images, Runtime};

const PROGRAM: &str = r#"
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/ioctl.h>
#include <netinet/in.h>
static void on_term(int s) { (void)s; write(1, "term\n", 5); _exit(42); }
int main(int c, char **v) {
  setvbuf(stdout, 0, _IONBF, 0);
  for (int i = 1; i < c; i++) {
    const char *w = v[i], *a = i + 1 < c ? v[i + 1] : "";
    if (!strcmp(w, "echo")) { puts(a); i++; }
    else if (!strcmp(w, "err")) { fprintf(stderr, "%s\n", a); i++; }
    else if (!strcmp(w, "cat")) { char b[65536]; int f = open(a, O_RDONLY), n = read(f, b, 65535); fwrite(b, 1, n < 0 ? 0 : n, stdout); close(f); i++; }
    else if (!strcmp(w, "id")) printf("%d:%d\n", getuid(), getgid());
    else if (!strcmp(w, "env")) { puts(getenv(a) ? getenv(a) : "unset"); i++; }
    else if (!strcmp(w, "tty")) { struct winsize s; usleep(200000); printf("tty %d %d\n", isatty(0), ioctl(0, TIOCGWINSZ, &s) ? -1 : s.ws_col); }
    else if (!strcmp(w, "read")) { char b[256]; int n = read(0, b, 255); b[n < 0 ? 0 : n] = 0; printf("got %s", n > 0 ? b : "eof\n"); }
    else if (!strcmp(w, "sleep")) { sleep(atoi(a)); i++; }
    else if (!strcmp(w, "trap")) signal(SIGTERM, on_term);
    else if (!strcmp(w, "ignore")) signal(SIGTERM, SIG_IGN);
    else if (!strcmp(w, "child")) { if (!fork()) { sleep(100); _exit(0); } }
    else if (!strcmp(w, "eat")) { size_t n = (size_t)atoi(a) << 20; char *p = malloc(n); memset(p, 1, n); i++; }
    else if (!strcmp(w, "write")) { int f = open(a, O_WRONLY | O_CREAT, 0644); char b[65536] = {1}; for (int k = 0; k < 16; k++) write(f, b, sizeof b); close(f); i++; }
    else if (!strcmp(w, "listen")) { struct sockaddr_in s = { .sin_family = AF_INET, .sin_port = htons(atoi(a)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) }; int l = socket(AF_INET, SOCK_STREAM, 0); bind(l, (void *)&s, sizeof s); listen(l, 5); puts("ready"); for (;;) { int k = accept(l, 0, 0); char b[256]; int n = read(k, b, 255); write(k, "echo ", 5); write(k, b, n); close(k); } }
    else if (!strcmp(w, "exit")) exit(atoi(a));
    else printf("unknown %s\n", w);
  }
  return 0;
}
"#;

fn root() -> Option<&'static Path> {
    static ROOT: OnceLock<Option<tempfile::TempDir>> = OnceLock::new();
    let root = ROOT.get_or_init(|| {
        let dir = tempfile::Builder::new()
            .prefix("transom-cri-root")
            .tempdir_in("/var/tmp")
            .ok()?;
        let (source, program) = (dir.path().join("prog.c"), dir.path().join("prog"));
        fs::write(&source, PROGRAM).ok()?;
        #[expect(clippy::disallowed_methods, reason = "a test compiles its helper")]
        let status = std::process::Command::new("gcc")
            .args(["-O1", "-w", "-static", "-o"])
            .args([&program, &source])
            .status();
        if !status.is_ok_and(|s| s.success()) {
            println!("skipped: no C compiler that links statically");
            return None;
        }
        fs::remove_file(&source).ok()?;
        fs::set_permissions(
            dir.path(),
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )
        .ok()?;
        Some(dir)
    });
    root.as_ref().map(tempfile::TempDir::path)
}

/// One image; remembers which containers hold it.
struct OneImage {
    root: PathBuf,
    held: Mutex<Vec<String>>,
}

#[async_trait::async_trait]
impl Images for OneImage {
    async fn acquire(&self, reference: &str, container: &str) -> Result<Image, CriError> {
        if reference != "test:1" {
            return Err(CriError::not_found(format!(
                "image {reference:?} not found"
            )));
        }
        self.held.lock().push(container.into());
        let config = ImageConfig {
            entrypoint: vec!["/prog".into()],
            env: vec!["FROM=image".into()],
            user: "7:8".into(),
            ..ImageConfig::default()
        };
        let (id, name) = ("sha256:aa".into(), "docker.io/library/test:1".into());
        let reference = "docker.io/library/test@sha256:bb".into();
        Ok(Image {
            id,
            name,
            reference,
            lowers: vec![self.root.clone()],
            config,
        })
    }

    async fn restore(&self, container: &str, lowers: &[PathBuf]) {
        assert_eq!(lowers, std::slice::from_ref(&self.root));
        self.held.lock().push(container.into());
    }

    async fn release(&self, container: &str) {
        self.held.lock().retain(|c| c != container);
    }
}

#[derive(Default)]
struct NoNetwork {
    connected: Mutex<Vec<String>>,
    refuses: Mutex<bool>,
}

#[async_trait::async_trait]
impl Cni for NoNetwork {
    async fn add(&self, request: AddRequest) -> Result<CniResult, CniError> {
        assert!(request.netns.exists());
        if *self.refuses.lock() {
            return Err(CniError::Exhausted("10.9.0.0/24".into()));
        }
        self.connected.lock().push(request.sandbox_id);
        Ok(CniResult {
            ips: vec!["10.9.0.7/32".parse().unwrap()],
            ..CniResult::default()
        })
    }
    async fn del(&self, request: AddRequest) -> Result<(), CniError> {
        self.connected.lock().retain(|id| *id != request.sandbox_id);
        Ok(())
    }
    async fn check(&self, _: AddRequest) -> Result<(), CniError> {
        Ok(())
    }
    async fn status(&self) -> Result<(), CniError> {
        Ok(())
    }
}

struct Bed {
    dir: tempfile::TempDir,
    parent: String,
    images: Arc<OneImage>,
    network: Arc<NoNetwork>,
    runtime: Runtime,
    shutdown: Shutdown,
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.shutdown.trigger();
        // What a failed test leaves.
        for entry in fs::read_dir(self.dir.path().join("root/sandboxes"))
            .into_iter()
            .flatten()
        {
            let dir = entry.unwrap().path();
            if let Ok(shim) = oci::Shim::connect(&dir) {
                shim.shutdown().ok();
            }
            oci::client::clean_up(&dir);
            rustix::mount::unmount(dir.join("shm"), rustix::mount::UnmountFlags::DETACH).ok();
        }
        let group = self.runtime.inner.group(&self.parent).unwrap();
        group.kill().ok();
        group.remove().ok();
    }
}

async fn open(
    dir: &Path,
    parent: &str,
    images: &Arc<OneImage>,
    network: &Arc<NoNetwork>,
) -> (Runtime, Shutdown) {
    let shutdown = Shutdown::new();
    let config = Config {
        root: dir.join("root"),
        cgroup_parent: parent.into(),
        version: "test".into(),
        seccomp_profiles: dir.join("seccomp"),
    };
    let clock = Arc::new(SystemClock);
    let runtime = Runtime::open(
        config,
        images.clone(),
        network.clone(),
        clock,
        shutdown.clone(),
    )
    .await;
    (runtime.unwrap(), shutdown)
}

async fn bed(name: &str) -> Option<Bed> {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: not root");
        return None;
    }
    let images = Arc::new(OneImage {
        root: root()?.into(),
        held: Mutex::default(),
    });
    let network = Arc::new(NoNetwork::default());
    let dir = tempfile::Builder::new()
        .prefix("transom-cri-")
        .tempdir_in("/var/tmp")
        .unwrap();
    let parent = format!("/transom-cri-{}-{name}", std::process::id());
    let (runtime, shutdown) = open(dir.path(), &parent, &images, &network).await;
    Some(Bed {
        dir,
        parent,
        images,
        network,
        runtime,
        shutdown,
    })
}

impl Bed {
    /// The agent dies and a new one starts.
    async fn reopen(&mut self) {
        self.shutdown.trigger();
        self.images.held.lock().clear();
        (self.runtime, self.shutdown) =
            open(self.dir.path(), &self.parent, &self.images, &self.network).await;
    }

    fn pod(&self, name: &str) -> cri::PodSandboxConfig {
        cri::PodSandboxConfig {
            metadata: Some(cri::PodSandboxMetadata {
                name: name.into(),
                uid: format!("uid-{name}"),
                namespace: "default".into(),
                attempt: 0,
            }),
            hostname: name.into(),
            log_directory: self.dir.path().join("logs").to_string_lossy().into(),
            labels: [("app".to_string(), name.to_string())].into(),
            ..Default::default()
        }
    }

    async fn run(&self, name: &str) -> String {
        let request = cri::RunPodSandboxRequest {
            config: Some(self.pod(name)),
            runtime_handler: String::new(),
        };
        self.runtime
            .run_pod_sandbox(request)
            .await
            .unwrap()
            .pod_sandbox_id
    }

    fn config(&self, name: &str, args: &[&str]) -> cri::ContainerConfig {
        let options = cri::NamespaceOption {
            pid: cri::NamespaceMode::Container as i32,
            ..Default::default()
        };
        cri::ContainerConfig {
            metadata: Some(cri::ContainerMetadata {
                name: name.into(),
                attempt: 0,
            }),
            image: Some(cri::ImageSpec {
                image: "test:1".into(),
                ..Default::default()
            }),
            args: args.iter().map(ToString::to_string).collect(),
            log_path: format!("{name}.log"),
            linux: Some(cri::LinuxContainerConfig {
                resources: None,
                security_context: Some(cri::LinuxContainerSecurityContext {
                    namespace_options: Some(options),
                    ..Default::default()
                }),
            }),
            ..Default::default()
        }
    }

    async fn create(
        &self,
        sandbox: &str,
        config: cri::ContainerConfig,
    ) -> Result<String, CriError> {
        let request = cri::CreateContainerRequest {
            pod_sandbox_id: sandbox.into(),
            config: Some(config),
            sandbox_config: None,
        };
        Ok(self.runtime.create_container(request).await?.container_id)
    }

    async fn start(&self, id: &str) -> Result<(), CriError> {
        let request = cri::StartContainerRequest {
            container_id: id.into(),
        };
        self.runtime.start_container(request).await.map(drop)
    }

    async fn up(&self, sandbox: &str, name: &str, args: &[&str]) -> String {
        let id = self.create(sandbox, self.config(name, args)).await.unwrap();
        self.start(&id).await.unwrap();
        id
    }

    async fn up_as_root(&self, sandbox: &str, name: &str, args: &[&str]) -> String {
        let mut config = self.config(name, args);
        let security = config
            .linux
            .as_mut()
            .unwrap()
            .security_context
            .as_mut()
            .unwrap();
        security.run_as_user = Some(cri::Int64Value { value: 0 });
        let id = self.create(sandbox, config).await.unwrap();
        self.start(&id).await.unwrap();
        id
    }

    async fn status(&self, id: &str) -> cri::ContainerStatus {
        let request = cri::ContainerStatusRequest {
            container_id: id.into(),
            verbose: false,
        };
        self.runtime
            .container_status(request)
            .await
            .unwrap()
            .status
            .unwrap()
    }

    async fn ended(&self, id: &str) -> cri::ContainerStatus {
        let (_, container) = self.runtime.inner.container(id).unwrap();
        tokio::time::timeout(Duration::from_secs(20), container.wait())
            .await
            .unwrap();
        self.status(id).await
    }

    fn log(&self, name: &str) -> String {
        let log = fs::read_to_string(self.dir.path().join(format!("logs/{name}.log")));
        let log = log.unwrap_or_default();
        log.lines()
            .map(|l| l.split_once(' ').unwrap().1.to_string() + "\n")
            .collect()
    }

    async fn wait_log(&self, name: &str, text: &str) {
        for _ in 0..500 {
            if self.log(name).contains(text) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no {text:?} in {:?}", self.log(name));
    }

    async fn exec(
        &self,
        id: &str,
        cmd: &[&str],
        timeout: i64,
    ) -> Result<cri::ExecSyncResponse, CriError> {
        let cmd = cmd.iter().map(ToString::to_string).collect();
        let request = cri::ExecSyncRequest {
            container_id: id.into(),
            cmd,
            timeout,
        };
        self.runtime.exec_sync(request).await
    }

    async fn stop(&self, id: &str, timeout: i64) {
        let request = cri::StopContainerRequest {
            container_id: id.into(),
            timeout,
        };
        self.runtime.stop_container(request).await.unwrap();
    }

    async fn remove_all(&self) {
        let listed = self
            .runtime
            .list_pod_sandbox(cri::ListPodSandboxRequest::default())
            .await;
        for sandbox in listed.unwrap().items {
            let pod_sandbox_id = sandbox.id;
            let stop = cri::StopPodSandboxRequest {
                pod_sandbox_id: pod_sandbox_id.clone(),
            };
            self.runtime.stop_pod_sandbox(stop.clone()).await.unwrap();
            self.runtime.stop_pod_sandbox(stop).await.unwrap();
            let remove = cri::RemovePodSandboxRequest { pod_sandbox_id };
            self.runtime
                .remove_pod_sandbox(remove.clone())
                .await
                .unwrap();
            self.runtime.remove_pod_sandbox(remove).await.unwrap();
        }
        assert!(self.network.connected.lock().is_empty());
        assert!(self.images.held.lock().is_empty());
        let left: Vec<_> = fs::read_dir(self.dir.path().join("root/sandboxes"))
            .unwrap()
            .collect();
        assert!(left.is_empty(), "{left:?}");
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(
            !mounts.contains(self.dir.path().to_str().unwrap()),
            "{mounts}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn life_of_a_pod() {
    let Some(bed) = bed("life").await else { return };
    let mut events = bed.runtime.container_events().await.unwrap();
    let sandbox = bed.run("p").await;
    assert_eq!(bed.run("p").await, sandbox, "the same request again");
    let request = cri::PodSandboxStatusRequest {
        pod_sandbox_id: sandbox.clone(),
        verbose: true,
    };
    let status = bed
        .runtime
        .pod_sandbox_status(request)
        .await
        .unwrap()
        .status
        .unwrap();
    assert_eq!(status.network.unwrap().ip, "10.9.0.7");
    let args = [
        "id",
        "env",
        "FROM",
        "env",
        "HOSTNAME",
        "cat",
        "/etc/hostname",
        "cat",
        "/etc/hosts",
        "exit",
        "3",
    ];
    let id = bed.up(&sandbox, "a", &args).await;
    let status = bed.ended(&id).await;
    assert_eq!((status.exit_code, status.reason.as_str()), (3, "Error"));
    assert_eq!(status.image.unwrap().image, "docker.io/library/test:1");
    assert!(status.created_at <= status.started_at && status.started_at <= status.finished_at);
    let log = bed.log("a");
    assert!(
        log.starts_with("stdout F 7:8\nstdout F image\nstdout F p\nstdout F p\n"),
        "{log}"
    );
    assert!(log.ends_with("stdout F 10.9.0.7\tp\n"), "{log}");
    let mut kinds = Vec::new();
    while kinds.len() < 3 {
        kinds.push(events.recv().await.unwrap().container_event_type);
    }
    // A container may end before the call that started it returns.
    kinds.sort_unstable();
    assert_eq!(kinds, [0, 1, 2]);
    let gone = bed
        .create(&sandbox, bed.config("a", &[]))
        .await
        .unwrap_err();
    assert_eq!(gone.code, Code::AlreadyExists);
    let mut config = bed.config("b", &[]);
    config.image.as_mut().unwrap().image = "other".into();
    assert!(
        bed.create(&sandbox, config)
            .await
            .unwrap_err()
            .is_not_found()
    );
    bed.remove_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_that_do_not_start() {
    let Some(bed) = bed("nostart").await else {
        return;
    };
    let sandbox = bed.run("p").await;
    let mut config = bed.config("a", &[]);
    config.command = vec!["/missing".into()];
    let id = bed.create(&sandbox, config).await.unwrap();
    let error = bed.start(&id).await.unwrap_err();
    let text = "unable to start container process: exec: \"/missing\": stat /missing: no such file or directory";
    assert_eq!(error.message, text);
    let status = bed.ended(&id).await;
    assert_eq!(
        (status.exit_code, status.reason.as_str()),
        (128, "StartError")
    );
    let mut config = bed.config("b", &[]);
    config
        .linux
        .as_mut()
        .unwrap()
        .security_context
        .as_mut()
        .unwrap()
        .run_as_username = "x".into();
    let error = bed.create(&sandbox, config).await.unwrap_err();
    assert!(
        error.message.contains("unable to find user x"),
        "{}",
        error.message
    );
    bed.remove_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_network_leaves_nothing() {
    let Some(bed) = bed("nonet").await else {
        return;
    };
    *bed.network.refuses.lock() = true;
    let request = cri::RunPodSandboxRequest {
        config: Some(bed.pod("p")),
        ..Default::default()
    };
    let error = bed.runtime.run_pod_sandbox(request).await.unwrap_err();
    assert!(
        error.message.contains("no free address in 10.9.0.0/24"),
        "{}",
        error.message
    );
    bed.remove_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_asks_first_and_kills_then() {
    let Some(bed) = bed("stop").await else { return };
    let sandbox = bed.run("p").await;
    let polite = bed
        .up(
            &sandbox,
            "polite",
            &["trap", "echo", "ready", "sleep", "60"],
        )
        .await;
    let stubborn = bed
        .up(
            &sandbox,
            "stubborn",
            &[
                "ignore", "child", "echo", "ready", "sleep", "60", "sleep", "60",
            ],
        )
        .await;
    bed.wait_log("polite", "ready").await;
    bed.wait_log("stubborn", "ready").await;
    bed.stop(&polite, 20).await;
    assert_eq!(bed.status(&polite).await.exit_code, 42);
    bed.stop(&stubborn, 1).await;
    assert_eq!(bed.status(&stubborn).await.exit_code, 137);
    bed.stop(&stubborn, 1).await;
    bed.remove_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_in_a_container() {
    let Some(bed) = bed("exec").await else { return };
    let sandbox = bed.run("p").await;
    let id = bed
        .up(&sandbox, "a", &["echo", "ready", "sleep", "60"])
        .await;
    let answer = bed
        .exec(&id, &["/prog", "id", "err", "oops", "exit", "5"], 10)
        .await
        .unwrap();
    assert_eq!(
        (
            answer.stdout.as_slice(),
            answer.stderr.as_slice(),
            answer.exit_code
        ),
        (&b"7:8\n"[..], &b"oops\n"[..], 5)
    );
    let late = bed
        .exec(&id, &["/prog", "sleep", "60"], 1)
        .await
        .unwrap_err();
    assert_eq!(late.code, Code::DeadlineExceeded);
    let missing = bed.exec(&id, &["/none"], 1).await.unwrap_err();
    assert!(
        missing.message.contains("exec: \"/none\""),
        "{}",
        missing.message
    );

    let (ours, theirs) = tokio::io::duplex(1024);
    let (input, mut feed) = tokio::io::duplex(1024);
    feed.write_all(b"hello\n").await.unwrap();
    drop(feed);
    let request = cri::ExecRequest {
        container_id: id.clone(),
        cmd: ["/prog", "read", "read", "exit", "6"]
            .map(Into::into)
            .into(),
        stdin: true,
        stdout: true,
        ..Default::default()
    };
    let io = Io {
        stdin: Some(Box::new(input)),
        stdout: Some(Box::new(theirs)),
        ..Io::default()
    };
    let mut text = String::new();
    let mut ours = ours;
    let (status, _) = tokio::join!(
        Streams::exec(&bed.runtime, request, io),
        ours.read_to_string(&mut text)
    );
    assert_eq!(
        (status.unwrap().code, text.as_str()),
        (6, "got hello\ngot eof\n")
    );

    let (mut ours, theirs) = tokio::io::duplex(1024);
    let (sizes, resize) = tokio::sync::mpsc::channel(1);
    sizes
        .send(TerminalSize {
            width: 77,
            height: 20,
        })
        .await
        .unwrap();
    let request = cri::ExecRequest {
        container_id: id.clone(),
        cmd: ["/prog", "tty", "env", "TERM"].map(Into::into).into(),
        tty: true,
        stdout: true,
        ..Default::default()
    };
    let io = Io {
        stdout: Some(Box::new(theirs)),
        resize: Some(resize),
        ..Io::default()
    };
    let mut text = String::new();
    let (status, _) = tokio::join!(
        Streams::exec(&bed.runtime, request, io),
        ours.read_to_string(&mut text)
    );
    assert_eq!(
        (status.unwrap().code, text.as_str()),
        (0, "tty 1 77\r\nxterm\r\n")
    );
    bed.remove_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attach_and_port_forward() {
    let Some(bed) = bed("streams").await else {
        return;
    };
    let sandbox = bed.run("p").await;
    let mut config = bed.config("a", &["read", "exit", "9"]);
    (config.stdin, config.stdin_once) = (true, true);
    let id = bed.create(&sandbox, config).await.unwrap();
    bed.start(&id).await.unwrap();
    let (input, mut feed) = tokio::io::duplex(64);
    let (mut ours, theirs) = tokio::io::duplex(64);
    let request = cri::AttachRequest {
        container_id: id.clone(),
        stdin: true,
        stdout: true,
        ..Default::default()
    };
    let io = Io {
        stdin: Some(Box::new(input)),
        stdout: Some(Box::new(theirs)),
        ..Io::default()
    };
    let mut text = String::new();
    let client = async {
        feed.write_all(b"ping\n").await.unwrap();
        ours.read_to_string(&mut text).await.unwrap();
    };
    let (status, ()) = tokio::join!(Streams::attach(&bed.runtime, request, io), client);
    assert_eq!((status.unwrap().code, text.as_str()), (9, "got ping\n"));

    bed.up(&sandbox, "server", &["listen", "8080"]).await;
    bed.wait_log("server", "ready").await;
    let (mut ours, theirs) = tokio::io::duplex(64);
    let mut text = String::new();
    let client = async {
        ours.write_all(b"hi").await.unwrap();
        ours.read_to_string(&mut text).await.unwrap();
        drop(ours);
    };
    let (forwarded, ()) = tokio::join!(
        Streams::port_forward(&bed.runtime, &sandbox, 8080, Box::new(theirs)),
        client
    );
    forwarded.unwrap();
    assert_eq!(text, "echo hi");
    let (_, theirs) = tokio::io::duplex(64);
    let refused = Streams::port_forward(&bed.runtime, &sandbox, 8081, Box::new(theirs))
        .await
        .unwrap_err();
    assert!(
        refused.message.contains("localhost:8081"),
        "{}",
        refused.message
    );
    bed.remove_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_statistics_and_oom() {
    let Some(bed) = bed("limits").await else {
        return;
    };
    let sandbox = bed.run("p").await;
    let mut config = bed.config("a", &["eat", "100"]);
    let resources = cri::LinuxContainerResources {
        memory_limit_in_bytes: 32 << 20,
        cpu_shares: 102,
        ..Default::default()
    };
    config.linux.as_mut().unwrap().resources = Some(resources.clone());
    let id = bed.create(&sandbox, config).await.unwrap();
    bed.start(&id).await.unwrap();
    let status = bed.ended(&id).await;
    assert_eq!(
        (status.exit_code, status.reason.as_str()),
        (137, "OOMKilled")
    );

    let id = bed
        .up_as_root(
            &sandbox,
            "b",
            &["write", "/file", "echo", "ready", "sleep", "60"],
        )
        .await;
    bed.wait_log("b", "ready").await;
    let update = cri::UpdateContainerResourcesRequest {
        container_id: id.clone(),
        linux: Some(resources),
        ..Default::default()
    };
    bed.runtime
        .update_container_resources(update)
        .await
        .unwrap();
    let linux = bed.status(&id).await.resources.unwrap().linux.unwrap();
    assert_eq!(
        (linux.memory_limit_in_bytes, linux.cpu_shares),
        (32 << 20, 102)
    );
    let request = cri::PodSandboxStatsRequest {
        pod_sandbox_id: sandbox,
    };
    let stats = bed
        .runtime
        .pod_sandbox_stats(request)
        .await
        .unwrap()
        .stats
        .unwrap()
        .linux
        .unwrap();
    assert_eq!(stats.process.unwrap().process_count.unwrap().value, 1);
    assert!(stats.memory.unwrap().usage_bytes.unwrap().value > 0);
    let container = &stats.containers[0];
    let used = container
        .writable_layer
        .as_ref()
        .unwrap()
        .used_bytes
        .as_ref()
        .unwrap()
        .value;
    assert!((1 << 20..2 << 20).contains(&used), "{used}");
    let memory = container.memory.as_ref().unwrap();
    assert!(memory.available_bytes.as_ref().unwrap().value <= 32 << 20);
    bed.remove_all().await;
}

/// What kill -9 of the agent leaves: everything runs on, exits are not lost, addresses stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_agent_finds_everything() {
    let Some(mut bed) = bed("recover").await else {
        return;
    };
    let sandbox = bed.run("p").await;
    let runs = bed
        .up(&sandbox, "runs", &["echo", "ready", "sleep", "60"])
        .await;
    let ends = bed.up(&sandbox, "ends", &["sleep", "1", "exit", "4"]).await;
    let waits = bed
        .create(
            &sandbox,
            bed.config("waits", &["echo", "late", "exit", "0"]),
        )
        .await
        .unwrap();
    let pid = bed
        .runtime
        .inner
        .container(&runs)
        .unwrap()
        .1
        .record
        .lock()
        .pid;
    bed.wait_log("runs", "ready").await;
    // Left-overs of operations that were cut off.
    let half = bed.dir.path().join("root/sandboxes/half");
    fs::create_dir_all(half.join("containers")).unwrap();
    bed.shutdown.trigger();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    bed.reopen().await;
    assert!(!half.exists());
    let status = bed.status(&ends).await;
    assert_eq!((status.exit_code, status.reason.as_str()), (4, "Error"));
    assert_eq!(
        bed.status(&runs).await.state,
        cri::ContainerState::ContainerRunning as i32
    );
    assert_eq!(
        bed.runtime
            .inner
            .container(&runs)
            .unwrap()
            .1
            .record
            .lock()
            .pid,
        pid
    );
    let request = cri::PodSandboxStatusRequest {
        pod_sandbox_id: sandbox.clone(),
        verbose: false,
    };
    let status = bed
        .runtime
        .pod_sandbox_status(request)
        .await
        .unwrap()
        .status
        .unwrap();
    assert_eq!(
        (status.state, status.network.unwrap().ip.as_str()),
        (0, "10.9.0.7")
    );
    bed.start(&waits).await.unwrap();
    assert_eq!(bed.ended(&waits).await.exit_code, 0);
    assert_eq!(bed.log("waits"), "stdout F late\n");
    assert_eq!(
        bed.exec(&runs, &["/prog", "echo", "x"], 5)
            .await
            .unwrap()
            .stdout,
        b"x\n"
    );
    let stop = bed.stop(&runs, 0);
    stop.await;
    assert_eq!(bed.status(&runs).await.exit_code, 137);
    bed.remove_all().await;
}

/// A shim that is killed takes its containers along, and the sandbox says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_shim_is_noticed() {
    let Some(bed) = bed("bereaved").await else {
        return;
    };
    let sandbox = bed.run("p").await;
    let id = bed
        .up(&sandbox, "a", &["echo", "ready", "sleep", "60"])
        .await;
    let dir = bed.runtime.inner.sandbox(&sandbox).unwrap().dir.clone();
    let state = oci::client::read_state(&dir).unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(state.shim_pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let status = bed.ended(&id).await;
    assert_eq!((status.exit_code, status.reason.as_str()), (255, "Unknown"));
    for _ in 0..200 {
        if !bed.runtime.inner.sandbox(&sandbox).unwrap().is_ready() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(bed.runtime.inner.list_sandboxes(None)[0].state, 1);
    bed.remove_all().await;
}

/// Many pods at once; prints how long one takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_in_parallel() {
    let Some(bed) = bed("parallel").await else {
        return;
    };
    #[expect(clippy::disallowed_methods, reason = "a measurement")]
    let begin = std::time::Instant::now();
    let names: Vec<String> = (0..8).map(|n| format!("p{n}")).collect();
    let mut all = Vec::new();
    for name in &names {
        all.push(async {
            let sandbox = bed.run(name).await;
            let id = bed.up(&sandbox, name, &["exit", "0"]).await;
            assert_eq!(bed.ended(&id).await.exit_code, 0);
        });
    }
    let mut pinned: Vec<_> = all.into_iter().map(Box::pin).collect();
    std::future::poll_fn(|cx| {
        pinned.retain_mut(|f| f.as_mut().poll(cx).is_pending());
        if pinned.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    println!("8 pods with a container that ends: {:?}", begin.elapsed());
    bed.remove_all().await;
}

/// The real image store and the socket: what crictl sees.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_images_over_the_socket() {
    let Some(mut bed) = bed("socket").await else {
        return;
    };
    let store = images::Config::new(bed.dir.path().join("images"));
    let store = images::Images::open(store, Arc::new(SystemClock)).unwrap();
    let program = fs::read(bed.images.root.join("prog")).unwrap();
    let reference: images::Reference = "registry.local/demo:v1".parse().unwrap();
    let config = images::ImageConfig {
        entrypoint: vec!["/bin/prog".into()],
        cmd: vec!["echo".into(), "from the image".into()],
        user: "12".into(),
        ..images::ImageConfig::default()
    };
    let build = images::build::Build::new(config)
        .files(&[("bin/prog", 0o755, &program)])
        .unwrap();
    let archive = build.archive(&reference).unwrap();
    store
        .import(std::io::Cursor::new(archive), None)
        .await
        .unwrap();
    let node_images = Arc::new(crate::NodeImages::new(store, images::Registries::default()));
    bed.shutdown.trigger();
    let shutdown = Shutdown::new();
    let config = bed.runtime.inner.config.clone();
    let clock = Arc::new(SystemClock);
    let runtime = Runtime::open(
        config,
        node_images.clone(),
        bed.network.clone(),
        clock,
        shutdown.clone(),
    );
    (bed.runtime, bed.shutdown) = (runtime.await.unwrap(), shutdown.clone());

    let path = bed.dir.path().join("cri.sock");
    let (served, runtime, images) = (path.clone(), bed.runtime.clone(), node_images.clone());
    base::tasks::spawn("socket", &shutdown.clone(), async move {
        crate::serve(&served, Arc::new(runtime), images, shutdown)
            .await
            .unwrap();
    });
    while !path.exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let address = format!("unix://{}", path.display());
    let channel = tonic::transport::Endpoint::try_from(address)
        .unwrap()
        .connect_lazy();
    let images = nodeapi::socket::RemoteImages::new(channel.clone());
    let runtime = nodeapi::socket::RemoteRuntime::new(channel);
    let version = runtime
        .version(cri::VersionRequest::default())
        .await
        .unwrap();
    assert_eq!(
        (
            version.runtime_name.as_str(),
            version.runtime_version.as_str()
        ),
        ("transom", "test")
    );
    let listed = nodeapi::ImageService::list_images(&images, Default::default())
        .await
        .unwrap();
    assert_eq!(listed.images[0].repo_tags, ["registry.local/demo:v1"]);
    assert_eq!(listed.images[0].uid.as_ref().unwrap().value, 12);
    let request = cri::RunPodSandboxRequest {
        config: Some(bed.pod("p")),
        ..Default::default()
    };
    let sandbox = runtime
        .run_pod_sandbox(request)
        .await
        .unwrap()
        .pod_sandbox_id;
    let mut config = bed.config("a", &[]);
    config.image.as_mut().unwrap().image = listed.images[0].id.clone();
    let request = cri::CreateContainerRequest {
        pod_sandbox_id: sandbox.clone(),
        config: Some(config),
        sandbox_config: None,
    };
    let id = runtime
        .create_container(request)
        .await
        .unwrap()
        .container_id;
    runtime
        .start_container(cri::StartContainerRequest {
            container_id: id.clone(),
        })
        .await
        .unwrap();
    let status = bed.ended(&id).await;
    assert_eq!(
        (status.exit_code, bed.log("a").as_str()),
        (0, "stdout F from the image\n")
    );
    assert_eq!(status.image.unwrap().image, "registry.local/demo:v1");
    let missing = cri::ContainerStatusRequest {
        container_id: "nothing".into(),
        verbose: false,
    };
    let error = runtime.container_status(missing).await.unwrap_err();
    assert_eq!(
        (error.code, error.message.as_str()),
        (Code::NotFound, "container \"nothing\" not found")
    );
    bed.remove_all().await;
}

/// Variables that make [`agent_to_be_killed`] an agent: state, group, root of the image.
const CHILD: [&str; 3] = [
    "TRANSOM_TEST_DIR",
    "TRANSOM_TEST_GROUP",
    "TRANSOM_TEST_ROOT",
];

/// Makes and removes pods until it is killed; nothing to do when it is run as a test.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agent_to_be_killed() {
    let [Ok(dir), Ok(parent), Ok(root)] = CHILD.map(std::env::var) else {
        return;
    };
    let images = Arc::new(OneImage {
        root: root.into(),
        held: Mutex::default(),
    });
    let network = Arc::new(NoNetwork::default());
    let dir = PathBuf::from(dir);
    let (runtime, shutdown) = open(&dir, &parent, &images, &network).await;
    let mut own = tempfile::tempdir().unwrap();
    own.disable_cleanup(true);
    let bed = Bed {
        dir: own,
        parent,
        images,
        network,
        runtime,
        shutdown,
    };
    for n in 0.. {
        let sandbox = bed.run(&format!("x{}-{n}", std::process::id())).await;
        let id = bed.up(&sandbox, "a", &["exit", "0"]).await;
        bed.ended(&id).await;
        let pod_sandbox_id = sandbox;
        let stop = cri::StopPodSandboxRequest {
            pod_sandbox_id: pod_sandbox_id.clone(),
        };
        bed.runtime.stop_pod_sandbox(stop).await.unwrap();
        let remove = cri::RemovePodSandboxRequest { pod_sandbox_id };
        bed.runtime.remove_pod_sandbox(remove).await.unwrap();
    }
}

/// kill -9 at random moments under load: the old pod stays untouched, nothing half-made remains.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_kills_of_the_agent() {
    let Some(mut bed) = bed("kills").await else {
        return;
    };
    let sandbox = bed.run("stays").await;
    let stays = bed
        .up(&sandbox, "stays", &["echo", "ready", "sleep", "600"])
        .await;
    bed.wait_log("stays", "ready").await;
    let pid = bed
        .runtime
        .inner
        .container(&stays)
        .unwrap()
        .1
        .record
        .lock()
        .pid;
    bed.shutdown.trigger();
    let mut random = base::Rng::new(7);
    for _ in 0..12 {
        #[expect(clippy::disallowed_methods, reason = "this test program as an agent")]
        let mut agent = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["tests::agent_to_be_killed", "--exact"])
            .env(CHILD[0], bed.dir.path())
            .env(CHILD[1], &bed.parent)
            .env(CHILD[2], &bed.images.root)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        tokio::time::sleep(Duration::from_millis(40 + random.below(250))).await;
        assert!(
            agent.try_wait().unwrap().is_none(),
            "the agent failed by itself"
        );
        agent.kill().unwrap();
        agent.wait().unwrap();
    }
    bed.reopen().await;
    assert_eq!(
        bed.status(&stays).await.state,
        cri::ContainerState::ContainerRunning as i32
    );
    assert_eq!(
        bed.runtime
            .inner
            .container(&stays)
            .unwrap()
            .1
            .record
            .lock()
            .pid,
        pid
    );
    let listed = bed.runtime.inner.list_sandboxes(None);
    println!("sandboxes after the kills: {}", listed.len());
    assert_eq!(
        bed.exec(&stays, &["/prog", "echo", "x"], 5)
            .await
            .unwrap()
            .stdout,
        b"x\n"
    );
    bed.remove_all().await;
    let group = bed.runtime.inner.group(&bed.parent).unwrap();
    assert_eq!(group.processes().unwrap(), Vec::<u32>::new());
    let shims = fs::read_dir("/proc")
        .unwrap()
        .filter_map(Result::ok)
        .filter(|p| {
            let environment = fs::read_link(p.path().join("fd/2")).unwrap_or_default();
            environment.starts_with(bed.dir.path())
        });
    assert_eq!(shims.count(), 0, "shims are left");
}
