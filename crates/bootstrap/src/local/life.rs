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
use oci::node_init::{KeepSpec, Node};

use crate::cluster::{Place, State};
use crate::config::{NodeRanges, ServerConfig};
use crate::error::Error;
use crate::host::mounts;
use crate::local::Progress;
use crate::process::Process;
use crate::{certs, files, host, lives, node, ranges};

/// How long the control plane may take to listen.
const LISTEN_SECONDS: u64 = 60;
/// How long the control plane may take to end.
const SERVER_GRACE: Duration = Duration::from_secs(20);
pub(super) const SERVER: &str = "server";

/// Makes everything that is missing: keys, network, processes.
pub(super) fn run(
    place: &Place,
    state: &State,
    program: &Path,
    progress: Progress<'_>,
) -> Result<(), Error> {
    for folder in ["logs", "nodes"] {
        files::folder(&place.join(folder), 0o755)?;
    }
    progress("writing keys and certificates");
    certs::ensure(place, state)?;
    install_program(place, program)?;
    progress("connecting the cluster's network");
    host::connect(place, &state.ranges)?;
    let layout = Arc::new(Layout::detect()?);
    let shim = install_shim(place)?;
    let written = files::size(&place.log(SERVER));
    let server = start_server(place, state, &layout, &shim, progress)?;
    let ends = server.agent_ends();
    for index in 0..state.nodes.len() {
        start_node(place, state, index, &layout, &shim, progress)?;
    }
    host::route_services(place, &state.ranges, 0)?;
    wait_listening(place, state, &server, (ends, written), progress)
}

/// Makes what is missing of one node, its processes too. Its files are those of its last life.
pub(super) fn run_node(
    place: &Place,
    state: &State,
    index: usize,
    progress: Progress<'_>,
) -> Result<(), Error> {
    host::connect(place, &state.ranges)?;
    let layout = Arc::new(Layout::detect()?);
    let shim = install_shim(place)?;
    start_node(place, state, index, &layout, &shim, progress)?;
    route_services(place, state)
}

/// Services from the host go to the first node that runs.
fn route_services(place: &Place, state: &State) -> Result<(), Error> {
    for (index, name) in state.nodes.iter().enumerate() {
        if node::find(place, name)?.is_some() {
            return host::route_services(place, &state.ranges, index);
        }
    }
    Ok(())
}

fn start_node(
    place: &Place,
    state: &State,
    index: usize,
    layout: &Arc<Layout>,
    shim: &ShimBinary,
    progress: Progress<'_>,
) -> Result<(), Error> {
    let name = &state.nodes[index];
    if node::find(place, name)?.is_some() {
        return Ok(());
    }
    progress(&format!("starting node {name}"));
    host::connect_node(place, &state.ranges, index)?;
    node::prepare(place, state, index)?;
    certs::ensure_node(place, state, index)?;
    let system = node::system_mounts(&mounts::all()?);
    let plan = node::plan(place, name, index, &system);
    let folder = node::folder(place, name);
    let (life, group) = lives::begin(&folder, layout, &place.cgroup(), name)?;
    node::start(place, shim, &plan, &life, group)?;
    Ok(())
}

/// Ends one node with everything in it; its files stay. With grace its agent is asked first.
pub(super) fn end_node(
    place: &Place,
    state: &State,
    name: &str,
    graceful: bool,
    progress: Progress<'_>,
) -> Result<(), Error> {
    if let Some(found) = node::find(place, name)? {
        progress(&format!("ending node {name}"));
        end_found(name, &found, graceful)?;
    }
    let layout = Arc::new(Layout::detect()?);
    lives::end(&node::folder(place, name), &layout, &place.cgroup(), name)?;
    route_services(place, state)
}

fn end_found(name: &str, found: &Node, graceful: bool) -> Result<(), Error> {
    let failed = node::failed(name);
    let limit = node::STOP_GRACE + Duration::from_secs(5);
    if graceful {
        found.stop().map_err(&failed)?;
    }
    if !graceful || !found.wait(limit).map_err(&failed)? {
        found.kill().map_err(&failed)?;
        found.wait(limit).map_err(&failed)?;
    }
    Ok(())
}

fn keeper_folder(place: &Place) -> PathBuf {
    place.join("keeper")
}

fn keeper(place: &Place) -> Result<Option<Node>, Error> {
    lives::find(&keeper_folder(place)).map_err(node::failed(SERVER))
}

/// The control plane's process, if it runs.
pub(super) fn server_of(place: &Place) -> Result<Option<Process>, Error> {
    Ok(keeper(place)?.and_then(|keeper| Process::child_of(keeper.pid())))
}

/// Whether anything of the cluster may run, even if nobody wrote it down.
pub(super) fn may_run(place: &Place) -> bool {
    let group = || -> Result<Group, cgroups::Error> {
        Group::new(&Arc::new(Layout::detect()?), &place.cgroup())
    };
    group().is_ok_and(|group| lives::is_there(&group))
}

/// Starts the control plane under a keeper, which starts it again whenever it ends.
fn start_server(
    place: &Place,
    state: &State,
    layout: &Arc<Layout>,
    shim: &ShimBinary,
    progress: Progress<'_>,
) -> Result<Node, Error> {
    if let Some(running) = keeper(place)? {
        return Ok(running);
    }
    progress("starting the control plane");
    let data = place.join("server");
    files::folder(&data, 0o700)?;
    files::give(&data, state.uid, state.uid)?;
    let config = place.join("server.yaml");
    server_config(place, state, data).save(&config)?;
    let folder = keeper_folder(place);
    files::folder(&folder, 0o755)?;
    let (life, group) = lives::begin(&folder, layout, &place.cgroup(), SERVER)?;
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let spec = KeepSpec {
        name: SERVER.to_owned(),
        directory: lives::state_folder(&folder, &life),
        cgroup: group,
        args: vec![
            text(place.join("bin").join("transom")),
            "server".to_owned(),
            "--config".to_owned(),
            text(config),
        ],
        env: lives::environment(),
        log: place.log(SERVER),
        stop_grace: SERVER_GRACE,
        uid: state.uid,
        gid: state.uid,
    };
    oci::node_init::keep(shim, &spec).map_err(node::failed(SERVER))
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

/// Waits until the API's port answers. A control plane that ends first is reported with what it
/// has written since its log had `written` bytes, and is not started for ever.
fn wait_listening(
    place: &Place,
    state: &State,
    server: &Node,
    (ends, written): (usize, u64),
    progress: Progress<'_>,
) -> Result<(), Error> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, state.port));
    let log = place.log(SERVER);
    let (mut waited, mut told) = (Duration::ZERO, false);
    let mut pause = Duration::from_millis(2);
    while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
        // The wait for the keeper's end is the pause.
        let gone = server.wait(pause).map_err(node::failed(SERVER))?;
        let process = "the control plane".to_owned();
        if gone || server.agent_ends() > ends {
            end_server(server)?;
            let tail = files::tail(&log, written, 10);
            return Err(Error::Died { process, log, tail });
        }
        waited += pause;
        if waited > Duration::from_secs(LISTEN_SECONDS) {
            let tail = files::tail(&log, written, 10);
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

fn end_server(keeper: &Node) -> Result<(), Error> {
    let failed = node::failed(SERVER);
    keeper.stop().map_err(&failed)?;
    if !keeper
        .wait(SERVER_GRACE + Duration::from_secs(1))
        .map_err(&failed)?
    {
        keeper.kill().map_err(&failed)?;
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
    if let Some(keeper) = keeper(place)? {
        progress("ending the control plane");
        end_server(&keeper)?;
    }
    // Whatever is left: everything of the cluster lives in its group.
    let layout = Arc::new(Layout::detect()?);
    lives::remove_group(&Group::new(&layout, &place.cgroup())?)
}
