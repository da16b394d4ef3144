//! Opening the runtime: what the last agent left is found again.
//!
//! | on disk | shim | becomes |
//! |---|---|---|
//! | record ready | alive | ready; running containers stay, exits meanwhile are noted |
//! | record ready | gone (killed, reboot) | not ready; its containers are killed, exit 255 |
//! | record stopped | – | stopped |
//! | record creating, or none | any | taken down |
//! | container without record | any | killed and removed |

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use base::{Clock, Rng, Shutdown};
use cgroups::Layout;
use nodeapi::cni::Cni;
use nodeapi::{CriError, cri};
use oci::message::{CREATED, RUNNING, STOPPED};
use oci::{Shim, ShimBinary, client};
use parking_lot::{Mutex, RwLock};

use crate::images::Images;
use crate::persist::{self, ContainerRecord, Phase, SandboxRecord, make_dir, remove_dir};
use crate::state::{Config, Container, Inner, OpenError, Runtime, Sandbox, blocking};

impl Runtime {
    /// Opens the runtime and takes over what runs.
    pub async fn open(
        config: Config,
        images: Arc<dyn Images>,
        cni: Arc<dyn Cni>,
        clock: Arc<dyn Clock>,
        shutdown: Shutdown,
    ) -> Result<Runtime, OpenError> {
        let layout = Arc::new(Layout::detect()?);
        let binary = ShimBinary::install(&config.root.join("bin"))?;
        let inner = Inner {
            layout,
            binary,
            images,
            cni,
            clock,
            rng: Mutex::new(Rng::from_os()),
            shutdown,
            sandboxes: RwLock::default(),
            containers: RwLock::default(),
            listeners: Mutex::default(),
            config,
        };
        let runtime = Runtime {
            inner: Arc::new(inner),
        };
        runtime.recover().await.map_err(OpenError::State)?;
        Ok(runtime)
    }

    async fn recover(&self) -> Result<(), CriError> {
        let dir = self.inner.sandboxes_dir();
        make_dir(&dir)?;
        for id in names(&dir)? {
            let dir = dir.join(&id);
            let read = persist::read::<SandboxRecord, cri::PodSandboxConfig>(&dir);
            let Some((record, config)) = read else {
                tracing::warn!(sandbox = %id, "a sandbox without record is taken away");
                self.take_away(&dir).await;
                continue;
            };
            let unfinished = record.phase == Phase::Creating;
            let sandbox = Arc::new(Sandbox {
                id: id.clone(),
                dir,
                config,
                record: Mutex::new(record),
                shim: RwLock::new(None),
                containers: RwLock::default(),
                saving: Mutex::new(()),
                turn: tokio::sync::Mutex::new(()),
            });
            let has_containers = self.load_containers(&sandbox)?;
            let containers: Vec<_> = sandbox.containers.read().values().cloned().collect();
            for container in containers {
                let (lowers, volumes) = {
                    let record = container.record.lock();
                    (record.lowers.clone(), record.image_volumes.clone())
                };
                self.inner.images.restore(&container.id, &lowers).await;
                for volume in volumes {
                    let holder = volume.holder(&container.id);
                    self.inner.images.restore(&holder, &volume.lowers).await;
                }
            }
            if unfinished && !has_containers {
                // Nobody was told of it. The network may have been told.
                if let Err(err) = self.release(&sandbox).await {
                    tracing::warn!(sandbox = %id, err = %err, "release of an unfinished sandbox");
                }
                self.take_away(&sandbox.dir).await;
                continue;
            }
            self.inner
                .sandboxes
                .write()
                .insert(id.clone(), sandbox.clone());
            self.reconnect(&sandbox).await;
        }
        Ok(())
    }

    /// Reads the containers of a sandbox; whether there are any.
    fn load_containers(&self, sandbox: &Arc<Sandbox>) -> Result<bool, CriError> {
        let parent = sandbox.dir.join("containers");
        for id in names(&parent)? {
            let dir = parent.join(&id);
            match persist::read::<ContainerRecord, cri::ContainerConfig>(&dir) {
                Some((record, config)) => {
                    let container = Container::new(&id, &sandbox.id, dir, config, record);
                    let container = Arc::new(container);
                    sandbox
                        .containers
                        .write()
                        .insert(id.clone(), container.clone());
                    self.inner
                        .containers
                        .write()
                        .insert(id, (sandbox.clone(), container));
                }
                None => {
                    let path = format!("{}/{id}", self.inner.pod_group(sandbox));
                    let group = self.inner.group(&path)?;
                    if group.exists()
                        && let Err(e) = group.kill().and_then(|()| group.remove())
                    {
                        let err = crate::state::chain(&e);
                        tracing::warn!(container = %id, err, "removal of an unfinished container");
                    }
                    remove_dir(&dir)?;
                }
            }
        }
        Ok(!sandbox.containers.read().is_empty())
    }

    /// Finds the shim of a sandbox again, or notes that it is gone.
    async fn reconnect(&self, sandbox: &Arc<Sandbox>) {
        if !sandbox.is_ready() {
            return;
        }
        let dir = sandbox.dir.clone();
        let found = blocking(move || {
            let alive = client::read_state(&dir).is_some_and(|state| client::is_alive(&state));
            let shim = alive.then(|| Shim::connect(&dir).ok()).flatten();
            let Some(shim) = shim else { return Ok(None) };
            let state = shim
                .state()
                .map_err(|e| crate::state::oci_error("ask the shim", &e))?;
            Ok(Some((shim, state)))
        })
        .await;
        let Ok(Some((shim, state))) = found else {
            tracing::warn!(sandbox = %sandbox.id, "the shim of the sandbox is gone");
            self.bereaved(sandbox).await;
            return;
        };
        *sandbox.shim.write() = Some(Arc::new(shim));
        let known: BTreeSet<String> = sandbox.containers.read().keys().cloned().collect();
        for status in &state.containers {
            let container = sandbox.containers.read().get(&status.id).cloned();
            match (container, status.state) {
                (Some(_), STOPPED) => self.apply_exit(sandbox, status),
                (Some(container), RUNNING) => {
                    // Started just before the agent died.
                    let mut record = container.record.lock();
                    if record.started_at == 0 {
                        record.started_at = status.started_at;
                    }
                }
                (None, _) => self.forget(sandbox, &status.id),
                (Some(_), CREATED) | (Some(_), _) => {}
            }
        }
        let in_shim: BTreeSet<&String> = state.containers.iter().map(|c| &c.id).collect();
        for id in known.iter().filter(|id| !in_shim.contains(id)) {
            let container = sandbox.containers.read().get(id).cloned();
            if let Some(container) = container {
                self.lost(sandbox, &container);
            }
        }
        self.watch(sandbox);
    }

    /// A container of the shim that nobody here knows.
    fn forget(&self, sandbox: &Arc<Sandbox>, id: &str) {
        let Ok(shim) = sandbox.live_shim() else {
            return;
        };
        if let Err(e) = shim.kill_all(id).and_then(|()| shim.delete(id)) {
            // It ends asynchronously; the next start finds it stopped.
            tracing::warn!(container = %id, err = %crate::state::chain(&e), "unknown container");
        }
    }

    async fn take_away(&self, dir: &Path) {
        let dir = dir.to_path_buf();
        let gone = blocking(move || {
            if let Ok(shim) = Shim::connect(&dir) {
                shim.shutdown()
                    .map_err(|e| crate::state::oci_error("end a shim", &e))?;
            }
            client::clean_up(&dir);
            // Not mounted is as good.
            let _done =
                rustix::mount::unmount(dir.join("shm"), rustix::mount::UnmountFlags::DETACH);
            remove_dir(&dir)
        })
        .await;
        if let Err(err) = gone {
            tracing::warn!(err = %err, "removal of a left-over sandbox");
        }
    }
}

fn names(dir: &Path) -> Result<Vec<String>, CriError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(CriError::internal(format!("read {}: {e}", dir.display()))),
    };
    let names = entries
        .filter_map(Result::ok)
        .filter_map(|e| e.file_name().into_string().ok());
    Ok(names.collect())
}
