//! Clients that mean harm, before anybody knows who they are: each is refused early, and what a
//! connection accepts from it stays bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::{Limits, Wire, serve_stream};
use crate::{Body, Request, Response, service_fn};

/// What the pipe between the two holds; it counts as accepted.
const PIPE: usize = 64 * 1024;

#[derive(Default)]
struct Counts {
    calls: AtomicUsize,
    running: AtomicUsize,
    most: AtomicUsize,
}

struct Running(Arc<Counts>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A server whose requests take a second each and never read their body.
fn connect(wire: Wire) -> (DuplexStream, Arc<Counts>) {
    let counts = Arc::new(Counts::default());
    let shared = counts.clone();
    let service = service_fn(move |_request: Request| {
        let counts = shared.clone();
        async move {
            counts.calls.fetch_add(1, Ordering::Relaxed);
            let running = counts.running.fetch_add(1, Ordering::Relaxed) + 1;
            counts.most.fetch_max(running, Ordering::Relaxed);
            let _running = Running(counts);
            tokio::time::sleep(Duration::from_secs(1)).await;
            Response::new(Body::empty())
        }
    });
    let (ours, theirs) = tokio::io::duplex(PIPE);
    base::tasks::spawn("server", &base::Shutdown::new(), async move {
        serve_stream(theirs, wire, &Limits::default(), service).await;
    });
    (ours, counts)
}

/// Sends pieces until the server takes no more for ten seconds or `most` bytes; what it took, and
/// what it said.
async fn flood(
    io: DuplexStream,
    mut piece: impl FnMut(usize) -> Vec<u8>,
    most: usize,
) -> (usize, Vec<u8>) {
    let (mut reader, mut writer) = tokio::io::split(io);
    let sending = async {
        let mut sent = 0;
        for turn in 0.. {
            let bytes = piece(turn);
            let written = tokio::time::timeout(Duration::from_secs(10), writer.write_all(&bytes));
            if !matches!(written.await, Ok(Ok(()))) || sent >= most {
                break;
            }
            sent += bytes.len();
        }
        let _ = writer.shutdown().await;
        sent
    };
    let reading = async {
        let mut said = Vec::new();
        let mut buffer = [0; 16 * 1024];
        while let Ok(Ok(count @ 1..)) =
            tokio::time::timeout(Duration::from_secs(30), reader.read(&mut buffer)).await
        {
            said.extend_from_slice(&buffer[..count]);
        }
        said
    };
    tokio::join!(sending, reading)
}

fn first_line(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said).into_owned();
    text.lines().next().unwrap_or_default().to_owned()
}

/// Kind, flags, stream and payload of each frame.
fn frames(mut said: &[u8]) -> Vec<(u8, u32, Vec<u8>)> {
    let mut all = Vec::new();
    while said.len() >= 9 {
        let length = u32::from_be_bytes([0, said[0], said[1], said[2]]) as usize;
        let stream = u32::from_be_bytes([said[5], said[6], said[7], said[8]]);
        let Some(payload) = said.get(9..9 + length) else {
            break;
        };
        all.push((said[3], stream, payload.to_vec()));
        said = &said[9 + length..];
    }
    all
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

const HEADERS: u8 = 1;
const RESET: u8 = 3;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// GET, https, `/`, authority `a`.
const GET: &[u8] = &[0x82, 0x87, 0x84, 0x41, 1, b'a'];
/// The same with POST.
const POST: &[u8] = &[0x83, 0x87, 0x84, 0x41, 1, b'a'];

fn preface() -> Vec<u8> {
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, 0, b""),
    ]
    .concat()
}

fn stream(turn: usize) -> u32 {
    u32::try_from(turn).unwrap() * 2 + 1
}

/// The reason of the first GOAWAY.
fn goodbye(said: &[u8]) -> Option<u32> {
    let goaway = frames(said).into_iter().find(|frame| frame.0 == GOAWAY)?;
    Some(u32::from_be_bytes(goaway.2[4..8].try_into().unwrap()))
}

#[tokio::test(start_paused = true)]
async fn long_headers_are_refused() {
    let (io, counts) = connect(Wire::Http1);
    let head = |turn| match turn {
        0 => b"GET / HTTP/1.1\r\nHost: a\r\nX: ".to_vec(),
        _ => vec![b'x'; 8192],
    };
    let (sent, said) = flood(io, head, 64 << 20).await;
    assert_eq!(
        first_line(&said),
        "HTTP/1.1 431 Request Header Fields Too Large"
    );
    assert!(sent < 512 << 10, "{sent} bytes were taken");
    assert_eq!(counts.calls.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn many_headers_are_refused() {
    let (io, counts) = connect(Wire::Http1);
    let head = |turn| match turn {
        0 => b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec(),
        turn => format!("X{turn}: a\r\n").into_bytes(),
    };
    let (sent, said) = flood(io, head, 64 << 20).await;
    assert_eq!(
        first_line(&said),
        "HTTP/1.1 431 Request Header Fields Too Large"
    );
    assert!(sent < 512 << 10, "{sent} bytes were taken");
    assert_eq!(counts.calls.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn long_targets_are_refused() {
    let (io, counts) = connect(Wire::Http1);
    let head = |turn| match turn {
        0 => format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(70_000)).into_bytes(),
        _ => vec![b'x'; 8192],
    };
    let (_, said) = flood(io, head, 1 << 20).await;
    assert_eq!(first_line(&said), "HTTP/1.1 414 URI Too Long");
    assert_eq!(counts.calls.load(Ordering::Relaxed), 0);
}

/// A client that never finishes its header is not waited for.
#[tokio::test(start_paused = true)]
async fn slow_headers_end_the_connection() {
    let (mut io, counts) = connect(Wire::Http1);
    let started = tokio::time::Instant::now();
    let drip = async {
        io.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        let mut turns = 0;
        while io.write_all(b"X: y\r\n").await.is_ok() && turns < 95 {
            tokio::time::sleep(Duration::from_secs(5)).await;
            turns += 1;
        }
    };
    drip.await;
    let waited = started.elapsed();
    assert!(waited <= Duration::from_secs(100), "{waited:?}");
    assert_eq!(counts.calls.load(Ordering::Relaxed), 0);
}

/// A body that nobody reads stays with the client.
#[tokio::test(start_paused = true)]
async fn unread_bodies_are_not_taken() {
    let (io, _) = connect(Wire::Http1);
    let body = |turn| match turn {
        0 => b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n".to_vec(),
        _ => vec![b'x'; 16 * 1024],
    };
    let (sent, said) = flood(io, body, 1 << 30).await;
    assert_eq!(first_line(&said), "HTTP/1.1 200 OK");
    assert!(sent < 1 << 20, "{sent} bytes were taken");

    let (io, _) = connect(Wire::Http2);
    let body = |turn| match turn {
        0 => [preface(), frame(HEADERS, END_HEADERS, 1, POST)].concat(),
        _ => frame(0, 0, 1, &[b'x'; 16 * 1024]),
    };
    let (_, said) = flood(io, body, 8 << 20).await;
    // FLOW_CONTROL_ERROR, for the whole connection or the stream, whose data is then dropped.
    let stream_reset = frames(&said).iter().any(|frame| frame.0 == RESET);
    assert!(goodbye(&said) == Some(3) || stream_reset, "{said:02x?}");
}

/// Streams above the limit are refused, whatever the client thinks of it.
#[tokio::test(start_paused = true)]
async fn streams_are_bounded() {
    let (io, counts) = connect(Wire::Http2);
    let open = |turn| {
        let head = frame(HEADERS, END_HEADERS | END_STREAM, stream(turn), GET);
        if turn == 0 {
            [preface(), head].concat()
        } else {
            head
        }
    };
    let (_, said) = flood(io, open, 15 * 5000).await;
    let most = counts.most.load(Ordering::Relaxed);
    assert!(most <= 250, "{most} requests at once");
    let refused = frames(&said)
        .iter()
        .filter(|frame| frame.0 == RESET)
        .count();
    assert!(
        refused > 0 || goodbye(&said).is_some(),
        "nobody was refused"
    );
}

/// CVE-2023-44487: streams that are reset at once cost no more than their frames.
#[tokio::test(start_paused = true)]
async fn rapid_resets_are_bounded() {
    let (io, counts) = connect(Wire::Http2);
    let open = |turn| {
        let id = stream(turn);
        let mut bytes = frame(HEADERS, END_HEADERS | END_STREAM, id, GET);
        bytes.extend(frame(RESET, 0, id, &8u32.to_be_bytes()));
        if turn == 0 {
            [preface(), bytes].concat()
        } else {
            bytes
        }
    };
    let (_, said) = flood(io, open, 28 * 50_000).await;
    let most = counts.most.load(Ordering::Relaxed);
    assert!(most <= 250, "{most} requests at once");
    // ENHANCE_YOUR_CALM.
    assert_eq!(goodbye(&said), Some(11));
}

/// CVE-2024-27316: a header that goes on for ever ends the connection.
#[tokio::test(start_paused = true)]
async fn endless_continuations_are_refused() {
    let (io, counts) = connect(Wire::Http2);
    let field = [&[0x40, 1, b'a', 0x7f, 0xc1, 0x3d][..], &[b'x'; 8000]].concat();
    let open = |turn| match turn {
        0 => [preface(), frame(HEADERS, END_STREAM, 1, GET)].concat(),
        _ => frame(CONTINUATION, 0, 1, &field),
    };
    let (sent, said) = flood(io, open, 64 << 20).await;
    assert!(goodbye(&said).is_some(), "{said:02x?}");
    assert!(sent < 1 << 20, "{sent} bytes were taken");
    assert_eq!(counts.calls.load(Ordering::Relaxed), 0);
}

/// Answers to pings and settings wait for a client that reads; the client waits too.
#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_not_read() {
    for piece in [frame(6, 0, 0, &[0; 8]), frame(4, 0, 0, b"")] {
        let (mut io, _) = connect(Wire::Http2);
        io.write_all(&preface()).await.unwrap();
        let mut sent = 0;
        let many = piece.repeat(1000);
        while sent < 64 << 20 {
            let written = tokio::time::timeout(Duration::from_secs(10), io.write_all(&many));
            if !matches!(written.await, Ok(Ok(()))) {
                break;
            }
            sent += many.len();
        }
        assert!(sent < 4 << 20, "{sent} bytes were taken");
    }
}
