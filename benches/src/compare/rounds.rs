//! The works that are compared, and the requests of the closed loops.

use std::future::Future;
use std::pin::Pin;

use anyhow::{Result, ensure};
use bytes::Bytes;
use http::{HeaderValue, Method, header};
use kubectl::Connection;
use transport::Transport as _;

use super::side::{CLIENTS, FEW, Side, listed, post};
use super::{objects, scheduling, watching};

/// Clients of a list so large that more would only wait.
const FEW_CLIENTS: usize = 4;
/// No pod of a list is shorter.
const POD_BYTES: usize = 500;
/// The most that an answer may hold.
const ANSWER_LIMIT_BYTES: usize = 1 << 28;

type Measuring<'a> = Pin<Box<dyn Future<Output = Result<f64>> + Send + 'a>>;

/// One row of the table.
pub(super) struct Work {
    pub(super) name: &'static str,
    /// Per second.
    pub(super) measure: fn(&mut Side) -> Measuring<'_>,
}

/// Reads first: they find the same objects on both sides. Creates last: the faster side gets more.
pub(super) const WORKS: &[Work] = &[
    Work {
        name: "get a pod",
        measure: |side| Box::pin(side.repeat(Request::Get, CLIENTS)),
    },
    Work {
        name: "list 1 pod",
        measure: |side| Box::pin(side.repeat(Request::List(1), CLIENTS)),
    },
    Work {
        name: "list 100 pods",
        measure: |side| Box::pin(side.repeat(Request::List(100), CLIENTS)),
    },
    Work {
        name: "list 500 pods",
        measure: |side| Box::pin(side.repeat(Request::List(500), CLIENTS)),
    },
    Work {
        name: "list 500 pods, gzip",
        measure: |side| Box::pin(side.repeat(Request::Compressed(500), CLIENTS)),
    },
    Work {
        name: "list 5,000 pods (4 clients)",
        measure: |side| Box::pin(side.repeat(Request::List(5000), FEW_CLIENTS)),
    },
    Work {
        name: "list 50 of 500 pods by label",
        measure: |side| Box::pin(side.repeat(Request::ByLabel(500), CLIENTS)),
    },
    Work {
        name: "list 50 of 5,000 pods by label",
        measure: |side| Box::pin(side.repeat(Request::ByLabel(5000), CLIENTS)),
    },
    Work {
        name: "list 50 of 5,000 pods by field",
        measure: |side| Box::pin(side.repeat(Request::ByField(5000), CLIENTS)),
    },
    Work {
        name: "merge patch of a pod, durable",
        measure: |side| Box::pin(side.repeat(Request::MergePatch, CLIENTS)),
    },
    Work {
        name: "strategic merge patch of a pod, durable",
        measure: |side| Box::pin(side.repeat(Request::StrategicPatch, CLIENTS)),
    },
    Work {
        name: "server-side apply of a ConfigMap, durable",
        measure: |side| Box::pin(side.repeat(Request::Apply, CLIENTS)),
    },
    Work {
        name: "events to 100 watchers",
        measure: |side| Box::pin(watching::measure(side)),
    },
    Work {
        name: "pods scheduled on 100 fake nodes",
        measure: |side| Box::pin(scheduling::measure(side)),
    },
    Work {
        name: "create a ConfigMap of 1 KB, durable",
        measure: |side| Box::pin(side.repeat(Request::CreateMap, CLIENTS)),
    },
    Work {
        name: "create a pod, durable",
        measure: |side| Box::pin(side.repeat(Request::CreatePod, CLIENTS)),
    },
];

/// What a client repeats.
#[derive(Clone, Copy)]
pub(super) enum Request {
    Get,
    List(usize),
    Compressed(usize),
    ByLabel(usize),
    ByField(usize),
    MergePatch,
    StrategicPatch,
    Apply,
    CreateMap,
    CreatePod,
}

impl Request {
    /// The `count`th request of client `at` in this round. An answer that is an error, or too
    /// short for what was asked, is an error.
    pub(super) async fn once(
        self,
        connection: &Connection,
        round: usize,
        at: usize,
        count: usize,
    ) -> Result<()> {
        let client = &connection.client;
        let get = |path: String, pods: usize| async move {
            let answer = client.bytes(Method::GET, &path, None).await?;
            ensure!(answer.len() > pods * POD_BYTES, "a short list");
            Ok(())
        };
        let patch = |path: String, kind: &'static str, body: String| async move {
            let content = Some((kind, Bytes::from(body)));
            client.bytes(Method::PATCH, &path, content).await?;
            Ok(())
        };
        match self {
            Self::Get => get(format!("{}/p{at}", listed(500)), 1).await,
            Self::List(pods) => get(listed(pods), pods).await,
            Self::Compressed(pods) => compressed(connection, &listed(pods)).await,
            Self::ByLabel(of) => get(format!("{}?labelSelector=kind%3Dfew", listed(of)), FEW).await,
            Self::ByField(of) => {
                let selector = "fieldSelector=spec.schedulerName%3Drare";
                get(format!("{}?{selector}", listed(of)), FEW).await
            }
            Self::MergePatch => {
                let body =
                    format!(r#"{{"metadata":{{"annotations":{{"count":"{round}-{count}"}}}}}}"#);
                let path = format!("{}/p{at}", listed(500));
                patch(path, "application/merge-patch+json", body).await
            }
            Self::StrategicPatch => {
                let body = format!(
                    r#"{{"spec":{{"containers":[{{"name":"main","image":"registry.k8s.io/pause:{round}.{count}"}}]}}}}"#
                );
                let path = format!("{}/p{at}", listed(500));
                patch(path, "application/strategic-merge-patch+json", body).await
            }
            Self::Apply => {
                let body = format!(
                    r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"a{at}"}},"data":{{"count":"{round}-{count}"}}}}"#
                );
                let path = format!(
                    "/api/v1/namespaces/made/configmaps/a{at}?fieldManager=bench&force=true"
                );
                patch(path, "application/apply-patch+yaml", body).await
            }
            Self::CreateMap => {
                let body = objects::map(&format!("c{round}-{at}-{count}"));
                post(client, "/api/v1/namespaces/made/configmaps", body).await
            }
            Self::CreatePod => {
                let body = objects::pod(&format!("p{round}-{at}-{count}"), "many", "nobody");
                post(client, "/api/v1/namespaces/made/pods", body).await
            }
        }
    }
}

/// As Go's clients ask: the answer is compressed, and counts as it comes.
async fn compressed(connection: &Connection, path: &str) -> Result<()> {
    let request = http::Request::builder()
        .uri(path)
        .header(header::ACCEPT, "application/json")
        .header(header::ACCEPT_ENCODING, "gzip")
        .body(transport::Body::empty())?;
    let response = connection.http.call(request).await?;
    ensure!(response.status() == 200, "{}", response.status());
    let encoding = response.headers().get(header::CONTENT_ENCODING);
    ensure!(
        encoding == Some(&HeaderValue::from_static("gzip")),
        "the answer is not compressed"
    );
    let answer = response.into_body().collect(ANSWER_LIMIT_BYTES).await?;
    ensure!(answer.len() > 1000, "a short list");
    Ok(())
}
