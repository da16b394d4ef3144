//! The poll loop: signals, connections, output.
//!
//! A connection starts with [`Hello`] both ways; requests are answered in order. Bounded: 256
//! connections, 8 MiB a message, 4 MiB of unread answers (then the connection is closed).

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;

use shim::message::{self, Hello};
use shim::wire::{self, Record, frame, take_frame};

use crate::pod::Shim;
use crate::sys::{self, During, Result};

const MAX_CONNECTIONS: usize = 256;
const MAX_UNREAD: usize = 4 << 20;
const MAX_FDS: usize = 16;
/// After a shutdown was asked for, how long to wait for containers to die.
const SHUTDOWN_LIMIT_MS: i64 = 5000;

struct Connection {
    id: u64,
    socket: OwnedFd,
    greeted: bool,
    subscribed: bool,
    input: Vec<u8>,
    fds: Vec<OwnedFd>,
    output: VecDeque<(Vec<u8>, Option<OwnedFd>)>,
    closed: bool,
}

impl Connection {
    fn send(&mut self, kind: u16, body: &[u8], fd: Option<OwnedFd>) {
        let waiting: usize = self.output.iter().map(|(bytes, _)| bytes.len()).sum();
        if waiting + body.len() > MAX_UNREAD {
            self.closed = true;
            return;
        }
        self.output.push_back((frame(kind, body), fd));
        self.flush();
    }

    fn flush(&mut self) {
        while let Some((bytes, fd)) = self.output.front_mut() {
            let fds: Vec<&OwnedFd> = fd.iter().collect();
            match sys::send(self.socket.as_fd(), bytes, &fds) {
                Ok(n) => {
                    bytes.drain(..n);
                    *fd = None;
                    if bytes.is_empty() {
                        self.output.pop_front();
                    }
                }
                Err(e) if e.raw_os_error() == Some(libc::EAGAIN) => return,
                Err(_) => {
                    self.closed = true;
                    return;
                }
            }
        }
    }

    fn fill(&mut self) {
        // Small: a page of stack once touched stays.
        let mut buffer = [0; 8 << 10];
        match sys::receive(self.socket.as_fd(), &mut buffer, &mut self.fds) {
            Ok(0) => self.closed = true,
            Ok(n) => self.input.extend_from_slice(&buffer[..n]),
            Err(e) if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::EINTR)) => {}
            Err(_) => self.closed = true,
        }
        if self.input.len() > wire::MAX_BODY + wire::HEADER || self.fds.len() > MAX_FDS {
            self.closed = true;
        }
    }
}

/// Serves until a client asks for shutdown, or the machine goes down: SIGTERM alone ends nothing that
/// runs, but when all containers have ended and no agent listens, nobody needs this process any more.
/// Whoever shuts the machine down would wait for it, with systemd for a minute and a half.
pub(crate) fn serve(mut shim: Shim, listener: UnixListener, signals: &OwnedFd) -> Result<()> {
    listener
        .set_nonblocking(true)
        .during(|| "prepare the socket".into())?;
    let mut connections: Vec<Connection> = Vec::new();
    let mut next_id = 0;
    let mut ending: Option<i64> = None;
    let mut going_down = false;
    loop {
        let mut entries = vec![
            sys::poll_entry(signals.as_raw_fd(), sys::POLL_IN),
            sys::poll_entry(listener.as_raw_fd(), sys::POLL_IN),
        ];
        for c in &connections {
            let out = if c.output.is_empty() {
                0
            } else {
                sys::POLL_OUT
            };
            entries.push(sys::poll_entry(c.socket.as_raw_fd(), sys::POLL_IN | out));
        }
        let first_stream = entries.len();
        shim.watch(&mut entries);
        let timeout = ending.map(|end| i32::try_from(end - sys::mono_ms()).unwrap_or(0).max(0));
        let ready = sys::poll(&mut entries, timeout).during(|| "poll".into())?;
        // Output first: it must be in the log before anybody hears of an exit.
        shim.pump(&entries[first_stream..]);
        if entries[0].revents != 0 {
            while let Some(signal) = sys::next_signal(signals) {
                going_down |= signal == libc::SIGTERM.unsigned_abs();
            }
            shim.reap();
        }
        for (connection, entry) in connections.iter_mut().zip(&entries[2..first_stream]) {
            if entry.revents & sys::POLL_OUT != 0 {
                connection.flush();
            }
            if entry.revents & !sys::POLL_OUT != 0 {
                connection.fill();
                if answer(connection, &mut shim) {
                    shim.shut_down();
                    ending = Some(sys::mono_ms() + SHUTDOWN_LIMIT_MS);
                }
            }
        }
        for news in std::mem::take(&mut shim.news) {
            let body = news.status.to_bytes();
            for c in connections.iter_mut().filter(|c| !c.closed) {
                if news.owner.map_or(c.subscribed, |owner| owner == c.id) {
                    c.send(message::EXITED, &body, None);
                }
            }
        }
        if ending.is_some() && (!shim.is_busy() || ready == 0) {
            let directory = shim.directory();
            // Removed files are what tells a client that it is over; it may remove them too.
            let _gone = std::fs::remove_file(format!("{directory}/shim.sock"));
            let _gone = std::fs::remove_file(format!("{directory}/state"));
            for c in &mut connections {
                c.send(message::SHUTDOWN, &[], None);
            }
            return Ok(());
        }
        connections.retain(|c| !c.closed);
        if going_down && connections.is_empty() && !shim.is_busy() {
            // What it keeps says to the next agent, if there is one, how all ended.
            shim.end_reaper();
            return Ok(());
        }
        if entries[1].revents != 0
            && let Ok((socket, _)) = listener.accept()
        {
            let socket = OwnedFd::from(socket);
            let allowed = sys::peer_uid(&socket).is_ok_and(|uid| uid == sys::effective_uid());
            if allowed
                && connections.len() < MAX_CONNECTIONS
                && sys::set_nonblocking(&socket).is_ok()
            {
                next_id += 1;
                connections.push(Connection {
                    id: next_id,
                    socket,
                    greeted: false,
                    subscribed: false,
                    input: Vec::new(),
                    fds: Vec::new(),
                    output: VecDeque::new(),
                    closed: false,
                });
            }
        }
    }
}

/// Answers all whole requests; true if one of them asks for shutdown.
fn answer(connection: &mut Connection, shim: &mut Shim) -> bool {
    loop {
        let (kind, body) = match take_frame(&mut connection.input) {
            Ok(Some(request)) => request,
            Ok(None) => {
                if connection.input.is_empty() {
                    connection.input = Vec::new();
                    sys::trim_memory();
                }
                return false;
            }
            Err(_) => {
                connection.closed = true;
                return false;
            }
        };
        if !connection.greeted {
            let hello = Hello::read(&body).ok().filter(|_| kind == message::HELLO);
            if hello.is_none() {
                connection.closed = true;
                return false;
            }
            connection.greeted = true;
            let hello = Hello {
                version: message::VERSION,
                software: concat!("transom-shim ", env!("CARGO_PKG_VERSION")).into(),
            };
            connection.send(message::HELLO, &hello.to_bytes(), None);
            continue;
        }
        if kind == message::SHUTDOWN {
            return true;
        }
        let fds = std::mem::take(&mut connection.fds);
        match shim.handle(kind, &body, fds, connection.id) {
            Ok((body, fd)) => {
                connection.subscribed |= kind == message::SUBSCRIBE;
                connection.send(kind, &body, fd);
            }
            Err((class, text)) => {
                let body = message::Error {
                    class,
                    message: text,
                }
                .to_bytes();
                connection.send(message::ERROR, &body, None);
            }
        }
    }
}
