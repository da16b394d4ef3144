//! What a cluster is to be: ranges, port, user and nodes of a new one; growth of an existing one.
//!
//! Reads the host and the other clusters; changes nothing. All objections come at once.

use std::fs::{self, File};
use std::path::Path;

use base::{Clock, SystemClock};
use rustix::fs::FlockOperation;

use crate::cluster::{Place, State};
use crate::error::{Error, Finding};
use crate::local::{Progress, Up, names};
use crate::ranges::{self, MOST_NODES, Ranges};
use crate::{host, preflight};

const FIRST_PORT: u16 = 6443;
const PORTS: u16 = 200;
const FIRST_UID: u32 = 64_000;
const UIDS: u32 = 900;

/// Held from the choice of ranges, port and user until a cluster's routes and sockets show it: two
/// clusters of a host must not choose the same, whatever folders they live in. It is a lock on the
/// network namespace itself, so that it leaves nothing.
pub(super) fn choosing(progress: Progress<'_>) -> Result<File, Error> {
    let path = Path::new("/proc/self/ns/net");
    let network = File::open(path).map_err(Error::file("open", path))?;
    let lock = |how| rustix::fs::flock(&network, how).map_err(Error::errno("lock", path.display()));
    if lock(FlockOperation::NonBlockingLockExclusive).is_err() {
        progress("waiting until another cluster of this host has started");
        lock(FlockOperation::LockExclusive)?;
    }
    Ok(network)
}

/// The state that `up` asks for.
pub(super) fn decide(up: &Up, place: &Place) -> Result<State, Error> {
    match place.load()? {
        Some(state) => extend(state, up, place),
        None => choose(up, place),
    }
}

/// The state of a new cluster: ranges, port, user and nodes.
fn choose(up: &Up, place: &Place) -> Result<State, Error> {
    let mut findings = check_count(up.nodes);
    let mut in_use = Vec::new();
    let mut ports = Vec::new();
    let mut uids = Vec::new();
    // Stopped clusters hold no routes, but want their ranges back.
    for name in names(&place.root)? {
        if name != place.name
            && let Ok(other) = Place::new(&place.root, &name)
            // One that cannot be read cannot say what it wants.
            && let Ok(Some(state)) = other.load()
        {
            ports.push(state.port);
            uids.push(state.uid);
            in_use.extend(state.ranges.all().map(|range| ranges::InUse {
                range: range.into(),
                by: format!("a range of cluster {name}"),
            }));
        }
    }
    // A range of a cluster that runs is a route too: its name says more.
    for used in host::in_use("")? {
        if !in_use
            .iter()
            .any(|known: &ranges::InUse| known.range == used.range)
        {
            in_use.push(used);
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
            .find(|port| !ports.contains(port) && preflight::port_error(*port).is_none())
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
                    format_args!(
                        "none can be had on 127.0.0.1: {}",
                        preflight::port_error(FIRST_PORT).unwrap_or_default()
                    ),
                    "give a free one with --api-port",
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
    findings.extend(ranges::check(
        &state.ranges,
        &host::in_use(&place.link())?,
        ranges::Stage::Fixed,
    ));
    if !findings.is_empty() {
        return Err(Error::Preflight(findings));
    }
    for index in state.nodes.len()..up.nodes {
        state.nodes.push(node_name(&state.name, index));
    }
    Ok(state)
}

/// None is a control plane alone: nodes of other makers join it, or none is needed.
fn check_count(nodes: usize) -> Vec<Finding> {
    if nodes <= MOST_NODES {
        return Vec::new();
    }
    let next = format!("give --nodes from 0 to {MOST_NODES}");
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

fn node_name(cluster: &str, index: usize) -> String {
    format!("{cluster}-{index}")
}
