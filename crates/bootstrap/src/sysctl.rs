//! Kernel settings of the host that local clusters change: recorded by the first, restored by the
//! last.
//!
//! The record is one file for all clusters of the host, `/run/transom/settings-NETNS.json`, whatever
//! data folders they use. A record of an earlier boot is void: the kernel forgot the settings too.
//! Example: cluster a finds ip_forward 0, records it and sets 1; b finds the record and adds
//! itself; a goes; b goes, is the last and writes 0 back.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::files;

const FOLDER: &str = "/run/transom";

/// What a cluster needs of the host: forwarding between the hub's link and the way out.
const NEEDED: [(&str, &str); 1] = [("net/ipv4/ip_forward", "1")];

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    boot: String,
    /// Setting → value before the first cluster.
    before: BTreeMap<String, String>,
    /// Clusters that need the settings.
    users: BTreeSet<String>,
}

/// The record's place and the settings' root: parameters for the tests.
#[derive(Debug)]
struct Place {
    folder: PathBuf,
    settings: PathBuf,
    boot: String,
    /// Distinguishes records of different network namespaces: the settings are theirs.
    namespace: u64,
}

impl Place {
    fn host() -> Result<Self, Error> {
        let namespace = netlink::Namespace::current()?.identity()?.1;
        let boot = boot_id()?;
        Ok(Self {
            folder: FOLDER.into(),
            settings: "/proc/sys".into(),
            boot,
            namespace,
        })
    }

    fn file(&self) -> PathBuf {
        self.folder
            .join(format!("settings-{}.json", self.namespace))
    }

    fn lock_file(&self) -> PathBuf {
        self.folder
            .join(format!("settings-{}.lock", self.namespace))
    }

    fn lock(&self) -> Result<File, Error> {
        files::folder(&self.folder, 0o755)?;
        let path = self.lock_file();
        let file = File::create(&path).map_err(Error::file("create", &path))?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive)
            .map_err(Error::errno("lock", path.display()))?;
        Ok(file)
    }

    fn load(&self) -> Result<Record, Error> {
        let path = self.file();
        let text = files::read(&path)?.unwrap_or_default();
        // An unreadable record is worth less than going on: it only costs the way back.
        let record: Record = serde_json::from_str(&text).unwrap_or_default();
        if record.boot == self.boot {
            return Ok(record);
        }
        Ok(Record {
            boot: self.boot.clone(),
            ..Record::default()
        })
    }

    fn acquire(&self, user: &str) -> Result<(), Error> {
        let _lock = self.lock()?;
        let mut record = self.load()?;
        record.users.insert(user.to_owned());
        for (key, _) in NEEDED {
            let path = self.settings.join(key);
            if !record.before.contains_key(key)
                && let Some(value) = files::read(&path)?
            {
                record
                    .before
                    .insert(key.to_owned(), value.trim().to_owned());
            }
        }
        // The record first: a kill between the two leaves a change that the next down undoes.
        let text = serde_json::to_string(&record).unwrap_or_default();
        files::write(&self.file(), text.as_bytes(), 0o644)?;
        for (key, value) in NEEDED {
            set(&self.settings.join(key), value)?;
        }
        Ok(())
    }

    fn release(&self, user: &str) -> Result<(), Error> {
        if !self.folder.exists() {
            return Ok(());
        }
        let lock = self.lock()?;
        let mut record = self.load()?;
        record.users.remove(user);
        if record.users.is_empty() {
            for (key, value) in &record.before {
                set(&self.settings.join(key), value)?;
            }
            files::remove_with_rest(&self.file())?;
            files::remove(&self.lock_file())?;
            drop(lock);
            files::remove_if_empty(&self.folder);
            return Ok(());
        }
        let text = serde_json::to_string(&record).unwrap_or_default();
        files::write(&self.file(), text.as_bytes(), 0o644)
    }
}

/// Sets what clusters need and remembers who needs it.
pub(crate) fn acquire(user: &str) -> Result<(), Error> {
    Place::host()?.acquire(user)
}

/// Forgets a user; the last one restores what was.
pub(crate) fn release(user: &str) -> Result<(), Error> {
    Place::host()?.release(user)
}

/// The kernel's name of this boot.
pub(crate) fn boot_id() -> Result<String, Error> {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    Ok(fs::read_to_string(path)
        .map_err(Error::file("read", path))?
        .trim()
        .to_owned())
}

/// Writes a setting unless it has the value already. An absent one is fine.
pub(crate) fn set(path: &Path, value: &str) -> Result<(), Error> {
    match files::read(path)? {
        Some(old) if old.trim() != value => {
            fs::write(path, value).map_err(Error::file("write", path))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
