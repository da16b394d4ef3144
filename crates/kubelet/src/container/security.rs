//! Security context: the container's own fields win over the pod's.
//!
//! A profile that is not given is the runtime's default one (upstream's `seccompDefault: true`).
//! Source: kubernetes v1.36 pkg/kubelet/kuberuntime/security_context.go,
//! pkg/securitycontext/util.go.

use nodeapi::cri::{
    Capability, Int64Value, LinuxContainerSecurityContext, NamespaceMode, NamespaceOption,
    SecurityProfile, SupplementalGroupsPolicy, security_profile::ProfileType,
};
use schema::Ref;

use crate::container::ConfigError;

/// Paths of the kernel that an ordinary container does not see or change.
const MASKED: &[&str] = &[
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const READ_ONLY: &[&str] = &[
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Who the image says it runs as.
#[derive(Clone, Debug, Default)]
pub(crate) struct ImageUser {
    pub(crate) uid: Option<i64>,
    pub(crate) name: String,
}

/// The namespaces of a pod's containers.
pub(crate) fn namespaces(spec: Ref<'_>) -> NamespaceOption {
    let flag = |name: &str| spec.bool(name).unwrap_or(false);
    let node_or = |node: bool, other: NamespaceMode| {
        i32::from(if node { NamespaceMode::Node } else { other })
    };
    let pid = if flag("hostPID") {
        NamespaceMode::Node
    } else if flag("shareProcessNamespace") {
        NamespaceMode::Pod
    } else {
        NamespaceMode::Container
    };
    NamespaceOption {
        network: node_or(flag("hostNetwork"), NamespaceMode::Pod),
        pid: i32::from(pid),
        ipc: node_or(flag("hostIPC"), NamespaceMode::Pod),
        ..NamespaceOption::default()
    }
}

/// A seccomp profile from `seccompProfile`, or the default one.
pub(crate) fn seccomp(
    context: Option<Ref<'_>>,
    outer: Option<Ref<'_>>,
    profiles: &str,
) -> SecurityProfile {
    let profile = [context, outer]
        .into_iter()
        .flatten()
        .find_map(|context| context.get("seccompProfile"));
    match profile.map(|profile| (profile.str("type"), profile.str("localhostProfile"))) {
        Some(("Unconfined", _)) => SecurityProfile {
            profile_type: i32::from(ProfileType::Unconfined),
            ..SecurityProfile::default()
        },
        Some(("Localhost", file)) => SecurityProfile {
            profile_type: i32::from(ProfileType::Localhost),
            localhost_ref: format!("{profiles}/{file}"),
        },
        _ => SecurityProfile {
            profile_type: i32::from(ProfileType::RuntimeDefault),
            ..SecurityProfile::default()
        },
    }
}

/// The security context of one container. `title` names pod and container in errors.
pub(crate) fn container_security(
    spec: Ref<'_>,
    container: Ref<'_>,
    image: &ImageUser,
    target_id: Option<&str>,
    profiles: &str,
    title: &str,
) -> Result<LinuxContainerSecurityContext, ConfigError> {
    let own = container.get("securityContext");
    let pods = spec.get("securityContext");
    let int = |name: &str| {
        own.and_then(|own| own.int(name))
            .or_else(|| pods.and_then(|pods| pods.int(name)))
    };
    let flag = |name: &str| own.and_then(|own| own.bool(name));
    let privileged = flag("privileged").unwrap_or(false);
    let user = int("runAsUser");
    let non_root = flag("runAsNonRoot")
        .or_else(|| pods.and_then(|pods| pods.bool("runAsNonRoot")))
        .unwrap_or(false);
    if non_root {
        match (user, image.uid, image.name.as_str()) {
            (Some(0), _, _) => {
                return Err(ConfigError::RunsAsRoot {
                    title: title.to_owned(),
                });
            }
            (Some(_), _, _) => {}
            (None, Some(0), _) | (None, None, "") => {
                return Err(ConfigError::ImageRunsAsRoot {
                    title: title.to_owned(),
                });
            }
            (None, Some(_), _) => {}
            (None, None, name) => {
                return Err(ConfigError::NonNumericUser {
                    user: name.to_owned(),
                    title: title.to_owned(),
                });
            }
        }
    }
    let capabilities = own.and_then(|own| own.get("capabilities")).map(|list| {
        let names = |which: &str| {
            list.items(which)
                .filter_map(|name| name.as_str().map(str::to_owned))
                .collect()
        };
        Capability {
            add_capabilities: names("add"),
            drop_capabilities: names("drop"),
            ..Capability::default()
        }
    });
    let mut groups: Vec<i64> = pods
        .into_iter()
        .flat_map(|pods| {
            pods.items("supplementalGroups")
                .filter_map(|group| group.as_int())
        })
        .collect();
    groups.extend(pods.and_then(|pods| pods.int("fsGroup")));
    let strict = pods.is_some_and(|pods| pods.str("supplementalGroupsPolicy") == "Strict");
    let policy = if strict {
        SupplementalGroupsPolicy::Strict
    } else {
        SupplementalGroupsPolicy::Merge
    };
    let unmasked = privileged || own.is_some_and(|own| own.str("procMount") == "Unmasked");
    let paths = |list: &[&str]| -> Vec<String> {
        if unmasked {
            Vec::new()
        } else {
            list.iter().map(|path| (*path).to_owned()).collect()
        }
    };
    let mut namespace_options = namespaces(spec);
    if let Some(target) = target_id {
        namespace_options.pid = i32::from(NamespaceMode::Target);
        namespace_options.target_id = target.to_owned();
    }
    let unconfined = SecurityProfile {
        profile_type: i32::from(ProfileType::Unconfined),
        ..SecurityProfile::default()
    };
    Ok(LinuxContainerSecurityContext {
        capabilities,
        privileged,
        namespace_options: Some(namespace_options),
        run_as_user: user.or(image.uid).map(|value| Int64Value { value }),
        run_as_username: if user.is_none() && image.uid.is_none() {
            image.name.clone()
        } else {
            String::new()
        },
        run_as_group: int("runAsGroup").map(|value| Int64Value { value }),
        readonly_rootfs: flag("readOnlyRootFilesystem").unwrap_or(false),
        supplemental_groups: groups,
        supplemental_groups_policy: i32::from(policy),
        no_new_privs: !privileged && flag("allowPrivilegeEscalation") == Some(false),
        masked_paths: paths(MASKED),
        readonly_paths: paths(READ_ONLY),
        seccomp: Some(if privileged {
            unconfined
        } else {
            seccomp(own, pods, profiles)
        }),
        ..LinuxContainerSecurityContext::default()
    })
}
