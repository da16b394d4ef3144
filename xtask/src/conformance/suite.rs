//! Upstream's programs, which `make suite` builds: how the suite is run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};

use super::ledger::names;
use super::options::Options;
use super::outcome::{Outcome, merge, of_log, of_report};
use super::table;
use crate::tool::{command, say};

/// Past its own timeout ginkgo cleans up and reports; a process that hangs does neither.
const GRACE: Duration = Duration::from_secs(120);

/// The names of all Conformance specs, sorted, a line each.
pub(super) fn specs(binaries: &Path) -> Result<String> {
    let output = command(binaries.join("e2e.test"), binaries)
        .arg("--list-tests")
        .output()
        .context("run e2e.test: `make suite` builds it")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut found: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("[Conformance]"))
        .filter_map(|line| line.split_once(": ").map(|(_, name)| name))
        .collect();
    ensure!(!found.is_empty(), "e2e.test --list-tests names no spec");
    found.sort_unstable();
    Ok(found.join("\n") + "\n")
}

/// One call of ginkgo.
pub(super) struct Call<'a> {
    pub(super) options: &'a Options,
    pub(super) kubeconfig: &'a Path,
    /// The folder below `report` that gets its files; empty for the report's own.
    pub(super) folder: String,
    /// Only these, by their whole names; all that the options select when empty.
    pub(super) wanted: Vec<String>,
    /// Not these.
    pub(super) without: Vec<String>,
    /// Where images have other names: the suite's KUBE_TEST_REPO_LIST.
    pub(super) repositories: Option<PathBuf>,
    pub(super) limit: Duration,
}

/// What a call left.
pub(super) struct Ended {
    pub(super) outcomes: Vec<Outcome>,
    /// Somebody asked for it.
    pub(super) stopped: bool,
    /// The suite came to its end.
    pub(super) complete: bool,
}

pub(super) fn run(call: &Call<'_>) -> Result<Ended> {
    let options = call.options;
    let binaries = &options.binaries;
    let output = binaries.join("report").join(&call.folder);
    // What an earlier run left would be taken for this one's.
    let _ = fs::remove_dir_all(&output);
    fs::create_dir_all(&output)?;
    let mut ginkgo = command(binaries.join("ginkgo"), &output);
    ginkgo
        .env("KUBECONFIG", call.kubeconfig)
        .arg(format!("--procs={}", options.procs))
        .arg(format!("--timeout={}s", call.limit.as_secs().max(1)))
        .args([
            "-v",
            "--no-color",
            "--json-report=report.json",
            "--junit-report=junit.xml",
        ])
        .arg(format!("--label-filter={}", options.filter))
        .arg(format!("--output-dir={}", output.display()))
        .args(named("skip", &call.without));
    // Names and patterns of one run would be either-or.
    match call.wanted.is_empty() {
        true => ginkgo.args(&options.selection),
        false => ginkgo.args(named("focus", &call.wanted)),
    };
    if let Some(repositories) = &call.repositories {
        ginkgo.env("KUBE_TEST_REPO_LIST", repositories);
    }
    let flag = |name: &str, path: &Path| format!("--{name}={}", path.display());
    ginkgo
        .arg(binaries.join("e2e.test"))
        .arg("--")
        .arg(flag("kubeconfig", call.kubeconfig))
        .arg(flag("kubectl-path", &binaries.join("kubectl")))
        .arg(flag("report-dir", &output))
        .args([
            "--provider=skeleton",
            "--num-nodes=2",
            "--allowed-not-ready-nodes=-1",
        ])
        .arg("--dump-logs-on-failure=false");
    let path = output.join("e2e.log");
    let log = fs::File::create(&path)?;
    ginkgo.stdout(log.try_clone()?).stderr(log);
    say(&format!("the suite's log is {}", path.display()));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (status, stopped) = runtime.block_on(watch(ginkgo, call.limit + GRACE))?;
    let (outcomes, complete) = read(&output)?;
    if !complete {
        say(&format!(
            "ginkgo ended with {status} and left no report: this is what its log says"
        ));
        fs::write(output.join("junit.xml"), table::junit(&outcomes))?;
    }
    Ok(Ended {
        outcomes,
        stopped,
        complete: complete && !stopped,
    })
}

fn named<'a>(flag: &'a str, names: &'a [String]) -> impl Iterator<Item = String> + 'a {
    names
        .iter()
        .map(move |name| format!("--{flag}={}$", regex::escape(name)))
}

/// What the files of a run say, and whether ginkgo came to write its report.
pub(super) fn read(folder: &Path) -> Result<(Vec<Outcome>, bool)> {
    let path = folder.join("e2e.log");
    let log = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    let log = of_log(&String::from_utf8_lossy(&log));
    // One that was killed while it wrote leaves half of it.
    let report = fs::read(folder.join("report.json")).ok();
    let report = report.and_then(|text| serde_json::from_slice(&text).ok());
    let report = report.and_then(|report| of_report(&report));
    let complete = report.is_some();
    Ok((merge(report.unwrap_or_default(), log), complete))
}

/// Waits for ginkgo. When it is over time or somebody interrupts, ginkgo is asked to stop, which
/// lets specs clean up and reports be written, and is killed with all its processes if it does not.
/// True if somebody asked.
async fn watch(ginkgo: std::process::Command, limit: Duration) -> Result<(ExitStatus, bool)> {
    let mut ginkgo = tokio::process::Command::from(ginkgo);
    // A group of its own: a terminal's Ctrl-C reaches this process alone, and all can be killed.
    let mut child = ginkgo
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .context("run ginkgo: `make suite` builds it")?;
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    let group = id.and_then(Pid::from_raw).context("ginkgo's process id")?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let why = tokio::select! {
        status = child.wait() => {
            // What a killed ginkgo left running.
            let _ = kill_process_group(group, Signal::KILL);
            return Ok((status.context("wait for ginkgo")?, false));
        }
        () = sleep(limit) => "the suite hangs past its time",
        _ = interrupt.recv() => "interrupted",
        _ = terminate.recv() => "terminated",
        _ = hangup.recv() => "the terminal is gone",
    };
    say(&format!("{why}: stopping the suite"));
    // As a terminal does it: ginkgo leaves it to its processes to stop.
    let _ = kill_process_group(group, Signal::INT);
    let in_time = tokio::select! {
        status = timeout(GRACE, child.wait()) => status.ok(),
        // Who asks twice does not want to wait.
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
    };
    let _ = kill_process_group(group, Signal::KILL);
    let status = match in_time {
        Some(status) => status,
        None => child.wait().await,
    };
    Ok((status.context("wait for ginkgo")?, !why.contains("hangs")))
}

/// Names of specs from a file.
pub(super) fn read_list(path: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    Ok(names(&text))
}
