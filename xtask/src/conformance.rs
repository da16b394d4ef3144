//! `cargo xtask conformance`: upstream's conformance specs that need no node.
//!
//! Builds kubectl, ginkgo and e2e.test from the Go module in tests/conformance into .build/ and
//! runs the specs listed in tests/conformance/no-node.txt against a kubeconfig: all of them must
//! pass. Other specs are selected by `--focus-file`; those may fail and are only counted.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::tool::{command, say};

const VERSION: &str = "v1.36.3";
const FILTER: &str = "Conformance && !Serial && !Slow && !Disruptive";

struct Options {
    build: bool,
    kubeconfig: Option<PathBuf>,
    binaries: Option<PathBuf>,
    focus_files: Vec<String>,
    list: Option<PathBuf>,
    procs: String,
    timeout: String,
}

/// One spec's name and how it ended.
struct Outcome {
    name: String,
    failure: Option<String>,
}

pub(crate) fn run(arguments: impl Iterator<Item = String>) -> Result<()> {
    let options = parse(arguments)?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the workspace's folder")?;
    let binaries = options
        .binaries
        .clone()
        .unwrap_or_else(|| root.join(".build"));
    if options.build {
        build(&root.join("tests/conformance"), &binaries)?;
    }
    let Some(kubeconfig) = &options.kubeconfig else {
        ensure!(
            options.build,
            "name a cluster: --kubeconfig FILE, or only --build"
        );
        return Ok(());
    };
    let list = options
        .list
        .clone()
        .unwrap_or_else(|| root.join("tests/conformance/no-node.txt"));
    let wanted = if options.focus_files.is_empty() {
        read_list(&list)?
    } else {
        Vec::new()
    };
    let outcomes = execute(&options, &binaries, kubeconfig, &wanted)?;
    report(&outcomes, &wanted)
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options> {
    let mut options = Options {
        build: false,
        kubeconfig: None,
        binaries: None,
        focus_files: Vec::new(),
        list: None,
        procs: "4".to_owned(),
        timeout: "12m".to_owned(),
    };
    while let Some(argument) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .with_context(|| format!("{argument} needs a value"))
        };
        match argument.as_str() {
            "--build" => options.build = true,
            "--kubeconfig" => options.kubeconfig = Some(fs::canonicalize(value()?)?),
            "--binaries" => options.binaries = Some(fs::canonicalize(value()?)?),
            "--list" => options.list = Some(PathBuf::from(value()?)),
            "--focus-file" => options.focus_files.push(value()?),
            "--procs" => options.procs = value()?,
            "--timeout" => options.timeout = value()?,
            other => bail!(
                "unknown option {other}; known: --build, --kubeconfig, --binaries, --list, --focus-file, --procs, --timeout"
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

fn build(module: &Path, binaries: &Path) -> Result<()> {
    fs::create_dir_all(binaries)?;
    let mut flags = "-s -w".to_owned();
    for package in [
        "k8s.io/component-base/version",
        "k8s.io/client-go/pkg/version",
    ] {
        for (name, value) in [
            ("gitVersion", VERSION),
            ("gitMajor", "1"),
            ("gitMinor", "36"),
        ] {
            flags.push_str(&format!(" -X {package}.{name}={value}"));
        }
    }
    let steps: [(&[&str], &str, &str); 3] = [
        (&["build"], "kubectl", "k8s.io/kubernetes/cmd/kubectl"),
        (&["build"], "ginkgo", "github.com/onsi/ginkgo/v2/ginkgo"),
        (&["test", "-c"], "e2e.test", "k8s.io/kubernetes/test/e2e"),
    ];
    for (verb, name, package) in steps {
        let output = binaries.join(name);
        if output.exists() {
            continue;
        }
        say(&format!("building {name}"));
        let status = command("go", module)
            .env("CGO_ENABLED", "0")
            .args(verb)
            .args(["-mod=readonly", "-ldflags", &flags, "-o"])
            .arg(&output)
            .arg(package)
            .status()
            .context("run go: install Go 1.26")?;
        ensure!(status.success(), "go {} {package} failed", verb.join(" "));
    }
    Ok(())
}

fn execute(
    options: &Options,
    binaries: &Path,
    kubeconfig: &Path,
    wanted: &[String],
) -> Result<Vec<Outcome>> {
    let output = binaries.join("report");
    fs::create_dir_all(&output)?;
    let mut ginkgo = command(binaries.join("ginkgo"), binaries);
    ginkgo
        .env("KUBECONFIG", kubeconfig)
        .arg(format!("--procs={}", options.procs))
        .arg(format!("--timeout={}", options.timeout))
        .args(["--no-color", "--json-report=report.json"])
        .arg(format!("--label-filter={FILTER}"))
        .arg(format!("--output-dir={}", output.display()));
    ginkgo.args(
        options
            .focus_files
            .iter()
            .map(|file| format!("--focus-file={file}")),
    );
    ginkgo.args(
        wanted
            .iter()
            .map(|name| format!("--focus={}$", quote(name))),
    );
    let flag = |name: &str, path: &Path| format!("--{name}={}", path.display());
    ginkgo
        .arg(binaries.join("e2e.test"))
        .arg("--")
        .arg(flag("kubeconfig", kubeconfig))
        .arg(flag("kubectl-path", &binaries.join("kubectl")))
        .arg(flag("report-dir", &output))
        .args([
            "--provider=skeleton",
            "--num-nodes=2",
            "--allowed-not-ready-nodes=-1",
        ])
        .arg("--dump-logs-on-failure=false");
    let log = fs::File::create(output.join("log.txt"))?;
    ginkgo.stdout(log.try_clone()?).stderr(log);
    let status = ginkgo
        .status()
        .context("run ginkgo: build it with --build")?;
    let report = output.join("report.json");
    let text = fs::read(&report).with_context(|| {
        format!(
            "ginkgo ended with {status} and wrote no {}",
            report.display()
        )
    })?;
    outcomes(&serde_json::from_slice(&text)?)
}

/// A regular expression that matches `name` alone.
fn quote(name: &str) -> String {
    let mut pattern = String::with_capacity(name.len() + 16);
    for character in name.chars() {
        if "\\.+*?()|[]{}^$".contains(character) {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

fn outcomes(report: &Value) -> Result<Vec<Outcome>> {
    let specs = report[0]["SpecReports"]
        .as_array()
        .context("a report of ginkgo's")?;
    let mut found = Vec::new();
    for spec in specs.iter().filter(|spec| spec["LeafNodeType"] == "It") {
        let state = spec["State"].as_str().unwrap_or_default();
        if matches!(state, "skipped" | "pending") {
            continue;
        }
        let containers = spec["ContainerHierarchyTexts"].as_array();
        let texts = containers
            .into_iter()
            .flatten()
            .chain([&spec["LeafNodeText"]]);
        let name: Vec<&str> = texts.filter_map(Value::as_str).collect();
        let message = spec["Failure"]["Message"].as_str().unwrap_or_default();
        found.push(Outcome {
            name: name.join(" "),
            failure: (state != "passed").then(|| format!("{state}: {message}")),
        });
    }
    Ok(found)
}

fn report(outcomes: &[Outcome], wanted: &[String]) -> Result<()> {
    let mut passed = 0;
    for outcome in outcomes {
        match &outcome.failure {
            None => {
                passed += 1;
                say(&format!("ok     {}", outcome.name));
            }
            Some(failure) => {
                let first: String = failure.chars().take(600).collect();
                say(&format!("FAILED {}\n       {first}", outcome.name));
            }
        }
    }
    say(&format!(
        "{passed} passed, {} failed",
        outcomes.len() - passed
    ));
    let missing: Vec<&String> = wanted
        .iter()
        .filter(|name| {
            !outcomes
                .iter()
                .any(|o| &o.name == *name && o.failure.is_none())
        })
        .collect();
    ensure!(
        missing.is_empty(),
        "{} listed specs did not pass: {missing:#?}",
        missing.len()
    );
    Ok(())
}
