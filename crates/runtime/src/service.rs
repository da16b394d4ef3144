//! The CRI service itself: each call to where it is carried out.

use std::collections::BTreeMap;

use nodeapi::{CriError, RuntimeService, cri};

use crate::state::{Runtime, blocking, chain};

#[async_trait::async_trait]
impl RuntimeService for Runtime {
    async fn version(&self, _: cri::VersionRequest) -> Result<cri::VersionResponse, CriError> {
        Ok(cri::VersionResponse {
            version: "0.1.0".into(),
            runtime_name: "transom".into(),
            runtime_version: self.inner.config.version.clone(),
            runtime_api_version: "v1".into(),
        })
    }

    async fn run_pod_sandbox(
        &self,
        request: cri::RunPodSandboxRequest,
    ) -> Result<cri::RunPodSandboxResponse, CriError> {
        let runtime = self.clone();
        let work = async move { runtime.run_sandbox(request).await };
        let pod_sandbox_id = self.detached("run sandbox", work).await?;
        Ok(cri::RunPodSandboxResponse { pod_sandbox_id })
    }

    async fn stop_pod_sandbox(
        &self,
        request: cri::StopPodSandboxRequest,
    ) -> Result<cri::StopPodSandboxResponse, CriError> {
        let runtime = self.clone();
        let work = async move { runtime.stop_sandbox(&request.pod_sandbox_id).await };
        self.detached("stop sandbox", work).await?;
        Ok(cri::StopPodSandboxResponse {})
    }

    async fn remove_pod_sandbox(
        &self,
        request: cri::RemovePodSandboxRequest,
    ) -> Result<cri::RemovePodSandboxResponse, CriError> {
        let runtime = self.clone();
        let work = async move { runtime.remove_sandbox(&request.pod_sandbox_id).await };
        self.detached("remove sandbox", work).await?;
        Ok(cri::RemovePodSandboxResponse {})
    }

    async fn pod_sandbox_status(
        &self,
        request: cri::PodSandboxStatusRequest,
    ) -> Result<cri::PodSandboxStatusResponse, CriError> {
        let sandbox = self.inner.sandbox(&request.pod_sandbox_id)?;
        let containers: Vec<_> = sandbox.containers.read().values().cloned().collect();
        let mut info = BTreeMap::new();
        if request.verbose {
            let text = serde_json::json!({
                "netns": sandbox.dir.join("net"),
                "directory": sandbox.dir,
                "cgroup": self.inner.pod_group(&sandbox),
            });
            info.insert("info".into(), text.to_string());
        }
        Ok(cri::PodSandboxStatusResponse {
            status: Some(self.inner.sandbox_status(&sandbox)),
            info,
            containers_statuses: containers
                .iter()
                .map(|c| self.inner.container_status(&sandbox, c))
                .collect(),
            timestamp: self.inner.now(),
        })
    }

    async fn list_pod_sandbox(
        &self,
        request: cri::ListPodSandboxRequest,
    ) -> Result<cri::ListPodSandboxResponse, CriError> {
        let items = self.inner.list_sandboxes(request.filter.as_ref());
        Ok(cri::ListPodSandboxResponse { items })
    }

    async fn create_container(
        &self,
        request: cri::CreateContainerRequest,
    ) -> Result<cri::CreateContainerResponse, CriError> {
        let runtime = self.clone();
        let work = async move { runtime.create(request).await };
        let container_id = self.detached("create container", work).await?;
        Ok(cri::CreateContainerResponse { container_id })
    }

    async fn start_container(
        &self,
        request: cri::StartContainerRequest,
    ) -> Result<cri::StartContainerResponse, CriError> {
        let runtime = self.clone();
        let work = async move { runtime.start(&request.container_id).await };
        self.detached("start container", work).await?;
        Ok(cri::StartContainerResponse {})
    }

    async fn stop_container(
        &self,
        request: cri::StopContainerRequest,
    ) -> Result<cri::StopContainerResponse, CriError> {
        // Cancellable: a caller that gives up may shorten the grace with the next call.
        self.stop(&request.container_id, request.timeout).await?;
        Ok(cri::StopContainerResponse {})
    }

    async fn remove_container(
        &self,
        request: cri::RemoveContainerRequest,
    ) -> Result<cri::RemoveContainerResponse, CriError> {
        let runtime = self.clone();
        let work = async move { runtime.remove(&request.container_id).await };
        self.detached("remove container", work).await?;
        Ok(cri::RemoveContainerResponse {})
    }

    async fn list_containers(
        &self,
        request: cri::ListContainersRequest,
    ) -> Result<cri::ListContainersResponse, CriError> {
        let containers = self.inner.list_containers(request.filter.as_ref());
        Ok(cri::ListContainersResponse { containers })
    }

    async fn container_status(
        &self,
        request: cri::ContainerStatusRequest,
    ) -> Result<cri::ContainerStatusResponse, CriError> {
        let (sandbox, container) = self.inner.container(&request.container_id)?;
        let mut info = BTreeMap::new();
        if request.verbose {
            let record = container.record.lock();
            let text = serde_json::json!({
                "sandboxID": sandbox.id,
                "pid": record.pid,
                "cgroup": record.cgroup,
            });
            info.insert("info".into(), text.to_string());
        }
        let status = Some(self.inner.container_status(&sandbox, &container));
        Ok(cri::ContainerStatusResponse { status, info })
    }

    async fn exec_sync(
        &self,
        request: cri::ExecSyncRequest,
    ) -> Result<cri::ExecSyncResponse, CriError> {
        Runtime::exec_sync(self, request).await
    }

    async fn status(&self, request: cri::StatusRequest) -> Result<cri::StatusResponse, CriError> {
        let condition = |kind: &str, problem: Option<(&str, String)>| cri::RuntimeCondition {
            r#type: kind.into(),
            status: problem.is_none(),
            reason: problem
                .as_ref()
                .map(|(reason, _)| (*reason).into())
                .unwrap_or_default(),
            message: problem.map(|(_, message)| message).unwrap_or_default(),
        };
        let network = self.inner.cni.status().await.err();
        let network = network.map(|e| ("NetworkPluginNotReady", chain(&e)));
        let mut info = BTreeMap::new();
        if request.verbose {
            let text = serde_json::json!({
                "root": self.inner.config.root,
                "cgroups": self.inner.layout.describe(),
            });
            info.insert("config".into(), text.to_string());
        }
        let handler = |name: &str| cri::RuntimeHandler {
            name: name.into(),
            features: Some(cri::RuntimeHandlerFeatures {
                recursive_read_only_mounts: true,
                user_namespaces: false,
            }),
        };
        Ok(cri::StatusResponse {
            status: Some(cri::RuntimeStatus {
                conditions: vec![
                    condition("RuntimeReady", None),
                    condition("NetworkReady", network),
                ],
            }),
            info,
            runtime_handlers: vec![handler(""), handler("transom"), handler("runc")],
            features: Some(cri::RuntimeFeatures {
                supplemental_groups_policy: true,
                user_namespaces_host_network: false,
            }),
        })
    }

    async fn update_container_resources(
        &self,
        request: cri::UpdateContainerResourcesRequest,
    ) -> Result<cri::UpdateContainerResourcesResponse, CriError> {
        self.update(request).await?;
        Ok(cri::UpdateContainerResourcesResponse {})
    }

    async fn reopen_container_log(
        &self,
        request: cri::ReopenContainerLogRequest,
    ) -> Result<cri::ReopenContainerLogResponse, CriError> {
        self.reopen_log(&request.container_id).await?;
        Ok(cri::ReopenContainerLogResponse {})
    }

    async fn container_stats(
        &self,
        request: cri::ContainerStatsRequest,
    ) -> Result<cri::ContainerStatsResponse, CriError> {
        let (_, container) = self.inner.container(&request.container_id)?;
        let inner = self.inner.clone();
        let stats = blocking(move || inner.container_stats(&container)).await?;
        Ok(cri::ContainerStatsResponse { stats: Some(stats) })
    }

    async fn list_container_stats(
        &self,
        request: cri::ListContainerStatsRequest,
    ) -> Result<cri::ListContainerStatsResponse, CriError> {
        let inner = self.inner.clone();
        let filter = request.filter.unwrap_or_default();
        let stats = blocking(move || Ok(inner.list_container_stats(&filter))).await?;
        Ok(cri::ListContainerStatsResponse { stats })
    }

    async fn pod_sandbox_stats(
        &self,
        request: cri::PodSandboxStatsRequest,
    ) -> Result<cri::PodSandboxStatsResponse, CriError> {
        let sandbox = self.inner.sandbox(&request.pod_sandbox_id)?;
        let inner = self.inner.clone();
        let stats = blocking(move || inner.sandbox_stats(&sandbox)).await?;
        Ok(cri::PodSandboxStatsResponse { stats: Some(stats) })
    }

    async fn list_pod_sandbox_stats(
        &self,
        request: cri::ListPodSandboxStatsRequest,
    ) -> Result<cri::ListPodSandboxStatsResponse, CriError> {
        let filter = request.filter.unwrap_or_default();
        let filter = cri::PodSandboxFilter {
            id: filter.id,
            label_selector: filter.label_selector,
            state: Some(cri::PodSandboxStateValue {
                state: cri::PodSandboxState::SandboxReady as i32,
            }),
        };
        let inner = self.inner.clone();
        let stats = blocking(move || {
            let listed = inner.list_sandboxes(Some(&filter));
            let found = listed.iter().filter_map(|s| inner.sandbox(&s.id).ok());
            // One that ended meanwhile has nothing to tell.
            Ok(found.filter_map(|s| inner.sandbox_stats(&s).ok()).collect())
        })
        .await?;
        Ok(cri::ListPodSandboxStatsResponse { stats })
    }

    async fn update_runtime_config(
        &self,
        _: cri::UpdateRuntimeConfigRequest,
    ) -> Result<cri::UpdateRuntimeConfigResponse, CriError> {
        // The pod range is the network's business, which reads the Node itself.
        Ok(cri::UpdateRuntimeConfigResponse {})
    }

    async fn runtime_config(
        &self,
        _: cri::RuntimeConfigRequest,
    ) -> Result<cri::RuntimeConfigResponse, CriError> {
        Ok(cri::RuntimeConfigResponse {
            linux: Some(cri::LinuxRuntimeConfiguration {
                cgroup_driver: cri::CgroupDriver::Cgroupfs as i32,
            }),
        })
    }

    async fn update_pod_sandbox_resources(
        &self,
        _: cri::UpdatePodSandboxResourcesRequest,
    ) -> Result<cri::UpdatePodSandboxResourcesResponse, CriError> {
        // The pod's group is the kubelet's; the runtime holds no copy of its limits.
        Ok(cri::UpdatePodSandboxResourcesResponse {})
    }

    async fn container_events(
        &self,
    ) -> Result<tokio::sync::mpsc::Receiver<cri::ContainerEventResponse>, CriError> {
        Ok(self.listen())
    }
}
