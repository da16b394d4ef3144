//! Logs over WebSocket, from a kubelet that knows plain HTTP only.

use std::sync::Arc;

use expect_test::{Expect, expect};
use transport::streams::{ConnectError, connect};
use transport::{Body, InProcess, Request, Response};

use super::harness::Harness;

/// A kubelet with one container that has written two lines.
fn harness() -> Harness {
    let kubelet = transport::service_fn(|request: Request| async move {
        let upgrades = transport::streams::is_websocket(request.headers());
        let (sender, body) = Body::channel(2);
        for line in ["one\n", "two\n"] {
            assert!(sender.send(line.into()).await);
        }
        let mut response = Response::new(body);
        if upgrades || request.uri().query() != Some("tailLines=2") {
            *response.status_mut() = http::StatusCode::BAD_REQUEST;
            *response.body_mut() = Body::from("two lines over plain HTTP are all there is");
        }
        response
    });
    let kubelet = InProcess::new(kubelet, http::Extensions::new());
    let h = Harness::with(|config| config.kubelets = Some(Arc::new(kubelet)));
    for (path, body) in [
        ("nodes", r#"{"metadata":{"name":"n"}}"#),
        (
            "nodes/n/status",
            r#"{"status":{"addresses":[{"type":"InternalIP","address":"10.0.0.1"}]}}"#,
        ),
        (
            "namespaces/default/serviceaccounts",
            r#"{"metadata":{"name":"default"}}"#,
        ),
        (
            "namespaces/default/pods",
            r#"{"metadata":{"name":"web"},"spec":{"nodeName":"n","containers":[{"name":"c","image":"i"}]}}"#,
        ),
    ] {
        let method = match path.ends_with("status") {
            true => "PATCH",
            false => "POST",
        };
        let kind = match method {
            "PATCH" => "Content-Type: application/merge-patch+json\n",
            _ => "",
        };
        let (code, _, answer) = h.send(&format!("{method} /api/v1/{path}\n{kind}\n{body}"));
        assert!(code < 300, "{answer}");
        h.settle();
    }
    h
}

#[track_caller]
fn check(h: &Harness, query: &str, offered: &[&str], expect: &Expect) {
    let server = InProcess::new(h.admin(), http::Extensions::new());
    let uri = format!("/api/v1/namespaces/default/pods/web/log?{query}");
    let request = http::Request::get(uri).body(Body::empty()).unwrap();
    let seen = h.block_on(async {
        let (socket, protocol) = match connect(&server, request, offered).await {
            Ok(open) => open,
            Err(ConnectError::Refused { status, body }) => {
                return format!("{status}\n{}", String::from_utf8_lossy(&body));
            }
            Err(error) => panic!("{error}"),
        };
        let (_writer, mut reader) = socket.split();
        let mut seen = format!("{protocol}:");
        while let Some(message) = reader.next().await {
            seen.push_str(&format!(" {:?}", String::from_utf8_lossy(&message)));
        }
        seen
    });
    expect.assert_eq(&seen);
}

#[test]
fn logs_over_websocket() {
    let h = harness();
    check(
        &h,
        "tailLines=2",
        &["binary.k8s.io"],
        &expect![[r#"binary.k8s.io: "" "one\n" "two\n""#]],
    );
    check(
        &h,
        "tailLines=2",
        &[],
        &expect![[r#": "" "one\n" "two\n""#]],
    );
    check(
        &h,
        "tailLines=2",
        &["base64.binary.k8s.io"],
        &expect![[r#"base64.binary.k8s.io: "" "b25lCg==" "dHdvCg==""#]],
    );
}

/// What cannot be read is refused before the connection changes.
#[test]
fn refusals_are_answers_of_http() {
    let h = harness();
    check(
        &h,
        "tailLines=3",
        &["binary.k8s.io"],
        &expect![[r#"
        400 Bad Request
        {"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"two lines over plain HTTP are all there is","reason":"BadRequest","code":400}
    "#]],
    );
    check(
        &h,
        "container=x",
        &["binary.k8s.io"],
        &expect![[r#"
        400 Bad Request
        {"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"container x is not valid for pod web","reason":"BadRequest","code":400}
    "#]],
    );
    check(
        &h,
        "tailLines=2",
        &["channel.k8s.io"],
        &expect![[r#"
        400 Bad Request
        unable to upgrade: requested protocol(s) ["channel.k8s.io"] are not supported; supported protocols are ["binary.k8s.io", "base64.binary.k8s.io", ""]"#]],
    );
}
