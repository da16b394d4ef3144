//! One local cluster on disk: its names, folders and state.
//!
//! Everything a cluster holds on the host has a name that follows from the cluster's name and its
//! data folder, so that `down` finds it without a state file. The state holds only what was
//! chosen: ranges, port, nodes.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Finding};
use crate::files;
use crate::ranges::Ranges;

/// Version of the state file.
const VERSION: u32 = 1;
/// What a cluster's folder holds.
const OWN: [&str; 10] = [
    "admin.conf",
    "bin",
    "cluster.json",
    "keeper",
    "logs",
    "netns",
    "nodes",
    "pki",
    "server",
    "server.yaml",
];
const NAME_LIMIT: usize = 32;
const LOCK_ATTEMPTS: u32 = 20;
const DEFAULT_ROOT: &str = "/var/lib/transom";

/// Where local clusters live: `TRANSOM_DATA` or `/var/lib/transom`.
#[must_use]
pub(crate) fn default_root() -> PathBuf {
    std::env::var_os("TRANSOM_DATA").map_or_else(|| DEFAULT_ROOT.into(), PathBuf::from)
}

/// Names and folders of one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) root: PathBuf,
}

impl Place {
    /// The place of cluster `name` below the data folder `root`.
    pub(crate) fn new(root: &Path, name: &str) -> Result<Self, Error> {
        let label = !name.is_empty()
            && name.len() <= NAME_LIMIT
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !name.starts_with('-')
            && !name.ends_with('-');
        if !label {
            return Err(Error::Preflight(vec![Finding::new(
                format_args!("cluster name {name:?}"),
                "is not a lower-case DNS label of at most 32 characters",
                "choose a name such as \"dev\" or \"team-1\"",
            )]));
        }
        let root = std::path::absolute(root).map_err(Error::file("find", root))?;
        Ok(Self {
            name: name.to_owned(),
            root,
        })
    }

    /// Eight hex digits that tell clusters of the same name in other data folders apart.
    pub(crate) fn id(&self) -> String {
        let text = format!("{}\0{}", self.root.display(), self.name);
        let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        format!("{:08x}", hash >> 32)
    }

    pub(crate) fn clusters(root: &Path) -> PathBuf {
        root.join("clusters")
    }

    pub(crate) fn dir(&self) -> PathBuf {
        Self::clusters(&self.root).join(&self.name)
    }

    pub(crate) fn join(&self, part: &str) -> PathBuf {
        self.dir().join(part)
    }

    pub(crate) fn state_file(&self) -> PathBuf {
        self.join("cluster.json")
    }

    pub(crate) fn log(&self, process: &str) -> PathBuf {
        self.join("logs").join(format!("{process}.log"))
    }

    /// The host's end of the hub link.
    pub(crate) fn link(&self) -> String {
        format!("trh{}", self.id())
    }

    /// The host's nft table.
    pub(crate) fn table(&self) -> netlink::nft::Table {
        let name = format!("transom-{}-{}", self.name, self.id());
        netlink::nft::Table::new(netlink::nft::Family::Inet, name)
    }

    /// The control group of everything the cluster runs, below what the host's mounts show.
    pub(crate) fn cgroup(&self) -> String {
        format!("/transom-{}-{}", self.name, self.id())
    }

    pub(crate) fn namespace(&self, name: &str) -> PathBuf {
        self.join("netns").join(name)
    }

    pub(crate) fn lock_file(&self) -> PathBuf {
        Self::clusters(&self.root).join(format!(".{}.lock", self.name))
    }

    /// One command at a time works on a cluster. The lock file lies beside the cluster's folder,
    /// so that `down` can remove the folder while it holds the lock.
    pub(crate) fn lock(&self) -> Result<Lock, Error> {
        for folder in [&self.root, &Self::clusters(&self.root)] {
            // Others' folders keep their mode; ours do not depend on the umask.
            if !folder.exists() {
                files::folder(folder, 0o755)?;
            }
        }
        let path = self.lock_file();
        let mut attempt = 0;
        loop {
            let file = File::create(&path).map_err(Error::file("create", &path))?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                // A killed command's child may hold it for an instant, between fork and exec.
                Err(Errno::WOULDBLOCK) if attempt < LOCK_ATTEMPTS => {
                    attempt += 1;
                    std::thread::sleep(Duration::from_millis(50));
                    continue;
                }
                Err(Errno::WOULDBLOCK) => return Err(Error::Busy(self.name.clone())),
                Err(errno) => return Err(Error::errno("lock", path.display())(errno)),
                Ok(()) => {}
            }
            // A `down` that ended in between has removed the file we hold.
            let ours = rustix::fs::fstat(&file).map_err(Error::errno("stat", path.display()))?;
            match rustix::fs::stat(&path) {
                Ok(there) if there.st_ino == ours.st_ino => return Ok(Lock { path, _file: file }),
                _ => {}
            }
        }
    }

    pub(crate) fn load(&self) -> Result<Option<State>, Error> {
        let path = self.state_file();
        let Some(text) = files::read(&path)? else {
            return Ok(None);
        };
        let damaged = |cause: Box<dyn std::error::Error + Send + Sync>| Error::State {
            cluster: self.name.clone(),
            path: path.clone(),
            cause,
        };
        let state: State = serde_json::from_str(&text).map_err(|cause| damaged(Box::new(cause)))?;
        if state.version != VERSION {
            let cause = format!(
                "it has version {}, this program reads version {VERSION}",
                state.version
            );
            return Err(damaged(cause.into()));
        }
        Ok(Some(state))
    }

    /// What is in the cluster's folder and was put there by none of us. Without a state that says
    /// that the folder is ours it must be neither used nor removed.
    pub(crate) fn foreign(&self) -> Result<(), Error> {
        if self.state_file().exists() {
            return Ok(());
        }
        let entries = std::fs::read_dir(self.dir())
            .into_iter()
            .flatten()
            .flatten();
        let foreign = entries.map(|entry| entry.path()).find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            !OWN.contains(&name.strip_suffix(".new").unwrap_or(&name))
        });
        match foreign {
            Some(path) => Err(Error::Foreign {
                cluster: self.name.clone(),
                path,
            }),
            None => Ok(()),
        }
    }

    pub(crate) fn save(&self, state: &State) -> Result<(), Error> {
        let path = self.state_file();
        let text = serde_json::to_string_pretty(state).map_err(|cause| Error::Content {
            kind: "cluster state",
            path: path.clone(),
            cause: Box::new(cause),
        })?;
        files::write(&path, text.as_bytes(), 0o644)
    }
}

/// Held while a command works on a cluster.
#[derive(Debug)]
pub(crate) struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// Ends the lock and removes its file: the cluster is gone.
    pub(crate) fn remove(self) -> Result<(), Error> {
        files::remove(&self.path)
    }
}

/// What was chosen for a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct State {
    pub(crate) version: u32,
    pub(crate) name: String,
    /// RFC 3339.
    pub(crate) created: String,
    pub(crate) ranges: Ranges,
    pub(crate) port: u16,
    /// The control plane's user and group.
    pub(crate) uid: u32,
    pub(crate) nodes: Vec<String>,
    /// The kubeconfig that got the cluster's context.
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The context that was current there before.
    #[serde(default)]
    pub(crate) context_before: Option<String>,
    /// Set by `stop`, cleared by `up` and `start`.
    #[serde(default)]
    pub(crate) stopped: bool,
}
