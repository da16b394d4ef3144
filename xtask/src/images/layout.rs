//! An OCI image layout with many images that share layers, as one archive.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::Result;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::layer::Layer;

/// How an image starts.
#[derive(Clone)]
pub(crate) struct Config(Value);

impl Config {
    pub(crate) fn new(entrypoint: &[&str], command: &[&str]) -> Config {
        let mut config = json!({"Env": [super::PATHS], "WorkingDir": "/"});
        if !entrypoint.is_empty() {
            config["Entrypoint"] = json!(entrypoint);
        }
        if !command.is_empty() {
            config["Cmd"] = json!(command);
        }
        Config(config)
    }

    pub(crate) fn user(mut self, user: &str) -> Config {
        self.0["User"] = json!(user);
        self
    }

    pub(crate) fn label(mut self, key: &str, value: &str) -> Config {
        self.0["Labels"][key] = json!(value);
        self
    }

    pub(crate) fn ports(mut self, ports: &[u16]) -> Config {
        for port in ports {
            self.0["ExposedPorts"][format!("{port}/tcp")] = json!({});
        }
        self
    }
}

/// A layer that the layout holds.
#[derive(Clone, Copy)]
pub(crate) struct LayerId(usize);

#[derive(Default)]
pub(crate) struct Layout {
    blobs: BTreeMap<String, Vec<u8>>,
    /// Descriptor and digest of the plain tar.
    layers: Vec<(Value, String)>,
    images: Vec<Value>,
}

impl Layout {
    pub(crate) fn len(&self) -> usize {
        self.images.len()
    }

    pub(crate) fn layer(&mut self, layer: Layer) -> Result<LayerId> {
        let tar = layer.finish()?;
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&tar)?;
        let media_type = "application/vnd.oci.image.layer.v1.tar+gzip";
        let descriptor = self.blob(media_type, gzip.finish()?);
        self.layers.push((descriptor, digest(&tar)));
        Ok(LayerId(self.layers.len() - 1))
    }

    pub(crate) fn image(&mut self, name: &str, config: &Config, layers: &[LayerId]) -> Result<()> {
        let diff_ids: Vec<&String> = layers.iter().map(|id| &self.layers[id.0].1).collect();
        let document = json!({
            "created": "1970-01-01T00:00:00Z",
            "architecture": "amd64",
            "os": "linux",
            "config": config.0,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let descriptors: Vec<Value> = layers
            .iter()
            .map(|id| self.layers[id.0].0.clone())
            .collect();
        let config = self.blob(
            "application/vnd.oci.image.config.v1+json",
            serde_json::to_vec(&document)?,
        );
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": config,
            "layers": descriptors,
        });
        let mut entry = self.blob(media_type, serde_json::to_vec(&manifest)?);
        entry["annotations"] = json!({
            "io.containerd.image.name": name,
            "org.opencontainers.image.ref.name": name,
        });
        self.images.push(entry);
        Ok(())
    }

    fn blob(&mut self, media_type: &str, bytes: Vec<u8>) -> Value {
        let digest = digest(&bytes);
        let descriptor = json!({"mediaType": media_type, "digest": digest, "size": bytes.len()});
        self.blobs.insert(digest, bytes);
        descriptor
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let mut tar = Layer::new();
        tar.file("oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": self.images,
        });
        tar.file("index.json", 0o644, &serde_json::to_vec(&index)?)?;
        for (digest, bytes) in &self.blobs {
            let name = format!("blobs/{}", digest.replace(':', "/"));
            tar.file(&name, 0o644, bytes)?;
        }
        let mut file = BufWriter::new(File::create(path)?);
        file.write_all(&tar.finish()?)?;
        file.flush()?;
        Ok(())
    }
}

fn digest(bytes: &[u8]) -> String {
    let mut text = "sha256:".to_owned();
    for byte in Sha256::digest(bytes) {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}
