//! Transom beside upstream: the same client does the same work on both, in alternating rounds.
//!
//! `benches compare --upstream FOLDER`, where the folder holds etcd, kube-apiserver,
//! kube-controller-manager, kube-scheduler of v1.36.3. Both write durably to the same disk, both
//! speak TLS, and an answer that is an error ends the comparison. Ratios are ours to upstream's
//! medians; absolute figures are the machine's.

mod upstream;
mod work;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use kubectl::Connection;
use tokio::time::{Instant, sleep};

use crate::cluster::Fixture;
use crate::report::{line, number};
use crate::{probe, usage};

use upstream::Upstream;
use work::{Side, WORKS};

/// Each work on each side so many times, alternating.
const ROUNDS: usize = 3;
const SETTLE: Duration = Duration::from_secs(15);
const IDLE: Duration = Duration::from_secs(20);

pub(crate) async fn run(fixture: &Fixture, folder: &Path) -> Result<()> {
    let mut rows = Vec::new();
    line(&format!("flush probe before: {} ms", flush(fixture)?));
    line("starting upstream");
    let (upstream, theirs) = Upstream::start(folder, &fixture.folder()).await?;
    line("starting Transom");
    let ours = fixture.up().await?;
    rows.push(Row::single(
        "exec to /readyz",
        "s",
        ours.api_ready.as_secs_f64(),
        theirs.as_secs_f64(),
    ));
    line("both idle");
    sleep(SETTLE).await;
    let (mine, other) = (usage::of_cluster(&fixture.name)?, upstream.processes());
    rows.push(Row::single(
        "idle PSS (ours with a node)",
        "MiB",
        usage::pss_mib(&mine)?,
        usage::pss_mib(&other)?,
    ));
    let before = (usage::ticks(&mine), usage::ticks(&other));
    let start = Instant::now();
    sleep(IDLE).await;
    let share = |now: u64, then: u64| usage::share(now.saturating_sub(then), start.elapsed());
    rows.push(Row::single(
        "idle processor time",
        "% of core",
        share(usage::ticks(&mine), before.0),
        share(usage::ticks(&other), before.1),
    ));
    let connect_ours = || fixture.connect();
    let connect_theirs = || kubectl::connect(&upstream.kubeconfig, None);
    let mut ours = side(&connect_ours).await.context("prepare Transom")?;
    let mut theirs = side(&connect_theirs).await.context("prepare upstream")?;
    for work in WORKS {
        line(work.name);
        let (mut mine, mut other) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            other.push(
                (work.measure)(&mut theirs)
                    .await
                    .with_context(|| format!("upstream: {}", work.name))?,
            );
            mine.push(
                (work.measure)(&mut ours)
                    .await
                    .with_context(|| format!("Transom: {}", work.name))?,
            );
        }
        rows.push(Row {
            name: work.name,
            unit: "/s",
            ours: mine,
            theirs: other,
        });
    }
    line(&format!("flush probe after: {} ms", flush(fixture)?));
    print(&rows);
    Ok(())
}

async fn side(connect: &dyn Fn() -> Result<Connection>) -> Result<Side> {
    let clients = (0..work::CLIENTS).map(|_| Ok(connect()?.client));
    let mut side = Side::new(clients.collect::<Result<_>>()?);
    side.prepare().await?;
    Ok(side)
}

fn flush(fixture: &Fixture) -> Result<String> {
    Ok(number(probe::flush_ms(&fixture.folder())?))
}

struct Row {
    name: &'static str,
    unit: &'static str,
    ours: Vec<f64>,
    theirs: Vec<f64>,
}

impl Row {
    fn single(name: &'static str, unit: &'static str, ours: f64, theirs: f64) -> Self {
        Self {
            name,
            unit,
            ours: vec![ours],
            theirs: vec![theirs],
        }
    }
}

/// A table in Markdown, fit for docs/BENCHMARKS.md.
fn print(rows: &[Row]) {
    line("\n| work | unit | Transom: median (min–max) | upstream: median (min–max) | ratio |");
    line("|---|---|---|---|---|");
    for row in rows {
        let (ours, theirs) = (spread(&row.ours), spread(&row.theirs));
        let ratio = if row.unit == "/s" {
            median(&row.ours) / median(&row.theirs)
        } else {
            median(&row.theirs) / median(&row.ours)
        };
        line(&format!(
            "| {} | {} | {ours} | {theirs} | {}× |",
            row.name,
            row.unit,
            number(ratio)
        ));
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn spread(values: &[f64]) -> String {
    if values.len() == 1 {
        return number(values[0]);
    }
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    format!(
        "{} ({}–{})",
        number(median(values)),
        number(least),
        number(most)
    )
}
