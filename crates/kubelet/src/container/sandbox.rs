//! What the runtime is told about a pod as a whole.
//!
//! Source: kubernetes v1.36 pkg/kubelet/kuberuntime/kuberuntime_sandbox.go;
//! pkg/kubelet/network/dns/dns.go.

use std::path::PathBuf;

use nodeapi::cri::{
    DnsConfig, LinuxPodSandboxConfig, LinuxSandboxSecurityContext, PodSandboxConfig,
    PodSandboxMetadata, PortMapping, Protocol,
};
use schema::Ref;

use crate::container::downward::NodeFacts;
use crate::container::{label, security};

/// What the node knows about a pod besides its object.
#[derive(Clone, Debug, Default)]
pub struct PodContext {
    /// Where the logs of the pod's containers go.
    pub log_directory: PathBuf,
    /// The pod's control group, below which its containers go.
    pub cgroup_parent: String,
    /// `Guaranteed`, `Burstable` or `BestEffort`.
    pub qos: String,
    /// The node's name resolution, for `dnsPolicy: Default` and the node's network.
    pub host_dns: DnsConfig,
    /// Addresses of the cluster's DNS service.
    pub cluster_dns: Vec<String>,
    /// `cluster.local`.
    pub cluster_domain: String,
    /// Folder of Localhost seccomp profiles.
    pub seccomp_profiles: String,
    /// The node's host name, for pods on its network.
    pub node_hostname: String,
    /// For the downward API.
    pub facts: NodeFacts,
    /// The node's memory.
    pub node_memory_bytes: i64,
    /// All services whose variables containers get.
    pub services: Vec<crate::container::ServiceInfo>,
}

/// The sandbox's configuration.
pub fn sandbox_config(pod: Ref<'_>, context: &PodContext, attempt: u32) -> PodSandboxConfig {
    let absent = schema::Dom::new();
    let metadata = pod.get("metadata").unwrap_or(absent.as_ref());
    let spec = pod.get("spec").unwrap_or(absent.as_ref());
    let (name, namespace, uid) = (
        metadata.str("name"),
        metadata.str("namespace"),
        metadata.str("uid"),
    );
    let mut labels: std::collections::BTreeMap<String, String> = metadata
        .entries("labels")
        .map(|(key, value)| {
            (
                key.to_owned(),
                value.as_str().unwrap_or_default().to_owned(),
            )
        })
        .collect();
    for (key, value) in [
        (label::POD_NAME, name),
        (label::POD_NAMESPACE, namespace),
        (label::POD_UID, uid),
    ] {
        labels.insert(key.to_owned(), value.to_owned());
    }
    let pods_security = spec.get("securityContext");
    let sysctls = pods_security
        .into_iter()
        .flat_map(|context| context.items("sysctls"))
        .map(|sysctl| {
            (
                sysctl.str("name").to_owned(),
                sysctl.str("value").to_owned(),
            )
        })
        .collect();
    let privileged = spec
        .items("containers")
        .chain(spec.items("initContainers"))
        .any(|c| {
            c.get("securityContext")
                .and_then(|s| s.bool("privileged"))
                .unwrap_or(false)
        });
    PodSandboxConfig {
        metadata: Some(PodSandboxMetadata {
            name: name.to_owned(),
            uid: uid.to_owned(),
            namespace: namespace.to_owned(),
            attempt,
        }),
        hostname: hostname(spec, name, context),
        log_directory: context.log_directory.to_string_lossy().into_owned(),
        dns_config: Some(dns(spec, namespace, context)),
        port_mappings: ports(spec),
        labels,
        annotations: metadata
            .entries("annotations")
            .map(|(key, value)| {
                (
                    key.to_owned(),
                    value.as_str().unwrap_or_default().to_owned(),
                )
            })
            .collect(),
        linux: Some(LinuxPodSandboxConfig {
            cgroup_parent: context.cgroup_parent.clone(),
            security_context: Some(LinuxSandboxSecurityContext {
                namespace_options: Some(security::namespaces(spec)),
                privileged,
                seccomp: Some(security::seccomp(
                    None,
                    pods_security,
                    &context.seccomp_profiles,
                )),
                ..LinuxSandboxSecurityContext::default()
            }),
            sysctls,
            ..LinuxPodSandboxConfig::default()
        }),
        ..PodSandboxConfig::default()
    }
}

/// `spec.hostname`, or the pod's name cut to what Linux takes.
pub(crate) fn hostname(spec: Ref<'_>, name: &str, context: &PodContext) -> String {
    if spec.bool("hostNetwork").unwrap_or(false) {
        return context.node_hostname.clone();
    }
    let own = match spec.str("hostname") {
        "" => name,
        own => own,
    };
    let cut: String = own.chars().take(63).collect();
    cut.trim_end_matches(['-', '.']).to_owned()
}

fn dns(spec: Ref<'_>, namespace: &str, context: &PodContext) -> DnsConfig {
    let host_network = spec.bool("hostNetwork").unwrap_or(false);
    let domain = &context.cluster_domain;
    let cluster = || {
        let mut searches = vec![
            format!("{namespace}.svc.{domain}"),
            format!("svc.{domain}"),
            domain.clone(),
        ];
        searches.extend(context.host_dns.searches.iter().cloned());
        DnsConfig {
            servers: context.cluster_dns.clone(),
            searches,
            options: vec!["ndots:5".to_owned()],
        }
    };
    let mut config = match spec.str("dnsPolicy") {
        "None" => DnsConfig::default(),
        "Default" => context.host_dns.clone(),
        "ClusterFirst" if host_network => context.host_dns.clone(),
        _ if context.cluster_dns.is_empty() => context.host_dns.clone(),
        _ => cluster(),
    };
    if let Some(own) = spec.get("dnsConfig") {
        let words = |list: &str| -> Vec<String> {
            own.items(list)
                .filter_map(|word| word.as_str().map(str::to_owned))
                .collect()
        };
        config.servers.extend(words("nameservers"));
        config.searches.extend(words("searches"));
        for option in own.items("options") {
            let name = option.str("name");
            let text = match option.str("value") {
                "" => name.to_owned(),
                value => format!("{name}:{value}"),
            };
            config
                .options
                .retain(|known| known.split(':').next() != Some(name));
            config.options.push(text);
        }
    }
    for list in [&mut config.servers, &mut config.searches] {
        let mut seen = std::collections::HashSet::new();
        list.retain(|word| seen.insert(word.clone()));
    }
    config.servers.truncate(3);
    config
}

fn ports(spec: Ref<'_>) -> Vec<PortMapping> {
    if spec.bool("hostNetwork").unwrap_or(false) {
        return Vec::new();
    }
    let number = |port: Option<i64>| port.and_then(|port| i32::try_from(port).ok()).unwrap_or(0);
    spec.items("containers")
        .flat_map(|container| container.items("ports"))
        .filter(|port| port.int("hostPort").is_some_and(|port| port > 0))
        .map(|port| PortMapping {
            protocol: i32::from(match port.str("protocol") {
                "UDP" => Protocol::Udp,
                "SCTP" => Protocol::Sctp,
                _ => Protocol::Tcp,
            }),
            container_port: number(port.int("containerPort")),
            host_port: number(port.int("hostPort")),
            host_ip: port.str("hostIP").to_owned(),
        })
        .collect()
}
