//! What the kubelet keeps of a desired pod: a narrow struct, read once per revision.
//!
//! Environment, mounts and security context stay in the object's DOM and are read when a container
//! is created; here is only what decisions need.

use client::{Key, Object};
use jiff::Timestamp;
use schema::Ref;

/// A desired pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodSpec {
    /// Namespace and name.
    pub key: Key,
    /// Uid.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// When the deletion was asked for; includes the grace period.
    pub deletion: Option<Deletion>,
    /// Pod's restart policy.
    pub restart_policy: RestartPolicy,
    /// Init containers in order.
    pub init: Vec<ContainerSpec>,
    /// Containers in order.
    pub containers: Vec<ContainerSpec>,
    /// Ephemeral containers in order.
    pub ephemeral: Vec<ContainerSpec>,
    /// Default of a stop.
    pub grace_seconds: i64,
    /// The pod fails when it ran longer.
    pub active_deadline_seconds: Option<i64>,
    /// The node's own network.
    pub host_network: bool,
    /// Further conditions that Ready waits for.
    pub readiness_gates: Vec<String>,
    /// `status.phase` as the API has it: a finished pod never starts again.
    pub reported_phase: String,
}

/// A deletion that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// When the grace period ends.
    pub at: Timestamp,
    /// How long it is.
    pub grace_seconds: i64,
}

/// When containers start again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Whatever the exit code.
    #[default]
    Always,
    /// After a failure.
    OnFailure,
    /// Never.
    Never,
}

/// Which list a container stands in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// `spec.containers`.
    #[default]
    Main,
    /// `spec.initContainers`, runs to completion.
    Init,
    /// `spec.initContainers` with `restartPolicy: Always`.
    Sidecar,
    /// `spec.ephemeralContainers`.
    Ephemeral,
}

/// A desired container.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContainerSpec {
    /// Name.
    pub name: String,
    /// Image as written.
    pub image: String,
    /// Which list.
    pub kind: Kind,
    /// The container's own restart policy, when it has one.
    pub restart_policy: Option<RestartPolicy>,
    /// Must succeed before the others start.
    pub startup: Option<Probe>,
    /// Restarts when it fails.
    pub liveness: Option<Probe>,
    /// Ready while it succeeds.
    pub readiness: Option<Probe>,
    /// Hooks.
    pub lifecycle: Lifecycle,
    /// What a change of means a restart.
    pub hash: String,
    /// Ends after which the container starts again, whatever its policy says.
    pub restart_rules: Vec<RestartRule>,
    /// What its control group is to allow.
    pub limits: Limits,
    /// Whether a change of (CPU, memory) needs a restart.
    pub resize_restarts: (bool, bool),
    /// `resources.requests` and `resources.limits` as written, for the status.
    pub resources: [Vec<(String, String)>; 2],
    /// Mounts, for the status.
    pub mounts: Vec<MountSpec>,
}

/// One of `restartPolicyRules`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestartRule {
    /// The exit codes are meant, or all others.
    pub within: bool,
    /// Exit codes.
    pub exit_codes: Vec<i32>,
}

/// The part of a container's limits that can be changed while it runs; 0: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Weight of its processor time.
    pub cpu_shares: i64,
    /// Microseconds of processor time per period.
    pub cpu_quota: i64,
    /// Bytes.
    pub memory_bytes: i64,
}

/// A mount as the status shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountSpec {
    /// Volume's name.
    pub name: String,
    /// Where.
    pub path: String,
    /// Cannot be written.
    pub read_only: bool,
    /// `Disabled`, `IfPossible` or `Enabled`; empty: not said.
    pub recursive: String,
}

/// Hooks around a container's life.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lifecycle {
    /// Right after the start.
    pub post_start: Option<Handler>,
    /// Before the stop signal.
    pub pre_stop: Option<Handler>,
}

/// What a probe or hook does.
#[derive(Clone, Debug, PartialEq)]
pub enum Handler {
    /// Runs a command in the container.
    Exec(Vec<String>),
    /// Requests a path; 200–399 succeed.
    Http {
        /// Empty: the pod's address.
        host: String,
        /// Number or name.
        port: String,
        /// Path and query.
        path: String,
        /// HTTPS (the certificate is not verified, as upstream).
        https: bool,
        /// Headers.
        headers: Vec<(String, String)>,
    },
    /// Opens a connection.
    Tcp {
        /// Empty: the pod's address.
        host: String,
        /// Number or name.
        port: String,
    },
    /// Asks the gRPC health service.
    Grpc {
        /// Port.
        port: i64,
        /// Service name.
        service: String,
    },
    /// Waits.
    Sleep(i64),
}

/// A probe with upstream's defaults filled in by the API server.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// What it does.
    pub handler: Handler,
    /// First probe after the start.
    pub initial_delay_seconds: i64,
    /// Distance of probes.
    pub period_seconds: i64,
    /// How long one may take.
    pub timeout_seconds: i64,
    /// Successes in a row that count.
    pub success_threshold: i64,
    /// Failures in a row that count.
    pub failure_threshold: i64,
    /// Overrides the pod's grace period when this probe kills.
    pub grace_seconds: Option<i64>,
}

impl PodSpec {
    /// Reads a pod; `None` when the object is not one.
    pub fn read(object: &Object) -> Option<Self> {
        let dom = object.parse().ok()?;
        let pod = dom.as_ref();
        let (metadata, spec) = (pod.get("metadata")?, pod.get("spec")?);
        let deletion = metadata
            .str("deletionTimestamp")
            .parse::<Timestamp>()
            .ok()
            .map(|at| Deletion {
                at,
                grace_seconds: metadata.int("deletionGracePeriodSeconds").unwrap_or(0),
            });
        let read = |list: &str, kind: Kind| -> Vec<ContainerSpec> {
            spec.items(list)
                .map(|container| ContainerSpec::read(container, kind))
                .collect()
        };
        Some(Self {
            key: object.key().clone(),
            uid: object.uid().to_owned(),
            generation: metadata.int("generation").unwrap_or(0),
            deletion,
            restart_policy: RestartPolicy::read(spec.str("restartPolicy")).unwrap_or_default(),
            init: read("initContainers", Kind::Init),
            containers: read("containers", Kind::Main),
            ephemeral: read("ephemeralContainers", Kind::Ephemeral),
            grace_seconds: spec.int("terminationGracePeriodSeconds").unwrap_or(30),
            active_deadline_seconds: spec.int("activeDeadlineSeconds"),
            host_network: spec.bool("hostNetwork").unwrap_or(false),
            readiness_gates: spec
                .items("readinessGates")
                .map(|gate| gate.str("conditionType").to_owned())
                .collect(),
            reported_phase: pod
                .get("status")
                .map_or("", |status| status.str("phase"))
                .to_owned(),
        })
    }

    /// All containers: init, main, ephemeral.
    pub fn all(&self) -> impl Iterator<Item = &ContainerSpec> {
        self.init
            .iter()
            .chain(&self.containers)
            .chain(&self.ephemeral)
    }

    /// The container of that name.
    pub fn container(&self, name: &str) -> Option<&ContainerSpec> {
        self.all().find(|container| container.name == name)
    }

    /// The policy that counts for one container.
    pub fn restart_policy_of(&self, container: &ContainerSpec) -> RestartPolicy {
        match container.kind {
            Kind::Sidecar => RestartPolicy::Always,
            Kind::Ephemeral => RestartPolicy::Never,
            Kind::Main => container.restart_policy.unwrap_or(self.restart_policy),
            Kind::Init => match container.restart_policy.unwrap_or(self.restart_policy) {
                RestartPolicy::Never => RestartPolicy::Never,
                RestartPolicy::Always | RestartPolicy::OnFailure => RestartPolicy::OnFailure,
            },
        }
    }

    /// Whether a container starts again after this exit code.
    /// Source: kubernetes v1.36 pkg/api/v1/pod/util.go, ContainerShouldRestart.
    pub fn restarts_after(&self, container: &ContainerSpec, exit_code: i32) -> bool {
        let ruled = container
            .restart_rules
            .iter()
            .any(|rule| rule.exit_codes.contains(&exit_code) == rule.within);
        if ruled && container.restart_policy.is_some() {
            return true;
        }
        match self.restart_policy_of(container) {
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure => exit_code != 0,
            RestartPolicy::Never => false,
        }
    }

    /// Succeeded or Failed according to the API.
    pub fn is_reported_finished(&self) -> bool {
        matches!(self.reported_phase.as_str(), "Succeeded" | "Failed")
    }

    /// `name_namespace(uid)`, as upstream's messages have it.
    pub fn title(&self) -> String {
        format!("{}_{}({})", self.key.name, self.key.namespace, self.uid)
    }
}

impl RestartPolicy {
    fn read(text: &str) -> Option<Self> {
        match text {
            "Always" => Some(Self::Always),
            "OnFailure" => Some(Self::OnFailure),
            "Never" => Some(Self::Never),
            _ => None,
        }
    }
}

impl ContainerSpec {
    fn read(container: Ref<'_>, kind: Kind) -> Self {
        let own_policy = RestartPolicy::read(container.str("restartPolicy"));
        let kind = match (kind, own_policy) {
            (Kind::Init, Some(RestartPolicy::Always)) => Kind::Sidecar,
            _ => kind,
        };
        let probe = |name: &str| container.get(name).and_then(Probe::read);
        let hook = |name: &str| container.at(&["lifecycle", name]).and_then(Handler::read);
        let image = container.str("image").to_owned();
        Self {
            name: container.str("name").to_owned(),
            // Only the image of a running container can be changed in place.
            hash: image.clone(),
            image,
            kind,
            restart_policy: own_policy,
            startup: probe("startupProbe"),
            liveness: probe("livenessProbe"),
            readiness: probe("readinessProbe"),
            lifecycle: Lifecycle {
                post_start: hook("postStart"),
                pre_stop: hook("preStop"),
            },
            restart_rules: container
                .items("restartPolicyRules")
                .filter(|rule| rule.str("action") == "Restart")
                .filter_map(|rule| rule.get("exitCodes"))
                .map(|codes| RestartRule {
                    within: codes.str("operator") == "In",
                    exit_codes: codes
                        .items("values")
                        .filter_map(|code| i32::try_from(code.as_int()?).ok())
                        .collect(),
                })
                .collect(),
            limits: crate::container::limits(container),
            resize_restarts: {
                let restarts = |resource: &str| {
                    container.items("resizePolicy").any(|policy| {
                        policy.str("resourceName") == resource
                            && policy.str("restartPolicy") == "RestartContainer"
                    })
                };
                (restarts("cpu"), restarts("memory"))
            },
            resources: ["requests", "limits"].map(|list| {
                let list = container.at(&["resources", list]);
                list.into_iter()
                    .flat_map(|list| list.map())
                    .map(|(name, amount)| {
                        let amount = amount.as_str().unwrap_or_default();
                        (name.to_owned(), amount.to_owned())
                    })
                    .collect()
            }),
            mounts: container
                .items("volumeMounts")
                .map(|mount| MountSpec {
                    name: mount.str("name").to_owned(),
                    path: mount.str("mountPath").to_owned(),
                    read_only: mount.bool("readOnly").unwrap_or(false),
                    recursive: mount.str("recursiveReadOnly").to_owned(),
                })
                .collect(),
        }
    }
}

impl Handler {
    fn read(handler: Ref<'_>) -> Option<Self> {
        let port = |of: Ref<'_>| match of.get("port") {
            Some(port) => port
                .as_int()
                .map(|number| number.to_string())
                .or_else(|| port.as_str().map(str::to_owned))
                .unwrap_or_default(),
            None => String::new(),
        };
        if let Some(exec) = handler.get("exec") {
            let command = exec
                .items("command")
                .filter_map(|word| word.as_str().map(str::to_owned));
            return Some(Self::Exec(command.collect()));
        }
        if let Some(http) = handler.get("httpGet") {
            return Some(Self::Http {
                host: http.str("host").to_owned(),
                port: port(http),
                path: http.str("path").to_owned(),
                https: http.str("scheme") == "HTTPS",
                headers: http
                    .items("httpHeaders")
                    .map(|header| {
                        (
                            header.str("name").to_owned(),
                            header.str("value").to_owned(),
                        )
                    })
                    .collect(),
            });
        }
        if let Some(tcp) = handler.get("tcpSocket") {
            return Some(Self::Tcp {
                host: tcp.str("host").to_owned(),
                port: port(tcp),
            });
        }
        if let Some(grpc) = handler.get("grpc") {
            return Some(Self::Grpc {
                port: grpc.int("port").unwrap_or(0),
                service: grpc.str("service").to_owned(),
            });
        }
        handler
            .get("sleep")
            .map(|sleep| Self::Sleep(sleep.int("seconds").unwrap_or(0)))
    }
}

impl Probe {
    fn read(probe: Ref<'_>) -> Option<Self> {
        let or = |name: &str, default: i64| probe.int(name).filter(|n| *n > 0).unwrap_or(default);
        Some(Self {
            handler: Handler::read(probe)?,
            initial_delay_seconds: or("initialDelaySeconds", 0),
            period_seconds: or("periodSeconds", 10),
            timeout_seconds: or("timeoutSeconds", 1),
            success_threshold: or("successThreshold", 1),
            failure_threshold: or("failureThreshold", 3),
            grace_seconds: probe.int("terminationGracePeriodSeconds"),
        })
    }
}
