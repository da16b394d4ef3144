//! Which sandbox has which address, kept in files so that a killed agent forgets nothing.
//!
//! One file a sandbox, named by its id and written by rename: a line per address, then a line of
//! note for people. Memory is a copy made at open; one process at a time holds the folder's lock.
//! Files are not flushed to the disk: a power cut ends the sandboxes too, and `reconcile` drops
//! what no live sandbox owns. Example: range 10.1.0.0/24, last given 10.1.0.7 → the next is
//! 10.1.0.8, so that an address rests as long as possible before its next use.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use rustix::fs::FlockOperation;

/// Addresses tried in one range; a range is never scanned further than this.
const SCAN_LIMIT: u128 = 1 << 16;
const ID_LIMIT: usize = 128;
const LOCK: &str = ".lock";
const TEMPORARY: &str = ".new";

/// Why an address could not be given or taken back.
#[derive(Debug, thiserror::Error)]
pub enum IpamError {
    /// A file operation failed.
    #[error("{operation} {}", path.display())]
    File {
        /// The operation.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// Another process holds the folder.
    #[error("address reservations in {} are in use by another process", .0.display())]
    Locked(PathBuf),
    /// The node has no range yet.
    #[error("the node has no pod range yet")]
    NoRange,
    /// Every address of the range is taken.
    #[error("no free address in {0}")]
    Exhausted(IpNet),
    /// The id cannot be a file name.
    #[error("sandbox id {0:?} is not a file name")]
    BadId(String),
}

/// The reservations of one node.
#[derive(Debug)]
pub struct Ipam {
    folder: PathBuf,
    ranges: Vec<IpNet>,
    by_sandbox: BTreeMap<String, Vec<IpAddr>>,
    taken: HashSet<IpAddr>,
    last: HashMap<IpNet, IpAddr>,
    _lock: File,
}

impl Ipam {
    /// Opens (or makes) the reservations in `folder`. Files that cannot be read as reservations
    /// are removed: they were cut off in the middle of a write.
    pub fn open(folder: &Path) -> Result<Self, IpamError> {
        fs::create_dir_all(folder).map_err(file("create", folder))?;
        let lock_path = folder.join(LOCK);
        let lock = File::create(&lock_path).map_err(file("create", &lock_path))?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| IpamError::Locked(folder.to_owned()))?;
        let mut ipam = Self {
            folder: folder.to_owned(),
            ranges: Vec::new(),
            by_sandbox: BTreeMap::new(),
            taken: HashSet::new(),
            last: HashMap::new(),
            _lock: lock,
        };
        for entry in fs::read_dir(folder).map_err(file("list", folder))? {
            let path = entry.map_err(file("list", folder))?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            if name == LOCK {
                continue;
            }
            let text = fs::read_to_string(&path).map_err(file("read", &path))?;
            match parse(&text) {
                Some(addresses) if !name.starts_with('.') => ipam.remember(name, addresses),
                _ => {
                    tracing::warn!(file = %path.display(), "dropping a broken reservation");
                    fs::remove_file(&path).map_err(file("remove", &path))?;
                }
            }
        }
        Ok(ipam)
    }

    fn remember(&mut self, sandbox: &str, addresses: Vec<IpAddr>) {
        self.taken.extend(&addresses);
        self.by_sandbox.insert(sandbox.to_owned(), addresses);
    }

    /// The ranges new addresses come from: at most one per family counts for a sandbox.
    pub fn set_ranges(&mut self, ranges: Vec<IpNet>) {
        self.ranges = ranges;
    }

    /// The current ranges.
    #[must_use]
    pub fn ranges(&self) -> &[IpNet] {
        &self.ranges
    }

    /// What `sandbox` holds.
    #[must_use]
    pub fn get(&self, sandbox: &str) -> Option<&[IpAddr]> {
        self.by_sandbox.get(sandbox).map(Vec::as_slice)
    }

    /// All sandboxes that hold an address.
    pub fn sandboxes(&self) -> impl Iterator<Item = &str> {
        self.by_sandbox.keys().map(String::as_str)
    }

    /// One address of each range for `sandbox`; the same again for a second call.
    pub fn reserve(&mut self, sandbox: &str, note: &str) -> Result<Vec<IpAddr>, IpamError> {
        if let Some(held) = self.by_sandbox.get(sandbox) {
            return Ok(held.clone());
        }
        check_id(sandbox)?;
        if self.ranges.is_empty() {
            return Err(IpamError::NoRange);
        }
        let mut addresses = Vec::with_capacity(self.ranges.len());
        for range in &self.ranges {
            addresses.push(self.free_in(*range).ok_or(IpamError::Exhausted(*range))?);
        }
        let mut text: String = addresses
            .iter()
            .map(|address| format!("{address}\n"))
            .collect();
        text.push_str("# ");
        text.push_str(&note.replace('\n', " "));
        text.push('\n');
        let temporary = self.folder.join(format!("{TEMPORARY}{sandbox}"));
        let path = self.folder.join(sandbox);
        fs::write(&temporary, text).map_err(file("write", &temporary))?;
        fs::rename(&temporary, &path).map_err(file("rename to", &path))?;
        for (range, address) in self.ranges.iter().zip(&addresses) {
            self.last.insert(*range, *address);
        }
        self.remember(sandbox, addresses.clone());
        Ok(addresses)
    }

    /// Gives back what `sandbox` holds; nothing held is fine.
    pub fn release(&mut self, sandbox: &str) -> Result<Vec<IpAddr>, IpamError> {
        let Some(addresses) = self.by_sandbox.get(sandbox).cloned() else {
            return Ok(Vec::new());
        };
        let path = self.folder.join(sandbox);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(file("remove", &path)(error));
            }
            _ => {}
        }
        for address in &addresses {
            self.taken.remove(address);
        }
        self.by_sandbox.remove(sandbox);
        Ok(addresses)
    }

    /// The first free address after the last one given, around the range once.
    fn free_in(&self, range: IpNet) -> Option<IpAddr> {
        let (first, count) = usable(range);
        let start = match self.last.get(&range) {
            Some(last) => number(*last).wrapping_sub(first).wrapping_add(1),
            None => 0,
        };
        (0..count.min(SCAN_LIMIT))
            .map(|step| address(range, first + (start + step) % count))
            .find(|candidate| !self.taken.contains(candidate))
    }
}

/// First usable address as a number, and how many follow. IPv4 ranges of /30 and wider give away
/// neither the network's nor the broadcast address, IPv6 ranges not the subnet-router anycast.
fn usable(range: IpNet) -> (u128, u128) {
    let first = number(range.network());
    let bits = u32::from(range.max_prefix_len() - range.prefix_len());
    let count = 1_u128.checked_shl(bits).unwrap_or(u128::MAX);
    match range {
        IpNet::V4(_) if bits >= 2 => (first + 1, count - 2),
        IpNet::V6(_) if bits >= 1 => (first + 1, count - 1),
        _ => (first, count),
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u32::from(v4).into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

fn address(range: IpNet, number: u128) -> IpAddr {
    match range {
        IpNet::V4(_) => Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX)).into(),
        IpNet::V6(_) => Ipv6Addr::from(number).into(),
    }
}

/// The address lines of a reservation; `None` without one, or without the closing note.
fn parse(text: &str) -> Option<Vec<IpAddr>> {
    let mut addresses = Vec::new();
    for line in text.lines() {
        if line.starts_with('#') {
            return (!addresses.is_empty()).then_some(addresses);
        }
        addresses.push(line.parse().ok()?);
    }
    None
}

fn check_id(id: &str) -> Result<(), IpamError> {
    let fits = !id.is_empty()
        && id.len() <= ID_LIMIT
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if fits {
        Ok(())
    } else {
        Err(IpamError::BadId(id.to_owned()))
    }
}

fn file(operation: &'static str, path: &Path) -> impl Fn(io::Error) -> IpamError {
    let path = path.to_owned();
    move |cause| IpamError::File {
        operation,
        path: path.clone(),
        cause,
    }
}

#[cfg(test)]
mod tests;
