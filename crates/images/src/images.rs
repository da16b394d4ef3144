//! The front door: resolve, list, pull, import, remove, collect.
//!
//! Owns the order of things: blobs, then layers, then the catalog; and what may be removed when.
//! Whoever runs a container from an image [`Images::hold`]s its layers; sweeping waits while a
//! pull or import is under way. File work runs on threads that may block.

use std::collections::{BTreeSet, HashMap};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base::Clock;
use parking_lot::Mutex;

use crate::blobs::Blobs;
use crate::catalog::{Catalog, LayerRecord, Record};
use crate::digest::Digest;
use crate::error::{ImageError, at};
use crate::flights::Flights;
use crate::import::{self, Found};
use crate::layers::Layers;
use crate::manifest::{ImageConfig, chain_ids};
use crate::reference::Reference;
use crate::unpack::Limits;

/// Where and how images are kept.
#[derive(Clone, Debug)]
pub struct Config {
    /// The store's folder; made if missing.
    pub root: PathBuf,
    /// Bounds of a layer.
    pub limits: Limits,
    /// Changes with every boot (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: String,
}

impl Config {
    /// Defaults for a folder.
    pub fn new(root: impl Into<PathBuf>) -> Config {
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
        Config {
            root: root.into(),
            limits: Limits::default(),
            boot_id: boot_id.unwrap_or_default().trim().to_owned(),
        }
    }
}

/// An image in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// `sha256:…` of its configuration.
    pub id: String,
    /// `registry/repository:tag`.
    pub repo_tags: Vec<String>,
    /// `registry/repository@sha256:…`.
    pub repo_digests: Vec<String>,
    /// What a container starts from.
    pub config: ImageConfig,
    /// Folders for overlayfs' `lowerdir`, topmost first. Never empty.
    pub layers: Vec<PathBuf>,
    /// Bytes of its blobs.
    pub size: u64,
    /// Not to be collected.
    pub pinned: bool,
    /// Seconds since 1970.
    pub last_used: i64,
}

/// What [`Images::collect`] may remove.
#[derive(Clone, Debug, Default)]
pub struct CollectPolicy {
    /// Images unused for longer than this.
    pub max_age: Option<Duration>,
    /// The longest unused ones until what is left fits.
    pub max_bytes: Option<u64>,
    /// Ids or names that stay in any case.
    pub keep: Vec<String>,
}

/// Keeps the layers of an image on disk while a container runs from them.
#[derive(Debug)]
pub struct Hold {
    images: Arc<Inner>,
    layers: Vec<PathBuf>,
}

/// The image store; clones share it.
#[derive(Clone, Debug)]
pub struct Images {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) root: PathBuf,
    pub(crate) blobs: Blobs,
    pub(crate) layers: Layers,
    pub(crate) catalog: Mutex<Catalog>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) pulls: Flights<String>,
    pub(crate) downloads: Flights<Digest>,
    unpacks: Flights<Digest>,
    held: Mutex<HashMap<PathBuf, usize>>,
    /// Shared by pulls and imports, exclusive for a sweep.
    pub(crate) busy: tokio::sync::RwLock<()>,
}

impl Images {
    /// Opens or makes a store. Removes nothing that an image or container may need.
    pub fn open(config: Config, clock: Arc<dyn Clock>) -> Result<Images, ImageError> {
        let root = config.root;
        std::fs::create_dir_all(&root).map_err(at("create", &root))?;
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&root, private).map_err(at("change the mode of", &root))?;
        Ok(Images {
            inner: Arc::new(Inner {
                blobs: Blobs::open(&root)?,
                layers: Layers::open(&root, &config.boot_id, config.limits)?,
                catalog: Mutex::new(Catalog::open(&root)?),
                clock,
                pulls: Flights::new(),
                downloads: Flights::new(),
                unpacks: Flights::new(),
                held: Mutex::new(HashMap::new()),
                busy: tokio::sync::RwLock::new(()),
                root,
            }),
        })
    }

    /// An image by id, tag or digest. Its layers are there; see [`Images::ensure_unpacked`] for
    /// after a power cut.
    pub fn resolve(&self, reference: &str) -> Option<Image> {
        let mut catalog = self.inner.catalog.lock();
        let (id, _) = catalog.find(reference)?;
        catalog.touch(&id, self.inner.now());
        let record = catalog.images().get(&id)?;
        Some(self.inner.image(&id, record))
    }

    /// All images.
    pub fn list(&self) -> Vec<Image> {
        let catalog = self.inner.catalog.lock();
        catalog
            .images()
            .iter()
            .map(|(id, record)| self.inner.image(id, record))
            .collect()
    }

    /// Unpacks again what a power cut may have taken; quick if nothing is missing.
    pub async fn ensure_unpacked(&self, reference: &str) -> Result<Image, ImageError> {
        let _busy = self.inner.busy.read().await;
        let found = self
            .inner
            .catalog
            .lock()
            .find(reference)
            .map(|(id, record)| (id, record.clone()));
        let (id, record) = found.ok_or_else(|| ImageError::NotPresent(reference.to_owned()))?;
        self.inner.unpack_all(&record.layers).await?;
        Ok(self.inner.image(&id, &record))
    }

    /// The same, and holds the layers before anything can remove them: what a container starts
    /// with.
    pub async fn acquire(&self, reference: &str) -> Result<(Image, Hold), ImageError> {
        let (image, hold) = {
            let _busy = self.inner.busy.read().await;
            let image = self.resolve(reference);
            let image = image.ok_or_else(|| ImageError::NotPresent(reference.to_owned()))?;
            let hold = self.hold(&image);
            (image, hold)
        };
        self.ensure_unpacked(&image.id).await?;
        Ok((image, hold))
    }

    /// Imports an archive (OCI or docker, plain or compressed). `name` replaces its own names.
    pub async fn import(
        &self,
        reader: impl Read + Send + 'static,
        name: Option<&str>,
    ) -> Result<Vec<Image>, ImageError> {
        let name = name.map(str::parse::<Reference>).transpose()?;
        self.import_with(move |blobs| import::archive(blobs, reader, name.as_ref()))
            .await
    }

    /// Imports an OCI layout in a folder.
    pub async fn import_layout(
        &self,
        folder: &Path,
        name: Option<&str>,
    ) -> Result<Vec<Image>, ImageError> {
        let name = name.map(str::parse::<Reference>).transpose()?;
        let folder = folder.to_owned();
        self.import_with(move |blobs| import::layout(blobs, &folder, name.as_ref()))
            .await
    }

    async fn import_with(
        &self,
        read: impl FnOnce(&Blobs) -> Result<Vec<Found>, ImageError> + Send + 'static,
    ) -> Result<Vec<Image>, ImageError> {
        let result = {
            let _busy = self.inner.busy.read().await;
            let inner = self.inner.clone();
            let found = blocking("import", move || read(&inner.blobs)).await;
            match found {
                Ok(found) => self.adopt_all(found).await,
                Err(error) => Err(error),
            }
        };
        // Blobs that no image names, and those of a failed import.
        self.sweep().await?;
        result
    }

    async fn adopt_all(&self, found: Vec<Found>) -> Result<Vec<Image>, ImageError> {
        let mut images = Vec::new();
        for found in found {
            images.push(self.inner.adopt(found).await?);
        }
        Ok(images)
    }

    /// Removes an image and all its names, as CRI wants it, by any of them. A held image's layers
    /// stay on disk until it is let go. Removing what is not there is fine.
    pub async fn remove(&self, reference: &str) -> Result<(), ImageError> {
        let inner = self.inner.clone();
        let reference = reference.to_owned();
        let removed = blocking("remove", move || {
            let mut catalog = inner.catalog.lock();
            let Some((id, _)) = catalog.find(&reference) else {
                return Ok(false);
            };
            catalog.remove(&id)?;
            Ok(true)
        })
        .await?;
        if removed {
            self.sweep().await?;
        }
        Ok(())
    }

    /// Keeps the layers of `image` while the guard lives.
    pub fn hold(&self, image: &Image) -> Hold {
        self.hold_layers(&image.layers)
    }

    /// The same by folders: for containers found at start. Take these before the first pull,
    /// import, removal or collection.
    pub fn hold_layers(&self, layers: &[PathBuf]) -> Hold {
        let mut held = self.inner.held.lock();
        for layer in layers {
            *held.entry(layer.clone()).or_default() += 1;
        }
        Hold {
            images: self.inner.clone(),
            layers: layers.to_vec(),
        }
    }

    /// Removes images by age and size, the longest unused first; held, pinned and kept ones stay.
    /// Returns the ids of what went.
    pub async fn collect(&self, policy: &CollectPolicy) -> Result<Vec<String>, ImageError> {
        let now = self.inner.now();
        let mut images = self.list();
        images.sort_by_key(|image| image.last_used);
        let keep: BTreeSet<String> = policy
            .keep
            .iter()
            .filter_map(|name| self.peek(name))
            .collect();
        let mut total: u64 = images.iter().map(|image| image.size).sum();
        let mut gone = Vec::new();
        for image in images {
            // Lower layers are shared; the topmost one tells whether this image is in use.
            let held = image
                .layers
                .first()
                .is_some_and(|layer| self.inner.is_held(layer));
            if image.pinned || held || keep.contains(&image.id) {
                continue;
            }
            let age = u64::try_from(now - image.last_used).unwrap_or(0);
            let old = policy.max_age.is_some_and(|limit| age > limit.as_secs());
            let big = policy.max_bytes.is_some_and(|limit| total > limit);
            if old || big {
                total = total.saturating_sub(image.size);
                self.remove(&image.id).await?;
                gone.push(image.id);
            }
        }
        Ok(gone)
    }

    /// Removes blobs and layers that no image needs and no container holds. Bytes freed; nothing
    /// happens while a pull or import is under way, for they end with a sweep of their own.
    pub async fn sweep(&self) -> Result<u64, ImageError> {
        let Ok(_exclusive) = self.inner.busy.try_write() else {
            return Ok(0);
        };
        let inner = self.inner.clone();
        blocking("sweep", move || {
            let catalog = inner.catalog.lock();
            let (blobs, chains) = (catalog.needs_blob(), catalog.needs_layer());
            drop(catalog);
            let freed = inner
                .blobs
                .sweep(inner.now(), |digest| blobs.contains(digest))?;
            let unpacked = inner.layers.sweep(|chain| {
                chains.contains(chain) || inner.is_held(&inner.layers.path(chain))
            })?;
            Ok(freed + unpacked)
        })
        .await
    }

    /// Bytes and inodes that the store's file system has in use for images, and its mount point's
    /// path (CRI ImageFsInfo).
    pub async fn usage(&self) -> Result<Usage, ImageError> {
        let inner = self.inner.clone();
        blocking("measure", move || {
            let catalog = inner.catalog.lock();
            let blobs: u64 = catalog
                .needs_blob()
                .iter()
                .filter_map(|digest| inner.blobs.size(digest))
                .sum();
            let layers: u64 = catalog
                .needs_layer()
                .iter()
                .map(|chain| inner.layers.bytes(chain))
                .sum();
            Ok(Usage {
                path: inner.root.clone(),
                bytes: blobs + layers,
            })
        })
        .await
    }

    fn peek(&self, reference: &str) -> Option<String> {
        self.inner
            .catalog
            .lock()
            .find(reference)
            .map(|(id, _)| id.to_string())
    }
}

/// What images take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The store's folder.
    pub path: PathBuf,
    /// Bytes of blobs and unpacked layers.
    pub bytes: u64,
}

impl Inner {
    pub(crate) fn now(&self) -> i64 {
        self.clock.now().as_second()
    }

    pub(crate) fn image(&self, id: &Digest, record: &Record) -> Image {
        Image {
            id: id.to_string(),
            repo_tags: record.repo_tags.iter().cloned().collect(),
            repo_digests: record.repo_digests.iter().cloned().collect(),
            config: record.config.clone(),
            layers: record
                .layers
                .iter()
                .rev()
                .map(|layer| self.layers.path(&layer.chain))
                .collect(),
            size: record.size,
            pinned: record.pinned,
            last_used: record.last_used,
        }
    }

    fn is_held(&self, layer: &Path) -> bool {
        self.held.lock().contains_key(layer)
    }

    /// Unpacks an image whose blobs are there and puts it into the catalog.
    pub(crate) async fn adopt(self: &Arc<Inner>, found: Found) -> Result<Image, ImageError> {
        let layers = layer_records(&found.manifest, &found.config.rootfs.diff_ids)?;
        self.unpack_all(&layers).await?;
        let id = found.manifest.config.digest;
        let target = found.index.unwrap_or(found.manifest_digest);
        let blobs: u64 = layers.iter().map(|layer| layer.size).sum();
        let record = Record {
            manifest: found.manifest_digest,
            index: found
                .index
                .filter(|digest| self.blobs.size(digest).is_some()),
            repo_tags: found.names.iter().filter_map(Reference::repo_tag).collect(),
            repo_digests: found
                .names
                .iter()
                .map(|name| name.repo_digest(&target))
                .collect(),
            config: found.config.config,
            size: blobs + found.manifest.config.size,
            layers,
            last_used: self.now(),
            pinned: false,
        };
        let inner = self.clone();
        let image = blocking("store", move || {
            let mut catalog = inner.catalog.lock();
            catalog.insert(id, record)?;
            let record = &catalog.images()[&id];
            Ok(inner.image(&id, record))
        })
        .await?;
        let inner = self.clone();
        // Nobody waits for the disk: until then the layers count for this boot only.
        drop(tokio::task::spawn_blocking(move || {
            if let Err(error) = inner.layers.flush() {
                tracing::warn!(err = %error, "unpacked layers are not flushed");
            }
        }));
        Ok(image)
    }

    async fn unpack_all(self: &Arc<Inner>, layers: &[LayerRecord]) -> Result<(), ImageError> {
        for top in 0..layers.len() {
            self.unpack(layers, top).await?;
        }
        Ok(())
    }

    /// Unpacks layer number `top`; those below are there.
    pub(crate) async fn unpack(
        self: &Arc<Inner>,
        layers: &[LayerRecord],
        top: usize,
    ) -> Result<(), ImageError> {
        let layer = layers[top].clone();
        if self.layers.contains(&layer.chain) {
            return Ok(());
        }
        let _one = self.unpacks.hold(&layer.chain).await;
        let below: Vec<Digest> = layers[..top]
            .iter()
            .rev()
            .map(|layer| layer.chain)
            .collect();
        let inner = self.clone();
        blocking("unpack", move || {
            let LayerRecord {
                blob,
                diff_id,
                chain,
                ..
            } = layer;
            inner
                .layers
                .ensure(&inner.blobs, &blob, diff_id, &chain, &below)
        })
        .await
    }
}

pub(crate) fn layer_records(
    manifest: &crate::manifest::Manifest,
    diff_ids: &[Digest],
) -> Result<Vec<LayerRecord>, ImageError> {
    if manifest.layers.is_empty() {
        return Err(ImageError::malformed("image manifest", "it has no layers"));
    }
    let stack = manifest
        .layers
        .iter()
        .zip(diff_ids)
        .zip(chain_ids(diff_ids));
    Ok(stack
        .map(|((layer, diff_id), chain)| LayerRecord {
            blob: layer.digest,
            size: layer.size,
            diff_id: *diff_id,
            chain,
        })
        .collect())
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = self.images.held.lock();
        for layer in &self.layers {
            if let Some(count) = held.get_mut(layer) {
                *count -= 1;
                if *count == 0 {
                    held.remove(layer);
                }
            }
        }
    }
}

/// Runs file work on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> Result<T, ImageError> + Send + 'static,
) -> Result<T, ImageError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or(Err(ImageError::Interrupted(what)))
}

#[cfg(test)]
mod tests;
