//! What the host has, tried out. Changes nothing that outlives the look.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::Chain;
use netlink::nft::{Batch, Chain as NftChain, ChainKind, Expr, Family, Field, Hook, Set, Table};
use netlink::rt::Veth;
use netlink::{Handle, Namespace, Nft};
use rustix::io::Errno;
use rustix::mount::FsOpenFlags;

use crate::preflight::{Facts, NAMESPACES, Subject, Tried};

const OVERLAYFS_MAGIC: u64 = 0x794c_7630;
/// Names of the tables of iptables-legacy in this network namespace.
const LEGACY_TABLES: &str = "/proc/net/ip_tables_names";

/// Looks at everything. What only root can try counts as working for others: they get told to be
/// root.
pub(super) fn look(subject: &Subject) -> Facts {
    let uid = rustix::process::geteuid();
    let mut facts = Facts {
        uid: uid.as_raw(),
        namespaces: namespaces(),
        port: subject.port.and_then(port_error),
        program: std::fs::metadata(&subject.program)
            .err()
            .map(|e| e.to_string()),
        closed: closed(&subject.root),
        no_folder: no_folder(&subject.root),
        ..Facts::default()
    };
    match cgroups::Layout::detect() {
        Ok(layout) => {
            facts.controllers = Some(controllers(&layout));
            if uid.is_root() {
                facts.group = group(layout, &subject.cgroup);
            }
        }
        Err(error) => facts.group = Tried::Failed(Chain(&error).to_string()),
    }
    disk(&subject.root, &mut facts);
    if uid.is_root() {
        facts.overlay = overlay();
        network(&mut facts);
        facts.chains = Nft::open()
            .and_then(|mut nft| nft.base_chains())
            .unwrap_or_default();
        facts.legacy_filter = std::fs::read_to_string(LEGACY_TABLES)
            .is_ok_and(|names| names.lines().any(|name| name == "filter"));
    }
    facts
}

fn namespaces() -> Vec<String> {
    let there = NAMESPACES
        .iter()
        .filter(|name| Path::new("/proc/self/ns").join(name).exists());
    there.map(ToString::to_string).collect()
}

fn controllers(layout: &cgroups::Layout) -> Vec<String> {
    let unified = layout.unified().map(|hierarchy| {
        let path = hierarchy.mount.join("cgroup.controllers");
        std::fs::read_to_string(path).unwrap_or_default()
    });
    let unified = unified.unwrap_or_default();
    let mut all: Vec<String> = unified.split_whitespace().map(str::to_owned).collect();
    let wanted = super::CONTROLLERS.iter();
    all.extend(
        wanted
            .filter(|name| layout.v1_of(name).is_some())
            .map(ToString::to_string),
    );
    all
}

fn group(layout: cgroups::Layout, path: &str) -> Tried {
    let layout = Arc::new(layout);
    let probe = || -> Result<(), cgroups::Error> {
        let group = cgroups::Group::new(&layout, path)?;
        if group.exists() {
            return Ok(());
        }
        let made = group.create();
        group.remove()?;
        made
    };
    match probe() {
        Ok(()) => Tried::Works,
        Err(error) => Tried::Failed(Chain(&error).to_string()),
    }
}

fn overlay() -> Tried {
    match rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC) {
        Ok(_) => Tried::Works,
        Err(Errno::NODEV) => Tried::Absent,
        Err(errno) => Tried::Failed(format!("fsopen: {errno}")),
    }
}

fn network(facts: &mut Facts) {
    let namespace = match Namespace::anonymous() {
        Ok(namespace) => namespace,
        Err(error) => {
            facts.network = tried(&error);
            return;
        }
    };
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
    facts.veth = veth().map_or_else(|error| tried(&error), |()| Tried::Works);
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
    facts.nftables = table().map_or_else(|error| tried(&error), |()| Tried::Works);
}

/// A kernel without a feature says so in one of a few ways.
fn tried(error: &netlink::Error) -> Tried {
    match error.errno() {
        Some(Errno::OPNOTSUPP | Errno::NOENT | Errno::PROTONOSUPPORT | Errno::NODEV) => {
            Tried::Absent
        }
        _ => Tried::Failed(Chain(error).to_string()),
    }
}

/// The control plane's own user must get to its files: every folder above must let it pass.
fn closed(root: &Path) -> Option<PathBuf> {
    let closed = root.ancestors().find(|folder| {
        let meta = std::fs::metadata(folder);
        meta.is_ok_and(|meta| meta.is_dir() && meta.permissions().mode() & 0o001 == 0)
    });
    closed.map(Path::to_owned)
}

fn no_folder(root: &Path) -> Option<PathBuf> {
    let no_folder = root
        .ancestors()
        .find(|path| std::fs::metadata(path).is_ok_and(|meta| !meta.is_dir()));
    no_folder.map(Path::to_owned)
}

fn disk(root: &Path, facts: &mut Facts) {
    let there = root
        .ancestors()
        .find(|folder| folder.exists())
        .unwrap_or(Path::new("/"));
    if let Ok(stat) = rustix::fs::statvfs(there) {
        facts.free = Some(stat.f_bavail.saturating_mul(stat.f_frsize));
    }
    if let Ok(stat) = rustix::fs::statfs(there) {
        #[expect(clippy::cast_sign_loss, reason = "f_type is a magic number")]
        let magic = stat.f_type as u64;
        facts.on_overlay = magic == OVERLAYFS_MAGIC;
    }
}

/// Why the API's port cannot be had on the host's loopback, if it cannot.
pub(crate) fn port_error(port: u16) -> Option<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpListener::bind(address).err().map(|e| e.to_string())
}
