//! `cargo xtask clients [SUITE…]`: clients that others wrote, against a cluster.
//!
//! A suite is a row of `suite::SUITES`: what it needs, what is built for it, and how it runs. Each
//! gets a fresh local cluster from `TRANSOM_BIN`, gone afterwards, or the one of `--kubeconfig`, so
//! that upstream itself can be asked (`--beside upstream` keeps that result as a column of its
//! own). A suite ends with a list of checks; they are printed as a Markdown table and written
//! to docs/CLIENTS.md. A check that fails here and not in upstream's column makes the task fail.
//! Programs, virtual environments and logs are below .build/clients.

mod check;
mod coredns;
mod helm;
mod image;
mod metrics;
mod program;
mod report;
mod script;
mod step;
mod suite;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};

use crate::cluster::Cluster;
use crate::tool::say;
use check::Check;
use suite::{SUITES, Setting, Suite};

/// What to run, and against what.
struct Options {
    suites: Vec<&'static Suite>,
    kubeconfig: Option<PathBuf>,
    /// The column that the results belong to.
    column: String,
}

#[expect(clippy::disallowed_methods, reason = "real time is what is shown")]
pub(crate) fn run(arguments: impl Iterator<Item = String>) -> Result<()> {
    let options = parse(arguments)?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the workspace's folder")?;
    let base = root.join(".build/clients");
    fs::create_dir_all(base.join("bin"))?;
    for suite in &options.suites {
        program::needed(suite.tools)?;
    }
    let mut worse = Vec::new();
    for suite in &options.suites {
        let began = Instant::now();
        say(&format!("{}: {}", suite.name, suite.about));
        let checks = one(root, &base, suite, &options)?;
        let results = report::Results::open(root)?;
        let results = results.with(suite, &options.column, &checks)?;
        say(&results.table(suite));
        results.write(root)?;
        worse.extend(results.worse(suite));
        say(&format!(
            "{} took {:.0} s",
            suite.name,
            began.elapsed().as_secs_f32()
        ));
    }
    ensure!(
        worse.is_empty(),
        "{} checks failed: {worse:#?}",
        worse.len()
    );
    Ok(())
}

/// Builds what the suite needs, brings the cluster up and runs it.
fn one(root: &Path, base: &Path, suite: &Suite, options: &Options) -> Result<Vec<Check>> {
    for program in suite.programs {
        program::build(root, &base.join("bin"), program)?;
    }
    let images = image::archive(base, suite)?;
    let work = base.join(suite.name);
    fs::create_dir_all(&work)?;
    let own;
    let kubeconfig = match &options.kubeconfig {
        Some(path) => path.clone(),
        None => {
            own = Cluster::start(root, "clients", suite.nodes, &images)?;
            own.kubeconfig.clone()
        }
    };
    (suite.run)(&Setting {
        folder: root.join("tests/clients").join(suite.name),
        programs: base.join("bin"),
        work,
        kubeconfig,
    })
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options> {
    let mut options = Options {
        suites: Vec::new(),
        kubeconfig: None,
        column: report::OURS.to_owned(),
    };
    while let Some(argument) = arguments.next() {
        let mut value = || {
            let value = arguments.next();
            value.with_context(|| format!("{argument} needs a value"))
        };
        match argument.as_str() {
            "--kubeconfig" => options.kubeconfig = Some(fs::canonicalize(value()?)?),
            "--beside" => options.column = value()?,
            name => match SUITES.iter().find(|suite| suite.name == name) {
                Some(suite) => options.suites.push(suite),
                None => {
                    let names: Vec<&str> = SUITES.iter().map(|suite| suite.name).collect();
                    bail!(
                        "unknown suite {name}; known: {}, --kubeconfig, --beside",
                        names.join(", ")
                    )
                }
            },
        }
    }
    ensure!(
        options.column == report::OURS || options.kubeconfig.is_some(),
        "--beside {} needs the --kubeconfig of that cluster",
        options.column
    );
    if options.suites.is_empty() {
        options.suites = SUITES.iter().collect();
    }
    Ok(options)
}
