//! `cargo xtask codegen`: the type table, the list of field names and the views.
//!
//! Owns the order: the Go program in xtask/codegen prints the facts, names are collected from
//! them, views are written from the table. Without Go the committed table is kept and the rest
//! is made from it.

mod names;
mod views;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

/// The module whose OpenAPI files are read.
const MODULE: &str = "k8s.io/kubernetes@v1.36.3";

/// Where the table is committed, from the repository's root.
const TABLE: &str = "crates/schema/table/types.txt";

/// Writes everything that is generated.
pub(crate) fn run(check: bool) -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    let table = match facts(&root)? {
        Some(text) => {
            files.push((PathBuf::from(TABLE), text.clone()));
            text
        }
        None => read(&root.join(TABLE))?,
    };
    files.push((
        "crates/schema/src/names/list.rs".into(),
        names::list(&table),
    ));
    if !check {
        // Views are written through the table that `schema` embeds: this run's table may need
        // a second run, which the loop over the files below asks for.
        for (path, text) in &files {
            write(&root.join(path), text)?;
        }
    }
    files.extend(views::all());
    let mut stale = Vec::new();
    for (path, text) in files {
        let path = root.join(path);
        let text = format(&path, text)?;
        if std::fs::read_to_string(&path).is_ok_and(|old| old == text) {
            continue;
        }
        stale.push(path.display().to_string());
        if !check {
            write(&path, &text)?;
        }
    }
    match check && !stale.is_empty() {
        true => anyhow::bail!(
            "run `cargo xtask codegen`; not up to date: {}",
            stale.join(", ")
        ),
        false => Ok(()),
    }
}

/// The table from the Go types; `None` without Go or without the module's sources.
fn facts(root: &Path) -> anyhow::Result<Option<String>> {
    let sources = module_cache()?.join(MODULE);
    if !sources.is_dir() || !in_path("go") {
        return Ok(None);
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "a developer's tool; the directory is given"
    )]
    let output = Command::new("go")
        .current_dir(root.join("xtask/codegen"))
        .args(["run", "."])
        .arg(&sources)
        .output()
        .context("run the Go program of xtask/codegen")?;
    anyhow::ensure!(
        output.status.success(),
        "xtask/codegen failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(Some(
        String::from_utf8(output.stdout).context("the table is text")?,
    ))
}

fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn module_cache() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("GOMODCACHE") {
        return Ok(PathBuf::from(path));
    }
    let home = std::env::var_os("HOME").context("neither GOMODCACHE nor HOME is set")?;
    Ok(PathBuf::from(home).join("go/pkg/mod"))
}

/// Rust files as rustfmt leaves them.
fn format(path: &Path, text: String) -> anyhow::Result<String> {
    if path.extension().is_none_or(|e| e != "rs") {
        return Ok(text);
    }
    let scratch = std::env::temp_dir().join(format!("transom-codegen-{}.rs", std::process::id()));
    write(&scratch, &text)?;
    #[expect(
        clippy::disallowed_methods,
        reason = "a developer's tool; the file is given"
    )]
    let status = Command::new("rustfmt")
        .args([
            "--edition",
            "2024",
            "--config",
            "max_width=100,skip_children=true",
        ])
        .arg(&scratch)
        .status();
    let status = match status {
        Ok(status) => status,
        Err(_) => return Ok(text),
    };
    let formatted = read(&scratch)?;
    std::fs::remove_file(&scratch).with_context(|| format!("remove {}", scratch.display()))?;
    Ok(if status.success() { formatted } else { text })
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;
