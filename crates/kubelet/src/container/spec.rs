//! What the runtime is told about one container.
//!
//! Source: kubernetes v1.36 pkg/kubelet/kuberuntime/kuberuntime_container.go,
//! generateContainerConfig.

use std::collections::BTreeMap;

use nodeapi::cri::{
    ContainerConfig, ContainerMetadata, Image, ImageSpec, KeyValue, LinuxContainerConfig, Mount,
};
use schema::Ref;

use crate::container::security::ImageUser;
use crate::container::{Need, PodContext, expand, label, resources, security};

/// Why a container cannot be described to the runtime; shown as CreateContainerConfigError.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A referenced object does not exist.
    #[error("{kind} {name:?} not found")]
    Missing {
        /// `configmap` or `secret`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A key of a referenced object does not exist.
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    MissingKey {
        /// Key.
        key: String,
        /// Kind.
        kind: &'static str,
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
    },
    /// A field path that the downward API does not have.
    #[error("unsupported fieldPath: {path}")]
    Field {
        /// The path.
        path: String,
    },
    /// The pod lacks what the API server guarantees.
    #[error("the pod is malformed")]
    Malformed,
    /// runAsNonRoot with runAsUser 0.
    #[error("container's runAsUser breaks non-root policy ({title})")]
    RunsAsRoot {
        /// Pod and container.
        title: String,
    },
    /// runAsNonRoot with an image of root's.
    #[error("container has runAsNonRoot and image will run as root ({title})")]
    ImageRunsAsRoot {
        /// Pod and container.
        title: String,
    },
    /// runAsNonRoot with a user name.
    #[error(
        "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root ({title})"
    )]
    NonNumericUser {
        /// The image's user.
        user: String,
        /// Pod and container.
        title: String,
    },
}

impl ConfigError {
    pub(crate) fn missing(need: &Need) -> Self {
        let (kind, name) = match need {
            Need::ConfigMap(name) => ("configmap", name),
            Need::Secret(name) => ("secret", name),
        };
        Self::Missing {
            kind,
            name: name.clone(),
        }
    }

    pub(crate) fn missing_key(need: &Need, namespace: &str, key: &str) -> Self {
        let (kind, name) = match need {
            Need::ConfigMap(name) => ("ConfigMap", name),
            Need::Secret(name) => ("Secret", name),
        };
        let (key, namespace, name) = (key.to_owned(), namespace.to_owned(), name.clone());
        Self::MissingKey {
            key,
            kind,
            namespace,
            name,
        }
    }
}

/// All that one container's configuration is made of.
#[derive(Debug)]
pub struct ContainerInput<'a> {
    /// The pod.
    pub pod: Ref<'a>,
    /// The container in it.
    pub container: Ref<'a>,
    /// Restart number.
    pub attempt: u32,
    /// What a change of means a restart.
    pub hash: &'a str,
    /// The resolved image.
    pub image: &'a Image,
    /// The environment.
    pub environment: Vec<(String, String)>,
    /// The mounts.
    pub mounts: Vec<Mount>,
    /// Runtime's id of the container whose processes an ephemeral container sees.
    pub target_id: Option<&'a str>,
}

/// The container's configuration.
pub fn container_config(
    input: ContainerInput<'_>,
    context: &PodContext,
) -> Result<ContainerConfig, ConfigError> {
    let ContainerInput {
        pod,
        container,
        attempt,
        hash,
        image,
        environment,
        mounts,
        target_id,
    } = input;
    let metadata = pod.get("metadata").ok_or(ConfigError::Malformed)?;
    let spec = pod.get("spec").ok_or(ConfigError::Malformed)?;
    let name = container.str("name");
    let title = format!(
        "pod: \"{}_{}({})\", container: {name}",
        metadata.str("name"),
        metadata.str("namespace"),
        metadata.str("uid")
    );
    let image_user = ImageUser {
        uid: image.uid.as_ref().map(|uid| uid.value),
        name: image.username.clone(),
    };
    let lookup = |variable: &str| {
        environment
            .iter()
            .find(|(known, _)| known == variable)
            .map(|(_, value)| value.clone())
    };
    let words = |list: &str| -> Vec<String> {
        let words = container.items(list).filter_map(|word| word.as_str());
        words.map(|word| expand(word, lookup)).collect()
    };
    let (command, args) = (words("command"), words("args"));
    let labels = [
        (label::POD_NAME, metadata.str("name")),
        (label::POD_NAMESPACE, metadata.str("namespace")),
        (label::POD_UID, metadata.str("uid")),
        (label::CONTAINER_NAME, name),
    ];
    let restarts = attempt.to_string();
    let annotations = [
        (label::CONTAINER_HASH, hash),
        (label::RESTART_COUNT, restarts.as_str()),
        (
            label::TERMINATION_PATH,
            container.str("terminationMessagePath"),
        ),
        (
            label::TERMINATION_POLICY,
            container.str("terminationMessagePolicy"),
        ),
    ];
    let own = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    };
    let critical = spec
        .int("priority")
        .is_some_and(|priority| priority >= 2_000_000_000);
    Ok(ContainerConfig {
        metadata: Some(ContainerMetadata {
            name: name.to_owned(),
            attempt,
        }),
        image: Some(ImageSpec {
            image: image.id.clone(),
            user_specified_image: container.str("image").to_owned(),
            ..ImageSpec::default()
        }),
        command,
        args,
        working_dir: container.str("workingDir").to_owned(),
        envs: environment
            .iter()
            .map(|(key, value)| KeyValue {
                key: key.clone(),
                value: value.clone().into(),
            })
            .collect(),
        mounts,
        labels: own(&labels),
        annotations: own(&annotations),
        log_path: format!("{name}/{attempt}.log"),
        stdin: container.bool("stdin").unwrap_or(false),
        stdin_once: container.bool("stdinOnce").unwrap_or(false),
        tty: container.bool("tty").unwrap_or(false),
        linux: Some(LinuxContainerConfig {
            resources: Some(resources::container_resources(
                container,
                &context.qos,
                critical,
                context.node_memory_bytes,
            )),
            security_context: Some(security::container_security(
                spec,
                container,
                &image_user,
                target_id,
                &context.seccomp_profiles,
                &title,
            )?),
        }),
        ..ContainerConfig::default()
    })
}
