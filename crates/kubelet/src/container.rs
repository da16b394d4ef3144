//! From a pod's text to what the runtime is told: environment, security, resources, mounts. Pure.

mod downward;
mod env;
mod expand;
mod pull_secrets;
mod resources;
mod sandbox;
mod security;
mod spec;

pub use downward::{NodeFacts, field, resource_field};
pub use env::{Need, Needs, References, ServiceInfo, environment, needs};
pub use expand::expand;
pub(crate) use pull_secrets::{Keyring, repository};
pub(crate) use resources::{PERIOD_MICROSECONDS, limits};
pub(crate) use sandbox::hostname;
pub use sandbox::{PodContext, sandbox_config};
pub use spec::{ConfigError, ContainerInput, container_config};

/// Labels and annotations by which the runtime's objects are found again after a restart.
/// Source: kubernetes v1.36 staging/src/k8s.io/kubelet types/labels.go,
/// pkg/kubelet/kuberuntime/labels.go.
pub mod label {
    /// Pod's name.
    pub const POD_NAME: &str = "io.kubernetes.pod.name";
    /// Pod's namespace.
    pub const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
    /// Pod's uid.
    pub const POD_UID: &str = "io.kubernetes.pod.uid";
    /// Container's name.
    pub const CONTAINER_NAME: &str = "io.kubernetes.container.name";
    /// What a change of means a restart.
    pub const CONTAINER_HASH: &str = "io.kubernetes.container.hash";
    /// Attempt.
    pub const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
    /// File with the last words, in the container.
    pub const TERMINATION_PATH: &str = "io.kubernetes.container.terminationMessagePath";
    /// File or FallbackToLogsOnError.
    pub const TERMINATION_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
}
