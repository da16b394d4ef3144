//! `cargo xtask conformance`: upstream's conformance suite against a cluster.
//!
//! Builds kubectl, ginkgo and e2e.test from the Go module in tests/conformance into .build/.
//! Without `--kubeconfig` it starts a fresh local cluster from `TRANSOM_BIN`, gives it the images
//! that `cargo xtask images` makes, and takes it down afterwards. `--list FILE` runs the specs of
//! a list, all of which must pass; otherwise what `--focus`, `--skip`, `--focus-file` and
//! `--filter` leave of the Conformance specs is run and counted. Ginkgo runs serial specs last,
//! one by one. With `--nodes 0` there is a control plane alone, and the list is that of the specs
//! that need no node. The results are printed per sig and, with `--record`, added to the ledger.
//!
//! `--gate SECONDS` is what continuous integration runs (`gate`); `--report FOLDER` makes the
//! table of an earlier run, or of one that was killed, from its files; `--page` only writes
//! docs/CONFORMANCE.md again.

mod cause;
mod gate;
mod ledger;
mod options;
mod outcome;
mod page;
mod registry;
mod select;
mod suite;
mod table;

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::cluster::Cluster;
use crate::tool::{self, command, say};
use ledger::Files;
use options::{Options, Task};
use outcome::Outcome;

/// Specs that pull their images whatever the node has: they get them from a registry on loopback.
const PULLS: [&str; 1] = [
    "[sig-node] ImageVolume should succeed with pod and pull policy of Always [LinuxOnly] [MinimumKubeletVersion:1.35] [Conformance]",
];

pub(crate) fn run(arguments: impl Iterator<Item = String>) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the workspace's folder")?;
    let options = options::parse(arguments, root)?;
    let files = Files::of(root);
    if options.specs {
        files.write_specs(&suite::specs(&options.binaries)?)?;
    }
    match &options.task {
        Task::Page => files.show(&files.read()?),
        Task::Report(folder) => {
            let (outcomes, _) = suite::read(folder)?;
            finish(&commit(root)?, &options, &files, &outcomes, folder)
        }
        Task::Run => {
            let wanted = match &options.list {
                Some(list) => suite::read_list(list)?,
                None => Vec::new(),
            };
            // Before the run: sources go on while it takes its hour.
            let commit = commit(root)?;
            let place = Place::of(root, &options)?;
            let limit = Duration::from_secs(options.timeout);
            let outcomes = place.run(&options, "", &wanted, limit)?;
            let complete = place.complete.get();
            drop(place);
            let folder = options.binaries.join("report");
            finish(&commit, &options, &files, &outcomes, &folder)?;
            let passed = |name: &&String| outcomes.iter().any(|o| o.name == **name && o.passed());
            let missing: Vec<&String> = wanted.iter().filter(|name| !passed(name)).collect();
            ensure!(
                missing.is_empty(),
                "{} listed specs did not pass: {missing:#?}",
                missing.len()
            );
            ensure!(complete, "the run did not come to its end");
            Ok(())
        }
        Task::Gate(seconds) => gate(root, &options, &files, Duration::from_secs(*seconds)),
    }
}

/// Prints the table, keeps it beside the run's files and, if asked to, in the ledger.
fn finish(
    commit: &str,
    options: &Options,
    files: &Files,
    outcomes: &[Outcome],
    folder: &Path,
) -> Result<()> {
    let mut ledger = files.read()?;
    let text = table::render(outcomes, &ledger);
    fs::write(folder.join("table.md"), &text)?;
    say(&text);
    if options.record {
        let lines = ledger.add(commit, outcomes);
        files.write(&ledger, &lines, "")?;
    }
    Ok(())
}

fn gate(root: &Path, options: &Options, files: &Files, budget: Duration) -> Result<()> {
    let mut ledger = files.read()?;
    let commit = commit(root)?;
    let place = Place::of(root, options)?;
    let runner = |folder: &str, wanted: &[String], limit: Duration| {
        place.run(options, folder, wanted, limit)
    };
    let verdict = gate::run(&ledger, &commit, budget, options.procs, &runner)?;
    drop(place);
    let text = table::render(&verdict.outcomes, &ledger);
    let folder = options.binaries.join("report");
    fs::write(folder.join("table.md"), &text)?;
    say(&text);
    let mut runs = String::new();
    if !verdict.first.is_empty() {
        runs.push_str(&ledger.add(&commit, &verdict.first));
    }
    runs.push_str(&ledger.add(&commit, &verdict.outcomes));
    let mut suspects = String::new();
    for (spec, log) in &verdict.suspects {
        suspects.push_str(&ledger.suspect(spec, &commit, log).unwrap_or_default());
    }
    if options.record {
        files.write(&ledger, &runs, &suspects)?;
    } else {
        // Continuous integration commits nothing: its log and this folder are the record.
        fs::write(folder.join("suspects.jsonl"), &suspects)?;
        fs::write(folder.join("runs.jsonl"), &runs)?;
    }
    say(&verdict.summary());
    ensure!(
        verdict.red.is_empty(),
        "{} specs failed twice on one build: see {}",
        verdict.red.len(),
        folder.display()
    );
    Ok(())
}

/// Where the suite runs.
struct Place {
    kubeconfig: PathBuf,
    /// Names the loopback registry instead of upstream's; none where the images cannot be had.
    repositories: Option<PathBuf>,
    /// Somebody asked the run to stop.
    stopped: Cell<bool>,
    /// Every call came to its end and wrote its report.
    complete: Cell<bool>,
    _own: Option<Cluster>,
}

impl Place {
    fn of(root: &Path, options: &Options) -> Result<Place> {
        if let Some(kubeconfig) = &options.kubeconfig {
            return Ok(Place {
                kubeconfig: kubeconfig.clone(),
                repositories: None,
                stopped: Cell::new(false),
                complete: Cell::new(true),
                _own: None,
            });
        }
        let images = root.join(".build/images/conformance.tar");
        ensure!(
            options.nodes == 0 || images.exists(),
            "no {}: run `cargo xtask images` first",
            images.display()
        );
        let own = Cluster::start(root, "conformance", options.nodes, &images)?;
        let repositories = match &own.archive {
            Some(archive) => {
                let address = registry::serve(archive)?;
                let path = root.join(".build/repositories.yaml");
                let text = format!("promoterE2eRegistry: {address}/e2e-test-images\n");
                fs::write(&path, text)?;
                Some(path)
            }
            None => None,
        };
        Ok(Place {
            kubeconfig: own.kubeconfig.clone(),
            repositories,
            stopped: Cell::new(false),
            complete: Cell::new(true),
            _own: Some(own),
        })
    }

    /// One call of the suite, and a second one for the specs that pull.
    fn run(
        &self,
        options: &Options,
        folder: &str,
        wanted: &[String],
        limit: Duration,
    ) -> Result<Vec<Outcome>> {
        let mut call = suite::Call {
            options,
            kubeconfig: &self.kubeconfig,
            folder: folder.to_owned(),
            wanted: wanted.to_vec(),
            without: Vec::new(),
            repositories: None,
            limit,
        };
        let Some(repositories) = &self.repositories else {
            return self.call(&call);
        };
        let mut pulls = PULLS.map(str::to_owned).to_vec();
        pulls.retain(|name| match wanted.is_empty() {
            true => options.selects(name),
            false => wanted.contains(name),
        });
        call.without.clone_from(&pulls);
        call.wanted.retain(|name| !pulls.contains(name));
        let mut outcomes = Vec::new();
        if wanted.is_empty() || !call.wanted.is_empty() {
            outcomes = self.call(&call)?;
        }
        if !pulls.is_empty() {
            call.folder = format!("{folder}pulls");
            call.wanted = pulls;
            call.without = Vec::new();
            call.repositories = Some(repositories.clone());
            outcomes.extend(self.call(&call)?);
            outcomes.sort_by(|one, other| one.name.cmp(&other.name));
        }
        Ok(outcomes)
    }

    /// After somebody stopped one call there is no other.
    fn call(&self, call: &suite::Call<'_>) -> Result<Vec<Outcome>> {
        if self.stopped.get() {
            return Ok(Vec::new());
        }
        let ended = suite::run(call)?;
        self.stopped.set(ended.stopped);
        self.complete.set(self.complete.get() && ended.complete);
        Ok(ended.outcomes)
    }
}

/// The commit that is tested; `+` says that the sources differ from it.
fn commit(root: &Path) -> Result<String> {
    let mut commit = tool::commit(root)?;
    let same = command("git", root)
        .args(["diff", "--quiet", "HEAD", "--", "crates", "Cargo.lock"])
        .status()
        .context("run git")?;
    if !same.success() {
        commit.push('+');
    }
    Ok(commit)
}
