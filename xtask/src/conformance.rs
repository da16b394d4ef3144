//! `cargo xtask conformance`: upstream's conformance suite against a cluster.
//!
//! Builds kubectl, ginkgo and e2e.test from the Go module in tests/conformance into .build/.
//! Without `--kubeconfig` it starts a fresh local cluster from `TRANSOM_BIN`, gives it the images
//! that `cargo xtask images` makes, and takes it down afterwards. `--list FILE` runs the specs of
//! a list, all of which must pass; otherwise what `--focus`, `--skip`, `--focus-file` and
//! `--filter` leave of the Conformance specs is run and counted. Ginkgo runs serial specs last,
//! one by one. The results are printed per sig and, with `--record`, added to the ledger.

mod cluster;
mod ledger;
mod outcome;
mod suite;
mod table;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use crate::tool::say;

/// What to run, and against what.
struct Options {
    build: bool,
    kubeconfig: Option<PathBuf>,
    binaries: PathBuf,
    list: Option<PathBuf>,
    filter: String,
    /// Further words for ginkgo: `--focus=…`, `--skip=…`, `--focus-file=…`.
    selection: Vec<String>,
    nodes: usize,
    procs: usize,
    timeout: String,
    record: bool,
}

pub(crate) fn run(arguments: impl Iterator<Item = String>) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the workspace's folder")?;
    let options = parse(arguments, root)?;
    if options.build {
        suite::build(&root.join("tests/conformance"), &options.binaries)?;
    }
    let wanted = match &options.list {
        Some(list) => read_list(list)?,
        None => Vec::new(),
    };
    let own;
    let kubeconfig = match &options.kubeconfig {
        Some(path) => path.clone(),
        None => {
            own = cluster::Cluster::start(root, options.nodes)?;
            own.kubeconfig.clone()
        }
    };
    let outcomes = suite::run(&options, &kubeconfig, &wanted)?;
    let ledger = ledger::Ledger::open(&root.join("tests/conformance"))?;
    let text = table::render(&outcomes, &ledger);
    fs::write(options.binaries.join("report/table.md"), &text)?;
    say(&text);
    if options.record {
        ledger.record(root, &outcomes)?;
    }
    let missing: Vec<&String> = wanted
        .iter()
        .filter(|name| !outcomes.iter().any(|o| o.name == **name && o.passed()))
        .collect();
    ensure!(
        missing.is_empty(),
        "{} listed specs did not pass: {missing:#?}",
        missing.len()
    );
    Ok(())
}

fn parse(mut arguments: impl Iterator<Item = String>, root: &Path) -> Result<Options> {
    let mut options = Options {
        build: false,
        kubeconfig: None,
        binaries: root.join(".build"),
        list: None,
        filter: "Conformance".to_owned(),
        selection: Vec::new(),
        nodes: 2,
        procs: 4,
        timeout: "2h".to_owned(),
        record: false,
    };
    while let Some(argument) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .with_context(|| format!("{argument} needs a value"))
        };
        match argument.as_str() {
            "--build" => options.build = true,
            "--record" => options.record = true,
            "--kubeconfig" => options.kubeconfig = Some(fs::canonicalize(value()?)?),
            "--binaries" => options.binaries = fs::canonicalize(value()?)?,
            "--list" => options.list = Some(PathBuf::from(value()?)),
            "--filter" => options.filter = value()?,
            "--focus" | "--skip" | "--focus-file" => {
                let word = format!("{argument}={}", value()?);
                options.selection.push(word);
            }
            "--nodes" => options.nodes = value()?.parse().context("--nodes")?,
            "--procs" => options.procs = value()?.parse().context("--procs")?,
            "--timeout" => options.timeout = value()?,
            other => bail!(
                "unknown option {other}; known: --build, --record, --kubeconfig, --binaries, --list, --filter, --focus, --skip, --focus-file, --nodes, --procs, --timeout"
            ),
        }
    }
    Ok(options)
}

/// Names of specs, a line each; `#` begins a remark.
fn read_list(path: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let names = text.lines().map(str::trim);
    let names = names.filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(names.map(str::to_owned).collect())
}
