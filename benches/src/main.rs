//! The figures of SPECIFICATION.md and docs/BENCHMARKS.md, measured on the real binary.
//!
//! `make bench` runs all of it and writes the document; without words one node is measured, which
//! needs nothing but the binary. Every measuring brings up clusters with a data folder of their
//! own, and takes them down whatever happened. Client and cluster share the machine's cores, and
//! absolute figures follow the disk: hence the flush probe beside them.

mod all;
mod cluster;
mod compare;
mod dns;
mod document;
mod leftovers;
mod load;
mod machine;
mod nodes;
mod pods;
mod probe;
mod report;
mod services;
mod single;
mod usage;
mod words;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::signal::unix::{SignalKind, signal};

use report::Report;
use words::Words;

fn main() -> ExitCode {
    let words = match words::parse(std::env::args().skip(1)) {
        Ok(words) => words,
        Err(error) => {
            report::line(&format!("bench: {error:#}"));
            return ExitCode::FAILURE;
        }
    };
    if !rustix::process::geteuid().is_root() {
        report::line("skipped: a local cluster needs root (try: sudo make bench)");
        return ExitCode::SUCCESS;
    }
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::line(&format!("bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(words: &Words) -> Result<()> {
    let _lock = leftovers::begin()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the async runtime")?;
    runtime.block_on(async {
        let mut ended = signal(SignalKind::terminate()).context("wait for signals")?;
        tokio::select! {
            outcome = measure(words) => outcome,
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
            _ = ended.recv() => bail!("ended by a signal"),
        }
    })
}

async fn measure(words: &Words) -> Result<()> {
    let mut report = Report::default();
    let outcome = match words {
        Words::Single => {
            let binary = binary()?;
            within(single::WITHIN, single::run(&binary, &mut report)).await
        }
        Words::Nodes => {
            let binary = binary()?;
            within(nodes::WITHIN, nodes::run(&binary, &mut report)).await
        }
        Words::Services => {
            report.extend(tokio::task::spawn_blocking(services::run).await??);
            Ok(())
        }
        Words::Compare { programs } => {
            let binary = binary()?;
            let mut table = compare::Comparison::default();
            let run = compare::run(&binary, programs, &mut table);
            let outcome = within(compare::WITHIN, run).await;
            report::line(&table.markdown());
            return outcome;
        }
        Words::All(options) => return all::run(&binary()?, options).await,
    };
    report.print();
    outcome
}

async fn within(limit: Duration, work: impl Future<Output = Result<()>>) -> Result<()> {
    let outcome = tokio::time::timeout(limit, work).await;
    outcome.unwrap_or_else(|_| bail!("not done after {limit:?}"))
}

/// `TRANSOM_BIN`, else what `make release` built.
fn binary() -> Result<PathBuf> {
    let path = match std::env::var_os("TRANSOM_BIN") {
        Some(path) => PathBuf::from(path),
        None => {
            let target = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target"));
            let host = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
            target.join(host).join("release").join("transom")
        }
    };
    match path.canonicalize() {
        Ok(path) => Ok(path),
        Err(_) => bail!(
            "no {}: run `make release` first, or name a static binary in TRANSOM_BIN",
            path.display()
        ),
    }
}
