//! What the runtime has of one pod.

use jiff::Timestamp;

/// A snapshot of the runtime's side of a pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// The newest sandbox.
    pub sandbox: Option<Sandbox>,
    /// Older sandboxes, still to be removed.
    pub old_sandboxes: Vec<Sandbox>,
    /// All attempts of all containers, newest first for each name.
    pub containers: Vec<Container>,
}

/// A sandbox: the pod's namespaces.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sandbox {
    /// Runtime's id.
    pub id: String,
    /// Its namespaces are alive.
    pub ready: bool,
    /// Addresses, the main one first; empty on the node's network.
    pub addresses: Vec<String>,
    /// Counts up with each new sandbox of the pod.
    pub attempt: u32,
    /// When it was made.
    pub created_at: Option<Timestamp>,
}

/// One attempt of a container.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Container {
    /// Runtime's id.
    pub id: String,
    /// Runtime's id of its sandbox.
    pub sandbox_id: String,
    /// Container's name in the pod.
    pub name: String,
    /// Counts up with each restart.
    pub attempt: u32,
    /// State.
    pub state: ContainerState,
    /// The spec's hash it was made from.
    pub hash: String,
    /// Image as the spec named it.
    pub image: String,
    /// Digest of the image.
    pub image_ref: String,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// When it started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Exit code, of an ended one.
    pub exit_code: i32,
    /// `Completed`, `Error`, `OOMKilled` …
    pub reason: String,
    /// Termination message.
    pub message: String,
    /// What its control group allows now; `None`: the runtime does not say.
    pub limits: Option<crate::pod::Limits>,
    /// Who its first process runs as.
    pub user: Option<User>,
}

/// User and groups of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// Uid.
    pub uid: i64,
    /// Gid.
    pub gid: i64,
    /// All groups.
    pub groups: Vec<i64>,
}

/// State of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ContainerState {
    /// Made, not started.
    #[default]
    Created,
    /// Runs.
    Running,
    /// Ended.
    Exited,
    /// The runtime lost it.
    Unknown,
}

impl Observed {
    /// The newest attempt of a container.
    pub fn newest(&self, name: &str) -> Option<&Container> {
        self.containers
            .iter()
            .find(|container| container.name == name)
    }

    /// The attempt before the newest.
    pub fn previous(&self, name: &str) -> Option<&Container> {
        self.containers
            .iter()
            .filter(|container| container.name == name)
            .nth(1)
    }

    /// Containers that run.
    pub fn running(&self) -> impl Iterator<Item = &Container> {
        self.containers
            .iter()
            .filter(|container| container.state == ContainerState::Running)
    }
}

impl Container {
    /// Ended with code 0.
    pub fn succeeded(&self) -> bool {
        self.state == ContainerState::Exited && self.exit_code == 0
    }

    /// The code that decides whether it starts again: what was lost counts as killed.
    pub fn end_code(&self) -> i32 {
        match self.state {
            ContainerState::Unknown => 137,
            _ => self.exit_code,
        }
    }

    /// Ended with another code, or lost.
    pub fn failed(&self) -> bool {
        match self.state {
            ContainerState::Exited => self.exit_code != 0,
            ContainerState::Unknown => true,
            ContainerState::Created | ContainerState::Running => false,
        }
    }
}
