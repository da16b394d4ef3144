//! Which images there are: names → configuration → manifest and layers.
//!
//! One small file, replaced atomically and flushed on every change; in memory a map by image id.
//! Owns names (a tag belongs to one image at a time) and what keeps blobs and layers alive.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::{ImageError, at};
use crate::manifest::ImageConfig;
use crate::reference::Reference;

const FILE: &str = "images.json";
const VERSION: u32 = 1;

/// One layer of an image, lowest first in [`Record::layers`].
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct LayerRecord {
    pub(crate) blob: Digest,
    pub(crate) size: u64,
    pub(crate) diff_id: Digest,
    pub(crate) chain: Digest,
}

/// One image.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) manifest: Digest,
    #[serde(default)]
    pub(crate) index: Option<Digest>,
    pub(crate) repo_tags: BTreeSet<String>,
    pub(crate) repo_digests: BTreeSet<String>,
    pub(crate) layers: Vec<LayerRecord>,
    pub(crate) config: ImageConfig,
    /// Bytes of configuration, manifest and layer blobs.
    pub(crate) size: u64,
    /// Seconds since 1970 of the last pull, import or use.
    pub(crate) last_used: i64,
    #[serde(default)]
    pub(crate) pinned: bool,
}

#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    images: BTreeMap<Digest, Record>,
}

/// See the module. The key is the image id: the digest of its configuration.
#[derive(Debug)]
pub(crate) struct Catalog {
    root: PathBuf,
    images: BTreeMap<Digest, Record>,
}

impl Catalog {
    pub(crate) fn open(root: &Path) -> Result<Catalog, ImageError> {
        let path = root.join(FILE);
        let images = match std::fs::read(&path) {
            Ok(bytes) => {
                let what = || path.display().to_string();
                let document: Document = serde_json::from_slice(&bytes)
                    .map_err(|error| ImageError::malformed(what(), error))?;
                if document.version != VERSION {
                    let reason = format!("version {}, want {VERSION}", document.version);
                    return Err(ImageError::malformed(what(), reason));
                }
                document.images
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(at("read", &path)(error)),
        };
        Ok(Catalog {
            root: root.to_owned(),
            images,
        })
    }

    pub(crate) fn images(&self) -> &BTreeMap<Digest, Record> {
        &self.images
    }

    /// By id (whole, or at least 12 digits of it), tag or digest.
    pub(crate) fn find(&self, text: &str) -> Option<(Digest, &Record)> {
        if let Ok(id) = text.parse::<Digest>() {
            return self.images.get(&id).map(|record| (id, record));
        }
        if let Ok(reference) = text.parse::<Reference>() {
            let wanted = match &reference.digest {
                Some(digest) => reference.repo_digest(digest),
                None => reference.repo_tag()?,
            };
            let named = self
                .images
                .iter()
                .find(|(_, record)| match reference.digest {
                    Some(_) => record.repo_digests.contains(&wanted),
                    None => record.repo_tags.contains(&wanted),
                });
            if let Some((id, record)) = named {
                return Some((*id, record));
            }
        }
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        if hex.len() < 12 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let mut fits = self
            .images
            .iter()
            .filter(|(id, _)| id.hex().starts_with(hex));
        match (fits.next(), fits.next()) {
            (Some((id, record)), None) => Some((*id, record)),
            _ => None,
        }
    }

    /// Adds an image or, if it is there, its names; a tag moves here from any other image.
    pub(crate) fn insert(&mut self, id: Digest, record: Record) -> Result<(), ImageError> {
        let before = self.images.clone();
        for (other, image) in &mut self.images {
            if *other != id {
                image
                    .repo_tags
                    .retain(|tag| !record.repo_tags.contains(tag));
            }
        }
        match self.images.get_mut(&id) {
            Some(image) => {
                image.repo_tags.extend(record.repo_tags);
                image.repo_digests.extend(record.repo_digests);
                image.last_used = image.last_used.max(record.last_used);
                image.pinned |= record.pinned;
                // The same image may come again with blobs compressed in another way.
                image.manifest = record.manifest;
                image.index = record.index;
                image.layers = record.layers;
                image.size = record.size;
            }
            None => drop(self.images.insert(id, record)),
        }
        self.save_or(before)
    }

    /// Removes an image and all its names.
    pub(crate) fn remove(&mut self, id: &Digest) -> Result<(), ImageError> {
        let before = self.images.clone();
        self.images.remove(id);
        self.save_or(before)
    }

    /// Notes a use; written with the next change.
    pub(crate) fn touch(&mut self, id: &Digest, now: i64) {
        if let Some(image) = self.images.get_mut(id) {
            image.last_used = now;
        }
    }

    /// Whether some image needs this blob.
    pub(crate) fn needs_blob(&self) -> BTreeSet<Digest> {
        let mut blobs = BTreeSet::new();
        for (id, image) in &self.images {
            blobs.insert(*id);
            blobs.insert(image.manifest);
            blobs.extend(image.index);
            blobs.extend(image.layers.iter().map(|layer| layer.blob));
        }
        blobs
    }

    /// The unpacked layers that images need.
    pub(crate) fn needs_layer(&self) -> BTreeSet<Digest> {
        let layers = self.images.values().flat_map(|image| &image.layers);
        layers.map(|layer| layer.chain).collect()
    }

    fn save_or(&mut self, before: BTreeMap<Digest, Record>) -> Result<(), ImageError> {
        let saved = self.save();
        if saved.is_err() {
            self.images = before;
        }
        saved
    }

    fn save(&self) -> Result<(), ImageError> {
        let (new, path) = (self.root.join("images.json.new"), self.root.join(FILE));
        let document = Document {
            version: VERSION,
            images: self.images.clone(),
        };
        let bytes = serde_json::to_vec_pretty(&document)
            .map_err(|error| ImageError::malformed("image catalog", error))?;
        let mut file = std::fs::File::create(&new).map_err(at("create", &new))?;
        file.write_all(&bytes).map_err(at("write", &new))?;
        file.sync_data().map_err(at("flush", &new))?;
        std::fs::rename(&new, &path).map_err(at("name", &path))?;
        let root = std::fs::File::open(&self.root).map_err(at("open", &self.root))?;
        root.sync_all().map_err(at("flush", &self.root))
    }
}
