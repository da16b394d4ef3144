//! One process from specification to exec: a container's first, or another one inside.
//!
//! The shim (parent) clones, attaches the version 1 groups and says go; the child meanwhile
//! mounts, then waits for start, then executes. They talk over a message socket that closes on
//! exec: end of file after start means success.
//! ```text
//! child:  'P' pid (only through an intermediate) | 'R' Created (+ terminal) | 'E' text
//! parent: 'G' groups are attached                | 'S' start
//! ```
//! An intermediate process joins user and pid namespaces first and makes the real child a
//! sibling of itself (`CLONE_PARENT`), so that the shim can reap it.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use shim::message::Created;
use shim::spec::{Cgroup, Container, Process};
use shim::wire::Record;

use crate::credentials;
use crate::identity::{self, Program};
use crate::rootfs;
use crate::sys::{self, Cloned, During, Failure, Result, fail};

/// Longest time for a container's mounts: a cold disk, not a bug.
const SETUP_LIMIT_MS: i32 = 60_000;
/// Longest message of a child.
const MESSAGE: usize = 16 << 10;

/// Standard streams of a child; with a terminal they stay unused.
pub(crate) struct Stdio {
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// A child that is set up and waits for [`start`].
pub(crate) struct Launched {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
    pub(crate) channel: OwnedFd,
    pub(crate) created: Created,
    pub(crate) terminal: Option<OwnedFd>,
}

/// Namespaces to join, opened by the parent.
#[derive(Default)]
pub(crate) struct Joins {
    pub(crate) user: Option<OwnedFd>,
    pub(crate) pid: Option<OwnedFd>,
    pub(crate) others: Vec<OwnedFd>,
    /// Flags for namespaces made anew.
    pub(crate) fresh: i32,
}

/// Makes a container up to the point before exec.
pub(crate) fn create(spec: &Container, joins: &Joins, stdio: Stdio) -> Result<Launched> {
    let flags = libc::CLONE_NEWNS | joins.fresh;
    let intermediate = joins.user.is_some() || joins.pid.is_some();
    launch(
        &spec.cgroup,
        stdio,
        |channel, stdio| {
            let keep: Vec<RawFd> = [&joins.user, &joins.pid]
                .into_iter()
                .flatten()
                .chain(&joins.others)
                .map(AsRawFd::as_raw_fd)
                .collect();
            enter(channel, stdio, &keep);
            if intermediate {
                if let Some(user) = &joins.user {
                    sys::join_namespaces(user, libc::CLONE_NEWUSER)
                        .during(|| "join the user namespace".into())?;
                    credentials::set_ids(0, 0, &[]).during(|| "become its root".into())?;
                }
                if let Some(pid) = &joins.pid {
                    sys::join_namespaces(pid, libc::CLONE_NEWPID)
                        .during(|| "join the process namespace".into())?;
                }
                become_sibling(channel, flags)?;
            }
            for namespace in &joins.others {
                sys::join_namespaces(namespace, 0)
                    .during(|| "join a namespace of the pod".into())?;
            }
            container_main(spec, channel, stdio)
        },
        if intermediate { 0 } else { flags },
        intermediate,
    )
}

/// Runs another process in the container whose first process is `init`.
pub(crate) fn exec(
    process: &Process,
    cgroup: &Cgroup,
    init: &OwnedFd,
    user_namespace: bool,
    stdio: Stdio,
) -> Result<Launched> {
    let mut namespaces = libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP;
    if user_namespace {
        namespaces |= libc::CLONE_NEWUSER;
    }
    launch(
        cgroup,
        stdio,
        |channel, stdio| {
            enter(channel, stdio, &[init.as_raw_fd()]);
            let mut warnings = Vec::new();
            identity::set_oom_score(process.oom_score_adj, &mut warnings)?;
            identity::set_limits(&process.rlimits, &mut warnings)?;
            sys::join_namespaces(init, namespaces).during(|| "join the container".into())?;
            if user_namespace {
                credentials::set_ids(0, 0, &[]).during(|| "become root of the container".into())?;
            }
            become_sibling(channel, 0)?;
            let root = sys::open("/", libc::O_PATH | libc::O_DIRECTORY, 0)
                .during(|| "open the container's root".into())?;
            let terminal = match process.terminal {
                true => Some(rootfs::open_terminal(&root)?),
                false => None,
            };
            wait_for(channel, b'G')?;
            finish(process, &root, channel, stdio, terminal, warnings)
        },
        0,
        true,
    )
}

/// Lets a created child execute its program.
pub(crate) fn start(channel: &OwnedFd) -> Result<()> {
    sys::send(channel.as_fd(), b"S", &[]).during(|| "start the container process".into())?;
    match receive(channel)? {
        None => Ok(()),
        Some((b'E', text, _)) => fail(String::from_utf8_lossy(&text)),
        Some(_) => fail("unexpected message of the container process"),
    }
}

/// The parent's side of clone, groups and set-up.
fn launch(
    cgroup: &Cgroup,
    stdio: Stdio,
    child: impl FnOnce(&OwnedFd, &Stdio) -> Result<()>,
    flags: i32,
    intermediate: bool,
) -> Result<Launched> {
    let (channel, theirs) = sys::message_pair().during(|| "make a socket pair".into())?;
    let unified = match cgroup.unified.as_str() {
        "" => None,
        dir => Some(
            sys::open(dir, libc::O_RDONLY | libc::O_DIRECTORY, 0)
                .during(|| format!("open control group {dir}"))?,
        ),
    };
    let mut born_there = unified.is_some();
    let cloned = match sys::clone3(flags, unified.as_ref()) {
        // Kernels and sandboxes without CLONE_INTO_CGROUP: join by pid below.
        Err(e) if born_there && e.raw_os_error() != Some(libc::EAGAIN) => {
            born_there = false;
            sys::clone3(flags, None)
        }
        other => other,
    };
    let (mut pid, mut pidfd) = match cloned.during(|| "clone the container process".into())? {
        Cloned::Parent { pid, pidfd } => (pid, pidfd),
        Cloned::Child => {
            let failure = match child(&theirs, &stdio) {
                Ok(()) => Failure("the container process did not execute".into()),
                Err(failure) => failure,
            };
            let mut message = vec![b'E'];
            message.extend_from_slice(failure.0.as_bytes());
            message.truncate(MESSAGE);
            // The parent is gone if this fails; nobody is left to tell.
            let _gone = sys::send(theirs.as_fd(), &message, &[]);
            sys::exit(1)
        }
    };
    drop((theirs, stdio));
    // From here a failure must not leave the child behind.
    let outcome = (|| {
        if intermediate {
            match receive(&channel)? {
                Some((b'P', body, mut fds)) => {
                    let number = body.first_chunk::<4>().map(|b| i32::from_le_bytes(*b));
                    let (Some(number), Some(fd)) = (number, fds.pop()) else {
                        return fail("damaged message of the container process");
                    };
                    (pid, pidfd) = (number, fd);
                }
                other => return unexpected(other),
            }
        }
        attach(cgroup, pid, born_there)?;
        // If it died meanwhile, its last message says why.
        let _dead = sys::send(channel.as_fd(), b"G", &[]);
        match receive(&channel)? {
            Some((b'R', body, mut fds)) => {
                let mut created = Created::read(&body)
                    .map_err(|_| Failure("damaged message of the container process".into()))?;
                created.pid = pid.unsigned_abs();
                Ok((created, fds.pop()))
            }
            other => unexpected(other),
        }
    })();
    match outcome {
        Ok((created, terminal)) => Ok(Launched {
            pid,
            pidfd,
            channel,
            created,
            terminal,
        }),
        Err(e) => {
            // It may have died by itself.
            let _gone = sys::pidfd_signal(&pidfd, libc::SIGKILL);
            Err(e)
        }
    }
}

fn unexpected<T>(message: Option<Message>) -> Result<T> {
    match message {
        Some((b'E', text, _)) => fail(String::from_utf8_lossy(&text)),
        Some(_) => fail("unexpected message of the container process"),
        None => fail("the container process died while it was set up"),
    }
}

type Message = (u8, Vec<u8>, Vec<OwnedFd>);

/// Next message of a child; `None` at end of file.
fn receive(channel: &OwnedFd) -> Result<Option<Message>> {
    let mut entries = [sys::poll_entry(channel.as_raw_fd(), sys::POLL_IN)];
    let deadline = sys::mono_ms() + i64::from(SETUP_LIMIT_MS);
    loop {
        let left = i32::try_from(deadline - sys::mono_ms()).unwrap_or(0).max(0);
        let ready = sys::poll(&mut entries, Some(left)).during(|| "wait for the child".into())?;
        if ready > 0 {
            break;
        }
        if left == 0 {
            return fail("the container process took more than 60 s to set up");
        }
    }
    let mut buffer = vec![0; MESSAGE];
    let mut fds = Vec::new();
    let mut received = sys::receive(channel.as_fd(), &mut buffer, &mut fds);
    if has_errno(&received, libc::ECONNRESET) {
        // The child ended without reading our word; its own last word is still in the queue.
        received = sys::receive(channel.as_fd(), &mut buffer, &mut fds);
    }
    match received {
        Ok(0) => Ok(None),
        Ok(n) => Ok(Some((buffer[0], buffer[1..n].to_vec(), fds))),
        Err(e) if e.raw_os_error() == Some(libc::ECONNRESET) => Ok(None),
        Err(e) => Err(e).during(|| "hear from the container process".into()),
    }
}

fn has_errno(result: &std::io::Result<usize>, errno: i32) -> bool {
    result
        .as_ref()
        .is_err_and(|e| e.raw_os_error() == Some(errno))
}

/// Joins the version 1 groups, back to back: the first write waits for the kernel's grace
/// period, the others ride on it.
fn attach(cgroup: &Cgroup, pid: i32, born_there: bool) -> Result<()> {
    let pid = pid.to_string();
    let unified = Some(&cgroup.unified).filter(|dir| !dir.is_empty() && !born_there);
    for dir in cgroup.v1.iter().chain(unified) {
        let file = format!("{dir}/cgroup.procs");
        std::fs::write(&file, &pid).during(|| format!("join control group {dir}"))?;
    }
    Ok(())
}

// ---- the child ----

/// First steps of every child: nothing of the shim may leak into it.
fn enter(channel: &OwnedFd, stdio: &Stdio, keep: &[RawFd]) {
    let mut keep: Vec<RawFd> = keep.to_vec();
    keep.extend([channel.as_raw_fd(), stdio.stdin.as_raw_fd()]);
    keep.extend([stdio.stdout.as_raw_fd(), stdio.stderr.as_raw_fd()]);
    sys::close_all_but(&keep);
    sys::set_undumpable();
    sys::reset_signals();
}

/// Clones the real child as a sibling; the caller (the intermediate) ends here.
fn become_sibling(channel: &OwnedFd, flags: i32) -> Result<()> {
    match sys::clone3(flags | libc::CLONE_PARENT, None)
        .during(|| "clone the container process".into())?
    {
        Cloned::Child => Ok(()),
        Cloned::Parent { pid, pidfd } => {
            let mut message = vec![b'P'];
            message.extend_from_slice(&pid.to_le_bytes());
            let sent = sys::send(channel.as_fd(), &message, &[&pidfd]);
            sys::exit(i32::from(sent.is_err()))
        }
    }
}

fn wait_for(channel: &OwnedFd, word: u8) -> Result<()> {
    let mut buffer = [0; 16];
    match sys::receive(channel.as_fd(), &mut buffer, &mut Vec::new()) {
        Ok(n) if n > 0 && buffer[0] == word => Ok(()),
        // The shim is gone: nobody wants this container any more.
        _ => sys::exit(1),
    }
}

fn container_main(spec: &Container, channel: &OwnedFd, stdio: &Stdio) -> Result<()> {
    let mut warnings = Vec::new();
    identity::set_oom_score(spec.process.oom_score_adj, &mut warnings)?;
    identity::set_limits(&spec.process.rlimits, &mut warnings)?;
    if spec.namespaces.uts == "new" {
        sys::set_hostname(&spec.hostname).during(|| "set the host name".into())?;
    }
    for setting in &spec.sysctls {
        rootfs::set_sysctl(setting)?;
    }
    let sources = rootfs::open_sources(&spec.mounts)?;
    rootfs::make_slave()?;
    let root = rootfs::mount_root(&spec.rootfs)?;
    let mut attached = false;
    let join_groups = |attached: &mut bool| -> Result<()> {
        if !*attached {
            wait_for(channel, b'G')?;
            *attached = true;
            if spec.namespaces.cgroup == "new" {
                sys::unshare(libc::CLONE_NEWCGROUP).during(|| "make a cgroup namespace".into())?;
            }
        }
        Ok(())
    };
    for (mount, source) in spec.mounts.iter().zip(&sources) {
        let result = if mount.kind == "cgroup" {
            join_groups(&mut attached)?;
            rootfs::mount_cgroups(&root, mount, &spec.cgroup)
        } else {
            rootfs::apply(&root, mount, source.as_ref())
        };
        match result {
            Err(e) if mount.optional => warnings.push(e.0),
            other => other?,
        }
    }
    drop(sources);
    if spec.mounts.iter().any(|m| m.target == "/dev") {
        rootfs::make_devices(&root, &spec.devices)?;
    }
    let terminal = match spec.process.terminal {
        true => {
            let terminal = rootfs::open_terminal(&root)?;
            rootfs::bind_console(&root, &terminal.1)?;
            Some(terminal)
        }
        false => None,
    };
    join_groups(&mut attached)?;
    rootfs::pivot(&root)?;
    rootfs::read_only(&root, &spec.readonly_paths)?;
    rootfs::mask(&root, &spec.masked_paths)?;
    make_working_directory(&root, &spec.process.cwd)?;
    if spec.rootfs.read_only {
        sys::mount_setattr(&root, false, sys::MOUNT_ATTR_RDONLY, 0)
            .during(|| "make the root read-only".into())?;
    }
    finish(&spec.process, &root, channel, stdio, terminal, warnings)
}

/// A missing working directory is made, as image builders expect.
fn make_working_directory(root: &OwnedFd, cwd: &str) -> Result<()> {
    if cwd.is_empty() || cwd == "/" {
        return Ok(());
    }
    rootfs::target(root, cwd, true, 0).map(drop)
}

/// From the new root to the program: identity, streams, exec.
fn finish(
    process: &Process,
    root: &OwnedFd,
    channel: &OwnedFd,
    stdio: &Stdio,
    terminal: Option<(OwnedFd, OwnedFd)>,
    warnings: Vec<String>,
) -> Result<()> {
    let user = identity::find_user(root, process)?;
    let program = Program::new(process, &user)?;
    let cwd = if process.cwd.is_empty() {
        "/"
    } else {
        &process.cwd
    };
    let directory = sys::open_in(root, cwd, libc::O_PATH | libc::O_DIRECTORY, 0)
        .during(|| format!("open working directory {cwd}"))?;
    sys::change_dir(&directory).during(|| format!("change to working directory {cwd}"))?;
    // A directory from outside the root has no path inside (CVE-2024-21626).
    match std::env::current_dir() {
        Ok(path) if path.is_absolute() => {}
        _ => {
            return fail(format!(
                "working directory {cwd} is outside of the container"
            ));
        }
    }
    sys::set_session().during(|| "start a session".into())?;
    if let Some((master, slave)) = &terminal {
        sys::set_controlling_terminal(slave).during(|| "take the terminal".into())?;
        if process.columns > 0 && process.rows > 0 {
            sys::set_window(master, process.columns, process.rows)
                .during(|| "size the terminal".into())?;
        }
        // The program may reopen /dev/tty as its user.
        let _kept = sys::chown_at(slave, "", user.uid, u32::MAX);
    }
    let created = Created {
        pid: 0,
        uid: user.uid,
        gid: user.gid,
        groups: user.groups.clone(),
        warnings,
    };
    let mut message = vec![b'R'];
    message.extend(created.to_bytes());
    let fds: Vec<&OwnedFd> = terminal.iter().map(|(master, _)| master).collect();
    sys::send(channel.as_fd(), &message, &fds).during(|| "report to the shim".into())?;
    wait_for(channel, b'S')?;
    match &terminal {
        Some((_, slave)) => (0..3).try_for_each(|n| sys::dup_onto(slave, n)),
        None => sys::dup_onto(&stdio.stdin, 0)
            .and_then(|()| sys::dup_onto(&stdio.stdout, 1))
            .and_then(|()| sys::dup_onto(&stdio.stderr, 2)),
    }
    .during(|| "set the standard streams".into())?;
    sys::cloexec_from(3).during(|| "close descriptors".into())?;
    sys::set_umask(0o022);
    identity::become_user(process, &user)?;
    Err(program.exec())
}
