//! What both sides do: closed loops of 32 clients, a watch with many readers, scheduling.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use api::Gvr;
use bytes::Bytes;
use client::{Client, ListOptions, WatchEvent};
use http::Method;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

pub(super) const CLIENTS: usize = 32;
const SPAN: Duration = Duration::from_secs(2);
const LISTED: usize = 500;
const LABELLED: usize = 50;
const WATCHERS: usize = 100;
const WATCHED_WRITES: usize = 200;
const NODES: usize = 100;
const SCHEDULED: usize = 500;

const PODS: &str = "/api/v1/namespaces/compare/pods";
const MAPS: &str = "/api/v1/namespaces/compare/configmaps";
const SCHEDULING: &str = "/api/v1/namespaces/scheduling/pods";

type Measuring<'a> = Pin<Box<dyn Future<Output = Result<f64>> + Send + 'a>>;

/// One row of the table.
pub(super) struct Work {
    pub(super) name: &'static str,
    pub(super) measure: fn(&mut Side) -> Measuring<'_>,
}

pub(super) const WORKS: &[Work] = &[
    Work {
        name: "create a ConfigMap of 1 KB, durable",
        measure: |side| Box::pin(side.repeat(Request::CreateMap)),
    },
    Work {
        name: "create a pod, durable",
        measure: |side| Box::pin(side.repeat(Request::CreatePod)),
    },
    Work {
        name: "merge patch of a pod",
        measure: |side| Box::pin(side.repeat(Request::PatchPod)),
    },
    Work {
        name: "server-side apply of a ConfigMap",
        measure: |side| Box::pin(side.repeat(Request::Apply)),
    },
    Work {
        name: "get a pod",
        measure: |side| Box::pin(side.repeat(Request::GetPod)),
    },
    Work {
        name: "list 500 pods",
        measure: |side| Box::pin(side.repeat(Request::List)),
    },
    Work {
        name: "list 50 of 500 pods by label",
        measure: |side| Box::pin(side.repeat(Request::ListByLabel)),
    },
    Work {
        name: "events to 100 watchers",
        measure: |side| Box::pin(side.watch()),
    },
    Work {
        name: "pods scheduled on 100 nodes",
        measure: |side| Box::pin(side.schedule()),
    },
];

#[derive(Clone, Copy)]
enum Request {
    CreateMap,
    CreatePod,
    PatchPod,
    Apply,
    GetPod,
    List,
    ListByLabel,
}

/// One control plane and the clients that talk to it.
pub(super) struct Side {
    clients: Vec<Client>,
    /// Makes names of one round differ from those of others.
    round: usize,
}

impl Side {
    pub(super) fn new(clients: Vec<Client>) -> Self {
        Self { clients, round: 0 }
    }

    /// Makes what is read later.
    pub(super) async fn prepare(&mut self) -> Result<()> {
        let first = self.clients.first().context("no client")?.clone();
        for name in ["compare", "scheduling"] {
            let body = format!(
                r#"{{"apiVersion":"v1","kind":"Namespace","metadata":{{"name":"{name}"}}}}"#
            );
            post(&first, "/api/v1/namespaces", body).await?;
            wait_for_account(&first, name).await?;
        }
        let listed = (0..LISTED).map(|number| {
            let label = if number < LABELLED { "few" } else { "many" };
            (PODS, pod(&format!("listed-{number}"), label, "nobody"))
        });
        self.spread(listed.collect()).await
    }

    /// Posts all bodies, one at a time for every client.
    async fn spread(&self, bodies: Vec<(&'static str, String)>) -> Result<()> {
        let bodies = Arc::new(bodies);
        let mut tasks = JoinSet::new();
        for (at, client) in self.clients.iter().cloned().enumerate() {
            let bodies = bodies.clone();
            tasks.spawn(async move {
                for (path, body) in bodies.iter().skip(at).step_by(CLIENTS) {
                    post(&client, path, body.clone()).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        Ok(())
    }

    async fn repeat(&mut self, request: Request) -> Result<f64> {
        self.round += 1;
        let round = self.round;
        let barrier = Arc::new(Barrier::new(self.clients.len()));
        let start = Instant::now();
        let mut tasks = JoinSet::new();
        for (at, client) in self.clients.iter().cloned().enumerate() {
            let barrier = barrier.clone();
            tasks.spawn(async move {
                barrier.wait().await;
                let mut count = 0_usize;
                while start.elapsed() < SPAN {
                    once(&client, request, round, at, count).await?;
                    count += 1;
                }
                anyhow::Ok(count)
            });
        }
        let mut total = 0;
        while let Some(done) = tasks.join_next().await {
            total += done??;
        }
        Ok(total as f64 / start.elapsed().as_secs_f64())
    }

    /// Deliveries per second, from the first write to the last delivery.
    async fn watch(&mut self) -> Result<f64> {
        self.round += 1;
        let round = self.round;
        let maps = Gvr::new("", "v1", "configmaps");
        let first = self
            .clients
            .first()
            .context("no client")?
            .namespaced(&maps, "compare");
        let from = first.list(&ListOptions::default()).await?.resource_version;
        let ready = Arc::new(Barrier::new(WATCHERS + 1));
        let mut tasks = JoinSet::new();
        for at in 0..WATCHERS {
            let api = self.clients[at % CLIENTS].namespaced(&maps, "compare");
            let (from, ready) = (from.clone(), ready.clone());
            tasks.spawn(async move {
                let options = ListOptions {
                    resource_version: from,
                    ..ListOptions::default()
                };
                let mut watch = api.watch(&options).await?;
                ready.wait().await;
                let mut seen = 0;
                while seen < WATCHED_WRITES {
                    if let WatchEvent::Added(_) =
                        watch.next().await.context("the watch ended")??
                    {
                        seen += 1;
                    }
                }
                anyhow::Ok(())
            });
        }
        ready.wait().await;
        let start = Instant::now();
        let bodies = (0..WATCHED_WRITES).map(|number| (MAPS, map(&format!("w{round}-{number}"))));
        self.spread(bodies.collect()).await?;
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        Ok((WATCHERS * WATCHED_WRITES) as f64 / start.elapsed().as_secs_f64())
    }

    /// Pods a second from the first create to the last binding seen by a watch.
    async fn schedule(&mut self) -> Result<f64> {
        self.round += 1;
        let round = self.round;
        let first = self.clients.first().context("no client")?.clone();
        let nodes =
            (0..NODES).map(|number| ("/api/v1/nodes", node(&format!("fake-{round}-{number}"))));
        self.spread(nodes.collect()).await?;
        untainted(&first).await?;
        let pods = first.namespaced(&Gvr::new("", "v1", "pods"), "scheduling");
        let from = pods.list(&ListOptions::default()).await?.resource_version;
        let mut watch = pods
            .watch(&ListOptions {
                resource_version: from,
                ..ListOptions::default()
            })
            .await?;
        let start = Instant::now();
        let name = |number: usize| format!("s{round}-{number}");
        let bodies =
            (0..SCHEDULED).map(|number| (SCHEDULING, pod(&name(number), "s", "default-scheduler")));
        let counting = async {
            let mut bound = std::collections::HashSet::new();
            while bound.len() < SCHEDULED {
                if let WatchEvent::Modified(pod) =
                    watch.next().await.context("the watch ended")??
                {
                    let dom = pod.parse().context("parse a pod")?;
                    let spec = dom.as_ref().get("spec").context("a pod without spec")?;
                    if !spec.str("nodeName").is_empty() {
                        bound.insert(pod.name().to_owned());
                    }
                }
            }
            anyhow::Ok(())
        };
        let (made, counted) = tokio::join!(
            self.spread(bodies.collect()),
            timeout(Duration::from_secs(60), counting)
        );
        made?;
        counted.context("not all pods were scheduled within a minute")??;
        let rate = SCHEDULED as f64 / start.elapsed().as_secs_f64();
        // Nodes go first: their pods are bound and nobody runs them.
        for number in 0..NODES {
            let path = format!("/api/v1/nodes/fake-{round}-{number}");
            first.bytes(Method::DELETE, &path, None).await?;
        }
        let now = Bytes::from_static(
            br#"{"apiVersion":"v1","kind":"DeleteOptions","gracePeriodSeconds":0}"#,
        );
        first
            .bytes(Method::DELETE, SCHEDULING, Some(("application/json", now)))
            .await?;
        Ok(rate)
    }
}

async fn once(
    client: &Client,
    request: Request,
    round: usize,
    at: usize,
    count: usize,
) -> Result<()> {
    let send = |method, path: String, content: Option<(&'static str, String)>| async move {
        let content = content.map(|(kind, text)| (kind, Bytes::from(text)));
        anyhow::Ok(client.bytes(method, &path, content).await?)
    };
    match request {
        Request::CreateMap => post(client, MAPS, map(&format!("c{round}-{at}-{count}"))).await?,
        Request::CreatePod => {
            let body = pod(&format!("p{round}-{at}-{count}"), "many", "nobody");
            post(client, "/api/v1/namespaces/scheduling/pods", body).await?;
        }
        Request::PatchPod => {
            let body = format!(r#"{{"metadata":{{"annotations":{{"count":"{round}-{count}"}}}}}}"#);
            let content = ("application/merge-patch+json", body);
            send(Method::PATCH, format!("{PODS}/listed-{at}"), Some(content)).await?;
        }
        Request::Apply => {
            let body = format!(
                r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"a{at}"}},"data":{{"count":"{round}-{count}"}}}}"#
            );
            let path = format!("{MAPS}/a{at}?fieldManager=bench&force=true");
            send(
                Method::PATCH,
                path,
                Some(("application/apply-patch+yaml", body)),
            )
            .await?;
        }
        Request::GetPod => {
            send(Method::GET, format!("{PODS}/listed-{at}"), None).await?;
        }
        Request::List => {
            let answer = send(Method::GET, PODS.to_owned(), None).await?;
            ensure!(answer.len() > LISTED * 500, "a short list");
        }
        Request::ListByLabel => {
            let answer = send(
                Method::GET,
                format!("{PODS}?labelSelector=kind%3Dfew"),
                None,
            )
            .await?;
            ensure!(answer.len() > LABELLED * 500, "a short list");
        }
    }
    Ok(())
}

async fn post(client: &Client, path: &str, json: String) -> Result<()> {
    let content = Some(("application/json", Bytes::from(json)));
    client.bytes(Method::POST, path, content).await?;
    Ok(())
}

/// Pods are refused until their namespace has its service account.
async fn wait_for_account(client: &Client, namespace: &str) -> Result<()> {
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/default");
    for _ in 0..300 {
        if client.bytes(Method::GET, &path, None).await.is_ok() {
            return Ok(());
        }
        sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!("namespace {namespace} has no service account after 30 s")
}

/// New nodes carry a taint until the controller of nodes has seen that they are ready.
async fn untainted(client: &Client) -> Result<()> {
    for _ in 0..600 {
        let answer = client
            .bytes(Method::GET, "/api/v1/nodes?labelSelector=fake%3Dtrue", None)
            .await?;
        if !answer.windows(9).any(|window| window == b"\"taints\":") {
            return Ok(());
        }
        sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!("the nodes are still tainted after a minute")
}

/// A ConfigMap of about a kilobyte.
fn map(name: &str) -> String {
    let data = "x".repeat(900);
    format!(
        r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}"}},"data":{{"k":"{data}"}}}}"#
    )
}

/// A pod for a scheduler; nodes named `fake-*` alone are meant to take it.
fn pod(name: &str, kind: &str, scheduler: &str) -> String {
    format!(
        r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{name}","labels":{{"kind":"{kind}","app":"bench"}}}},"spec":{{"schedulerName":"{scheduler}","nodeSelector":{{"fake":"true"}},"containers":[{{"name":"main","image":"registry.k8s.io/pause:3.10.2","resources":{{"requests":{{"cpu":"10m","memory":"10Mi"}}}},"env":[{{"name":"A","value":"one"}},{{"name":"B","value":"two"}}]}}]}}}}"#
    )
}

fn node(name: &str) -> String {
    format!(
        r#"{{"apiVersion":"v1","kind":"Node","metadata":{{"name":"{name}","labels":{{"fake":"true","kubernetes.io/hostname":"{name}"}}}},"status":{{"capacity":{{"cpu":"32","memory":"64Gi","pods":"110"}},"allocatable":{{"cpu":"32","memory":"64Gi","pods":"110"}},"conditions":[{{"type":"Ready","status":"True","reason":"KubeletReady"}}]}}}}"#
    )
}
