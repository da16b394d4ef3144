//! Sockets of clients: datagrams and connections, all bounded.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base::{Backoff, Shutdown, tasks};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Pending, Server, Verdict};

/// Tasks that read datagrams of one socket.
const READERS: usize = 2;
/// Questions that wait for the task that asks others; more are dropped.
const WAITING_LIMIT: usize = 1024;
/// Connections at a time.
const CONNECTION_LIMIT: usize = 256;
/// Connections of one client.
const CLIENT_LIMIT: usize = 32;
/// Failures to read in a row after which the socket is opened anew.
const FAILURES_LIMIT: u32 = 100;
/// A client that says nothing for so long is left.
const IDLE: Duration = Duration::from_secs(10);
/// Largest datagram that is read: a question with options.
const DATAGRAM: usize = 4096;
/// How long no connection is accepted after one could not be: descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Questions on one connection.
const QUESTIONS_LIMIT: usize = 10_000;

/// Listens on `address` until shutdown; an address that is taken is tried again.
pub(crate) fn listen(server: &Arc<Server>, address: SocketAddr, shutdown: &Shutdown) {
    let (own, ending) = (server.clone(), shutdown.clone());
    tasks::supervise("dns-listen", shutdown, move || {
        let (server, ending) = (own.clone(), ending.clone());
        Box::pin(async move {
            let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
            loop {
                match bind(address).await {
                    Ok((udp, tcp)) => {
                        tracing::info!(%address, "DNS is served");
                        serve(&server, udp, tcp, &ending).await;
                    }
                    Err(error) => {
                        tracing::error!(
                            %address, err = %error,
                            "DNS is not served: is another name server running there?"
                        );
                    }
                }
                tokio::time::sleep(backoff.next_delay()).await;
            }
        })
    });
}

async fn bind(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let tcp = TcpListener::bind(address).await?;
    let udp = UdpSocket::bind(tcp.local_addr()?).await?;
    Ok((udp, tcp))
}

/// Serves until one of the tasks ends.
pub(super) async fn serve(
    server: &Arc<Server>,
    udp: UdpSocket,
    tcp: TcpListener,
    shutdown: &Shutdown,
) {
    let udp = Arc::new(udp);
    let (sender, receiver) = mpsc::channel(WAITING_LIMIT);
    let mut all = JoinSet::new();
    for _ in 0..READERS {
        all.spawn(read(server.clone(), udp.clone(), sender.clone()));
    }
    all.spawn(ask(server.clone(), udp, receiver));
    all.spawn(accept(server.clone(), tcp));
    tokio::select! {
        () = shutdown.wait() => {}
        ended = all.join_next() => {
            if let Some(Err(error)) = ended {
                tracing::error!(err = %error, "a task of the DNS server ended");
            }
        }
    }
}

type Waiting = (Pending, SocketAddr);

async fn read(server: Arc<Server>, socket: Arc<UdpSocket>, later: mpsc::Sender<Waiting>) {
    let mut packet = vec![0; DATAGRAM];
    let mut buffer = Vec::with_capacity(DATAGRAM);
    let mut failures = 0;
    while failures < FAILURES_LIMIT {
        let (length, peer) = match socket.recv_from(&mut packet).await {
            Ok(received) => received,
            // An ICMP error of an earlier reply.
            Err(error) => {
                tracing::trace!(err = %error, "datagram not read");
                failures += 1;
                continue;
            }
        };
        failures = 0;
        match server.handle(&packet[..length], peer.ip(), false, &mut buffer) {
            Verdict::Reply => {
                // A full send buffer drops the reply: the client asks again.
                let _ = socket.try_send_to(&buffer, peer);
            }
            Verdict::Silent => {}
            Verdict::Later(pending) => {
                let _ = later.try_send((pending, peer));
            }
        }
    }
}

/// Asks others; the permits in the questions bound how many are under way.
async fn ask(server: Arc<Server>, socket: Arc<UdpSocket>, mut waiting: mpsc::Receiver<Waiting>) {
    let mut under_way = JoinSet::new();
    loop {
        tokio::select! {
            next = waiting.recv() => {
                let Some((pending, peer)) = next else { return };
                let (server, socket) = (server.clone(), socket.clone());
                under_way.spawn(async move {
                    let mut buffer = Vec::new();
                    server.finish(pending, &mut buffer).await;
                    let _ = socket.try_send_to(&buffer, peer);
                });
            }
            Some(ended) = under_way.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(err = %error, "a question was not asked");
                }
            }
        }
    }
}

async fn accept(server: Arc<Server>, listener: TcpListener) {
    let gate = Arc::new(Semaphore::new(CONNECTION_LIMIT));
    let clients: Arc<Mutex<HashMap<IpAddr, usize>>> = Arc::default();
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, peer) = match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        // Out of descriptors: others must end first.
                        tracing::warn!(err = %error, "connection not accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                };
                let Ok(permit) = gate.clone().try_acquire_owned() else { continue };
                let Some(place) = Place::take(&clients, peer.ip()) else { continue };
                let server = server.clone();
                open.spawn(async move {
                    let _held = (permit, place);
                    if let Err(error) = converse(&server, stream, peer).await {
                        tracing::trace!(err = %error, "connection ended");
                    }
                });
            }
            Some(_) = open.join_next() => {}
        }
    }
}

/// A connection's place among those of its client.
struct Place {
    clients: Arc<Mutex<HashMap<IpAddr, usize>>>,
    client: IpAddr,
}

impl Place {
    fn take(clients: &Arc<Mutex<HashMap<IpAddr, usize>>>, client: IpAddr) -> Option<Self> {
        let mut counts = clients.lock();
        let count = counts.entry(client).or_default();
        if *count >= CLIENT_LIMIT {
            return None;
        }
        *count += 1;
        Some(Self {
            clients: clients.clone(),
            client,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.clients.lock();
        if let Some(count) = counts.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.client);
            }
        }
    }
}

/// Answers the questions of one connection in their order.
async fn converse(server: &Server, mut stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
    let mut packet = Vec::new();
    let mut buffer = Vec::new();
    for _ in 0..QUESTIONS_LIMIT {
        let Ok(length) = timeout(IDLE, stream.read_u16()).await else {
            return Ok(());
        };
        packet.resize(usize::from(length?), 0);
        timeout(IDLE, stream.read_exact(&mut packet)).await??;
        match server.handle(&packet, peer.ip(), true, &mut buffer) {
            Verdict::Reply => {}
            Verdict::Silent => return Ok(()),
            Verdict::Later(pending) => server.finish(pending, &mut buffer).await,
        }
        let length = u16::try_from(buffer.len()).map_err(|_| io::ErrorKind::InvalidData)?;
        let mut framed = length.to_be_bytes().to_vec();
        framed.extend_from_slice(&buffer);
        timeout(IDLE, stream.write_all(&framed)).await??;
    }
    Ok(())
}
