//! Archives and folders with images: OCI layouts and what `docker save` writes.
//!
//! Every file becomes a blob under its own digest (what nobody refers to is swept later), then
//! the documents are read from there. Formats: `index.json` (OCI), else `manifest.json` (docker).
//! Blocking.
//! Source: OCI image specification 1.1 image-layout.md; docker image specification v1.2.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

use serde::Deserialize;

use crate::blobs::Blobs;
use crate::digest::Digest;
use crate::error::{ImageError, at};
use crate::manifest::{
    ConfigDocument, Descriptor, Document, Index, MAX_DOCUMENT, MAX_LAYERS, Manifest, OCI_CONFIG,
    OCI_LAYER, OCI_MANIFEST, Platform,
};
use crate::reference::Reference;
use crate::tar::{Kind, Reader};
use crate::unpack;

/// The most files an archive may have.
const MAX_FILES: usize = 20_000;
/// The largest file in an archive.
const MAX_FILE: u64 = 64 << 30;
/// Indexes in indexes.
const MAX_NESTING: usize = 4;

/// One image of an archive whose blobs are stored.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) names: BTreeSet<Reference>,
    pub(crate) index: Option<Digest>,
    pub(crate) manifest_digest: Digest,
    pub(crate) manifest: Manifest,
    pub(crate) config: ConfigDocument,
}

/// Files by their path in the archive.
#[derive(Default)]
struct Files {
    blobs: BTreeMap<String, (Digest, u64)>,
    links: BTreeMap<String, String>,
}

impl Files {
    fn get(&self, path: &str) -> Option<(Digest, u64)> {
        let mut path = path;
        // `docker save` of old links equal layers: ../OTHER/layer.tar.
        for _ in 0..4 {
            if let Some(blob) = self.blobs.get(path) {
                return Some(*blob);
            }
            path = self.links.get(path)?;
        }
        None
    }

    fn check_count(&self) -> Result<(), ImageError> {
        if self.blobs.len() + self.links.len() < MAX_FILES {
            return Ok(());
        }
        let what = "number of files of the archive".to_owned();
        Err(ImageError::Limit {
            what,
            limit: MAX_FILES as u64,
        })
    }
}

/// Stores the blobs of an archive (tar, also compressed) and lists its images. `name` is for an
/// archive that names none.
pub(crate) fn archive(
    blobs: &Blobs,
    reader: impl Read + Send,
    name: Option<&Reference>,
) -> Result<Vec<Found>, ImageError> {
    let plain = unpack::decompress(reader).map_err(|cause| ImageError::Read {
        what: "the archive".into(),
        cause,
    })?;
    let mut tar = Reader::new(plain);
    let mut files = Files::default();
    while let Some(entry) = tar.next()? {
        let path = String::from_utf8_lossy(&entry.path);
        let path = path.trim_start_matches("./").to_owned();
        files.check_count()?;
        match entry.kind {
            Kind::File if entry.pieces.is_none() => {
                let blob = store(blobs, &path, &mut tar.data())?;
                files.blobs.insert(path, blob);
            }
            Kind::Symlink | Kind::HardLink => {
                let link = String::from_utf8_lossy(&entry.link).into_owned();
                let target = if entry.kind == Kind::Symlink {
                    beside(&path, &link)
                } else {
                    link
                };
                files.links.insert(path, target);
            }
            _ => {}
        }
    }
    images(blobs, &files, name)
}

/// The same for an OCI layout in a folder.
pub(crate) fn layout(
    blobs: &Blobs,
    folder: &Path,
    name: Option<&Reference>,
) -> Result<Vec<Found>, ImageError> {
    let mut files = Files::default();
    let shas = folder.join("blobs/sha256");
    let mut paths = vec!["index.json".to_owned()];
    for entry in std::fs::read_dir(&shas).map_err(at("list", &shas))? {
        let entry = entry.map_err(at("list", &shas))?;
        paths.push(format!(
            "blobs/sha256/{}",
            entry.file_name().to_string_lossy()
        ));
    }
    for path in paths {
        files.check_count()?;
        let file = folder.join(&path);
        let mut reader = std::fs::File::open(&file).map_err(at("open", &file))?;
        let blob = store(blobs, &path, &mut reader)?;
        files.blobs.insert(path, blob);
    }
    images(blobs, &files, name)
}

/// A file whose name is a digest has to be what it says.
fn store(blobs: &Blobs, path: &str, data: &mut dyn Read) -> Result<(Digest, u64), ImageError> {
    let promised = path.strip_prefix("blobs/sha256/");
    let promised = promised.and_then(|hex| format!("sha256:{hex}").parse::<Digest>().ok());
    blobs.copy(data, promised.map(|digest| (path, digest)), MAX_FILE)
}

/// A relative link seen from its folder; what climbs too far leads nowhere.
fn beside(path: &str, link: &str) -> String {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn images(
    blobs: &Blobs,
    files: &Files,
    name: Option<&Reference>,
) -> Result<Vec<Found>, ImageError> {
    let read = |path: &str| match files.get(path) {
        Some((digest, _)) => blobs.read(&digest, MAX_DOCUMENT).map(Some),
        None => Ok(None),
    };
    let docker = read("manifest.json")?;
    let mut found = Vec::new();
    if let Some(index) = read("index.json")? {
        let index: Index = serde_json::from_slice(&index)
            .map_err(|error| ImageError::malformed("index.json", error))?;
        // Docker writes both; its index has full names only in recent releases.
        let named = index
            .manifests
            .iter()
            .any(|entry| entry.annotations.contains_key(FULL_NAME));
        if named || docker.is_none() {
            for entry in &index.manifests {
                if entry.annotations.contains_key("vnd.docker.reference.type") {
                    continue;
                }
                found.push(from_index(blobs, entry, name)?);
            }
            if found.is_empty() {
                return Err(ImageError::malformed("index.json", "it names no image"));
            }
            return Ok(found);
        }
    }
    let Some(docker) = docker else {
        let reason = "neither index.json (OCI) nor manifest.json (docker) is in it";
        return Err(ImageError::malformed("archive", reason));
    };
    let entries: Vec<DockerImage> = serde_json::from_slice(&docker)
        .map_err(|error| ImageError::malformed("manifest.json", error))?;
    for entry in entries {
        found.push(from_docker(blobs, files, entry, name)?);
    }
    Ok(found)
}

const FULL_NAME: &str = "io.containerd.image.name";
const REF_NAME: &str = "org.opencontainers.image.ref.name";

fn from_index(
    blobs: &Blobs,
    entry: &Descriptor,
    name: Option<&Reference>,
) -> Result<Found, ImageError> {
    let mut names = BTreeSet::new();
    if let Some(name) = name {
        names.insert(name.clone());
    } else if let Some(full) = entry.annotations.get(FULL_NAME) {
        names.insert(full.parse()?);
    } else if let Some(text) = entry.annotations.get(REF_NAME) {
        // By the specification this is a tag; podman and buildah write a whole reference.
        if text.contains(['/', ':']) {
            names.insert(text.parse()?);
        }
    }
    let what = || format!("manifest {}", entry.digest);
    let mut digest = entry.digest;
    let mut index_digest = None;
    for _ in 0..MAX_NESTING {
        if blobs.size(&digest).is_none() {
            return Err(ImageError::malformed(
                "archive",
                format!("it lacks {digest}"),
            ));
        }
        let bytes = blobs.read(&digest, MAX_DOCUMENT)?;
        match Document::parse(&what(), &bytes)? {
            Document::Index(index) => {
                index_digest.get_or_insert(digest);
                digest = index.choose(&what(), &Platform::host())?.digest;
            }
            Document::Manifest(manifest) => {
                return finish(blobs, names, index_digest, digest, manifest);
            }
        }
    }
    Err(ImageError::malformed(what(), "indexes nested too deep"))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// A docker archive has no manifest of a registry; one is made, as pushing it would.
fn from_docker(
    blobs: &Blobs,
    files: &Files,
    image: DockerImage,
    name: Option<&Reference>,
) -> Result<Found, ImageError> {
    if image.layers.len() > MAX_LAYERS {
        let what = "number of layers of the image".to_owned();
        return Err(ImageError::Limit {
            what,
            limit: MAX_LAYERS as u64,
        });
    }
    let descriptor = |path: &str, media_type: &str| match files.get(path) {
        Some((digest, size)) => Ok(Descriptor {
            media_type: media_type.to_owned(),
            digest,
            size,
            platform: None,
            annotations: BTreeMap::new(),
        }),
        None => Err(ImageError::malformed(
            "archive",
            format!("it lacks {path:?}"),
        )),
    };
    let layers: Result<_, _> = image
        .layers
        .iter()
        .map(|path| descriptor(path, OCI_LAYER))
        .collect();
    let manifest = Manifest {
        schema_version: 2,
        media_type: OCI_MANIFEST.to_owned(),
        config: descriptor(&image.config, OCI_CONFIG)?,
        layers: layers?,
    };
    let mut names = BTreeSet::new();
    match name {
        Some(name) => drop(names.insert(name.clone())),
        None => {
            for tag in image.repo_tags.unwrap_or_default() {
                names.insert(tag.parse()?);
            }
        }
    }
    let bytes =
        serde_json::to_vec(&manifest).map_err(|error| ImageError::malformed("manifest", error))?;
    let digest = blobs.put(&bytes)?;
    finish(blobs, names, None, digest, manifest)
}

fn finish(
    blobs: &Blobs,
    names: BTreeSet<Reference>,
    index: Option<Digest>,
    manifest_digest: Digest,
    manifest: Manifest,
) -> Result<Found, ImageError> {
    for part in manifest.layers.iter().chain([&manifest.config]) {
        match blobs.size(&part.digest) {
            None => {
                let reason = format!("it lacks {}", part.digest);
                return Err(ImageError::malformed("archive", reason));
            }
            Some(actual) if actual != part.size => {
                let what = format!("blob {}", part.digest);
                return Err(ImageError::SizeMismatch {
                    what,
                    expected: part.size,
                    actual,
                });
            }
            Some(_) => {}
        }
    }
    let what = names
        .first()
        .map_or_else(|| manifest_digest.to_string(), Reference::to_string);
    let bytes = blobs.read(&manifest.config.digest, MAX_DOCUMENT)?;
    let config = ConfigDocument::parse(&what, &bytes, manifest.layers.len())?;
    Ok(Found {
        names,
        index,
        manifest_digest,
        manifest,
        config,
    })
}
