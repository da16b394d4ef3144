//! The client's side of a shim: blocking calls over its socket.
//!
//! One connection for requests, one for each running exec, one for each stream of events; all
//! can be polled by descriptor. The shim serves root only and outlives us: see
//! [`Shim::connect`], and [`read_state`] for what a shim that is gone left behind.

mod connection;

use std::fs;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};

use shim::wire::Record;

use crate::binary::ShimBinary;
use crate::error::Error;
use crate::message::{self, Attach, Created, Empty, Exec, Kill, Resize, State, Status, Target};
use crate::spec::{Container, Pod, Process};

use connection::Connection;

/// A pod's shim.
#[derive(Debug)]
pub struct Shim {
    directory: PathBuf,
    connection: Mutex<Connection>,
}

/// Standard streams of an exec.
#[derive(Debug)]
pub enum ExecIo {
    /// A terminal; its master comes back in [`Running::terminal`].
    Terminal,
    /// Descriptors for the process.
    Pipes {
        /// Read by the process.
        stdin: OwnedFd,
        /// Written by the process.
        stdout: OwnedFd,
        /// Written by the process.
        stderr: OwnedFd,
    },
}

/// A process that runs by exec. Dropping it leaves the process alone.
#[derive(Debug)]
pub struct Running {
    connection: Connection,
    /// What the shim said about it.
    pub created: Created,
    /// Master of its terminal.
    pub terminal: Option<OwnedFd>,
}

/// Ends of containers, as they happen.
#[derive(Debug)]
pub struct Events {
    connection: Connection,
    /// How everything stood when the subscription began.
    pub state: State,
}

/// Streams of an attached client.
#[derive(Debug)]
pub struct Attached {
    /// Writes to the container's standard input; the terminal's master if it has one.
    pub stdin: Option<OwnedFd>,
    /// Reads its standard output; ends with the container.
    pub stdout: Option<OwnedFd>,
    /// Reads its standard error; ends with the container.
    pub stderr: Option<OwnedFd>,
}

impl Shim {
    /// Starts the shim of a pod: its namespaces exist when this returns.
    pub fn spawn(binary: &ShimBinary, pod: &Pod) -> Result<Shim, Error> {
        run_daemon(binary, "pod", &pod.to_bytes(), &pod.directory)?;
        Shim::connect(Path::new(&pod.directory))
    }

    /// Finds the running shim of a pod.
    pub fn connect(directory: &Path) -> Result<Shim, Error> {
        let connection = Mutex::new(Connection::open(directory)?);
        Ok(Shim {
            directory: directory.into(),
            connection,
        })
    }

    /// The pod's directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Path of the pod's network namespace.
    #[must_use]
    pub fn net_path(&self) -> PathBuf {
        self.directory.join("net")
    }

    fn call<T: Record>(
        &self,
        name: &'static str,
        kind: u16,
        body: &impl Record,
    ) -> Result<T, Error> {
        let mut connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let first = connection.call(name, kind, &body.to_bytes(), &[]);
        let (body, _) = match first {
            // The connection may have been dropped for being behind; the shim may still live.
            Err(e) if e.is_gone() && kind == message::STATE => {
                *connection = Connection::open(&self.directory)?;
                connection.call(name, kind, &body.to_bytes(), &[])?
            }
            other => other?,
        };
        T::read(&body).map_err(|_| Error::Malformed { operation: name })
    }

    /// Makes a container up to the point before its program runs.
    pub fn create(&self, container: &Container) -> Result<Created, Error> {
        self.call("create a container", message::CREATE, container)
    }

    /// Lets a created container run.
    pub fn start(&self, id: &str) -> Result<(), Error> {
        self.call("start a container", message::START, &target(id))
            .map(|_: Empty| ())
    }

    /// Sends a signal to the first process of a container, or to a process that runs by exec.
    pub fn kill(&self, id: &str, signal: u32) -> Result<(), Error> {
        let kill = Kill {
            id: id.into(),
            signal,
            all: false,
        };
        self.call("signal a container", message::KILL, &kill)
            .map(|_: Empty| ())
    }

    /// Kills every process of a container.
    pub fn kill_all(&self, id: &str) -> Result<(), Error> {
        let kill = Kill {
            id: id.into(),
            signal: 9,
            all: true,
        };
        self.call("kill a container", message::KILL, &kill)
            .map(|_: Empty| ())
    }

    /// Forgets a container that does not run.
    pub fn delete(&self, id: &str) -> Result<(), Error> {
        self.call("delete a container", message::DELETE, &target(id))
            .map(|_: Empty| ())
    }

    /// All containers as they stand.
    pub fn state(&self) -> Result<State, Error> {
        self.call("list containers", message::STATE, &Empty {})
    }

    /// One container as it stands.
    pub fn status(&self, id: &str) -> Result<Status, Error> {
        let found = self.state()?.containers.into_iter().find(|c| c.id == id);
        found.ok_or_else(|| Error::NotFound(format!("container {id} not found")))
    }

    /// Runs another process in a container.
    pub fn exec(
        &self,
        container: &str,
        id: &str,
        process: &Process,
        io: ExecIo,
    ) -> Result<Running, Error> {
        let mut connection = Connection::open(&self.directory)?;
        let mut process = process.clone();
        let fds: Vec<OwnedFd> = match io {
            ExecIo::Terminal => {
                process.terminal = true;
                Vec::new()
            }
            ExecIo::Pipes {
                stdin,
                stdout,
                stderr,
            } => {
                process.terminal = false;
                vec![stdin, stdout, stderr]
            }
        };
        let exec = Exec {
            container: container.into(),
            id: id.into(),
            process,
        };
        let borrowed: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
        let name = "run a process in a container";
        let (body, terminal) = connection.call(name, message::EXEC, &exec.to_bytes(), &borrowed)?;
        let created = Created::read(&body).map_err(|_| Error::Malformed { operation: name })?;
        Ok(Running {
            connection,
            created,
            terminal,
        })
    }

    /// Follows the output of a container and, if asked for, writes its input.
    pub fn attach(
        &self,
        id: &str,
        stdin: bool,
        stdout: bool,
        stderr: bool,
    ) -> Result<Attached, Error> {
        let name = "attach to a container";
        let pipe = |wanted: bool| -> Result<(Option<OwnedFd>, OwnedFd), Error> {
            let failed = |e: rustix::io::Errno| Error::Connection {
                operation: name,
                cause: e.into(),
            };
            let flags = rustix::pipe::PipeFlags::CLOEXEC;
            let (read, write) = rustix::pipe::pipe_with(flags).map_err(failed)?;
            Ok((wanted.then_some(read), write))
        };
        let (out, out_end) = pipe(stdout)?;
        let (err, err_end) = pipe(stderr)?;
        let attach = Attach {
            id: id.into(),
            stdin,
            stdout,
            stderr,
        };
        let mut connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let fds = [out_end.as_fd(), err_end.as_fd()];
        let (_, stdin) = connection.call(name, message::ATTACH, &attach.to_bytes(), &fds)?;
        Ok(Attached {
            stdin,
            stdout: out,
            stderr: err,
        })
    }

    /// Changes the size of a container's terminal.
    pub fn resize(&self, id: &str, columns: u32, rows: u32) -> Result<(), Error> {
        let resize = Resize {
            id: id.into(),
            columns,
            rows,
        };
        self.call("resize a terminal", message::RESIZE, &resize)
            .map(|_: Empty| ())
    }

    /// Opens the log of a container anew after its file was moved away.
    pub fn reopen_log(&self, id: &str) -> Result<(), Error> {
        self.call("reopen a log", message::REOPEN_LOG, &target(id))
            .map(|_: Empty| ())
    }

    /// Hears of every container that ends from now on.
    pub fn subscribe(&self) -> Result<Events, Error> {
        let name = "subscribe to events";
        let mut connection = Connection::open(&self.directory)?;
        let (body, _) = connection.call(name, message::SUBSCRIBE, &[], &[])?;
        let state = State::read(&body).map_err(|_| Error::Malformed { operation: name })?;
        Ok(Events { connection, state })
    }

    /// Kills everything, lets the namespaces go and ends the shim.
    pub fn shutdown(&self) -> Result<(), Error> {
        match self.call("end the shim", message::SHUTDOWN, &Empty {}) {
            Ok(Empty {}) => Ok(()),
            // It went away before its answer did.
            Err(e) if e.is_gone() => Ok(()),
            Err(e) => Err(e),
        }
    }
}

impl Running {
    /// The end of the process if it came; never blocks.
    pub fn try_wait(&mut self) -> Result<Option<Status>, Error> {
        self.connection.event(false)
    }

    /// A non-blocking copy of the socket: readable when [`Running::try_wait`] may have news.
    pub fn readiness(&self) -> io::Result<std::os::unix::net::UnixStream> {
        self.connection.readiness()
    }

    /// Waits for the end of the process.
    pub fn wait(&mut self) -> Result<Status, Error> {
        self.connection.event(true)?.ok_or(Error::Malformed {
            operation: "wait for a process",
        })
    }
}

impl AsFd for Running {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}

impl AsRawFd for Running {
    fn as_raw_fd(&self) -> i32 {
        self.connection.as_fd().as_raw_fd()
    }
}

impl Events {
    /// The next end if there is one; never blocks.
    pub fn try_next(&mut self) -> Result<Option<Status>, Error> {
        self.connection.event(false)
    }

    /// A non-blocking copy of the socket: readable when [`Events::try_next`] may have news.
    pub fn readiness(&self) -> io::Result<std::os::unix::net::UnixStream> {
        self.connection.readiness()
    }

    /// Waits for the next end.
    pub fn wait(&mut self) -> Result<Status, Error> {
        self.connection.event(true)?.ok_or(Error::Malformed {
            operation: "wait for an event",
        })
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}

impl AsRawFd for Events {
    fn as_raw_fd(&self) -> i32 {
        self.connection.as_fd().as_raw_fd()
    }
}

fn target(id: &str) -> Target {
    Target { id: id.into() }
}

/// The state that a shim wrote last, whether or not it lives.
#[must_use]
pub fn read_state(directory: &Path) -> Option<State> {
    State::read(&fs::read(directory.join("state")).ok()?).ok()
}

/// Whether the shim that wrote `state` is still this boot's and alive.
#[must_use]
pub fn is_alive(state: &State) -> bool {
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    boot_id.trim() == state.boot_id && started_at(state.shim_pid) == Some(state.shim_started)
}

/// Start time of a process in clock ticks, `None` if there is no such process.
#[must_use]
pub fn started_at(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    if rest.starts_with('Z') {
        return None;
    }
    rest.split(' ').nth(19)?.parse().ok()
}

/// Takes away what a shim that is gone left: namespace mounts and files. Idempotent.
pub fn clean_up(directory: &Path) {
    for name in ["net", "ipc", "uts", "user"] {
        let file = directory.join(name);
        // Not mounted or not there is what we want.
        let _done = rustix::mount::unmount(&file, rustix::mount::UnmountFlags::DETACH);
        let _done = fs::remove_file(&file);
    }
    for name in ["shim.sock", "state", "state.new", "shim.log"] {
        let _done = fs::remove_file(directory.join(name));
    }
}

/// Runs one of the shim's daemon roles; returns when it serves.
pub(crate) fn run_daemon(
    binary: &ShimBinary,
    role: &str,
    spec: &[u8],
    directory: &str,
) -> Result<(), Error> {
    let failed = |message: String| Error::Spawn {
        directory: directory.into(),
        message,
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "explicit directory, environment and streams"
    )]
    let spawn = || {
        std::process::Command::new(binary.executable())
            .arg(role)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
    };
    let mut attempts = 0;
    let mut child = loop {
        match spawn() {
            // Another thread forked while the binary was being written: its child holds the file
            // until it executes.
            Err(e) if e.kind() == io::ErrorKind::ExecutableFileBusy && attempts < 50 => {
                attempts += 1;
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
            other => {
                let executed = format!("execute {}", binary.path().display());
                break other.map_err(|e| failed(format!("{executed}: {e}")))?;
            }
        }
    };
    let sent = child.stdin.take().map(|mut stdin| stdin.write_all(spec));
    let output = child
        .wait_with_output()
        .map_err(|e| failed(e.to_string()))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let text = text.lines().next().unwrap_or("the shim died").to_string();
        return Err(failed(text));
    }
    match sent {
        Some(Err(e)) if e.kind() != io::ErrorKind::BrokenPipe => Err(failed(e.to_string())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
