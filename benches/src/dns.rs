//! DNS: replies a second from the core alone, and over UDP from a node of the cluster.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use client::{Change, Object};
use tokio::time::Instant;

use crate::cluster::Fixture;
use crate::report::Figure;

/// Services of the zone for the core's figure.
const SERVICES: u32 = 10_000;
/// Questions of the core's figure.
const ROUNDS: u32 = 1_000_000;
/// Questions of one client under way.
const WINDOW: usize = 64;
/// Clients on sockets of their own.
const CLIENTS: usize = 2;
/// How long they ask.
const ASK_FOR: Duration = Duration::from_secs(3);

/// `NAME A`, under `id`.
fn question(name: &str, id: u16) -> Vec<u8> {
    let mut packet = id.to_be_bytes().to_vec();
    packet.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        packet.push(u8::try_from(label.len()).unwrap_or(0));
        packet.extend_from_slice(label.as_bytes());
    }
    packet.extend_from_slice(&[0, 0, 1, 0, 1]);
    packet
}

/// One thread, no sockets: a question read, its name found among 10,000 Services, a reply written.
pub(crate) fn core() -> Result<Figure> {
    let corefile = ::dns::Corefile::parse(&::dns::default_corefile("cluster.local"))?;
    let server = ::dns::Server::open(corefile, "/nowhere".into());
    let added = |json: String| -> Result<Change> {
        let object = Object::new(json.into_bytes().into()).context("read an object")?;
        Ok(Change {
            old: None,
            new: Some(Arc::new(object)),
        })
    };
    {
        let mut zone = server.zone();
        zone.on_namespace(&added(r#"{"metadata":{"name":"bench"}}"#.to_owned())?);
        for n in 0..SERVICES {
            let (a, b) = (n / 250, n % 250);
            zone.on_service(&added(format!(
                r#"{{"metadata":{{"namespace":"bench","name":"service-{n}"}},"spec":{{"clusterIP":"10.96.{a}.{b}","clusterIPs":["10.96.{a}.{b}"],"ports":[{{"name":"http","protocol":"TCP","port":80}}]}}}}"#
            ))?);
        }
        zone.mark_synced();
    }
    let questions: Vec<Vec<u8>> = (0..SERVICES)
        .map(|n| question(&format!("service-{n}.bench.svc.cluster.local"), 7))
        .collect();
    let peer = std::net::Ipv4Addr::LOCALHOST.into();
    let mut buffer = Vec::new();
    let start = Instant::now();
    for (_, packet) in (0..ROUNDS).zip(questions.iter().cycle()) {
        server.handle(packet, peer, false, &mut buffer);
        // An answer has at least its record.
        if buffer.len() < packet.len() + 16 {
            bail!("a Service of the zone is not resolved");
        }
    }
    let rate = f64::from(ROUNDS) / start.elapsed().as_secs_f64();
    Ok(Figure::new(
        "DNS replies, core alone, 10,000 Services",
        "/s",
        rate,
    ))
}

/// Clients on the host ask the node for `kubernetes.default`: two sockets, 64 questions under way
/// on each. They share the machine's cores with the node.
pub(crate) async fn over_udp(fixture: &Fixture) -> Result<Figure> {
    let cluster = fixture.cluster()?;
    let node = cluster.nodes.first().context("the cluster has no node")?;
    let server = SocketAddr::from((node.address, 53));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn_blocking(move || ask(server));
    }
    let mut replies = 0.0;
    while let Some(asked) = clients.join_next().await {
        replies += asked.context("a client panicked")??;
    }
    let rate = replies / ASK_FOR.as_secs_f64();
    Ok(Figure::new(
        "DNS replies over UDP, 2 clients × 64",
        "/s",
        rate,
    ))
}

fn ask(server: SocketAddr) -> Result<f64> {
    let socket = UdpSocket::bind("0.0.0.0:0").context("make a socket")?;
    socket
        .connect(server)
        .with_context(|| format!("reach {server}"))?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    let packet = question("kubernetes.default.svc.cluster.local", 7);
    let mut buffer = [0; 512];
    let (mut replies, mut under_way) = (0_u32, 0_usize);
    let start = Instant::now();
    while start.elapsed() < ASK_FOR {
        while under_way < WINDOW {
            socket
                .send(&packet)
                .with_context(|| format!("ask {server}"))?;
            under_way += 1;
        }
        match socket.recv(&mut buffer) {
            Ok(_) => {
                replies += 1;
                under_way -= 1;
            }
            // Lost ones are asked again.
            Err(_) => under_way = 0,
        }
    }
    if replies == 0 {
        bail!("{server} does not answer");
    }
    Ok(f64::from(replies))
}
