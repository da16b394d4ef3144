//! The documents of an image: index, manifest, configuration; which variant fits this machine.
//!
//! Reads OCI and docker (schema 2) alike; ignores what it does not need. Pure.
//! Source: OCI image specification 1.1 manifest.md, image-index.md, config.md.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::ImageError;

pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub(crate) const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(crate) const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// The largest index, manifest or configuration that is read.
pub(crate) const MAX_DOCUMENT: u64 = 8 << 20;
/// The most layers an image may have.
pub(crate) const MAX_LAYERS: usize = 500;

/// Names a blob.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// What an image runs on.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq, Default)]
pub(crate) struct Platform {
    #[serde(default)]
    pub(crate) os: String,
    #[serde(default)]
    pub(crate) architecture: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) variant: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    #[serde(default)]
    pub(crate) schema_version: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) media_type: String,
    pub(crate) manifests: Vec<Descriptor>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    #[serde(default)]
    pub(crate) schema_version: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) media_type: String,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

/// Either document, told apart by its fields (the media type is optional in OCI).
#[derive(Debug)]
pub(crate) enum Document {
    Index(Index),
    Manifest(Manifest),
}

impl Document {
    pub(crate) fn parse(what: &str, bytes: &[u8]) -> Result<Document, ImageError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Probe {
            #[serde(default)]
            schema_version: u32,
            config: Option<serde::de::IgnoredAny>,
            manifests: Option<serde::de::IgnoredAny>,
        }
        let wrong = |error: serde_json::Error| ImageError::malformed(what, error);
        let probe: Probe = serde_json::from_slice(bytes).map_err(wrong)?;
        if probe.schema_version == 1 {
            return Err(ImageError::malformed(
                what,
                "docker schema 1 is not supported; push again",
            ));
        }
        if probe.manifests.is_some() {
            return Ok(Document::Index(
                serde_json::from_slice(bytes).map_err(wrong)?,
            ));
        }
        if probe.config.is_none() {
            return Err(ImageError::malformed(
                what,
                "neither an index nor an image manifest",
            ));
        }
        let manifest: Manifest = serde_json::from_slice(bytes).map_err(wrong)?;
        if manifest.layers.len() > MAX_LAYERS {
            let what = format!("number of layers of {what}");
            return Err(ImageError::Limit {
                what,
                limit: MAX_LAYERS as u64,
            });
        }
        Ok(Document::Manifest(manifest))
    }
}

impl Platform {
    /// This machine.
    pub(crate) fn host() -> Platform {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", ""),
            "aarch64" => ("arm64", "v8"),
            "arm" => ("arm", "v7"),
            "x86" => ("386", ""),
            "powerpc64" => ("ppc64le", ""),
            other => (other, ""),
        };
        Platform {
            os: "linux".into(),
            architecture: architecture.into(),
            variant: variant.into(),
        }
    }

    /// 0 = does not fit; the best fit has the highest number.
    fn fit(&self, host: &Platform) -> u8 {
        if self.os != host.os || self.architecture != host.architecture {
            return 0;
        }
        match (self.variant.as_str(), host.variant.as_str()) {
            (ours, theirs) if ours == theirs => 3,
            ("", _) => 2,
            (_, "") => 1,
            // An older arm variant runs on a newer one.
            (ours, theirs) if ours < theirs => 1,
            _ => 0,
        }
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() {
            Ok(())
        } else {
            write!(f, "/{}", self.variant)
        }
    }
}

impl Index {
    /// The manifest for this machine; entries without a platform count as a last resort.
    pub(crate) fn choose(&self, what: &str, host: &Platform) -> Result<&Descriptor, ImageError> {
        let images = self.manifests.iter().filter(|entry| {
            // Attestations and signatures hang in indexes too.
            !entry.annotations.contains_key("vnd.docker.reference.type")
        });
        let fit = |entry: &Descriptor| match &entry.platform {
            Some(platform) => u16::from(platform.fit(host)) * 2,
            None => 1,
        };
        // The first of the best ones, as docker and containerd choose.
        let mut best: Option<(u16, &Descriptor)> = None;
        for entry in images {
            let fit = fit(entry);
            if fit > best.map_or(0, |(best, _)| best) {
                best = Some((fit, entry));
            }
        }
        best.map(|(_, entry)| entry).ok_or_else(|| {
            let platforms = self
                .manifests
                .iter()
                .filter_map(|entry| entry.platform.as_ref());
            let mut offered: Vec<String> = platforms.map(Platform::to_string).collect();
            offered.truncate(20);
            ImageError::NoPlatform {
                reference: what.to_owned(),
                wanted: host.to_string(),
                offered: if offered.is_empty() {
                    "nothing".into()
                } else {
                    offered.join(", ")
                },
            }
        })
    }
}

/// The part of an image's configuration that a container starts from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    /// `NAME=value`.
    #[serde(rename = "Env", deserialize_with = "nullable")]
    pub env: Vec<String>,
    /// Runs before `cmd`.
    #[serde(rename = "Entrypoint", deserialize_with = "nullable")]
    pub entrypoint: Vec<String>,
    /// Command, or arguments of the entrypoint.
    #[serde(rename = "Cmd", deserialize_with = "nullable")]
    pub cmd: Vec<String>,
    /// `user[:group]`, names or numbers; empty = root.
    #[serde(rename = "User", deserialize_with = "nullable")]
    pub user: String,
    /// Empty = `/`.
    #[serde(rename = "WorkingDir", deserialize_with = "nullable")]
    pub working_dir: String,
    /// `SIGTERM` or a number; empty = SIGTERM.
    #[serde(rename = "StopSignal", deserialize_with = "nullable")]
    pub stop_signal: String,
    /// Paths that want a volume.
    #[serde(
        rename = "Volumes",
        deserialize_with = "keys",
        serialize_with = "as_keys"
    )]
    pub volumes: Vec<String>,
    /// `80/tcp`.
    #[serde(
        rename = "ExposedPorts",
        deserialize_with = "keys",
        serialize_with = "as_keys"
    )]
    pub exposed_ports: Vec<String>,
    /// Free-form.
    #[serde(rename = "Labels", deserialize_with = "nullable")]
    pub labels: BTreeMap<String, String>,
}

fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// A set in Go's JSON is a map to empty objects.
fn keys<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let map = Option::<BTreeMap<String, serde::de::IgnoredAny>>::deserialize(deserializer)?;
    Ok(map.unwrap_or_default().into_keys().collect())
}

fn as_keys<S: serde::Serializer>(keys: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    let empty: BTreeMap<String, String> = BTreeMap::new();
    serializer.collect_map(keys.iter().map(|key| (key, &empty)))
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ConfigDocument {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) created: Option<String>,
    #[serde(flatten)]
    pub(crate) platform: Platform,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) config: ImageConfig,
    #[serde(default)]
    pub(crate) rootfs: RootFs,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct RootFs {
    #[serde(rename = "type", default)]
    pub(crate) kind: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) diff_ids: Vec<Digest>,
}

impl ConfigDocument {
    /// Parses and checks that there is one diff id for each layer.
    pub(crate) fn parse(
        what: &str,
        bytes: &[u8],
        layers: usize,
    ) -> Result<ConfigDocument, ImageError> {
        let config: ConfigDocument = serde_json::from_slice(bytes)
            .map_err(|error| ImageError::malformed(format!("configuration of {what}"), error))?;
        let ids = config.rootfs.diff_ids.len();
        if ids != layers {
            let reason = format!("{layers} layers but {ids} diff ids");
            return Err(ImageError::malformed(
                format!("configuration of {what}"),
                reason,
            ));
        }
        Ok(config)
    }
}

/// The chain ids of a list of layers: what the stack up to each layer is called.
pub(crate) fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chain: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        chain.push(match chain.last() {
            None => *diff_id,
            Some(parent) => Digest::of(format!("{parent} {diff_id}").as_bytes()),
        });
    }
    chain
}

#[cfg(test)]
mod tests;
