//! Pulling: manifest, then blobs side by side, each layer unpacked as soon as it is whole.
//!
//! Owns the order and the bounds; [`crate::registry`] speaks to the registry, the store verifies.
//! Example: of layers 1 2 3, 2 and 3 download while 1 is unpacked. A download that breaks goes on
//! from where it was, in this pull or in the next one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::{OwnedMutexGuard, mpsc};
use transport::Body;

use crate::blobs::Ingest;
use crate::digest::Digest;
use crate::error::ImageError;
use crate::images::{Image, Images, Inner, blocking, layer_records};
use crate::import::Found;
use crate::manifest::{ConfigDocument, Descriptor, Document, MAX_DOCUMENT, Manifest, Platform};
use crate::reference::Reference;
use crate::registry::{Auth, Registries, Repository};

/// Blobs of one image downloaded at once.
const PARALLEL: usize = 3;
/// Chunks that wait for the disk.
const CHUNKS: usize = 16;
/// A download that stands still for this long is broken.
const STALL: Duration = Duration::from_secs(30);
/// Attempts without a byte of progress before a download fails.
const FRUITLESS: u32 = 4;
/// Attempts of one download in all.
const MAX_ATTEMPTS: u32 = 50;
/// The largest layer blob.
const MAX_BLOB: u64 = 64 << 30;

/// What happens during a pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The manifest is known.
    Resolved {
        /// Of the manifest or index asked for.
        digest: Digest,
        /// Number of layers.
        layers: usize,
        /// Bytes of all layers.
        bytes: u64,
    },
    /// A part of a blob came.
    Downloading {
        /// Which blob.
        digest: Digest,
        /// Bytes so far.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// A blob is whole and right (also if it was there).
    Downloaded {
        /// Which blob.
        digest: Digest,
    },
    /// A layer is on disk.
    Unpacked {
        /// Counted from 1.
        layer: usize,
        /// Number of layers.
        layers: usize,
    },
}

/// Called for each event; has to return quickly.
pub type Progress = Arc<dyn Fn(Event) + Send + Sync>;

impl Images {
    /// Pulls an image: asks the registry even if the name is known, downloads what is missing.
    /// Two pulls of the same reference run one after the other, the second finding all there.
    pub async fn pull(
        &self,
        registries: &Registries,
        reference: &str,
        auth: &Auth,
        progress: Option<Progress>,
    ) -> Result<Image, ImageError> {
        let reference: Reference = reference.parse()?;
        let result = {
            let _busy = self.inner.busy.read().await;
            let _one = self.inner.pulls.hold(&reference.to_string()).await;
            let repository = Repository::new(registries, &reference, auth);
            let pull = Pull {
                store: self.inner.clone(),
                repository,
                reference,
                progress: progress.unwrap_or_else(|| Arc::new(|_| {})),
            };
            pull.run().await
        };
        if result.is_err() {
            // What came of it has no name; partial downloads stay for the next attempt.
            self.sweep().await?;
        }
        result
    }
}

struct Pull {
    store: Arc<Inner>,
    repository: Repository,
    reference: Reference,
    progress: Progress,
}

impl Pull {
    async fn run(&self) -> Result<Image, ImageError> {
        let what = self.reference.to_string();
        let (target, bytes) = self.repository.manifest(&self.reference.selector()).await?;
        let (index, (manifest_digest, bytes), manifest) = match Document::parse(&what, &bytes)? {
            Document::Manifest(manifest) => (None, (target, bytes), manifest),
            Document::Index(list) => {
                let chosen = list.choose(&what, &Platform::host())?.digest;
                self.put(bytes).await?;
                let (digest, bytes) = self.repository.manifest(&chosen.to_string()).await?;
                match Document::parse(&what, &bytes)? {
                    Document::Manifest(manifest) => (Some(target), (digest, bytes), manifest),
                    Document::Index(_) => {
                        return Err(ImageError::malformed(what, "an index inside an index"));
                    }
                }
            }
        };
        self.put(bytes).await?;
        check(&what, &manifest)?;
        (self.progress)(Event::Resolved {
            digest: target,
            layers: manifest.layers.len(),
            bytes: manifest.layers.iter().map(|layer| layer.size).sum(),
        });
        let config = self.config(&manifest).await?;
        let config = ConfigDocument::parse(&what, &config, manifest.layers.len())?;
        self.layers(&manifest, &config).await?;
        let found = Found {
            names: [self.reference.clone()].into(),
            index,
            manifest_digest,
            manifest,
            config,
        };
        self.store.adopt(found).await
    }

    async fn put(&self, bytes: Vec<u8>) -> Result<Digest, ImageError> {
        let store = self.store.clone();
        blocking("store a document", move || store.blobs.put(&bytes)).await
    }

    async fn config(&self, manifest: &Manifest) -> Result<Vec<u8>, ImageError> {
        let Descriptor { digest, size, .. } = manifest.config;
        if self.store.blobs.size(&digest) == Some(size) {
            let store = self.store.clone();
            return blocking("read", move || store.blobs.read(&digest, MAX_DOCUMENT)).await;
        }
        let bytes = self.repository.small_blob(&digest).await?;
        let what = format!("configuration of {}", self.reference);
        if bytes.len() as u64 != size {
            let actual = bytes.len() as u64;
            return Err(ImageError::SizeMismatch {
                what,
                expected: size,
                actual,
            });
        }
        crate::blobs::verify(&what, &digest, Digest::of(&bytes))?;
        self.put(bytes.clone()).await?;
        Ok(bytes)
    }

    /// Downloads a few blobs at once and unpacks in order, both at the same time.
    async fn layers(&self, manifest: &Manifest, config: &ConfigDocument) -> Result<(), ImageError> {
        let records = layer_records(manifest, &config.rootfs.diff_ids)?;
        let layers = records.len();
        let (send, mut receive) = mpsc::channel(layers);
        let download = async move {
            // Owned, so that the future is `Send` for any caller.
            let blobs = manifest.layers.clone();
            let mut done = futures_util::stream::iter(blobs)
                .map(async |layer| self.blob(&layer).await)
                .buffered(PARALLEL);
            while let Some(result) = done.next().await {
                result?;
                // The other side goes away only with an error of its own.
                let _ = send.send(()).await;
            }
            Ok(())
        };
        let unpack = async {
            let mut layer = 0;
            while receive.recv().await.is_some() {
                self.store.unpack(&records, layer).await?;
                layer += 1;
                (self.progress)(Event::Unpacked { layer, layers });
            }
            Ok(())
        };
        tokio::try_join!(download, unpack).map(drop)
    }

    /// Makes sure that a blob is there.
    async fn blob(&self, layer: &Descriptor) -> Result<(), ImageError> {
        let Descriptor { digest, size, .. } = *layer;
        let guard = self.store.downloads.hold(&digest).await;
        if self.store.blobs.size(&digest) != Some(size) {
            self.download(digest, size, guard).await?;
        }
        (self.progress)(Event::Downloaded { digest });
        Ok(())
    }

    async fn download(
        &self,
        digest: Digest,
        size: u64,
        guard: OwnedMutexGuard<()>,
    ) -> Result<(), ImageError> {
        let store = self.store.clone();
        let what = format!("layer {digest} of {}", self.reference);
        let mut file = blocking("open", move || {
            let mut ingest = store.blobs.resume(&digest)?;
            if ingest.bytes() > size {
                ingest.restart()?;
            }
            Ok(Guarded {
                ingest,
                _guard: guard,
            })
        })
        .await?;
        let mut fruitless = 0;
        for attempt in 1..=MAX_ATTEMPTS {
            let before = file.ingest.bytes();
            let broken = if before == size {
                None
            } else {
                let (after, result) = self.part(file, digest, size).await?;
                file = after;
                result.err()
            };
            let bytes = file.ingest.bytes();
            if broken.is_none() && bytes == size {
                return blocking("commit", move || {
                    file.ingest.commit(Some((&what, digest))).map(drop)
                })
                .await;
            }
            let broken = broken.unwrap_or_else(|| ImageError::SizeMismatch {
                what: what.clone(),
                expected: size,
                actual: bytes,
            });
            fruitless = if bytes > before { 0 } else { fruitless + 1 };
            if !broken.transient() || fruitless >= FRUITLESS || attempt == MAX_ATTEMPTS {
                return Err(broken);
            }
            tracing::debug!(image = %self.reference, err = %broken, "download goes on after a break");
        }
        Err(ImageError::Interrupted("download"))
    }

    /// One request: appends what comes. The file comes back with or without an error.
    async fn part(
        &self,
        file: Guarded,
        digest: Digest,
        size: u64,
    ) -> Result<(Guarded, Result<(), ImageError>), ImageError> {
        let from = file.ingest.bytes();
        let (start, body) = match self.repository.blob(&digest, from).await {
            Ok(answer) => answer,
            Err(error) => return Ok((file, Err(error))),
        };
        let (send, mut receive) = mpsc::channel::<Bytes>(CHUNKS);
        let writer = tokio::task::spawn_blocking(move || {
            let mut file = file;
            if start != from {
                file.ingest.restart()?;
            }
            while let Some(chunk) = receive.blocking_recv() {
                file.ingest.write(&chunk)?;
            }
            Ok(file)
        });
        let result = self.copy(body, send, digest, start, size).await;
        let file = writer
            .await
            .unwrap_or(Err(ImageError::Interrupted("download")))?;
        Ok((file, result))
    }

    async fn copy(
        &self,
        mut body: Body,
        send: mpsc::Sender<Bytes>,
        digest: Digest,
        start: u64,
        size: u64,
    ) -> Result<(), ImageError> {
        let registry = || self.reference.registry.clone();
        let mut done = start;
        loop {
            let chunk = match tokio::time::timeout(STALL, body.next()).await {
                Err(_) => {
                    let reason = format!("{digest} stands still for {STALL:?}");
                    return Err(ImageError::Unreachable {
                        registry: registry(),
                        reason,
                    });
                }
                Ok(None) => return Ok(()),
                Ok(Some(Err(error))) => {
                    let reason = format!("{digest}: {}", base::Chain(&error));
                    return Err(ImageError::Unreachable {
                        registry: registry(),
                        reason,
                    });
                }
                Ok(Some(Ok(chunk))) => chunk,
            };
            done += chunk.len() as u64;
            if done > size {
                let reason = format!("{digest} is longer than the {size} bytes of its manifest");
                return Err(ImageError::malformed(self.reference.to_string(), reason));
            }
            if send.send(chunk).await.is_err() {
                return Ok(()); // the writer says why
            }
            (self.progress)(Event::Downloading {
                digest,
                done,
                total: size,
            });
        }
    }
}

/// A partial blob and the right to write it; both go to the writing thread, so that a pull that
/// is given up cannot leave the file to two writers.
struct Guarded {
    ingest: Ingest,
    _guard: OwnedMutexGuard<()>,
}

/// Refuses what is no container image before anything is downloaded.
fn check(what: &str, manifest: &Manifest) -> Result<(), ImageError> {
    let kind = manifest.config.media_type.as_str();
    let image = [
        "",
        crate::manifest::OCI_CONFIG,
        "application/vnd.docker.container.image.v1+json",
    ];
    if !image.contains(&kind) {
        return Err(ImageError::malformed(
            what,
            format!("its configuration is a {kind}"),
        ));
    }
    if manifest.config.size > MAX_DOCUMENT {
        let what = format!("configuration of {what}");
        return Err(ImageError::Limit {
            what,
            limit: MAX_DOCUMENT,
        });
    }
    for layer in &manifest.layers {
        if layer.size > MAX_BLOB {
            return Err(ImageError::Limit {
                what: format!("layer of {what}"),
                limit: MAX_BLOB,
            });
        }
        if layer.media_type.contains("encrypted") {
            return Err(ImageError::malformed(what, "its layers are encrypted"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
