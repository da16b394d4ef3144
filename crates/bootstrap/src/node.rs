//! A node of a local cluster as data: its root, mounts, namespaces, control group and agent.
//!
//! `plan` is pure; `oci::node_init` carries it out. The root is an overlay over the host's `/`, so
//! that the host's programs and libraries are there without an image. What a node must own lies
//! below the cluster's folder and is mounted in. Example: the node's `/var/lib/transom` is
//! `CLUSTER/nodes/NAME/data`, and its `/etc` is the host's until it writes there.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use std::time::Duration;

use cgroups::Group;
use oci::node_init::{Node, NodeInitSpec};
use oci::{ShimBinary, defaults};

use crate::cluster::{Place, State};
use crate::config::AgentConfig;
use crate::error::Error;
use crate::files;
use crate::host;
use crate::lives;

/// Everything that makes a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePlan {
    /// Name of the node and of its host.
    pub name: String,
    /// Upper folder of the root's overlay.
    pub upper: PathBuf,
    /// Work folder of the root's overlay.
    pub work: PathBuf,
    /// Where the root is put together.
    pub root: PathBuf,
    /// Files and folders of the host in the root: (on the host, in the node), in order.
    pub binds: Vec<(PathBuf, PathBuf)>,
    /// File of the network namespace, wired already.
    pub network: PathBuf,
    /// The agent: program and arguments as the node sees them.
    pub agent: Vec<String>,
    /// Log of init and agent, on the host.
    pub log: PathBuf,
}

/// Folders that are the node's own: path in the node, folder below the node's, mode.
const OWN: [(&str, &str, u32); 6] = [
    ("/var/lib/transom", "data", 0o755),
    ("/var/lib/kubelet", "kubelet", 0o755),
    ("/var/log/pods", "pod-logs", 0o755),
    ("/etc/cni", "cni", 0o755),
    ("/run", "run", 0o755),
    ("/tmp", "tmp", 0o1777),
];

/// How long an agent may take to end.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(20);
/// The program as nodes see it.
const PROGRAM: &str = "/run/transom/bin/transom";
/// The agent's configuration as the node sees it.
const CONFIG: &str = "/var/lib/transom/agent.yaml";
/// The host's network namespace as nodes see it.
const HOST_NETWORK: &str = "/run/transom/netns-host";
/// The host's resolver file as it is there: its servers are asked from the host's network, where
/// one on the loopback is reached too.
const HOST_RESOLVERS: &str = "/run/transom/resolv.conf";

pub(crate) fn folder(place: &Place, name: &str) -> PathBuf {
    place.join("nodes").join(name)
}

/// The plan of node `name`. `system` are the host's file systems that hold programs.
pub(crate) fn plan(place: &Place, name: &str, index: usize, system: &[PathBuf]) -> NodePlan {
    let own = folder(place, name);
    let mut binds: Vec<(PathBuf, PathBuf)> = OWN
        .iter()
        .map(|(target, source, _)| (own.join(source), target.into()))
        .collect();
    binds.extend(system.iter().map(|folder| (folder.clone(), folder.clone())));
    binds.push((place.join("bin").join("transom"), PROGRAM.into()));
    binds.push((host::host_namespace(place), HOST_NETWORK.into()));
    NodePlan {
        name: name.to_owned(),
        upper: own.join("upper"),
        work: own.join("work"),
        root: own.join("root"),
        binds,
        network: host::node_namespace(place, index),
        agent: [PROGRAM, "agent", "--config", CONFIG]
            .map(str::to_owned)
            .to_vec(),
        log: place.log(name),
    }
}

/// Makes the node's folders and files on the host: those that its mounts bind.
pub(crate) fn prepare(place: &Place, state: &State, index: usize) -> Result<(), Error> {
    let name = &state.nodes[index];
    let own = folder(place, name);
    files::folder(&own, 0o700)?;
    for part in ["upper", "work", "root"] {
        files::folder(&own.join(part), 0o755)?;
    }
    for (_, part, mode) in OWN {
        files::folder(&own.join(part), mode)?;
    }
    // /run does not outlive a node that ended: pid files and sockets in it would lie.
    let run = own.join("run");
    files::remove_tree(&run)?;
    files::folder(&run.join("transom/bin"), 0o755)?;
    for file in ["transom/bin/transom", "transom/netns-host"] {
        files::write(&run.join(file), b"", 0o755)?;
    }
    let resolvers = files::read(Path::new("/etc/resolv.conf")).ok().flatten();
    let at = run.join("transom/resolv.conf");
    files::write(&at, resolvers.unwrap_or_default().as_bytes(), 0o644)?;
    identify(&own.join("upper"), name)?;
    agent_config(place, state, index).save(&own.join("data/agent.yaml"))
}

/// Files of the node's `/etc` that are not the host's. They are written into the overlay's upper
/// folder, so that a link in the host's `/etc` does not matter.
fn identify(upper: &Path, name: &str) -> Result<(), Error> {
    let etc = upper.join("etc");
    files::folder(&etc, 0o755)?;
    let machine_id = etc.join("machine-id");
    if !machine_id.exists() {
        let mut random = base::Rng::from_os();
        let text = format!("{:016x}{:016x}\n", random.u64(), random.u64());
        files::write(&machine_id, text.as_bytes(), 0o444)?;
    }
    files::write(&etc.join("hostname"), format!("{name}\n").as_bytes(), 0o644)?;
    let read = |path: &str| files::read(Path::new(path)).ok().flatten();
    let text = resolvers(
        read("/etc/resolv.conf"),
        read("/run/systemd/resolve/resolv.conf"),
    );
    files::write(&etc.join("resolv.conf"), text.as_bytes(), 0o644)
}

/// The host's resolver file; instead of one with nothing but a resolver on the host's loopback,
/// which nodes do not reach, the one with systemd-resolved's servers. Pure.
/// Source: kubernetes v1.36 cmd/kubeadm/app/componentconfigs/kubelet.go (the same choice).
fn resolvers(usual: Option<String>, real: Option<String>) -> String {
    let usual = usual.unwrap_or_default();
    let mut servers = usual
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver "));
    let reachable = servers.any(|server| !server.trim().starts_with("127."));
    match real {
        Some(real) if !reachable => real,
        _ => usual,
    }
}

/// The host's mounts that hold programs: an overlay over `/` does not show them. Pure.
pub(crate) fn system_mounts(mounts: &[PathBuf]) -> Vec<PathBuf> {
    let roots = ["/usr", "/opt", "/bin", "/sbin", "/lib", "/lib64", "/srv"];
    let of_system = |path: &&PathBuf| roots.iter().any(|root| path.starts_with(root));
    let mut found: Vec<PathBuf> = mounts.iter().filter(of_system).cloned().collect();
    found.sort();
    // A bind takes along what is mounted below it.
    found.dedup_by(|below, above| below.starts_with(above));
    found
}

fn agent_config(place: &Place, state: &State, index: usize) -> AgentConfig {
    let ranges = &state.ranges;
    let data = Path::new("/var/lib/transom");
    let key = |file: &str| data.join("pki").join(file);
    AgentConfig {
        cluster_name: place.name.clone(),
        node_name: state.nodes[index].clone(),
        server: (ranges.api_address(), state.port).into(),
        ca_file: key("ca.crt"),
        client_cert_file: key("kubelet-client.crt"),
        client_key_file: key("kubelet-client.key"),
        serving_cert_file: key("kubelet.crt"),
        serving_key_file: key("kubelet.key"),
        node_addresses: vec![IpAddr::V4(ranges.node_address(index))],
        kubelet_port: 10250,
        pod_ranges: vec![ranges.node_pods(index).into()],
        cluster_pod_ranges: vec![ranges.pods.into()],
        service_ranges: vec![ranges.services.into()],
        cluster_domain: "cluster.local".to_owned(),
        cluster_dns: Some(ranges.dns_service().into()),
        proxy_cert_file: Some(key("kube-proxy-client.crt")),
        proxy_key_file: Some(key("kube-proxy-client.key")),
        dns_cert_file: Some(key("dns-client.crt")),
        dns_key_file: Some(key("dns-client.key")),
        resolv_conf: HOST_RESOLVERS.into(),
        data_dir: data.to_owned(),
        kubelet_dir: "/var/lib/kubelet".into(),
        pod_log_dir: "/var/log/pods".into(),
        run_dir: "/run/transom".into(),
        cgroup_root: "/".to_owned(),
        host_network: Some(HOST_NETWORK.into()),
        node_routes: false,
        masquerade: false,
        pod_mtu: None,
        labels: Vec::new(),
        max_pods: 110,
        image_collection: false,
        log: "info".to_owned(),
    }
}

/// The node's pid 1, if it runs.
pub(crate) fn find(place: &Place, name: &str) -> Result<Option<Node>, Error> {
    lives::find(&folder(place, name)).map_err(failed(name))
}

/// Starts a node that does not run.
pub(crate) fn start(
    place: &Place,
    shim: &ShimBinary,
    plan: &NodePlan,
    life: &str,
    group: Group,
) -> Result<Node, Error> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let binds = plan.binds.iter();
    let mut env = lives::environment();
    env.push("HOME=/root".to_owned());
    let spec = NodeInitSpec {
        name: plan.name.clone(),
        directory: lives::state_folder(&folder(place, &plan.name), life),
        lowers: vec!["/".into()],
        upper: plan.upper.clone(),
        work: plan.work.clone(),
        at: plan.root.clone(),
        mounts: binds
            .map(|(from, to)| defaults::bind(&text(from), &text(to), 0))
            .collect(),
        net: text(&plan.network),
        cgroup: group,
        args: plan.agent.clone(),
        env,
        log: plan.log.clone(),
        stop_grace: STOP_GRACE,
        sysctls: vec!["net.ipv4.ip_forward=1".to_owned()],
    };
    oci::node_init::spawn(shim, &spec).map_err(failed(&plan.name))
}

pub(crate) fn failed(node: &str) -> impl Fn(oci::Error) -> Error {
    let node = node.to_owned();
    move |cause| Error::Node {
        node: node.clone(),
        cause: Box::new(cause),
    }
}

#[cfg(test)]
mod tests;
