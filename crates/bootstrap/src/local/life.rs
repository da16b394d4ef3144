//! The processes of a cluster: made when missing, ended with what a killed predecessor left.
//!
//! Order of `run`: keys, program, hub, control plane, nodes. Each step looks for what is there.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cgroups::{Group, Layout};
use oci::ShimBinary;

use crate::cluster::{Place, State};
use crate::config::{NodeRanges, ServerConfig};
use crate::error::Error;
use crate::host::mounts;
use crate::local::Progress;
use crate::process::{Process, Start};
use crate::{certs, files, host, node, ranges};

/// How long the control plane may take to listen.
const LISTEN_SECONDS: u64 = 60;
/// How long the control plane may take to end.
const SERVER_GRACE: Duration = Duration::from_secs(20);
const REMOVE_ATTEMPTS: u32 = 20;
const REMOVE_PAUSE: Duration = Duration::from_millis(50);
pub(super) const SERVER: &str = "server";

/// Makes everything that is missing: keys, network, processes.
pub(super) fn run(
    place: &Place,
    state: &State,
    program: &Path,
    progress: Progress<'_>,
) -> Result<(), Error> {
    for folder in ["logs", "run", "nodes"] {
        files::folder(&place.join(folder), 0o755)?;
    }
    progress("writing keys and certificates");
    certs::ensure(place, state)?;
    install_program(place, program)?;
    progress("connecting the cluster's network");
    host::connect(place, &state.ranges)?;
    let layout = Arc::new(Layout::detect()?);
    let server = start_server(place, state, &layout, progress)?;
    let shim = install_shim(place)?;
    let system = node::system_mounts(&mounts::all()?);
    for (index, name) in state.nodes.iter().enumerate() {
        if node::find(place, name)?.is_some() {
            continue;
        }
        progress(&format!("starting node {name}"));
        host::connect_node(place, &state.ranges, index)?;
        node::prepare(place, state, index)?;
        let plan = node::plan(place, name, index, &system);
        remove_groups(&layout, &place.cgroup(), name)?;
        let life = node::new_life(place, name)?;
        let group = Group::new(&layout, &format!("{}/{name}.{life}", place.cgroup()))?;
        group.create()?;
        node::start(place, &shim, &plan, &life, group)?;
    }
    wait_listening(place, state, server, progress)
}

pub(super) fn server_of(place: &Place) -> Option<Process> {
    Process::read(&place.pid_file(SERVER)).ok().flatten()
}

fn start_server(
    place: &Place,
    state: &State,
    layout: &Arc<Layout>,
    progress: Progress<'_>,
) -> Result<Process, Error> {
    if let Some(running) = server_of(place) {
        return Ok(running);
    }
    for stray in strays(place, SERVER) {
        stray.end(Duration::ZERO)?;
    }
    progress("starting the control plane");
    let data = place.join("server");
    files::folder(&data, 0o700)?;
    files::give(&data, state.uid, state.uid)?;
    let config_file = place.join("server.yaml");
    server_config(place, state, data).save(&config_file)?;
    let log = place.log(SERVER);
    let config = config_file.to_string_lossy();
    let process = Process::start(&Start {
        program: &place.join("bin").join("transom"),
        arguments: &["server", "--config", &config],
        log: &log,
        user: Some((state.uid, state.uid)),
    })?;
    process.write(&place.pid_file(SERVER))?;
    let group = Group::new(layout, &format!("{}/{SERVER}", place.cgroup()))?;
    group.create()?;
    match group.join(process.pid, true) {
        // Ended already: the wait below says so with its log.
        Err(_) if !process.is_alive() => {}
        outcome => outcome?,
    }
    Ok(process)
}

fn server_config(place: &Place, state: &State, data_dir: PathBuf) -> ServerConfig {
    let ranges = &state.ranges;
    let inside = SocketAddr::from((ranges.api_address(), state.port));
    let nodes = state
        .nodes
        .iter()
        .enumerate()
        .map(|(index, name)| NodeRanges {
            name: name.clone(),
            pod_ranges: vec![ranges.node_pods(index).into()],
        });
    ServerConfig {
        cluster_name: place.name.clone(),
        data_dir,
        pki_dir: certs::folder(place),
        listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, state.port)), inside],
        advertise: inside,
        pod_ranges: vec![ranges.pods.into()],
        service_ranges: vec![ranges.services.into()],
        node_mask_v4: ranges::NODE_MASK,
        node_mask_v6: 64,
        nodes: nodes.collect(),
        cluster_domain: "cluster.local".to_owned(),
        cluster_dns: Some(ranges.dns_service().into()),
        service_account_issuer: "https://kubernetes.default.svc.cluster.local".to_owned(),
        log: "info".to_owned(),
    }
}

/// Waits until the API's port answers; a process that ends first is reported with its log.
fn wait_listening(
    place: &Place,
    state: &State,
    server: Process,
    progress: Progress<'_>,
) -> Result<(), Error> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, state.port));
    let log = place.log(SERVER);
    let (mut waited, mut told) = (Duration::ZERO, false);
    let mut pause = Duration::from_millis(2);
    while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
        // The wait for its end is the pause.
        if server.wait(pause) {
            let tail = files::tail(&log, 10);
            let process = "the control plane".to_owned();
            return Err(Error::Died { process, log, tail });
        }
        waited += pause;
        if waited > Duration::from_secs(LISTEN_SECONDS) {
            let tail = files::tail(&log, 10);
            let process = "the control plane".to_owned();
            return Err(Error::NotReady {
                process,
                seconds: LISTEN_SECONDS,
                log,
                tail,
            });
        }
        if waited > Duration::from_secs(1) && !told {
            progress("waiting for the API to listen");
            told = true;
        }
        pause = (pause * 2).min(Duration::from_millis(100));
    }
    Ok(())
}

/// The program in the cluster's folder: the control plane's user need not be able to read the
/// original, and an update of the original does not change what runs.
fn install_program(place: &Place, program: &Path) -> Result<(), Error> {
    use std::os::unix::fs::MetadataExt;
    let folder = place.join("bin");
    files::folder(&folder, 0o755)?;
    let target = folder.join("transom");
    let original = fs::metadata(program).map_err(Error::file("read", program))?;
    if let Ok(there) = fs::metadata(&target) {
        let same = there.ino() == original.ino() && there.dev() == original.dev();
        let alike = there.len() == original.len() && there.mtime() >= original.mtime();
        if same || alike {
            return Ok(());
        }
    }
    let temporary = folder.join(".transom.new");
    files::remove(&temporary)?;
    // A link shares the pages and costs nothing; across file systems it has to be a copy.
    let readable = original.mode() & 0o555 == 0o555;
    if !readable || fs::hard_link(program, &temporary).is_err() {
        fs::copy(program, &temporary).map_err(Error::file("copy", program))?;
        files::set_mode(&temporary, 0o755)?;
    }
    fs::rename(&temporary, &target).map_err(Error::file("rename to", &target))
}

pub(super) fn install_shim(place: &Place) -> Result<ShimBinary, Error> {
    ShimBinary::install(&place.join("bin")).map_err(|cause| Error::Node {
        node: "any".to_owned(),
        cause: Box::new(cause),
    })
}

/// Processes of a starter that was killed before it could write their pids down.
pub(super) fn strays(place: &Place, command: &str) -> Vec<Process> {
    crate::process::configured_below(&place.dir(), command)
}

/// Ends nodes and control plane, with what a killed predecessor left of them.
pub(super) fn end_processes(
    place: &Place,
    nodes: &[String],
    graceful: bool,
    progress: Progress<'_>,
) -> Result<(), Error> {
    let mut running = Vec::new();
    for name in nodes {
        if let Some(found) = node::find(place, name)? {
            let asked = if graceful { found.stop() } else { found.kill() };
            asked.map_err(node::failed(name))?;
            running.push((name, found));
        }
    }
    if !running.is_empty() {
        progress(&format!("ending {} node(s)", running.len()));
    }
    let limit = node::STOP_GRACE + Duration::from_secs(5);
    for (name, found) in running {
        if !found.wait(limit).map_err(node::failed(name))? {
            found.kill().map_err(node::failed(name))?;
            found.wait(limit).map_err(node::failed(name))?;
        }
    }
    if let Some(server) = server_of(place) {
        progress("ending the control plane");
        server.end(SERVER_GRACE)?;
    }
    for stray in strays(place, "") {
        stray.end(Duration::ZERO)?;
    }
    let layout = Arc::new(Layout::detect()?);
    let group = Group::new(&layout, &place.cgroup())?;
    remove_group(&group)?;
    files::remove(&place.pid_file(SERVER))
}

/// Ends the groups of a node's earlier lives. A shim whose `up` was killed is in one of them, or
/// finds it gone and gives up: no node ever runs twice.
fn remove_groups(layout: &Arc<Layout>, cluster: &str, node: &str) -> Result<(), Error> {
    let all = Group::new(layout, cluster)?;
    for dir in all.v1_dirs().iter().chain(all.unified_dir().iter()) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if let Some(name) = entry.file_name().to_str()
                && name
                    .rsplit_once('.')
                    .is_some_and(|(owner, _)| owner == node)
            {
                remove_group(&all.child(name)?)?;
            }
        }
    }
    Ok(())
}

/// Kills what is in the cluster's group and removes it. A shim whose `up` was killed may still be
/// on its way into the group: the next attempt gets it, and without the group it gives up.
fn remove_group(group: &Group) -> Result<(), Error> {
    let exists = || {
        let mut dirs = group.v1_dirs().into_iter().chain(group.unified_dir());
        dirs.any(|dir| dir.exists())
    };
    let mut attempt = 0;
    while exists() {
        // A group that was half made cannot be asked everything; what counts is its removal.
        let _ = group.kill();
        match group.remove() {
            Ok(()) => {}
            Err(error) if attempt == REMOVE_ATTEMPTS => return Err(error.into()),
            Err(_) => std::thread::sleep(REMOVE_PAUSE),
        }
        attempt += 1;
    }
    Ok(())
}
