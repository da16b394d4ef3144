//! The figures of SPECIFICATION.md, measured on the real binary: `make bench`.
//!
//! Brings up a one-node local cluster with a data folder of its own, measures in the order in
//! which figures disturb each other least (start, idle, pods, load), prints one table and takes
//! the cluster down whatever happened. Client and cluster share the machine's cores, and absolute
//! figures follow the disk: hence the flush probe beside them.

mod cluster;
mod compare;
mod dns;
mod load;
mod pods;
mod probe;
mod report;
mod services;
mod usage;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use cluster::Fixture;
use report::{Figure, Report};

/// Everything together, the cluster's end not included.
const MEASURE_WITHIN: Duration = Duration::from_secs(165);

/// Both sides together.
const COMPARE_WITHIN: Duration = Duration::from_secs(900);

/// `compare --upstream FOLDER`: the folder of upstream's programs.
fn compare_with() -> Result<Option<PathBuf>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Ok(None),
        ["compare", "--upstream", folder] => Ok(Some(folder.into())),
        _ => bail!("known: no words, services, or compare --upstream FOLDER"),
    }
}

fn main() -> ExitCode {
    if !rustix::process::geteuid().is_root() {
        report::line("skipped: a local cluster needs root (try: sudo make bench)");
        return ExitCode::SUCCESS;
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::line(&format!("bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    if std::env::args().skip(1).eq(["services".to_owned()]) {
        let mut report = Report::default();
        services::run()?
            .into_iter()
            .for_each(|figure| report.add(figure));
        report.print();
        return Ok(());
    }
    let binary = binary()?;
    let fixture = Fixture::new(binary)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the async runtime")?;
    if let Some(upstream) = compare_with()? {
        return runtime.block_on(async {
            tokio::select! {
                outcome = tokio::time::timeout(COMPARE_WITHIN, compare::run(&fixture, &upstream)) => {
                    outcome.unwrap_or_else(|_| bail!("not done after {COMPARE_WITHIN:?}"))
                }
                _ = tokio::signal::ctrl_c() => bail!("interrupted"),
            }
        });
    }
    let mut report = Report::default();
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = tokio::time::timeout(MEASURE_WITHIN, measure(&fixture, &mut report)) => {
                outcome.unwrap_or_else(|_| bail!("not done after {MEASURE_WITHIN:?}"))
            }
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        }
    });
    report.print();
    if outcome.is_err() {
        report::line(&fixture.logs());
    }
    outcome
}

async fn measure(fixture: &Fixture, report: &mut Report) -> Result<()> {
    let size = std::fs::metadata(&fixture.binary)
        .with_context(|| format!("read {}", fixture.binary.display()))?
        .len();
    report.add(Figure::new("binary size", "MiB", size as f64 / 1048576.0));
    report.add(probe::flush(&fixture.folder(), "flush probe, before")?);

    report::line("starting a cluster");
    let started = fixture.up().await?;
    let ready = started.api_ready.as_secs_f64();
    report.add(Figure::new("exec to /readyz", "s", ready).limit(1.0));
    let ready = started.node_ready.as_secs_f64();
    report.add(Figure::new("exec to node Ready", "s", ready).limit(3.0));

    report::line("idle for 30 s");
    for figure in usage::idle(fixture).await? {
        report.add(figure);
    }

    report::line("pods");
    match pods::start(fixture).await {
        Ok(figures) => figures.into_iter().for_each(|figure| report.add(figure)),
        Err(error) => report.add(Figure::missing(
            "pod create to Running",
            &format!("{error:#}"),
        )),
    }

    report::line("DNS");
    report.add(dns::core()?);
    match dns::over_udp(fixture).await {
        Ok(figure) => report.add(figure),
        Err(error) => report.add(Figure::missing(
            "DNS replies over UDP",
            &format!("{error:#}"),
        )),
    }

    report::line("Services");
    match tokio::task::spawn_blocking(services::run).await? {
        Ok(figures) => figures.into_iter().for_each(|figure| report.add(figure)),
        Err(error) => report.add(Figure::missing("Services", &format!("{error:#}"))),
    }

    report::line("load of 32 TLS clients");
    for figure in load::run(fixture).await? {
        report.add(figure);
    }
    report.add(probe::flush(&fixture.folder(), "flush probe, after")?);
    Ok(())
}

/// `TRANSOM_BIN`, else what `make release` built.
fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("TRANSOM_BIN") {
        return Ok(path.into());
    }
    let target = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target"));
    let host = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let path = target.join(host).join("release").join("transom");
    match path.canonicalize() {
        Ok(path) => Ok(path),
        Err(_) => bail!(
            "no {}: run `make release` first, or name a static binary in TRANSOM_BIN",
            path.display()
        ),
    }
}
