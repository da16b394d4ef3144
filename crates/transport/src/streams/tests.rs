//! Exec in memory, over TLS, through a proxy, and over SPDY.

mod spdy;

use std::sync::Arc;

use bytes::Bytes;
use expect_test::expect;
use tokio::sync::mpsc;

use super::*;
use crate::{Body, InProcess, Request, Response, Service, Transport, service_fn};

fn exec_request(query: &str) -> Request {
    let uri = format!("/exec/default/web/nginx?{query}");
    http::Request::get(uri).body(Body::empty()).unwrap()
}

/// A "process" that upper-cases its input, writes its terminal size to stderr and exits with 3.
pub(crate) fn upper_case_server() -> Arc<dyn Service> {
    service_fn(|request: Request| async move {
        let streams = Streams::from_query(request.uri().query().unwrap_or_default());
        serve_session(request, streams, |mut io| async move {
            let (Some(mut stdin), Some(stdout)) = (io.stdin, io.stdout) else {
                return Outcome::Failed("container not found (\"nginx\")".to_owned());
            };
            while let Some(data) = stdin.recv().await {
                stdout.send(data.to_ascii_uppercase().into()).await;
            }
            if let (Some(stderr), Ok(size)) = (io.stderr, io.resize.try_recv()) {
                stderr
                    .send(format!("{}x{}", size.width, size.height).into())
                    .await;
            }
            Outcome::Exited(3)
        })
    })
}

async fn read_all(mut receiver: mpsc::Receiver<Bytes>) -> String {
    let mut all = String::new();
    while let Some(data) = receiver.recv().await {
        all.push_str(std::str::from_utf8(&data).unwrap());
    }
    all
}

pub(crate) async fn check_exec(transport: &dyn Transport) {
    let request = exec_request("stdin=true&stdout=true&stderr=true");
    let process = run_remote(transport, request).await.unwrap();
    let size = Size {
        width: 80,
        height: 24,
    };
    process.resize.send(size).await.unwrap();
    tokio::task::yield_now().await;
    process
        .stdin
        .send(Bytes::from_static(b"hello "))
        .await
        .unwrap();
    let long = Bytes::from("x".repeat(100_000));
    process.stdin.send(long).await.unwrap();
    drop(process.stdin);
    let (stdout, stderr) = tokio::join!(read_all(process.stdout), read_all(process.stderr));
    assert_eq!(stdout.len(), 100_006);
    assert!(stdout.starts_with("HELLO XXX"));
    assert!(stderr.is_empty() || stderr == "80x24", "{stderr}");
    assert_eq!(process.outcome.await, Ok(Outcome::Exited(3)));
}

#[tokio::test]
async fn exec_in_memory() {
    check_exec(&InProcess::new(
        upper_case_server(),
        http::Extensions::new(),
    ))
    .await;
}

#[tokio::test]
async fn exec_through_a_proxy() {
    let kubelet = Arc::new(InProcess::new(upper_case_server(), http::Extensions::new()));
    let proxy = service_fn(move |request: Request| {
        let kubelet = kubelet.clone();
        async move { proxy_upgrade(request, &kubelet).await.unwrap() }
    });
    check_exec(&InProcess::new(proxy, http::Extensions::new())).await;
}

#[tokio::test]
async fn a_failure_is_a_status() {
    let server = InProcess::new(upper_case_server(), http::Extensions::new());
    let process = run_remote(&server, exec_request("stdout=true"))
        .await
        .unwrap();
    let outcome = process.outcome.await.unwrap();
    expect![[r#"Failed("Internal error occurred: container not found (\"nginx\")")"#]]
        .assert_eq(&format!("{outcome:?}"));
}

#[tokio::test]
async fn a_refusal_keeps_its_body() {
    let service = service_fn(|_| async {
        let mut response = Response::new(Body::from("pods \"web\" not found"));
        *response.status_mut() = http::StatusCode::NOT_FOUND;
        response
    });
    let server = InProcess::new(service, http::Extensions::new());
    let error = run_remote(&server, exec_request("")).await.unwrap_err();
    let ConnectError::Refused { status, body } = error else {
        panic!("{error}");
    };
    assert_eq!(
        (status.as_u16(), &body[..]),
        (404, &b"pods \"web\" not found"[..])
    );
}

#[tokio::test]
async fn unknown_protocols_are_refused_by_name() {
    let server = InProcess::new(upper_case_server(), http::Extensions::new());
    let result = connect(&server, exec_request("stdin=1"), &["v9.channel.k8s.io"]).await;
    let ConnectError::Refused { status, body } = result.unwrap_err() else {
        panic!("not refused");
    };
    assert_eq!(status, 400);
    expect![[r#"unable to upgrade: requested protocol(s) ["v9.channel.k8s.io"] are not supported; supported protocols are ["v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io", ""]"#]]
        .assert_eq(std::str::from_utf8(&body).unwrap());
}

/// The empty message comes first, so that a client knows that the stream is open.
#[tokio::test]
async fn logs_over_websocket() {
    let service = service_fn(|request: Request| async move {
        let (sender, body) = Body::channel(2);
        for line in ["one\n", "two\n"] {
            assert!(sender.send(line.into()).await);
        }
        serve_body(request, body)
    });
    let server = InProcess::new(service, http::Extensions::new());
    for (offered, expected) in [
        (
            &["binary.k8s.io"][..],
            r#"binary.k8s.io ["", "one\n", "two\n"]"#,
        ),
        (&[], r#" ["", "one\n", "two\n"]"#),
        (
            &["base64.binary.k8s.io", "binary.k8s.io"],
            r#"base64.binary.k8s.io ["", "b25lCg==", "dHdvCg=="]"#,
        ),
    ] {
        let (socket, protocol) = connect(&server, exec_request(""), offered).await.unwrap();
        let (_writer, mut reader) = socket.split();
        let mut all = Vec::new();
        while let Some(message) = reader.next().await {
            all.push(String::from_utf8(message.to_vec()).unwrap());
        }
        assert_eq!(format!("{protocol} {all:?}"), expected);
    }
}

#[test]
fn statuses_round_trip() {
    for outcome in [Outcome::Exited(0), Outcome::Exited(137)] {
        assert_eq!(
            Outcome::from_status(outcome.to_status().as_bytes()),
            outcome
        );
    }
    expect![[r#"{"metadata":{},"status":"Failure","message":"Internal error occurred: a\n\"b\"","reason":"InternalError","details":{"causes":[{"message":"a\n\"b\""}]},"code":500}"#]]
        .assert_eq(&Outcome::Failed("a\n\"b\"".to_owned()).to_status());
    let size = Size {
        width: 211,
        height: 52,
    };
    assert_eq!(Size::parse(size.to_json().as_bytes()), Some(size));
    assert_eq!(Size::parse(b"{}"), None);
    let streams = Streams::from_query("input=1&output=1&error=1&tty=1&command=ls");
    assert_eq!(
        streams,
        Streams {
            stdin: true,
            stdout: true,
            stderr: false,
            tty: true
        }
    );
}
