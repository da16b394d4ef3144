//! A pod's volumes: resolved through the API, set up on disk, handed to containers as mounts.
//!
//! ConfigMaps, Secrets, the downward API and tokens become files that change all at once; Secrets
//! and tokens live in memory only. Folder layout as upstream:
//! `<root>/pods/<uid>/volumes/kubernetes.io~<kind>/<name>`.
//! Images are mounted by the runtime.
//! Source: kubernetes v1.36 pkg/volume/{configmap,secret,projected,downwardapi,emptydir,hostpath}.

mod claim;
mod contents;

use std::path::{Path, PathBuf};

use client::{Client, Object};
use nodeapi::cri::{ImageSpec, Mount, MountPropagation};
use schema::Ref;

use crate::config::Config;
use crate::container::expand;
use crate::pod::Knowledge;
use crate::worker::ImageVolumes;

pub(crate) use contents::fetch;

/// Why volumes cannot be set up (yet).
#[derive(Debug, thiserror::Error)]
pub(crate) enum VolumeError {
    /// The disk side failed.
    #[error("MountVolume.SetUp failed for volume {name:?} ")]
    SetUp {
        /// Volume's name.
        name: String,
        /// Why.
        #[source]
        cause: volumes::VolumeError,
    },
    /// A referenced object could not be read.
    #[error("MountVolume.SetUp failed for volume {name:?} ")]
    Fetch {
        /// Volume's name.
        name: String,
        /// Why.
        #[source]
        cause: client::Error,
    },
    /// A reference that leads nowhere.
    #[error("MountVolume.SetUp failed for volume {name:?} : {reason}")]
    Reference {
        /// Volume's name.
        name: String,
        /// In which way.
        reason: String,
    },
    /// A path below a volume that is not there or leads out of it.
    #[error("failed to prepare subPath for volumeMount {name:?} of container {container:?}")]
    SubPath {
        /// Volume's name.
        name: String,
        /// Container's name.
        container: String,
    },
    /// A path below an image that leads out of it.
    #[error("unable to provision SubPath `{0}`: must not contain '..'")]
    Backsteps(String),
    /// A path below an image that does not begin there.
    #[error("error SubPath `{0}` must not be an absolute path")]
    Absolute(String),
    /// A local volume's folder that is not there.
    #[error(
        "MountVolume.NewMounter initialization failed for volume {volume:?} : path {path:?} does not exist"
    )]
    Missing {
        /// Name of the PersistentVolume.
        volume: String,
        /// Where it should be.
        path: PathBuf,
    },
    /// A volume type that this node does not offer.
    #[error("volume {name:?} is of type {kind}, which this node does not offer")]
    Type {
        /// Volume's name.
        name: String,
        /// The type's field.
        kind: String,
    },
}

/// What all volumes of one round of setting up share.
pub(crate) struct Round<'a> {
    config: &'a Config,
    client: &'a Client,
    object: &'a Object,
    known: &'a Knowledge,
    now: jiff::Timestamp,
}

/// Sets volumes up and takes them down. Holds nothing: the disk is the state.
#[derive(Clone, Debug, Default)]
pub(crate) struct Volumes {
    root: PathBuf,
}

impl Volumes {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            root: config.root.clone(),
        }
    }

    /// Makes all volumes of the pod; safe to repeat, which also refreshes their files. One that
    /// fails does not keep the others.
    pub(crate) async fn set_up(
        &self,
        config: &Config,
        client: &Client,
        object: &Object,
        known: &Knowledge,
        now: jiff::Timestamp,
    ) -> Result<(), Vec<VolumeError>> {
        let Ok(dom) = object.parse() else {
            return Ok(());
        };
        let round = Round {
            config,
            client,
            object,
            known,
            now,
        };
        let mut failed = Vec::new();
        let spec = dom.as_ref().get("spec");
        for volume in spec.into_iter().flat_map(|spec| spec.items("volumes")) {
            let made = self.set_up_one(&round, dom.as_ref(), volume).await;
            failed.extend(made.err());
        }
        match failed.is_empty() {
            true => Ok(()),
            false => Err(failed),
        }
    }

    async fn set_up_one(
        &self,
        round: &Round<'_>,
        pod: Ref<'_>,
        volume: Ref<'_>,
    ) -> Result<(), VolumeError> {
        let group = pod
            .at(&["spec", "securityContext"])
            .and_then(|context| context.int("fsGroup"))
            .and_then(|group| u32::try_from(group).ok());
        let name = volume.str("name").to_owned();
        let dir = self.dir(round.object.uid(), volume);
        let disk = |cause| VolumeError::SetUp {
            name: name.clone(),
            cause,
        };
        match kind_of(volume) {
            "emptyDir" => {
                let empty = volume.get("emptyDir");
                let memory = empty.is_some_and(|empty| empty.str("medium") == "Memory");
                let limit = empty
                    .and_then(|empty| api::Quantity::parse(empty.str("sizeLimit")).ok())
                    .and_then(|limit| u64::try_from(limit.value()).ok())
                    .filter(|limit| *limit > 0);
                make_dir(&dir, memory, limit, group).map_err(disk)
            }
            "hostPath" => {
                let Some(host) = volume.get("hostPath") else {
                    return Ok(());
                };
                let kind = volumes::HostPathType::parse(host.str("type")).unwrap_or_default();
                volumes::check_host_path(Path::new(host.str("path")), kind).map_err(disk)
            }
            "persistentVolumeClaim" | "ephemeral" => {
                let backing = claim::backing(round, pod, volume).await?;
                match &backing.host_type {
                    Some(kind) => {
                        let kind = volumes::HostPathType::parse(kind).unwrap_or_default();
                        volumes::check_host_path(&backing.path, kind).map_err(disk)?;
                    }
                    None if !backing.path.exists() => {
                        let (volume, path) = (backing.volume, backing.path);
                        return Err(VolumeError::Missing { volume, path });
                    }
                    None => {}
                }
                // The link says to later starts, and to later lives of this process, what it is.
                point_to(&dir, &backing.path).map_err(disk)
            }
            "configMap" | "secret" | "projected" | "downwardAPI" => {
                let files = contents::files(round, pod, volume, group, &dir).await?;
                let memory = matches!(kind_of(volume), "secret" | "projected");
                make_dir(&dir, memory, None, group).map_err(disk)?;
                volumes::write_files(&dir, &files, &stamp(), group)
                    .map(drop)
                    .map_err(disk)
            }
            // The runtime mounts it into each container.
            "image" => Ok(()),
            other => Err(VolumeError::Type {
                name,
                kind: other.to_owned(),
            }),
        }
    }

    /// The mounts that a container asks for.
    pub(crate) async fn mounts(
        &self,
        config: &Config,
        object: &Object,
        container: Ref<'_>,
        environment: &[(String, String)],
        images: &ImageVolumes,
    ) -> Result<Vec<Mount>, VolumeError> {
        let Ok(dom) = object.parse() else {
            return Ok(Vec::new());
        };
        let Some(spec) = dom.as_ref().get("spec") else {
            return Ok(Vec::new());
        };
        let mut mounts = Vec::new();
        for (index, wanted) in container.items("volumeMounts").enumerate() {
            let name = wanted.str("name").to_owned();
            let volume = spec
                .items("volumes")
                .find(|volume| volume.str("name") == name);
            let Some(volume) = volume else {
                let reason = "the pod has no such volume".to_owned();
                return Err(VolumeError::Reference { name, reason });
            };
            let lookup = |variable: &str| {
                environment
                    .iter()
                    .find(|(known, _)| known == variable)
                    .map(|(_, v)| v.clone())
            };
            let sub_path = match (wanted.str("subPath"), wanted.str("subPathExpr")) {
                ("", "") => String::new(),
                ("", expression) => expand(expression, lookup),
                (path, _) => path.to_owned(),
            };
            if let Some(image) = images.get(&name) {
                mounts.push(image_mount(wanted, image.clone(), sub_path)?);
                continue;
            }
            let dir = self.dir(object.uid(), volume);
            let mut from = match (volume.get("hostPath"), kind_of(volume)) {
                (Some(host), _) => PathBuf::from(host.str("path")),
                (None, "persistentVolumeClaim" | "ephemeral") => {
                    std::fs::read_link(&dir).map_err(|cause| VolumeError::SetUp {
                        name: name.clone(),
                        cause: volumes::VolumeError::Io {
                            operation: "read link",
                            path: dir,
                            cause,
                        },
                    })?
                }
                (None, _) => dir,
            };
            if !sub_path.is_empty() {
                let target = config
                    .pod_dir(object.uid())
                    .join("volume-subpaths")
                    .join(&name)
                    .join(container.str("name"))
                    .join(index.to_string());
                // Bound anew for each start: what the path means may have changed.
                let disk = |cause| VolumeError::SetUp {
                    name: name.clone(),
                    cause,
                };
                volumes::unmount_below(&target).map_err(disk)?;
                volumes::bind_sub_path(&from, &sub_path, &target).map_err(|error| {
                    // Upstream tells the pod no more than this either.
                    tracing::warn!(
                        uid = object.uid(),
                        volume = name,
                        err = %base::Chain(&error),
                        "subPath not prepared"
                    );
                    VolumeError::SubPath {
                        name: name.clone(),
                        container: container.str("name").to_owned(),
                    }
                })?;
                from = target;
            }
            let read_only_kind = matches!(
                kind_of(volume),
                "configMap" | "secret" | "projected" | "downwardAPI"
            ) || volume
                .get("persistentVolumeClaim")
                .is_some_and(|claim| claim.bool("readOnly") == Some(true));
            mounts.push(Mount {
                container_path: wanted.str("mountPath").to_owned(),
                host_path: from.to_string_lossy().into_owned(),
                readonly: wanted.bool("readOnly").unwrap_or(false) || read_only_kind,
                recursive_read_only: wanted.str("recursiveReadOnly") == "Enabled",
                propagation: propagation(wanted),
                ..Mount::default()
            });
        }
        Ok(mounts)
    }

    /// Unmounts and removes a pod's volumes; what fails is tried again at the next start.
    pub(crate) async fn tear_down(&self, uid: &str) {
        let dir = self.root.join("pods").join(uid);
        for part in ["volume-subpaths", "volumes"] {
            if let Err(error) = volumes::remove_tree(&dir.join(part)) {
                tracing::warn!(uid, err = %base::Chain(&error), "volumes not removed");
            }
        }
    }

    /// Removes everything of a pod that is gone: its folder and its logs.
    pub(crate) async fn forget(&self, config: &Config, key: &client::Key, uid: &str) {
        let logs = config.pod_logs(&key.namespace, &key.name, uid);
        for dir in [config.pod_dir(uid), logs] {
            if let Err(error) = volumes::remove_tree(&dir) {
                tracing::warn!(uid, err = %base::Chain(&error), "pod's folder not removed");
            }
        }
    }

    fn dir(&self, uid: &str, volume: Ref<'_>) -> PathBuf {
        let kind = match kind_of(volume) {
            "emptyDir" => "empty-dir".to_owned(),
            "downwardAPI" => "downward-api".to_owned(),
            other => other.to_lowercase(),
        };
        self.root
            .join("pods")
            .join(uid)
            .join("volumes")
            .join(format!("kubernetes.io~{kind}"))
            .join(volume.str("name"))
    }
}

/// Whether a pod has files that follow API objects, and so are looked at again.
pub(crate) fn follows_objects(object: &Object) -> bool {
    object.parse().is_ok_and(|dom| {
        let spec = dom.as_ref().get("spec");
        spec.into_iter()
            .flat_map(|spec| spec.items("volumes"))
            .any(|volume| {
                matches!(
                    kind_of(volume),
                    "configMap" | "secret" | "projected" | "downwardAPI"
                )
            })
    })
}

/// The field that says the volume's type.
fn kind_of<'a>(volume: Ref<'a>) -> &'a str {
    volume
        .map()
        .map(|(key, _)| key)
        .find(|key| *key != "name")
        .unwrap_or("emptyDir")
}

/// An image's mount: the runtime finds the path, read-only as all of it.
fn image_mount(wanted: Ref<'_>, image: ImageSpec, sub_path: String) -> Result<Mount, VolumeError> {
    if sub_path.starts_with('/') {
        return Err(VolumeError::Absolute(sub_path));
    }
    if sub_path.split('/').any(|part| part == "..") {
        return Err(VolumeError::Backsteps(sub_path));
    }
    Ok(Mount {
        container_path: wanted.str("mountPath").to_owned(),
        readonly: true,
        recursive_read_only: wanted.str("recursiveReadOnly") == "Enabled",
        propagation: propagation(wanted),
        image: Some(image),
        image_sub_path: sub_path,
        ..Mount::default()
    })
}

fn propagation(wanted: Ref<'_>) -> i32 {
    i32::from(match wanted.str("mountPropagation") {
        "HostToContainer" => MountPropagation::PropagationHostToContainer,
        "Bidirectional" => MountPropagation::PropagationBidirectional,
        _ => MountPropagation::PropagationPrivate,
    })
}

/// Makes `link` lead to `path`, whatever it was before.
fn point_to(link: &Path, path: &Path) -> Result<(), volumes::VolumeError> {
    let fail = |operation: &'static str| {
        let path = link.to_owned();
        move |cause| volumes::VolumeError::Io {
            operation,
            path,
            cause,
        }
    };
    if std::fs::read_link(link).is_ok_and(|known| known == path) {
        return Ok(());
    }
    if let Some(parent) = link.parent() {
        std::fs::create_dir_all(parent).map_err(fail("create the folder of"))?;
    }
    match std::fs::remove_file(link) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(fail("remove")(error));
        }
        _ => {}
    }
    std::os::unix::fs::symlink(path, link).map_err(fail("link"))
}

fn make_dir(
    dir: &Path,
    memory: bool,
    limit: Option<u64>,
    group: Option<u32>,
) -> Result<(), volumes::VolumeError> {
    use std::os::unix::fs::PermissionsExt;
    let fail = |operation: &'static str| {
        let path = dir.to_owned();
        move |cause| volumes::VolumeError::Io {
            operation,
            path,
            cause,
        }
    };
    std::fs::create_dir_all(dir).map_err(fail("create folder"))?;
    if memory {
        volumes::make_tmpfs(dir, limit)?;
    }
    if group.is_some() {
        std::os::unix::fs::chown(dir, None, group).map_err(fail("change the group of"))?;
    }
    let mode = if group.is_some() { 0o2777 } else { 0o777 };
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(mode))
        .map_err(fail("change the mode of"))
}

/// Names the folder of one generation of files.
fn stamp() -> String {
    let mut random = [0; 8];
    base::Rng::fill_secret(&mut random);
    format!("{:016x}", u64::from_le_bytes(random))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use schema::Dom;

    use super::*;

    #[track_caller]
    fn check(sub_path: &str, expect: Expect) {
        let wanted = Dom::parse_json(br#"{"name":"v","mountPath":"/in"}"#).unwrap();
        let image = ImageSpec {
            image: "sha256:aa".to_owned(),
            ..ImageSpec::default()
        };
        let got = match image_mount(wanted.as_ref(), image, sub_path.to_owned()) {
            Ok(mount) => format!(
                "{} {:?} of {:?} at {}, read-only: {}",
                mount.image.unwrap().image,
                mount.image_sub_path,
                mount.host_path,
                mount.container_path,
                mount.readonly
            ),
            Err(error) => error.to_string(),
        };
        expect.assert_eq(&got);
    }

    #[test]
    fn mounts_of_images() {
        check(
            "",
            expect![[r#"sha256:aa "" of "" at /in, read-only: true"#]],
        );
        check(
            "a/..b",
            expect![[r#"sha256:aa "a/..b" of "" at /in, read-only: true"#]],
        );
        check(
            "a/../b",
            expect!["unable to provision SubPath `a/../b`: must not contain '..'"],
        );
        check(
            "/a",
            expect!["error SubPath `/a` must not be an absolute path"],
        );
    }
}
