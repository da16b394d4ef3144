//! Starting: sandbox, then one container with its image, configuration and postStart hook.

use std::collections::HashMap;

use base::Chain;
use client::EventType;
use jiff::SignedDuration;
use nodeapi::CriError;
use nodeapi::cri::{
    CreateContainerRequest, Mount, RunPodSandboxRequest, StartContainerRequest,
    StopContainerRequest,
};

use crate::container::{
    ContainerInput, References, container_config, environment, needs, sandbox_config,
};
use crate::pod::{ContainerSpec, Kind, Observed, PodSpec, Waiting};
use crate::volume::VolumeError;
use crate::worker::{Worker, hosts};

/// How long a container whose configuration cannot be made waits.
const CONFIG_RETRY_SECONDS: i64 = 5;

/// What becomes of a sandbox that the runtime makes.
pub(super) type Creating = tokio::sync::oneshot::Receiver<Result<(), CriError>>;

impl Worker {
    pub(super) async fn create_sandbox(&mut self, attempt: u32) -> Result<(), CriError> {
        if attempt > 0 {
            let message = "Pod sandbox changed, it will be killed and re-created.";
            self.event(EventType::Normal, "SandboxChanged", message, "");
        }
        if !self.ready_volumes().await {
            return Ok(());
        }
        let Ok(dom) = self.object.parse() else {
            return Ok(());
        };
        let context = self.context(&Observed::default());
        let config = sandbox_config(dom.as_ref(), &context, attempt);
        let handler = match self.runtime_handler(dom.as_ref()).await {
            Ok(handler) => handler,
            Err(why) => {
                let text = format!("Failed to create pod sandbox: {why}");
                self.event(EventType::Warning, "FailedCreatePodSandBox", &text, "");
                let delay = self.sandbox_backoff.next_delay();
                tokio::time::sleep(delay).await;
                return Ok(());
            }
        };
        let request = RunPodSandboxRequest {
            config: Some(config),
            runtime_handler: handler,
        };
        let runtime = self.shared.runtime.clone();
        let (tell, told) = tokio::sync::oneshot::channel();
        base::tasks::spawn("sandbox", &self.shared.shutdown, async move {
            // The worker ends only after it has heard.
            let _heard = tell.send(runtime.run_pod_sandbox(request).await.map(drop));
        });
        self.creating = Some(told);
        if let Some(delay) = self.sandbox_created().await {
            tokio::time::sleep(delay).await;
        }
        Ok(())
    }

    /// Waits for a sandbox that is being made, if any; after a failure, how long to wait before
    /// the next attempt. Dropped in the middle, it is called again.
    pub(super) async fn sandbox_created(&mut self) -> Option<std::time::Duration> {
        let result = self.creating.as_mut()?.await;
        self.creating = None;
        // An error of the channel: the node is ending.
        let Ok(Err(error)) = result else {
            self.sandbox_backoff.reset();
            return None;
        };
        let text = format!("Failed to create pod sandbox: {}", Chain(&error));
        self.event(EventType::Warning, "FailedCreatePodSandBox", &text, "");
        tracing::warn!(pod = %self.key, err = %Chain(&error), "sandbox not created, retries");
        Some(self.sandbox_backoff.next_delay())
    }

    /// The handler that the pod's RuntimeClass names; the words of why the pod cannot run here.
    async fn runtime_handler(&self, pod: schema::Ref<'_>) -> Result<String, String> {
        let Some(spec) = pod.get("spec") else {
            return Ok(String::new());
        };
        if spec.bool("hostUsers") == Some(false) {
            return Err(
                "user namespaces (hostUsers: false) are not supported by this node's runtime"
                    .to_owned(),
            );
        }
        let name = spec.str("runtimeClassName");
        if name.is_empty() {
            return Ok(String::new());
        }
        let classes = api::Gvr::new("node.k8s.io", "v1", "runtimeclasses");
        let found = self.shared.client.resource(&classes).find(name).await;
        let class = found.map_err(|error| Chain(&error).to_string())?;
        let class = class.and_then(|class| class.parse().ok());
        match class {
            Some(class) => Ok(class.as_ref().str("handler").to_owned()),
            None => Err(format!(
                "failed to get sandbox runtime: RuntimeClass {name:?} not found"
            )),
        }
    }

    /// Sets the pod's volumes up; false when that has to be tried again.
    async fn ready_volumes(&mut self) -> bool {
        if self.volumes_ready {
            return true;
        }
        let result = self
            .shared
            .volumes
            .set_up(
                &self.shared.config,
                &self.shared.client,
                &self.object,
                &self.known,
                self.shared.clock.now(),
            )
            .await;
        match result {
            Ok(()) => {
                self.volumes_ready = true;
                true
            }
            Err(errors) => {
                for error in &errors {
                    self.report_volume_error(error);
                }
                let delay = self.sandbox_backoff.next_delay();
                tokio::time::sleep(delay).await;
                false
            }
        }
    }

    pub(super) fn report_volume_error(&self, error: &VolumeError) {
        self.event(
            EventType::Warning,
            "FailedMount",
            &Chain(error).to_string(),
            "",
        );
        tracing::warn!(pod = %self.key, err = %Chain(error), "volume not ready, retries");
    }

    pub(super) async fn start_container(
        &mut self,
        pod: &PodSpec,
        observed: &Observed,
        name: &str,
        attempt: u32,
    ) -> Result<(), CriError> {
        let Some(spec) = pod.container(name) else {
            return Ok(());
        };
        let Some(sandbox) = &observed.sandbox else {
            return Ok(());
        };
        if !self.ready_volumes().await {
            return Ok(());
        }
        let path = field_path(spec);
        let now = self.now();
        if let Some(last) = observed.newest(name) {
            let finished = last.finished_at.or(last.created_at).unwrap_or(now);
            self.known.backoff.restarted(name, finished, now);
        }
        let object = self.object.clone();
        let Ok(dom) = object.parse() else {
            return Ok(());
        };
        let list = match spec.kind {
            Kind::Main => "containers",
            Kind::Init | Kind::Sidecar => "initContainers",
            Kind::Ephemeral => "ephemeralContainers",
        };
        let container = dom.as_ref().get("spec").and_then(|spec| {
            spec.items(list)
                .find(|container| container.str("name") == name)
        });
        let Some(container) = container else {
            return Ok(());
        };
        let ensured = self.ensure_image_volumes(dom.as_ref(), container, &path);
        let image_volumes = match ensured.await {
            Ok(volumes) => volumes,
            Err(waiting) => {
                self.hold(name, waiting);
                return Ok(());
            }
        };
        let image = match self.ensure_image(container, &path).await {
            Ok(image) => image,
            Err(waiting) => {
                self.hold(name, waiting);
                return Ok(());
            }
        };
        let references = match self.fetch(container).await {
            Ok(references) => references,
            Err(error) => {
                self.cannot_configure(name, &path, &Chain(&error).to_string());
                return Ok(());
            }
        };
        let context = self.context(observed);
        let built = environment(
            dom.as_ref(),
            container,
            &references,
            &context.services,
            &context.facts,
        );
        let environment = match built {
            Ok(environment) => environment,
            Err(error) => {
                self.cannot_configure(name, &path, &error.to_string());
                return Ok(());
            }
        };
        let mut mounts = match self
            .shared
            .volumes
            .mounts(
                &self.shared.config,
                &object,
                container,
                &environment,
                &image_volumes,
            )
            .await
        {
            Ok(mounts) => mounts,
            Err(error) => {
                self.cannot_configure(name, &path, &Chain(&error).to_string());
                return Ok(());
            }
        };
        if let Err(error) = self.own_mounts(&dom, container, attempt, &context, &mut mounts) {
            self.cannot_configure(
                name,
                &path,
                &format!("prepare the container's files: {error}"),
            );
            return Ok(());
        }
        let target = container.str("targetContainerName");
        let target_id = observed
            .newest(target)
            .map(|container| container.id.clone());
        let config = container_config(
            ContainerInput {
                pod: dom.as_ref(),
                container,
                attempt,
                hash: &spec.hash,
                image: &image,
                environment,
                mounts,
                target_id: target_id.as_deref(),
            },
            &context,
        );
        let config = match config {
            Ok(config) => config,
            Err(error) => {
                self.cannot_configure(name, &path, &error.to_string());
                return Ok(());
            }
        };
        let sandbox_config = sandbox_config(dom.as_ref(), &context, sandbox.attempt);
        let request = CreateContainerRequest {
            pod_sandbox_id: sandbox.id.clone(),
            config: Some(config),
            sandbox_config: Some(sandbox_config),
        };
        let id = match self.shared.runtime.create_container(request).await {
            Ok(answer) => answer.container_id,
            Err(error) => {
                let text = Chain(&error).to_string();
                self.event(
                    EventType::Warning,
                    "Failed",
                    &format!("Error: {text}"),
                    &path,
                );
                self.hold_for(name, "CreateContainerError", text);
                return Ok(());
            }
        };
        self.event(EventType::Normal, "Created", "Container created", &path);
        let request = StartContainerRequest {
            container_id: id.clone(),
        };
        if let Err(error) = self.shared.runtime.start_container(request).await {
            let text = Chain(&error).to_string();
            self.event(
                EventType::Warning,
                "Failed",
                &format!("Error: {text}"),
                &path,
            );
            self.hold_for(name, "RunContainerError", text);
            return Ok(());
        }
        self.known.waiting.remove(name);
        self.event(EventType::Normal, "Started", "Container started", &path);
        if let Some(hook) = &spec.lifecycle.post_start {
            let address = context
                .facts
                .pod_addresses
                .first()
                .cloned()
                .unwrap_or_default();
            let result = self
                .probes
                .run_handler(hook, &id, &address, container, None)
                .await;
            if let Err(text) = result {
                self.event(
                    EventType::Warning,
                    "FailedPostStartHook",
                    "PostStartHook failed",
                    &path,
                );
                tracing::info!(pod = %pod.key, container = name, err = text, "postStart hook failed");
                let request = StopContainerRequest {
                    container_id: id,
                    timeout: pod.grace_seconds,
                };
                self.shared.runtime.stop_container(request).await?;
            }
        }
        Ok(())
    }

    /// Hosts file and termination message of one container.
    fn own_mounts(
        &self,
        dom: &schema::Dom,
        container: schema::Ref<'_>,
        attempt: u32,
        context: &crate::container::PodContext,
        mounts: &mut Vec<Mount>,
    ) -> std::io::Result<()> {
        let dir = self.shared.config.pod_dir(&self.uid);
        let name = container.str("name");
        std::fs::create_dir_all(&dir)?;
        let taken = |path: &str, mounts: &[Mount]| mounts.iter().any(|m| m.container_path == path);
        let spec = dom.as_ref().get("spec");
        let host_network = spec
            .and_then(|spec| spec.bool("hostNetwork"))
            .unwrap_or(false);
        if !taken("/etc/hosts", mounts) {
            let file = dir.join("etc-hosts");
            let text = if host_network {
                let nodes = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
                hosts::node_hosts_file(dom.as_ref(), &nodes)
            } else {
                let pod_name = self.key.name.as_str();
                let hostname = spec.map_or_else(String::new, |spec| {
                    crate::container::hostname(spec, pod_name, context)
                });
                let addresses = &context.facts.pod_addresses;
                hosts::hosts_file(dom.as_ref(), addresses, &hostname, &context.cluster_domain)
            };
            std::fs::write(&file, text)?;
            mounts.push(bind(&file, "/etc/hosts", false));
        }
        let path = match container.str("terminationMessagePath") {
            "" => "/dev/termination-log",
            path => path,
        };
        if !taken(path, mounts) {
            let file = self.termination_file(name, attempt);
            if let Some(parent) = file.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::write(&file, "")?;
            let everyone = std::os::unix::fs::PermissionsExt::from_mode(0o666);
            std::fs::set_permissions(&file, everyone)?;
            mounts.push(bind(&file, path, false));
        }
        Ok(())
    }

    /// The node's file behind a container's termination message path.
    pub(super) fn termination_file(&self, container: &str, attempt: u32) -> std::path::PathBuf {
        let dir = self
            .shared
            .config
            .pod_dir(&self.uid)
            .join("containers")
            .join(container);
        dir.join(format!("termination-{attempt}"))
    }

    /// Reads the last words of ended containers, from their file or from the end of their log.
    pub(super) async fn read_termination_messages(&self, observed: &mut Observed) {
        const LIMIT_BYTES: u64 = 4096;
        let Ok(dom) = self.object.parse() else { return };
        let Some(spec) = dom.as_ref().get("spec") else {
            return;
        };
        for container in &mut observed.containers {
            if container.finished_at.is_none() || !container.message.is_empty() {
                continue;
            }
            let file = self.termination_file(&container.name, container.attempt);
            container.message = crate::logs::head(&file, LIMIT_BYTES);
            let falls_back = ["containers", "initContainers", "ephemeralContainers"]
                .into_iter()
                .flat_map(|list| spec.items(list))
                .find(|one| one.str("name") == container.name)
                .is_some_and(|one| one.str("terminationMessagePolicy") == "FallbackToLogsOnError");
            if container.message.is_empty() && falls_back && container.failed() {
                let logs = self
                    .shared
                    .config
                    .pod_logs(&self.key.namespace, &self.key.name, &self.uid)
                    .join(format!("{}/{}.log", container.name, container.attempt));
                container.message = crate::logs::last_words(&logs);
            }
        }
    }

    async fn fetch(&self, container: schema::Ref<'_>) -> Result<References, client::Error> {
        crate::volume::fetch(&self.shared.client, &self.key.namespace, needs(container)).await
    }

    fn hold(&mut self, name: &str, waiting: Waiting) {
        self.known.waiting.insert(name.to_owned(), waiting);
    }

    fn hold_for(&mut self, name: &str, reason: &str, message: String) {
        let delay = SignedDuration::from_secs(CONFIG_RETRY_SECONDS);
        let retry_at = Some(base::after(self.now(), delay));
        self.hold(
            name,
            Waiting {
                reason: reason.to_owned(),
                message,
                retry_at,
            },
        );
    }

    fn cannot_configure(&mut self, name: &str, path: &str, text: &str) {
        self.event(
            EventType::Warning,
            "Failed",
            &format!("Error: {text}"),
            path,
        );
        self.hold_for(name, "CreateContainerConfigError", text.to_owned());
    }
}

/// `spec.containers{name}`.
pub(super) fn field_path(spec: &ContainerSpec) -> String {
    let list = match spec.kind {
        Kind::Main => "containers",
        Kind::Init | Kind::Sidecar => "initContainers",
        Kind::Ephemeral => "ephemeralContainers",
    };
    format!("spec.{list}{{{}}}", spec.name)
}

fn bind(from: &std::path::Path, to: &str, readonly: bool) -> Mount {
    Mount {
        container_path: to.to_owned(),
        host_path: from.to_string_lossy().into_owned(),
        readonly,
        ..Mount::default()
    }
}

/// Verdicts by container id.
pub(super) type Verdicts = HashMap<String, crate::pod::Verdict>;
