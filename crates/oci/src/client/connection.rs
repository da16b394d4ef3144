//! One conversation with a shim: frames out, frames and descriptors in.

use std::io::{self, IoSlice, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use shim::wire::{Record, frame, take_frame};

use crate::error::Error;
use crate::message::{self, Hello, Status};

/// Longest answer: a create waits for mounts and the first attach to version 1 groups.
const ANSWER_LIMIT: Duration = Duration::from_secs(90);

#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
    input: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl Connection {
    pub(crate) fn open(directory: &Path) -> Result<Connection, Error> {
        let gone = |cause: io::Error| Error::Gone {
            directory: directory.into(),
            cause,
        };
        // Through a descriptor, because a socket's path may have 107 bytes only.
        let handle = std::fs::File::open(directory).map_err(gone)?;
        let path = format!("/proc/self/fd/{}/shim.sock", handle.as_raw_fd());
        let stream = UnixStream::connect(path).map_err(gone)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT)).map_err(gone)?;
        stream.set_write_timeout(Some(ANSWER_LIMIT)).map_err(gone)?;
        let mut connection = Connection {
            stream,
            input: Vec::new(),
            fds: Vec::new(),
        };
        let hello = Hello {
            version: message::VERSION,
            software: concat!("transom ", env!("CARGO_PKG_VERSION")).into(),
        };
        connection.call("greet the shim", message::HELLO, &hello.to_bytes(), &[])?;
        Ok(connection)
    }

    /// Sends a request and waits for its answer.
    pub(crate) fn call(
        &mut self,
        operation: &'static str,
        kind: u16,
        body: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Result<(Vec<u8>, Option<OwnedFd>), Error> {
        let failed = |cause| Error::Connection { operation, cause };
        self.send(&frame(kind, body), fds).map_err(failed)?;
        loop {
            let Some((answer, body)) = self.next(operation, true)? else {
                return Err(failed(io::ErrorKind::TimedOut.into()));
            };
            if answer == kind {
                return Ok((body, self.fds.pop()));
            }
            if answer == message::ERROR {
                let error =
                    message::Error::read(&body).map_err(|_| Error::Malformed { operation })?;
                return Err(match error.class {
                    message::NOT_FOUND => Error::NotFound(error.message),
                    message::WRONG_STATE => Error::WrongState(error.message),
                    _ => Error::Refused(error.message),
                });
            }
        }
    }

    /// A copy of the socket for an event loop; the connection itself becomes non-blocking.
    pub(crate) fn readiness(&self) -> io::Result<UnixStream> {
        let copy = self.stream.try_clone()?;
        copy.set_nonblocking(true)?;
        Ok(copy)
    }

    /// The next event; without `block` only if it is there.
    pub(crate) fn event(&mut self, block: bool) -> Result<Option<Status>, Error> {
        let operation = "wait for an event";
        loop {
            match self.next(operation, block)? {
                Some((message::EXITED, body)) => {
                    let status = Status::read(&body).map_err(|_| Error::Malformed { operation })?;
                    return Ok(Some(status));
                }
                Some(_) => {}
                None if block => {}
                None => return Ok(None),
            }
        }
    }

    fn send(&mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut sent = 0;
        if !fds.is_empty() {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            control.push(SendAncillaryMessage::ScmRights(fds));
            let slices = [IoSlice::new(bytes)];
            sent = rustix::net::sendmsg(&self.stream, &slices, &mut control, SendFlags::NOSIGNAL)?;
        }
        self.stream.write_all(&bytes[sent..])
    }

    fn next(
        &mut self,
        operation: &'static str,
        block: bool,
    ) -> Result<Option<(u16, Vec<u8>)>, Error> {
        loop {
            if let Some(frame) =
                take_frame(&mut self.input).map_err(|_| Error::Malformed { operation })?
            {
                return Ok(Some(frame));
            }
            let mut buffer = [0; 16 << 10];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut flags = RecvFlags::CMSG_CLOEXEC;
            if !block {
                flags |= RecvFlags::DONTWAIT;
            }
            let slices = &mut [IoSliceMut::new(&mut buffer)];
            let failed = |cause| Error::Connection { operation, cause };
            match rustix::net::recvmsg(&self.stream, slices, &mut control, flags) {
                Ok(received) => {
                    for message in control.drain() {
                        if let RecvAncillaryMessage::ScmRights(fds) = message {
                            self.fds.extend(fds);
                        }
                    }
                    if received.bytes == 0 {
                        return Err(failed(io::ErrorKind::UnexpectedEof.into()));
                    }
                    self.input.extend_from_slice(&buffer[..received.bytes]);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Ok(None),
                Err(e) => return Err(failed(e.into())),
            }
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
