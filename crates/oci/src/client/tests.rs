//! Real containers of this host, as root: a shim, a pod, and what a hostile image could try.
//!
//! The root file system is one static C program built on the spot (no image is needed); each
//! test has its own folder and control group and leaves nothing.

use std::fs;
use std::io::Read as _;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cgroups::{Group, Layout, Limits};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use super::{ExecIo, Shim, clean_up, is_alive, read_state};
use crate::leftovers;
use crate::message::{RUNNING, STOPPED, Status};
use crate::spec::{Capabilities, Container, Pod, Process, Rlimit, Rootfs};
use crate::{ShimBinary, capabilities, defaults, node_init, seccomp};

mod breakout;

/// Of names of folders and control groups.
const PREFIX: &str = "transom-oci-";

/// Commands of the test program: `prog WORD ARG…` pairs are run in order.
const PROGRAM: &str = r#"
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <fcntl.h>
#include <errno.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/socket.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
static void cat(const char *p) {
  char b[65536]; int f = open(p, O_RDONLY); ssize_t n;
  if (f < 0) { printf("%s: %s\n", p, strerror(errno)); return; }
  while ((n = read(f, b, sizeof b)) > 0) fwrite(b, 1, n, stdout);
  close(f);
}
static void on_term(int s) { (void)s; write(1, "term\n", 5); _exit(42); }
int main(int c, char **v) {
  setvbuf(stdout, 0, _IONBF, 0);
  for (int i = 1; i < c; i++) {
    const char *w = v[i], *a = i + 1 < c ? v[i + 1] : "";
    if (!strcmp(w, "echo")) { puts(a); i++; }
    else if (!strcmp(w, "print")) { fputs(a, stdout); i++; }
    else if (!strcmp(w, "err")) { fprintf(stderr, "%s\n", a); i++; }
    else if (!strcmp(w, "cat")) { cat(a); i++; }
    else if (!strcmp(w, "grep")) { char b[65536], *l; int f = open(v[i+2], O_RDONLY); int n = f < 0 ? 0 : read(f, b, 65535); b[n < 0 ? 0 : n] = 0; for (l = strtok(b, "\n"); l; l = strtok(0, "\n")) if (strstr(l, a)) puts(l); i += 2; close(f); }
    else if (!strcmp(w, "write")) { int f = open(a, O_WRONLY | O_CREAT, 0644); int r = f < 0 ? -1 : (int)write(f, v[i+2], strlen(v[i+2])); printf("write %s: %s\n", a, r < 0 ? strerror(errno) : "ok"); if (f >= 0) close(f); i += 2; }
    else if (!strcmp(w, "mount")) { printf("mount: %s\n", mount("x", "/tmp", "tmpfs", 0, "") ? strerror(errno) : "ok"); }
    else if (!strcmp(w, "mkdir")) { printf("mkdir: %s\n", mkdir(a, 0755) ? strerror(errno) : "ok"); i++; }
    else if (!strcmp(w, "id")) { gid_t g[32]; int n = getgroups(32, g); printf("%d:%d", getuid(), getgid()); for (int k = 0; k < n; k++) printf(" %d", g[k]); puts(""); }
    else if (!strcmp(w, "pid")) { printf("pid %d\n", getpid()); }
    else if (!strcmp(w, "cwd")) { char b[4096]; puts(getcwd(b, sizeof b) ? b : "?"); }
    else if (!strcmp(w, "env")) { puts(getenv(a) ? getenv(a) : "unset"); i++; }
    else if (!strcmp(w, "host")) { char b[256]; gethostname(b, 256); puts(b); }
    else if (!strcmp(w, "tty")) { struct winsize s; printf("tty %d %d\n", isatty(0), ioctl(0, TIOCGWINSZ, &s) ? -1 : s.ws_col); }
    else if (!strcmp(w, "read")) { char b[256]; ssize_t n = read(0, b, 255); if (n < 0) n = 0; b[n] = 0; printf("got %s", n ? b : "eof\n"); }
    else if (!strcmp(w, "sleep")) { sleep(atoi(a)); i++; }
    else if (!strcmp(w, "trap")) { signal(SIGTERM, on_term); }
    else if (!strcmp(w, "ready")) { puts("ready"); }
    else if (!strcmp(w, "fork")) { for (int k = 0; k < atoi(a); k++) { pid_t p = fork(); if (p < 0) { printf("fork %d: %s\n", k, strerror(errno)); break; } if (!p) { sleep(100); _exit(0); } } i++; }
    else if (!strcmp(w, "orphan")) { if (!fork()) { setsid(); sleep(100); _exit(0); } }
    else if (!strcmp(w, "eat")) { size_t n = (size_t)atoi(a) << 20; char *p = malloc(n); memset(p, 1, n); puts("ate"); i++; }
    else if (!strcmp(w, "many")) { for (int k = 0; k < atoi(a); k++) putchar('x'); i++; }
    else if (!strcmp(w, "fds")) { for (int k = 3; k < 256; k++) if (fcntl(k, F_GETFD) >= 0) printf("fd %d\n", k); }
    else if (!strcmp(w, "exit")) { exit(atoi(a)); }
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
            if let Ok(shim) = Shim::connect(dir) {
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
    fs::create_dir(root.join("etc")).unwrap();
    let passwd = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:App:/home/app:/bin/sh\n";
    fs::write(root.join("etc/passwd"), passwd).unwrap();
    let groups = "app:x:1001:\nextra:x:2000:app,other\n";
    fs::write(root.join("etc/group"), groups).unwrap();
    for path in [&root, &root.join("prog")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    root
}

/// A pod under test; everything of it goes at the end.
struct Bed {
    dir: tempfile::TempDir,
    binary: ShimBinary,
    pod: Pod,
    shim: Shim,
    group: Group,
    root: PathBuf,
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.shim.shutdown().ok();
        self.group.kill().ok();
        self.group.remove().ok();
        clean_up(self.dir.path());
    }
}

fn bed_with(name: &str, change: impl FnOnce(&mut Pod)) -> Option<Bed> {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: not root");
        return None;
    }
    let program = program()?;
    let dir = leftovers::folder(PREFIX);
    let root = make_root(dir.path(), program);
    let binary = ShimBinary::install(&dir.path().join("bin")).unwrap();
    let layout = Arc::new(Layout::detect().unwrap());
    let path = format!("/{PREFIX}{}-{name}", std::process::id());
    let group = Group::new(&layout, &path).unwrap();
    group.create().unwrap();
    let mut pod = Pod {
        id: name.into(),
        directory: dir.path().to_string_lossy().into(),
        hostname: "pod-host".into(),
        net: "new".into(),
        ipc: "new".into(),
        uts: "new".into(),
        ..Pod::default()
    };
    change(&mut pod);
    let shim = Shim::spawn(&binary, &pod).unwrap();
    Some(Bed {
        dir,
        binary,
        pod,
        shim,
        group,
        root,
    })
}

fn bed(name: &str) -> Option<Bed> {
    bed_with(name, |_| {})
}

impl Bed {
    fn process(&self, args: &[&str]) -> Process {
        let default = capabilities::default_set();
        Process {
            args: std::iter::once("/prog")
                .chain(args.iter().copied())
                .map(Into::into)
                .collect(),
            env: vec![defaults::PATH.into()],
            cwd: "/".into(),
            capabilities: Capabilities {
                bounding: default,
                permitted: default,
                ..Capabilities::default()
            },
            seccomp: shim::wire::Blob(
                seccomp::Profile::runtime_default(default)
                    .compile()
                    .unwrap(),
            ),
            no_new_privs: true,
            ..Process::default()
        }
    }

    fn container(&self, id: &str, args: &[&str]) -> Container {
        let group = self.group.child(id).unwrap();
        group.create().unwrap();
        let dir = |name: &str| {
            let path = self.dir.path().join(format!("{id}-{name}"));
            fs::create_dir_all(&path).unwrap();
            path.to_string_lossy().into_owned()
        };
        let mut container = Container {
            id: id.into(),
            process: self.process(args),
            rootfs: Rootfs {
                lowers: vec![self.root.to_string_lossy().into()],
                upper: dir("upper"),
                work: dir("work"),
                at: dir("root"),
                ..Rootfs::default()
            },
            mounts: defaults::mounts(false, false),
            masked_paths: defaults::MASKED_PATHS.map(Into::into).into(),
            readonly_paths: defaults::READONLY_PATHS.map(Into::into).into(),
            cgroup: node_init::cgroup(&group),
            log_path: self.log(id).to_string_lossy().into(),
            ..Container::default()
        };
        container.namespaces.net = "pod".into();
        container.namespaces.ipc = "pod".into();
        container.namespaces.uts = "pod".into();
        container.namespaces.pid = "new".into();
        container.namespaces.cgroup = "new".into();
        container
    }

    fn log(&self, id: &str) -> PathBuf {
        self.dir.path().join(format!("{id}.log"))
    }

    /// The log without times.
    fn text(&self, id: &str) -> String {
        let log = fs::read_to_string(self.log(id)).unwrap_or_default();
        log.lines()
            .map(|l| l.split_once(' ').unwrap().1.to_string() + "\n")
            .collect()
    }

    fn run(&self, container: &Container) -> Status {
        let mut events = self.shim.subscribe().unwrap();
        self.shim.create(container).unwrap();
        self.shim.start(&container.id).unwrap();
        let status = events.wait().unwrap();
        assert_eq!(
            (status.id.as_str(), status.state),
            (container.id.as_str(), STOPPED)
        );
        status
    }

    fn exec(&self, id: &str, process: &Process) -> (String, Status) {
        let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let null: OwnedFd = fs::File::open("/dev/null").unwrap().into();
        let (read, stdout) = pipe();
        let stderr = stdout.try_clone().unwrap();
        let io = ExecIo::Pipes {
            stdin: null,
            stdout,
            stderr,
        };
        let mut running = self
            .shim
            .exec(id, &format!("{id}-exec"), process, io)
            .unwrap();
        let mut text = String::new();
        fs::File::from(read).read_to_string(&mut text).unwrap();
        (text, running.wait().unwrap())
    }

    /// Starts a container and waits for its word `ready`.
    fn up(&self, container: &Container) {
        self.shim.create(container).unwrap();
        self.shim.start(&container.id).unwrap();
        for _ in 0..200 {
            if self.text(&container.id).contains("ready") {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("not ready: {}", self.text(&container.id));
    }
}

#[test]
fn output_exit_code_and_identity() {
    let Some(bed) = bed("identity") else { return };
    let mut container = bed.container(
        "a",
        &[
            "pid", "host", "id", "cwd", "env", "HOME", "err", "oops", "print", "end", "exit", "7",
        ],
    );
    container.process.user = "app".into();
    container.process.merge_groups = true;
    container.process.groups = vec![5];
    container.process.cwd = "/made/for/me".into();
    let status = bed.run(&container);
    assert_eq!(
        (status.exit_code, status.signal, status.oom_killed),
        (7, 0, false)
    );
    assert_eq!(
        (status.uid, status.gid, status.groups),
        (1000, 1001, vec![1001, 5, 2000])
    );
    let text = bed.text("a");
    let lines: Vec<&str> = text.lines().filter(|l| l.starts_with("stdout")).collect();
    assert_eq!(
        lines,
        [
            "stdout F pid 1",
            "stdout F pod-host",
            "stdout F 1000:1001 5 1001 2000",
            "stdout F /made/for/me",
            "stdout F /home/app",
            "stdout P end",
        ]
    );
    assert!(text.contains("stderr F oops\n"), "{text}");
    bed.shim.delete("a").unwrap();
    assert!(bed.shim.delete("a").unwrap_err().is_not_found());
}

#[test]
fn confinement_of_the_first_process_and_of_exec() {
    let Some(bed) = bed("confine") else { return };
    let args = [
        "mount",
        "write",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "900000000",
        "write",
        "/proc/sys/kernel/hostname",
        "x",
        "cat",
        "/proc/interrupts",
        "grep",
        "Seccomp:",
        "/proc/self/status",
        "grep",
        "NoNewPrivs",
        "/proc/self/status",
        "grep",
        "CapEff",
        "/proc/self/status",
        "fds",
    ];
    let confined = "mount: Operation not permitted\n\
        write /sys/fs/cgroup/memory/memory.limit_in_bytes: Read-only file system\n\
        write /proc/sys/kernel/hostname: Read-only file system\n\
        Seccomp:\t2\n\
        NoNewPrivs:\t1\n\
        CapEff:\t00000000a80425fb\n";
    let mut all = args.to_vec();
    all.extend(["ready", "sleep", "60"]);
    bed.up(&bed.container("a", &all));
    let first = bed.text("a").replace("stdout F ", "");
    let has_memory = bed.group.layout().v1_of("memory").is_some();
    if has_memory {
        assert_eq!(first, format!("{confined}ready\n"));
    }
    let (text, status) = bed.exec("a", &bed.process(&args));
    if has_memory {
        assert_eq!(text, confined);
    }
    assert_eq!(status.exit_code, 0);
    bed.shim.kill_all("a").unwrap();
}

#[test]
fn read_only_root_still_has_its_volumes() {
    let Some(bed) = bed("readonly") else { return };
    let volume = bed.dir.path().join("volume");
    fs::create_dir(&volume).unwrap();
    let mut container = bed.container(
        "a",
        &[
            "write", "/x", "1", "write", "/data/x", "1", "write", "/ro/x", "1",
        ],
    );
    container.rootfs.read_only = true;
    let source = volume.to_string_lossy();
    container.mounts.push(defaults::bind(&source, "/data", 0));
    container
        .mounts
        .push(defaults::bind(&source, "/ro", defaults::READ_ONLY));
    bed.run(&container);
    let expect = "stdout F write /x: Read-only file system\n\
        stdout F write /data/x: ok\n\
        stdout F write /ro/x: Read-only file system\n";
    assert_eq!(bed.text("a"), expect);
    assert_eq!(fs::read_to_string(volume.join("x")).unwrap(), "1");
}

/// A link of the image must not lead a mount to the host.
#[test]
fn targets_are_resolved_inside_the_root() {
    let Some(bed) = bed("links") else { return };
    let evil = bed.dir.path().join("evil");
    fs::create_dir(&evil).unwrap();
    let outside = bed.dir.path().join("outside");
    std::os::unix::fs::symlink(&outside, evil.join("data")).unwrap();
    let mut container = bed.container("a", &["cat", "/data/f"]);
    container
        .rootfs
        .lowers
        .insert(0, evil.to_string_lossy().into());
    let volume = bed.dir.path().join("volume");
    fs::create_dir(&volume).unwrap();
    fs::write(volume.join("f"), "inside\n").unwrap();
    // The link points to a place that the root does not have: refused, nothing made outside.
    container
        .mounts
        .push(defaults::bind(&volume.to_string_lossy(), "/data", 0));
    let refused = bed.shim.create(&container).is_err();
    assert!(refused && !outside.exists());
    // A linked /proc is refused as well.
    fs::remove_file(evil.join("data")).unwrap();
    std::os::unix::fs::symlink("/etc", evil.join("proc")).unwrap();
    let mut container = bed.container("b", &["cat", "/data/f"]);
    container
        .rootfs
        .lowers
        .insert(0, evil.to_string_lossy().into());
    let error = bed.shim.create(&container).unwrap_err().to_string();
    assert!(error.contains("/proc"), "{error}");
}

/// More layers than their paths fit into one page of options; and with one path that the kernel
/// takes only in that page, as kernels before 6.7 take all.
#[test]
fn many_layers() {
    for (name, longest) in [("layers", 100), ("layers-long", 300)] {
        let Some(bed) = bed(name) else { return };
        let mut container = bed.container("a", &["cat", "/119", "cat", "/0"]);
        let layers = (0..120).map(|number| {
            let long = if number == 60 { longest } else { 100 };
            let mut path = bed.dir.path().join(format!("layer-{number}"));
            while path.as_os_str().len() < long {
                path.push("x".repeat(60));
            }
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join(number.to_string()), format!("{number}\n")).unwrap();
            path.to_string_lossy().into_owned()
        });
        let mut lowers: Vec<String> = layers.collect();
        lowers.append(&mut container.rootfs.lowers);
        container.rootfs.lowers = lowers;
        bed.run(&container);
        assert_eq!(bed.text("a"), "stdout F 119\nstdout F 0\n");
    }
}

#[test]
fn limits_and_oom_kills_are_seen() {
    let Some(bed) = bed("limits") else { return };
    let container = bed.container("a", &["eat", "100"]);
    let limits = Limits {
        memory: Some(32 << 20),
        memory_and_swap: Some(32 << 20),
        ..Limits::default()
    };
    bed.group.child("a").unwrap().apply(&limits).unwrap();
    let status = bed.run(&container);
    assert_eq!(
        (status.exit_code, status.signal, status.oom_killed),
        (137, 9, true)
    );

    let container = bed.container("b", &["fork", "20"]);
    let limits = Limits {
        pids: Some(5),
        ..Limits::default()
    };
    bed.group.child("b").unwrap().apply(&limits).unwrap();
    let status = bed.run(&container);
    assert_eq!((status.exit_code, status.oom_killed), (0, false));
    assert_eq!(
        bed.text("b"),
        "stdout F fork 4: Resource temporarily unavailable\n"
    );
}

/// What may not be set here (no CAP_SYS_RESOURCE) is a warning, not a failure.
#[test]
fn forbidden_scores_and_limits_are_warnings() {
    let Some(bed) = bed("fallback") else { return };
    let mut container = bed.container("a", &["echo", "fine"]);
    container.process.oom_score_adj = Some(-998);
    let limit = Rlimit {
        resource: libc::RLIMIT_NOFILE,
        soft: 4 << 20,
        hard: 4 << 20,
    };
    container.process.rlimits = vec![limit];
    let created = bed.shim.create(&container).unwrap();
    println!("warnings: {:?}", created.warnings);
    bed.shim.start("a").unwrap();
}

#[test]
fn signals_and_missing_programs() {
    let Some(bed) = bed("signals") else { return };
    bed.up(&bed.container("a", &["trap", "ready", "sleep", "60"]));
    let mut events = bed.shim.subscribe().unwrap();
    assert_eq!(events.state.containers[0].state, RUNNING);
    bed.shim.kill("a", 15).unwrap();
    assert_eq!(events.wait().unwrap().exit_code, 42);
    assert!(bed.text("a").ends_with("stdout F term\n"));

    let mut container = bed.container("b", &[]);
    container.process.args = vec!["nothing".into()];
    bed.shim.create(&container).unwrap();
    let error = bed.shim.start("b").unwrap_err().to_string();
    assert_eq!(
        error,
        "exec: \"nothing\": executable file not found in $PATH"
    );
    assert_eq!(events.wait().unwrap().exit_code, 128);
    let mut container = bed.container("c", &[]);
    container.process.user = "nobody".into();
    let error = bed.shim.create(&container).unwrap_err().to_string();
    assert_eq!(
        error,
        "unable to find user nobody: no matching entries in passwd file"
    );
}

/// The client's death changes nothing; a new one finds everything, the log has no gap.
#[test]
fn containers_survive_their_client() {
    let Some(mut bed) = bed("survive") else {
        return;
    };
    bed.up(&bed.container("a", &["ready", "sleep", "1", "echo", "later", "exit", "3"]));
    let pid = bed.shim.status("a").unwrap().pid;
    assert!(is_alive(&read_state(bed.dir.path()).unwrap()));
    bed.shim = Shim::connect(bed.dir.path()).unwrap();
    let mut events = bed.shim.subscribe().unwrap();
    assert_eq!(
        (
            events.state.containers[0].pid,
            events.state.containers[0].state
        ),
        (pid, RUNNING)
    );
    assert_eq!(events.wait().unwrap().exit_code, 3);
    assert_eq!(bed.text("a"), "stdout F ready\nstdout F later\n");
    let kept = read_state(bed.dir.path()).unwrap();
    assert_eq!(
        (kept.containers[0].state, kept.containers[0].exit_code),
        (STOPPED, 3)
    );
}

/// Whoever shuts a machine down asks every process to end, and waits.
#[test]
fn a_shim_that_nobody_needs_ends_when_the_machine_goes_down() {
    let Some(bed) = bed("down") else { return };
    let directory = bed.dir.path().join("other");
    fs::create_dir(&directory).unwrap();
    let pod = Pod {
        directory: directory.to_string_lossy().into(),
        ..bed.pod.clone()
    };
    let shim = Shim::spawn(&bed.binary, &pod).unwrap();
    let container = bed.container("a", &["ready", "sleep", "60"]);
    shim.create(&container).unwrap();
    shim.start("a").unwrap();
    let state = shim.state().unwrap();
    let open = |pid: u32| {
        let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        (pid, pidfd_open(pid, PidfdFlags::empty()).unwrap())
    };
    let (pid, shim_ends) = open(state.shim_pid);
    let (inside, container_ends) = open(state.containers[0].pid);
    drop(shim);
    kill_process(pid, Signal::TERM).unwrap();
    assert!(!ends(&shim_ends, Duration::from_millis(300)));
    assert!(!ends(&container_ends, Duration::ZERO));
    kill_process(inside, Signal::KILL).unwrap();
    assert!(ends(&shim_ends, Duration::from_secs(10)));
    let kept = read_state(&directory).unwrap();
    assert!(!is_alive(&kept));
    assert_eq!(
        (kept.containers[0].state, kept.containers[0].exit_code),
        (STOPPED, 137)
    );
    clean_up(&directory);
}

fn ends(process: &OwnedFd, within: Duration) -> bool {
    let mut entries = [PollFd::new(process, PollFlags::IN)];
    let within = Timespec::try_from(within).unwrap();
    poll(&mut entries, Some(&within)).unwrap() == 1
}

#[test]
fn attach_writes_and_reads() {
    let Some(bed) = bed("attach") else { return };
    let mut container = bed.container("a", &["ready", "read", "read"]);
    container.stdin = true;
    container.stdin_once = true;
    bed.up(&container);
    let attached = bed.shim.attach("a", true, true, false).unwrap();
    let mut stdin = fs::File::from(attached.stdin.unwrap());
    std::io::Write::write_all(&mut stdin, b"hello\n").unwrap();
    let mut stdout = fs::File::from(attached.stdout.unwrap());
    let mut first = [0; 10];
    stdout.read_exact(&mut first).unwrap();
    drop(stdin);
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(
        bed.text("a"),
        "stdout F ready\nstdout F got hello\nstdout F got eof\n"
    );
}

#[test]
fn terminals_of_containers_and_execs() {
    let Some(bed) = bed("tty") else { return };
    let mut container = bed.container("a", &["tty", "ready", "sleep", "60"]);
    container.process.terminal = true;
    (container.process.columns, container.process.rows) = (91, 20);
    bed.up(&container);
    assert!(
        bed.text("a").starts_with("stdout F tty 1 91\n"),
        "{:?}",
        bed.text("a")
    );
    bed.shim.resize("a", 100, 30).unwrap();
    let process = bed.process(&["tty", "exit", "5"]);
    let mut running = bed.shim.exec("a", "x", &process, ExecIo::Terminal).unwrap();
    let mut text = Vec::new();
    let mut master = fs::File::from(running.terminal.take().unwrap());
    let mut buffer = [0; 256];
    while let Ok(n @ 1..) = master.read(&mut buffer) {
        text.extend_from_slice(&buffer[..n]);
    }
    assert_eq!(String::from_utf8_lossy(&text), "tty 1 0\r\n");
    assert_eq!(running.wait().unwrap().exit_code, 5);
    bed.shim.kill_all("a").unwrap();
}

#[test]
fn long_lines_are_split_and_rotation_loses_nothing() {
    let Some(bed) = bed("logs") else { return };
    let container = bed.container(
        "a",
        &[
            "many", "20000", "echo", "", "ready", "sleep", "1", "echo", "new",
        ],
    );
    bed.up(&container);
    let rotated = bed.dir.path().join("a.old");
    let text = bed.text("a");
    let lengths: Vec<(String, usize)> =
        text.lines().map(|l| (l[..8].into(), l.len() - 9)).collect();
    assert_eq!(
        lengths,
        [
            ("stdout P".to_string(), 16_384),
            ("stdout F".into(), 3616),
            ("stdout F".into(), 5)
        ]
    );
    fs::rename(bed.log("a"), &rotated).unwrap();
    let mut events = bed.shim.subscribe().unwrap();
    bed.shim.reopen_log("a").unwrap();
    events.wait().unwrap();
    assert_eq!(bed.text("a"), "stdout F new\n");
}

#[test]
fn shared_process_namespace_is_reaped_and_killed() {
    let Some(bed) = bed_with("sharepid", |pod| pod.share_pid = true) else {
        return;
    };
    let mut container = bed.container("a", &["orphan", "ready", "exit", "0"]);
    container.namespaces.pid = "pod".into();
    let status = bed.run(&container);
    assert_eq!(status.exit_code, 0);
    let mut container = bed.container("b", &["pid", "ready", "sleep", "60"]);
    container.namespaces.pid = "pod".into();
    bed.up(&container);
    assert!(!bed.text("b").contains("pid 1\n"), "{}", bed.text("b"));
    // The orphan of `a` goes with its container's group.
    let group = bed.group.child("a").unwrap();
    for _ in 0..200 {
        if group.processes().unwrap().is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(group.processes().unwrap(), Vec::<u32>::new());
    bed.shim.kill_all("b").unwrap();
}

#[test]
fn user_namespace() {
    let maps = vec![crate::spec::IdMap {
        inside: 0,
        outside: 100_000,
        count: 65_536,
    }];
    let Some(bed) = bed_with("userns", |pod| {
        pod.uid_map.clone_from(&maps);
        pod.gid_map.clone_from(&maps);
    }) else {
        return;
    };
    // The mapped root must reach its layers.
    let path = bed.dir.path();
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut container = bed.container(
        "a",
        &[
            "id",
            "cat",
            "/proc/self/uid_map",
            "mkdir",
            "/x",
            "echo",
            "done",
        ],
    );
    container.namespaces.user = "pod".into();
    container.mounts = defaults::mounts(false, true);
    for dir in ["upper", "work"] {
        std::os::unix::fs::chown(path.join(format!("a-{dir}")), Some(100_000), Some(100_000))
            .unwrap();
    }
    let status = bed.run(&container);
    let text = bed.text("a");
    assert!(
        text.contains("stdout F 0:0") && text.contains("100000      65536"),
        "{text}"
    );
    assert_eq!(status.exit_code, 0);
}

/// After the end there is nothing: no process, mount, group or socket.
#[test]
fn nothing_is_left() {
    let Some(bed) = bed("leftovers") else { return };
    let (dir, group) = (bed.dir.path().to_path_buf(), bed.group.clone());
    bed.up(&bed.container("a", &["orphan", "ready", "sleep", "60"]));
    let state = bed.shim.state().unwrap();
    let pid = state.containers[0].pid;
    drop(bed);
    assert!(!is_alive(&state));
    assert_eq!(super::started_at(pid), None);
    assert!(!group.exists());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(dir.to_str().unwrap()), "{mounts}");
    assert!(!dir.exists());
}

/// One container's whole life, as DESIGN promises it; printed, with a generous bound.
#[test]
fn life_of_a_container_is_short() {
    let Some(bed) = bed("life") else { return };
    let mut times = Vec::new();
    let mut execs = Vec::new();
    #[expect(clippy::disallowed_methods, reason = "a measurement")]
    let now = std::time::Instant::now;
    for n in 0..20 {
        let id = format!("c{n}");
        let container = bed.container(&id, &["exit", "0"]);
        let mut events = bed.shim.subscribe().unwrap();
        let begin = now();
        bed.shim.create(&container).unwrap();
        bed.shim.start(&id).unwrap();
        events.wait().unwrap();
        bed.shim.delete(&id).unwrap();
        times.push(begin.elapsed());
    }
    bed.up(&bed.container("x", &["ready", "sleep", "60"]));
    for _ in 0..20 {
        let begin = now();
        bed.exec("x", &bed.process(&["exit", "0"]));
        execs.push(begin.elapsed());
    }
    times.sort();
    execs.sort();
    println!("container: min {:?} median {:?}", times[0], times[10]);
    println!("exec: min {:?} median {:?}", execs[0], execs[10]);
    let state = bed.shim.state().unwrap();
    let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", state.shim_pid)).unwrap();
    for line in rollup
        .lines()
        .filter(|l| l.starts_with("Rss") || l.starts_with("Private_Dirty") || l.starts_with("Pss:"))
    {
        println!("shim {line}");
    }
    println!(
        "shim binary: {} bytes",
        fs::metadata(bed.binary.path()).unwrap().len()
    );
    assert!(times[0] < Duration::from_millis(500));
    let _fd = bed
        .shim
        .subscribe()
        .unwrap()
        .as_fd()
        .try_clone_to_owned()
        .unwrap();
}
