//! One netlink socket: send a request or a batch, collect its acknowledgements or its dump.
//!
//! Every wait has a time limit and every dump a size limit. Knows no families.
//! Source: Linux Documentation/userspace-api/netlink/intro.rst (ext ack, NLM_F_DUMP_INTR).
#![expect(unsafe_code, reason = "two socket options that rustix does not wrap")]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, sockopt,
};

use crate::error::{Error, What};
use crate::namespace;
use crate::wire::{
    HEADER, Message, NLM_F_ACK, NLM_F_DUMP, NLMSG_DONE, NLMSG_ERROR, Received, attributes,
    messages, text, u32_at,
};

/// How long the kernel may take to answer.
const ANSWER_SECONDS: u64 = 20;
/// Largest dump that is accepted: about a million routes.
const DUMP_LIMIT: usize = 128 << 20;
/// Attempts for a dump that the kernel reports as interrupted by a change.
const DUMP_ATTEMPTS: usize = 8;
const RECEIVE_BUFFER: usize = 256 << 10;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;

#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    sequence: u32,
    send_buffer: usize,
    buffer: Vec<u8>,
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Socket {
    /// Opens a socket (no protocol is `NETLINK_ROUTE`) in the calling thread's network namespace, or in `namespace`.
    pub(crate) fn open(
        protocol: Option<Protocol>,
        namespace: Option<BorrowedFd<'_>>,
    ) -> Result<Self, Error> {
        Self::open_with_groups(protocol, namespace, 0)
    }

    /// The same, subscribed to the multicast groups of a bit mask.
    pub(crate) fn open_with_groups(
        protocol: Option<Protocol>,
        namespace: Option<BorrowedFd<'_>>,
        groups: u32,
    ) -> Result<Self, Error> {
        let open = || {
            let what = || What::new("open netlink socket", "");
            let fd = rustix::net::socket_with(
                AddressFamily::NETLINK,
                SocketType::RAW,
                SocketFlags::CLOEXEC,
                protocol,
            )
            .map_err(|errno| Error::System {
                what: what(),
                call: "socket",
                errno,
            })?;
            rustix::net::bind(&fd, &netlink::SocketAddrNetlink::new(0, groups)).map_err(
                |errno| Error::System {
                    what: what(),
                    call: "bind",
                    errno,
                },
            )?;
            let limit = Some(Duration::from_secs(ANSWER_SECONDS));
            sockopt::set_socket_timeout(&fd, sockopt::Timeout::Recv, limit).map_err(|errno| {
                Error::System {
                    what: what(),
                    call: "setsockopt",
                    errno,
                }
            })?;
            Ok(fd)
        };
        let fd = match namespace {
            None => open()?,
            Some(namespace) => namespace::run_in(namespace, open)??,
        };
        // Both are refinements: without them errors lack text or carry the request back.
        set_netlink_option(&fd, libc::NETLINK_EXT_ACK);
        set_netlink_option(&fd, libc::NETLINK_CAP_ACK);
        // Force needs CAP_NET_ADMIN in the initial user namespace; the default is a fallback.
        let _ = sockopt::set_socket_recv_buffer_size_force(&fd, 4 << 20);
        Ok(Self {
            fd,
            sequence: 1,
            send_buffer: 0,
            buffer: vec![0; RECEIVE_BUFFER],
        })
    }

    /// The address under which the kernel knows this socket.
    pub(crate) fn port(&self) -> Result<u32, Error> {
        let what = || What::new("read netlink address", "");
        let failed = |errno| Error::System {
            what: what(),
            call: "getsockname",
            errno,
        };
        let address = rustix::net::getsockname(&self.fd).map_err(failed)?;
        let address = netlink::SocketAddrNetlink::try_from(address).map_err(failed)?;
        Ok(address.pid())
    }

    /// Hands the messages that wait to `each`, without waiting for more. `false` when some were
    /// lost because nobody read them in time.
    pub(crate) fn drain(
        &mut self,
        what: &What,
        mut each: impl FnMut(Received<'_>),
    ) -> Result<bool, Error> {
        let mut complete = true;
        loop {
            let flags = RecvFlags::TRUNC | RecvFlags::DONTWAIT;
            let n = match rustix::net::recv(&self.fd, &mut *self.buffer, flags) {
                Ok((_, n)) if n > self.buffer.len() => {
                    complete = false;
                    continue;
                }
                Ok((_, n)) => n,
                Err(Errno::INTR) => continue,
                Err(Errno::NOBUFS) => {
                    complete = false;
                    continue;
                }
                Err(Errno::AGAIN) => return Ok(complete),
                Err(errno) => {
                    return Err(Error::System {
                        what: what.clone(),
                        call: "recv",
                        errno,
                    });
                }
            };
            for received in messages(&self.buffer[..n]) {
                each(received.ok_or_else(|| malformed(what))?);
            }
        }
    }

    fn next(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        self.sequence
    }

    fn send(&mut self, data: &[u8], what: &What) -> Result<(), Error> {
        let system = |call, errno| Error::System {
            what: what.clone(),
            call,
            errno,
        };
        if data.len() + 4096 > self.send_buffer {
            let wanted = (data.len() * 2).max(512 << 10);
            if sockopt::set_socket_send_buffer_size_force(&self.fd, wanted).is_err() {
                let _ = sockopt::set_socket_send_buffer_size(&self.fd, wanted);
            }
            self.send_buffer = wanted;
        }
        let kernel = netlink::SocketAddrNetlink::new(0, 0);
        loop {
            match rustix::net::sendto(&self.fd, data, SendFlags::empty(), &kernel) {
                Ok(n) if n == data.len() => return Ok(()),
                Ok(_) => {
                    return Err(Error::Request {
                        what: what.clone(),
                        reason: "the kernel took only a part of the message",
                    });
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(system("sendto", errno)),
            }
        }
    }

    /// Receives one datagram into the buffer and returns its length.
    fn receive(&mut self, what: &What) -> Result<usize, Error> {
        loop {
            match rustix::net::recv(&self.fd, &mut *self.buffer, RecvFlags::TRUNC) {
                Ok((_, n)) if n > self.buffer.len() => {
                    return Err(Error::Answer {
                        what: what.clone(),
                        reason: "the kernel's answer exceeds the receive buffer",
                    });
                }
                Ok((_, n)) => return Ok(n),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    return Err(Error::Timeout {
                        what: what.clone(),
                        seconds: ANSWER_SECONDS,
                    });
                }
                Err(errno) => {
                    return Err(Error::System {
                        what: what.clone(),
                        call: "recv",
                        errno,
                    });
                }
            }
        }
    }

    /// Sends one request and waits for its acknowledgement.
    pub(crate) fn request(&mut self, mut message: Message, what: What) -> Result<(), Error> {
        message.add_flags(NLM_F_ACK);
        self.query(message, what, |_| ())
    }

    /// Sends one request; answers before the acknowledgement go to `each`.
    pub(crate) fn query(
        &mut self,
        mut message: Message,
        what: What,
        mut each: impl FnMut(Received<'_>),
    ) -> Result<(), Error> {
        message.add_flags(NLM_F_ACK);
        check_length(&message, &what)?;
        let sequence = self.next();
        self.send(message.finish(sequence), &what)?;
        loop {
            let n = self.receive(&what)?;
            for received in messages(&self.buffer[..n]) {
                let received = received.ok_or_else(|| malformed(&what))?;
                if received.sequence != sequence {
                    continue;
                }
                if received.kind == NLMSG_ERROR {
                    return acknowledged(&received, &what);
                }
                each(received);
            }
        }
    }

    /// Sends a dump request and hands every answer to `collect`, starting over when the kernel
    /// says that the dump was interrupted by a change.
    pub(crate) fn dump<T>(
        &mut self,
        message: &Message,
        what: &What,
        collect: impl Fn(u16, &[u8]) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        for _ in 0..DUMP_ATTEMPTS {
            let mut message = message.clone();
            message.add_flags(NLM_F_DUMP);
            let sequence = self.next();
            self.send(message.finish(sequence), what)?;
            if let Some(items) = self.collect_dump(sequence, what, &collect)? {
                return Ok(items);
            }
        }
        Err(Error::Answer {
            what: what.clone(),
            reason: "the tables kept changing while read",
        })
    }

    fn collect_dump<T>(
        &mut self,
        sequence: u32,
        what: &What,
        collect: &impl Fn(u16, &[u8]) -> Option<T>,
    ) -> Result<Option<Vec<T>>, Error> {
        let mut items = Vec::new();
        let mut seen = 0;
        let mut interrupted = false;
        loop {
            let n = self.receive(what)?;
            seen += n;
            if seen > DUMP_LIMIT {
                return Err(Error::Answer {
                    what: what.clone(),
                    reason: "the dump is too large",
                });
            }
            for received in messages(&self.buffer[..n]) {
                let received = received.ok_or_else(|| malformed(what))?;
                if received.sequence != sequence {
                    continue;
                }
                interrupted |= received.flags & NLM_F_DUMP_INTR != 0;
                match received.kind {
                    NLMSG_DONE | NLMSG_ERROR => {
                        acknowledged(&received, what)?;
                        return Ok(if interrupted { None } else { Some(items) });
                    }
                    kind => items.extend(collect(kind, received.payload)),
                }
            }
        }
    }

    /// Sends `begin`, `body`, `end` as one datagram (an nfnetlink batch). The last message of
    /// `body` carries the acknowledgement. `what` names the message that failed by its index.
    pub(crate) fn batch(
        &mut self,
        mut begin: Message,
        body: &mut [(Message, What)],
        mut end: Message,
        whole: &What,
    ) -> Result<(), Error> {
        let Some((last, _)) = body.last_mut() else {
            return Ok(());
        };
        last.add_flags(NLM_F_ACK);
        let size = body.iter().map(|(m, _)| m.len()).sum::<usize>() + begin.len() + end.len();
        let mut data = Vec::with_capacity(size);
        let first_sequence = self.next();
        data.extend_from_slice(begin.finish(first_sequence));
        for (message, what) in body.iter_mut() {
            check_length(message, what)?;
            let sequence = self.next();
            data.extend_from_slice(message.finish(sequence));
        }
        let last_sequence = self.sequence;
        let end_sequence = self.next();
        data.extend_from_slice(end.finish(end_sequence));
        self.send(&data, whole)?;

        let mut failure = None;
        loop {
            let n = self.receive(whole)?;
            for received in messages(&self.buffer[..n]) {
                let received = received.ok_or_else(|| malformed(whole))?;
                let index = received.sequence.wrapping_sub(first_sequence) as usize;
                if received.kind != NLMSG_ERROR || index > body.len() {
                    continue;
                }
                let what = index.checked_sub(1).map_or(whole, |i| &body[i].1);
                let outcome = acknowledged(&received, what);
                failure = failure.or(outcome.err());
                if received.sequence == last_sequence || index == 0 {
                    return failure.map_or(Ok(()), Err);
                }
            }
        }
    }
}

fn check_length(message: &Message, what: &What) -> Result<(), Error> {
    if message.too_long() {
        return Err(Error::Request {
            what: what.clone(),
            reason: "an attribute is longer than netlink's 64 KiB",
        });
    }
    Ok(())
}

fn malformed(what: &What) -> Error {
    Error::Answer {
        what: what.clone(),
        reason: "the kernel's answer is malformed",
    }
}

/// Reads an NLMSG_ERROR or NLMSG_DONE: zero is success, else the errno with the kernel's text.
fn acknowledged(received: &Received<'_>, what: &What) -> Result<(), Error> {
    let code = i32::from_ne_bytes(u32_at(received.payload, 0).to_ne_bytes());
    if code == 0 {
        return Ok(());
    }
    let mut words = String::new();
    if received.flags & NLM_F_ACK_TLVS != 0 {
        // After the code: the offending request's header, and its payload unless capped.
        let request = if received.kind == NLMSG_DONE {
            0
        } else if received.flags & NLM_F_CAPPED != 0 {
            HEADER
        } else {
            u32_at(received.payload, 4) as usize
        };
        let rest = received.payload.get(4 + request..).unwrap_or(&[]);
        if let Some((_, data)) = attributes(rest).find(|(kind, _)| *kind == 1) {
            words = text(data);
        }
    }
    Err(Error::Kernel {
        what: what.clone(),
        text: words,
        errno: Errno::from_raw_os_error(code.saturating_neg()),
    })
}

fn set_netlink_option(fd: &OwnedFd, option: libc::c_int) {
    let one: libc::c_int = 1;
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `fd` is open, and the value pointer and length describe a live c_int. A refusal is
    // harmless, so the result is not needed.
    unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_NETLINK,
            option,
            std::ptr::from_ref(&one).cast(),
            length,
        );
    }
}
