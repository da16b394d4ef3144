//! Blobs on disk by digest: written once, verified before they get their name.
//!
//! `blobs/sha256/HEX` is always whole and right; what is being written lies in `ingest/HEX.part`
//! and is picked up again by the next download. Knows nothing of what the bytes mean. Blocking.

use std::fs::File;
use std::io::{self, Read, Seek as _, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::digest::{Digest, Hasher};
use crate::error::{ImageError, at};

/// A partial download is worth keeping for a day.
const STALE_SECONDS: i64 = 24 * 3600;

/// See the module.
#[derive(Debug)]
pub(crate) struct Blobs {
    blobs: PathBuf,
    ingest: PathBuf,
    counter: AtomicU64,
}

impl Blobs {
    /// Opens or makes the store below `root`. Unnamed leftovers of a killed process go away;
    /// partial downloads stay.
    pub(crate) fn open(root: &Path) -> Result<Blobs, ImageError> {
        let (blobs, ingest) = (root.join("blobs/sha256"), root.join("ingest"));
        for path in [&blobs, &ingest] {
            std::fs::create_dir_all(path).map_err(at("create", path))?;
        }
        for entry in std::fs::read_dir(&ingest).map_err(at("list", &ingest))? {
            let path = entry.map_err(at("list", &ingest))?.path();
            if path.extension().is_none_or(|extension| extension != "part") {
                std::fs::remove_file(&path).map_err(at("remove", &path))?;
            }
        }
        Ok(Blobs {
            blobs,
            ingest,
            counter: AtomicU64::new(0),
        })
    }

    pub(crate) fn path(&self, digest: &Digest) -> PathBuf {
        self.blobs.join(digest.hex())
    }

    /// Size of a blob that is there.
    pub(crate) fn size(&self, digest: &Digest) -> Option<u64> {
        std::fs::metadata(self.path(digest))
            .ok()
            .map(|metadata| metadata.len())
    }

    pub(crate) fn open_blob(&self, digest: &Digest) -> Result<File, ImageError> {
        let path = self.path(digest);
        File::open(&path).map_err(at("open", &path))
    }

    /// A small blob, verified again on the way.
    pub(crate) fn read(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, ImageError> {
        let mut bytes = Vec::new();
        let path = self.path(digest);
        self.open_blob(digest)?
            .take(limit + 1)
            .read_to_end(&mut bytes)
            .map_err(at("read", &path))?;
        if bytes.len() as u64 > limit {
            return Err(ImageError::Limit {
                what: format!("size of {digest}"),
                limit,
            });
        }
        verify(&format!("stored blob {digest}"), digest, Digest::of(&bytes))?;
        Ok(bytes)
    }

    /// Stores a small blob.
    pub(crate) fn put(&self, bytes: &[u8]) -> Result<Digest, ImageError> {
        let mut ingest = self.begin()?;
        ingest.write(bytes)?;
        let (digest, _) = ingest.commit(None)?;
        Ok(digest)
    }

    /// Stores what a reader yields, up to `limit` bytes; with `expected` only if it is that.
    pub(crate) fn copy(
        &self,
        reader: &mut dyn Read,
        expected: Option<(&str, Digest)>,
        limit: u64,
    ) -> Result<(Digest, u64), ImageError> {
        let mut ingest = self.begin()?;
        let mut buffer = vec![0; 128 << 10];
        loop {
            let read = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(cause) => {
                    return Err(ImageError::Read {
                        what: "the archive".into(),
                        cause,
                    });
                }
            };
            if ingest.bytes() + read as u64 > limit {
                return Err(ImageError::Limit {
                    what: "size of a blob".into(),
                    limit,
                });
            }
            ingest.write(&buffer[..read])?;
        }
        ingest.commit(expected)
    }

    fn begin(&self) -> Result<Ingest, ImageError> {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let path = self.ingest.join(format!("{}.{number}", std::process::id()));
        let file = File::create(&path).map_err(at("create", &path))?;
        Ok(Ingest {
            target: self.blobs.clone(),
            file,
            path,
            hasher: Hasher::default(),
            keep: false,
        })
    }

    /// Goes on where an earlier download of this blob ended.
    pub(crate) fn resume(&self, digest: &Digest) -> Result<Ingest, ImageError> {
        let path = self.ingest.join(format!("{}.part", digest.hex()));
        let mut file = File::options()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)
            .map_err(at("open", &path))?;
        let mut hasher = Hasher::default();
        let mut buffer = vec![0; 128 << 10];
        loop {
            let read = file.read(&mut buffer).map_err(at("read", &path))?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
        }
        Ok(Ingest {
            target: self.blobs.clone(),
            file,
            path,
            hasher,
            keep: true,
        })
    }

    /// Removes every blob that `keep` does not want, and partial downloads that nobody went on
    /// with for [`STALE_SECONDS`] before `now`. Bytes freed.
    pub(crate) fn sweep(
        &self,
        now: i64,
        keep: impl Fn(&Digest) -> bool,
    ) -> Result<u64, ImageError> {
        let mut freed = 0;
        for (folder, partial) in [(&self.blobs, false), (&self.ingest, true)] {
            for entry in std::fs::read_dir(folder).map_err(at("list", folder))? {
                let entry = entry.map_err(at("list", folder))?;
                let name = entry.file_name();
                let digest = format!("sha256:{}", name.to_string_lossy()).parse::<Digest>();
                if !partial && digest.is_ok_and(|digest| keep(&digest)) {
                    continue;
                }
                let path = entry.path();
                let modified = entry.metadata().map_or(now, |metadata| metadata.mtime());
                if partial && now.saturating_sub(modified) < STALE_SECONDS {
                    continue;
                }
                freed += entry.metadata().map_or(0, |metadata| metadata.len());
                std::fs::remove_file(&path).map_err(at("remove", &path))?;
            }
        }
        Ok(freed)
    }
}

/// A blob that is being written.
pub(crate) struct Ingest {
    target: PathBuf,
    file: File,
    path: PathBuf,
    hasher: Hasher,
    /// Whether what there is stays for the next attempt.
    keep: bool,
}

impl Ingest {
    pub(crate) fn bytes(&self) -> u64 {
        self.hasher.bytes()
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        self.file
            .write_all(bytes)
            .map_err(at("write", &self.path))?;
        self.hasher.update(bytes);
        Ok(())
    }

    /// Starts again from nothing.
    pub(crate) fn restart(&mut self) -> Result<(), ImageError> {
        self.file.set_len(0).map_err(at("truncate", &self.path))?;
        self.file.rewind().map_err(at("rewind", &self.path))?;
        self.hasher = Hasher::default();
        Ok(())
    }

    /// Verifies, flushes and names the blob. What is wrong is removed.
    pub(crate) fn commit(
        mut self,
        expected: Option<(&str, Digest)>,
    ) -> Result<(Digest, u64), ImageError> {
        self.keep = false;
        let bytes = self.hasher.bytes();
        let digest = std::mem::take(&mut self.hasher).finish();
        if let Some((what, expected)) = expected {
            verify(what, &expected, digest)?;
        }
        self.file.sync_data().map_err(at("flush", &self.path))?;
        let target = self.target.join(digest.hex());
        std::fs::rename(&self.path, &target).map_err(at("name", &target))?;
        // The name is safe once the folder is; the catalog's own flush comes after this one.
        let folder = File::open(&self.target).map_err(at("open", &self.target))?;
        folder.sync_all().map_err(at("flush", &self.target))?;
        self.keep = true;
        Ok((digest, bytes))
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), err = %error, "partial blob stays");
        }
    }
}

pub(crate) fn verify(what: &str, expected: &Digest, actual: Digest) -> Result<(), ImageError> {
    if *expected == actual {
        return Ok(());
    }
    Err(ImageError::DigestMismatch {
        what: what.to_owned(),
        expected: *expected,
        actual,
    })
}

#[cfg(test)]
mod tests;
