//! CRI's RuntimeService over the state in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::{Shutdown, tasks};
use nodeapi::cri::{self, ContainerEventResponse, ContainerEventType, ContainerState};
use nodeapi::{Code, CriError, RuntimeService};
use tokio::sync::mpsc;

use crate::runtime::{Container, EVENTS_LIMIT, FakeRuntime, KILLED, Sandbox};
use crate::script::{self, OnTerm, Script};

impl Sandbox {
    fn state(&self) -> i32 {
        i32::from(match self.ready {
            true => cri::PodSandboxState::SandboxReady,
            false => cri::PodSandboxState::SandboxNotready,
        })
    }

    pub(super) fn status(&self, id: &str) -> cri::PodSandboxStatus {
        cri::PodSandboxStatus {
            id: id.to_owned(),
            metadata: self.config.metadata.clone(),
            state: self.state(),
            created_at: self.created_at,
            network: Some(cri::PodSandboxNetworkStatus {
                ip: self.ip.clone(),
                ..Default::default()
            }),
            labels: self.config.labels.clone(),
            annotations: self.config.annotations.clone(),
            ..Default::default()
        }
    }
}

impl Container {
    fn reason(&self) -> &'static str {
        match (self.state, self.exit_code) {
            (ContainerState::ContainerExited, 0) => "Completed",
            (ContainerState::ContainerExited, _) => "Error",
            _ => "",
        }
    }

    fn status(&self, id: &str) -> cri::ContainerStatus {
        let image = self.config.image.clone().unwrap_or_default();
        cri::ContainerStatus {
            id: id.to_owned(),
            metadata: self.config.metadata.clone(),
            state: i32::from(self.state),
            created_at: self.created_at,
            started_at: self.started_at,
            finished_at: self.finished_at,
            exit_code: self.exit_code,
            image_ref: image.image.clone(),
            image: Some(image),
            reason: self.reason().to_owned(),
            labels: self.config.labels.clone(),
            annotations: self.config.annotations.clone(),
            mounts: self.config.mounts.clone(),
            log_path: self.config.log_path.clone(),
            ..Default::default()
        }
    }
}

fn selected(labels: &BTreeMap<String, String>, selector: &BTreeMap<String, String>) -> bool {
    selector
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
}

fn no_container(id: &str) -> CriError {
    CriError::not_found(format!("container {id:?} does not exist"))
}

fn no_sandbox(id: &str) -> CriError {
    CriError::not_found(format!("sandbox {id:?} does not exist"))
}

#[async_trait::async_trait]
impl RuntimeService for FakeRuntime {
    async fn version(&self, _: cri::VersionRequest) -> Result<cri::VersionResponse, CriError> {
        Ok(cri::VersionResponse {
            version: "0.1.0".to_owned(),
            runtime_name: "simulated".to_owned(),
            runtime_version: "0".to_owned(),
            runtime_api_version: "v1".to_owned(),
        })
    }

    async fn run_pod_sandbox(
        &self,
        request: cri::RunPodSandboxRequest,
    ) -> Result<cri::RunPodSandboxResponse, CriError> {
        let config = request
            .config
            .ok_or_else(|| CriError::invalid("no sandbox config"))?;
        let inner = self.inner.clone();
        // As a real runtime does, it finishes whether or not the caller still waits.
        let (made, answer) = tokio::sync::oneshot::channel();
        tasks::spawn("fake sandbox", &Shutdown::new(), async move {
            let _ = made.send(inner.make_sandbox(config).await);
        });
        let ending = |_| CriError::unknown("the runtime is ending");
        let pod_sandbox_id = answer.await.map_err(ending)?;
        Ok(cri::RunPodSandboxResponse { pod_sandbox_id })
    }

    async fn stop_pod_sandbox(
        &self,
        request: cri::StopPodSandboxRequest,
    ) -> Result<cri::StopPodSandboxResponse, CriError> {
        let inner = self.inner.clone();
        // As a real runtime does: not at once, and whether or not the caller waits.
        let (stopped, answer) = tokio::sync::oneshot::channel();
        tasks::spawn("fake stop", &Shutdown::new(), async move {
            inner.stop_sandbox(&request.pod_sandbox_id);
            let _ = stopped.send(());
        });
        let ending = |_| CriError::unknown("the runtime is ending");
        answer.await.map_err(ending)?;
        Ok(cri::StopPodSandboxResponse {})
    }

    async fn remove_pod_sandbox(
        &self,
        request: cri::RemovePodSandboxRequest,
    ) -> Result<cri::RemovePodSandboxResponse, CriError> {
        let id = request.pod_sandbox_id.clone();
        self.stop_pod_sandbox(cri::StopPodSandboxRequest {
            pod_sandbox_id: id.clone(),
        })
        .await?;
        let mut state = self.inner.state.lock();
        state
            .containers
            .retain(|_, container| container.sandbox != id);
        state.sandboxes.remove(&id);
        Ok(cri::RemovePodSandboxResponse {})
    }

    async fn pod_sandbox_status(
        &self,
        request: cri::PodSandboxStatusRequest,
    ) -> Result<cri::PodSandboxStatusResponse, CriError> {
        let state = self.inner.state.lock();
        let id = &request.pod_sandbox_id;
        let sandbox = state.sandboxes.get(id).ok_or_else(|| no_sandbox(id))?;
        Ok(cri::PodSandboxStatusResponse {
            status: Some(sandbox.status(id)),
            ..Default::default()
        })
    }

    async fn list_pod_sandbox(
        &self,
        request: cri::ListPodSandboxRequest,
    ) -> Result<cri::ListPodSandboxResponse, CriError> {
        let filter = request.filter.unwrap_or_default();
        let state = self.inner.state.lock();
        let chosen = state.sandboxes.iter().filter(|(id, sandbox)| {
            (filter.id.is_empty() || filter.id == **id)
                && filter
                    .state
                    .is_none_or(|wanted| wanted.state == sandbox.state())
                && selected(&sandbox.config.labels, &filter.label_selector)
        });
        let items = chosen.map(|(id, sandbox)| cri::PodSandbox {
            id: id.clone(),
            metadata: sandbox.config.metadata.clone(),
            state: sandbox.state(),
            created_at: sandbox.created_at,
            labels: sandbox.config.labels.clone(),
            annotations: sandbox.config.annotations.clone(),
            runtime_handler: String::new(),
        });
        Ok(cri::ListPodSandboxResponse {
            items: items.collect(),
        })
    }

    async fn create_container(
        &self,
        request: cri::CreateContainerRequest,
    ) -> Result<cri::CreateContainerResponse, CriError> {
        let config = request
            .config
            .ok_or_else(|| CriError::invalid("no container config"))?;
        let name = config.metadata.clone().unwrap_or_default().name;
        self.inner.take_time(&format!("create {name}")).await;
        let image = config.image.clone().unwrap_or_default().image;
        let now = self.inner.now();
        let mut state = self.inner.state.lock();
        let sandbox = state.sandboxes.get(&request.pod_sandbox_id);
        if !sandbox.is_some_and(|sandbox| sandbox.ready) {
            return Err(CriError::precondition(format!(
                "sandbox {:?} is not ready",
                request.pod_sandbox_id
            )));
        }
        if !state.has_image(&image) {
            return Err(CriError::not_found(format!(
                "image {image:?} is not present"
            )));
        }
        let words: Vec<String> = config.command.iter().chain(&config.args).cloned().collect();
        let id = state.next_id("c0");
        // An unknown program fails at its start.
        let script = Script::of_command(&words).unwrap_or_default();
        let container = Container {
            sandbox: request.pod_sandbox_id,
            config,
            script,
            state: ContainerState::ContainerCreated,
            created_at: now,
            started_at: 0,
            started: None,
            finished_at: 0,
            exit_code: 0,
            ended: Arc::default(),
            told_to_end: false,
        };
        state.containers.insert(id.clone(), container);
        state.tell(&id, ContainerEventType::ContainerCreatedEvent, now);
        Ok(cri::CreateContainerResponse { container_id: id })
    }

    async fn start_container(
        &self,
        request: cri::StartContainerRequest,
    ) -> Result<cri::StartContainerResponse, CriError> {
        let id = request.container_id;
        self.inner.take_time(&format!("start {id}")).await;
        {
            let now = self.inner.now();
            let mut state = self.inner.state.lock();
            let ready = |state: &super::State, sandbox: &str| {
                state
                    .sandboxes
                    .get(sandbox)
                    .is_some_and(|sandbox| sandbox.ready)
            };
            let container = state.containers.get(&id).ok_or_else(|| no_container(&id))?;
            if container.state != ContainerState::ContainerCreated {
                return Err(CriError::precondition(format!(
                    "container {id:?} was started before"
                )));
            }
            if !ready(&state, &container.sandbox) {
                return Err(CriError::precondition("the sandbox is not ready"));
            }
            let words: Vec<String> = container
                .config
                .command
                .iter()
                .chain(&container.config.args)
                .cloned()
                .collect();
            if let Err(error) = Script::of_command(&words)
                && let Some(container) = state.containers.get_mut(&id)
            {
                container.state = ContainerState::ContainerExited;
                (container.finished_at, container.exit_code) = (now, 128);
                return Err(CriError::unknown(format!("failed to create task: {error}")));
            }
        }
        self.inner.launch(&id);
        Ok(cri::StartContainerResponse {})
    }

    async fn stop_container(
        &self,
        request: cri::StopContainerRequest,
    ) -> Result<cri::StopContainerResponse, CriError> {
        let id = request.container_id;
        let ended = {
            let mut state = self.inner.state.lock();
            let container = state
                .containers
                .get_mut(&id)
                .ok_or_else(|| no_container(&id))?;
            if !container.runs() {
                return Ok(cri::StopContainerResponse {});
            }
            if let OnTerm::Ends(after, code) = container.script.on_term
                && request.timeout > 0
                && !container.told_to_end
            {
                container.told_to_end = true;
                self.inner.end_later(&id, after, code);
            }
            container.ended.clone()
        };
        let grace = std::time::Duration::from_secs(u64::try_from(request.timeout).unwrap_or(0));
        let by_itself = tokio::time::timeout(grace, ended.wait());
        if by_itself.await.is_err() {
            self.inner.end(&id, KILLED);
        }
        Ok(cri::StopContainerResponse {})
    }

    async fn remove_container(
        &self,
        request: cri::RemoveContainerRequest,
    ) -> Result<cri::RemoveContainerResponse, CriError> {
        self.inner.end(&request.container_id, KILLED);
        self.inner
            .state
            .lock()
            .containers
            .remove(&request.container_id);
        Ok(cri::RemoveContainerResponse {})
    }

    async fn list_containers(
        &self,
        request: cri::ListContainersRequest,
    ) -> Result<cri::ListContainersResponse, CriError> {
        let filter = request.filter.unwrap_or_default();
        let state = self.inner.state.lock();
        let chosen = state.containers.iter().filter(|(id, container)| {
            (filter.id.is_empty() || filter.id == **id)
                && (filter.pod_sandbox_id.is_empty() || filter.pod_sandbox_id == container.sandbox)
                && filter
                    .state
                    .is_none_or(|wanted| wanted.state == i32::from(container.state))
                && selected(&container.config.labels, &filter.label_selector)
        });
        let containers = chosen.map(|(id, container)| cri::Container {
            id: id.clone(),
            pod_sandbox_id: container.sandbox.clone(),
            metadata: container.config.metadata.clone(),
            image: container.config.image.clone(),
            state: i32::from(container.state),
            created_at: container.created_at,
            labels: container.config.labels.clone(),
            annotations: container.config.annotations.clone(),
            ..Default::default()
        });
        Ok(cri::ListContainersResponse {
            containers: containers.collect(),
        })
    }

    async fn container_status(
        &self,
        request: cri::ContainerStatusRequest,
    ) -> Result<cri::ContainerStatusResponse, CriError> {
        let state = self.inner.state.lock();
        let id = &request.container_id;
        let container = state.containers.get(id).ok_or_else(|| no_container(id))?;
        Ok(cri::ContainerStatusResponse {
            status: Some(container.status(id)),
            ..Default::default()
        })
    }

    async fn exec_sync(
        &self,
        request: cri::ExecSyncRequest,
    ) -> Result<cri::ExecSyncResponse, CriError> {
        let (takes, exit_code) = {
            let state = self.inner.state.lock();
            let id = &request.container_id;
            let container = state.containers.get(id).ok_or_else(|| no_container(id))?;
            let Some(started) = container.started.filter(|_| container.runs()) else {
                return Err(CriError::precondition(format!(
                    "container {id:?} does not run"
                )));
            };
            script::exec(&request.cmd, &container.script.files(started.elapsed()))
        };
        let limit = u64::try_from(request.timeout).unwrap_or(0);
        if limit > 0 && takes.as_secs() >= limit {
            tokio::time::sleep(std::time::Duration::from_secs(limit)).await;
            return Err(CriError::new(
                Code::DeadlineExceeded,
                format!("command {:?} timed out", request.cmd),
            ));
        }
        tokio::time::sleep(takes).await;
        Ok(cri::ExecSyncResponse {
            exit_code,
            ..Default::default()
        })
    }

    async fn status(&self, _: cri::StatusRequest) -> Result<cri::StatusResponse, CriError> {
        let condition = |kind: &str| cri::RuntimeCondition {
            r#type: kind.to_owned(),
            status: true,
            ..Default::default()
        };
        Ok(cri::StatusResponse {
            status: Some(cri::RuntimeStatus {
                conditions: vec![condition("RuntimeReady"), condition("NetworkReady")],
            }),
            ..Default::default()
        })
    }

    async fn container_events(&self) -> Result<mpsc::Receiver<ContainerEventResponse>, CriError> {
        let (sender, receiver) = mpsc::channel(EVENTS_LIMIT);
        self.inner.state.lock().listeners.push(sender);
        Ok(receiver)
    }
}
