//! Suites written in the client's own language: where its packages go, how the script is run.
//!
//! A script finds the cluster by `KUBECONFIG` and writes a line a check into the file that
//! `CHECKS` names (`check::of_lines`).

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::check::{Check, of_lines};
use super::suite::Setting;
use crate::images::module_folder;
use crate::tool::{command, say};

/// Tests that the client's own package brings.
const SHIPPED: [&str; 5] = [
    "kubernetes.dynamic.test_client",
    "kubernetes.dynamic.test_discovery",
    "kubernetes.dynamic.client_test",
    "kubernetes.aio.dynamic.client_test",
    "kubernetes.aio.dynamic.discovery_test",
];

pub(super) fn python(setting: &Setting) -> Result<Vec<Check>> {
    let place = setting.work.join("venv");
    let wanted = setting.folder.join("requirements.txt");
    if renewed(&place, &wanted)? {
        say("installing the Python client");
        must(command("python3", &setting.work).args(["-m", "venv", "venv"]))?;
        let mut pip = command(place.join("bin/pip"), &setting.work);
        must(
            pip.args(["install", "--quiet", "--requirement"])
                .arg(&wanted),
        )?;
        settled(&place, &wanted)?;
    }
    let mut pytest = command(place.join("bin/python"), &setting.work);
    pytest
        .args([
            "-m",
            "pytest",
            "-p",
            "checks",
            "-p",
            "no:cacheprovider",
            "--pyargs",
        ])
        .args(SHIPPED)
        .arg(&setting.folder)
        .env("PYTHONPATH", &setting.folder)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    run(setting, &mut pytest)
}

pub(super) fn javascript(setting: &Setting) -> Result<Vec<Check>> {
    let place = setting.work.join("packages");
    let wanted = setting.folder.join("package-lock.json");
    if renewed(&place, &wanted)? {
        say("installing the JavaScript client");
        fs::create_dir_all(&place)?;
        for name in ["package.json", "package-lock.json"] {
            fs::copy(setting.folder.join(name), place.join(name))?;
        }
        let mut npm = command("npm", &place);
        must(npm.args(["ci", "--silent", "--ignore-scripts"]))?;
        settled(&place, &wanted)?;
    }
    let mut node = command("node", &setting.work);
    node.arg(setting.folder.join("cluster.js"))
        .env("PACKAGES", &place);
    run(setting, &mut node)
}

/// Fake nodes by the hundred. `CLIENTS_NODES` and `CLIENTS_PODS` say how many of each.
pub(super) fn kwok(setting: &Setting) -> Result<Vec<Check>> {
    let mut load = command(setting.programs.join("kwok-load"), &setting.work);
    load.env("KWOK", setting.programs.join("kwok")).env(
        "STAGES",
        module_folder(&setting.folder, "sigs.k8s.io/kwok")?,
    );
    run(setting, &mut load)
}

/// Whether the folder must be filled anew, because what is wanted changed.
fn renewed(place: &Path, wanted: &Path) -> Result<bool> {
    let text = fs::read(wanted).with_context(|| wanted.display().to_string())?;
    if fs::read(place.join("wanted")).is_ok_and(|had| had == text) {
        return Ok(false);
    }
    let _ = fs::remove_dir_all(place);
    Ok(true)
}

fn settled(place: &Path, wanted: &Path) -> Result<()> {
    fs::copy(wanted, place.join("wanted"))?;
    Ok(())
}

fn must(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("run {program}"))?;
    ensure!(status.success(), "{program} ended with {status}");
    Ok(())
}

fn run(setting: &Setting, script: &mut Command) -> Result<Vec<Check>> {
    let path = setting.work.join("checks.jsonl");
    File::create(&path).with_context(|| path.display().to_string())?;
    let log = setting.work.join("log");
    let output = File::create(&log).with_context(|| log.display().to_string())?;
    say(&format!("the log is {}", log.display()));
    let status = script
        .env("KUBECONFIG", &setting.kubeconfig)
        .env("CHECKS", &path)
        .stdout(output.try_clone()?)
        .stderr(output)
        .status()
        .context("run the script")?;
    let checks = of_lines(&fs::read_to_string(&path)?)?;
    let failed = checks.iter().any(|check| check.failure.is_some());
    ensure!(
        !checks.is_empty() && (status.success() || failed),
        "the script ended with {status} and names no failed check: see {}",
        log.display()
    );
    Ok(checks)
}
