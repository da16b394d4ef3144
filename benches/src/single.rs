//! One node: size, start, idle, pods, names, Services, requests, in the order in which figures
//! disturb each other least.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::cluster::Fixture;
use crate::report::{Figure, Report, line};
use crate::{dns, load, pods, probe, services, usage};

/// Everything together, the cluster's end not included.
pub(crate) const WITHIN: Duration = Duration::from_secs(165);

/// What could be measured is in the report, also when this fails.
pub(crate) async fn run(binary: &Path, report: &mut Report) -> Result<()> {
    let fixture = Fixture::new(binary, 1)?;
    let outcome = measure(&fixture, report).await;
    if outcome.is_err() {
        line(&fixture.logs());
    }
    outcome
}

async fn measure(fixture: &Fixture, report: &mut Report) -> Result<()> {
    let size = std::fs::metadata(&fixture.binary)
        .with_context(|| format!("read {}", fixture.binary.display()))?
        .len();
    let size = size as f64 / 1048576.0;
    report.add(Figure::new("binary size", "MiB", size).limit(57.0));
    report.add(probe::flush(&fixture.folder(), "flush probe, before")?);

    line("starting a cluster");
    let started = fixture.up().await?;
    let ready = started.api_ready.as_secs_f64();
    report.add(Figure::new("exec to /readyz", "s", ready).limit(0.5));
    let ready = started.node_ready.as_secs_f64();
    report.add(Figure::new("exec to node Ready", "s", ready).limit(2.0));

    line("idle for 30 s");
    report.extend(usage::idle(fixture).await?);

    line("pods");
    match pods::start(fixture).await {
        Ok(figures) => report.extend(figures),
        Err(error) => report.add(Figure::missing(
            "pod create to Running",
            &format!("{error:#}"),
        )),
    }

    line("DNS");
    report.add(dns::core()?);
    match dns::over_udp(fixture).await {
        Ok(figure) => report.add(figure),
        Err(error) => report.add(Figure::missing(
            "DNS replies over UDP",
            &format!("{error:#}"),
        )),
    }

    line("Services");
    match tokio::task::spawn_blocking(services::run).await? {
        Ok(figures) => report.extend(figures),
        Err(error) => report.add(Figure::missing("Services", &format!("{error:#}"))),
    }

    line("load of 32 TLS clients");
    report.extend(load::run(fixture).await?);
    report.add(probe::flush(&fixture.folder(), "flush probe, after")?);
    Ok(())
}
