//! Clients that go on asking while something else happens: every answer and every failure counts.
//!
//! Each request is a connection of its own, as the first request of a new client is: one that is
//! refused, reset or late is a failure.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use base::{Shutdown, tasks};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const CLIENTS: usize = 6;
const PAUSE: Duration = Duration::from_millis(10);
const WITHIN: Duration = Duration::from_secs(5);
const ANSWER_BYTES: u64 = 64 << 10;
/// Failures that are kept for the report.
const KEPT: usize = 5;

/// What happened.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Answers by the version that they name.
    answered: BTreeMap<String, usize>,
    failed: usize,
    why: Vec<String>,
}

impl Report {
    pub(super) fn failed(&self) -> usize {
        self.failed
    }

    fn count(&mut self, outcome: Result<String>) {
        match outcome {
            Ok(text) => {
                let version = text.split_whitespace().find(|word| word.starts_with("v"));
                let version = version.unwrap_or("?").trim_end_matches(':').to_owned();
                *self.answered.entry(version).or_default() += 1;
            }
            Err(error) => {
                self.failed += 1;
                if self.why.len() < KEPT {
                    self.why.push(format!("{error:#}"));
                }
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: usize = self.answered.values().sum::<usize>() + self.failed;
        write!(f, "{all} requests")?;
        for (version, count) in &self.answered {
            write!(f, ", {count} answered by {version}")?;
        }
        write!(f, ", {} failed", self.failed)?;
        for why in &self.why {
            write!(f, "\n  {why}")?;
        }
        Ok(())
    }
}

/// Clients at work.
pub(super) struct Load {
    ends: Arc<AtomicBool>,
    clients: Vec<tasks::Handle>,
    report: Arc<Mutex<Report>>,
}

impl Load {
    pub(super) fn start(targets: &[SocketAddr]) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let report = Arc::new(Mutex::new(Report::default()));
        let never = Shutdown::new();
        let clients = (0..CLIENTS).map(|client| {
            let (ends, report, targets) = (ends.clone(), report.clone(), targets.to_vec());
            tasks::spawn("demo-client", &never, async move {
                let mut next = client;
                while !ends.load(Ordering::Relaxed) {
                    let target = targets[next % targets.len()];
                    next += 1;
                    let outcome = ask(target).await;
                    report.lock().count(outcome);
                    tokio::time::sleep(PAUSE).await;
                }
            })
        });
        Self {
            clients: clients.collect(),
            ends,
            report,
        }
    }

    /// Ends after the requests that are under way.
    pub(super) async fn stop(self) -> Report {
        self.ends.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().await;
        }
        std::mem::take(&mut self.report.lock())
    }
}

/// The body of the answer to one GET over a connection of its own.
pub(super) async fn ask(target: SocketAddr) -> Result<String> {
    let request = async {
        let mut stream = TcpStream::connect(target).await.context("connect")?;
        let text = format!("GET / HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n");
        stream.write_all(text.as_bytes()).await.context("ask")?;
        let mut answer = Vec::new();
        let mut bounded = stream.take(ANSWER_BYTES);
        bounded
            .read_to_end(&mut answer)
            .await
            .context("read the answer")?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").context("no whole answer")?;
        if !head.starts_with("HTTP/1.1 200") {
            bail!("{}", head.lines().next().unwrap_or_default());
        }
        Ok(body.to_owned())
    };
    match tokio::time::timeout(WITHIN, request).await {
        Ok(outcome) => outcome.with_context(|| format!("{target}")),
        Err(_) => bail!("{target}: no answer within {WITHIN:?}"),
    }
}
