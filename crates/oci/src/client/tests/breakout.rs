//! Known ways out of a container, tried on real ones: what each is, and that it ends inside.
//!
//! `attacks.c` is the attacker. Where an attack needs a mistake of the runtime, a control makes
//! that mistake (`naive-…`, a program without its protection, a capability too much) and shows
//! that the attack would succeed then. docs/SECURITY.md has the table. The attacks that need a
//! whole cluster are in the crate `tests`.
#![expect(unsafe_code, reason = "a keyring to be inherited")]

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use super::{Bed, ExecIo, PREFIX, bed, bed_with};
use crate::leftovers;
use crate::spec::{Container, Process};
use crate::{Shim, ShimBinary, capabilities, defaults};

/// A file of the kernel that is harmless to write in a host name namespace of one's own.
const KERNEL_FILE: &str = "/proc/sys/kernel/domainname";

/// The attacker, compiled once.
fn attacks() -> Option<&'static [u8]> {
    static ATTACKS: OnceLock<Option<Vec<u8>>> = OnceLock::new();
    let made = ATTACKS.get_or_init(|| {
        let dir = leftovers::folder(PREFIX);
        let (source, program) = (dir.path().join("attacks.c"), dir.path().join("attacks"));
        fs::write(&source, include_str!("attacks.c")).ok()?;
        #[expect(clippy::disallowed_methods, reason = "a test compiles its helper")]
        let status = std::process::Command::new("gcc")
            .args(["-O1", "-w", "-static", "-o"])
            .args([&program, &source])
            .status();
        if !status.is_ok_and(|status| status.success()) {
            return None;
        }
        fs::read(program).ok()
    });
    made.as_deref()
}

/// A pod whose image holds the attacker.
fn hostile(name: &str) -> Option<Bed> {
    hostile_with(name, |_| {})
}

fn hostile_with(name: &str, change: impl FnOnce(&mut crate::spec::Pod)) -> Option<Bed> {
    let bed = bed_with(name, change)?;
    add_attacker(&bed).then_some(bed)
}

fn add_attacker(bed: &Bed) -> bool {
    let Some(program) = attacks() else {
        return false;
    };
    let path = bed.root.join("attacks");
    fs::write(&path, program).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    true
}

impl Bed {
    fn attack(&self, words: &[&str]) -> Process {
        let mut process = self.process(words);
        process.args[0] = "/attacks".into();
        process
    }

    fn attacker(&self, id: &str, words: &[&str]) -> Container {
        let mut container = self.container(id, words);
        container.process = self.attack(words);
        container
    }

    /// The attacker on the host, where a control needs it.
    fn on_the_host(&self, words: &[&str]) -> String {
        #[expect(clippy::disallowed_methods, reason = "a control runs on the host")]
        let output = std::process::Command::new(self.root.join("attacks"))
            .args(words)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// An empty folder of the host beside the pod's.
    fn folder(&self, name: &str) -> std::path::PathBuf {
        let path = self.dir.path().join(name);
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// A folder of the host that no container should see.
    fn marker(&self) -> String {
        self.folder("of-the-host").display().to_string()
    }

    #[track_caller]
    fn wait_for(&self, id: &str, word: &str) -> String {
        for _ in 0..1000 {
            let text = self.text(id);
            if text.contains(word) {
                return text;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("no {word:?} in {:?}", self.text(id));
    }

    /// Makes it and lets it run; nothing is said about its fate.
    fn try_run(&self, container: &Container) -> Result<String, String> {
        let mut events = self.shim.subscribe().unwrap();
        self.shim.create(container).map_err(|e| e.to_string())?;
        self.shim.start(&container.id).map_err(|e| e.to_string())?;
        while events.wait().unwrap().id != container.id {}
        Ok(self.text(&container.id))
    }
}

fn bind(source: &Path, target: &str) -> crate::spec::Mount {
    defaults::bind(&source.to_string_lossy(), target, 0)
}

/// What the attacker learns who gets the shim to run in his container as `#!/proc/self/exe` and
/// takes hold of it there.
fn take_the_shim(bed: &Bed) -> String {
    let evil = bed.root.join("evil");
    fs::write(&evil, "#!/proc/self/exe\n").unwrap();
    fs::set_permissions(&evil, fs::Permissions::from_mode(0o755)).unwrap();
    let watcher = bed.attacker("w", &["echo", "ready", "exe-watch", "20"]);
    bed.up(&watcher);
    let mut evil = bed.attack(&[]);
    evil.args = vec!["/evil".into()];
    for _ in 0..200 {
        if bed.text("w").contains("taken") {
            break;
        }
        // It says in its own way that it is no program for this.
        bed.exec("w", &evil);
    }
    bed.wait_for("w", "exe-watch");
    bed.text("w")
        .lines()
        .skip(1)
        .map(|line| format!("{line}\n"))
        .collect()
}

/// CVE-2019-5736: the runtime's program, caught in `/proc/PID/exe` of an exec and written to.
#[test]
fn the_runtimes_program_cannot_be_overwritten() {
    let Some(bed) = hostile("exe") else { return };
    let size = fs::metadata(bed.binary.path()).unwrap().len();
    let text = take_the_shim(&bed);
    let caught = format!("stdout F taken: a program, {size} bytes\n");
    assert_eq!(
        text,
        format!("{caught}stdout F exe-watch 20: refused (Read-only file system)\n")
    );
    drop(bed);

    // Executed from its file, only that it runs keeps it.
    let Some(mut bed) = hostile("exe-naive") else {
        return;
    };
    bed.shim.shutdown().unwrap();
    bed.binary = ShimBinary::from_its_file(&bed.dir.path().join("bin")).unwrap();
    bed.shim = Shim::spawn(&bed.binary, &bed.pod).unwrap();
    let text = take_the_shim(&bed);
    assert_eq!(
        text,
        format!("{caught}stdout F exe-watch 20: refused (Text file busy)\n")
    );
}

/// CVE-2024-21626: a working directory that is a descriptor somebody left open.
#[test]
fn no_working_directory_is_outside() {
    let Some(bed) = hostile("cwd") else { return };
    let marker = bed.marker();
    let root = bed.root.display().to_string();
    let control = bed.on_the_host(&["naive-cwd", &root, &marker]);
    assert!(control.contains("DONE"), "{control}");

    bed.up(&bed.attacker("a", &["echo", "ready", "sleep", "60"]));
    let mut places: Vec<String> = (3..24).map(|n| format!("/proc/self/fd/{n}")).collect();
    places.extend(
        [
            "/proc/self/fd/7/../../..",
            "/proc/self/cwd",
            "/proc/self/root",
            "/proc/1/root",
        ]
        .map(Into::into),
    );
    for (number, place) in places.iter().enumerate() {
        let mut container = bed.attacker(&format!("c{number}"), &["there", &marker]);
        container.process.cwd.clone_from(place);
        let error = bed.try_run(&container).unwrap_err();
        assert!(error.contains("/proc/"), "{error}");
        let mut process = bed.attack(&["there", &marker]);
        process.cwd.clone_from(place);
        let null = || fs::File::open("/dev/null").unwrap().into();
        let io = ExecIo::Pipes {
            stdin: null(),
            stdout: null(),
            stderr: null(),
        };
        let error = bed
            .shim
            .exec("a", &format!("x{number}"), &process, io)
            .unwrap_err()
            .to_string();
        assert!(error.contains("/proc/"), "{error}");
    }
    let (text, _) = bed.exec("a", &bed.attack(&["descriptors"]));
    assert_eq!(text, "", "descriptors of an exec");
    let text = bed.try_run(&bed.attacker("d", &["descriptors"])).unwrap();
    assert_eq!(text, "", "descriptors of a container");
}

/// A folder that a pod brings as `/dev`, with a link in it to a file of the kernel.
fn hostile_dev(bed: &Bed, name: &str) -> std::path::PathBuf {
    let dev = bed.folder("dev");
    symlink(KERNEL_FILE, dev.join(name)).unwrap();
    let naive = bed.folder("naive");
    fs::create_dir_all(naive.join("dev")).unwrap();
    symlink(KERNEL_FILE, naive.join("dev").join(name)).unwrap();
    let control = bed.on_the_host(&["naive-bind", &naive.to_string_lossy(), name]);
    assert!(control.contains("DONE"), "{control}");
    dev
}

/// CVE-2025-31133: what covers a masked path is a link of the pod's instead of `/dev/null`; at rest,
/// and while another container of the pod keeps exchanging the two.
#[test]
fn masks_are_the_null_device() {
    let Some(bed) = hostile("masks") else { return };
    let dev = hostile_dev(&bed, "null");
    let victim = |id: &str| {
        let mut container = bed.attacker(id, &["read", "/proc/keys", "write", KERNEL_FILE]);
        container.mounts.push(bind(&dev, "/dev"));
        container
    };
    let error = bed.try_run(&victim("a")).unwrap_err();
    assert!(error.starts_with("mask /proc/"), "{error}");

    fs::rename(dev.join("null"), dev.join("link")).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o666);
    let (kind, number) = (
        rustix::fs::FileType::CharacterDevice,
        rustix::fs::makedev(1, 3),
    );
    rustix::fs::mknodat(rustix::fs::CWD, dev.join("null"), kind, mode, number).unwrap();
    let mut racer = bed.attacker("racer", &["swap", "/v/null", "/v/link"]);
    racer.mounts.push(bind(&dev, "/v"));
    racer.process.seccomp = shim::wire::Blob::default();
    bed.up(&racer);
    let (mut refused, mut ran) = (0, 0);
    for number in 0..60 {
        match bed.try_run(&victim(&format!("v{number}"))) {
            Err(_) => refused += 1,
            Ok(text) => {
                ran += 1;
                let expect = format!(
                    "stdout F read /proc/keys: refused (empty)\n\
                     stdout F write {KERNEL_FILE}: refused (Read-only file system)\n"
                );
                assert_eq!(text, expect);
            }
        }
    }
    println!("{ran} ran, {refused} refused");
    bed.shim.kill_all("racer").unwrap();
}

/// CVE-2025-52565: `/dev/console` as a link, so that the terminal covers something else, or
/// something else is bound there before the masks.
#[test]
fn the_console_is_not_a_link() {
    let Some(bed) = hostile("console") else {
        return;
    };
    let dev = hostile_dev(&bed, "console");
    fs::create_dir(dev.join("pts")).unwrap();
    let mut container = bed.attacker("a", &["write", KERNEL_FILE]);
    container.process.terminal = true;
    container.mounts.push(bind(&dev, "/dev"));
    let data = "newinstance,ptmxmode=0666,mode=0620,gid=5";
    let pts = defaults::file_system("devpts", "/dev/pts", data, defaults::NO_SUID);
    container.mounts.push(pts);
    let error = bed.try_run(&container).unwrap_err();
    assert!(error.contains("/dev/console"), "{error}");
    // As a terminal of the pod's own, where a program would be fooled by a name.
    fs::remove_file(dev.join("console")).unwrap();
    container.mounts.pop();
    symlink("/proc/sys/kernel", dev.join("pts/ptmx")).unwrap();
    let error = bed.try_run(&container).unwrap_err();
    assert!(error.contains("terminal"), "{error}");
}

/// CVE-2025-52881, CVE-2019-16884: what the runtime writes about a process below `/proc` lands in
/// the kernel, not in files that the pod put there.
#[test]
fn writes_to_proc_are_not_redirected() {
    let Some(bed) = hostile("redirect") else {
        return;
    };
    let proc = bed.folder("proc");
    let own = proc.join("self");
    fs::create_dir_all(own.join("attr")).unwrap();
    fs::create_dir_all(own.join("fd")).unwrap();
    fs::create_dir_all(proc.join("sys/net/ipv4")).unwrap();
    let files = [
        "self/oom_score_adj",
        "self/attr/exec",
        "self/attr/keycreate",
        "sysrq-trigger",
    ];
    for file in files
        .iter()
        .chain(&["sys/net/ipv4/ip_unprivileged_port_start"])
    {
        fs::write(proc.join(file), "").unwrap();
    }
    let mut container = bed.attacker("a", &["echo", "ready", "sleep", "60"]);
    container.mounts.push(bind(&proc, "/proc"));
    container.process.oom_score_adj = Some(700);
    container.sysctls = vec!["net.ipv4.ip_unprivileged_port_start=81".into()];
    container.namespaces.net = "new".into();
    bed.up(&container);
    let score = |pid: u32| fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
    assert_eq!(score(bed.shim.status("a").unwrap().pid), "700\n");
    // The pod's file is where a careless runtime would write.
    let mut process = bed.attack(&["write", "/proc/self/oom_score_adj", "sleep", "1"]);
    process.oom_score_adj = Some(800);
    let (read, stdout) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let null = || fs::File::open("/dev/null").unwrap().into();
    let io = ExecIo::Pipes {
        stdin: null(),
        stdout,
        stderr: null(),
    };
    let mut running = bed.shim.exec("a", "x", &process, io).unwrap();
    assert_eq!(score(running.created.pid), "800\n");
    let mut text = String::new();
    fs::File::from(read).read_to_string(&mut text).unwrap();
    running.wait().unwrap();
    assert_eq!(text, "write /proc/self/oom_score_adj: DONE\n");
    for file in files {
        assert_eq!(fs::read_to_string(proc.join(file)).unwrap(), "", "{file}");
    }
    let pid = bed.shim.status("a").unwrap().pid;
    let namespace = fs::File::open(format!("/proc/{pid}/ns/net")).unwrap();
    let setting = std::thread::spawn(move || {
        rustix::thread::move_into_link_name_space(
            std::os::fd::AsFd::as_fd(&namespace),
            Some(rustix::thread::LinkNameSpaceType::Network),
        )
        .unwrap();
        fs::read_to_string("/proc/thread-self/net/../../sys/net/ipv4/ip_unprivileged_port_start")
            .or_else(|_| fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start"))
            .unwrap()
    });
    assert_eq!(setting.join().unwrap(), "81\n");
}

/// CVE-2021-30465: the place of a mount, exchanged for a link while it is looked up.
#[test]
fn mounts_do_not_follow_exchanged_links() {
    let Some(bed) = hostile("targets") else {
        return;
    };
    let outside = bed.folder("outside");
    let (volume, other) = (bed.folder("volume"), bed.folder("other"));
    fs::create_dir(volume.join("dir")).unwrap();
    fs::write(outside.join("marker"), "").unwrap();
    symlink(&outside, volume.join("link")).unwrap();
    let mut racer = bed.attacker("racer", &["swap", "/v/dir", "/v/link"]);
    racer.mounts.push(bind(&volume, "/v"));
    racer.process.seccomp = shim::wire::Blob::default();
    bed.up(&racer);
    let place = volume.join("dir").display().to_string();
    let control = bed.on_the_host(&["naive-target", &place, "marker"]);
    assert!(control.contains("DONE"), "{control}");
    let (mut refused, mut ran) = (0, 0);
    for number in 0..40 {
        let id = format!("v{number}");
        let mut container = bed.attacker(&id, &["there", "/v/dir/x/marker", "there", "/x/marker"]);
        container.mounts.push(bind(&volume, "/v"));
        container
            .mounts
            .push(bind(&other, &format!("/v/dir/x{number}")));
        match bed.try_run(&container) {
            Err(_) => refused += 1,
            Ok(text) => {
                ran += 1;
                assert!(!text.contains("DONE"), "{text}");
            }
        }
    }
    println!("{ran} ran, {refused} refused");
    bed.shim.kill_all("racer").unwrap();
    let names: Vec<_> = fs::read_dir(&outside)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(names, ["marker"], "made outside");
}

/// Processes that the runtime makes in a shared process namespace show nothing of the host, in no
/// moment of their making. With CAP_SYS_PTRACE over them they would.
#[test]
fn processes_in_the_making_cannot_be_looked_into() {
    let Some(bed) = hostile_with("peek", |pod| pod.share_pid = true) else {
        return;
    };
    let marker = bed.marker();
    let look = |id: &str, more: u64| {
        let mut container = bed.attacker(id, &["echo", "ready", "peek", "2", &marker]);
        container.namespaces.pid = "pod".into();
        container.process.capabilities.bounding |= more;
        container.process.capabilities.permitted |= more;
        bed.up(&container);
        let mut number = 0;
        while !bed.text(id).contains("peek 2") {
            number += 1;
            let name = format!("{id}{number}");
            let mut made = bed.attacker(&name, &["echo", "x"]);
            made.namespaces.pid = "pod".into();
            bed.try_run(&made).unwrap();
            bed.shim.delete(&name).unwrap();
            let null = || fs::File::open("/dev/null").unwrap().into();
            let io = ExecIo::Pipes {
                stdin: null(),
                stdout: null(),
                stderr: null(),
            };
            // The one that looks may have seen enough.
            let _ended = bed.shim.exec(id, &name, &bed.attack(&["echo", "x"]), io);
        }
        println!("{id}: {number} containers made");
        bed.text(id)
    };
    let text = look("a", 0);
    assert!(text.contains("refused (nothing seen)"), "{text}");
    let ptrace = capabilities::bit("SYS_PTRACE").unwrap();
    let text = look("b", ptrace);
    assert!(text.contains("DONE"), "{text}");
}

/// Keys of one container are not those of another, nor of who started the shim.
#[test]
fn keyrings_are_not_shared() {
    // As of a service, or of a login: what is started from here would have it too.
    // SAFETY: a null name asks for a new keyring; it is this thread's.
    unsafe { libc::syscall(libc::SYS_keyctl, 1, std::ptr::null::<libc::c_char>()) };
    let (Some(one), Some(two)) = (hostile("keys-1"), hostile("keys-2")) else {
        return;
    };
    let open = |bed: &Bed, id: &str, words: &[&str]| {
        let mut container = bed.attacker(id, words);
        container.process.seccomp = shim::wire::Blob::default();
        container
    };
    one.up(&open(
        &one,
        "a",
        &[
            "keyring-put",
            "secret",
            "keyring-get",
            "secret",
            "echo",
            "ready",
            "sleep",
            "60",
        ],
    ));
    let own = "stdout F keyring-put secret: DONE\nstdout F keyring-get secret: DONE\n";
    assert!(one.text("a").starts_with(own), "{}", one.text("a"));
    for (bed, id) in [(&one, "b"), (&two, "a")] {
        let text = bed
            .try_run(&open(bed, id, &["keyring-get", "secret"]))
            .unwrap();
        assert!(text.contains("refused"), "{text}");
    }
    let mut process = two.attack(&["keyring-get", "secret"]);
    process.seccomp = shim::wire::Blob::default();
    two.up(&open(&two, "c", &["echo", "ready", "sleep", "60"]));
    let (text, _) = two.exec("c", &process);
    assert!(text.contains("refused"), "{text}");
}

/// `/etc/passwd` and `/etc/group` of a hostile image: nothing hangs, nothing is read without end,
/// nothing outside is asked.
#[test]
fn user_databases_of_a_hostile_image() {
    let Some(bed) = hostile("users") else { return };
    let etc = bed.root.join("etc");
    let outside = bed.folder("outside").join("passwd");
    fs::write(&outside, "intruder:x:0:0::/:/x\n").unwrap();
    let put = |number: usize| {
        let passwd = etc.join("passwd");
        fs::remove_file(&passwd)
            .or_else(|_| fs::remove_dir(&passwd))
            .unwrap();
        match number {
            0 => rustix::fs::mknodat(
                rustix::fs::CWD,
                &passwd,
                rustix::fs::FileType::Fifo,
                0o644.into(),
                0,
            )
            .unwrap(),
            1 => symlink(&outside, &passwd).unwrap(),
            2 => symlink("/proc/kmsg", &passwd).unwrap(),
            3 => symlink("passwd", &passwd).unwrap(),
            4 => fs::create_dir(&passwd).unwrap(),
            _ => fs::File::create(&passwd).unwrap().set_len(1 << 40).unwrap(),
        }
    };
    for number in 0..6 {
        put(number);
        let mut container = bed.attacker(&format!("n{number}"), &["echo", "fine"]);
        container.process.user = "intruder".into();
        let error = bed.try_run(&container).unwrap_err();
        assert!(
            error.contains("unable to find user intruder"),
            "{number}: {error}"
        );
        let mut container = bed.attacker(&format!("u{number}"), &["echo", "fine"]);
        container.process.user = "1000:1000".into();
        assert_eq!(
            bed.try_run(&container).unwrap(),
            "stdout F fine\n",
            "{number}"
        );
    }
}

/// A log that somebody made a link of is not written through.
#[test]
fn logs_are_not_written_through_links() {
    let Some(bed) = hostile("log-links") else {
        return;
    };
    let outside = bed.folder("outside").join("precious");
    fs::write(&outside, "").unwrap();
    let container = bed.attacker("a", &["echo", "from the container"]);
    symlink(&outside, bed.log("a")).unwrap();
    let error = bed.try_run(&container).unwrap_err();
    assert!(error.contains("open log"), "{error}");

    let container = bed.attacker("b", &["echo", "ready", "sleep", "1", "echo", "more"]);
    bed.up(&container);
    let mut events = bed.shim.subscribe().unwrap();
    fs::rename(bed.log("b"), bed.dir.path().join("b.old")).unwrap();
    symlink(&outside, bed.log("b")).unwrap();
    bed.shim.reopen_log("b").unwrap_err();
    events.wait().unwrap();
    assert_eq!(fs::read_to_string(&outside).unwrap(), "");
}

/// A pod's own answer must not be where the shim listens: nothing of it is in an abstract name.
#[test]
fn no_abstract_sockets() {
    let Some(bed) = bed("abstract") else { return };
    let pid = bed.shim.state().unwrap().shim_pid;
    let inodes: Vec<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .filter_map(|to| {
            Some(
                to.to_str()?
                    .strip_prefix("socket:[")?
                    .trim_end_matches(']')
                    .to_owned(),
            )
        })
        .collect();
    let table = fs::read_to_string(format!("/proc/{pid}/net/unix")).unwrap();
    let named: Vec<&str> = table
        .lines()
        .filter(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words.len() > 7 && inodes.iter().any(|inode| inode == words[6])
        })
        .collect();
    assert!(!named.is_empty(), "the shim listens somewhere");
    assert!(named.iter().all(|line| !line.contains(" @")), "{named:?}");
}
