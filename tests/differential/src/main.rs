//! The same requests to upstream's API server and to ours, and what differs.
//!
//! Owns the order of a run: two sides, a namespace for the run on both, the corpus group by
//! group, the report. Our side is the API server alone, in this process over a store in memory,
//! or the one a kubeconfig names; upstream's is started from its binaries or named likewise.
//! Without controllers on either side an object stays as its writer left it.

mod case;
mod compare;
mod corpus;
mod ours;
mod report;
mod side;
mod upstream;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use case::Case;
use report::Report;
use side::Side;

/// What the command line says.
#[derive(Default)]
struct Options {
    upstream: Option<PathBuf>,
    oracle: Option<PathBuf>,
    ours: Option<PathBuf>,
    only: String,
    kinds: String,
    report: Option<PathBuf>,
    /// A program to run against upstream with its controllers, instead of the comparison.
    run: Vec<String>,
}

const USAGE: &str = "usage: cargo xtask differential (--upstream DIR | --oracle KUBECONFIG) [--ours KUBECONFIG] [--only GROUP,…] [--kinds KIND,…] [--report FILE] [--run COMMAND…]";

fn options() -> Result<Options> {
    let mut options = Options::default();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--run" {
            options.run = arguments.collect();
            break;
        }
        let value = arguments
            .next()
            .with_context(|| format!("{argument} needs a value\n{USAGE}"))?;
        match argument.as_str() {
            "--upstream" => options.upstream = Some(value.into()),
            "--oracle" => options.oracle = Some(value.into()),
            "--ours" => options.ours = Some(value.into()),
            "--only" => options.only = value,
            "--kinds" => options.kinds = value,
            "--report" => options.report = Some(value.into()),
            other => bail!("unknown argument {other}\n{USAGE}"),
        }
    }
    Ok(options)
}

fn main() -> Result<()> {
    let options = options()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the async runtime")?;
    runtime.block_on(run(&options))
}

async fn run(options: &Options) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = root.join("../../.build/differential");
    std::fs::create_dir_all(&out).with_context(|| format!("create {}", out.display()))?;
    if let ([_, ..], Some(binaries)) = (options.run.as_slice(), &options.upstream) {
        let (mut upstream, _) = upstream::start(binaries, &out).await?;
        upstream.control(binaries)?;
        return beside(&options.run, &upstream.kubeconfig()?);
    }
    let mut started = None;
    let theirs = match (&options.upstream, &options.oracle) {
        (Some(binaries), None) => {
            let (upstream, side) = upstream::start(binaries, &out).await?;
            started = Some(upstream);
            side
        }
        (None, Some(kubeconfig)) => Side::from_kubeconfig(kubeconfig)?,
        _ => bail!("{USAGE}"),
    };
    let ours = match &options.ours {
        Some(kubeconfig) => Side::from_kubeconfig(kubeconfig)?,
        None => ours::start().await?,
    };
    let mut sides = [ours, theirs];
    let name = format!("d{}", std::process::id());
    prepare(&mut sides, &name).await?;
    let mut report = Report::default();
    let wanted =
        |list: &str, name: &str| list.is_empty() || list.split(',').any(|part| part == name);
    for batch in corpus::batches(root, &name, &|kind| wanted(&options.kinds, kind))? {
        for case in batch {
            // What others build on is sent even when nobody asks about it.
            let counts = wanted(&options.only, case.group);
            if !counts && !case.needed {
                continue;
            }
            let (ours, theirs) = both(&mut sides, &case).await?;
            if counts {
                report.add(&case, compare::answers(&case, &ours, &theirs, &name));
            }
        }
    }
    if wanted(&options.only, "openapi") && options.kinds.is_empty() {
        corpus::openapi::compare(&mut sides, &mut report).await?;
    }
    let last = Case::new("", "", "DELETE", format!("/api/v1/namespaces/{name}"));
    both(&mut sides, &last).await?;
    drop(started);
    report.write(&out, options.report.as_deref())
}

/// Runs a program whose `SCENARIO_KUBECONFIG` is upstream's.
#[expect(
    clippy::disallowed_methods,
    reason = "the tests that upstream is to pass are a program of their own"
)]
fn beside(command: &[String], kubeconfig: &Path) -> Result<()> {
    let status = std::process::Command::new(&command[0])
        .args(&command[1..])
        .env("SCENARIO_KUBECONFIG", kubeconfig)
        .status()
        .with_context(|| format!("run {}", command[0]))?;
    anyhow::ensure!(status.success(), "{}: {status}", command.join(" "));
    Ok(())
}

async fn both(sides: &mut [Side; 2], case: &Case) -> Result<(side::Answer, side::Answer)> {
    let [ours, theirs] = sides;
    let (ours, theirs) = tokio::join!(ours.send(case), theirs.send(case));
    Ok((ours?, theirs?))
}

/// A namespace with the account that a controller would have made.
async fn prepare(sides: &mut [Side; 2], name: &str) -> Result<()> {
    for (path, object) in [
        ("/api/v1/namespaces".to_owned(), name),
        (
            format!("/api/v1/namespaces/{name}/serviceaccounts"),
            "default",
        ),
    ] {
        let body = format!(r#"{{"metadata":{{"name":"{object}"}}}}"#);
        let case = Case::new("", "", "POST", path).body(body);
        let (ours, theirs) = both(sides, &case).await?;
        for answer in [ours, theirs] {
            // A controller may have been faster.
            if answer.code != 201 && answer.code != 409 {
                bail!("prepare: {}: {}", answer.code, answer.text());
            }
        }
    }
    Ok(())
}
