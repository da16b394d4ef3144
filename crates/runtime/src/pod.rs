//! Sandboxes: run, stop, remove.
//!
//! ```text
//! directory, config, record(creating) -> files, shm -> shim (namespaces) -> network -> record(ready)
//! ```
//! Each step is undone by `release`, which is also what stopping does, so a failed run and a
//! crash in the middle end the same way.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use nodeapi::cni::{AddRequest, PortMapping, Protocol};
use nodeapi::{CriError, cri};
use oci::{Shim, client, spec};
use parking_lot::{Mutex, RwLock};
use rustix::mount::{MountFlags, UnmountFlags};

use crate::files;
use crate::persist::{Phase, SandboxRecord, make_dir, remove_dir, write, write_config};
use crate::state::{Inner, Runtime, Sandbox, blocking, chain, oci_error};

/// Size of a pod's /dev/shm.
const SHM_OPTIONS: &std::ffi::CStr = c"mode=1777,size=65536k";

impl Runtime {
    pub(crate) async fn run_sandbox(
        &self,
        request: cri::RunPodSandboxRequest,
    ) -> Result<String, CriError> {
        let inner = &self.inner;
        let config = request
            .config
            .ok_or_else(|| CriError::invalid("the sandbox has no configuration"))?;
        let Some(metadata) = config.metadata.clone() else {
            return Err(CriError::invalid(
                "the sandbox's configuration has no metadata",
            ));
        };
        let handler = request.runtime_handler;
        if !matches!(handler.as_str(), "" | "transom" | "runc") {
            return Err(CriError::invalid(format!(
                "no runtime for {handler:?} is configured"
            )));
        }
        let users = config
            .linux
            .as_ref()
            .and_then(|l| l.security_context.as_ref());
        let users = users.and_then(|s| s.namespace_options.as_ref());
        let users = users.and_then(|n| n.userns_options.as_ref());
        if users.is_some_and(|u| u.mode == cri::NamespaceMode::Pod as i32) {
            return Err(CriError::unimplemented("user namespaces"));
        }
        let existing = inner
            .sandboxes
            .read()
            .values()
            .find(|s| s.metadata() == metadata)
            .cloned();
        if let Some(existing) = existing {
            if existing.is_ready() {
                return Ok(existing.id.clone());
            }
            return Err(CriError::new(
                nodeapi::Code::AlreadyExists,
                format!("sandbox {} has this name and attempt", existing.id),
            ));
        }
        let id = inner.new_id();
        let record = SandboxRecord {
            phase: Phase::Creating,
            created_at: inner.now(),
            handler,
            ips: Vec::new(),
        };
        let sandbox = Arc::new(Sandbox {
            dir: inner.sandboxes_dir().join(&id),
            id: id.clone(),
            config,
            record: Mutex::new(record),
            shim: RwLock::new(None),
            containers: RwLock::default(),
            saving: Mutex::new(()),
            turn: tokio::sync::Mutex::new(()),
        });
        match self.bring_up(&sandbox).await {
            Ok(()) => {
                inner.sandboxes.write().insert(id.clone(), sandbox.clone());
                self.watch(&sandbox);
                tracing::info!(pod = %metadata.name, ns = %metadata.namespace, sandbox = %id, "sandbox runs");
                Ok(id)
            }
            Err(e) => {
                if let Err(undo) = self.release(&sandbox).await {
                    tracing::warn!(sandbox = %id, err = %undo, "undo of a failed sandbox");
                }
                let dir = sandbox.dir.clone();
                blocking(move || remove_dir(&dir)).await?;
                Err(e)
            }
        }
    }

    async fn bring_up(&self, sandbox: &Arc<Sandbox>) -> Result<(), CriError> {
        let (inner, made) = (self.inner.clone(), sandbox.clone());
        let shim = blocking(move || make(&inner, &made)).await?;
        *sandbox.shim.write() = Some(Arc::new(shim));
        if !sandbox.is_host_network() {
            let result = self
                .inner
                .cni
                .add(network_request(sandbox))
                .await
                .map_err(|e| {
                    CriError::unknown(format!(
                        "failed to setup network for sandbox {:?}: {}",
                        sandbox.id,
                        chain(&e)
                    ))
                })?;
            sandbox.record.lock().ips = result.ips.iter().map(|ip| ip.addr().to_string()).collect();
        }
        sandbox.record.lock().phase = Phase::Ready;
        let saved = sandbox.clone();
        blocking(move || {
            write_hosts(&saved)?;
            saved.save()
        })
        .await
    }

    /// Ends the network, the namespaces and the shim of a sandbox; every step is idempotent.
    pub(crate) async fn release(&self, sandbox: &Arc<Sandbox>) -> Result<(), CriError> {
        if !sandbox.is_host_network() {
            self.inner
                .cni
                .del(network_request(sandbox))
                .await
                .map_err(|e| {
                    CriError::unknown(format!(
                        "failed to destroy network for sandbox {:?}: {}",
                        sandbox.id,
                        chain(&e)
                    ))
                })?;
        }
        let shim = sandbox.shim.write().take();
        let dir = sandbox.dir.clone();
        blocking(move || {
            let shim = shim.or_else(|| Shim::connect(&dir).ok().map(Arc::new));
            if let Some(shim) = shim {
                shim.shutdown()
                    .map_err(|e| oci_error("end the sandbox", &e))?;
            }
            client::clean_up(&dir);
            // Not mounted is as good.
            let _done = rustix::mount::unmount(dir.join("shm"), UnmountFlags::DETACH);
            Ok(())
        })
        .await
    }

    pub(crate) async fn stop_sandbox(&self, id: &str) -> Result<(), CriError> {
        let sandbox = match self.inner.sandbox(id) {
            Ok(sandbox) => sandbox,
            Err(e) if e.is_not_found() => return Ok(()),
            Err(e) => return Err(e),
        };
        let _turn = sandbox.turn.lock().await;
        self.stop_locked(&sandbox).await
    }

    async fn stop_locked(&self, sandbox: &Arc<Sandbox>) -> Result<(), CriError> {
        let containers: Vec<_> = sandbox.containers.read().values().cloned().collect();
        for container in &containers {
            self.kill_now(sandbox, container).await?;
        }
        if sandbox.record.lock().phase == Phase::Stopped {
            return Ok(());
        }
        let dir = sandbox.dir.clone();
        blocking(move || {
            crate::image_volumes::unmount_all(&dir);
            Ok(())
        })
        .await?;
        self.release(sandbox).await?;
        sandbox.record.lock().phase = Phase::Stopped;
        let saved = sandbox.clone();
        blocking(move || saved.save()).await?;
        tracing::info!(sandbox = %sandbox.id, "sandbox stopped");
        Ok(())
    }

    pub(crate) async fn remove_sandbox(&self, id: &str) -> Result<(), CriError> {
        let sandbox = match self.inner.sandbox(id) {
            Ok(sandbox) => sandbox,
            Err(e) if e.is_not_found() => return Ok(()),
            Err(e) => return Err(e),
        };
        let _turn = sandbox.turn.lock().await;
        self.stop_locked(&sandbox).await?;
        let containers: Vec<_> = sandbox.containers.read().values().cloned().collect();
        for container in &containers {
            self.remove_locked(&sandbox, container).await?;
        }
        let (inner, removed) = (self.inner.clone(), sandbox.clone());
        let path = inner.pod_group(&sandbox);
        let is_last = !inner
            .sandboxes
            .read()
            .values()
            .any(|other| other.id != sandbox.id && inner.pod_group(other) == path);
        blocking(move || {
            let named = removed
                .config
                .linux
                .as_ref()
                .is_some_and(|l| !l.cgroup_parent.is_empty());
            if !named {
                let group = inner.group(&path)?;
                group
                    .remove()
                    .map_err(|e| crate::state::cgroup_error("remove the pod's group", &e))?;
            } else if is_last && let Err(e) = inner.group(&path)?.remove_empty() {
                // Whoever named it may have made it and may remove it.
                let err = crate::state::chain(&e);
                tracing::warn!(sandbox = %removed.id, err, "the pod's group stays");
            }
            remove_dir(&removed.dir)
        })
        .await?;
        self.inner.sandboxes.write().remove(&sandbox.id);
        tracing::info!(sandbox = %sandbox.id, "sandbox removed");
        Ok(())
    }
}

/// Directory, records, files, shared memory and namespaces.
fn make(inner: &Inner, sandbox: &Sandbox) -> Result<Shim, CriError> {
    make_dir(&sandbox.dir.join("containers"))?;
    write_config(&sandbox.dir, &sandbox.config)?;
    sandbox.save()?;
    write_files(sandbox)?;
    let options = sandbox.namespaces();
    let shm = sandbox.dir.join("shm");
    make_dir(&shm)?;
    if options.ipc != cri::NamespaceMode::Node as i32 {
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        rustix::mount::mount("shm", &shm, "tmpfs", flags, SHM_OPTIONS)
            .map_err(|e| CriError::unknown(format!("mount {}: {e}", shm.display())))?;
    }
    Shim::spawn(&inner.binary, &pod_spec(sandbox)).map_err(|e| oci_error("make the sandbox", &e))
}

/// What the shim makes of a sandbox. Pure.
fn pod_spec(sandbox: &Sandbox) -> spec::Pod {
    let options = sandbox.namespaces();
    let new = |mode: i32| match mode == cri::NamespaceMode::Node as i32 {
        true => String::new(),
        false => "new".into(),
    };
    let linux = sandbox.config.linux.clone().unwrap_or_default();
    let mut sysctls: Vec<String> = Vec::new();
    if !sandbox.is_host_network() {
        // What containerd sets by default: low ports and ping need no privilege.
        for (key, value) in [
            ("net.ipv4.ip_unprivileged_port_start", "0"),
            ("net.ipv4.ping_group_range", "0 2147483647"),
        ] {
            if !linux.sysctls.contains_key(key) {
                sysctls.push(format!("{key}={value}"));
            }
        }
    }
    sysctls.extend(linux.sysctls.iter().map(|(k, v)| format!("{k}={v}")));
    spec::Pod {
        id: sandbox.id.clone(),
        directory: sandbox.path(),
        hostname: sandbox.config.hostname.clone(),
        net: new(options.network),
        ipc: new(options.ipc),
        uts: new(options.network),
        share_pid: options.pid == cri::NamespaceMode::Pod as i32,
        sysctls,
        ..spec::Pod::default()
    }
}

fn write_files(sandbox: &Sandbox) -> Result<(), CriError> {
    let host_file = |path: &str| fs::read(path).unwrap_or_default();
    let hostname = match sandbox.config.hostname.as_str() {
        "" => host_file("/proc/sys/kernel/hostname"),
        name => format!("{name}\n").into_bytes(),
    };
    let resolv = match &sandbox.config.dns_config {
        Some(dns) => files::resolv_conf(dns).into_bytes(),
        None => host_file("/etc/resolv.conf"),
    };
    write_readable(&sandbox.dir.join("hostname"), &hostname)?;
    write_readable(&sandbox.dir.join("resolv.conf"), &resolv)?;
    write_hosts(sandbox)
}

fn write_hosts(sandbox: &Sandbox) -> Result<(), CriError> {
    let hosts = match sandbox.is_host_network() {
        true => fs::read("/etc/hosts").unwrap_or_default(),
        false => files::hosts(&sandbox.config.hostname, &sandbox.record.lock().ips).into_bytes(),
    };
    write_readable(&sandbox.dir.join("hosts"), &hosts)
}

/// Containers run as any user.
fn write_readable(path: &Path, bytes: &[u8]) -> Result<(), CriError> {
    write(path, bytes)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
        .map_err(|e| CriError::internal(format!("set permissions of {}: {e}", path.display())))
}

/// What the network is asked for a sandbox.
pub(crate) fn network_request(sandbox: &Sandbox) -> AddRequest {
    let metadata = sandbox.metadata();
    let ports = sandbox
        .config
        .port_mappings
        .iter()
        .filter(|p| p.host_port > 0)
        .filter_map(|p| {
            let protocol = match cri::Protocol::try_from(p.protocol) {
                Ok(cri::Protocol::Udp) => Protocol::Udp,
                Ok(cri::Protocol::Sctp) => Protocol::Sctp,
                _ => Protocol::Tcp,
            };
            Some(PortMapping {
                host_port: u16::try_from(p.host_port).ok()?,
                container_port: u16::try_from(p.container_port).ok()?,
                protocol,
                host_ip: p
                    .host_ip
                    .parse()
                    .ok()
                    .filter(|ip: &std::net::IpAddr| !ip.is_unspecified()),
            })
        });
    AddRequest {
        sandbox_id: sandbox.id.clone(),
        netns: sandbox.dir.join("net"),
        interface: "eth0".into(),
        pod_namespace: metadata.namespace,
        pod_name: metadata.name,
        pod_uid: metadata.uid,
        ports: ports.collect(),
        ..AddRequest::default()
    }
}
