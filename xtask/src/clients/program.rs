//! What a suite needs: tools of the machine, and programs built from Go modules.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail, ensure};

use crate::tool::{command, modified, say};

/// A program that must be in `PATH`, and what to do when it is not.
pub(super) struct Tool {
    name: &'static str,
    next: &'static str,
}

pub(super) const GO: Tool = Tool {
    name: "go",
    next: "install Go 1.26 (https://go.dev/dl)",
};
pub(super) const PYTHON: Tool = Tool {
    name: "python3",
    next: "apt-get install python3 python3-venv",
};

pub(super) const NODE: Tool = Tool {
    name: "node",
    next: "apt-get install nodejs (version 20 or later)",
};
pub(super) const NPM: Tool = Tool {
    name: "npm",
    next: "apt-get install npm",
};

/// A main package of a Go module in this repository.
pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) module: &'static str,
    pub(super) package: &'static str,
}

/// What looks at the cluster where the client under test cannot.
pub(super) const KUBECTL: Program = Program {
    name: "kubectl",
    module: "tests/conformance",
    package: "k8s.io/kubernetes/cmd/kubectl",
};

/// All tools, or one message that names each missing one with its next step.
pub(super) fn needed(tools: &[Tool]) -> Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = |name: &str| std::env::split_paths(&path).any(|folder| folder.join(name).exists());
    let missing: Vec<String> = tools
        .iter()
        .filter(|tool| !there(tool.name))
        .map(|tool| format!("no {} in PATH: {}", tool.name, tool.next))
        .collect();
    if !missing.is_empty() {
        bail!("{}", missing.join("; "));
    }
    Ok(())
}

/// When the youngest file of a module was changed: what was built before is of another one.
fn newest(module: &Path) -> Option<SystemTime> {
    let entries = fs::read_dir(module).into_iter().flatten().flatten();
    let times = entries.map(|entry| match entry.path() {
        folder if folder.is_dir() => newest(&folder),
        file => modified(&file),
    });
    times.max().flatten()
}

pub(super) fn build(root: &Path, programs: &Path, program: &Program) -> Result<()> {
    let (output, module) = (programs.join(program.name), root.join(program.module));
    if modified(&output) > newest(&module) {
        return Ok(());
    }
    ensure!(
        module.join("go.mod").exists(),
        "no go.mod in {}",
        module.display()
    );
    say(&format!("building {} (minutes)", program.name));
    let unfinished = programs.join(format!("{}.new", program.name));
    let status = command("go", &module)
        .env("CGO_ENABLED", "0")
        .args(["build", "-mod=readonly", "-ldflags", "-s -w", "-o"])
        .arg(&unfinished)
        .arg(program.package)
        .status()
        .context("run go: install Go 1.26")?;
    ensure!(status.success(), "go build {} failed", program.package);
    fs::rename(&unfinished, &output).with_context(|| output.display().to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Also in a folder below the module's.
    #[test]
    fn a_changed_source_is_newer_than_what_was_built_of_it() {
        let module = tempfile::tempdir().unwrap();
        let folder = module.path().join("load");
        fs::create_dir(&folder).unwrap();
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let change = |path: &Path, seconds| {
            let file = fs::File::create(path).unwrap();
            file.set_modified(at(seconds)).unwrap();
        };
        let built = Some(at(1000));
        change(&module.path().join("go.mod"), 10);
        change(&folder.join("main.go"), 20);
        assert!(built > newest(module.path()));
        change(&folder.join("main.go"), 2000);
        assert!(built < newest(module.path()));
    }
}
