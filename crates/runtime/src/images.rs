//! What the runtime needs of an image: layers that lie unpacked, and its configuration.

use std::path::PathBuf;

use nodeapi::CriError;

/// Settings of an image that a container inherits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// Program with fixed arguments.
    pub entrypoint: Vec<String>,
    /// Arguments, or the whole command.
    pub cmd: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// `user[:group]`.
    pub user: String,
    /// Working directory.
    pub working_dir: String,
    /// `SIGTERM`, `15`; empty = SIGTERM.
    pub stop_signal: String,
}

/// An image on this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Digest of its configuration.
    pub id: String,
    /// How people call it (`docker.io/library/busybox:1.36`).
    pub name: String,
    /// What identifies it: a repository digest, or the id.
    pub reference: String,
    /// Unpacked layers, topmost first.
    pub lowers: Vec<PathBuf>,
    /// Its settings.
    pub config: ImageConfig,
}

/// The images of this node.
#[async_trait::async_trait]
pub trait Images: Send + Sync + 'static {
    /// Finds an image by reference, digest or id, unpacked; `NotFound` if it was not pulled.
    /// It must stay as long as `container` is registered.
    async fn acquire(&self, reference: &str, container: &str) -> Result<Image, CriError>;
    /// A container of an earlier run of the agent still uses these layers. Called for each one
    /// before anything else is asked.
    async fn restore(&self, container: &str, lowers: &[PathBuf]);
    /// The container is gone.
    async fn release(&self, container: &str);
}
