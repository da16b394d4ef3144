//! Requests per second of 32 clients, each with a TLS connection of its own.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use client::Client;
use http::Method;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::cluster::Fixture;
use crate::report::{Figure, percentile};

const CLIENTS: usize = 32;
const SPAN: Duration = Duration::from_secs(5);
/// Objects of the listed namespace.
const LISTED: usize = 500;
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const LISTED_MAPS: &str = "/api/v1/namespaces/listed/configmaps";

/// What every client repeats.
#[derive(Clone, Copy)]
enum Work {
    Create,
    Get,
    List,
}

/// Creates, gets and lists, one after the other.
pub(crate) async fn run(fixture: &Fixture) -> Result<Vec<Figure>> {
    let clients: Vec<Client> = (0..CLIENTS)
        .map(|_| Ok(fixture.connect()?.client))
        .collect::<Result<_>>()?;
    prepare(&clients)
        .await
        .context("make the objects to list")?;
    let mut figures = Vec::new();
    for (work, name) in [
        (Work::Create, "durable creates of 1 KB"),
        (Work::Get, "gets of one object"),
        (Work::List, "lists of 500 objects"),
    ] {
        let (rate, median) = measure(&clients, work).await.context(name)?;
        figures.push(Figure::new(
            format!("{name}, {CLIENTS} clients"),
            "/s",
            rate,
        ));
        figures.push(Figure::new(format!("{name}, p50"), "ms", median));
    }
    Ok(figures)
}

async fn prepare(clients: &[Client]) -> Result<()> {
    let first = clients.first().context("no client")?;
    let namespace =
        r#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"listed"}}"#.to_owned();
    post(first, "/api/v1/namespaces", namespace).await?;
    let mut tasks = JoinSet::new();
    for (at, client) in clients.iter().cloned().enumerate() {
        tasks.spawn(async move {
            for number in (at..LISTED).step_by(CLIENTS) {
                post(&client, LISTED_MAPS, map(&format!("m{number}"))).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// (requests per second, median latency in ms).
async fn measure(clients: &[Client], work: Work) -> Result<(f64, f64)> {
    let start = Instant::now();
    let barrier = Arc::new(tokio::sync::Barrier::new(clients.len()));
    let mut tasks = JoinSet::new();
    for (at, client) in clients.iter().cloned().enumerate() {
        let barrier = barrier.clone();
        tasks.spawn(async move {
            barrier.wait().await;
            let mut taken = Vec::new();
            while start.elapsed() < SPAN {
                let before = Instant::now();
                match work {
                    Work::Create => {
                        let body = map(&format!("c{at}-{}", taken.len()));
                        post(&client, MAPS, body).await?;
                    }
                    Work::Get => {
                        let path = format!("{LISTED_MAPS}/m{at}");
                        client.bytes(Method::GET, &path, None).await?;
                    }
                    Work::List => {
                        let answer = client.bytes(Method::GET, LISTED_MAPS, None).await?;
                        ensure!(answer.len() > LISTED * 1000, "a short list");
                    }
                }
                taken.push(before.elapsed().as_secs_f64() * 1000.0);
            }
            Ok(taken)
        });
    }
    let mut taken = Vec::new();
    while let Some(done) = tasks.join_next().await {
        taken.extend(done??);
    }
    let rate = taken.len() as f64 / start.elapsed().as_secs_f64();
    taken.sort_by(f64::total_cmp);
    Ok((rate, percentile(&taken, 0.5)))
}

async fn post(client: &Client, path: &str, json: String) -> Result<()> {
    let content = Some(("application/json", Bytes::from(json)));
    client.bytes(Method::POST, path, content).await?;
    Ok(())
}

/// A ConfigMap of about a kilobyte.
fn map(name: &str) -> String {
    let data = "x".repeat(900);
    format!(
        r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}"}},"data":{{"k":"{data}"}}}}"#
    )
}
