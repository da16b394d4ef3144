//! Bytes of a peer on a connection: HTTP/1.1, HTTP/2, WebSocket, SPDY.
//!
//! Each input gets a runtime of its own with virtual time, so that nothing of it outlives it and
//! time-outs cost none. Law: every connection ends once the peer has closed its side.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use transport::server::{Limits, Wire};
use transport::streams::{Outcome, Streams};
use transport::upgrade::{self, Upgraded};
use transport::{Body, InProcess, Request, Response, Service, Transport, service_fn};

use crate::{Heap, Target};

/// What is here.
pub const TARGETS: &[Target] = &[
    Target::new("http1", http1, 4096, Heap::CONNECTION),
    Target::new("http2", http2, 4096, Heap::CONNECTION),
    Target::new("websocket", websocket, 4096, Heap::CONNECTION),
    Target::new("websocket-client", websocket_client, 4096, Heap::CONNECTION),
    Target::new("spdy-exec", spdy_exec, 4096, Heap::CONNECTION),
    Target::new("spdy-forward", spdy_forward, 4096, Heap::CONNECTION),
];

/// By then, in virtual time, a connection has ended.
const END: Duration = Duration::from_secs(600);

fn run<F: Future<Output = ()>>(work: F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        tokio::time::timeout(END, work)
            .await
            .expect("the connection ends");
    });
}

/// Answers with what was sent, at most 64 KiB of it.
fn echo() -> Arc<dyn Service> {
    static SERVICE: OnceLock<Arc<dyn Service>> = OnceLock::new();
    SERVICE
        .get_or_init(|| {
            service_fn(|request: Request| async move {
                match request.into_body().collect(64 << 10).await {
                    Ok(body) => Response::new(Body::from(body)),
                    Err(_) => {
                        let mut response = Response::new(Body::empty());
                        *response.status_mut() = http::StatusCode::PAYLOAD_TOO_LARGE;
                        response
                    }
                }
            })
        })
        .clone()
}

/// Sends `data` and closes; reads until the other side has ended.
async fn send_and_drain(io: DuplexStream, data: &[u8]) {
    let (mut reader, mut writer) = tokio::io::split(io);
    let sending = async {
        let _ = writer.write_all(data).await;
        let _ = writer.shutdown().await;
    };
    let reading = async {
        let mut buffer = [0; 4096];
        while let Ok(1..) = reader.read(&mut buffer).await {}
    };
    tokio::join!(sending, reading);
}

fn http(data: &[u8], wire: Wire) {
    run(async {
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let limits = Limits::default();
        let serving = transport::server::serve_stream(theirs, wire, &limits, echo());
        tokio::join!(serving, send_and_drain(ours, data));
    });
}

pub(crate) fn http1(data: &[u8]) {
    http(data, Wire::Http1);
}

/// The preface and our settings go first: no fuzzer needs to find them.
pub(crate) fn http2(data: &[u8]) {
    const HEAD: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    http(&[HEAD, data].concat(), Wire::Http2);
}

/// Reads its input to the end, writes a little, ends.
fn remote() -> Arc<dyn Service> {
    static SERVICE: OnceLock<Arc<dyn Service>> = OnceLock::new();
    SERVICE
        .get_or_init(|| {
            service_fn(|request: Request| async move {
                let path = request.uri().path().to_owned();
                if path == "/forward" {
                    return transport::streams::serve_port_forward(
                        request,
                        |port, io| async move {
                            let (mut from, mut to) = tokio::io::split(io);
                            let _ = tokio::io::copy(&mut from, &mut to).await;
                            let _ = to.shutdown().await;
                            if port == 1 {
                                return Err("nobody listens".to_owned());
                            }
                            Ok(())
                        },
                    );
                }
                let streams = Streams::from_query(request.uri().query().unwrap_or_default());
                transport::streams::serve_session(request, streams, |mut io| async move {
                    if let Some(mut stdin) = io.stdin.take() {
                        while let Some(data) = stdin.recv().await {
                            if let Some(stdout) = &io.stdout {
                                stdout.send(data).await;
                            }
                        }
                    }
                    let size = io.resize.try_recv();
                    if let (Some(stderr), Ok(size)) = (&io.stderr, size) {
                        stderr.send(Bytes::from(size.to_json())).await;
                    }
                    Outcome::Exited(3)
                })
            })
        })
        .clone()
}

/// Opens an upgraded connection, sends `data`, closes, reads to the end.
fn upgraded(path: &str, headers: &[(&str, &str)], data: &[u8]) {
    run(async {
        let mut request = http::Request::get(path).header("connection", "Upgrade");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).expect("a request");
        let server = InProcess::new(remote(), http::Extensions::new());
        let mut response = server.call(request).await.expect("an answer");
        assert_eq!(response.status(), 101);
        let io = upgrade::of_response(&mut response).expect("upgraded");
        let io = match io.await.expect("upgraded") {
            Upgraded::Pipe(io) => io,
            Upgraded::Wire(_) => unreachable!("there is no wire"),
        };
        send_and_drain(io, data).await;
    });
}

/// The first byte chooses what is asked for.
pub(crate) fn websocket(data: &[u8]) {
    let (first, rest) = data.split_first().unwrap_or((&0, &[]));
    let (path, protocol) = match first % 8 {
        0 => ("/exec?stdin=1&stdout=1&stderr=1", "v5.channel.k8s.io"),
        1 => ("/exec?stdin=1&stdout=1&tty=1", "v4.channel.k8s.io"),
        2 => ("/exec?stdout=1", "channel.k8s.io"),
        3 => ("/forward?ports=1,80,443", "v4.channel.k8s.io"),
        _ => ("/forward", "SPDY/3.1+portforward.k8s.io"),
    };
    let headers = [
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-protocol", protocol),
    ];
    upgraded(path, &headers, rest);
}

/// A kubelet that answers anything at all, read by our client; each part is a message.
pub(crate) fn websocket_client(data: &[u8]) {
    let parts = crate::parts(data).into_iter().map(Bytes::copy_from_slice);
    let parts: Vec<Bytes> = parts.collect();
    run(async {
        let service = service_fn(move |mut request: Request| {
            let parts = parts.clone();
            async move {
                let accepted = transport::streams::accept(&mut request, &["v5.channel.k8s.io"]);
                let (response, _, open) = accepted.expect("our own handshake").split();
                base::tasks::spawn("peer", &base::Shutdown::new(), async move {
                    let Ok(socket) = open.await else { return };
                    let (mut writer, mut reader) = socket.split();
                    for part in parts {
                        writer.send(part).await;
                    }
                    writer.close().await;
                    while reader.next().await.is_some() {}
                });
                response
            }
        });
        let server = InProcess::new(service, http::Extensions::new());
        let request = http::Request::get("/exec").body(Body::empty());
        let request = request.expect("a request");
        let process = transport::streams::run_remote(&server, request).await;
        let Ok(mut process) = process else { return };
        drop(process.stdin);
        let out = async { while process.stdout.recv().await.is_some() {} };
        let err = async { while process.stderr.recv().await.is_some() {} };
        tokio::join!(out, err);
        let _ = process.outcome.await;
    });
}

const SPDY: &str = "SPDY/3.1";

pub(crate) fn spdy_exec(data: &[u8]) {
    let headers = [
        ("upgrade", SPDY),
        ("x-stream-protocol-version", "v4.channel.k8s.io"),
    ];
    upgraded("/exec?stdin=1&stdout=1&stderr=1", &headers, data);
}

pub(crate) fn spdy_forward(data: &[u8]) {
    let headers = [
        ("upgrade", SPDY),
        ("x-stream-protocol-version", "portforward.k8s.io"),
    ];
    upgraded("/forward", &headers, data);
}
