//! A node of a local cluster: pid 1 of its namespaces, respawns the agent, ends with the node.
//!
//! The node's root is an overlay (usually over `/`) with binds, its own /proc, /sys, /dev/pts
//! and the node's part of every cgroup hierarchy in the place where the host has it. SIGTERM
//! ends the node after the agent's grace, SIGHUP restarts the agent, SIGKILL removes the node
//! at once: the kernel kills everything in the process namespace. `keep` is the same for a process
//! of the host: the respawning without the namespaces.
//! ```text
//! agent ends -> wait (100 ms, doubled up to 10 s; back to 100 ms after 10 s of life) -> start
//! ```

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use shim::spec::{Mount, Node, Process, Rootfs};

use crate::identity::{Program, User};
use crate::sys::{self, Cloned, During, Result, fail};
use crate::{Ready, complain, credentials, rootfs};

const FIRST_PAUSE_MS: i64 = 100;
const LONGEST_PAUSE_MS: i64 = 10_000;

/// Makes the node and returns once its pid 1 runs.
pub(crate) fn run(node: &Node, ready: Ready) -> Result<()> {
    sys::set_name(c"transom-node");
    let (channel, theirs) = sys::message_pair().during(|| "make a socket pair".into())?;
    let mut flags =
        libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC;
    let mut joined = None;
    match node.net.as_str() {
        "" => {}
        "new" => flags |= libc::CLONE_NEWNET,
        path => {
            let file = sys::open(path, libc::O_RDONLY, 0)
                .during(|| format!("open network namespace {path}"))?;
            joined = Some(file);
        }
    }
    let pid = match sys::clone3(flags, None).during(|| "clone the node".into())? {
        Cloned::Parent { pid, .. } => pid,
        Cloned::Child => {
            drop((channel, ready));
            if let Err(e) = init(node, &theirs, joined) {
                complain(&e.0);
                // The parent may have given up.
                let _gone = sys::send(theirs.as_fd(), format!("E{e}").as_bytes(), &[]);
            }
            sys::exit(1)
        }
    };
    drop(theirs);
    let result = supervise(node, pid, &channel);
    match result {
        Ok(()) => {
            ready.tell();
            Ok(())
        }
        Err(e) => {
            let _gone = sys::kill(pid, libc::SIGKILL);
            Err(e)
        }
    }
}

/// Keeps a process of the host alive, without namespaces: starts it in the groups, as its user,
/// and again whenever it ends. The groups are joined before anything else: a keeper that comes
/// too late, when its groups are gone, gives up.
pub(crate) fn keep(node: &Node, ready: Ready) -> Result<()> {
    sys::set_name(c"transom-keep");
    sys::set_subreaper();
    let unified = Some(&node.cgroup.unified).filter(|dir| !dir.is_empty());
    for dir in node.cgroup.v1.iter().chain(unified) {
        std::fs::write(format!("{dir}/cgroup.procs"), "0")
            .during(|| format!("join control group {dir}"))?;
    }
    crate::detach_streams(&format!("{}/node.log", node.directory))?;
    let output = open_log(node)?;
    write_pid(node, std::process::id())?;
    ready.tell();
    respawn(node, &output)
}

fn write_pid(node: &Node, pid: u32) -> Result<()> {
    let path = format!("{}/pid", node.directory);
    let temporary = format!("{path}.new");
    std::fs::write(&temporary, format!("{pid}\n"))
        .and_then(|()| std::fs::rename(&temporary, &path))
        .during(|| format!("write {path}"))
}

fn open_log(node: &Node) -> Result<OwnedFd> {
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND;
    match node.log_path.as_str() {
        "" => sys::open("/dev/null", flags, 0),
        path => sys::open(path, flags, 0o640),
    }
    .during(|| format!("open log {}", node.log_path))
}

/// The host's side: groups, namespace file, pid file.
fn supervise(node: &Node, pid: i32, channel: &OwnedFd) -> Result<()> {
    let unified = Some(&node.cgroup.unified).filter(|dir| !dir.is_empty());
    for dir in node.cgroup.v1.iter().chain(unified) {
        std::fs::write(format!("{dir}/cgroup.procs"), pid.to_string())
            .during(|| format!("join control group {dir}"))?;
    }
    sys::send(channel.as_fd(), b"G", &[]).during(|| "release the node".into())?;
    let mut buffer = [0; 4096];
    let n = sys::receive(channel.as_fd(), &mut buffer, &mut Vec::new())
        .during(|| "hear from the node".into())?;
    match buffer[..n].split_first() {
        Some((b'R', _)) => {}
        Some((b'E', text)) => return fail(String::from_utf8_lossy(text)),
        _ => return fail("the node died while it was set up"),
    }
    if node.net == "new" {
        let file = format!("{}/net", node.directory);
        let describe = || format!("bind the network namespace to {file}");
        std::fs::write(&file, b"").during(describe)?;
        sys::mount(&format!("/proc/{pid}/ns/net"), &file, "", libc::MS_BIND, "")
            .during(describe)?;
    }
    write_pid(node, pid.unsigned_abs())
}

fn init(node: &Node, channel: &OwnedFd, net: Option<OwnedFd>) -> Result<()> {
    let log = format!("{}/node.log", node.directory);
    crate::detach_streams(&log)?;
    sys::set_session().during(|| "start a session".into())?;
    let output = open_log(node)?;
    if let Some(net) = net {
        sys::join_namespaces(&net, libc::CLONE_NEWNET)
            .during(|| "join the network namespace".into())?;
    } else if node.net == "new" {
        sys::loopback_up().during(|| "bring lo up".into())?;
    }
    sys::set_hostname(&node.name).during(|| format!("set host name {}", node.name))?;
    // The groups must be joined before the namespace makes them the root.
    let joined = sys::receive(channel.as_fd(), &mut [0; 8], &mut Vec::new());
    if !matches!(joined, Ok(1..)) {
        return fail("the node's creator is gone");
    }
    sys::unshare(libc::CLONE_NEWCGROUP).during(|| "make a cgroup namespace".into())?;
    if node.cgroup.pure_v2 {
        // A group that hands controllers down may hold no process itself.
        let leaf = format!("{}/init", node.cgroup.unified);
        std::fs::create_dir_all(&leaf)
            .and_then(|()| std::fs::write(format!("{leaf}/cgroup.procs"), "0"))
            .during(|| format!("join control group {leaf}"))?;
    }
    leave_top(node)?;
    mount_all(node)?;
    for setting in &node.sysctls {
        rootfs::set_sysctl(setting)?;
    }
    sys::send(channel.as_fd(), b"R", &[]).during(|| "report".into())?;
    respawn(node, &output)
}

/// Moves into a group below the node's: the unified tree hands controllers down only from a group
/// without processes of its own (cgroups(7), "no internal processes").
fn leave_top(node: &Node) -> Result<()> {
    if node.cgroup.unified.is_empty() {
        return Ok(());
    }
    let leaf = format!("{}/init", node.cgroup.unified);
    let describe = || format!("join control group {leaf}");
    std::fs::create_dir_all(&leaf).during(describe)?;
    std::fs::write(format!("{leaf}/cgroup.procs"), "0").during(describe)
}

fn mount_all(node: &Node) -> Result<()> {
    let sources = rootfs::open_sources(&node.mounts)?;
    let dev = sys::open_tree(libc::AT_FDCWD, "/dev", false).during(|| "open /dev".into())?;
    let mut groups = Vec::new();
    let unified = Some(&node.cgroup.unified).filter(|dir| !dir.is_empty());
    for dir in node.cgroup.v1.iter().chain(unified) {
        groups.push(sys::open_tree(libc::AT_FDCWD, dir, false).during(|| format!("open {dir}"))?);
    }
    rootfs::make_slave()?;
    let root = rootfs::mount_root(&Rootfs {
        lowers: node.lowers.clone(),
        upper: node.upper.clone(),
        work: node.work.clone(),
        at: node.at.clone(),
        ..Rootfs::default()
    })?;
    let mount = |kind: &str, target: &str, data: &str| Mount {
        kind: kind.into(),
        target: target.into(),
        data: data.into(),
        ..Mount::default()
    };
    rootfs::apply(&root, &mount("proc", "/proc", ""), None)?;
    rootfs::apply(&root, &mount("sysfs", "/sys", ""), None)?;
    let place = rootfs::target(&root, "/dev", true, 0)?;
    sys::move_mount(&dev, &place).during(|| "mount /dev".into())?;
    rootfs::apply(
        &root,
        &mount("devpts", "/dev/pts", "newinstance,ptmxmode=0666,mode=0620"),
        None,
    )?;
    rootfs::apply(&root, &mount("tmpfs", "/dev/shm", "mode=1777"), None)?;
    let needs_top = node.cgroup_mounts.iter().all(|m| m != "/sys/fs/cgroup");
    if needs_top && !groups.is_empty() {
        rootfs::apply(&root, &mount("tmpfs", "/sys/fs/cgroup", "mode=755"), None)?;
    }
    for (tree, path) in groups.iter().zip(&node.cgroup_mounts) {
        let place = rootfs::target(&root, path, true, 0)?;
        sys::move_mount(tree, &place).during(|| format!("mount control groups on {path}"))?;
    }
    for (mount, source) in node.mounts.iter().zip(&sources) {
        match rootfs::apply(&root, mount, source.as_ref()) {
            Err(e) if mount.optional => complain(&e.0),
            other => other?,
        }
    }
    rootfs::pivot(&root)?;
    // Volumes mounted by a kubelet must reach containers that ask for it.
    sys::mount("", "/", "", libc::MS_REC | libc::MS_SHARED, "").during(|| "share /".into())
}

/// When to start the agent again. Pure.
struct Backoff {
    pause_ms: i64,
}

impl Backoff {
    /// Pause after a life of `lived_ms`.
    fn after(&mut self, lived_ms: i64) -> i64 {
        if lived_ms >= LONGEST_PAUSE_MS {
            self.pause_ms = FIRST_PAUSE_MS;
        }
        let pause = self.pause_ms;
        self.pause_ms = (pause * 2).min(LONGEST_PAUSE_MS);
        pause
    }
}

fn respawn(node: &Node, output: &OwnedFd) -> Result<()> {
    let watched = [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT, libc::SIGHUP];
    let signals = sys::signal_fd(&watched).during(|| "watch signals".into())?;
    let process = Process {
        args: node.args.clone(),
        env: node.env.clone(),
        ..Process::default()
    };
    let user = User {
        home: if node.uid == 0 { "/root" } else { "/" }.into(),
        uid: node.uid,
        gid: node.gid,
        ..User::default()
    };
    let program = Program::new(&process, &user)?;
    let mut backoff = Backoff {
        pause_ms: FIRST_PAUSE_MS,
    };
    let mut agent: Option<(i32, OwnedFd, i64)> = None;
    let mut start_at = Some(sys::mono_ms());
    let mut stop_at: Option<i64> = None;
    loop {
        let now = sys::mono_ms();
        if agent.is_none() && stop_at.is_none() && start_at.is_some_and(|at| at <= now) {
            agent = Some(spawn(&program, &user, output)?);
            start_at = None;
        }
        if stop_at.is_some_and(|at| agent.is_none() || at <= now) {
            return Ok(());
        }
        let next = stop_at.or(start_at);
        let timeout = next.map(|at| i32::try_from(at - sys::mono_ms()).unwrap_or(0).max(0));
        let mut entries = [sys::poll_entry(signals.as_raw_fd(), sys::POLL_IN)];
        sys::poll(&mut entries, timeout).during(|| "wait".into())?;
        while let Some(signal) = sys::next_signal(&signals) {
            let signal = i32::try_from(signal).unwrap_or(0);
            if signal == libc::SIGTERM || signal == libc::SIGINT {
                let grace = i64::try_from(node.stop_grace_ms).unwrap_or(0);
                stop_at = Some(sys::mono_ms() + grace);
            }
            if signal != libc::SIGCHLD
                && let Some((_, pidfd, _)) = &agent
            {
                // Gone already is as good.
                let _gone = sys::pidfd_signal(pidfd, libc::SIGTERM);
            }
        }
        while let Some((pid, status)) = sys::reap() {
            if let Some((_, _, since)) = agent.take_if(|(agent, ..)| *agent == pid) {
                let (code, _) = sys::exit_of(status);
                let now = sys::mono_ms();
                let pause = backoff.after(now - since);
                start_at = Some(now + pause);
                complain(&format!(
                    "agent ended with code {code}: next start in {pause} ms"
                ));
            }
        }
    }
}

fn spawn(program: &Program, user: &User, output: &OwnedFd) -> Result<(i32, OwnedFd, i64)> {
    match sys::clone3(0, None).during(|| "fork the agent".into())? {
        Cloned::Parent { pid, pidfd } => Ok((pid, pidfd, sys::mono_ms())),
        Cloned::Child => {
            sys::reset_signals();
            let ready = sys::set_session()
                .and_then(|()| sys::dup_onto(output, 1))
                .and_then(|()| sys::dup_onto(output, 2))
                .and_then(|()| sys::cloexec_from(3))
                .and_then(|()| match user.uid {
                    0 => Ok(()),
                    uid => credentials::set_ids(uid, user.gid, &[]),
                })
                .during(|| "prepare the agent".into());
            let failure = match ready {
                Ok(()) => program.exec(),
                Err(e) => e,
            };
            complain(&failure.0);
            sys::exit(127)
        }
    }
}

/// Runs a program in the namespaces of process `pid`, with our streams.
pub(crate) fn enter(pid: &str, program: &[&str]) -> Result<()> {
    let Ok(number) = pid.parse() else {
        return fail(format!("{pid} is no process id"));
    };
    let describe = || format!("enter the namespaces of process {pid}");
    let target = sys::pidfd_open(number).during(describe)?;
    let namespaces = libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP;
    sys::join_namespaces(&target, namespaces).during(describe)?;
    let process = Process {
        args: program.iter().map(ToString::to_string).collect(),
        env: std::env::vars().map(|(k, v)| format!("{k}={v}")).collect(),
        ..Process::default()
    };
    let user = User {
        home: "/root".into(),
        ..User::default()
    };
    let program = Program::new(&process, &user)?;
    match sys::clone3(0, None).during(|| "fork".into())? {
        Cloned::Child => {
            sys::reset_signals();
            std::env::set_current_dir("/").during(|| "change to /".into())?;
            Err(program.exec())
        }
        Cloned::Parent { pid, pidfd } => {
            // The terminal sends these to both of us; only the program decides.
            sys::ignore_terminal_signals();
            loop {
                let mut entries = [sys::poll_entry(pidfd.as_raw_fd(), sys::POLL_IN)];
                sys::poll(&mut entries, None).during(|| "wait".into())?;
                if let Some((reaped, status)) = sys::reap()
                    && reaped == pid
                {
                    sys::exit(sys::exit_of(status).0);
                }
            }
        }
    }
}
