//! One control plane under work: its clients, what they read, and closed loops of requests.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use api::Gvr;
use bytes::Bytes;
use client::{Client, ListOptions};
use http::Method;
use kubectl::Connection;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::objects;
use super::rounds::Request;

/// Clients with a TLS connection each.
pub(super) const CLIENTS: usize = 32;
/// One round of a closed loop.
const SPAN: Duration = Duration::from_millis(1500);
/// Namespaces of pods to list, by their number.
pub(super) const LISTED: [usize; 4] = [1, 100, 500, 5000];
/// Pods of each of these that a selector finds.
pub(super) const FEW: usize = 50;
/// Scheduler of the pods that a field selector finds; nobody is called so.
const RARE: &str = "rare";

/// Where pods to list are.
pub(super) fn listed(pods: usize) -> String {
    format!("/api/v1/namespaces/listed-{pods}/pods")
}

pub(super) struct Side {
    pub(super) connections: Vec<Arc<Connection>>,
    /// Makes names of one round differ from those of others.
    pub(super) round: usize,
    /// Answers so far.
    pub(super) requests: usize,
}

impl Side {
    pub(super) fn new(connect: &dyn Fn() -> Result<Connection>) -> Result<Self> {
        let connections = (0..CLIENTS).map(|_| Ok(Arc::new(connect()?)));
        Ok(Self {
            connections: connections.collect::<Result<_>>()?,
            round: 0,
            requests: 0,
        })
    }

    pub(super) fn client(&self, at: usize) -> &Client {
        &self.connections[at % CLIENTS].client
    }

    /// Makes what is read later, and looks whether lists and selectors find it.
    pub(super) async fn prepare(&mut self) -> Result<()> {
        let first = self.client(0).clone();
        let spaces = LISTED.iter().map(|pods| format!("listed-{pods}"));
        let spaces = spaces.chain(["made", "watched", "scheduling"].map(str::to_owned));
        for name in spaces {
            post(&first, "/api/v1/namespaces", objects::namespace(&name)).await?;
            service_account(&first, &name).await?;
        }
        for count in LISTED {
            let body = |number: usize| {
                let few = number < FEW;
                let kind = if few { "few" } else { "many" };
                let scheduler = if few { RARE } else { "nobody" };
                (
                    listed(count),
                    objects::pod(&format!("p{number}"), kind, scheduler),
                )
            };
            self.spread((0..count).map(body).collect()).await?;
            self.expect(count, "", "", count).await?;
            if count > FEW {
                self.expect(count, "kind=few", "", FEW).await?;
                let field = format!("spec.schedulerName={RARE}");
                self.expect(count, "", &field, FEW).await?;
            }
        }
        Ok(())
    }

    async fn expect(&self, of: usize, labels: &str, fields: &str, wanted: usize) -> Result<()> {
        let pods = Gvr::new("", "v1", "pods");
        let pods = self.client(0).namespaced(&pods, &format!("listed-{of}"));
        let list = pods
            .list(&ListOptions {
                labels: labels.to_owned(),
                fields: fields.to_owned(),
                resource_version: String::new(),
            })
            .await?;
        let found = list.items.len();
        ensure!(
            found == wanted,
            "{found} pods of {wanted}, selected by {labels:?} {fields:?}"
        );
        Ok(())
    }

    /// Posts all bodies, one at a time for every client.
    pub(super) async fn spread(&self, bodies: Vec<(String, String)>) -> Result<()> {
        let bodies = Arc::new(bodies);
        let mut tasks = JoinSet::new();
        for (at, connection) in self.connections.iter().cloned().enumerate() {
            let bodies = bodies.clone();
            tasks.spawn(async move {
                for (path, body) in bodies.iter().skip(at).step_by(CLIENTS) {
                    post(&connection.client, path, body.clone()).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        Ok(())
    }

    /// Requests a second of so many clients, each with one under way.
    pub(super) async fn repeat(&mut self, request: Request, clients: usize) -> Result<f64> {
        self.round += 1;
        let round = self.round;
        let barrier = Arc::new(Barrier::new(clients));
        let start = Instant::now();
        let mut tasks = JoinSet::new();
        for (at, connection) in self.connections.iter().take(clients).cloned().enumerate() {
            let barrier = barrier.clone();
            tasks.spawn(async move {
                barrier.wait().await;
                let mut count = 0_usize;
                while start.elapsed() < SPAN {
                    request.once(&connection, round, at, count).await?;
                    count += 1;
                }
                anyhow::Ok(count)
            });
        }
        let mut total = 0;
        while let Some(done) = tasks.join_next().await {
            total += done??;
        }
        self.requests += total;
        Ok(total as f64 / start.elapsed().as_secs_f64())
    }
}

pub(super) async fn post(client: &Client, path: &str, json: String) -> Result<()> {
    let content = Some(("application/json", Bytes::from(json)));
    client.bytes(Method::POST, path, content).await?;
    Ok(())
}

/// Pods are refused until their namespace has its service account.
async fn service_account(client: &Client, namespace: &str) -> Result<()> {
    let accounts = Gvr::new("", "v1", "serviceaccounts");
    let accounts = client.namespaced(&accounts, namespace);
    for _ in 0..300 {
        if accounts
            .find("default")
            .await
            .context("look for the service account")?
            .is_some()
        {
            return Ok(());
        }
        sleep(Duration::from_millis(100)).await;
    }
    bail!("namespace {namespace} has no service account after 30 s")
}
