//! A directory as a disk would have it: what was flushed, and what only the page cache knows.
//!
//! Owns the rules of what a power cut may leave: everything flushed; of the writes since then any
//! part; of a write any of its 512-byte sectors; of the changes of names a beginning. A file may
//! have grown without the data that made it grow (it reads as zeros then). Example: `write A`,
//! `fsync`, `write B`, `write C`, cut → A, AB, AC, ABC, or A with some sectors of B and C.
//! Knows nothing of databases.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use base::Rng;

/// What a disk writes in one go.
const SECTOR_BYTES: usize = 512;

/// One step of a file's life.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

/// One step of a name's life.
#[derive(Clone, Debug)]
pub(crate) enum Naming {
    Create(String),
    Rename(String, String),
    Link(String, String),
    Unlink(String),
}

/// What the disk loses when the power fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Everything that was not flushed.
    All,
    /// The end, as if writes reached the disk in order.
    Tail,
    /// Some writes, whole, in any order.
    Some,
    /// Some sectors of some writes.
    Torn,
    /// Nothing but the order of the cut itself: as `kill -9`.
    None,
}

impl Loss {
    pub(crate) const ALL: [Loss; 5] = [Loss::All, Loss::Tail, Loss::Some, Loss::Torn, Loss::None];
}

#[derive(Clone, Debug, Default)]
struct File {
    flushed: Vec<u8>,
    /// Since the last flush.
    changes: Vec<Change>,
    /// How many changes came before those.
    before: usize,
}

/// See the module's header.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    files: Vec<File>,
    /// Name → file, as flushed.
    flushed: BTreeMap<String, usize>,
    /// Name → file, as the process sees it.
    names: BTreeMap<String, usize>,
    /// Since the directory was flushed.
    pending: Vec<(Naming, usize)>,
}

impl Disk {
    /// A disk that holds these files, flushed.
    pub(crate) fn with(files: &BTreeMap<String, Vec<u8>>) -> Disk {
        let mut disk = Disk::default();
        for (name, bytes) in files {
            disk.flushed.insert(name.clone(), disk.files.len());
            disk.files.push(File {
                flushed: bytes.clone(),
                ..File::default()
            });
        }
        disk.names.clone_from(&disk.flushed);
        disk
    }

    pub(crate) fn change(&mut self, name: &str, change: Change) {
        if let Some(&file) = self.names.get(name) {
            self.files[file].changes.push(change);
        }
    }

    /// The first `upto` changes of the file, counted from its beginning, are on the disk now.
    pub(crate) fn flush(&mut self, name: &str, upto: usize) {
        let Some(&file) = self.names.get(name) else {
            return;
        };
        let file = &mut self.files[file];
        let count = upto.saturating_sub(file.before).min(file.changes.len());
        for change in file.changes.drain(..count) {
            apply(&mut file.flushed, &change);
        }
        file.before += count;
    }

    pub(crate) fn name(&mut self, naming: &Naming) {
        let file = match naming {
            Naming::Create(name) if self.names.contains_key(name) => return,
            Naming::Create(_) => {
                self.files.push(File::default());
                self.files.len() - 1
            }
            Naming::Rename(from, _) | Naming::Link(from, _) | Naming::Unlink(from) => {
                match self.names.get(from) {
                    Some(&file) => file,
                    None => return,
                }
            }
        };
        rename(&mut self.names, naming, file);
        self.pending.push((naming.clone(), file));
    }

    /// All names are on the disk now.
    pub(crate) fn flush_names(&mut self) {
        self.pending.clear();
        self.flushed.clone_from(&self.names);
    }

    /// The files after a power cut.
    pub(crate) fn after_cut(&self, loss: Loss, rng: &mut Rng) -> BTreeMap<String, Vec<u8>> {
        let mut names = self.flushed.clone();
        let kept = match loss {
            Loss::All => 0,
            Loss::None => self.pending.len(),
            Loss::Tail | Loss::Some | Loss::Torn => below(rng, self.pending.len() + 1),
        };
        for (naming, file) in &self.pending[..kept] {
            rename(&mut names, naming, *file);
        }
        let content = |(name, file): (String, usize)| (name, self.files[file].after(loss, rng));
        names.into_iter().map(content).collect()
    }
}

impl File {
    fn after(&self, loss: Loss, rng: &mut Rng) -> Vec<u8> {
        let mut bytes = self.flushed.clone();
        let changes = &self.changes;
        match loss {
            Loss::All => {}
            Loss::None => changes.iter().for_each(|change| apply(&mut bytes, change)),
            Loss::Tail => {
                let kept = below(rng, changes.len() + 1);
                for change in &changes[..kept] {
                    apply(&mut bytes, change);
                }
                if let Some(Change::Write(at, data)) = changes.get(kept) {
                    let whole = below(rng, data.len() / SECTOR_BYTES + 1) * SECTOR_BYTES;
                    apply(&mut bytes, &Change::Write(*at, data[..whole].to_vec()));
                }
            }
            Loss::Some => {
                // Some disks lose one write of many, some all but one.
                let odds = 1 + rng.below(15);
                for change in changes.iter().filter(|_| rng.below(16) < odds) {
                    apply(&mut bytes, change);
                }
            }
            Loss::Torn => {
                let odds = 1 + rng.below(15);
                for change in changes {
                    torn(&mut bytes, change, odds, rng);
                }
            }
        }
        bytes
    }
}

/// Sectors are counted in the file: a write that begins in the middle of one tears there.
fn torn(bytes: &mut Vec<u8>, change: &Change, odds: u64, rng: &mut Rng) {
    let Change::Write(at, data) = change else {
        if rng.below(16) < odds {
            apply(bytes, change);
        }
        return;
    };
    let mut from = 0;
    while from < data.len() {
        let upto = data
            .len()
            .min(from + SECTOR_BYTES - (at + from) % SECTOR_BYTES);
        if rng.below(16) < odds {
            apply(bytes, &Change::Write(at + from, data[from..upto].to_vec()));
        } else if rng.below(2) == 0 {
            let grown = bytes.len().max(at + upto);
            bytes.resize(grown, 0);
        }
        from = upto;
    }
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Truncate(len) => bytes.resize(*len, 0),
        Change::Write(at, data) => {
            bytes.resize(bytes.len().max(at + data.len()), 0);
            bytes[*at..at + data.len()].copy_from_slice(data);
        }
    }
}

fn rename(names: &mut BTreeMap<String, usize>, naming: &Naming, file: usize) {
    match naming {
        Naming::Create(name) | Naming::Link(_, name) => {
            names.insert(name.clone(), file);
        }
        Naming::Rename(from, to) => {
            names.remove(from);
            names.insert(to.clone(), file);
        }
        Naming::Unlink(name) => {
            names.remove(name);
        }
    }
}

fn below(rng: &mut Rng, bound: usize) -> usize {
    usize::try_from(rng.below(bound as u64)).unwrap_or_default()
}

/// Writes files into an empty directory.
pub(crate) fn lay_out(files: &BTreeMap<String, Vec<u8>>, dir: &Path) -> Result<()> {
    if dir.exists() {
        std::fs::remove_dir_all(dir).with_context(|| format!("empty {}", dir.display()))?;
    }
    std::fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
    for (name, bytes) in files {
        let path = dir.join(name);
        std::fs::write(&path, bytes).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
