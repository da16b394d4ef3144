//! Container output: lines of the CRI log, and copies for those who are attached.
//!
//! A line is `TIME STREAM TAG TEXT`; TAG is `F` for a whole line and `P` for a part (longer
//! than 16 KiB, or without a newline at the end). A sink that does not keep up for a megabyte
//! is dropped: a slow client must not stop the container.
//! Source: kubernetes v1.36 pkg/kubelet/kuberuntime/logs (format), containerd 2.x
//! internal/cri/io/logger.go (parts).

use std::os::fd::{AsRawFd, OwnedFd};

use crate::sys::{self, During, Result};

/// Longest line in one piece.
const MAX_LINE: usize = 16 << 10;
/// Most bytes that wait for one sink.
const MAX_PENDING: usize = 1 << 20;
/// Bytes read at once.
const CHUNK: usize = 16 << 10;

/// The log file of a container.
pub(crate) struct Log {
    path: String,
    file: Option<OwnedFd>,
}

impl Log {
    pub(crate) fn open(path: &str) -> Result<Log> {
        let mut log = Log {
            path: path.into(),
            file: None,
        };
        log.reopen()?;
        Ok(log)
    }

    /// Opens the path anew, after a rotation.
    pub(crate) fn reopen(&mut self) -> Result<()> {
        if self.path.is_empty() {
            return Ok(());
        }
        // A pod that may write to the node's logs must not lead us elsewhere by a link.
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND | libc::O_NOFOLLOW;
        let file =
            sys::open(&self.path, flags, 0o640).during(|| format!("open log {}", self.path))?;
        self.file = Some(file);
        Ok(())
    }

    fn write(&self, mut bytes: &[u8]) {
        let Some(file) = &self.file else { return };
        while !bytes.is_empty() {
            match sys::write(file, bytes) {
                Ok(n) => bytes = &bytes[n..],
                // A full disk loses log lines, never the container.
                Err(_) => return,
            }
        }
    }
}

/// One output stream of a container.
pub(crate) struct Stream {
    pub(crate) fd: OwnedFd,
    name: &'static str,
    partial: Vec<u8>,
}

impl Stream {
    pub(crate) fn new(fd: OwnedFd, name: &'static str) -> Result<Stream> {
        sys::set_nonblocking(&fd).during(|| format!("prepare {name}"))?;
        Ok(Stream {
            fd,
            name,
            partial: Vec::new(),
        })
    }

    pub(crate) fn is_stderr(&self) -> bool {
        self.name == "stderr"
    }

    /// Reads what is there, once; false at the end of the stream.
    pub(crate) fn pump(&mut self, log: &Log, sinks: &mut Vec<Sink>) -> Pumped {
        let mut chunk = [0; CHUNK];
        match sys::read(&self.fd, &mut chunk) {
            Ok(0) => {
                self.finish(log);
                Pumped::End
            }
            Ok(n) => {
                let stderr = self.is_stderr();
                for sink in sinks.iter_mut().filter(|s| s.stderr == stderr) {
                    sink.push(&chunk[..n]);
                }
                sinks.retain(|s| !s.broken);
                self.log(&chunk[..n], log);
                Pumped::Some
            }
            Err(e) if e.raw_os_error() == Some(libc::EAGAIN) => Pumped::Nothing,
            Err(e) if e.raw_os_error() == Some(libc::EINTR) => Pumped::Some,
            // EIO: the last slave of a terminal closed.
            Err(_) => {
                self.finish(log);
                Pumped::End
            }
        }
    }

    fn log(&mut self, mut bytes: &[u8], log: &Log) {
        if log.file.is_none() {
            return;
        }
        let time = rfc3339(sys::wall_ns());
        let mut out = Vec::with_capacity(bytes.len() + 128);
        while !bytes.is_empty() {
            let room = MAX_LINE - self.partial.len();
            let window = &bytes[..bytes.len().min(room)];
            let (taken, tag) = match window.iter().position(|b| *b == b'\n') {
                Some(at) => (at, Some('F')),
                None if window.len() == room => (room, Some('P')),
                None => (window.len(), None),
            };
            self.partial.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken + usize::from(tag == Some('F'))..];
            if let Some(tag) = tag {
                entry(&mut out, &time, self.name, tag, &self.partial);
                self.partial.clear();
            }
        }
        log.write(&out);
    }

    fn finish(&mut self, log: &Log) {
        if !self.partial.is_empty() {
            let mut out = Vec::new();
            entry(
                &mut out,
                &rfc3339(sys::wall_ns()),
                self.name,
                'P',
                &self.partial,
            );
            log.write(&out);
        }
        self.partial = Vec::new();
    }
}

/// What one read of a stream found.
#[derive(PartialEq, Eq)]
pub(crate) enum Pumped {
    Some,
    Nothing,
    End,
}

fn entry(out: &mut Vec<u8>, time: &str, stream: &str, tag: char, text: &[u8]) {
    out.extend_from_slice(format!("{time} {stream} {tag} ").as_bytes());
    out.extend_from_slice(text);
    out.push(b'\n');
}

/// Where an attached client takes output.
pub(crate) struct Sink {
    fd: OwnedFd,
    stderr: bool,
    pending: Vec<u8>,
    broken: bool,
}

impl Sink {
    pub(crate) fn new(fd: OwnedFd, stderr: bool) -> Result<Sink> {
        sys::set_nonblocking(&fd).during(|| "prepare the attached stream".into())?;
        Ok(Sink {
            fd,
            stderr,
            pending: Vec::new(),
            broken: false,
        })
    }

    pub(crate) fn raw_fd(&self) -> i32 {
        self.fd.as_raw_fd()
    }

    pub(crate) fn stderr(&self) -> bool {
        self.stderr
    }

    pub(crate) fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    pub(crate) fn mark_broken(&mut self) {
        self.broken = true;
    }

    fn push(&mut self, bytes: &[u8]) {
        if self.pending.len() + bytes.len() > MAX_PENDING {
            self.broken = true;
            return;
        }
        self.pending.extend_from_slice(bytes);
        self.flush();
    }

    /// Writes what waits as far as it goes.
    pub(crate) fn flush(&mut self) {
        while !self.pending.is_empty() {
            match sys::write(&self.fd, &self.pending) {
                Ok(n) => {
                    self.pending.drain(..n);
                }
                Err(e) if e.raw_os_error() == Some(libc::EAGAIN) => return,
                Err(_) => {
                    self.broken = true;
                    return;
                }
            }
        }
    }
}

/// `2026-01-31T23:59:59.000000001Z`.
pub(crate) fn rfc3339(ns: i64) -> String {
    let (seconds, nanos) = (ns.div_euclid(1_000_000_000), ns.rem_euclid(1_000_000_000));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days to civil date: Howard Hinnant, "chrono-compatible low-level date algorithms".
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
}
