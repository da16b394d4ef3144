//! Upstream's programs: how they are built and how the suite is run.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::Options;
use super::outcome::{Outcome, of_log, of_report};
use crate::tool::{command, say};

const VERSION: &str = "v1.36.3";

pub(super) fn build(module: &Path, binaries: &Path) -> Result<()> {
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

pub(super) fn run(options: &Options, kubeconfig: &Path, wanted: &[String]) -> Result<Vec<Outcome>> {
    let binaries = &options.binaries;
    let output = binaries.join("report");
    fs::create_dir_all(&output)?;
    let report = output.join("report.json");
    let _ = fs::remove_file(&report);
    let mut ginkgo = command(binaries.join("ginkgo"), &output);
    ginkgo
        .env("KUBECONFIG", kubeconfig)
        .arg(format!("--procs={}", options.procs))
        .arg(format!("--timeout={}", options.timeout))
        .args([
            "-v",
            "--no-color",
            "--json-report=report.json",
            "--junit-report=junit.xml",
        ])
        .arg(format!("--label-filter={}", options.filter))
        .arg(format!("--output-dir={}", output.display()))
        .args(&options.selection)
        .args(
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
    let path = output.join("e2e.log");
    let log = fs::File::create(&path)?;
    ginkgo.stdout(log.try_clone()?).stderr(log);
    say(&format!("the suite's log is {}", path.display()));
    let status = ginkgo
        .status()
        .context("run ginkgo: build it with --build")?;
    match fs::read(&report) {
        Ok(text) => of_report(&serde_json::from_slice(&text)?),
        Err(_) => {
            say(&format!(
                "ginkgo ended with {status} and wrote no report: this is what its log says"
            ));
            Ok(of_log(&String::from_utf8_lossy(&fs::read(&path)?)))
        }
    }
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
