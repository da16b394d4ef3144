//! Asks other servers.
//!
//! Each question has a socket of its own, hence a port that nobody can guess, and a number drawn
//! by a generator seeded by the system. Only an answer from the server that was asked, with that
//! number and the same question, and whole in every record, is taken; what else arrives is passed
//! over until the time is up. A truncated answer is asked for again over TCP.
//! Servers that fail are left out for a moment while others do not.
//! Source: RFC 5452 (forged answers), RFC 7766 (TCP); coredns v1.14 plugin/forward.

mod health;
mod sockets;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base::Rng;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use crate::corefile::{Forward, Upstream};
use crate::message::{HEADER, Name, Query, Records, UDP_LIMIT, flag, kind, u16_at};
use crate::resolv_conf;
use health::Health;
pub use sockets::{Sockets, SystemSockets};

/// Everything that is tried for one question.
const ALL_WITHIN: Duration = Duration::from_secs(5);
/// One server's answer.
const ONE_WITHIN: Duration = Duration::from_secs(2);
/// Servers asked for one question, the same one again included.
const ATTEMPTS: usize = 4;
/// A resolver file is looked at again after this, when somebody asks.
const FILE_HOLDS: Duration = Duration::from_secs(5);

/// Why nobody answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForwardError {
    /// The Corefile's files name nobody.
    #[error("no server to ask is known: {0}")]
    NoServer(String),
    /// The last failure.
    #[error("ask {server}")]
    Failed {
        /// Who.
        server: SocketAddr,
        /// How.
        #[source]
        cause: io::Error,
    },
    /// The questions go in a circle.
    #[error("forwarding comes back to this server")]
    Loop,
}

/// A question for others: name, type, class, and what the client wants.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    packet: Vec<u8>,
}

impl Question {
    /// What `query` asks, of `name` instead of its own when given.
    pub(crate) fn of(query: &Query<'_>, name: Option<&[u8]>) -> Self {
        let kept = flag::RECURSION_DESIRED | flag::CHECKING_DISABLED | flag::AUTHENTIC;
        let mut packet = Vec::with_capacity(query.question_end + 11);
        packet.extend_from_slice(&[0, 0]);
        packet.extend_from_slice(&(query.flags & kept).to_be_bytes());
        packet.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, u8::from(query.edns.is_some())]);
        match name {
            Some(name) => {
                packet.extend_from_slice(name);
                packet.extend_from_slice(&query.kind.to_be_bytes());
                packet.extend_from_slice(&query.class.to_be_bytes());
            }
            None => packet.extend_from_slice(query.question()),
        }
        if let Some(edns) = query.edns {
            let [high, low] = u16::try_from(UDP_LIMIT).unwrap_or(u16::MAX).to_be_bytes();
            let wants = if edns.dnssec { 0x80 } else { 0 };
            packet.extend_from_slice(&[0, 0, 41, high, low, 0, 0, wants, 0, 0, 0]);
        }
        Self { packet }
    }

    /// HINFO of a name: what looks for circles.
    pub(crate) fn probe(name: &[u8]) -> Self {
        Self::plain(name, kind::HINFO)
    }

    /// A name and a type.
    pub(crate) fn plain(name: &[u8], kind: u16) -> Self {
        let mut packet = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        packet.extend_from_slice(name);
        packet.extend_from_slice(&kind.to_be_bytes());
        packet.extend_from_slice(&[0, 1]);
        Self { packet }
    }
}

/// A whole answer of another server.
#[derive(Debug)]
pub(crate) struct Reply {
    /// As it came.
    pub(crate) packet: Vec<u8>,
    /// Where its records are.
    pub(crate) records: Records,
}

#[derive(Debug, Default)]
struct File {
    looked: Option<Instant>,
    changed: Option<SystemTime>,
    servers: Vec<SocketAddr>,
}

/// One `forward` directive at work.
pub(crate) struct Forwarder {
    rule: Forward,
    /// What `/etc/resolv.conf` means.
    host_file: PathBuf,
    sockets: Arc<dyn Sockets>,
    gate: Arc<Semaphore>,
    health: Mutex<Health>,
    files: Mutex<Vec<File>>,
    rng: Mutex<Rng>,
    started: Instant,
    in_circle: std::sync::atomic::AtomicBool,
}

impl Forwarder {
    pub(crate) fn new(
        rule: Forward,
        host_file: &Path,
        sockets: Arc<dyn Sockets>,
        rng: Rng,
    ) -> Self {
        Self {
            gate: Arc::new(Semaphore::new(rule.max_concurrent)),
            files: Mutex::new(rule.to.iter().map(|_| File::default()).collect()),
            health: Mutex::new(Health::new(rule.policy, rule.max_fails)),
            rng: Mutex::new(rng),
            host_file: host_file.to_owned(),
            started: Instant::now(),
            in_circle: false.into(),
            rule,
            sockets,
        }
    }

    /// Whether the name is asked here.
    pub(crate) fn takes(&self, name: &Name) -> bool {
        let mut except = self.rule.except.iter();
        name.below(&self.rule.from).is_some() && !except.any(|zone| name.below(zone).is_some())
    }

    /// A place among those who may ask now.
    pub(crate) fn permit(&self) -> Option<OwnedSemaphorePermit> {
        self.gate.clone().try_acquire_owned().ok()
    }

    /// Its questions come back: nothing is asked any more.
    pub(crate) fn mark_circle(&self) {
        self.in_circle
            .store(true, std::sync::atomic::Ordering::Relaxed);
    }

    /// Asks until somebody answers or the time is up.
    pub(crate) async fn ask(&self, question: &Question, tcp: bool) -> Result<Reply, ForwardError> {
        if self.in_circle.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(ForwardError::Loop);
        }
        let servers = self.servers();
        let order = {
            let (mut health, mut rng) = (self.health.lock(), self.rng.lock());
            health.order(&servers, &mut rng, self.now_ms())
        };
        let mut last = Err(ForwardError::NoServer(format!("{:?}", self.rule.to)));
        let deadline = Instant::now() + ALL_WITHIN;
        for server in order.iter().cycle().take(ATTEMPTS.min(order.len() * 2)) {
            if Instant::now() >= deadline {
                break;
            }
            let within = deadline.min(Instant::now() + ONE_WITHIN);
            let result = timeout_at(within, self.ask_one(question, *server, tcp)).await;
            let result = result.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            match result {
                Ok(reply) => {
                    self.health.lock().succeeded(*server);
                    return Ok(reply);
                }
                Err(cause) => {
                    tracing::debug!(%server, err = %cause, "no answer");
                    self.health.lock().failed(*server, self.now_ms());
                    last = Err(ForwardError::Failed {
                        server: *server,
                        cause,
                    });
                }
            }
        }
        last
    }

    async fn ask_one(
        &self,
        question: &Question,
        server: SocketAddr,
        tcp: bool,
    ) -> io::Result<Reply> {
        let mut packet = question.packet.clone();
        let mut id = [0; 2];
        self.rng.lock().bytes(&mut id);
        packet[..2].copy_from_slice(&id);
        if tcp || self.rule.force_tcp {
            return self.over_tcp(&packet, server).await;
        }
        let reply = self.over_udp(&packet, server).await?;
        if u16_at(&reply.packet, 2).unwrap_or(0) & flag::TRUNCATED == 0 {
            return Ok(reply);
        }
        // A server without TCP has at least said that there is more.
        match timeout(ONE_WITHIN / 2, self.over_tcp(&packet, server)).await {
            Ok(Ok(whole)) => Ok(whole),
            _ => Ok(reply),
        }
    }

    async fn over_udp(&self, packet: &[u8], server: SocketAddr) -> io::Result<Reply> {
        let socket = self.sockets.udp(server)?;
        socket.set_nonblocking(true)?;
        let socket = tokio::net::UdpSocket::from_std(socket)?;
        socket.connect(server).await?;
        socket.send(packet).await?;
        let mut buffer = vec![0; 4096];
        loop {
            let length = socket.recv(&mut buffer).await?;
            if let Some(reply) = accept(packet, &buffer[..length]) {
                return Ok(reply);
            }
        }
    }

    async fn over_tcp(&self, packet: &[u8], server: SocketAddr) -> io::Result<Reply> {
        let mut stream = self.sockets.tcp(server)?.connect(server).await?;
        let length = u16::try_from(packet.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut framed = length.to_be_bytes().to_vec();
        framed.extend_from_slice(packet);
        stream.write_all(&framed).await?;
        let length = stream.read_u16().await?;
        let mut buffer = vec![0; usize::from(length)];
        stream.read_exact(&mut buffer).await?;
        accept(packet, &buffer).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Who may be asked, from the files as they are.
    fn servers(&self) -> Vec<SocketAddr> {
        let mut files = self.files.lock();
        let mut all = Vec::new();
        for (upstream, file) in self.rule.to.iter().zip(files.iter_mut()) {
            match upstream {
                Upstream::Address(address) => all.push(*address),
                Upstream::File(path) => {
                    let usual = path == Path::new("/etc/resolv.conf");
                    let path = if usual { &self.host_file } else { path };
                    all.extend(file.servers(path));
                }
            }
        }
        all
    }
}

impl File {
    fn servers(&mut self, path: &Path) -> Vec<SocketAddr> {
        let now = Instant::now();
        if self.looked.is_none_or(|looked| now - looked > FILE_HOLDS) {
            self.looked = Some(now);
            let changed = std::fs::metadata(path)
                .and_then(|data| data.modified())
                .ok();
            if changed.is_none() || changed != self.changed {
                self.changed = changed;
                match std::fs::read_to_string(path) {
                    Ok(text) => self.servers = resolv_conf::servers(&text),
                    Err(error) => {
                        tracing::warn!(path = %path.display(), err = %error, "resolver file not read");
                    }
                }
            }
        }
        self.servers.clone()
    }
}

/// The answer to `asked` in `packet`, if it is one.
pub(crate) fn accept(asked: &[u8], packet: &[u8]) -> Option<Reply> {
    let same_id = packet.get(..2)? == asked.get(..2)?;
    let flags = u16_at(packet, 2)?;
    if !same_id || flags & flag::RESPONSE == 0 || flags & flag::OPCODE != 0 {
        return None;
    }
    let (name, end) = Name::read(packet, HEADER)?;
    let (wanted, wanted_end) = Name::read(asked, HEADER)?;
    let same = name.wire() == wanted.wire()
        && packet.get(end..end + 4)? == asked.get(wanted_end..wanted_end + 4)?;
    let records = same.then(|| Records::read(packet)).flatten()?;
    Some(Reply {
        packet: packet.to_vec(),
        records,
    })
}

#[cfg(test)]
pub(crate) mod tests;
