//! A fresh local cluster with a suite's images, gone with the value.
//!
//! Its name is the clone's, so that runs of two clones do not take each other's cluster down; a
//! lock keeps two runs of one clone apart, and what a killed run left is taken down first.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use rustix::fs::{FlockOperation, flock};
use sha2::{Digest as _, Sha256};

use crate::tool::{command, say};

pub(crate) struct Cluster {
    binary: PathBuf,
    root: PathBuf,
    name: String,
    pub(crate) kubeconfig: PathBuf,
    /// The images on this host; none where no node runs them.
    pub(crate) archive: Option<PathBuf>,
    _lock: File,
}

impl Cluster {
    /// Starts the binary that `TRANSOM_BIN` names. `suite` is in the names of the cluster, of its
    /// kubeconfig and of the lock; every node gets the images of `archive`.
    pub(crate) fn start(root: &Path, suite: &str, nodes: usize, archive: &Path) -> Result<Cluster> {
        let binary = std::env::var_os("TRANSOM_BIN").map(PathBuf::from);
        let binary = binary
            .context("name a static binary in TRANSOM_BIN, or a cluster with --kubeconfig")?;
        fs::create_dir_all(root.join(".build"))?;
        let lock = File::create(root.join(format!(".build/{suite}.lock")))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .with_context(|| format!("another {suite} run of this clone is under way"))?;
        let digest = Sha256::digest(root.as_os_str().as_encoded_bytes());
        let cluster = Cluster {
            binary,
            root: root.to_owned(),
            name: format!("{:.4}-{:02x}{:02x}", suite, digest[0], digest[1]),
            kubeconfig: root.join(format!(".build/{suite}.kubeconfig")),
            archive: (nodes > 0).then(|| archive.to_owned()),
            _lock: lock,
        };
        let _ = cluster.transom(&["down"]);
        let kubeconfig = cluster.kubeconfig.display().to_string();
        let count = nodes.to_string();
        cluster.transom(&["up", "--nodes", &count, "--kubeconfig", &kubeconfig])?;
        if let Some(archive) = &cluster.archive {
            say("importing the images");
            let archive = archive.display().to_string();
            cluster.transom(&["image", "import", &archive])?;
        }
        Ok(cluster)
    }

    fn transom(&self, words: &[&str]) -> Result<()> {
        let output = command(&self.binary, &self.root)
            .args(words)
            .args(["--name", &self.name])
            .output();
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
        if let Err(error) = self.transom(&["down"]) {
            say(&format!("{error:#}"));
        }
    }
}
