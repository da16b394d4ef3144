//! Checks before the first change, all findings at once: each with object, cause and next step.
//!
//! `look` gathers facts, `judge` turns them into findings: pure, so that every lack of a machine
//! is a test. Kernel features are tried, not guessed: links and tables are made in a network
//! namespace that vanishes with the check. Warnings do not stop the command.

use std::path::PathBuf;

use netlink::nft::{BaseChain, Family, Hook};

use crate::error::Finding;

mod look;

pub(crate) use look::port_error;

/// Below this nothing works: keys, store and one small image need it.
const DISK_NEEDED: u64 = 200 << 20;
/// Below this not even a cluster that exists can start: it writes its configuration anew.
const DISK_TO_START: u64 = 8 << 20;
/// Below this it works, but not for long.
const DISK_WISHED: u64 = 1 << 30;
const CONTROLLERS: [&str; 4] = ["cpu", "cpuset", "memory", "pids"];
const NAMESPACES: [&str; 6] = ["mnt", "pid", "net", "uts", "ipc", "cgroup"];

/// What is to be checked.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Data folder; need not exist yet.
    pub root: PathBuf,
    /// The cluster exists and only has to start: it needs less.
    pub exists: bool,
    /// The API's port, when it is known.
    pub port: Option<u16>,
    /// The cluster's control group, which the check may make and remove again.
    pub cgroup: String,
    /// The program that server and agents run.
    pub program: PathBuf,
    /// For services of the machine: pods' links are in its own network, and chains of others get no
    /// rule of ours.
    pub installed: bool,
}

/// A kernel feature that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Tried {
    /// It works.
    #[default]
    Works,
    /// The kernel does not have it.
    Absent,
    /// It failed in another way.
    Failed(String),
}

/// What was found on the host.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    /// Effective user.
    pub(crate) uid: u32,
    /// Kinds of namespaces that the kernel has.
    pub(crate) namespaces: Vec<String>,
    /// Controllers in any hierarchy; absent when there is no hierarchy.
    pub(crate) controllers: Option<Vec<String>>,
    /// Finding the hierarchies and making a control group.
    pub(crate) group: Tried,
    /// Mounting an overlay.
    pub(crate) overlay: Tried,
    /// Making a network namespace.
    pub(crate) network: Tried,
    /// Making a pair of links.
    pub(crate) veth: Tried,
    /// Making a table with what Services need.
    pub(crate) nftables: Tried,
    /// Base chains of others.
    pub(crate) chains: Vec<BaseChain>,
    /// iptables-legacy holds a filter table, whose rules nft does not show.
    pub(crate) legacy_filter: bool,
    /// Free bytes on the data folder's file system.
    pub(crate) free: Option<u64>,
    /// The data folder is on overlayfs.
    pub(crate) on_overlay: bool,
    /// What the data folder is instead of a folder.
    pub(crate) no_folder: Option<PathBuf>,
    /// The folder above the data folder that does not let others pass.
    pub(crate) closed: Option<PathBuf>,
    /// Why the port cannot be had.
    pub(crate) port: Option<String>,
    /// Why the program cannot be had.
    pub(crate) program: Option<String>,
}

/// Runs all checks.
#[must_use]
pub fn check(subject: &Subject) -> Vec<Finding> {
    judge(subject, &look::look(subject))
}

/// What stands in the way on a host with these facts. Pure.
pub(crate) fn judge(subject: &Subject, facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if facts.uid != 0 {
        findings.push(Finding::new(
            "user",
            format_args!("uid {} may not make namespaces and links", facts.uid),
            "run the command with sudo",
        ));
    }
    findings.extend(kernel(facts));
    let links = match subject.installed {
        true => "tr",
        false => "trh",
    };
    let chains = facts.chains.iter();
    let chains = chains.filter(|chain| subject.installed || !crate::host::admission::admits(chain));
    findings.extend(chains.filter_map(|chain| dropping_chain(chain, links)));
    if facts.legacy_filter {
        let finding = Finding::new(
            "iptables-legacy",
            "has a filter table, which may drop what pods send out",
            format_args!(
                "if they cannot get out: iptables-legacy -I FORWARD -i {links}+ -j ACCEPT and \
                 iptables-legacy -I FORWARD -o {links}+ -j ACCEPT"
            ),
        );
        findings.push(finding.warning());
    }
    findings.extend(data_folder(subject, facts));
    if let (Some(port), Some(error)) = (subject.port, &facts.port) {
        findings.push(port_finding(port, error, subject.exists));
    }
    if let Some(error) = &facts.program {
        let object = format!("program {}", subject.program.display());
        findings.push(Finding::new(object, error, "install it again"));
    }
    findings
}

fn kernel(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in NAMESPACES {
        if !facts.namespaces.iter().any(|there| there == name) {
            findings.push(Finding::new(
                format_args!("{name} namespaces"),
                "the kernel does not have them",
                "boot a kernel with CONFIG_NAMESPACES and all its kinds",
            ));
        }
    }
    for name in CONTROLLERS {
        let there = facts.controllers.as_ref();
        if there.is_some_and(|there| !there.iter().any(|there| there == name)) {
            let next = match name {
                // Debian and Raspberry Pi OS boot with it off on some machines.
                "memory" => {
                    "boot with cgroup_enable=memory, and without cgroup_disable=memory, on the \
                     kernel's command line"
                }
                _ => "remove it from cgroup_disable= on the kernel's command line",
            };
            let object = format!("cgroup controller {name}");
            findings.push(Finding::new(object, "is in no hierarchy", next));
        }
    }
    for (object, tried, absent, failed) in [
        (
            "control groups",
            &facts.group,
            "mount cgroup2 on /sys/fs/cgroup",
            "mount cgroup2 on /sys/fs/cgroup, writable (a container needs a hierarchy of its own)",
        ),
        (
            "overlayfs",
            &facts.overlay,
            "load the module overlay, or boot a kernel with CONFIG_OVERLAY_FS",
            "allow this user to mount file systems",
        ),
        (
            "network namespaces",
            &facts.network,
            "boot a kernel with CONFIG_NET_NS",
            "allow this user to make namespaces (CAP_SYS_ADMIN)",
        ),
        (
            "veth links",
            &facts.veth,
            "load the module veth, or boot a kernel with CONFIG_VETH",
            "allow this user to make links (CAP_NET_ADMIN)",
        ),
        (
            "nftables",
            &facts.nftables,
            "load the modules nf_tables, nft_chain_nat and nft_masq, or boot a kernel with them",
            "allow this user to change the ruleset (CAP_NET_ADMIN)",
        ),
    ] {
        match tried {
            Tried::Works => {}
            Tried::Absent => {
                findings.push(Finding::new(object, "not in this kernel", absent));
            }
            Tried::Failed(cause) => findings.push(Finding::new(object, cause, failed)),
        }
    }
    findings
}

/// A foreign chain that drops by default is not overruled by any other nft chain. Those of
/// iptables get a rule of ours (`host::admission`) for a local cluster; others are their owner's to
/// change. `links` is how the names begin that packets of pods come by.
fn dropping_chain(chain: &BaseChain, links: &str) -> Option<Finding> {
    let foreign = chain.drops
        && matches!(chain.table.family, Family::Inet | Family::Ip)
        && !chain.table.name.starts_with("transom-");
    let cause = if !foreign {
        return None;
    } else if chain.hook == Hook::Forward as u32 {
        "drops forwarded packets by default, pods' way out too"
    } else if chain.hook == Hook::Input as u32 {
        "drops incoming packets by default, those of nodes to the API too"
    } else {
        return None;
    };
    let object = format!("nft chain {} {}", chain.table, chain.name);
    let next = format!("accept links named {links}* there");
    Some(Finding::new(object, cause, next).warning())
}

fn data_folder(subject: &Subject, facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let object = format!("data folder {}", subject.root.display());
    if let Some(path) = &facts.no_folder {
        findings.push(Finding::new(
            &object,
            format_args!("{} is not a folder", path.display()),
            "set TRANSOM_DATA to a folder, or to one that does not exist yet",
        ));
    }
    if let Some(free) = facts.free {
        let cause = format!("{} MiB are free on its file system", free >> 20);
        let needed = if subject.exists {
            DISK_TO_START
        } else {
            DISK_NEEDED
        };
        if free < needed {
            let mut next = format!("free {} MiB or more", needed >> 20);
            if !subject.exists {
                next.push_str(", or set TRANSOM_DATA to a folder elsewhere");
            }
            findings.push(Finding::new(&object, cause, next));
        } else if free < DISK_WISHED {
            let next = "free some space before images fill it";
            findings.push(Finding::new(&object, cause, next).warning());
        }
    }
    if facts.on_overlay {
        findings.push(Finding::new(
            &object,
            "is on overlayfs, which cannot hold the nodes' writable layers",
            "set TRANSOM_DATA to a folder on a real file system, such as a volume",
        ));
    }
    if let Some(closed) = &facts.closed {
        findings.push(Finding::new(
            &object,
            format_args!(
                "the control plane's own user may not pass {}",
                closed.display()
            ),
            "set TRANSOM_DATA to a folder that everyone may pass (o+x)",
        ));
    }
    findings
}

fn port_finding(port: u16, error: &str, exists: bool) -> Finding {
    let next = match exists {
        true => "stop what listens there: a cluster's port is fixed when it is made",
        false => "stop what listens there, or choose another with --api-port",
    };
    Finding::new(format_args!("port 127.0.0.1:{port}"), error, next)
}

#[cfg(test)]
mod tests;
