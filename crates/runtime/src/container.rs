//! Containers: create, start, stop, remove, new limits, log rotation.
//!
//! ```text
//!          CreateContainer        StartContainer          exit (from the shim)
//! (none) ----------------> created ------------> running -------------------> exited
//! ```
//! The shim makes the process at create, up to its exec: joining control groups takes
//! milliseconds on version 1, and start is then only a word.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nodeapi::cri::security_profile::ProfileType;
use nodeapi::{CriError, cri};
use oci::Record as _;
use oci::spec::Device;

use crate::events::Kind;
use crate::image_volumes::{self, ImageVolume};
use crate::images::Image;
use crate::persist::{ContainerRecord, make_dir, remove_dir, write, write_config};
use crate::spec::{self, Input};
use crate::state::{Container, Inner, Runtime, Sandbox, blocking, cgroup_error, oci_error};

/// How long a killed container may take to be gone.
const KILL_LIMIT: Duration = Duration::from_secs(30);
/// Most device nodes that are looked at below /dev.
const MAX_DEVICES: usize = 4096;

impl Runtime {
    pub(crate) async fn create(
        &self,
        request: cri::CreateContainerRequest,
    ) -> Result<String, CriError> {
        let inner = &self.inner;
        let config = request
            .config
            .ok_or_else(|| CriError::invalid("the container has no configuration"))?;
        let sandbox = inner.sandbox(&request.pod_sandbox_id)?;
        let _turn = sandbox.turn.lock().await;
        if !sandbox.is_ready() {
            return Err(CriError::precondition(format!(
                "sandbox {:?} is not running",
                sandbox.id
            )));
        }
        let Some(metadata) = config.metadata.clone() else {
            return Err(CriError::invalid(
                "the container's configuration has no metadata",
            ));
        };
        let existing = sandbox
            .containers
            .read()
            .values()
            .find(|c| c.metadata() == metadata)
            .cloned();
        if let Some(existing) = existing {
            if existing.state() == cri::ContainerState::ContainerCreated {
                return Ok(existing.id.clone());
            }
            return Err(CriError::new(
                nodeapi::Code::AlreadyExists,
                format!("container {} has this name and attempt", existing.id),
            ));
        }
        let id = inner.new_id();
        let reference = config.image.as_ref().map_or("", |i| &i.image);
        let image = inner.images.acquire(reference, &id).await?;
        let mut volumes = Vec::new();
        let result = match self.acquire_volumes(&id, &config, &mut volumes).await {
            Ok(()) => {
                let (shared, made, name) = (inner.clone(), sandbox.clone(), id.clone());
                let volumes = volumes.clone();
                blocking(move || make(&shared, &made, &name, config, &image, volumes)).await
            }
            Err(e) => Err(e),
        };
        let container = match result {
            Ok(container) => Arc::new(container),
            Err(e) => {
                self.let_images_go(&id, &volumes).await;
                return Err(e);
            }
        };
        sandbox
            .containers
            .write()
            .insert(id.clone(), container.clone());
        inner
            .containers
            .write()
            .insert(id.clone(), (sandbox.clone(), container.clone()));
        self.publish(&sandbox, &id, Kind::Created);
        Ok(id)
    }

    /// Holds the images that a container mounts.
    async fn acquire_volumes(
        &self,
        id: &str,
        config: &cri::ContainerConfig,
        volumes: &mut Vec<ImageVolume>,
    ) -> Result<(), CriError> {
        for (index, mount) in config.mounts.iter().enumerate() {
            let Some(reference) = image_volumes::wanted(mount)? else {
                continue;
            };
            let mut volume = ImageVolume {
                index,
                ..ImageVolume::default()
            };
            let holder = volume.holder(id);
            let image = self.inner.images.acquire(reference, &holder).await;
            volume.lowers = image.map_err(|e| image_volumes::failed(&e.message))?.lowers;
            volumes.push(volume);
        }
        Ok(())
    }

    async fn let_images_go(&self, id: &str, volumes: &[ImageVolume]) {
        self.inner.images.release(id).await;
        for volume in volumes {
            self.inner.images.release(&volume.holder(id)).await;
        }
    }

    pub(crate) async fn start(&self, id: &str) -> Result<(), CriError> {
        let (sandbox, container) = self.inner.container(id)?;
        let _turn = sandbox.turn.lock().await;
        match container.state() {
            cri::ContainerState::ContainerCreated => {}
            cri::ContainerState::ContainerRunning => return Ok(()),
            other => {
                let state = other.as_str_name();
                return Err(CriError::precondition(format!(
                    "container {id} is in {state} state"
                )));
            }
        }
        let (shim, name) = (sandbox.live_shim()?, container.id.clone());
        blocking(move || {
            shim.start(&name).map_err(|e| {
                CriError::unknown(format!(
                    "unable to start container process: {}",
                    crate::state::chain(&e)
                ))
            })
        })
        .await?;
        {
            let mut record = container.record.lock();
            // It may have ended by now, with its own times.
            if record.started_at == 0 {
                record.started_at = self.inner.now();
            }
        }
        let saved = container.clone();
        blocking(move || saved.save()).await?;
        self.publish(&sandbox, &container.id, Kind::Started);
        Ok(())
    }

    pub(crate) async fn stop(&self, id: &str, timeout_seconds: i64) -> Result<(), CriError> {
        let (sandbox, container) = match self.inner.container(id) {
            Ok(found) => found,
            Err(e) if e.is_not_found() => return Ok(()),
            Err(e) => return Err(e),
        };
        let grace = u64::try_from(timeout_seconds).unwrap_or(0);
        if container.is_running() && grace > 0 {
            let signal = container.record.lock().stop_signal;
            let (shim, name) = (sandbox.live_shim()?, container.id.clone());
            blocking(move || {
                shim.kill(&name, signal)
                    .map_err(|e| oci_error("stop the container", &e))
            })
            .await?;
            if tokio::time::timeout(Duration::from_secs(grace), container.wait())
                .await
                .is_ok()
            {
                return Ok(());
            }
            tracing::info!(container = %container.id, "grace period is over");
        }
        self.kill_now(&sandbox, &container).await
    }

    /// Kills everything of a container and waits for its end.
    pub(crate) async fn kill_now(
        &self,
        sandbox: &Arc<Sandbox>,
        container: &Arc<Container>,
    ) -> Result<(), CriError> {
        if container.record.lock().exit_code.is_some() {
            return Ok(());
        }
        let Ok(shim) = sandbox.live_shim() else {
            self.lost(sandbox, container);
            return Ok(());
        };
        let name = container.id.clone();
        let killed = blocking(move || {
            shim.kill_all(&name)
                .map_err(|e| oci_error("kill the container", &e))
        })
        .await;
        match killed {
            // The shim does not know it: its creation did not get that far.
            Err(e) if e.is_not_found() => {
                self.lost(sandbox, container);
                return Ok(());
            }
            other => other?,
        }
        tokio::time::timeout(KILL_LIMIT, container.wait())
            .await
            .map_err(|_| {
                CriError::new(
                    nodeapi::Code::DeadlineExceeded,
                    format!(
                        "container {} does not end: its processes hang in the kernel",
                        container.id
                    ),
                )
            })
    }

    pub(crate) async fn remove(&self, id: &str) -> Result<(), CriError> {
        let (sandbox, container) = match self.inner.container(id) {
            Ok(found) => found,
            Err(e) if e.is_not_found() => return Ok(()),
            Err(e) => return Err(e),
        };
        let _turn = sandbox.turn.lock().await;
        self.kill_now(&sandbox, &container).await?;
        self.remove_locked(&sandbox, &container).await
    }

    /// Removes a container that ended.
    pub(crate) async fn remove_locked(
        &self,
        sandbox: &Arc<Sandbox>,
        container: &Arc<Container>,
    ) -> Result<(), CriError> {
        let shim = sandbox.shim.read().clone();
        let (inner, removed) = (self.inner.clone(), container.clone());
        blocking(move || {
            if let Some(shim) = shim {
                match shim.delete(&removed.id) {
                    Ok(()) => {}
                    Err(e) if e.is_not_found() || e.is_gone() => {}
                    Err(e) => return Err(oci_error("remove the container", &e)),
                }
            }
            let path = removed.record.lock().cgroup.clone();
            let group = inner.group(&path)?;
            group
                .remove()
                .map_err(|e| cgroup_error("remove the container's group", &e))?;
            remove_dir(&removed.dir)
        })
        .await?;
        let volumes = container.record.lock().image_volumes.clone();
        self.let_images_go(&container.id, &volumes).await;
        sandbox.containers.write().remove(&container.id);
        self.inner.containers.write().remove(&container.id);
        self.publish(sandbox, &container.id, Kind::Deleted);
        Ok(())
    }

    pub(crate) async fn update(
        &self,
        request: cri::UpdateContainerResourcesRequest,
    ) -> Result<(), CriError> {
        let (sandbox, container) = self.inner.container(&request.container_id)?;
        let Some(wanted) = request.linux else {
            return Ok(());
        };
        let _turn = sandbox.turn.lock().await;
        let inner = self.inner.clone();
        blocking(move || {
            let path = container.record.lock().cgroup.clone();
            let group = inner.group(&path)?;
            group
                .apply(&spec::limits(&wanted))
                .map_err(|e| cgroup_error("change the container's limits", &e))?;
            let mut config = container.config.write();
            let old = config
                .linux
                .get_or_insert_default()
                .resources
                .get_or_insert_default();
            merge(old, &wanted);
            write_config(&container.dir, &*config)
        })
        .await
    }

    pub(crate) async fn reopen_log(&self, id: &str) -> Result<(), CriError> {
        let (sandbox, container) = self.inner.running(id)?;
        let shim = sandbox.live_shim()?;
        blocking(move || {
            shim.reopen_log(&container.id)
                .map_err(|e| oci_error("reopen the log", &e))
        })
        .await
    }
}

/// Zero and empty say nothing.
fn merge(old: &mut cri::LinuxContainerResources, new: &cri::LinuxContainerResources) {
    for (old, new) in [
        (&mut old.cpu_period, new.cpu_period),
        (&mut old.cpu_quota, new.cpu_quota),
        (&mut old.cpu_shares, new.cpu_shares),
        (&mut old.memory_limit_in_bytes, new.memory_limit_in_bytes),
        (
            &mut old.memory_swap_limit_in_bytes,
            new.memory_swap_limit_in_bytes,
        ),
        (&mut old.oom_score_adj, new.oom_score_adj),
    ] {
        if new != 0 {
            *old = new;
        }
    }
    for (old, new) in [
        (&mut old.cpuset_cpus, &new.cpuset_cpus),
        (&mut old.cpuset_mems, &new.cpuset_mems),
    ] {
        if !new.is_empty() {
            old.clone_from(new);
        }
    }
    old.unified.extend(new.unified.clone());
}

/// Directory, group, limits and process of a container; everything is undone on failure.
fn make(
    inner: &Inner,
    sandbox: &Sandbox,
    id: &str,
    config: cri::ContainerConfig,
    image: &Image,
    image_volumes: Vec<ImageVolume>,
) -> Result<Container, CriError> {
    let dir = sandbox.dir.join("containers").join(id);
    let group = inner.group(&format!("{}/{id}", inner.pod_group(sandbox)))?;
    let attempt = || -> Result<Container, CriError> {
        for name in ["upper", "work", "root"] {
            make_dir(&dir.join(name))?;
        }
        // The root directory inside has the attributes of the upper one.
        fs::set_permissions(dir.join("upper"), fs::Permissions::from_mode(0o755)).map_err(|e| {
            CriError::internal(format!("set permissions of {}: {e}", dir.display()))
        })?;
        prepare_host(sandbox, &config)?;
        let mut mounted = BTreeMap::new();
        for volume in &image_volumes {
            let sub_path = &config.mounts[volume.index].image_sub_path;
            let path = volume.mount(&dir, sub_path)?;
            mounted.insert(volume.index, path.to_string_lossy().into_owned());
        }
        group
            .create()
            .map_err(|e| cgroup_error("make the container's group", &e))?;
        group
            .apply(&spec::limits(&spec::resources(&config)))
            .map_err(|e| cgroup_error("limit the container", &e))?;
        let hostname = match sandbox.is_host_network() || sandbox.config.hostname.is_empty() {
            true => fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default(),
            false => sandbox.config.hostname.clone(),
        };
        let spec = spec::container(Input {
            id,
            sandbox: &sandbox.config,
            config: &config,
            image,
            sandbox_dir: &sandbox.path(),
            dir: &dir.to_string_lossy(),
            image_volumes: mounted,
            cgroup: oci::node_init::cgroup(&group),
            host_devices: host_devices(&config),
            localhost_profile: localhost_profile(inner, &config)?,
            hostname: hostname.trim(),
        })?;
        group
            .apply_devices(&spec::device_rules(&spec, &config))
            .map_err(|e| cgroup_error("restrict the container's devices", &e))?;
        write_config(&dir, &config)?;
        write(&dir.join("process"), &spec.process.to_bytes())?;
        let shim = sandbox.live_shim()?;
        let created = shim
            .create(&spec)
            .map_err(|e| oci_error("create the container", &e))?;
        for warning in &created.warnings {
            tracing::warn!(container = %id, warning, "container runs with less than it asked for");
        }
        let record = ContainerRecord {
            created_at: inner.now(),
            image_id: image.id.clone(),
            image_name: image.name.clone(),
            image_reference: image.reference.clone(),
            lowers: image.lowers.clone(),
            image_volumes: image_volumes.clone(),
            cgroup: group.path().into(),
            stop_signal: spec::stop_signal(&config, &image.config),
            uid: created.uid,
            gid: created.gid,
            groups: created.groups,
            pid: created.pid,
            ..ContainerRecord::default()
        };
        let container = Container::new(id, &sandbox.id, dir.clone(), config.clone(), record);
        container.save()?;
        Ok(container)
    };
    let result = attempt();
    if result.is_err() {
        if let Ok(shim) = sandbox.live_shim() {
            // Unknown to the shim in most cases.
            let _gone = shim.delete(id);
        }
        for undone in [
            group
                .kill()
                .and_then(|()| group.remove())
                .map_err(|e| crate::state::chain(&e)),
            remove_dir(&dir).map_err(|e| e.message),
        ] {
            if let Err(err) = undone {
                tracing::warn!(container = %id, err, "undo of a failed container");
            }
        }
    }
    result
}

/// Log directory and missing sources of mounts, as the kubelet expects.
fn prepare_host(sandbox: &Sandbox, config: &cri::ContainerConfig) -> Result<(), CriError> {
    let log = spec::log_path(&sandbox.config, config);
    if let Some(parent) = Path::new(&log).parent().filter(|_| !log.is_empty()) {
        make_dir(parent)?;
    }
    for mount in &config.mounts {
        if !mount.host_path.is_empty() && !Path::new(&mount.host_path).exists() {
            make_dir(Path::new(&mount.host_path))?;
        }
    }
    Ok(())
}

fn localhost_profile(
    inner: &Inner,
    config: &cri::ContainerConfig,
) -> Result<Option<oci::seccomp::Profile>, CriError> {
    let profile = config
        .linux
        .as_ref()
        .and_then(|l| l.security_context.as_ref());
    let Some(profile) = profile.and_then(|s| s.seccomp.as_ref()) else {
        return Ok(None);
    };
    if profile.profile_type != ProfileType::Localhost as i32 {
        return Ok(None);
    }
    let name = profile.localhost_ref.trim_start_matches("localhost/");
    let path = inner.config.seccomp_profiles.join(name);
    let bytes = fs::read(&path)
        .map_err(|e| CriError::invalid(format!("read seccomp profile {}: {e}", path.display())))?;
    crate::localhost::parse(&path.to_string_lossy(), &bytes).map(Some)
}

/// Device nodes of the host that the container may need: all for a privileged one.
fn host_devices(config: &cri::ContainerConfig) -> Vec<Device> {
    let security = config
        .linux
        .as_ref()
        .and_then(|l| l.security_context.as_ref());
    let mut out = Vec::new();
    if security.is_some_and(|s| s.privileged) {
        walk_devices(Path::new("/dev"), &mut out);
    } else {
        out.extend(
            config
                .devices
                .iter()
                .filter_map(|d| device(Path::new(&d.host_path))),
        );
    }
    out
}

fn walk_devices(dir: &Path, out: &mut Vec<Device>) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries.filter_map(Result::ok) {
        let (path, name) = (entry.path(), entry.file_name());
        let kind = entry.file_type();
        if kind.as_ref().is_ok_and(fs::FileType::is_dir) {
            if !["pts", "shm", "fd", "mqueue"]
                .iter()
                .any(|skipped| name == *skipped)
            {
                walk_devices(&path, out);
            }
        } else if name != "console" && out.len() < MAX_DEVICES {
            out.extend(device(&path));
        }
    }
}

fn device(path: &Path) -> Option<Device> {
    let metadata = fs::symlink_metadata(path).ok()?;
    let kind = metadata.file_type();
    if !kind.is_char_device() && !kind.is_block_device() {
        return None;
    }
    Some(Device {
        path: path.to_string_lossy().into_owned(),
        block: kind.is_block_device(),
        major: rustix::fs::major(metadata.rdev()),
        minor: rustix::fs::minor(metadata.rdev()),
        mode: metadata.mode() & 0o777,
        uid: metadata.uid(),
        gid: metadata.gid(),
    })
}
