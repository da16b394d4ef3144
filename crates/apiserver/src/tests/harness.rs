//! A server over a store in memory, and a `check` that compares transcripts.

use std::sync::Arc;

use base::{Clock, ManualClock, Shutdown};
use expect_test::Expect;
use transport::{Body, Service};

use crate::{Config, Server, UserInfo};

pub(super) struct Harness {
    pub(super) server: Arc<Server>,
    runtime: tokio::runtime::Runtime,
}

impl Harness {
    pub(super) fn new() -> Harness {
        Self::with(|_| {})
    }

    /// A server whose configuration is not the plain one.
    pub(super) fn with(change: impl FnOnce(&mut Config)) -> Harness {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let clock: Arc<dyn Clock> =
            Arc::new(ManualClock::new("2026-01-02T03:04:05Z".parse().unwrap()));
        let store = store::Store::in_memory_marked(Arc::clone(&clock), crate::marks::marks);
        let server = runtime.block_on(async {
            let mut config = Config::new(store, clock, Shutdown::new());
            change(&mut config);
            Server::open(config).await.unwrap()
        });
        Harness { server, runtime }
    }

    /// `METHOD PATH`, headers `Key: value`, an empty line, a body.
    pub(super) fn send(&self, text: &str) -> (u16, http::HeaderMap, String) {
        let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
        let mut lines = head.trim().lines();
        let (method, path) = lines.next().unwrap().trim().split_once(' ').unwrap();
        let mut request = http::Request::builder().method(method).uri(path);
        for line in lines {
            let (key, value) = line.trim().split_once(": ").unwrap();
            request = request.header(key, value);
        }
        let request = request.body(Body::from(body.trim().to_owned())).unwrap();
        let service = self.admin();
        self.runtime.block_on(async {
            let response = service.call(request).await;
            let (parts, mut body) = response.into_parts();
            let mut all = Vec::new();
            // A watch never ends: what is there within a moment is the answer.
            while let Ok(Some(Ok(chunk))) =
                tokio::time::timeout(std::time::Duration::from_millis(50), body.next()).await
            {
                all.extend_from_slice(&chunk);
            }
            (
                parts.status.as_u16(),
                parts.headers,
                String::from_utf8_lossy(&all).into_owned(),
            )
        })
    }

    /// The server as who may do everything sees it.
    pub(super) fn admin(&self) -> Arc<dyn Service> {
        self.server.as_user(UserInfo {
            name: "admin".to_owned(),
            groups: vec![
                "system:masters".to_owned(),
                "system:authenticated".to_owned(),
            ],
            ..UserInfo::default()
        })
    }

    pub(super) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Serves over plain HTTP; the origin of its URLs.
    pub(super) fn serve(&self, service: Arc<dyn Service>) -> String {
        self.runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let shutdown = Shutdown::new();
            let config = transport::server::ServerConfig::default();
            let serving = transport::server::serve(listener, config, service, shutdown.clone());
            let _detached = base::tasks::spawn("test-server", &shutdown, async move {
                let _end = serving.await;
            });
            format!("http://{address}")
        })
    }

    /// Lets followers of the store see what was written.
    pub(super) fn settle(&self) {
        self.runtime.block_on(async {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        });
    }

    #[track_caller]
    pub(super) fn check(&self, request: &str, expect: &Expect) {
        let (code, headers, body) = self.send(request);
        let mut out = format!("{code}\n");
        for value in headers.get_all("warning") {
            out.push_str(&format!("warning: {}\n", value.to_str().unwrap()));
        }
        out.push_str(&scrub(&body));
        expect.assert_eq(&out);
    }
}

/// Random identities and revisions differ from run to run.
fn scrub(body: &str) -> String {
    let mut out = String::new();
    let mut rest = body;
    for (mark, end) in [("\"uid\":\"", '"')] {
        while let Some(at) = rest.find(mark) {
            let (before, after) = rest.split_at(at + mark.len());
            out.push_str(before);
            let close = after.find(end).unwrap_or(0);
            out.push_str("UID");
            rest = &after[close..];
        }
    }
    out.push_str(rest);
    out
}
