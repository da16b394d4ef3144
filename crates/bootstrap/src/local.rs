//! Local clusters without a container engine: `up`, `stop`, `start`, `down`, `clusters`,
//! `node_exec`.
//!
//! Every command is idempotent and takes the cluster's lock. `up` on an existing name resumes it,
//! whatever ended it: each step looks for what is there and makes what is missing. `down` finds
//! everything by name and leaves nothing. Order of `up`: checks, state, keys, hub, control plane,
//! nodes, kubeconfig; of `down`: the reverse.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use base::Chain;

use crate::cluster::{Place, State, default_root};
use crate::error::Error;
use crate::host::mounts;
use crate::kubeconfig::{self, Entry, Target};
use crate::ranges::{Ranges, Wanted};
use crate::{certs, files, host, node, preflight};

mod choose;
mod life;

use choose::{choosing, decide};
use life::{SERVER, end_processes, install_shim, may_run, run, server_of};

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

impl Cluster {
    /// The node of that name; the error names those there are.
    pub fn node(&self, name: &str) -> Result<&NodeInfo, Error> {
        let found = self.nodes.iter().find(|node| node.name == name);
        found.ok_or_else(|| {
            let known: Vec<&str> = self.nodes.iter().map(|node| node.name.as_str()).collect();
            no_node(&self.name, name, &known)
        })
    }
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
    /// Its `/run` on the host.
    pub run: PathBuf,
    /// Log of its agent.
    pub log: PathBuf,
}

/// Makes a cluster or resumes it, and waits until its API listens.
pub fn up(up: &Up, progress: Progress<'_>) -> Result<Cluster, Error> {
    let place = up.options.place(&up.name)?;
    let program = up.options.program()?;
    check(up, &place, &program, progress)?;

    let lock = place.lock()?;
    let choosing = choosing(progress)?;
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
    run(&place, &state, &program, progress)?;
    drop(choosing);
    let former = state.kubeconfig.as_deref();
    let target = Target::choose(up.kubeconfig.as_deref().or(former));
    hand_out(&place, &mut state, &target)?;
    describe(&place, &state)
}

/// Everything that stands in the way, at once and before the first change. What another command
/// changes in the meantime is found again under the lock.
fn check(up: &Up, place: &Place, program: &Path, progress: Progress<'_>) -> Result<(), Error> {
    place.foreign()?;
    let existing = place.load()?;
    let running = may_run(place);
    let exists = existing.is_some();
    let port = existing.map_or(up.port, |state| Some(state.port));
    let mut findings = preflight::check(&preflight::Subject {
        root: place.root.clone(),
        exists,
        port: port.filter(|_| !running),
        cgroup: place.cgroup(),
        program: program.to_owned(),
        installed: false,
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
    let noted = place.save(&state);
    end_processes(&place, &state.nodes, true, progress)?;
    host::disconnect(&place)?;
    if let Err(error) = noted {
        // A full disk must not keep a cluster from ending.
        progress(&format!("warning: not noted as stopped: {}", Chain(&error)));
    }
    Ok(())
}

/// Ends one node; its data stays, and `node_start`, `start` or `up` brings it back with its pods.
/// With `now` nothing in it is asked first, as in a power cut.
pub fn node_stop(
    name: &str,
    node: &str,
    now: bool,
    options: &Options,
    progress: Progress<'_>,
) -> Result<(), Error> {
    let place = existing(options.place(name)?)?;
    let _lock = place.lock()?;
    let (state, _) = node_of(&place, node)?;
    life::end_node(&place, &state, node, !now, progress)
}

/// Starts one node that does not run.
pub fn node_start(
    name: &str,
    node: &str,
    options: &Options,
    progress: Progress<'_>,
) -> Result<Cluster, Error> {
    let place = existing(options.place(name)?)?;
    let _lock = place.lock()?;
    let (state, index) = node_of(&place, node)?;
    if state.stopped {
        return Err(Error::Stopped(name.to_owned()));
    }
    life::run_node(&place, &state, index, progress)?;
    describe(&place, &state)
}

/// A lock makes folders: not for a cluster that does not exist.
fn existing(place: Place) -> Result<Place, Error> {
    match place.dir().exists() {
        true => Ok(place),
        false => Err(Error::NoCluster(place.name)),
    }
}

/// The cluster's state and the index of one of its nodes.
fn node_of(place: &Place, node: &str) -> Result<(State, usize), Error> {
    let state = place
        .load()?
        .ok_or_else(|| Error::NoCluster(place.name.clone()))?;
    match state.nodes.iter().position(|known| known == node) {
        Some(index) => Ok((state, index)),
        None => Err(no_node(&place.name, node, &state.nodes)),
    }
}

fn no_node(cluster: &str, node: &str, known: &[impl std::borrow::Borrow<str>]) -> Error {
    Error::NoNode {
        cluster: cluster.to_owned(),
        node: node.to_owned(),
        known: known.join(", "),
    }
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
        if may_run(&place) {
            end_processes(&place, &[], false, progress)?;
        }
        return Err(Error::NoCluster(name.to_owned()));
    }
    place.foreign()?;
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

/// All clusters of the data folder, by name; and those whose state cannot be read.
pub fn clusters(options: &Options) -> Result<(Vec<Cluster>, Vec<Error>), Error> {
    let root = options.root();
    let (mut all, mut damaged) = (Vec::new(), Vec::new());
    for name in names(&root)? {
        let place = Place::new(&root, &name)?;
        match place.load() {
            Ok(Some(state)) => all.push(describe(&place, &state)?),
            Ok(None) => {}
            Err(error) => damaged.push(error),
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((all, damaged))
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
    node_of(&place, node)?;
    let running = node::find(&place, node)?.ok_or_else(|| Error::NodeDown {
        cluster: name.to_owned(),
        node: node.to_owned(),
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
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(Vec::new());
        }
        entries => entries.map_err(Error::file("list", &folder))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::file("list", &folder))?;
        // What cannot be a cluster's name is not of ours.
        if entry.path().is_dir()
            && let Some(name) = entry.file_name().to_str()
            && Place::new(root, name).is_ok()
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
            run: node::folder(place, name).join("run"),
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
        server_pid: server_of(place)?.map(|server| server.pid),
        server_log: place.log(SERVER),
        nodes,
        stopped: state.stopped,
    })
}

#[cfg(test)]
mod tests;
