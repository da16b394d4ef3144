//! A fresh local cluster with the suite's images, gone with the value.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::tool::{command, say};

const NAME: &str = "conformance";

pub(super) struct Cluster {
    binary: PathBuf,
    pub(super) kubeconfig: PathBuf,
}

impl Cluster {
    pub(super) fn start(root: &Path, nodes: usize) -> Result<Cluster> {
        let binary = std::env::var_os("TRANSOM_BIN").map(PathBuf::from);
        let binary = binary
            .context("name a static binary in TRANSOM_BIN, or a cluster with --kubeconfig")?;
        let images = root.join(".build/images/conformance.tar");
        ensure!(
            images.exists(),
            "no {}: run `cargo xtask images` first",
            images.display()
        );
        let cluster = Cluster {
            binary,
            kubeconfig: root.join(".build/conformance.kubeconfig"),
        };
        // What a killed run left behind.
        let _ = cluster.transom(root, &["down", "--name", NAME]);
        let kubeconfig = cluster.kubeconfig.display().to_string();
        let count = nodes.to_string();
        let up = [
            "up",
            "--name",
            NAME,
            "--nodes",
            &count,
            "--kubeconfig",
            &kubeconfig,
        ];
        cluster.transom(root, &up)?;
        say("importing the images");
        let archive = images.display().to_string();
        cluster.transom(root, &["image", "import", &archive, "--name", NAME])?;
        Ok(cluster)
    }

    fn transom(&self, root: &Path, words: &[&str]) -> Result<()> {
        let output = command(&self.binary, root).args(words).output();
        let output = output.with_context(|| format!("run {}", self.binary.display()))?;
        let text = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "transom {}: {}",
            words.join(" "),
            text.trim()
        );
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = self.transom(Path::new("/"), &["down", "--name", NAME]) {
            say(&format!("{error:#}"));
        }
    }
}
