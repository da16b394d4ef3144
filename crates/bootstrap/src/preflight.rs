//! Checks before the first change, all findings at once: each with object, cause and next step.
//!
//! Kernel features are tried, not guessed: links and tables are made in a network namespace that
//! vanishes with the check. Warnings do not stop the command.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base::Chain;
use netlink::nft::{Batch, Chain as NftChain, ChainKind, Expr, Family, Field, Hook, Set, Table};
use netlink::rt::Veth;
use netlink::{Handle, Namespace, Nft};
use rustix::io::Errno;
use rustix::mount::FsOpenFlags;

use crate::error::Finding;

/// Below this nothing works: keys, store and one small image need it.
const DISK_NEEDED: u64 = 200 << 20;
/// Below this it works, but not for long.
const DISK_WISHED: u64 = 1 << 30;
const OVERLAYFS_MAGIC: u64 = 0x794c_7630;
const CONTROLLERS: [&str; 4] = ["cpu", "cpuset", "memory", "pids"];
const NAMESPACES: [&str; 6] = ["mnt", "pid", "net", "uts", "ipc", "cgroup"];

/// What is to be checked.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Data folder; need not exist yet.
    pub root: PathBuf,
    /// The API's port, when the user asked for one.
    pub port: Option<u16>,
    /// The cluster's control group, which the check may make and remove again.
    pub cgroup: String,
    /// The program that server and agents run.
    pub program: PathBuf,
}

/// Runs all checks.
#[must_use]
pub fn check(subject: &Subject) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !rustix::process::geteuid().is_root() {
        findings.push(Finding::new(
            "user",
            format_args!(
                "uid {} may not make namespaces and links",
                rustix::process::geteuid()
            ),
            "run the command with sudo",
        ));
    }
    findings.extend(namespaces());
    findings.extend(control_groups(&subject.cgroup));
    if rustix::process::geteuid().is_root() {
        findings.extend(overlay());
        findings.extend(network());
        findings.extend(dropping_chains());
    }
    findings.extend(disk(&subject.root));
    findings.extend(reachable(&subject.root));
    if let Some(port) = subject.port {
        findings.extend(port_free(port));
    }
    if let Err(error) = std::fs::metadata(&subject.program) {
        let object = format!("program {}", subject.program.display());
        findings.push(Finding::new(object, error, "install it again"));
    }
    findings
}

fn namespaces() -> Vec<Finding> {
    let missing = NAMESPACES
        .iter()
        .filter(|n| !Path::new("/proc/self/ns").join(n).exists());
    let finding = |name: &&str| {
        Finding::new(
            format_args!("{name} namespaces"),
            "the kernel does not have them",
            "boot a kernel with CONFIG_NAMESPACES and all its kinds",
        )
    };
    missing.map(finding).collect()
}

fn overlay() -> Option<Finding> {
    match rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC) {
        Ok(_) => None,
        Err(Errno::NODEV) => Some(Finding::new(
            "overlayfs",
            "the kernel does not have it",
            "load the module overlay, or boot a kernel with CONFIG_OVERLAY_FS",
        )),
        Err(errno) => Some(Finding::new(
            "overlayfs",
            format_args!("fsopen: {errno}"),
            "allow this user to mount file systems",
        )),
    }
}

fn network() -> Vec<Finding> {
    let namespace = match Namespace::anonymous() {
        Ok(namespace) => namespace,
        Err(error) => {
            return vec![Finding::new(
                "network namespaces",
                Chain(&error),
                "allow this user to make namespaces (CAP_SYS_ADMIN)",
            )];
        }
    };
    let mut findings = Vec::new();
    let veth = || -> Result<(), netlink::Error> {
        let mut handle = Handle::open_in(namespace.as_fd())?;
        let veth = Veth {
            name: "probe0",
            address: None,
            peer_name: "probe1",
            peer_address: None,
            peer_namespace: None,
            mtu: None,
            alias: "",
        };
        handle.add_veth(&veth).map(|_| ())
    };
    if let Err(error) = veth() {
        findings.push(Finding::new(
            "veth links",
            Chain(&error),
            "load the module veth, or boot a kernel with CONFIG_VETH",
        ));
    }
    let table = || -> Result<(), netlink::Error> {
        let mut nft = Nft::open_in(namespace.as_fd())?;
        let table = Table::new(Family::Inet, "probe");
        let mut batch = Batch::new();
        batch.add_table(&table);
        batch.add_chain(&NftChain::base(
            &table,
            "c",
            ChainKind::Nat,
            Hook::Postrouting,
            100,
        ));
        batch.add_rule(&table, "c", &[Expr::Masquerade { flags: 0 }]);
        batch.add_set(&Set::verdict_map(
            &table,
            "m",
            &[Field::Ipv4, Field::Protocol, Field::Port],
        ));
        batch.add_set(&Set::new(&table, "s", &[Field::Ipv4]).with_intervals());
        nft.commit(batch)
    };
    if let Err(error) = table() {
        findings.push(Finding::new(
            "nftables",
            Chain(&error),
            "load the modules nf_tables, nft_chain_nat and nft_masq, or boot a kernel with them",
        ));
    }
    findings
}

/// A foreign chain that drops by default is not overruled by any other nft chain.
fn dropping_chains() -> Vec<Finding> {
    let chains = Nft::open()
        .and_then(|mut nft| nft.base_chains())
        .unwrap_or_default();
    let foreign = chains.into_iter().filter(|chain| {
        chain.drops
            && matches!(chain.table.family, Family::Inet | Family::Ip)
            && !chain.table.name.starts_with("transom-")
    });
    let finding = |chain: netlink::nft::BaseChain| {
        let cause = if chain.hook == Hook::Forward as u32 {
            "drops forwarded packets by default, pods' way out too"
        } else if chain.hook == Hook::Input as u32 {
            "drops incoming packets by default, those of nodes to the API too"
        } else {
            return None;
        };
        let docker = chain.table.name == "filter" && chain.name == "FORWARD";
        let rule = if docker {
            "iptables -I DOCKER-USER"
        } else {
            "a rule"
        };
        let object = format!("nft chain {} {}", chain.table, chain.name);
        let next = format!("accept links named trh* there (for instance with {rule})");
        Some(Finding::new(object, cause, next).warning())
    };
    foreign.filter_map(finding).collect()
}

/// The control plane's own user must get to its files: every folder above must let it pass.
fn reachable(root: &Path) -> Option<Finding> {
    let closed = root.ancestors().find(|folder| {
        let meta = std::fs::metadata(folder);
        meta.is_ok_and(|meta| meta.permissions().mode() & 0o001 == 0)
    })?;
    Some(Finding::new(
        format_args!("data folder {}", root.display()),
        format_args!(
            "the control plane's own user may not pass {}",
            closed.display()
        ),
        "set TRANSOM_DATA to a folder that everyone may pass (o+x)",
    ))
}

fn control_groups(path: &str) -> Vec<Finding> {
    let layout = match cgroups::Layout::detect() {
        Ok(layout) => layout,
        Err(error) => {
            return vec![Finding::new(
                "control groups",
                Chain(&error),
                "mount cgroup2 on /sys/fs/cgroup",
            )];
        }
    };
    let unified = layout.unified().map(|hierarchy| {
        let path = hierarchy.mount.join("cgroup.controllers");
        std::fs::read_to_string(path).unwrap_or_default()
    });
    let unified = unified.unwrap_or_default();
    let missing = CONTROLLERS.iter().filter(|controller| {
        layout.v1_of(controller).is_none()
            && !unified
                .split_whitespace()
                .any(|there| there == **controller)
    });
    let finding = |controller: &&str| {
        Finding::new(
            format_args!("cgroup controller {controller}"),
            "is in no hierarchy",
            "remove it from cgroup_disable= on the kernel's command line",
        )
    };
    let mut findings: Vec<Finding> = missing.map(finding).collect();
    if rustix::process::geteuid().is_root() {
        let layout = std::sync::Arc::new(layout);
        let probe = || -> Result<(), cgroups::Error> {
            let group = cgroups::Group::new(&layout, path)?;
            if group.exists() {
                return Ok(());
            }
            let made = group.create();
            group.remove()?;
            made
        };
        if let Err(error) = probe() {
            findings.push(Finding::new(
                "control groups",
                Chain(&error),
                "make /sys/fs/cgroup writable (a container needs its own writable hierarchy)",
            ));
        }
    }
    findings
}

fn disk(root: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    let there = root
        .ancestors()
        .find(|folder| folder.exists())
        .unwrap_or(Path::new("/"));
    let object = format!("data folder {}", root.display());
    if let Ok(stat) = rustix::fs::statvfs(there) {
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        let cause = format!("{} MiB are free on its file system", free >> 20);
        if free < DISK_NEEDED {
            let next = format!(
                "free {} MiB or more, or set TRANSOM_DATA to a folder elsewhere",
                DISK_NEEDED >> 20
            );
            findings.push(Finding::new(&object, cause, next));
        } else if free < DISK_WISHED {
            let next = "free some space before images fill it";
            findings.push(Finding::new(&object, cause, next).warning());
        }
    }
    if let Ok(stat) = rustix::fs::statfs(there) {
        #[expect(clippy::cast_sign_loss, reason = "f_type is a magic number")]
        if stat.f_type as u64 == OVERLAYFS_MAGIC {
            findings.push(Finding::new(
                &object,
                "is on overlayfs, which cannot hold the nodes' writable layers",
                "set TRANSOM_DATA to a folder on a real file system, such as a volume",
            ));
        }
    }
    findings
}

/// Whether the API's port is free on the host's loopback.
pub(crate) fn port_free(port: u16) -> Option<Finding> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let error = TcpListener::bind(address).err()?;
    Some(Finding::new(
        format_args!("port {address}"),
        error,
        "stop what listens there, or choose another with --port",
    ))
}

#[cfg(test)]
mod tests;
