//! `cargo xtask differential`: builds and runs `tests/differential` with the same arguments.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::tool::command;

pub(crate) fn run(arguments: impl Iterator<Item = String>) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the workspace")?;
    let status = command(env!("CARGO"), root)
        .args(["run", "--quiet", "--package", "differential", "--"])
        .args(arguments)
        .status()
        .context("run cargo")?;
    ensure!(status.success(), "the comparison failed: {status}");
    Ok(())
}
