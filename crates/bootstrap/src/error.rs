//! What a command of this crate reports: one error with operation and object, or all findings of
//! a check at once.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// One thing that stands in the way, in words for the person at the terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about, e.g. `port 127.0.0.1:6443`.
    pub object: String,
    /// What is wrong with it.
    pub cause: String,
    /// What to do about it.
    pub next_step: String,
    /// Only worth a warning: the command goes on.
    pub warning: bool,
}

impl Finding {
    pub(crate) fn new(
        object: impl fmt::Display,
        cause: impl fmt::Display,
        next_step: impl fmt::Display,
    ) -> Self {
        Self {
            object: object.to_string(),
            cause: cause.to_string(),
            next_step: next_step.to_string(),
            warning: false,
        }
    }

    pub(crate) fn warning(mut self) -> Self {
        self.warning = true;
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.object, self.cause, self.next_step)
    }
}

/// Why a command did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The checks before the first change found obstacles: all of them.
    #[error("{}", Lines(.0))]
    Preflight(Vec<Finding>),
    /// A file operation failed.
    #[error("{operation} {}", path.display())]
    File {
        /// The operation.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{} is not a valid {kind}", path.display())]
    Content {
        /// What the file should be.
        kind: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it is not.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A cluster's folder holds what no cluster puts there.
    #[error(
        "{} is not of a cluster, in the folder that cluster {cluster:?} would have; move it away, \
         choose another name with --name, or another data folder with TRANSOM_DATA", path.display()
    )]
    Foreign {
        /// The cluster.
        cluster: String,
        /// What is there.
        path: PathBuf,
    },
    /// A cluster's state cannot be read.
    #[error(
        "{} cannot be read as a cluster's state; restore the file, or remove the cluster with \
         `transom down -C {cluster}`", path.display()
    )]
    State {
        /// The cluster.
        cluster: String,
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A system call failed.
    #[error("{operation} {object}")]
    System {
        /// The operation.
        operation: &'static str,
        /// What it was about.
        object: String,
        /// Why.
        #[source]
        cause: Errno,
    },
    /// Links, routes or nftables.
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
    /// Control groups.
    #[error(transparent)]
    Cgroup(#[from] cgroups::Error),
    /// Keys and certificates.
    #[error("{operation} {object}")]
    Pki {
        /// The operation.
        operation: &'static str,
        /// The certificate or key.
        object: String,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is no such cluster.
    #[error("no cluster named {0:?}; `transom clusters` lists those that exist")]
    NoCluster(String),
    /// There is no such node.
    #[error("cluster {cluster:?} has no node {node:?}; its nodes: {known}")]
    NoNode {
        /// The cluster.
        cluster: String,
        /// The node asked for.
        node: String,
        /// The nodes there are.
        known: String,
    },
    /// The node does not run.
    #[error(
        "node {node} of cluster {cluster:?} does not run; `transom node start -C {cluster} {node}` \
         brings it back"
    )]
    NodeDown {
        /// The cluster.
        cluster: String,
        /// The node.
        node: String,
    },
    /// The whole cluster was stopped.
    #[error("cluster {0:?} is stopped; `transom start -C {0}` starts it with all its nodes")]
    Stopped(String),
    /// Another command works on the cluster.
    #[error("another command is working on cluster {0:?}; try again when it has finished")]
    Busy(String),
    /// A process of the cluster ended at its start.
    #[error("{process} ended at once; see {}{}", log.display(), Tail(.tail))]
    Died {
        /// Which process.
        process: String,
        /// Its log.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
    /// A process of the cluster did not become ready.
    #[error("{process} was not ready within {seconds} s; see {}{}", log.display(), Tail(.tail))]
    NotReady {
        /// Which process.
        process: String,
        /// How long we waited.
        seconds: u64,
        /// Its log.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
    /// Something could not be removed: everything that is left.
    #[error("left behind: {}", .0.join(", "))]
    Left(Vec<String>),
    /// Nothing was installed on this machine.
    #[error("nothing is installed on this machine; `transom clusters` lists local clusters")]
    NotInstalled,
    /// systemd's tool did not do as asked.
    #[error("systemctl {words}: {output}")]
    Systemctl {
        /// Its arguments.
        words: String,
        /// What it said.
        output: String,
    },
    /// A service did not begin to serve.
    #[error("{unit} did not listen within {seconds} s; `journalctl -u {unit}` says why")]
    NotServing {
        /// The unit.
        unit: String,
        /// How long we waited.
        seconds: u64,
    },
    /// The node's init could not be started.
    #[error("start node {node}")]
    Node {
        /// The node.
        node: String,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    pub(crate) fn file(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::File {
            operation,
            path,
            cause,
        }
    }

    pub(crate) fn errno(
        operation: &'static str,
        object: impl fmt::Display,
    ) -> impl FnOnce(Errno) -> Self {
        let object = object.to_string();
        move |cause| Self::System {
            operation,
            object,
            cause,
        }
    }
}

struct Lines<'a>(&'a [Finding]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, finding) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{finding}")?;
        }
        Ok(())
    }
}

struct Tail<'a>(&'a str);

impl fmt::Display for Tail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            Ok(())
        } else {
            write!(f, ", which ends:\n{}", self.0)
        }
    }
}
