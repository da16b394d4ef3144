//! The runtime's memory: sandboxes and containers, what they share, how they are found.
//!
//! Lock order: `Sandbox::turn` (async, one change at a time per pod), then the short locks of
//! maps and records, which are never held over an await.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tokio::sync::{mpsc, watch};

use base::{Clock, Rng, Shutdown};
use cgroups::{Group, Layout};
use nodeapi::cni::Cni;
use nodeapi::{CriError, cri};
use oci::{Shim, ShimBinary};

use crate::images::Images;
use crate::persist::{ContainerRecord, Phase, SandboxRecord, write_record};

/// How to run.
#[derive(Clone, Debug)]
pub struct Config {
    /// Directory of all state, on a real file system (not an overlay).
    pub root: PathBuf,
    /// Group for pods whose configuration names none.
    pub cgroup_parent: String,
    /// Shown by `Version`.
    pub version: String,
    /// Directory of seccomp profiles named by relative paths.
    pub seccomp_profiles: PathBuf,
}

/// Why the runtime cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// No usable control groups.
    #[error("detect control groups")]
    Cgroups(#[from] cgroups::Error),
    /// The shim cannot be installed.
    #[error("install the shim")]
    Shim(#[from] oci::Error),
    /// The state directory cannot be read or made.
    #[error("open the runtime's state: {0}")]
    State(CriError),
}

/// The CRI runtime of a node; cheap to clone.
#[derive(Clone)]
pub struct Runtime {
    pub(crate) inner: Arc<Inner>,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime")
            .field("root", &self.inner.config.root)
            .finish()
    }
}

pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) layout: Arc<Layout>,
    pub(crate) binary: ShimBinary,
    pub(crate) images: Arc<dyn Images>,
    pub(crate) cni: Arc<dyn Cni>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Mutex<Rng>,
    pub(crate) shutdown: Shutdown,
    pub(crate) sandboxes: RwLock<BTreeMap<String, Arc<Sandbox>>>,
    pub(crate) containers: RwLock<BTreeMap<String, Placed>>,
    pub(crate) listeners: Mutex<Vec<mpsc::Sender<cri::ContainerEventResponse>>>,
}

/// A container with the sandbox that it is in.
pub(crate) type Placed = (Arc<Sandbox>, Arc<Container>);

/// One pod sandbox.
pub(crate) struct Sandbox {
    pub(crate) id: String,
    pub(crate) dir: PathBuf,
    pub(crate) config: cri::PodSandboxConfig,
    pub(crate) record: Mutex<SandboxRecord>,
    pub(crate) shim: RwLock<Option<Arc<Shim>>>,
    pub(crate) containers: RwLock<BTreeMap<String, Arc<Container>>>,
    /// One writer of the record's file at a time.
    pub(crate) saving: Mutex<()>,
    /// Held while the pod changes.
    pub(crate) turn: tokio::sync::Mutex<()>,
}

/// One container.
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) sandbox_id: String,
    pub(crate) dir: PathBuf,
    pub(crate) config: RwLock<cri::ContainerConfig>,
    pub(crate) record: Mutex<ContainerRecord>,
    /// One writer of the record's file at a time, each with the newest record.
    pub(crate) saving: Mutex<()>,
    /// Becomes true when the container ended.
    pub(crate) ended: watch::Sender<bool>,
}

impl Sandbox {
    pub(crate) fn is_ready(&self) -> bool {
        self.record.lock().phase == Phase::Ready
    }

    pub(crate) fn metadata(&self) -> cri::PodSandboxMetadata {
        self.config.metadata.clone().unwrap_or_default()
    }

    pub(crate) fn namespaces(&self) -> cri::NamespaceOption {
        let security = self
            .config
            .linux
            .as_ref()
            .and_then(|l| l.security_context.as_ref());
        security
            .and_then(|s| s.namespace_options.clone())
            .unwrap_or_default()
    }

    pub(crate) fn is_host_network(&self) -> bool {
        self.namespaces().network == cri::NamespaceMode::Node as i32
    }

    pub(crate) fn live_shim(&self) -> Result<Arc<Shim>, CriError> {
        self.shim
            .read()
            .clone()
            .ok_or_else(|| CriError::precondition(format!("sandbox {:?} is not running", self.id)))
    }

    pub(crate) fn save(&self) -> Result<(), CriError> {
        let _one = self.saving.lock();
        let record = self.record.lock().clone();
        write_record(&self.dir, &record)
    }

    pub(crate) fn path(&self) -> String {
        self.dir.to_string_lossy().into_owned()
    }
}

impl Container {
    pub(crate) fn new(
        id: &str,
        sandbox_id: &str,
        dir: PathBuf,
        config: cri::ContainerConfig,
        record: ContainerRecord,
    ) -> Container {
        let (ended, _) = watch::channel(record.exit_code.is_some());
        Container {
            id: id.into(),
            sandbox_id: sandbox_id.into(),
            dir,
            config: RwLock::new(config),
            record: Mutex::new(record),
            saving: Mutex::new(()),
            ended,
        }
    }

    pub(crate) fn state(&self) -> cri::ContainerState {
        let record = self.record.lock();
        match (record.exit_code, record.started_at) {
            (Some(_), _) => cri::ContainerState::ContainerExited,
            (None, 0) => cri::ContainerState::ContainerCreated,
            (None, _) => cri::ContainerState::ContainerRunning,
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.state() == cri::ContainerState::ContainerRunning
    }

    pub(crate) fn metadata(&self) -> cri::ContainerMetadata {
        self.config.read().metadata.clone().unwrap_or_default()
    }

    pub(crate) fn save(&self) -> Result<(), CriError> {
        let _one = self.saving.lock();
        let record = self.record.lock().clone();
        write_record(&self.dir, &record)
    }

    /// Waits until it ended.
    pub(crate) async fn wait(&self) {
        let mut ended = self.ended.subscribe();
        // The sender lives as long as `self`.
        let _alive = ended.wait_for(|ended| *ended).await;
    }
}

impl Inner {
    pub(crate) fn now(&self) -> i64 {
        i64::try_from(self.clock.now().as_nanosecond()).unwrap_or(i64::MAX)
    }

    /// 64 hexadecimal digits, as tools expect.
    pub(crate) fn new_id(&self) -> String {
        let mut bytes = [0; 32];
        self.rng.lock().bytes(&mut bytes);
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    pub(crate) fn sandboxes_dir(&self) -> PathBuf {
        self.config.root.join("sandboxes")
    }

    /// Group of a sandbox's containers.
    pub(crate) fn pod_group(&self, sandbox: &Sandbox) -> String {
        let parent = sandbox
            .config
            .linux
            .as_ref()
            .map_or("", |l| &l.cgroup_parent);
        match parent {
            "" => format!(
                "{}/{}",
                self.config.cgroup_parent.trim_end_matches('/'),
                sandbox.id
            ),
            parent => format!("/{}", parent.trim_matches('/')),
        }
    }

    pub(crate) fn group(&self, path: &str) -> Result<Group, CriError> {
        Group::new(&self.layout, path).map_err(|e| cgroup_error("use a control group", &e))
    }
}

/// A chain of causes in one sentence.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    base::Chain(error).to_string()
}

pub(crate) fn cgroup_error(operation: &str, error: &cgroups::Error) -> CriError {
    CriError::unknown(format!("{operation}: {}", chain(error)))
}

/// A shim's error with the code that the kubelet expects.
pub(crate) fn oci_error(operation: &str, error: &oci::Error) -> CriError {
    let message = format!("{operation}: {}", chain(error));
    match error {
        oci::Error::NotFound(_) => CriError::not_found(message),
        oci::Error::WrongState(_) => CriError::precondition(message),
        _ => CriError::unknown(message),
    }
}

/// Runs blocking work beside the event loop.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CriError> + Send + 'static,
) -> Result<T, CriError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(e) => Err(CriError::internal(format!("a blocking task failed: {e}"))),
    }
}

impl Runtime {
    /// Runs `work` to its end even if the caller gives up: a half-made pod would be worse.
    pub(crate) async fn detached<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T, CriError>> + Send + 'static,
    ) -> Result<T, CriError> {
        let (tell, told) = tokio::sync::oneshot::channel();
        base::tasks::spawn(name, &self.inner.shutdown, async move {
            // The caller may be gone.
            let _unheard = tell.send(work.await);
        });
        let shutting_down = |_| CriError::new(nodeapi::Code::Unavailable, "the runtime is ending");
        told.await.map_err(shutting_down)?
    }
}
