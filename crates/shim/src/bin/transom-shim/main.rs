//! The shim: keeps a pod's containers, holds a node of a local cluster, enters such a node,
//! keeps a process of the host alive.
//!
//! `transom-shim pod`, `transom-shim node` and `transom-shim keep` read their specification from standard input,
//! become a daemon, and exit 0 once it serves (1 and a sentence on standard error otherwise).
//! `transom-shim enter PID PROGRAM ARGS…` runs a program in the namespaces of a process.
//! Single-threaded for ever: it forks without exec.

mod container;
mod credentials;
mod identity;
mod log;
mod node;
mod pod;
mod rootfs;
mod sandbox;
mod server;
mod sys;

use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;

use shim::spec::{Node, Pod};
use shim::wire::{MAX_BODY, Record};

use crate::sys::{Cloned, During, Failure, Result, fail};

fn main() {
    // Whatever the caller leaked stays behind; nothing is owned yet.
    sys::close_from(3);
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match args
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        ["pod"] => read_spec::<Pod>().and_then(|spec| daemonize(|ready| run_pod(spec, ready))),
        ["node"] => read_spec::<Node>().and_then(|spec| daemonize(|ready| node::run(&spec, ready))),
        ["keep"] => {
            read_spec::<Node>().and_then(|spec| daemonize(|ready| node::keep(&spec, ready)))
        }
        ["enter", pid, program @ ..] => node::enter(pid, program),
        _ => fail("usage: transom-shim pod|node|keep < specification, or enter PID PROGRAM ARGS"),
    };
    if let Err(e) = result {
        complain(&e.0);
        sys::exit(1);
    }
}

/// Writes a line to standard error: the caller's before, `shim.log` after the start.
pub(crate) fn complain(text: &str) {
    use std::io::Write as _;
    // Nobody can be told if this fails.
    let _lost = std::io::stderr().write_all(format!("{text}\n").as_bytes());
}

fn read_spec<T: Record>() -> Result<T> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_BODY).unwrap_or(u64::MAX);
    std::io::stdin()
        .take(limit)
        .read_to_end(&mut bytes)
        .during(|| "read the specification".into())?;
    T::read(&bytes).map_err(|e| Failure(format!("read the specification: {e}")))
}

/// Says that the daemon serves; errors before that reach the caller.
pub(crate) struct Ready(OwnedFd);

impl Ready {
    pub(crate) fn tell(self) {
        // The caller may have given up; the daemon is found by its socket anyway.
        let _told = sys::write(&self.0, b"R");
    }
}

/// Runs `daemon` in a child with a session of its own; returns once it is ready.
fn daemonize(daemon: impl FnOnce(Ready) -> Result<()>) -> Result<()> {
    let (read, write) = sys::pipe().during(|| "make a pipe".into())?;
    match sys::clone3(0, None).during(|| "fork".into())? {
        Cloned::Child => {
            drop(read);
            let report = sys::dup(&write);
            let failure = match sys::set_session().during(|| "start a session".into()) {
                Ok(()) => daemon(Ready(write)),
                Err(e) => Err(e),
            };
            if let Err(failure) = failure {
                complain(&failure.0);
                if let Ok(report) = report {
                    // Without a reader there is only the log.
                    let _lost = sys::write(&report, failure.0.as_bytes());
                }
                sys::exit(1);
            }
            sys::exit(0)
        }
        Cloned::Parent { .. } => {
            drop(write);
            let mut text = vec![0; 4096];
            let n = sys::read(&read, &mut text).during(|| "wait for the daemon".into())?;
            match &text[..n] {
                b"R" => Ok(()),
                b"" => fail("the daemon died"),
                text => fail(String::from_utf8_lossy(text)),
            }
        }
    }
}

/// Standard streams of a daemon: nothing in, a log file out.
pub(crate) fn detach_streams(log: &str) -> Result<()> {
    let null = sys::open("/dev/null", libc::O_RDWR, 0).during(|| "open /dev/null".into())?;
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND;
    let log = sys::open(log, flags, 0o640).during(|| format!("open {log}"))?;
    sys::dup_onto(&null, 0)
        .and_then(|()| sys::dup_onto(&log, 1))
        .and_then(|()| sys::dup_onto(&log, 2))
        .during(|| "set the standard streams".into())
}

fn run_pod(pod: Pod, ready: Ready) -> Result<()> {
    sys::set_name(c"transom-shim");
    // Containers of a shared process namespace leave orphans to us, not to the node's init.
    sys::set_subreaper();
    let signals = sys::signal_fd(&[libc::SIGCHLD, libc::SIGTERM, libc::SIGINT, libc::SIGHUP])
        .during(|| "watch signals".into())?;
    std::env::set_current_dir(&pod.directory).during(|| format!("change to {}", pod.directory))?;
    // Relative, because a socket's path may have 107 bytes only.
    let _stale = std::fs::remove_file("shim.sock");
    let listener = UnixListener::bind("shim.sock").during(|| "bind shim.sock".into())?;
    std::fs::set_permissions(
        "shim.sock",
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .during(|| "protect shim.sock".into())?;
    std::env::set_current_dir("/").during(|| "change to /".into())?;
    let log = format!("{}/shim.log", pod.directory);
    let shim = pod::Shim::new(pod)?;
    detach_streams(&log)?;
    ready.tell();
    server::serve(shim, listener, &signals)
}
