//! Callers that nobody knows: refused with the right status before their body is looked at.

use std::sync::Arc;
use std::time::Duration;

use pki::jwt::KeySet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use transport::Service;
use transport::server::{Limits, Wire, serve_stream};

use super::harness::Harness;
use crate::Front;
use crate::authn::{Anonymous, secure};

/// Sends a head and then zeros until the server takes no more; its first line, its body, and how
/// many bytes of ours it took.
fn flood(h: &Harness, service: Arc<dyn Service>, head: &str) -> (String, String, usize) {
    h.block_on(async {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        base::tasks::spawn("server", &base::Shutdown::new(), async move {
            serve_stream(theirs, Wire::Http1, &Limits::default(), service).await;
        });
        let (mut reader, mut writer) = tokio::io::split(ours);
        writer.write_all(head.as_bytes()).await.unwrap();
        let sending = async {
            let (mut sent, zeros) = (0, vec![b'['; 16 * 1024]);
            while sent < 64 << 20 {
                let wait = Duration::from_millis(500);
                let written = tokio::time::timeout(wait, writer.write_all(&zeros)).await;
                if !matches!(written, Ok(Ok(()))) {
                    break;
                }
                sent += zeros.len();
            }
            let _ = writer.shutdown().await;
            sent
        };
        let reading = async {
            let mut said = Vec::new();
            let wait = Duration::from_secs(2);
            let _ = tokio::time::timeout(wait, reader.read_to_end(&mut said)).await;
            String::from_utf8_lossy(&said).into_owned()
        };
        let (sent, said) = tokio::join!(sending, reading);
        let (head, body) = said.split_once("\r\n\r\n").unwrap_or((&said, ""));
        let line = head.lines().next().unwrap_or_default().to_owned();
        (line, body.to_owned(), sent)
    })
}

#[track_caller]
fn check(h: &Harness, head: &str, line: &str, words: &str) {
    let front = Arc::new(Front(Arc::clone(&h.server)));
    let (first, body, sent) = flood(h, front, head);
    assert_eq!(first, line, "{body}");
    assert!(body.contains(words), "{body}");
    assert!(sent < 1 << 20, "{sent} bytes of the body were taken");
}

fn secured() -> Harness {
    let h = Harness::new();
    h.block_on(async {
        secure(&h.server, KeySet::new([]), Anonymous::Everywhere).unwrap();
    });
    h.settle();
    h
}

#[test]
fn bodies_of_unknown_callers_are_not_read() {
    let h = secured();
    let length = "Content-Length: 99999999999\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    for body in [length, chunked] {
        check(
            &h,
            &format!("POST /api/v1/namespaces/default/pods HTTP/1.1\r\nHost: a\r\n{body}\r\n"),
            "HTTP/1.1 403 Forbidden",
            r#"pods is forbidden: User \"system:anonymous\" cannot create resource \"pods\" in API group \"\" in the namespace \"default\""#,
        );
        check(
            &h,
            &format!(
                "PATCH /apis/apps/v1/namespaces/a/deployments/b HTTP/1.1\r\nHost: a\r\nContent-Type: application/apply-patch+yaml\r\n{body}\r\n"
            ),
            "HTTP/1.1 403 Forbidden",
            r#"cannot patch resource \"deployments\""#,
        );
        check(
            &h,
            &format!(
                "POST /apis/authentication.k8s.io/v1/tokenreviews HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a.b.c\r\n{body}\r\n"
            ),
            "HTTP/1.1 401 Unauthorized",
            "Unauthorized",
        );
        check(
            &h,
            &format!("POST /version HTTP/1.1\r\nHost: a\r\n{body}\r\n"),
            "HTTP/1.1 403 Forbidden",
            r#"cannot post path \"/version\""#,
        );
        check(
            &h,
            &format!(
                "POST /api/v1/namespaces/a/pods/b/exec?command=sh HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n{body}\r\n"
            ),
            "HTTP/1.1 403 Forbidden",
            r#"cannot create resource \"pods/exec\""#,
        );
    }
}

/// Who may write hears why a body is too large, and no more of it is kept than the limit.
#[test]
fn large_bodies_of_known_callers_are_refused() {
    let h = secured();
    let head = "POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n";
    let (line, body, sent) = flood(&h, h.admin(), head);
    assert_eq!(line, "HTTP/1.1 413 Payload Too Large");
    assert!(body.contains("RequestEntityTooLarge"), "{body}");
    assert!(sent < 40 << 20, "{sent} bytes of the body were taken");
}
