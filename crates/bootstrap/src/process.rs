//! Processes of a cluster: started in the background, found again after a kill of their starter,
//! ended within a time limit.
//!
//! A process is its boot, pid and start time: a reused pid is never mistaken for it. Waits
//! are on a pidfd, without polling. Source: pidfd_open(2), proc_pid_stat(5).

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};

use crate::error::Error;
use crate::files;
use crate::sysctl::boot_id;

/// A process that cannot be mistaken for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    start: u64,
}

/// How to start one.
#[derive(Debug)]
pub(crate) struct Start<'a> {
    pub(crate) program: &'a Path,
    pub(crate) arguments: &'a [&'a str],
    pub(crate) log: &'a Path,
    /// User and group; without capabilities unless root.
    pub(crate) user: Option<(u32, u32)>,
}

impl Process {
    /// The running process `pid`; `None` if there is none, or only its remains.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, rest) = stat.rsplit_once(") ")?;
        let mut fields = rest.split(' ');
        let state = fields.next()?;
        if matches!(state, "Z" | "X") {
            return None;
        }
        Some(Self {
            pid,
            start: fields.nth(18)?.parse().ok()?,
        })
    }

    /// Starts a process in the background, with its output in a log.
    pub(crate) fn start(start: &Start<'_>) -> Result<Self, Error> {
        let open = || {
            fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(start.log)
        };
        let log: File = open().map_err(Error::file("open", start.log))?;
        let errors = log.try_clone().map_err(Error::file("open", start.log))?;
        #[expect(
            clippy::disallowed_methods,
            reason = "folder and environment are set below"
        )]
        let mut command = Command::new(start.program);
        command
            .args(start.arguments)
            .current_dir("/")
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .process_group(0);
        for name in [
            "RUST_LOG",
            "RUST_BACKTRACE",
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "NO_PROXY",
        ] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        if let Some((uid, gid)) = start.user {
            command.uid(uid).gid(gid);
        }
        let child = command
            .spawn()
            .map_err(Error::file("start", start.program))?;
        // A process that has ended already has no start time: it is reported by the wait.
        let start = Self::of(child.id()).map_or(0, |process| process.start);
        Ok(Self {
            pid: child.id(),
            start,
        })
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(&self) -> bool {
        Self::of(self.pid) == Some(*self)
    }

    /// Reads the process that `path` names, if it still runs.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, Error> {
        let Some(text) = files::read(path)? else {
            return Ok(None);
        };
        let mut numbers = text.split_whitespace();
        let mut next = || numbers.next().unwrap_or_default();
        let (Ok(pid), Ok(start), boot) = (next().parse(), next().parse(), next()) else {
            return Ok(None);
        };
        if boot != boot_id()? {
            return Ok(None);
        }
        Ok(Some(Self { pid, start }).filter(Self::is_alive))
    }

    /// Remembers the process in a file.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Error> {
        let text = format!("{} {} {}\n", self.pid, self.start, boot_id()?);
        files::write(path, text.as_bytes(), 0o644)
    }

    fn descriptor(&self) -> Option<OwnedFd> {
        let pid = Pid::from_raw(i32::try_from(self.pid).ok()?)?;
        let fd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?;
        // Only now is the number bound to a process: check that it is the right one.
        self.is_alive().then_some(fd)
    }

    /// Waits until it has ended; false when the time is up first.
    pub(crate) fn wait(&self, limit: Duration) -> bool {
        let Some(fd) = self.descriptor() else {
            return true;
        };
        let ended = poll_end(&fd, limit);
        self.reap();
        ended
    }

    /// Asks it to end, and makes it after the grace period. True if it had to be made.
    pub(crate) fn end(&self, grace: Duration) -> Result<bool, Error> {
        let Some(fd) = self.descriptor() else {
            self.reap();
            return Ok(false);
        };
        for (signal, limit) in [
            (Signal::TERM, grace),
            (Signal::KILL, Duration::from_secs(10)),
        ] {
            if signal == Signal::TERM && grace.is_zero() {
                continue;
            }
            match rustix::process::pidfd_send_signal(&fd, signal) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(errno) => return Err(Error::errno("end process", self.pid)(errno)),
            }
            if poll_end(&fd, limit) {
                self.reap();
                return Ok(signal == Signal::KILL);
            }
        }
        Err(Error::errno("end process", self.pid)(Errno::TIMEDOUT))
    }

    /// Takes the remains if it is our child; a stranger's are not ours to take.
    fn reap(&self) {
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) {
            let _ = rustix::process::waitpid(Some(pid), WaitOptions::NOHANG);
        }
    }
}

fn poll_end(fd: &OwnedFd, limit: Duration) -> bool {
    let limit = Timespec {
        tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: limit.subsec_nanos().into(),
    };
    loop {
        let mut fds = [PollFd::new(fd, PollFlags::IN)];
        match rustix::event::poll(&mut fds, Some(&limit)) {
            Err(Errno::INTR) => {}
            outcome => return matches!(outcome, Ok(1..)),
        }
    }
}

/// Processes whose `--config` lies below `folder`: strays of a starter that was killed before it
/// could write their pids down. `command` restricts them to one subcommand.
pub(crate) fn configured_below(folder: &Path, command: &str) -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let own = std::process::id();
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| *pid != own)
        .filter_map(|pid| {
            let process = Process::of(pid)?;
            let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let words: Vec<&str> = line
                .split(|b| *b == 0)
                .filter_map(|w| std::str::from_utf8(w).ok())
                .collect();
            let configured = words
                .windows(2)
                .any(|pair| pair[0] == "--config" && Path::new(pair[1]).starts_with(folder));
            let right = command.is_empty() || words.get(1) == Some(&command);
            (configured && right).then_some(process)
        })
        .collect()
}

#[cfg(test)]
mod tests;
