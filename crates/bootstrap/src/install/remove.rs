//! `uninstall`: everything that `install` and the services made goes, running pods too.
//!
//! Names tell whose it is, so that it works without a state, and again after it was interrupted.

use std::path::Path;
use std::sync::Arc;

use base::Chain;
use cgroups::{Group, Layout};
use ipnet::Ipv4Net;
use netlink::nft::{Batch, Nft};
use netlink::{Handle, rt};

use super::units::{AGENT, SERVER, systemctl, systemd_runs};
use super::{
    AGENT_DATA, CLUSTER, CONFIG, Installed, KUBELET, POD_LOGS, PROGRAM, SERVER_DATA, STATE,
};
use crate::error::Error;
use crate::host::mounts;
use crate::local::Progress;
use crate::{files, lives, sysctl};

/// The group of all pods.
const PODS: &str = "/kubepods";
/// Tables of the pod network and of the service proxy.
const TABLES: [&str; 4] = [
    "transom-host-ports",
    "transom-network",
    "transom-services",
    "transom-sources",
];
/// Where systemd keeps the folders of dynamic users.
const PRIVATE: &str = "/var/lib/private";
/// What the agent has in its data folder, beside which local clusters may live.
const AGENT_FOLDERS: [&str; 6] = ["images", "inbox", "network", "pki", "runtime", "csi"];

/// Removes the services of this machine with all pods and their data.
pub fn uninstall(progress: Progress<'_>) -> Result<(), Error> {
    let state = Installed::load().unwrap_or_default();
    let units = [AGENT, SERVER];
    let there = units.iter().any(|unit| unit.path().exists());
    if state.is_none() && !there && !Path::new(CONFIG).exists() {
        return Err(Error::NotInstalled);
    }
    let mut left = Vec::new();
    let mut note = |outcome: Result<(), Error>| match outcome {
        Ok(()) => {}
        Err(Error::Left(more)) => left.extend(more),
        Err(error) => left.push(Chain(&error).to_string()),
    };
    if there && systemd_runs() {
        progress("ending the services");
        note(systemctl(&[
            "disable",
            "--now",
            &AGENT.name(),
            &SERVER.name(),
        ]));
    }
    progress("ending all pods");
    note(end_pods());
    for folder in [AGENT_DATA, KUBELET] {
        note(unmount(Path::new(folder)));
    }
    note(disconnect(state.as_ref().map(|state| state.ranges.pods)));
    note(sysctl::release(CLUSTER));
    if !left.is_empty() {
        return Err(Error::Left(left));
    }
    progress("removing files");
    for unit in units {
        files::remove(&unit.path())?;
    }
    if systemd_runs() {
        systemctl(&["daemon-reload"])?;
    }
    remove_files()?;
    if state.is_some_and(|state| state.program) {
        files::remove(Path::new(PROGRAM))?;
    }
    // The last: with it an interrupted command can be repeated.
    files::remove(&Path::new(AGENT_DATA).join(STATE))?;
    files::remove_if_empty(Path::new(AGENT_DATA));
    Ok(())
}

/// Containers are in groups of their own; what holds their namespaces is in the agent's.
fn end_pods() -> Result<(), Error> {
    let layout = Arc::new(Layout::detect()?);
    lives::remove_group(&Group::new(&layout, PODS)?)?;
    lives::remove_group(&Group::new(&layout, &AGENT.cgroup())?)
}

/// `/var/lib/transom/clusters` is of local clusters.
fn unmount(folder: &Path) -> Result<(), Error> {
    if folder == Path::new(AGENT_DATA) {
        return AGENT_FOLDERS
            .iter()
            .try_for_each(|part| mounts::unmount_below(&folder.join(part)));
    }
    mounts::unmount_below(folder)
}

fn disconnect(pods: Option<Ipv4Net>) -> Result<(), Error> {
    let mut host = Handle::open()?;
    for link in host.links()? {
        if is_of_pod(&link.name, &link.alias) {
            netlink::ignore_not_found(host.delete_link(link.index))?;
        }
    }
    for route in host.routes()? {
        let inside = |range: &Ipv4Net| match route.destination.address {
            std::net::IpAddr::V4(address) => {
                route.destination.length >= range.prefix_len() && range.contains(&address)
            }
            std::net::IpAddr::V6(_) => false,
        };
        if route.table == rt::Route::MAIN && pods.as_ref().is_some_and(inside) {
            netlink::ignore_not_found(host.delete_route(&route))?;
        }
    }
    let mut nft = Nft::open()?;
    let mut batch = Batch::new();
    let ours = nft.tables()?;
    let mut ours = ours
        .iter()
        .filter(|table| TABLES.contains(&table.name.as_str()))
        .peekable();
    if ours.peek().is_none() {
        return Ok(());
    }
    for table in ours {
        batch.delete_table(table);
    }
    Ok(nft.commit(batch)?)
}

/// The node's end of a pod's link: `tr` and 13 hex digits, with the sandbox as its alias. Pure.
pub(super) fn is_of_pod(name: &str, alias: &str) -> bool {
    let digits = name.strip_prefix("tr");
    !alias.is_empty()
        && digits.is_some_and(|digits| {
            digits.len() == 13 && digits.bytes().all(|b| b.is_ascii_hexdigit())
        })
}

fn remove_files() -> Result<(), Error> {
    let data = Path::new(AGENT_DATA);
    for part in AGENT_FOLDERS {
        files::remove_tree(&data.join(part))?;
    }
    for folder in [KUBELET, POD_LOGS, CONFIG, "/run/transom"] {
        files::remove_tree(Path::new(folder))?;
    }
    let server = Path::new(SERVER_DATA);
    let is_link = std::fs::symlink_metadata(server).is_ok_and(|meta| meta.is_symlink());
    if is_link {
        let name = server.file_name().unwrap_or_default();
        files::remove_tree(&Path::new(PRIVATE).join(name))?;
        // The folder above is systemd's own.
        files::remove(server)?;
    } else {
        files::remove_tree(server)?;
    }
    Ok(())
}
