//! Packets in, packets out; sockets on the loopback.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use expect_test::expect;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::*;
use crate::answer::tests::{question, readable};
use crate::forward::tests as upstream;
use crate::zone::tests::apply;

const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn corefile(upstream: SocketAddr) -> Corefile {
    let text = format!(
        ". {{
            kubernetes cluster.local in-addr.arpa ip6.arpa {{
                pods insecure
                fallthrough in-addr.arpa ip6.arpa
                ttl 30
            }}
            forward . {upstream} {{
                max_concurrent 3
            }}
            cache 30
        }}
        closed.test {{
            errors
        }}"
    );
    Corefile::parse(&text).unwrap()
}

fn server(upstream: SocketAddr) -> Arc<Server> {
    let server = Server::open(corefile(upstream), "/nowhere".into());
    {
        let mut zone = server.zone();
        for line in [
            "ns a",
            "svc a/web 10.96.0.7 http/TCP/80",
            "external a/out www.example.org",
        ] {
            apply(&mut zone, line);
        }
        zone.mark_synced();
    }
    Arc::new(server)
}

fn nobody() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}

async fn resolve(server: &Server, packet: &[u8], tcp: bool) -> Option<Vec<u8>> {
    let mut buffer = Vec::new();
    match server.handle(packet, PEER, tcp, &mut buffer) {
        Verdict::Reply => {}
        Verdict::Silent => return None,
        Verdict::Later(pending) => server.finish(pending, &mut buffer).await,
    }
    Some(buffer)
}

#[tokio::test]
async fn names_outside_are_asked_once_and_kept() {
    let (address, asked) = upstream::serve(upstream::good).await;
    let server = server(address);
    let mut lines = Vec::new();
    for text in [
        "www.example.org A",
        "WWW.Example.ORG A",
        "www.example.org A +edns=1232",
        "out.a.svc.cluster.local A",
        "9.9.9.9.in-addr.arpa A",
        "x.closed.test A",
        "www.example.org AXFR",
    ] {
        let reply = resolve(&server, &question(text), false).await.unwrap();
        lines.push(format!(
            "{} [{} asked]",
            readable(&reply),
            asked.load(Ordering::SeqCst)
        ));
    }
    expect![[r#"
        NoError rd ra www.example.org. A
        www.example.org. 30 A 192.0.2.1 [1 asked]
        NoError rd ra WWW.Example.ORG. A
        WWW.Example.ORG. 30 A 192.0.2.1 [1 asked]
        NoError rd ra www.example.org. A
        www.example.org. 30 A 192.0.2.1 [2 asked]
        NoError aa rd out.a.svc.cluster.local. A
        out.a.svc.cluster.local. 30 CNAME www.example.org.
        www.example.org. 30 A 192.0.2.1 [2 asked]
        NoError rd ra 9.9.9.9.in-addr.arpa. A
        9.9.9.9.in-addr.arpa. 30 A 192.0.2.1 [3 asked]
        Refused rd x.closed.test. A [3 asked]
        Refused rd www.example.org. AXFR [3 asked]"#]]
    .assert_eq(&lines.join("\n"));
}

#[tokio::test]
async fn a_resolver_that_does_not_answer_is_servfail() {
    let server = server(nobody());
    let reply = resolve(&server, &question("www.example.org A"), false)
        .await
        .unwrap();
    expect!["ServFail rd www.example.org. A"].assert_eq(&readable(&reply));
    let reply = resolve(&server, &question("out.a.svc.cluster.local A"), false)
        .await
        .unwrap();
    expect!["ServFail aa rd out.a.svc.cluster.local. A"].assert_eq(&readable(&reply));
}

/// As many questions under way as the Corefile says; the next ones are refused at once.
#[tokio::test]
async fn a_flood_of_names_outside_is_bounded() {
    let (address, _) = upstream::serve(|_| Vec::new()).await;
    let server = server(address);
    let mut under_way = Vec::new();
    let mut refused = 0;
    for index in 0..1000 {
        let mut buffer = Vec::new();
        match server.handle(
            &question(&format!("x{index}.test A")),
            PEER,
            false,
            &mut buffer,
        ) {
            Verdict::Later(pending) => under_way.push(pending),
            Verdict::Reply if readable(&buffer).starts_with("Refused") => refused += 1,
            _ => panic!("{buffer:?}"),
        }
    }
    assert_eq!((under_way.len(), refused), (3, 997));
    drop(under_way);
    let mut buffer = Vec::new();
    assert!(matches!(
        server.handle(&question("y.test A"), PEER, false, &mut buffer),
        Verdict::Later(_)
    ));
}

#[tokio::test]
async fn strangers_hear_nothing() {
    let setup = Setup {
        own: Vec::new(),
        sources: vec!["10.244.0.0/16".parse().unwrap()],
        resolv_conf: "/nowhere".into(),
        sockets: Arc::new(crate::forward::SystemSockets),
        rng: Rng::new(1),
    };
    let server = Server::with(setup, corefile(nobody()));
    apply(
        &mut server.zone(),
        "svc kube-system/kube-dns 10.96.0.10 dns/UDP/53",
    );
    apply(
        &mut server.zone(),
        "slice kube-system/kube-dns/s dns/UDP/53 : 172.31.0.10",
    );
    let mut lines = Vec::new();
    for peer in [
        "10.244.7.8",
        "8.8.8.8",
        "172.31.0.10",
        "172.31.0.11",
        "127.0.0.1",
        "::ffff:10.244.0.1",
    ] {
        let mut buffer = Vec::new();
        let verdict = server.handle(
            &question("dns-version.cluster.local TXT"),
            peer.parse().unwrap(),
            false,
            &mut buffer,
        );
        let heard = matches!(verdict, Verdict::Reply);
        lines.push(format!("{peer} {heard}"));
    }
    expect!["10.244.7.8 true, 8.8.8.8 false, 172.31.0.10 true, 172.31.0.11 false, 127.0.0.1 true, ::ffff:10.244.0.1 true"]
        .assert_eq(&lines.join(", "));
}

#[tokio::test]
async fn what_is_no_question_is_said_or_passed_over() {
    let server = server(nobody());
    let mut update = question("a.test A");
    update[2] |= 0x28;
    let mut reply = question("a.test A");
    reply[2] |= 0x80;
    let mut future = question("web.a.svc.cluster.local A +edns=1232");
    let version_at = future.len() - 5;
    future[version_at] = 1;
    let mut lines = Vec::new();
    for packet in [vec![], vec![0; 12], update, reply, future] {
        lines.push(match resolve(&server, &packet, false).await {
            Some(reply) => readable(&reply),
            None => "silent".to_owned(),
        });
    }
    expect![[r#"
        silent
        FormErr
        NotImp rd
        silent
        BADSIG rd edns web.a.svc.cluster.local. A"#]]
    .assert_eq(&lines.join("\n"));
}

/// A question that comes back marks the forwarding as a circle.
#[tokio::test]
async fn circles_are_found() {
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = udp.local_addr().unwrap();
    let tcp = TcpListener::bind(address).await.unwrap();
    let server = Server::open(Corefile::default(), "/nowhere".into());
    let text = format!(". {{\n forward . {address}\n loop\n}}");
    let questions = server.configure(Corefile::parse(&text).unwrap());
    let server = Arc::new(server);
    let shutdown = base::Shutdown::new();
    let (own, ending) = (server.clone(), shutdown.clone());
    base::tasks::spawn("test", &shutdown, async move {
        super::listen::serve(&own, udp, tcp, &ending).await;
    });
    for (forwarder, question) in questions {
        let _ = forwarder.ask(&question, false).await;
        let error = forwarder.ask(&question, false).await.unwrap_err();
        expect!["forwarding comes back to this server"].assert_eq(&error.to_string());
    }
    let reply = resolve(&server, &question("www.example.org A"), false)
        .await
        .unwrap();
    expect!["ServFail rd www.example.org. A"].assert_eq(&readable(&reply));
    shutdown.trigger();
}

/// One client cannot hold all connections.
#[tokio::test]
async fn connections_of_a_client_are_bounded() {
    let server = server(nobody());
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = tcp.local_addr().unwrap();
    let udp = UdpSocket::bind(own).await.unwrap();
    let shutdown = base::Shutdown::new();
    let ending = shutdown.clone();
    base::tasks::spawn("test", &shutdown, async move {
        super::listen::serve(&server, udp, tcp, &ending).await;
    });
    let packet = question("web.a.svc.cluster.local A");
    let mut framed = u16::try_from(packet.len()).unwrap().to_be_bytes().to_vec();
    framed.extend_from_slice(&packet);
    let (mut served, mut held) = (0, Vec::new());
    for _ in 0..40 {
        let mut stream = TcpStream::connect(own).await.unwrap();
        let _ = stream.write_all(&framed).await;
        served += u32::from(stream.read_u16().await.is_ok());
        held.push(stream);
    }
    assert_eq!(served, 32);
    shutdown.trigger();
}

/// Both kinds of sockets, while broken packets arrive.
#[tokio::test]
async fn datagrams_and_connections() {
    let (address, _) = upstream::serve(upstream::good).await;
    let server = server(address);
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = tcp.local_addr().unwrap();
    let udp = UdpSocket::bind(own).await.unwrap();
    let shutdown = base::Shutdown::new();
    let ending = shutdown.clone();
    base::tasks::spawn("test", &shutdown, async move {
        super::listen::serve(&server, udp, tcp, &ending).await;
    });

    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect(own).await.unwrap();
    let mut rng = Rng::new(3);
    for length in 0..300 {
        let mut noise = vec![0; length];
        rng.bytes(&mut noise);
        client.send(&noise).await.unwrap();
    }
    let mut buffer = [0; 2048];
    for text in ["web.a.svc.cluster.local A", "www.example.org A"] {
        client.send(&question(text)).await.unwrap();
        let reply = loop {
            let length = tokio::time::timeout(Duration::from_secs(5), client.recv(&mut buffer));
            let length = length.await.unwrap().unwrap();
            if buffer[..2] == [0x12, 0x34] && length > 12 {
                break readable(&buffer[..length]);
            }
        };
        assert!(reply.starts_with("NoError"), "{reply}");
    }

    // Two questions at once on one connection, then a broken one, which ends it.
    let mut stream = TcpStream::connect(own).await.unwrap();
    let mut sent = Vec::new();
    for text in ["web.a.svc.cluster.local A", "www.example.org A"] {
        let packet = question(text);
        sent.extend_from_slice(&u16::try_from(packet.len()).unwrap().to_be_bytes());
        sent.extend_from_slice(&packet);
    }
    sent.extend_from_slice(&[0, 3, 1, 2, 3]);
    stream.write_all(&sent).await.unwrap();
    let mut lines = Vec::new();
    while let Ok(length) = stream.read_u16().await {
        let mut reply = vec![0; usize::from(length)];
        stream.read_exact(&mut reply).await.unwrap();
        lines.push(readable(&reply));
    }
    expect![[r#"
        NoError aa rd web.a.svc.cluster.local. A
        web.a.svc.cluster.local. 30 A 10.96.0.7
        NoError rd ra www.example.org. A
        www.example.org. 30 A 192.0.2.1"#]]
    .assert_eq(&lines.join("\n"));
    shutdown.trigger();
}
