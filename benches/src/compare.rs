//! Transom beside upstream: the same client does the same work on both, in alternating rounds.
//!
//! `benches compare --upstream FOLDER`, where the folder holds etcd, kube-apiserver,
//! kube-controller-manager, kube-scheduler of v1.36.3. Both write durably to the same disk, both
//! speak TLS, each listens on a port that a process of its own holds, and an answer that is an
//! error ends the comparison. Ratios are ours to upstream's medians; absolute figures are the
//! machine's.

mod objects;
mod owner;
mod rounds;
mod scheduling;
mod side;
mod table;
mod upstream;
mod watching;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::{Instant, sleep};

use crate::cluster::Fixture;
use crate::report::{line, number};
use crate::usage::Process;
use crate::{probe, usage};

use rounds::WORKS;
use side::Side;
pub(crate) use table::Comparison;
use table::Row;
use upstream::Upstream;

/// Both sides together.
pub(crate) const WITHIN: Duration = Duration::from_secs(600);
/// Each work on each side so many times, alternating.
const ROUNDS: usize = 3;
const SETTLE: Duration = Duration::from_secs(15);
const IDLE: Duration = Duration::from_secs(20);

/// Both control planes. Upstream's ends first: it works in the fixture's folder.
struct Pair {
    upstream: Upstream,
    fixture: Fixture,
}

impl Pair {
    fn processes(&self) -> Result<(Vec<Process>, Vec<Process>)> {
        let ours = usage::of_cluster(&self.fixture.name)?;
        Ok((ours, self.upstream.processes()))
    }
}

/// What could be measured is in `table`, also when this fails.
pub(crate) async fn run(binary: &Path, programs: &Path, table: &mut Comparison) -> Result<()> {
    let pair = start(binary, programs, table).await?;
    let outcome = measure(&pair, table).await;
    if outcome.is_err() {
        line(&pair.fixture.logs());
    }
    outcome
}

/// Starts both so often as there are rounds; the last pair stays. Ours comes first, since it is
/// quiet by the time that upstream starts.
async fn start(binary: &Path, programs: &Path, table: &mut Comparison) -> Result<Pair> {
    let (mut mine, mut other) = (Vec::new(), Vec::new());
    let mut pair = None;
    for _ in 0..ROUNDS {
        drop(pair.take());
        let fixture = Fixture::new(binary, 1)?;
        line("starting Transom");
        let started = fixture.up().await.context("start Transom")?;
        mine.push(started.api_ready.as_secs_f64());
        line("starting upstream");
        let (upstream, ready) = Upstream::start(programs, &fixture.folder())
            .await
            .context("start upstream")?;
        other.push(ready.as_secs_f64());
        pair = Some(Pair { upstream, fixture });
    }
    table.rows.push(Row {
        name: "exec to /readyz, first boot",
        unit: "s",
        ours: mine,
        theirs: other,
    });
    let pair = pair.context("no round")?;
    let cluster = pair.fixture.cluster()?;
    let (ours, _) = pair.processes()?;
    owner::check(cluster.api.port(), &ours).context("Transom's API")?;
    Ok(pair)
}

async fn measure(pair: &Pair, table: &mut Comparison) -> Result<()> {
    table.probe(&pair.fixture)?;
    idle(pair, table).await?;
    let connect_ours = || pair.fixture.connect();
    let connect_theirs = || kubectl::connect(&pair.upstream.kubeconfig, None);
    let mut ours = Side::new(&connect_ours)?;
    let mut theirs = Side::new(&connect_theirs)?;
    line("making what is read");
    ours.prepare().await.context("prepare Transom")?;
    theirs.prepare().await.context("prepare upstream")?;
    memory("PSS with 5,601 pods at rest", pair, table)?;
    for work in WORKS {
        line(work.name);
        let (mut mine, mut other) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let rate = (work.measure)(&mut theirs).await;
            other.push(rate.with_context(|| format!("upstream: {}", work.name))?);
            let rate = (work.measure)(&mut ours).await;
            mine.push(rate.with_context(|| format!("Transom: {}", work.name))?);
        }
        table.requests = [ours.requests, theirs.requests];
        table.rows.push(Row {
            name: work.name,
            unit: "/s",
            ours: mine,
            theirs: other,
        });
    }
    table.probe(&pair.fixture)
}

async fn idle(pair: &Pair, table: &mut Comparison) -> Result<()> {
    line("both idle");
    sleep(SETTLE).await;
    memory("idle PSS", pair, table)?;
    let (mine, other) = pair.processes()?;
    let before = (usage::busy(&mine), usage::busy(&other));
    let start = Instant::now();
    sleep(IDLE).await;
    let share = |processes: &[Process], before| {
        usage::share(
            usage::busy(processes).saturating_sub(before),
            start.elapsed(),
        )
    };
    table.rows.push(Row {
        name: "idle processor time over 20 s",
        unit: "% of core",
        ours: vec![share(&mine, before.0)],
        theirs: vec![share(&other, before.1)],
    });
    Ok(())
}

/// Ours has a node; upstream's is the control plane alone.
fn memory(name: &'static str, pair: &Pair, table: &mut Comparison) -> Result<()> {
    let (mine, other) = pair.processes()?;
    table.rows.push(Row {
        name,
        unit: "MiB",
        ours: vec![usage::pss_mib(&mine)?],
        theirs: vec![usage::pss_mib(&other)?],
    });
    Ok(())
}

impl Comparison {
    fn probe(&mut self, fixture: &Fixture) -> Result<()> {
        let median = probe::flush_ms(&fixture.folder())?;
        line(&format!("flush probe: {} ms", number(median)));
        self.probes.push(median);
        Ok(())
    }
}
