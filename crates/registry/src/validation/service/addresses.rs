//! Addresses of one Service: which are taken from the cluster's ranges and which go back.
//!
//! An address is an IPAddress object in the Service's own transaction. A dry run takes nothing and
//! asks nobody: as upstream it shows the range's own address.
//! Source: kubernetes v1.36.3 pkg/registry/core/service/storage/alloc.go (allocClusterIPs,
//! updateClusterIPs, allocIPs), pkg/registry/core/service/ipallocator/{cidrallocator,ipallocator}.go.

use std::net::IpAddr;

use api::names::parse_ip_sloppy;
use api::{FieldError, Path, Status};
use ipnet::IpNet;
use schema::Dom;

use super::families::unmoved;
use super::stack::{NONE, Stack, V4, V6, shown};
use crate::hooks::{Context, Extra, Extras};

/// [`crate::Resource::prefix`] of IPAddress objects.
const ADDRESSES: &str = "ipaddresses";
/// How often a random address is tried before the range is searched.
const ATTEMPTS: usize = 64;
/// How many addresses of a range are ever handed out: 2^20.
const SIZE_BITS: u32 = 20;

/// One Service that gets addresses.
pub(super) struct Addresses<'a, 'c> {
    pub(super) cx: &'a Context<'c>,
    /// The name of the Service.
    pub(super) name: &'a str,
    pub(super) extras: &'a mut Extras,
}

impl Addresses<'_, '_> {
    /// Gives a new Service, or one that had none, what is missing for its families.
    pub(super) fn give(&mut self, new: &mut Stack) -> Result<(), Status> {
        if !new.needs_ip() || new.ips.first().is_some_and(|ip| ip == NONE) {
            return Ok(());
        }
        if new.ips.len() < new.families.len() {
            new.ips.resize(new.families.len(), String::new());
        }
        for index in 0..new.families.len() {
            new.ips[index] = self.take(new, index)?;
        }
        new.ip = new.ips.first().cloned().unwrap_or_default();
        Ok(())
    }

    /// Takes and releases what a change asks for.
    pub(super) fn change(&mut self, new: &mut Stack, old: &Stack) -> Result<(), Status> {
        if unmoved(new, old) {
            return Ok(());
        }
        if !old.needs_ip() && new.needs_ip() {
            return self.give(new);
        }
        if old.ips.first().is_some_and(|ip| ip == NONE) {
            return Ok(());
        }
        if old.needs_ip() && !new.needs_ip() {
            self.release(old.held());
            return Ok(());
        }
        match (old.families.len(), new.families.len()) {
            // One that becomes headless may name a family that the cluster does not have; that it
            // may not become so is found later.
            (1, 2) if self.range(&new.families[1]).is_some() => {
                if new.ips.len() < 2 {
                    new.ips.push(String::new());
                }
                if new.ips.len() == 2 {
                    new.ips[1] = self.take(new, 1)?;
                }
            }
            (2, 1) => self.release(old.held().into_iter().skip(1)),
            _ => {}
        }
        Ok(())
    }

    /// Gives addresses back.
    pub(super) fn release(&mut self, names: impl IntoIterator<Item = String>) {
        for name in names {
            self.extras.writes.push(Extra::Delete {
                prefix: ADDRESSES.into(),
                namespace: String::new(),
                name,
            });
        }
    }

    /// The address at the index: the one that the client named, or any.
    fn take(&mut self, new: &Stack, index: usize) -> Result<String, Status> {
        let family = new.families[index].as_str();
        let given = new.ips[index].as_str();
        let refuse = |detail: String| {
            let at = Path::new("spec").child("clusterIPs");
            let error = FieldError::invalid(&at, shown(&new.ips), detail);
            Status::invalid(&self.cx.resource.group_kind(), self.name, &[error])
        };
        let range = self.range(family);
        let taken = if given.is_empty() {
            let found = match range {
                Some(range) if self.cx.dry_run => Some(range.network()),
                Some(range) => pick(self.cx, &range),
                None => None,
            };
            found.ok_or_else(|| {
                let name = api::text::quote(self.name);
                Status::internal(&format!(
                    "failed to allocate a serviceIP for Service {name}: range is full"
                ))
            })?
        } else {
            let Some(ip) = parse_ip_sloppy(given) else {
                let quoted = api::text::quote(given);
                return Err(Status::internal(&format!(
                    "failed to parse service IP {quoted}"
                )));
            };
            self.named(ip, range)
                .map_err(|cause| refuse(format!("failed to allocate IP {given}: {cause}")))?;
            ip
        };
        if !self.cx.dry_run {
            let name = taken.to_string();
            self.extras.writes.push(Extra::Create {
                prefix: ADDRESSES.into(),
                namespace: String::new(),
                object: object(self.cx, &name, self.name),
                name,
            });
        }
        Ok(if given.is_empty() {
            taken.to_string()
        } else {
            given.to_owned()
        })
    }

    /// The cluster's range of the family.
    fn range(&self, family: &str) -> Option<IpNet> {
        let mut ranges = self.cx.service_ranges.iter().copied();
        ranges.find(|range| range.addr().is_ipv4() == (family == V4))
    }

    /// Whether the address can be had.
    fn named(&self, ip: IpAddr, range: Option<IpNet>) -> Result<(), String> {
        let inside = range.is_some_and(|range| usable(&range, ip));
        if self.cx.dry_run {
            return match range {
                Some(range) if !inside => Err(format!(
                    "the provided IP ({ip}) is not in the valid range. The range of valid IPs is {}",
                    range.trunc()
                )),
                _ => Ok(()),
            };
        }
        if !inside {
            return Err("the provided network does not match the current range".to_owned());
        }
        if self.cx.lookup.get(ADDRESSES, "", &ip.to_string()).is_some() {
            return Err("provided IP is already allocated".to_owned());
        }
        Ok(())
    }
}

/// Neither the address of the network nor, of IPv4, the one of all its hosts.
fn usable(range: &IpNet, ip: IpAddr) -> bool {
    let last = range.addr().is_ipv4() && ip == range.broadcast();
    range.contains(&ip) && ip != range.network() && !last
}

fn nth(range: &IpNet, offset: u64) -> Option<IpAddr> {
    let ip = match range {
        IpNet::V4(net) => {
            let base = u32::from(net.network());
            IpAddr::V4(base.checked_add(u32::try_from(offset).ok()?)?.into())
        }
        IpNet::V6(net) => {
            let base = u128::from(net.network());
            IpAddr::V6(base.checked_add(u128::from(offset))?.into())
        }
    };
    usable(range, ip).then_some(ip)
}

/// Chooses an address: the upper part of the range first, so that addresses which people name can
/// be taken from the lower.
fn pick(cx: &Context<'_>, range: &IpNet) -> Option<IpAddr> {
    let bits = u32::from(range.max_prefix_len() - range.prefix_len()).min(SIZE_BITS);
    let size = 1u64 << bits;
    let reserved = if size <= 16 {
        0
    } else {
        (size / 16).clamp(16, 256)
    };
    let free = |ip: &IpAddr| cx.lookup.get(ADDRESSES, "", &ip.to_string()).is_none();
    // The first address of the range is at 1.
    let first = reserved + 1;
    for _ in 0..ATTEMPTS {
        let offset = first + (cx.below)(size.saturating_sub(first).max(1));
        if let Some(ip) = nth(range, offset).filter(free) {
            return Some(ip);
        }
    }
    (first..size)
        .chain(1..first)
        .filter_map(|offset| nth(range, offset))
        .find(free)
}

fn object(cx: &Context<'_>, ip: &str, service: &str) -> Dom {
    let mut dom = Dom::new();
    let root = dom.new_map();
    dom.set_root(root);
    let meta = dom.new_map();
    dom.set(root, "metadata", meta);
    dom.set_str(meta, "name", ip);
    dom.set_str(meta, "uid", &api::names::random_uid(cx.below));
    dom.set_str(
        meta,
        "creationTimestamp",
        &api::time::format_seconds(cx.now),
    );
    let labels = dom.new_map();
    dom.set(meta, "labels", labels);
    dom.set_str(
        labels,
        "ipaddress.kubernetes.io/managed-by",
        "ipallocator.k8s.io",
    );
    let family = if ip.contains(':') { V6 } else { V4 };
    dom.set_str(labels, "ipaddress.kubernetes.io/ip-family", family);
    let spec = dom.new_map();
    dom.set(root, "spec", spec);
    let parent = dom.new_map();
    dom.set(spec, "parentRef", parent);
    dom.set_str(parent, "resource", "services");
    dom.set_str(parent, "namespace", cx.namespace);
    dom.set_str(parent, "name", service);
    dom
}
