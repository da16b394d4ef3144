//! Namespaces of a pod without a process that holds them: bind-mounted files.
//!
//! A short-lived child makes them, the shim binds `/proc/CHILD/ns/*` to files. Only a shared
//! process namespace needs somebody who stays: its pid 1, a reaper without rights in an empty
//! root. With a user namespace, the others are made inside it.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use shim::spec::{IdMap, Pod};

use crate::credentials;
use crate::rootfs;
use crate::sys::{self, Cloned, During, Failure, Result, fail};

/// The reaper of a shared process namespace.
pub(crate) struct Reaper {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
}

/// Where each namespace of a pod is; empty = the host's.
#[derive(Default)]
pub(crate) struct Files {
    pub(crate) net: String,
    pub(crate) ipc: String,
    pub(crate) uts: String,
    pub(crate) user: String,
}

impl Files {
    pub(crate) fn of(pod: &Pod) -> Files {
        let file = |wanted: bool, name: &str| match wanted {
            true => format!("{}/{name}", pod.directory),
            false => String::new(),
        };
        let net = match pod.net.as_str() {
            "new" if !pod.net_path.is_empty() => pod.net_path.clone(),
            "new" => file(true, "net"),
            other => other.into(),
        };
        Files {
            net,
            ipc: file(pod.ipc == "new", "ipc"),
            uts: file(pod.uts == "new", "uts"),
            user: file(!pod.uid_map.is_empty(), "user"),
        }
    }
}

/// Makes the namespaces of `pod` and binds them to their files.
pub(crate) fn create(pod: &Pod) -> Result<Option<Reaper>> {
    let files = Files::of(pod);
    let mut wanted = 0;
    let mut binds = Vec::new();
    for (name, flag, file, is_new) in [
        (
            "user",
            libc::CLONE_NEWUSER,
            &files.user,
            !pod.uid_map.is_empty(),
        ),
        ("net", libc::CLONE_NEWNET, &files.net, pod.net == "new"),
        ("ipc", libc::CLONE_NEWIPC, &files.ipc, pod.ipc == "new"),
        ("uts", libc::CLONE_NEWUTS, &files.uts, pod.uts == "new"),
    ] {
        if is_new {
            wanted |= flag;
            binds.push((name, file));
        }
    }
    if wanted == 0 && !pod.share_pid {
        return Ok(None);
    }
    let (channel, theirs) = sys::message_pair().during(|| "make a socket pair".into())?;
    let (pid, pidfd) = match sys::clone3(0, None).during(|| "clone the namespace maker".into())? {
        Cloned::Parent { pid, pidfd } => (pid, pidfd),
        Cloned::Child => {
            let failure = match maker(pod, wanted, &theirs) {
                Ok(()) => sys::exit(0),
                Err(failure) => failure,
            };
            // The parent is gone if this fails.
            let _gone = sys::send(theirs.as_fd(), format!("E{failure}").as_bytes(), &[]);
            sys::exit(1)
        }
    };
    drop(theirs);
    let result = parent(pod, pid, &channel, &binds);
    // It ends by itself; this is for the paths where something failed.
    let _gone = sys::pidfd_signal(&pidfd, libc::SIGKILL);
    if result.is_err() {
        release(&files, pod);
    }
    result
}

fn parent(
    pod: &Pod,
    pid: i32,
    channel: &OwnedFd,
    binds: &[(&str, &String)],
) -> Result<Option<Reaper>> {
    let hear = |expected: u8| -> Result<Vec<OwnedFd>> {
        let (mut buffer, mut fds) = ([0; 4096], Vec::new());
        let n = sys::receive(channel.as_fd(), &mut buffer, &mut fds)
            .during(|| "hear from the namespace maker".into())?;
        match buffer[..n].split_first() {
            Some((word, _)) if *word == expected => Ok(fds),
            Some((b'E', text)) => fail(String::from_utf8_lossy(text)),
            _ => fail("the namespace maker died"),
        }
    };
    let go = || -> Result<()> {
        sys::send(channel.as_fd(), b"G", &[])
            .during(|| "go on".into())
            .map(drop)
    };
    if !pod.uid_map.is_empty() {
        hear(b'U')?;
        write_map(pid, "uid_map", &pod.uid_map)?;
        write_map(pid, "gid_map", &pod.gid_map)?;
        go()?;
    }
    hear(b'N')?;
    for (name, file) in binds {
        let describe = || format!("bind the {name} namespace to {file}");
        std::fs::write(file, b"").during(describe)?;
        let source = format!("/proc/{pid}/ns/{name}");
        sys::mount(&source, file, "", libc::MS_BIND, "").during(describe)?;
    }
    go()?;
    if !pod.share_pid {
        return Ok(None);
    }
    let fds = hear(b'R')?;
    let mut number = [0; 4];
    let mut fds = fds.into_iter();
    let Some(pidfd) = fds.next() else {
        return fail("the namespace maker sent no reaper");
    };
    sys::receive(channel.as_fd(), &mut number, &mut Vec::new())
        .during(|| "hear the reaper's pid".into())?;
    Ok(Some(Reaper {
        pid: i32::from_le_bytes(number),
        pidfd,
    }))
}

fn write_map(pid: i32, file: &str, map: &[IdMap]) -> Result<()> {
    let text: String = map
        .iter()
        .map(|m| format!("{} {} {}\n", m.inside, m.outside, m.count))
        .collect();
    let path = format!("/proc/{pid}/{file}");
    std::fs::write(&path, text).during(|| format!("write {file} of the pod's user namespace"))
}

fn maker(pod: &Pod, wanted: i32, channel: &OwnedFd) -> Result<()> {
    sys::close_all_but(&[channel.as_raw_fd()]);
    sys::reset_signals();
    let tell = |bytes: &[u8], fds: &[&OwnedFd]| -> Result<()> {
        sys::send(channel.as_fd(), bytes, fds)
            .during(|| "report".into())
            .map(drop)
    };
    let wait = || -> Result<()> {
        let n = sys::receive(channel.as_fd(), &mut [0; 8], &mut Vec::new());
        if matches!(n, Ok(1..)) {
            Ok(())
        } else {
            fail("the shim is gone")
        }
    };
    if wanted & libc::CLONE_NEWUSER != 0 {
        sys::unshare(libc::CLONE_NEWUSER).during(|| "make a user namespace".into())?;
        tell(b"U", &[])?;
        wait()?;
        credentials::set_ids(0, 0, &[]).during(|| "become root of the user namespace".into())?;
    }
    sys::unshare(wanted & !libc::CLONE_NEWUSER).during(|| "make namespaces".into())?;
    if pod.net == "new" {
        sys::loopback_up().during(|| "bring lo up".into())?;
    } else if !pod.net.is_empty() {
        let file = sys::open(&pod.net, libc::O_RDONLY, 0)
            .during(|| format!("open network namespace {}", pod.net))?;
        sys::join_namespaces(&file, libc::CLONE_NEWNET)
            .during(|| format!("join network namespace {}", pod.net))?;
    }
    if pod.uts == "new" && !pod.hostname.is_empty() {
        sys::set_hostname(&pod.hostname).during(|| format!("set host name {}", pod.hostname))?;
    }
    for setting in &pod.sysctls {
        rootfs::set_sysctl(setting)?;
    }
    tell(b"N", &[])?;
    wait()?;
    if pod.share_pid {
        let flags = libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_PARENT;
        match sys::clone3(flags, None).during(|| "clone the pod's reaper".into())? {
            Cloned::Parent { pid, pidfd } => {
                tell(b"R", &[&pidfd])?;
                tell(&pid.to_le_bytes(), &[])?;
            }
            Cloned::Child => {
                let _done: std::result::Result<(), Failure> = reaper();
                sys::exit(1)
            }
        }
    }
    Ok(())
}

/// Pid 1 of a shared process namespace: no rights, no files, reaps.
fn reaper() -> Result<()> {
    sys::set_name(c"pod-init");
    sys::set_undumpable();
    rootfs::make_slave()?;
    let context = sys::FsContext::open("tmpfs").during(|| "open tmpfs".into())?;
    context
        .set("size", Some("4k"))
        .during(|| "size tmpfs".into())?;
    let empty = context
        .mount(sys::MOUNT_ATTR_RDONLY)
        .during(|| "mount tmpfs".into())?;
    let place = sys::open("/tmp", libc::O_PATH | libc::O_DIRECTORY, 0)
        .or_else(|_| sys::open("/proc", libc::O_PATH | libc::O_DIRECTORY, 0))
        .during(|| "open /tmp".into())?;
    sys::move_mount(&empty, &place).during(|| "mount the empty root".into())?;
    rootfs::pivot(&empty)?;
    // From here on nothing of the host can be reached.
    sys::close_from(0);
    // A session of its own, or signals of the shim's terminal would reach it.
    let _leader = sys::set_session();
    let signals = sys::signal_fd(&[libc::SIGCHLD]).during(|| "watch for children".into())?;
    credentials::set_no_new_privs().during(|| "set no_new_privs".into())?;
    for capability in 0..64 {
        if credentials::bounding_has(capability).is_err() {
            break;
        }
        credentials::bounding_drop(capability).during(|| "drop a capability".into())?;
    }
    credentials::set_capabilities(0, 0).during(|| "drop capabilities".into())?;
    loop {
        let mut entries = [sys::poll_entry(signals.as_raw_fd(), sys::POLL_IN)];
        sys::poll(&mut entries, None).during(|| "wait".into())?;
        while sys::next_signal(&signals).is_some() {}
        while sys::reap().is_some() {}
    }
}

/// Lets the namespaces go.
pub(crate) fn release(files: &Files, pod: &Pod) {
    let own_net = pod.net == "new";
    for file in [
        Some(&files.net).filter(|_| own_net),
        Some(&files.ipc),
        Some(&files.uts),
        Some(&files.user),
    ]
    .into_iter()
    .flatten()
    .filter(|f| !f.is_empty())
    {
        // Both may be done already by a cleanup from outside.
        let _unmounted = sys::unmount(file);
        let _removed = std::fs::remove_file(file);
    }
}
