//! The CRI service on this host, as root: real containers, an image that is one static program,
//! a network that is none. What a kill -9 of the agent leaves is what `Runtime::open` finds.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base::{Shutdown, SystemClock};
use nodeapi::cni::{AddRequest, Cni, CniError, CniResult};
use nodeapi::{CriError, RuntimeService as _, cri};
use parking_lot::Mutex;

use crate::{Config, Image, ImageConfig, Images, Runtime};

mod host;
mod image_volumes;
#[path = "../../oci/src/leftovers.rs"]
mod leftovers;
mod pods;
mod recovery;
mod streams;

/// Of names of folders and control groups.
const PREFIX: &str = "transom-cri-";

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

/// The test program, compiled once; `None` with a reason printed.
fn program() -> Option<&'static [u8]> {
    static PROGRAM_FILE: OnceLock<Option<Vec<u8>>> = OnceLock::new();
    let program = PROGRAM_FILE.get_or_init(|| {
        leftovers::take_away(PREFIX, |dir| {
            if let Ok(shim) = oci::Shim::connect(dir) {
                shim.shutdown().ok();
            }
        });
        let dir = leftovers::folder(PREFIX);
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
        fs::read(program).ok()
    });
    program.as_deref()
}

/// The root file system of an image with the test program alone, in a test's folder: statics are
/// never dropped, so what all tests share would stay behind.
fn make_root(folder: &Path, program: &[u8]) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let root = folder.join("image");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("prog"), program).unwrap();
    for path in [&root, &root.join("prog")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    root
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
    let program = program()?;
    let dir = leftovers::folder(PREFIX);
    let images = Arc::new(OneImage {
        root: make_root(dir.path(), program),
        held: Mutex::default(),
    });
    let network = Arc::new(NoNetwork::default());
    let parent = format!("/{PREFIX}{}-{name}", std::process::id());
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
