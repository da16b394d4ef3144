//! Servers on the loopback that answer well, badly, late or not at all.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::net::TcpListener;

use super::*;
use crate::answer::tests::question;
use crate::corefile::Policy;

/// What a server does with a question over UDP; `None`: nothing.
type Behaviour = fn(Vec<u8>) -> Vec<Vec<u8>>;

/// The reply with one A record.
pub(crate) fn good(mut packet: Vec<u8>) -> Vec<Vec<u8>> {
    packet[2] |= 0x80;
    packet[3] |= 0x80;
    packet[7] = 1;
    let end = Records::read(&question_only(&packet)).unwrap().question_end;
    packet.truncate(end);
    packet[11] = 0;
    packet.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
    vec![packet]
}

fn question_only(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    packet[6..12].copy_from_slice(&[0; 6]);
    packet
}

/// Forgeries first: a wrong number, another question, half a record; then the truth.
fn forged_then_good(packet: Vec<u8>) -> Vec<Vec<u8>> {
    let truth = good(packet.clone()).remove(0);
    let mut wrong_id = truth.clone();
    wrong_id[0] ^= 1;
    let mut other = truth.clone();
    other[13] = b'z';
    let half = truth[..truth.len() - 2].to_vec();
    vec![vec![1], wrong_id, other, half, packet, truth]
}

fn truncated(mut packet: Vec<u8>) -> Vec<Vec<u8>> {
    packet[2] |= 0x82;
    vec![packet]
}

fn silent(_: Vec<u8>) -> Vec<Vec<u8>> {
    Vec::new()
}

/// Serves until the test ends; counts the questions.
pub(crate) async fn serve(behaviour: Behaviour) -> (SocketAddr, Arc<AtomicU32>) {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let udp = tokio::net::UdpSocket::bind(address).await.unwrap();
    let asked = Arc::new(AtomicU32::new(0));
    let (udp_asked, tcp_asked) = (asked.clone(), asked.clone());
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let mut buffer = [0; 2048];
        while let Ok((length, peer)) = udp.recv_from(&mut buffer).await {
            udp_asked.fetch_add(1, Ordering::SeqCst);
            for reply in behaviour(buffer[..length].to_vec()) {
                udp.send_to(&reply, peer).await.unwrap();
            }
        }
    });
    tasks.spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            tcp_asked.fetch_add(100, Ordering::SeqCst);
            let length = stream.read_u16().await.unwrap();
            let mut packet = vec![0; usize::from(length)];
            stream.read_exact(&mut packet).await.unwrap();
            let reply = good(packet).remove(0);
            let mut framed = u16::try_from(reply.len()).unwrap().to_be_bytes().to_vec();
            framed.extend_from_slice(&reply);
            stream.write_all(&framed).await.unwrap();
        }
    });
    tasks.detach_all();
    (address, asked)
}

fn forwarder(to: Vec<SocketAddr>) -> Forwarder {
    let rule = Forward {
        from: Box::new([0]),
        except: Vec::new(),
        to: to.into_iter().map(Upstream::Address).collect(),
        policy: Policy::Sequential,
        max_concurrent: 2,
        max_fails: 2,
        force_tcp: false,
    };
    Forwarder::new(
        rule,
        Path::new("/nowhere"),
        Arc::new(SystemSockets),
        Rng::new(7),
    )
}

fn ask_for(text: &str) -> Question {
    let packet = question(text);
    Question::of(&Query::parse(&packet).unwrap(), None)
}

#[tokio::test]
async fn forged_and_broken_replies_are_passed_over() {
    let (server, _) = serve(forged_then_good).await;
    let reply = forwarder(vec![server])
        .ask(&ask_for("a.test A"), false)
        .await
        .unwrap();
    assert_eq!(reply.records.answer[0].ttl, 60);
}

#[tokio::test]
async fn what_was_cut_is_asked_for_over_tcp() {
    let (server, asked) = serve(truncated).await;
    let reply = forwarder(vec![server])
        .ask(&ask_for("a.test A"), false)
        .await
        .unwrap();
    assert_eq!(reply.records.answer.len(), 1);
    assert_eq!(asked.load(Ordering::SeqCst), 101);
}

/// A closed port is known at once, a silent server after its time; the next one is asked, and
/// later questions go to it first.
#[tokio::test]
async fn the_next_server_is_asked() {
    let closed = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (mute, mute_asked) = serve(silent).await;
    let (works, _) = serve(good).await;
    let forwarder = forwarder(vec![closed, mute, works]);
    let began = Instant::now();
    forwarder.ask(&ask_for("a.test A"), false).await.unwrap();
    assert!(began.elapsed() >= ONE_WITHIN);
    forwarder.ask(&ask_for("b.test A"), false).await.unwrap();
    let began = Instant::now();
    forwarder.ask(&ask_for("c.test A"), false).await.unwrap();
    assert!(
        began.elapsed() < Duration::from_millis(1500),
        "both are left out for a while"
    );
    assert_eq!(mute_asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn nobody_to_ask_is_an_error_that_says_so() {
    let error = forwarder(Vec::new())
        .ask(&ask_for("a.test A"), false)
        .await
        .unwrap_err();
    expect_test::expect!["no server to ask is known: []"].assert_eq(&error.to_string());
}
