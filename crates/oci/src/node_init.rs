//! Nodes of a local cluster: namespaces with the shim as pid 1, which respawns an agent.
//!
//! `spawn` returns when pid 1 runs in its own root and groups. Whoever holds the directory
//! finds the node again (`Node::find`); killing pid 1 ends everything in it.
//! Example: lowers `/`, upper in the cluster's folder, binds for the private folders, groups
//! `/transom/CLUSTER/NODE` → the agent sees a host of its own.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal};

use cgroups::Group;
use shim::wire::Record;

use crate::binary::ShimBinary;
use crate::client::{run_daemon, started_at};
use crate::error::Error;
use crate::spec::{self, Mount};

/// What a node is made of.
#[derive(Clone, Debug)]
pub struct NodeInitSpec {
    /// Its name, also the host name inside.
    pub name: String,
    /// Folder of its state (`pid`, `started`, `node.log`, `net`).
    pub directory: PathBuf,
    /// Lower directories of its root, topmost first; usually `/`.
    pub lowers: Vec<PathBuf>,
    /// Upper directory of its root, on a real file system.
    pub upper: PathBuf,
    /// Work directory beside it.
    pub work: PathBuf,
    /// Empty directory where the root is put together.
    pub at: PathBuf,
    /// Binds into the root; see [`crate::defaults::bind`].
    pub mounts: Vec<Mount>,
    /// `new`, empty (the host's), or the file of a network namespace.
    pub net: String,
    /// Existing groups that become its root.
    pub cgroup: Group,
    /// Command of the agent.
    pub args: Vec<String>,
    /// Environment of the agent.
    pub env: Vec<String>,
    /// File on the host for the output of the agent.
    pub log: PathBuf,
    /// How long the agent may take to end.
    pub stop_grace: Duration,
    /// Kernel settings, `net.ipv4.ip_forward=1`.
    pub sysctls: Vec<String>,
}

/// A process of the host that is kept alive.
#[derive(Clone, Debug)]
pub struct KeepSpec {
    /// Its name.
    pub name: String,
    /// Folder of the keeper's state (`pid`, `started`, `node.log`).
    pub directory: PathBuf,
    /// Existing groups that keeper and process join.
    pub cgroup: Group,
    /// Command.
    pub args: Vec<String>,
    /// Environment.
    pub env: Vec<String>,
    /// File for its output.
    pub log: PathBuf,
    /// How long it may take to end.
    pub stop_grace: Duration,
    /// Its user; without capabilities unless root.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// A node, or a keeper, that runs.
#[derive(Debug)]
pub struct Node {
    directory: PathBuf,
    pid: u32,
    pidfd: OwnedFd,
}

/// Makes a node.
pub fn spawn(binary: &ShimBinary, spec: &NodeInitSpec) -> Result<Node, Error> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let layout = spec.cgroup.layout();
    let mounts = layout
        .v1()
        .iter()
        .chain(layout.unified())
        .map(|h| text(&h.mount))
        .collect();
    let node = spec::Node {
        name: spec.name.clone(),
        directory: text(&spec.directory),
        lowers: spec.lowers.iter().map(|p| text(p)).collect(),
        upper: text(&spec.upper),
        work: text(&spec.work),
        at: text(&spec.at),
        mounts: spec.mounts.clone(),
        net: spec.net.clone(),
        cgroup: cgroup(&spec.cgroup),
        cgroup_mounts: mounts,
        args: spec.args.clone(),
        env: spec.env.clone(),
        log_path: text(&spec.log),
        stop_grace_ms: u64::try_from(spec.stop_grace.as_millis()).unwrap_or(u64::MAX),
        sysctls: spec.sysctls.clone(),
        ..spec::Node::default()
    };
    for directory in [&spec.directory, &spec.upper, &spec.work, &spec.at] {
        fs::create_dir_all(directory).map_err(|cause| Error::File {
            operation: "create",
            path: directory.clone(),
            cause,
        })?;
    }
    run(binary, "node", &node, &spec.directory)
}

/// Starts a process of the host that is started again whenever it ends (see the shim's `keep`).
pub fn keep(binary: &ShimBinary, spec: &KeepSpec) -> Result<Node, Error> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let node = spec::Node {
        name: spec.name.clone(),
        directory: text(&spec.directory),
        cgroup: cgroup(&spec.cgroup),
        args: spec.args.clone(),
        env: spec.env.clone(),
        log_path: text(&spec.log),
        stop_grace_ms: u64::try_from(spec.stop_grace.as_millis()).unwrap_or(u64::MAX),
        uid: spec.uid,
        gid: spec.gid,
        ..spec::Node::default()
    };
    fs::create_dir_all(&spec.directory).map_err(|cause| Error::File {
        operation: "create",
        path: spec.directory.clone(),
        cause,
    })?;
    run(binary, "keep", &node, &spec.directory)
}

fn run(
    binary: &ShimBinary,
    role: &str,
    node: &spec::Node,
    directory: &Path,
) -> Result<Node, Error> {
    run_daemon(binary, role, &node.to_bytes(), &node.directory)?;
    let started = read_pid(directory).and_then(started_at).unwrap_or(0);
    let path = directory.join("started");
    fs::write(&path, started.to_string()).map_err(|cause| Error::File {
        operation: "write",
        path,
        cause,
    })?;
    Node::find(directory)?.ok_or_else(|| Error::Spawn {
        directory: node.directory.clone(),
        message: "it ended at once: see node.log".into(),
    })
}

/// The groups of a container or node, as the shim wants them.
#[must_use]
pub fn cgroup(group: &Group) -> spec::Cgroup {
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let layout = group.layout();
    spec::Cgroup {
        v1: group.v1_dirs().into_iter().map(text).collect(),
        unified: group.unified_dir().map(text).unwrap_or_default(),
        oom_file: group.oom_file().map(text).unwrap_or_default(),
        pure_v2: layout.mode() == cgroups::Mode::V2,
        names: layout.v1().iter().map(cgroups::Hierarchy::name).collect(),
    }
}

fn read_pid(directory: &Path) -> Option<u32> {
    fs::read_to_string(directory.join("pid"))
        .ok()?
        .trim()
        .parse()
        .ok()
}

impl Node {
    /// The running node of a directory; `None` if it does not run (any more).
    pub fn find(directory: &Path) -> Result<Option<Node>, Error> {
        let started = fs::read_to_string(directory.join("started")).unwrap_or_default();
        let Some(pid) = read_pid(directory) else {
            return Ok(None);
        };
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let Some(raw) = raw else { return Ok(None) };
        let Ok(pidfd) = rustix::process::pidfd_open(raw, PidfdFlags::empty()) else {
            return Ok(None);
        };
        // The descriptor is of this process; a reused pid shows by its start time.
        if started_at(pid).map(|s| s.to_string()) != Some(started.trim().into()) {
            return Ok(None);
        }
        Ok(Some(Node {
            directory: directory.into(),
            pid,
            pidfd,
        }))
    }

    /// Pid of its pid 1 on the host.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// How often its agent has ended so far.
    #[must_use]
    pub fn agent_ends(&self) -> usize {
        let log = fs::read_to_string(self.directory.join("node.log")).unwrap_or_default();
        log.lines()
            .filter(|line| line.starts_with("agent ended"))
            .count()
    }

    /// Its network namespace.
    #[must_use]
    pub fn net_path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.pid))
    }

    fn signal(&self, signal: Signal) -> Result<(), Error> {
        match rustix::process::pidfd_send_signal(&self.pidfd, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(e) => Err(Error::File {
                operation: "signal the node of",
                path: self.directory.clone(),
                cause: e.into(),
            }),
        }
    }

    /// Restarts its agent; containers stay.
    pub fn restart_agent(&self) -> Result<(), Error> {
        self.signal(Signal::HUP)
    }

    /// Tells it to end: the agent gets SIGTERM and its grace, then everything goes.
    pub fn stop(&self) -> Result<(), Error> {
        self.signal(Signal::TERM)
    }

    /// Ends it at once with everything in it.
    pub fn kill(&self) -> Result<(), Error> {
        self.signal(Signal::KILL)
    }

    /// Waits for its end; false if `limit` came first.
    pub fn wait(&self, limit: Duration) -> Result<bool, Error> {
        let failed = |cause: rustix::io::Errno| Error::File {
            operation: "wait for the node of",
            path: self.directory.clone(),
            cause: cause.into(),
        };
        let limit = rustix::event::Timespec::try_from(limit)
            .map_err(|_| failed(rustix::io::Errno::INVAL))?;
        let mut fds = [rustix::event::PollFd::new(
            &self.pidfd,
            rustix::event::PollFlags::IN,
        )];
        rustix::event::poll(&mut fds, Some(&limit))
            .map(|n| n > 0)
            .map_err(failed)
    }

    /// Runs a program inside with our streams, in place of this process; returns the failure.
    #[must_use]
    pub fn exec_inside(&self, binary: &ShimBinary, program: &[String]) -> std::io::Error {
        #[expect(
            clippy::disallowed_methods,
            reason = "the streams and environment are the caller's"
        )]
        let mut command = std::process::Command::new(binary.path());
        command
            .arg("enter")
            .arg(self.pid.to_string())
            .args(program)
            .current_dir("/")
            .exec()
    }

    /// The command that runs a program inside; the caller sets its streams.
    #[must_use]
    pub fn command(&self, binary: &ShimBinary, program: &[String]) -> std::process::Command {
        #[expect(clippy::disallowed_methods, reason = "the caller completes it")]
        let mut command = std::process::Command::new(binary.path());
        command
            .arg("enter")
            .arg(self.pid.to_string())
            .args(program)
            .current_dir("/");
        command
    }
}

#[cfg(test)]
mod tests;
