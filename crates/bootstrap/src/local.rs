//! Local clusters without a container engine: `up`, `stop`, `start`, `down`, `clusters`,
//! `node_exec`.
//!
//! Every command is idempotent and takes the cluster's lock. `up` on an existing name resumes it,
//! whatever ended it: each step looks for what is there and makes what is missing. `down` finds
//! everything by name and leaves nothing. Order of `up`: checks, state, keys, hub, control plane,
//! nodes, kubeconfig; of `down`: the reverse.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base::{Chain, Clock, SystemClock};
use cgroups::{Group, Layout};
use oci::ShimBinary;

use crate::cluster::{Place, State, default_root};
use crate::config::{NodeRanges, ServerConfig};
use crate::error::{Error, Finding};
use crate::host::mounts;
use crate::kubeconfig::{self, Entry, Target};
use crate::process::{Process, Start};
use crate::ranges::{self, MOST_NODES, Ranges, Wanted};
use crate::{certs, files, host, node, preflight};

/// How long the control plane may take to listen.
const LISTEN_SECONDS: u64 = 60;
/// How long the control plane may take to end.
const SERVER_GRACE: Duration = Duration::from_secs(20);
const FIRST_PORT: u16 = 6443;
const PORTS: u16 = 200;
const FIRST_UID: u32 = 64_000;
const UIDS: u32 = 900;
const SERVER: &str = "server";

/// Gets a line for every step that may take longer than a second.
pub type Progress<'a> = &'a mut dyn FnMut(&str);

/// Where clusters live and what they run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Data folder; else TRANSOM_DATA, else `/var/lib/transom`.
    pub root: Option<PathBuf>,
    /// The program that is started as `server --config F` and `agent --config F`; this one when
    /// absent.
    pub program: Option<PathBuf>,
}

impl Options {
    fn root(&self) -> PathBuf {
        self.root.clone().unwrap_or_else(default_root)
    }

    fn place(&self, name: &str) -> Result<Place, Error> {
        Place::new(&self.root(), name)
    }

    fn program(&self) -> Result<PathBuf, Error> {
        match &self.program {
            Some(program) => Ok(program.clone()),
            None => {
                std::env::current_exe().map_err(Error::file("find", Path::new("/proc/self/exe")))
            }
        }
    }
}

/// What `up` is asked for.
#[derive(Debug, Clone)]
pub struct Up {
    /// Name of the cluster.
    pub name: String,
    /// How many nodes. An existing cluster grows to it, but does not shrink.
    pub nodes: usize,
    /// Address ranges; chosen when absent.
    pub ranges: Wanted,
    /// Port of the API; the first free one from 6443 when absent.
    pub port: Option<u16>,
    /// The kubeconfig that gets the context; the invoking user's when absent.
    pub kubeconfig: Option<PathBuf>,
    /// Data folder and program.
    pub options: Options,
}

impl Up {
    /// One node, everything else chosen.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            nodes: 1,
            ranges: Wanted::default(),
            port: None,
            kubeconfig: None,
            options: Options::default(),
        }
    }
}

/// A cluster as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// When it was made, RFC 3339.
    pub created: String,
    /// The API on the host.
    pub api: SocketAddr,
    /// The API as nodes and pods reach it.
    pub api_inside: SocketAddr,
    /// Its address ranges.
    pub ranges: Ranges,
    /// The kubeconfig's context.
    pub context: String,
    /// The kubeconfig that got the context.
    pub kubeconfig: Option<PathBuf>,
    /// A kubeconfig that holds nothing else.
    pub admin_kubeconfig: PathBuf,
    /// Pid of the control plane, if it runs.
    pub server_pid: Option<u32>,
    /// Its log.
    pub server_log: PathBuf,
    /// Its nodes.
    pub nodes: Vec<NodeInfo>,
    /// Ended by `stop`.
    pub stopped: bool,
}

/// A node as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInfo {
    /// Name of the Node object.
    pub name: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its share of the pod range.
    pub pods: ipnet::Ipv4Net,
    /// Pid of its pid 1 on the host, if it runs.
    pub pid: Option<u32>,
    /// Its data folder on the host (`/var/lib/transom` in the node).
    pub data: PathBuf,
    /// Log of its agent.
    pub log: PathBuf,
}

/// Makes a cluster or resumes it, and waits until its API listens.
pub fn up(up: &Up, progress: Progress<'_>) -> Result<Cluster, Error> {
    let place = up.options.place(&up.name)?;
    let program = up.options.program()?;
    check(up, &place, &program, progress)?;

    let lock = place.lock()?;
    let choosing = place.choosing()?;
    let mut state = match decide(up, &place) {
        Ok(state) => state,
        Err(error) => {
            if !place.dir().exists() {
                lock.remove()?;
                remove_empty(&place);
            }
            return Err(error);
        }
    };
    files::folder(&place.dir(), 0o755)?;
    state.stopped = false;
    place.save(&state)?;
    drop(choosing);
    run(&place, &state, &program, progress)?;
    let former = state.kubeconfig.as_deref();
    let target = Target::choose(up.kubeconfig.as_deref().or(former));
    hand_out(&place, &mut state, &target)?;
    describe(&place, &state)
}

/// Everything that stands in the way, at once and before the first change. What another command
/// changes in the meantime is found again under the lock.
fn check(up: &Up, place: &Place, program: &Path, progress: Progress<'_>) -> Result<(), Error> {
    let existing = place.load()?;
    let running = existing.is_some() && server_of(place).is_some();
    let port = existing.map_or(up.port, |state| Some(state.port));
    let mut findings = preflight::check(&preflight::Subject {
        root: place.root.clone(),
        port: port.filter(|_| !running),
        program: program.to_owned(),
    });
    match decide(up, place) {
        Ok(_) => {}
        Err(Error::Preflight(more)) => findings.extend(more),
        Err(error) => return Err(error),
    }
    let (warnings, grave): (Vec<_>, Vec<_>) = findings.into_iter().partition(|f| f.warning);
    for warning in warnings {
        progress(&format!("warning: {warning}"));
    }
    if grave.is_empty() {
        Ok(())
    } else {
        Err(Error::Preflight(grave))
    }
}

fn decide(up: &Up, place: &Place) -> Result<State, Error> {
    match place.load()? {
        Some(state) => extend(state, up, place),
        None => choose(up, place),
    }
}

/// Starts a stopped (or killed) cluster.
pub fn start(name: &str, options: &Options, progress: Progress<'_>) -> Result<Cluster, Error> {
    let place = options.place(name)?;
    let state = place
        .load()?
        .ok_or_else(|| Error::NoCluster(name.to_owned()))?;
    let request = Up {
        nodes: state.nodes.len(),
        kubeconfig: state.kubeconfig,
        options: options.clone(),
        ..Up::new(name)
    };
    up(&request, progress)
}

/// Ends all processes of a cluster and takes its network away; files and kubeconfig stay.
pub fn stop(name: &str, options: &Options, progress: Progress<'_>) -> Result<(), Error> {
    let place = options.place(name)?;
    let mut state = place
        .load()?
        .ok_or_else(|| Error::NoCluster(name.to_owned()))?;
    let _lock = place.lock()?;
    state.stopped = true;
    place.save(&state)?;
    end_processes(&place, &state.nodes, true, progress)?;
    host::disconnect(&place)
}

/// Removes a cluster with everything it holds on the host.
pub fn down(name: &str, options: &Options, progress: Progress<'_>) -> Result<(), Error> {
    let place = options.place(name)?;
    if !place.dir().exists() {
        // An `up` that was killed in its first instant leaves its lock.
        if place.lock_file().exists() {
            place.lock()?.remove()?;
            remove_empty(&place);
        }
        return Err(Error::NoCluster(name.to_owned()));
    }
    let lock = place.lock()?;
    // A state that cannot be read must not keep the rest from going: all names follow from ours.
    let state = place.load().unwrap_or_default();
    let mut left = Vec::new();
    let mut note = |outcome: Result<(), Error>| match outcome {
        Ok(()) => {}
        Err(Error::Left(more)) => left.extend(more),
        Err(error) => left.push(Chain(&error).to_string()),
    };
    let nodes = nodes_on_disk(&place);
    note(end_processes(&place, &nodes, false, progress));
    note(host::disconnect(&place));
    note(mounts::unmount_below(&place.dir()));
    if let Some(state) = &state
        && let Some(path) = &state.kubeconfig
    {
        let target = Target::choose(Some(path));
        let before = state.context_before.as_deref();
        note(kubeconfig::remove(
            &target,
            &kubeconfig::context(name),
            before,
        ));
    }
    if !left.is_empty() {
        return Err(Error::Left(left));
    }
    progress("removing files");
    files::remove_tree(&place.dir())?;
    lock.remove()?;
    remove_empty(&place);
    Ok(())
}

fn remove_empty(place: &Place) {
    files::remove_if_empty(&Place::clusters(&place.root));
    files::remove_if_empty(&place.root);
}

/// All clusters of the data folder, by name.
pub fn clusters(options: &Options) -> Result<Vec<Cluster>, Error> {
    let root = options.root();
    let mut all = Vec::new();
    for name in names(&root)? {
        let place = Place::new(&root, &name)?;
        if let Some(state) = place.load()? {
            all.push(describe(&place, &state)?);
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

/// One cluster by name.
pub fn cluster(name: &str, options: &Options) -> Result<Cluster, Error> {
    let place = options.place(name)?;
    let state = place
        .load()?
        .ok_or_else(|| Error::NoCluster(name.to_owned()))?;
    describe(&place, &state)
}

/// Runs a command in a node with this process's streams; returns its exit code.
pub fn node_exec(
    name: &str,
    node: &str,
    command: &[String],
    options: &Options,
) -> Result<i32, Error> {
    use std::os::unix::process::ExitStatusExt;
    let place = options.place(name)?;
    let state = place
        .load()?
        .ok_or_else(|| Error::NoCluster(name.to_owned()))?;
    let running = match state.nodes.iter().any(|known| known == node) {
        true => node::find(&place, node)?,
        false => None,
    };
    let running = running.ok_or_else(|| Error::NoNode {
        cluster: name.to_owned(),
        node: node.to_owned(),
        known: state.nodes.join(", "),
    })?;
    let shim = install_shim(&place)?;
    let mut inside = running.command(&shim, command);
    let status = inside.status().map_err(Error::file("start", shim.path()))?;
    Ok(status
        .code()
        .or(status.signal().map(|signal| 128 + signal))
        .unwrap_or(1))
}

fn names(root: &Path) -> Result<Vec<String>, Error> {
    let folder = Place::clusters(root);
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::file("list", &folder))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::file("list", &folder))?;
        if entry.path().is_dir()
            && let Some(name) = entry.file_name().to_str()
        {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

fn nodes_on_disk(place: &Place) -> Vec<String> {
    let entries = fs::read_dir(place.join("nodes"))
        .into_iter()
        .flatten()
        .flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str().map(str::to_owned))
        .collect()
}

fn node_name(cluster: &str, index: usize) -> String {
    format!("{cluster}-{index}")
}

/// The state of a new cluster: ranges, port, user and nodes.
fn choose(up: &Up, place: &Place) -> Result<State, Error> {
    let mut findings = check_count(up.nodes);
    let mut in_use = host::in_use("")?;
    let mut ports = Vec::new();
    let mut uids = Vec::new();
    // Stopped clusters hold no routes, but want their ranges back.
    for name in names(&place.root)? {
        if name != place.name
            && let Ok(other) = Place::new(&place.root, &name)
            && let Some(state) = other.load()?
        {
            ports.push(state.port);
            uids.push(state.uid);
            in_use.extend(state.ranges.all().map(|range| ranges::InUse {
                range: range.into(),
                by: format!("a range of cluster {name}"),
            }));
        }
    }
    let chosen = ranges::choose(&up.ranges, &in_use)
        .map_err(|more| findings.extend(more))
        .ok();
    if let Some(ranges) = &chosen {
        findings.extend(check_capacity(ranges, up.nodes));
    }
    let port = up.port.or_else(|| {
        (FIRST_PORT..FIRST_PORT + PORTS)
            .find(|port| !ports.contains(port) && preflight::port_free(*port).is_none())
    });
    let uid = free_uid(&place.id(), &uids);
    match (chosen, port) {
        (Some(ranges), Some(port)) if findings.is_empty() => Ok(State {
            version: 1,
            name: up.name.clone(),
            created: SystemClock.now().to_string(),
            ranges,
            port,
            uid,
            nodes: (0..up.nodes)
                .map(|index| node_name(&up.name, index))
                .collect(),
            kubeconfig: None,
            context_before: None,
            stopped: false,
        }),
        (_, port) => {
            if port.is_none() {
                findings.push(Finding::new(
                    format_args!("ports {FIRST_PORT} to {}", FIRST_PORT + PORTS - 1),
                    "are all taken on 127.0.0.1",
                    "give a free one with --port",
                ));
            }
            Err(Error::Preflight(findings))
        }
    }
}

/// An existing cluster's state, grown to the nodes asked for; refuses other changes.
fn extend(mut state: State, up: &Up, place: &Place) -> Result<State, Error> {
    let mut findings = check_count(up.nodes);
    findings.extend(check_capacity(&state.ranges, up.nodes));
    let fixed = "is fixed when a cluster is made; take it down first, or leave it out";
    for (what, wanted, has) in [
        ("pod range", &up.ranges.pods, state.ranges.pods),
        ("service range", &up.ranges.services, state.ranges.services),
        ("node range", &up.ranges.nodes, state.ranges.nodes),
    ] {
        if let Some(wanted) = wanted
            && *wanted != has.to_string()
        {
            let object = format!("{what} {wanted}");
            findings.push(Finding::new(
                object,
                format_args!("the cluster has {has}"),
                fixed,
            ));
        }
    }
    if let Some(port) = up.port
        && port != state.port
    {
        let cause = format!("the cluster has {}", state.port);
        findings.push(Finding::new(format_args!("port {port}"), cause, fixed));
    }
    findings.extend(ranges::check(&state.ranges, &host::in_use(&place.link())?));
    if !findings.is_empty() {
        return Err(Error::Preflight(findings));
    }
    for index in state.nodes.len()..up.nodes {
        state.nodes.push(node_name(&state.name, index));
    }
    Ok(state)
}

fn check_count(nodes: usize) -> Vec<Finding> {
    if (1..=MOST_NODES).contains(&nodes) {
        return Vec::new();
    }
    let next = format!("give --nodes from 1 to {MOST_NODES}");
    vec![Finding::new(
        format_args!("{nodes} nodes"),
        "is not a possible number",
        next,
    )]
}

fn check_capacity(ranges: &Ranges, nodes: usize) -> Option<Finding> {
    let shares = 1_usize << (ranges::NODE_MASK - ranges.pods.prefix_len());
    (shares < nodes).then(|| {
        Finding::new(
            format_args!("pod range {}", ranges.pods),
            format_args!("has room for {shares} nodes of /{} each", ranges::NODE_MASK),
            "give a larger one, or fewer nodes",
        )
    })
}

/// A user id that nobody on the host has, the same for a cluster whenever it can be.
fn free_uid(id: &str, taken: &[u32]) -> u32 {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let known: Vec<u32> = users
        .lines()
        .filter_map(|line| line.split(':').nth(2)?.parse().ok())
        .collect();
    let start = u32::from_str_radix(id, 16).unwrap_or(0) % UIDS;
    (0..UIDS)
        .map(|step| FIRST_UID + (start + step) % UIDS)
        .find(|uid| !known.contains(uid) && !taken.contains(uid))
        .unwrap_or(FIRST_UID)
}

/// Makes everything that is missing: keys, network, processes.
fn run(place: &Place, state: &State, program: &Path, progress: Progress<'_>) -> Result<(), Error> {
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
        let group = Group::new(&layout, &plan.cgroup)?;
        // What a killed node left in its group ended with its pid 1.
        group.create()?;
        node::start(place, &shim, &plan, group)?;
    }
    wait_listening(place, state, server, progress)
}

fn server_of(place: &Place) -> Option<Process> {
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
    for stray in strays(place, "server") {
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

fn install_shim(place: &Place) -> Result<ShimBinary, Error> {
    ShimBinary::install(&place.join("bin")).map_err(|cause| Error::Node {
        node: "any".to_owned(),
        cause: Box::new(cause),
    })
}

/// Writes the cluster's own kubeconfig and merges its context into the user's.
fn hand_out(place: &Place, state: &mut State, target: &Target) -> Result<(), Error> {
    let (admin, ca) = certs::admin(place)?;
    let context = kubeconfig::context(&place.name);
    let entry = Entry {
        name: &context,
        server: (Ipv4Addr::LOCALHOST, state.port).into(),
        ca: &ca,
        certificate: &admin.cert_pem,
        key: &admin.key_pem,
    };
    kubeconfig::write(&admin_kubeconfig(place), &entry)?;
    let former = state.kubeconfig.replace(target.path.clone());
    if let Some(former) = former.filter(|former| *former != target.path) {
        let former = Target::choose(Some(&former));
        kubeconfig::remove(&former, &context, state.context_before.as_deref())?;
        state.context_before = None;
    }
    // Known before the change: a kill in between must not leave a context behind.
    place.save(state)?;
    let before = kubeconfig::merge(target, &entry)?;
    state.context_before = before.or(state.context_before.take());
    place.save(state)
}

fn admin_kubeconfig(place: &Place) -> PathBuf {
    place.join("admin.conf")
}

/// Processes of a starter that was killed before it could write their pids down.
fn strays(place: &Place, command: &str) -> Vec<Process> {
    crate::process::configured_below(&place.dir(), command)
}

/// Ends nodes and control plane, with what a killed predecessor left of them.
fn end_processes(
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
    let exists = group
        .v1_dirs()
        .iter()
        .chain(group.unified_dir().iter())
        .any(|dir| dir.exists());
    if exists {
        group.kill()?;
        group.remove()?;
    }
    files::remove(&place.pid_file(SERVER))
}

fn describe(place: &Place, state: &State) -> Result<Cluster, Error> {
    let ranges = &state.ranges;
    let mut nodes = Vec::with_capacity(state.nodes.len());
    for (index, name) in state.nodes.iter().enumerate() {
        nodes.push(NodeInfo {
            name: name.clone(),
            address: ranges.node_address(index),
            pods: ranges.node_pods(index),
            pid: node::find(place, name)?.map(|found| found.pid()),
            data: node::folder(place, name).join("data"),
            log: place.log(name),
        });
    }
    Ok(Cluster {
        name: place.name.clone(),
        folder: place.dir(),
        created: state.created.clone(),
        api: (Ipv4Addr::LOCALHOST, state.port).into(),
        api_inside: (ranges.api_address(), state.port).into(),
        ranges: ranges.clone(),
        context: kubeconfig::context(&place.name),
        kubeconfig: state.kubeconfig.clone(),
        admin_kubeconfig: admin_kubeconfig(place),
        server_pid: server_of(place).map(|server| server.pid),
        server_log: place.log(SERVER),
        nodes,
        stopped: state.stopped,
    })
}

#[cfg(test)]
mod tests;
