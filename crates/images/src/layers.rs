//! Unpacked layers by chain id: each one folder, whole or not there.
//!
//! `layers/HEX/fs` is a lower folder for overlayfs, `layers/HEX/layer.json` says what it is. A
//! layer is filled under `work/` and renamed, so kill -9 leaves nothing half made. After a power
//! cut files may be empty although their folder has its name: a layer that was not flushed yet
//! counts only within the boot that made it, and is unpacked again from its blob after that.
//! Blocking.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::blobs::Blobs;
use crate::digest::Digest;
use crate::error::{ImageError, at};
use crate::unpack::{self, Limits};

/// See the module.
#[derive(Debug)]
pub(crate) struct Layers {
    layers: PathBuf,
    work: PathBuf,
    boot_id: String,
    limits: Limits,
    counter: AtomicU64,
    /// One flush at a time.
    flushing: parking_lot::Mutex<()>,
}

#[derive(Serialize, Deserialize)]
struct Note {
    diff_id: Digest,
    bytes: u64,
    entries: u64,
    /// Of the boot that unpacked it, until it is flushed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unflushed_since: Option<String>,
}

impl Layers {
    /// Opens the store; removes what a killed process left and what a power cut may have hurt.
    pub(crate) fn open(root: &Path, boot_id: &str, limits: Limits) -> Result<Layers, ImageError> {
        let (layers, work) = (root.join("layers"), root.join("work"));
        unpack::discard(&work)?;
        for path in [&layers, &work] {
            std::fs::create_dir_all(path).map_err(at("create", path))?;
        }
        let store = Layers {
            layers,
            work,
            boot_id: boot_id.to_owned(),
            limits,
            counter: AtomicU64::new(0),
            flushing: parking_lot::Mutex::new(()),
        };
        for (path, _) in store.all()? {
            let note = store.note(&path);
            let safe = note.is_some_and(|note| {
                note.unflushed_since
                    .is_none_or(|boot_id| boot_id == store.boot_id)
            });
            if !safe {
                tracing::info!(path = %path.display(), "layer was not flushed before the last boot");
                store.retire(&path)?;
            }
        }
        Ok(store)
    }

    /// The folder of a layer stack's top.
    pub(crate) fn path(&self, chain: &Digest) -> PathBuf {
        self.layers.join(chain.hex()).join("fs")
    }

    /// Whether the layer is unpacked.
    pub(crate) fn contains(&self, chain: &Digest) -> bool {
        self.layers.join(chain.hex()).join("layer.json").exists()
    }

    /// Bytes of an unpacked layer.
    pub(crate) fn bytes(&self, chain: &Digest) -> u64 {
        self.note(&self.layers.join(chain.hex()))
            .map_or(0, |note| note.bytes)
    }

    /// Unpacks a layer on top of `below` (chain ids, topmost first) unless it is there.
    pub(crate) fn ensure(
        &self,
        blobs: &Blobs,
        blob: &Digest,
        diff_id: Digest,
        chain: &Digest,
        below: &[Digest],
    ) -> Result<(), ImageError> {
        if self.contains(chain) {
            return Ok(());
        }
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let work = self.work.join(format!("{}.{number}", chain.hex()));
        let result = self.fill(&work, blobs, blob, diff_id, chain, below);
        if result.is_err() {
            unpack::discard(&work)?;
        }
        result
    }

    fn fill(
        &self,
        work: &Path,
        blobs: &Blobs,
        blob: &Digest,
        diff_id: Digest,
        chain: &Digest,
        below: &[Digest],
    ) -> Result<(), ImageError> {
        let fs = work.join("fs");
        std::fs::create_dir_all(&fs).map_err(at("create", &fs))?;
        let parents: Vec<PathBuf> = below.iter().map(|chain| self.path(chain)).collect();
        let file = blobs.open_blob(blob)?;
        let unpacked = unpack::unpack(file, &fs, &parents, diff_id, &self.limits)?;
        let note = Note {
            diff_id,
            bytes: unpacked.bytes,
            entries: unpacked.entries,
            unflushed_since: Some(self.boot_id.clone()),
        };
        write_note(work, &note)?;
        let target = self.layers.join(chain.hex());
        match std::fs::rename(work, &target) {
            Ok(()) => Ok(()),
            // Somebody else unpacked the same layer in the meantime.
            Err(_) if self.contains(chain) => unpack::discard(work),
            Err(error) => Err(at("name", &target)(error)),
        }
    }

    /// Flushes the file system and notes that all layers are safe now.
    pub(crate) fn flush(&self) -> Result<(), ImageError> {
        let _one = self.flushing.lock();
        let mut fresh = Vec::new();
        for (path, _) in self.all()? {
            if let Some(note) = self
                .note(&path)
                .filter(|note| note.unflushed_since.is_some())
            {
                fresh.push((path, note));
            }
        }
        if fresh.is_empty() {
            return Ok(());
        }
        let folder = std::fs::File::open(&self.layers).map_err(at("open", &self.layers))?;
        rustix::fs::syncfs(&folder).map_err(at("flush", &self.layers))?;
        for (path, mut note) in fresh {
            note.unflushed_since = None;
            write_note(&path, &note)?;
        }
        Ok(())
    }

    /// Removes the layers that `keep` does not want. Bytes freed.
    pub(crate) fn sweep(&self, keep: impl Fn(&Digest) -> bool) -> Result<u64, ImageError> {
        let mut freed = 0;
        for (path, chain) in self.all()? {
            if chain.is_some_and(|chain| keep(&chain)) {
                continue;
            }
            freed += self.note(&path).map_or(0, |note| note.bytes);
            self.retire(&path)?;
        }
        Ok(freed)
    }

    /// Takes the name away first, so that half a removal is no layer.
    fn retire(&self, path: &Path) -> Result<(), ImageError> {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let away = self.work.join(format!("retired.{number}"));
        std::fs::rename(path, &away).map_err(at("rename", path))?;
        unpack::discard(&away)
    }

    fn all(&self) -> Result<Vec<(PathBuf, Option<Digest>)>, ImageError> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(&self.layers).map_err(at("list", &self.layers))? {
            let entry = entry.map_err(at("list", &self.layers))?;
            let chain = format!("sha256:{}", entry.file_name().to_string_lossy())
                .parse()
                .ok();
            all.push((entry.path(), chain));
        }
        Ok(all)
    }

    fn note(&self, layer: &Path) -> Option<Note> {
        serde_json::from_slice(&std::fs::read(layer.join("layer.json")).ok()?).ok()
    }
}

fn write_note(layer: &Path, note: &Note) -> Result<(), ImageError> {
    let bytes = serde_json::to_vec(note).map_err(|error| ImageError::malformed("note", error))?;
    let (new, path) = (layer.join("layer.json.new"), layer.join("layer.json"));
    std::fs::write(&new, bytes).map_err(at("write", &new))?;
    std::fs::rename(&new, &path).map_err(at("name", &path))
}
