//! From a CRI container configuration and an image to what the shim runs. Pure.
//!
//! Source: containerd 2.x internal/cri/server/container_create_linux.go, pkg/oci/spec_opts.go;
//! kubernetes v1.36 expectations on entrypoint, environment and user.

use std::collections::{BTreeMap, BTreeSet};

use cgroups::{DeviceKind, DeviceRule, Limits};
use nodeapi::CriError;
use nodeapi::cri::{
    self, LinuxContainerResources, LinuxContainerSecurityContext, MountPropagation, NamespaceMode,
    SupplementalGroupsPolicy, security_profile::ProfileType,
};
use oci::spec::{Capabilities, Container, Device, Mount, Process, Rootfs};
use oci::{capabilities, defaults, seccomp};

use crate::images::{Image, ImageConfig};

/// How an image is bound into a container: as documented for Kubernetes.
const IMAGE_VOLUME: u64 =
    defaults::READ_ONLY | defaults::NO_SUID | defaults::NO_DEV | defaults::NO_EXEC;

/// Everything a container's specification depends on.
pub(crate) struct Input<'a> {
    pub(crate) id: &'a str,
    pub(crate) sandbox: &'a cri::PodSandboxConfig,
    pub(crate) config: &'a cri::ContainerConfig,
    pub(crate) image: &'a Image,
    /// Directory of the sandbox: shared files.
    pub(crate) sandbox_dir: &'a str,
    /// Directory of the container: upper, work, root.
    pub(crate) dir: &'a str,
    /// Where the images lie that mounts name, by the number of the mount.
    pub(crate) image_volumes: BTreeMap<usize, String>,
    pub(crate) cgroup: oci::spec::Cgroup,
    /// Device nodes of the host, for privileged containers.
    pub(crate) host_devices: Vec<Device>,
    /// A profile file that was read, if the configuration names one.
    pub(crate) localhost_profile: Option<seccomp::Profile>,
    /// Host name of the pod (the node's in the host network).
    pub(crate) hostname: &'a str,
}

/// The empty security context.
fn security(config: &cri::ContainerConfig) -> LinuxContainerSecurityContext {
    config
        .linux
        .as_ref()
        .and_then(|l| l.security_context.clone())
        .unwrap_or_default()
}

/// What the shim is asked to make.
pub(crate) fn container(input: Input<'_>) -> Result<Container, CriError> {
    let config = input.config;
    let security = security(config);
    let options = security.namespace_options.clone().unwrap_or_default();
    let bounding = bounding_set(&security)?;
    let host_network = options.network == NamespaceMode::Node as i32;
    let mut spec = Container {
        id: input.id.into(),
        process: process(&input, &security, bounding)?,
        rootfs: rootfs(&input, &security),
        mounts: mounts(&input, &security, &options)?,
        devices: devices(&input, &security)?,
        cgroup: input.cgroup.clone(),
        log_path: log_path(input.sandbox, config),
        stdin: config.stdin,
        stdin_once: config.stdin_once,
        ..Container::default()
    };
    if !security.privileged {
        spec.masked_paths.clone_from(&security.masked_paths);
        spec.readonly_paths.clone_from(&security.readonly_paths);
        spec.namespaces.cgroup = "new".into();
    }
    if !host_network {
        spec.namespaces.net = "pod".into();
        spec.namespaces.uts = "pod".into();
    }
    if options.ipc != NamespaceMode::Node as i32 {
        spec.namespaces.ipc = "pod".into();
    }
    spec.namespaces.pid = match NamespaceMode::try_from(options.pid) {
        Ok(NamespaceMode::Pod) => "pod".into(),
        Ok(NamespaceMode::Container) => "new".into(),
        Ok(NamespaceMode::Node) => String::new(),
        Ok(NamespaceMode::Target) => format!("container:{}", options.target_id),
        Err(_) => {
            return Err(CriError::invalid(format!(
                "pid namespace mode {}",
                options.pid
            )));
        }
    };
    Ok(spec)
}

/// Full path of the CRI log, empty if there is none.
pub(crate) fn log_path(sandbox: &cri::PodSandboxConfig, config: &cri::ContainerConfig) -> String {
    if sandbox.log_directory.is_empty() || config.log_path.is_empty() {
        return String::new();
    }
    format!(
        "{}/{}",
        sandbox.log_directory.trim_end_matches('/'),
        config.log_path
    )
}

fn bounding_set(security: &LinuxContainerSecurityContext) -> Result<u64, CriError> {
    if security.privileged {
        return Ok(capabilities::all());
    }
    let lists = security.capabilities.clone().unwrap_or_default();
    let base = capabilities::default_set();
    capabilities::adjust(base, &lists.add_capabilities, &lists.drop_capabilities)
        .map_err(|name| CriError::invalid(format!("unknown capability {name:?}")))
}

fn process(
    input: &Input<'_>,
    security: &LinuxContainerSecurityContext,
    bounding: u64,
) -> Result<Process, CriError> {
    let (config, image) = (input.config, &input.image.config);
    let resources = resources(config);
    let ambient = security
        .capabilities
        .as_ref()
        .map_or(&[][..], |c| &c.add_ambient_capabilities);
    let ambient = capabilities::adjust(0, ambient, &[])
        .map_err(|name| CriError::invalid(format!("unknown capability {name:?}")))?;
    let strict = security.supplemental_groups_policy == SupplementalGroupsPolicy::Strict as i32;
    let groups = security
        .supplemental_groups
        .iter()
        .map(|g| u32::try_from(*g).map_err(|_| CriError::invalid(format!("group {g}"))))
        .collect::<Result<_, _>>()?;
    let profile = seccomp_profile(input, security, bounding)?;
    let program = match profile {
        Some(profile) => profile
            .compile()
            .map_err(|e| CriError::internal(format!("compile the seccomp profile: {e}")))?,
        None => Vec::new(),
    };
    Ok(Process {
        args: command(config, image)?,
        env: environment(config, image, input.hostname),
        cwd: first_of([&config.working_dir, &image.working_dir], "/"),
        terminal: config.tty,
        user: user(security, image)?,
        groups,
        merge_groups: !strict,
        capabilities: Capabilities {
            bounding: bounding | ambient,
            permitted: bounding | ambient,
            inheritable: ambient,
            ambient,
        },
        no_new_privs: security.no_new_privs,
        seccomp: oci_blob(program),
        oom_score_adj: i32::try_from(resources.oom_score_adj).ok(),
        ..Process::default()
    })
}

fn oci_blob(bytes: Vec<u8>) -> oci::Blob {
    oci::Blob(bytes)
}

fn first_of(candidates: [&String; 2], otherwise: &str) -> String {
    candidates
        .into_iter()
        .find(|c| !c.is_empty())
        .map_or_else(|| otherwise.into(), Clone::clone)
}

fn command(config: &cri::ContainerConfig, image: &ImageConfig) -> Result<Vec<String>, CriError> {
    let (mut command, mut args) = (config.command.clone(), config.args.clone());
    if command.is_empty() {
        if args.is_empty() {
            args.clone_from(&image.cmd);
        }
        command.clone_from(&image.entrypoint);
        if command == [""] {
            command.clear();
        }
    }
    command.extend(args);
    if command.is_empty() {
        return Err(CriError::invalid("no command specified"));
    }
    Ok(command)
}

/// The image's variables, then the container's; a later value replaces an earlier one in place.
fn environment(config: &cri::ContainerConfig, image: &ImageConfig, hostname: &str) -> Vec<String> {
    let mut env: Vec<(String, String)> = Vec::new();
    let mut set = |name: &str, value: &str| match env.iter_mut().find(|(n, _)| n == name) {
        Some((_, old)) => *old = value.into(),
        None => env.push((name.into(), value.into())),
    };
    if let Some((name, value)) = defaults::PATH.split_once('=') {
        set(name, value);
    }
    if config.tty {
        set("TERM", "xterm");
    }
    if !hostname.is_empty() {
        set("HOSTNAME", hostname);
    }
    for (name, value) in image.env.iter().filter_map(|e| e.split_once('=')) {
        set(name, value);
    }
    for e in &config.envs {
        // The shim speaks UTF-8; other bytes are replaced.
        set(&e.key, &String::from_utf8_lossy(&e.value));
    }
    env.into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect()
}

fn user(security: &LinuxContainerSecurityContext, image: &ImageConfig) -> Result<String, CriError> {
    let uid = security.run_as_user.as_ref().map(|u| u.value.to_string());
    let name = Some(&security.run_as_username)
        .filter(|n| !n.is_empty())
        .cloned();
    let Some(gid) = security.run_as_group.as_ref() else {
        return Ok(name.or(uid).unwrap_or_else(|| image.user.clone()));
    };
    let own = name.or(uid).or_else(|| {
        let (user, _) = image.user.split_once(':').unwrap_or((&image.user, ""));
        Some(user.to_string()).filter(|u| !u.is_empty())
    });
    match own {
        Some(own) => Ok(format!("{own}:{}", gid.value)),
        None => Ok(format!("0:{}", gid.value)),
    }
}

fn seccomp_profile(
    input: &Input<'_>,
    security: &LinuxContainerSecurityContext,
    bounding: u64,
) -> Result<Option<seccomp::Profile>, CriError> {
    let Some(profile) = security.seccomp.as_ref().filter(|_| !security.privileged) else {
        return Ok(None);
    };
    match ProfileType::try_from(profile.profile_type) {
        Ok(ProfileType::Unconfined) => Ok(None),
        Ok(ProfileType::RuntimeDefault) => Ok(Some(seccomp::Profile::runtime_default(bounding))),
        Ok(ProfileType::Localhost) => match &input.localhost_profile {
            Some(profile) => Ok(Some(profile.clone())),
            None => Err(CriError::invalid(format!(
                "seccomp profile {:?} was not read",
                profile.localhost_ref
            ))),
        },
        Err(_) => Err(CriError::invalid("unknown type of seccomp profile")),
    }
}

fn rootfs(input: &Input<'_>, security: &LinuxContainerSecurityContext) -> Rootfs {
    Rootfs {
        lowers: input
            .image
            .lowers
            .iter()
            .map(|p| p.to_string_lossy().into_owned())
            .collect(),
        upper: format!("{}/upper", input.dir),
        work: format!("{}/work", input.dir),
        at: format!("{}/root", input.dir),
        read_only: security.readonly_rootfs,
        ..Rootfs::default()
    }
}

fn mounts(
    input: &Input<'_>,
    security: &LinuxContainerSecurityContext,
    options: &cri::NamespaceOption,
) -> Result<Vec<Mount>, CriError> {
    let mut mounts = defaults::mounts(security.privileged, false);
    if security.privileged {
        // The node's groups, as node software expects.
        if let Some(groups) = mounts.iter_mut().find(|m| m.kind == "cgroup") {
            *groups = defaults::bind("/sys/fs/cgroup", "/sys/fs/cgroup", 0);
        }
    }
    let wanted: BTreeSet<&str> = input
        .config
        .mounts
        .iter()
        .map(|m| m.container_path.trim_end_matches('/'))
        .collect();
    let host_ipc = options.ipc == NamespaceMode::Node as i32;
    let file = |name: &str| format!("{}/{name}", input.sandbox_dir);
    let shm = if host_ipc {
        "/dev/shm".into()
    } else {
        file("shm")
    };
    let read_only = if security.readonly_rootfs {
        defaults::READ_ONLY
    } else {
        0
    };
    for (source, target, flags) in [
        (
            shm,
            "/dev/shm",
            defaults::NO_SUID | defaults::NO_DEV | defaults::NO_EXEC,
        ),
        (file("hostname"), "/etc/hostname", read_only),
        (file("hosts"), "/etc/hosts", read_only),
        (file("resolv.conf"), "/etc/resolv.conf", read_only),
    ] {
        if !wanted.contains(target) {
            mounts.push(defaults::bind(&source, target, flags));
        }
    }
    let mut own: Vec<(usize, &cri::Mount)> = input.config.mounts.iter().enumerate().collect();
    // Outer ones first, or they would hide the inner ones.
    own.sort_by_key(|(_, m)| m.container_path.trim_end_matches('/').matches('/').count());
    for (index, mount) in own {
        let target = match mount.container_path.as_str() {
            absolute if absolute.starts_with('/') => absolute.to_string(),
            relative => format!("/{relative}"),
        };
        let (source, flags) = match (&mount.image, input.image_volumes.get(&index)) {
            (Some(_), Some(mounted)) => (mounted, IMAGE_VOLUME),
            (Some(_), None) => return Err(CriError::internal("an image is not mounted")),
            (None, _) if mount.readonly => (&mount.host_path, defaults::READ_ONLY),
            (None, _) => (&mount.host_path, 0),
        };
        let mut bind = defaults::bind(source, &target, flags);
        bind.recursive_flags = mount.recursive_read_only;
        bind.propagation = match MountPropagation::try_from(mount.propagation) {
            Ok(MountPropagation::PropagationHostToContainer) => defaults::SLAVE,
            Ok(MountPropagation::PropagationBidirectional) => defaults::SHARED,
            _ => defaults::PRIVATE,
        };
        mounts.push(bind);
    }
    Ok(mounts)
}

fn devices(
    input: &Input<'_>,
    security: &LinuxContainerSecurityContext,
) -> Result<Vec<Device>, CriError> {
    if security.privileged {
        return Ok(input.host_devices.clone());
    }
    input
        .config
        .devices
        .iter()
        .map(|wanted| {
            let found = input
                .host_devices
                .iter()
                .find(|d| d.path == wanted.host_path);
            let found = found.ok_or_else(|| {
                CriError::invalid(format!("device {} does not exist", wanted.host_path))
            })?;
            Ok(Device {
                path: wanted.container_path.clone(),
                ..found.clone()
            })
        })
        .collect()
}

/// Rules of the device controller.
pub(crate) fn device_rules(spec: &Container, config: &cri::ContainerConfig) -> Vec<DeviceRule> {
    if security(config).privileged {
        return vec![DeviceRule::allow_all()];
    }
    let mut rules = vec![DeviceRule::deny_all()];
    let make_any = DeviceRule::allow_char(None, None, "m");
    rules.push(DeviceRule {
        kind: DeviceKind::Block,
        ..make_any.clone()
    });
    rules.push(make_any);
    for (major, minor) in [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2)] {
        rules.push(DeviceRule::allow_char(Some(major), Some(minor), "rwm"));
    }
    // Pseudo terminals.
    rules.push(DeviceRule::allow_char(Some(136), None, "rwm"));
    for (device, wanted) in spec.devices.iter().zip(&config.devices) {
        let kind = if device.block {
            DeviceKind::Block
        } else {
            DeviceKind::Char
        };
        let access = if wanted.permissions.is_empty() {
            "rwm"
        } else {
            &wanted.permissions
        };
        let rule = DeviceRule::allow_char(Some(device.major), Some(device.minor), access);
        rules.push(DeviceRule { kind, ..rule });
    }
    rules
}

/// The resources of a container, all zero if there are none.
pub(crate) fn resources(config: &cri::ContainerConfig) -> LinuxContainerResources {
    config
        .linux
        .as_ref()
        .and_then(|l| l.resources.clone())
        .unwrap_or_default()
}

/// Limits of a group; zero means that nothing was said. Huge pages are left out: a host without
/// that controller must still run the pod.
pub(crate) fn limits(resources: &LinuxContainerResources) -> Limits {
    let some = |value: i64| Some(value).filter(|v| *v != 0);
    let unsigned = |value: i64| u64::try_from(value).ok().filter(|v| *v != 0);
    let memory = some(resources.memory_limit_in_bytes);
    Limits {
        memory,
        memory_and_swap: some(resources.memory_swap_limit_in_bytes).or(memory),
        cpu_shares: unsigned(resources.cpu_shares),
        cpu_quota_us: some(resources.cpu_quota),
        cpu_period_us: unsigned(resources.cpu_period),
        cpuset_cpus: Some(resources.cpuset_cpus.clone()).filter(|c| !c.is_empty()),
        cpuset_mems: Some(resources.cpuset_mems.clone()).filter(|m| !m.is_empty()),
        pids: None,
        oom_group: None,
        unified: resources
            .unified
            .iter()
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect(),
    }
}

/// Number of a stop signal: the configuration's, the image's, SIGTERM.
pub(crate) fn stop_signal(config: &cri::ContainerConfig, image: &ImageConfig) -> u32 {
    const SIGTERM: u32 = 15;
    let configured = cri::Signal::try_from(config.stop_signal).ok();
    let configured = configured.filter(|s| *s != cri::Signal::RuntimeDefault);
    match configured {
        Some(signal) => signal_number(signal.as_str_name()),
        None => signal_number(&image.stop_signal),
    }
    .unwrap_or(SIGTERM)
}

/// `SIGTERM`, `TERM`, `SIGRTMIN+3` or `15`.
fn signal_number(name: &str) -> Option<u32> {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
        "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
        "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    const ALIASES: [(&str, u32); 4] = [("IOT", 6), ("CLD", 17), ("POLL", 29), ("UNUSED", 31)];
    const RTMIN: u32 = 34;
    const RTMAX: u32 = 64;
    if let Ok(number) = name.parse() {
        return Some(number).filter(|n| (1..=RTMAX).contains(n));
    }
    let upper = name.to_ascii_uppercase();
    let short = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = |rest: &str, sign: char| match rest {
        "" => Some(0),
        rest => rest
            .strip_prefix(sign)
            .and_then(|n| n.trim_start_matches("PLUS").parse().ok()),
    };
    if let Some(rest) = short.strip_prefix("RTMIN") {
        return offset(&rest.replace("PLUS", "+"), '+').map(|n: u32| RTMIN + n);
    }
    if let Some(rest) = short.strip_prefix("RTMAX") {
        return offset(&rest.replace("MINUS", "-"), '-').and_then(|n: u32| RTMAX.checked_sub(n));
    }
    let position = NAMES
        .iter()
        .position(|n| *n == short)
        .and_then(|p| u32::try_from(p + 1).ok());
    position.or_else(|| {
        ALIASES
            .iter()
            .find(|(n, _)| *n == short)
            .map(|(_, number)| *number)
    })
}

/// A process that runs by exec: as the container's first, with another command.
pub(crate) fn exec_process(first: &Process, command: &[String], terminal: bool) -> Process {
    let mut env = first.env.clone();
    if terminal && !env.iter().any(|e| e.starts_with("TERM=")) {
        env.push("TERM=xterm".into());
    }
    Process {
        args: command.to_vec(),
        env,
        terminal,
        columns: 0,
        rows: 0,
        ..first.clone()
    }
}

#[cfg(test)]
mod tests;
