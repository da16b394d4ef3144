//! The two CRI services as dyn-safe traits: message in, message or [`CriError`] out.
//!
//! kubelet holds `Arc<dyn RuntimeService>` and cannot tell whether the runtime is in its process
//! or behind a socket. Calls that the kubelet can do without answer "not implemented" by default.
//! Source: k8s.io/cri-api v0.36.3 pkg/apis/runtime/v1/api.proto, services.

use crate::cri;
use crate::error::CriError;

/// Calls `$then!` with the unary methods of the runtime service: required; optional.
macro_rules! runtime_methods {
    ($then:ident) => {
        $then! {
            required {
                version VersionRequest VersionResponse,
                run_pod_sandbox RunPodSandboxRequest RunPodSandboxResponse,
                stop_pod_sandbox StopPodSandboxRequest StopPodSandboxResponse,
                remove_pod_sandbox RemovePodSandboxRequest RemovePodSandboxResponse,
                pod_sandbox_status PodSandboxStatusRequest PodSandboxStatusResponse,
                list_pod_sandbox ListPodSandboxRequest ListPodSandboxResponse,
                create_container CreateContainerRequest CreateContainerResponse,
                start_container StartContainerRequest StartContainerResponse,
                stop_container StopContainerRequest StopContainerResponse,
                remove_container RemoveContainerRequest RemoveContainerResponse,
                list_containers ListContainersRequest ListContainersResponse,
                container_status ContainerStatusRequest ContainerStatusResponse,
                exec_sync ExecSyncRequest ExecSyncResponse,
                status StatusRequest StatusResponse,
            }
            optional {
                update_container_resources UpdateContainerResourcesRequest UpdateContainerResourcesResponse,
                reopen_container_log ReopenContainerLogRequest ReopenContainerLogResponse,
                exec ExecRequest ExecResponse,
                attach AttachRequest AttachResponse,
                port_forward PortForwardRequest PortForwardResponse,
                container_stats ContainerStatsRequest ContainerStatsResponse,
                list_container_stats ListContainerStatsRequest ListContainerStatsResponse,
                pod_sandbox_stats PodSandboxStatsRequest PodSandboxStatsResponse,
                list_pod_sandbox_stats ListPodSandboxStatsRequest ListPodSandboxStatsResponse,
                update_runtime_config UpdateRuntimeConfigRequest UpdateRuntimeConfigResponse,
                checkpoint_container CheckpointContainerRequest CheckpointContainerResponse,
                list_metric_descriptors ListMetricDescriptorsRequest ListMetricDescriptorsResponse,
                list_pod_sandbox_metrics ListPodSandboxMetricsRequest ListPodSandboxMetricsResponse,
                runtime_config RuntimeConfigRequest RuntimeConfigResponse,
                update_pod_sandbox_resources UpdatePodSandboxResourcesRequest UpdatePodSandboxResourcesResponse,
            }
        }
    };
}
pub(crate) use runtime_methods;

/// Calls `$then!` with the unary methods of the image service: required; optional.
macro_rules! image_methods {
    ($then:ident) => {
        $then! {
            required {
                list_images ListImagesRequest ListImagesResponse,
                image_status ImageStatusRequest ImageStatusResponse,
                pull_image PullImageRequest PullImageResponse,
                remove_image RemoveImageRequest RemoveImageResponse,
                image_fs_info ImageFsInfoRequest ImageFsInfoResponse,
            }
            optional {}
        }
    };
}
pub(crate) use image_methods;

macro_rules! runtime_trait {
    (required { $($name:ident $request:ident $response:ident,)* }
     optional { $($opt:ident $opt_request:ident $opt_response:ident,)* }) => {
        /// CRI's RuntimeService: sandboxes, containers, exec, statistics.
        #[async_trait::async_trait]
        pub trait RuntimeService: Send + Sync + 'static {
            $(
                #[doc = concat!("CRI `", stringify!($name), "`.")]
                async fn $name(&self, request: cri::$request) -> Result<cri::$response, CriError>;
            )*
            $(
                #[doc = concat!("CRI `", stringify!($opt), "`; not offered unless overridden.")]
                async fn $opt(&self, _request: cri::$opt_request) -> Result<cri::$opt_response, CriError> {
                    Err(CriError::unimplemented(stringify!($opt)))
                }
            )*
            /// CRI `GetContainerEvents`: created, started, stopped and deleted containers from now
            /// on. The channel is bounded; one that lags is closed and its reader lists again.
            async fn container_events(
                &self,
            ) -> Result<tokio::sync::mpsc::Receiver<cri::ContainerEventResponse>, CriError> {
                Err(CriError::unimplemented("container_events"))
            }
        }
    };
}
runtime_methods!(runtime_trait);

macro_rules! image_trait {
    (required { $($name:ident $request:ident $response:ident,)* } optional {}) => {
        /// CRI's ImageService: list, pull, remove.
        #[async_trait::async_trait]
        pub trait ImageService: Send + Sync + 'static {
            $(
                #[doc = concat!("CRI `", stringify!($name), "`.")]
                async fn $name(&self, request: cri::$request) -> Result<cri::$response, CriError>;
            )*
        }
    };
}
image_methods!(image_trait);
