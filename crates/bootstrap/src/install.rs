//! The services of a real machine: `install` and `uninstall`.
//!
//! One control plane and one node in the machine's own namespaces, kept by systemd: the same
//! `server` and `agent` as a local cluster's, with the same keys and configuration files; what
//! differs is who starts them (units instead of keepers) and whose network and control groups they
//! use (the machine's). Everything is idempotent: a second `install` replaces the program and
//! restarts both services, containers run on. Files of the user (`server.yaml`, `agent.yaml`) are
//! written once and then left alone.
//!
//! | path | what |
//! |---|---|
//! | `/usr/local/bin/transom` | the program |
//! | `/etc/transom` | configuration, the administrator's kubeconfig |
//! | `/etc/systemd/system/transom-{server,agent}.service` | the units |
//! | `/var/lib/transom-server` | keys and store; owned by the control plane's user |
//! | `/var/lib/transom`, `/var/lib/kubelet`, `/var/log/pods` | the node's |

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{AgentConfig, NodeRanges, ServerConfig};
use crate::error::{Error, Finding};
use crate::kubeconfig::{self, Entry};
use crate::local::Progress;
use crate::ranges::{self, Ranges, Wanted};
use crate::{certs, files, host, preflight, sysctl};

mod address;
mod remove;
mod units;

pub use remove::uninstall;

use units::{AGENT, SERVER, systemctl};

const PROGRAM: &str = "/usr/local/bin/transom";
const CONFIG: &str = "/etc/transom";
const SERVER_DATA: &str = "/var/lib/transom-server";
const AGENT_DATA: &str = "/var/lib/transom";
const KUBELET: &str = "/var/lib/kubelet";
const POD_LOGS: &str = "/var/log/pods";
/// Below the agent's data: what was chosen.
const STATE: &str = "install.json";
const CLUSTER: &str = "installed";
const PORT: u16 = 6443;
const KUBELET_PORT: u16 = 10250;
/// How long the control plane may take to listen.
const LISTEN_SECONDS: u64 = 120;

/// What `install` is asked for; what is absent is chosen, or as it was.
#[derive(Debug, Clone, Default)]
pub struct Install {
    /// Name of the Node object; the machine's when absent.
    pub node_name: Option<String>,
    /// The machine's address for nodes and pods; that of its way out when absent.
    pub node_address: Option<Ipv4Addr>,
    /// Address ranges of pods and Services.
    pub ranges: Wanted,
    /// Port of the API.
    pub port: Option<u16>,
}

/// What was chosen for this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Installed {
    version: u32,
    /// Name of the Node object.
    pub node: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// Port of the API.
    pub port: u16,
    /// Address ranges; no address of the node range is used.
    pub ranges: Ranges,
    /// The program in its place is ours to remove.
    program: bool,
}

impl Installed {
    /// What is installed here; none when nothing is.
    pub fn load() -> Result<Option<Self>, Error> {
        let path = Path::new(AGENT_DATA).join(STATE);
        let Some(text) = files::read(&path)? else {
            return Ok(None);
        };
        let state = serde_json::from_str(&text).map_err(|cause| Error::Content {
            kind: "state of an installation",
            path,
            cause: Box::new(cause),
        })?;
        Ok(Some(state))
    }

    fn save(&self) -> Result<(), Error> {
        let path = Path::new(AGENT_DATA).join(STATE);
        let text = serde_json::to_string_pretty(self).map_err(|cause| Error::Content {
            kind: "state of an installation",
            path: path.clone(),
            cause: Box::new(cause),
        })?;
        files::write(&path, text.as_bytes(), 0o644)
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        Path::new(CONFIG).join("admin.conf")
    }

    /// The node's data folder.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        AGENT_DATA.into()
    }

    /// The API.
    #[must_use]
    pub fn api(&self) -> SocketAddr {
        (self.address, self.port).into()
    }
}

/// Makes the services of this machine, or brings them to this program's version, and waits until
/// the API listens.
pub fn install(request: &Install, progress: Progress<'_>) -> Result<Installed, Error> {
    let program = std::env::current_exe().map_err(Error::file("find", Path::new(PROGRAM)))?;
    let existing = Installed::load()?;
    let mut state = check(request, existing.as_ref(), &program, progress)?;
    progress("writing program, keys and configuration");
    for folder in [AGENT_DATA, KUBELET, POD_LOGS] {
        files::folder(Path::new(folder), 0o755)?;
    }
    state.program |= place_program(&program, progress)?;
    state.save()?;
    write_keys(&state)?;
    write_configuration(&state)?;
    for unit in [SERVER, AGENT] {
        files::write(&unit.path(), unit.text().as_bytes(), 0o644)?;
    }
    progress("starting the services");
    let (server, agent) = (SERVER.name(), AGENT.name());
    systemctl(&["daemon-reload"])?;
    systemctl(&["enable", &server, &agent])?;
    // The same for those that run (the program may be another) and those that do not.
    systemctl(&["restart", &server, &agent])?;
    wait_listening(&state)?;
    Ok(state)
}

/// All that stands in the way, before the first change; else what is to be.
fn check(
    request: &Install,
    existing: Option<&Installed>,
    program: &Path,
    progress: Progress<'_>,
) -> Result<Installed, Error> {
    let port = request
        .port
        .or(existing.map(|state| state.port))
        .unwrap_or(PORT);
    let mut findings = preflight::check(&preflight::Subject {
        root: AGENT_DATA.into(),
        exists: existing.is_some(),
        port: existing.is_none().then_some(port),
        cgroup: "/transom-install".to_owned(),
        program: program.to_owned(),
        installed: true,
    });
    if !units::systemd_runs() {
        let name = fs::read_to_string("/proc/1/comm").unwrap_or_default();
        findings.push(Finding::new(
            format_args!("pid 1 ({})", name.trim()),
            "is not systemd, which would keep the services",
            "make a cluster with `transom up`, or let this machine's service manager run \
             `transom server --config F` and `transom agent --config F`",
        ));
    }
    let chosen = match existing {
        Some(existing) => {
            findings.extend(changed(request, existing));
            Some(existing.clone())
        }
        None => {
            findings.extend(foreign_kubelet());
            choose(request, port, &mut findings)?
        }
    };
    let (warnings, grave): (Vec<_>, Vec<_>) = findings.into_iter().partition(|f| f.warning);
    for warning in warnings {
        progress(&format!("warning: {warning}"));
    }
    match chosen {
        Some(chosen) if grave.is_empty() => Ok(chosen),
        _ => Err(Error::Preflight(grave)),
    }
}

/// Another kubelet's data must be neither used nor removed.
fn foreign_kubelet() -> Vec<Finding> {
    let mut findings = Vec::new();
    let entries = fs::read_dir(KUBELET).into_iter().flatten();
    if entries.count() > 0 {
        findings.push(Finding::new(
            KUBELET,
            "holds the data of another kubelet",
            "take that one down (kubeadm reset), or move the folder away",
        ));
    }
    if let Some(error) = preflight::port_error(KUBELET_PORT) {
        findings.push(Finding::new(
            format_args!("port {KUBELET_PORT}"),
            error,
            "stop the kubelet that listens there",
        ));
    }
    findings
}

fn choose(
    request: &Install,
    port: u16,
    findings: &mut Vec<Finding>,
) -> Result<Option<Installed>, Error> {
    let nodename = rustix::system::uname();
    let node = request.node_name.clone();
    let node = node.unwrap_or_else(|| nodename.nodename().to_string_lossy().to_lowercase());
    if !is_name(&node) {
        findings.push(Finding::new(
            format_args!("node name {node:?}"),
            "is not a lower-case DNS name of at most 63 characters",
            "give one with --node-name",
        ));
    }
    let address = match request.node_address {
        Some(address) => Some(address),
        None => address::of_way_out()?,
    };
    if address.is_none() {
        findings.push(Finding::new(
            "this machine's address",
            "is not to be found: no default route, and no IPv4 address beside the loopback's",
            "give one with --node-address",
        ));
    }
    let chosen = ranges::choose(&request.ranges, &host::in_use("")?);
    let chosen = chosen.map_err(|more| findings.extend(more)).ok();
    Ok(match (address, chosen) {
        (Some(address), Some(ranges)) => Some(Installed {
            version: 1,
            node,
            address,
            port,
            ranges,
            program: false,
        }),
        _ => None,
    })
}

fn is_name(name: &str) -> bool {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    let ends = |c: char| c.is_ascii_alphanumeric();
    name.len() <= 63
        && name.bytes().all(good)
        && name.starts_with(ends)
        && name.ends_with(ends)
        && !name.contains("..")
}

/// What a second `install` asks for and cannot have. Pure.
fn changed(request: &Install, existing: &Installed) -> Vec<Finding> {
    let ranges = &existing.ranges;
    let text = |value: Option<&dyn ToString>| value.map(ToString::to_string);
    let asked = [
        (
            "node name",
            request.node_name.clone(),
            existing.node.clone(),
        ),
        (
            "node address",
            text(request.node_address.as_ref().map(|a| a as &dyn ToString)),
            existing.address.to_string(),
        ),
        (
            "port",
            text(request.port.as_ref().map(|p| p as &dyn ToString)),
            existing.port.to_string(),
        ),
        (
            "pod range",
            request.ranges.pods.clone(),
            ranges.pods.to_string(),
        ),
        (
            "service range",
            request.ranges.services.clone(),
            ranges.services.to_string(),
        ),
    ];
    let other = asked
        .into_iter()
        .filter_map(|(what, wanted, has)| wanted.filter(|w| *w != has).map(|w| (what, w, has)));
    other
        .map(|(what, wanted, has)| {
            Finding::new(
                format_args!("{what} {wanted}"),
                format_args!("this machine was installed with {has}"),
                "is fixed then; leave it out, or `transom uninstall` first",
            )
        })
        .collect()
}

/// Puts the program in its place; whether it was put there by us. A copy, so that nobody who may
/// write the original changes what runs as root.
fn place_program(program: &Path, progress: Progress<'_>) -> Result<bool, Error> {
    let target = Path::new(PROGRAM);
    let original = fs::metadata(program).map_err(Error::file("read", program))?;
    if let Ok(there) = fs::metadata(target)
        && (there.dev(), there.ino()) == (original.dev(), original.ino())
    {
        return Ok(false);
    }
    progress(&format!("copying the program to {PROGRAM}"));
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
    }
    let temporary = target.with_extension("new");
    files::remove(&temporary)?;
    fs::copy(program, &temporary).map_err(Error::file("copy", program))?;
    files::give(&temporary, 0, 0)?;
    files::set_mode(&temporary, 0o755)?;
    fs::rename(&temporary, target).map_err(Error::file("rename to", target))?;
    Ok(true)
}

fn write_keys(state: &Installed) -> Result<(), Error> {
    let data = Path::new(SERVER_DATA);
    if !data.exists() {
        files::folder(data, 0o700)?;
    }
    // systemd gives the whole folder to the service's user at its first start; what a later
    // `install` adds has to be given as well.
    let owner = fs::metadata(data).map_err(Error::file("read", data))?;
    let keys = data.join("pki");
    let addresses = [
        IpAddr::V4(state.ranges.kubernetes_service()),
        state.address.into(),
    ];
    certs::ensure_in(&keys, &addresses, (owner.uid(), owner.gid()))?;
    let own = Path::new(AGENT_DATA).join("pki");
    certs::ensure_node_in(&keys, &own, &state.node, state.address.into())?;
    let (admin, ca) = certs::admin_in(&keys)?;
    files::folder(Path::new(CONFIG), 0o755)?;
    let entry = Entry {
        name: "transom",
        server: state.api(),
        ca: &ca,
        certificate: &admin.cert_pem,
        key: &admin.key_pem,
    };
    kubeconfig::write(&state.kubeconfig(), &entry)
}

/// Writes the configuration files that are not there.
fn write_configuration(state: &Installed) -> Result<(), Error> {
    let folder = Path::new(CONFIG);
    let server = folder.join("server.yaml");
    if !server.exists() {
        server_config(state).save(&server)?;
    }
    let agent = folder.join("agent.yaml");
    if !agent.exists() {
        agent_config(state).save(&agent)?;
    }
    Ok(())
}

fn server_config(state: &Installed) -> ServerConfig {
    let ranges = &state.ranges;
    let data = PathBuf::from(SERVER_DATA);
    ServerConfig {
        cluster_name: CLUSTER.to_owned(),
        pki_dir: data.join("pki"),
        data_dir: data,
        listen: vec![(Ipv4Addr::LOCALHOST, state.port).into(), state.api()],
        advertise: state.api(),
        pod_ranges: vec![ranges.pods.into()],
        service_ranges: vec![ranges.services.into()],
        node_mask_v4: ranges::NODE_MASK,
        node_mask_v6: 64,
        nodes: vec![NodeRanges {
            name: state.node.clone(),
            pod_ranges: vec![ranges.node_pods(0).into()],
        }],
        cluster_domain: "cluster.local".to_owned(),
        cluster_dns: Some(ranges.dns_service().into()),
        service_account_issuer: "https://kubernetes.default.svc.cluster.local".to_owned(),
        log: "info".to_owned(),
    }
}

fn agent_config(state: &Installed) -> AgentConfig {
    let ranges = &state.ranges;
    let data = PathBuf::from(AGENT_DATA);
    let key = |file: &str| data.join("pki").join(file);
    AgentConfig {
        cluster_name: CLUSTER.to_owned(),
        node_name: state.node.clone(),
        server: state.api(),
        ca_file: key("ca.crt"),
        client_cert_file: key("kubelet-client.crt"),
        client_key_file: key("kubelet-client.key"),
        serving_cert_file: key("kubelet.crt"),
        serving_key_file: key("kubelet.key"),
        node_addresses: vec![state.address.into()],
        kubelet_port: KUBELET_PORT,
        pod_ranges: vec![ranges.node_pods(0).into()],
        cluster_pod_ranges: vec![ranges.pods.into()],
        service_ranges: vec![ranges.services.into()],
        cluster_domain: "cluster.local".to_owned(),
        cluster_dns: Some(ranges.dns_service().into()),
        proxy_cert_file: Some(key("kube-proxy-client.crt")),
        proxy_key_file: Some(key("kube-proxy-client.key")),
        dns_cert_file: Some(key("dns-client.crt")),
        dns_key_file: Some(key("dns-client.key")),
        resolv_conf: "/etc/resolv.conf".into(),
        data_dir: data.clone(),
        kubelet_dir: KUBELET.into(),
        pod_log_dir: POD_LOGS.into(),
        run_dir: "/run/transom".into(),
        cgroup_root: "/".to_owned(),
        host_network: None,
        node_routes: true,
        masquerade: true,
        pod_mtu: None,
        labels: Vec::new(),
        max_pods: 110,
        image_collection: true,
        log: "info".to_owned(),
    }
}

fn wait_listening(state: &Installed) -> Result<(), Error> {
    let pause = Duration::from_millis(100);
    let mut waited = Duration::ZERO;
    while TcpStream::connect_timeout(&state.api(), Duration::from_secs(1)).is_err() {
        if waited > Duration::from_secs(LISTEN_SECONDS) {
            return Err(Error::NotServing {
                unit: SERVER.name(),
                seconds: LISTEN_SECONDS,
            });
        }
        std::thread::sleep(pause);
        waited += pause;
    }
    Ok(())
}

/// Sets the kernel settings that a node in the machine's own network needs, and records what they
/// were, for `uninstall`. The agent calls it at its start: a record does not outlive a reboot.
pub fn settings() -> Result<(), Error> {
    sysctl::acquire(CLUSTER)
}

#[cfg(test)]
mod tests;
