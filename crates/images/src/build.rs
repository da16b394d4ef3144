//! A tiny image builder: files on an empty root, as an OCI archive, without a registry.
//!
//! Deterministic: owner 0, time 0, so the same files give the same digests. Enough for demos and
//! tests; no base images, no commands.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use crate::digest::Digest;
use crate::error::{ImageError, at};
use crate::manifest::{
    ConfigDocument, Descriptor, ImageConfig, Index, Manifest, OCI_CONFIG, OCI_INDEX, OCI_LAYER,
    OCI_LAYER_GZIP, OCI_MANIFEST, Platform, RootFs,
};
use crate::reference::Reference;
use crate::tar::Writer;

/// An image to build.
#[derive(Clone, Debug, Default)]
pub struct Build {
    /// Layers, lowest first: plain tar archives.
    layers: Vec<Vec<u8>>,
    compress: bool,
    config: ImageConfig,
}

impl Build {
    /// An empty image.
    pub fn new(config: ImageConfig) -> Build {
        Build {
            layers: Vec::new(),
            compress: true,
            config,
        }
    }

    /// Layers as plain tar, where speed counts more than size.
    #[must_use]
    pub fn uncompressed(mut self) -> Build {
        self.compress = false;
        self
    }

    /// Adds a layer of files (path, mode, contents) and the folders that they are in.
    pub fn files(mut self, files: &[(&str, u32, &[u8])]) -> Result<Build, ImageError> {
        let write = || -> io::Result<Vec<u8>> {
            let mut tar = Writer::new(Vec::new());
            let mut made = std::collections::BTreeSet::new();
            for (path, mode, contents) in files {
                let path = path.trim_start_matches('/');
                for (end, _) in path.match_indices('/') {
                    if made.insert(&path[..end]) {
                        let named = end + 1 == path.len();
                        tar.directory(&path[..=end], if named { *mode } else { 0o755 })?;
                    }
                }
                if path.ends_with('/') {
                    continue;
                }
                tar.file(path, *mode, contents)?;
            }
            tar.finish()
        };
        let layer = write().map_err(|cause| ImageError::Read {
            what: "layer".into(),
            cause,
        })?;
        self.layers.push(layer);
        Ok(self)
    }

    /// Adds a layer of symbolic links (path, target).
    pub fn links(mut self, links: &[(&str, &str)]) -> Result<Build, ImageError> {
        let write = || -> io::Result<Vec<u8>> {
            let mut tar = Writer::new(Vec::new());
            for (path, target) in links {
                let path = path.trim_start_matches('/').as_bytes();
                tar.entry(b'2', path, target.as_bytes(), 0o777, b"")?;
            }
            tar.finish()
        };
        let layer = write().map_err(|cause| ImageError::Read {
            what: "layer".into(),
            cause,
        })?;
        self.layers.push(layer);
        Ok(self)
    }

    /// Adds a layer that is a tar archive already.
    #[must_use]
    pub fn layer(mut self, tar: Vec<u8>) -> Build {
        self.layers.push(tar);
        self
    }

    /// The image as an OCI archive with one name.
    pub fn archive(&self, reference: &Reference) -> Result<Vec<u8>, ImageError> {
        let wrong = |cause| ImageError::Read {
            what: format!("image {reference}"),
            cause,
        };
        self.write(reference).map_err(wrong)
    }

    fn write(&self, reference: &Reference) -> io::Result<Vec<u8>> {
        let mut blobs: Vec<Vec<u8>> = Vec::new();
        let mut diff_ids = Vec::new();
        let mut layers = Vec::new();
        for tar in &self.layers {
            diff_ids.push(Digest::of(tar));
            let (blob, media_type) = if self.compress {
                let mut gzip =
                    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                gzip.write_all(tar)?;
                (gzip.finish()?, OCI_LAYER_GZIP)
            } else {
                (tar.clone(), OCI_LAYER)
            };
            layers.push(describe(media_type, &blob));
            blobs.push(blob);
        }
        let config = serde_json::to_vec(&ConfigDocument {
            created: Some("1970-01-01T00:00:00Z".to_owned()),
            platform: Platform::host(),
            config: self.config.clone(),
            rootfs: RootFs {
                kind: "layers".to_owned(),
                diff_ids,
            },
        })?;
        let manifest = serde_json::to_vec(&Manifest {
            schema_version: 2,
            media_type: OCI_MANIFEST.to_owned(),
            config: describe(OCI_CONFIG, &config),
            layers,
        })?;
        let mut entry = describe(OCI_MANIFEST, &manifest);
        entry.platform = Some(Platform::host());
        entry
            .annotations
            .insert("io.containerd.image.name".into(), reference.to_string());
        let tag = reference.tag.clone().unwrap_or_else(|| "latest".to_owned());
        entry
            .annotations
            .insert("org.opencontainers.image.ref.name".into(), tag);
        let index = serde_json::to_vec(&Index {
            schema_version: 2,
            media_type: OCI_INDEX.to_owned(),
            manifests: vec![entry],
        })?;
        blobs.extend([config, manifest]);

        let mut tar = Writer::new(Vec::new());
        tar.file("oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        tar.file("index.json", 0o644, &index)?;
        tar.directory("blobs/", 0o755)?;
        tar.directory("blobs/sha256/", 0o755)?;
        let mut written = std::collections::BTreeSet::new();
        for blob in &blobs {
            let digest = Digest::of(blob);
            if written.insert(digest) {
                tar.file(&format!("blobs/sha256/{}", digest.hex()), 0o644, blob)?;
            }
        }
        tar.finish()
    }
}

fn describe(media_type: &str, bytes: &[u8]) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
        platform: None,
        annotations: BTreeMap::new(),
    }
}

/// One static binary on an empty root (with `/tmp`, `/etc/passwd` and `/etc/group`), as an OCI
/// archive. The binary lies at the first word of `entrypoint`.
pub fn single_binary(
    binary: &Path,
    entrypoint: &[&str],
    reference: &str,
) -> Result<Vec<u8>, ImageError> {
    let reference: Reference = reference.parse()?;
    let bytes = std::fs::read(binary).map_err(at("read", binary))?;
    let target = entrypoint.first().copied().unwrap_or("/app");
    let config = ImageConfig {
        entrypoint: entrypoint.iter().map(|word| (*word).to_owned()).collect(),
        env: vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()],
        ..ImageConfig::default()
    };
    let mut tar = Writer::new(Vec::new());
    let mut write = || -> io::Result<()> {
        tar.directory("tmp/", 0o1777)?;
        tar.directory("etc/", 0o755)?;
        tar.file(
            "etc/passwd",
            0o644,
            b"root:x:0:0:root:/:\nnobody:x:65534:65534:nobody:/:\n",
        )?;
        tar.file("etc/group", 0o644, b"root:x:0:\nnogroup:x:65534:\n")
    };
    let wrong = |cause| ImageError::Read {
        what: format!("image {reference}"),
        cause,
    };
    write().map_err(wrong)?;
    let base = tar.finish().map_err(wrong)?;
    let files: &[(&str, u32, &[u8])] = &[(target, 0o755, &bytes)];
    // It goes no further than this host: compression would only cost time.
    Build::new(config)
        .uncompressed()
        .layer(base)
        .files(files)?
        .archive(&reference)
}
