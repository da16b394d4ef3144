//! CRI on a socket: our traits served by gRPC, and a gRPC channel seen as our traits.
//!
//! Owns the translation only; who listens and with which transport is the caller's business.
//! Server streams other than container events answer "not implemented"; kubelet falls back to the
//! unary list calls.
//! Source: k8s.io/cri-api v0.36.3 api.proto (Stream* calls: gate CRIListStreaming, off in 1.36).

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::mpsc;
use tonic::codegen::tokio_stream::{Stream, StreamExt as _};

use crate::cri;
use crate::cri::image_service_client::ImageServiceClient;
use crate::cri::image_service_server::{ImageService as ImageRpc, ImageServiceServer};
use crate::cri::runtime_service_client::RuntimeServiceClient;
use crate::cri::runtime_service_server::{RuntimeService as RuntimeRpc, RuntimeServiceServer};
use crate::error::CriError;
use crate::service::{ImageService, RuntimeService, image_methods, runtime_methods};

/// The largest message either side accepts, upstream's limit.
pub const MAX_MESSAGE_BYTES: usize = 16 << 20;
/// Container events that may wait for their reader.
const EVENT_QUEUE: usize = 256;

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, tonic::Status>> + Send>>;

/// A runtime as a gRPC service.
pub fn serve_runtime(runtime: Arc<dyn RuntimeService>) -> RuntimeServiceServer<impl RuntimeRpc> {
    RuntimeServiceServer::new(RuntimeServer(runtime))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

/// An image service as a gRPC service.
pub fn serve_images(images: Arc<dyn ImageService>) -> ImageServiceServer<impl ImageRpc> {
    ImageServiceServer::new(ImageServer(images))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

struct RuntimeServer(Arc<dyn RuntimeService>);
struct ImageServer(Arc<dyn ImageService>);

/// A runtime behind a channel.
#[derive(Clone, Debug)]
pub struct RemoteRuntime(RuntimeServiceClient<tonic::transport::Channel>);

/// An image service behind a channel.
#[derive(Clone, Debug)]
pub struct RemoteImages(ImageServiceClient<tonic::transport::Channel>);

impl RemoteRuntime {
    /// Calls go through `channel`.
    pub fn new(channel: tonic::transport::Channel) -> RemoteRuntime {
        RemoteRuntime(
            RuntimeServiceClient::new(channel)
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES),
        )
    }
}

impl RemoteImages {
    /// Calls go through `channel`.
    pub fn new(channel: tonic::transport::Channel) -> RemoteImages {
        RemoteImages(
            ImageServiceClient::new(channel)
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES),
        )
    }
}

macro_rules! runtime_adapters {
    (required { $($name:ident $request:ident $response:ident,)* }
     optional { $($opt:ident $opt_request:ident $opt_response:ident,)* }) => {
        runtime_adapters!(@all
            { $($name $request $response,)* $($opt $opt_request $opt_response,)* }
            { stream_pod_sandboxes StreamPodSandboxesRequest StreamPodSandboxesResponse StreamPodSandboxesStream,
              stream_containers StreamContainersRequest StreamContainersResponse StreamContainersStream,
              stream_container_stats StreamContainerStatsRequest StreamContainerStatsResponse StreamContainerStatsStream,
              stream_pod_sandbox_stats StreamPodSandboxStatsRequest StreamPodSandboxStatsResponse StreamPodSandboxStatsStream,
              stream_pod_sandbox_metrics StreamPodSandboxMetricsRequest StreamPodSandboxMetricsResponse StreamPodSandboxMetricsStream, }
        );
    };
    (@all { $($name:ident $request:ident $response:ident,)* }
          { $($stream:ident $stream_request:ident $stream_response:ident $stream_type:ident,)* }) => {
        #[async_trait::async_trait]
        impl RuntimeRpc for RuntimeServer {
            $(
                async fn $name(
                    &self,
                    request: tonic::Request<cri::$request>,
                ) -> Result<tonic::Response<cri::$response>, tonic::Status> {
                    Ok(tonic::Response::new(self.0.$name(request.into_inner()).await?))
                }
            )*
            $(
                type $stream_type = Streamed<cri::$stream_response>;
                async fn $stream(
                    &self,
                    _request: tonic::Request<cri::$stream_request>,
                ) -> Result<tonic::Response<Self::$stream_type>, tonic::Status> {
                    Err(CriError::unimplemented(stringify!($stream)).into())
                }
            )*
            type GetContainerEventsStream = Streamed<cri::ContainerEventResponse>;
            async fn get_container_events(
                &self,
                _request: tonic::Request<cri::GetEventsRequest>,
            ) -> Result<tonic::Response<Self::GetContainerEventsStream>, tonic::Status> {
                let events = self.0.container_events().await?;
                Ok(tonic::Response::new(Box::pin(Events(events))))
            }
        }

        #[async_trait::async_trait]
        impl RuntimeService for RemoteRuntime {
            $(
                async fn $name(&self, request: cri::$request) -> Result<cri::$response, CriError> {
                    Ok(self.0.clone().$name(request).await?.into_inner())
                }
            )*
            async fn container_events(
                &self,
            ) -> Result<mpsc::Receiver<cri::ContainerEventResponse>, CriError> {
                let request = cri::GetEventsRequest {};
                let mut stream = self.0.clone().get_container_events(request).await?.into_inner();
                let (send, receive) = mpsc::channel(EVENT_QUEUE);
                #[expect(clippy::disallowed_methods, reason = "ends with the channel or the stream")]
                tokio::spawn(async move {
                    while let Some(Ok(event)) = stream.next().await {
                        if send.send(event).await.is_err() {
                            break;
                        }
                    }
                });
                Ok(receive)
            }
        }
    };
}
runtime_methods!(runtime_adapters);

macro_rules! image_adapters {
    (required { $($name:ident $request:ident $response:ident,)* } optional {}) => {
        #[async_trait::async_trait]
        impl ImageRpc for ImageServer {
            $(
                async fn $name(
                    &self,
                    request: tonic::Request<cri::$request>,
                ) -> Result<tonic::Response<cri::$response>, tonic::Status> {
                    Ok(tonic::Response::new(self.0.$name(request.into_inner()).await?))
                }
            )*
            type StreamImagesStream = Streamed<cri::StreamImagesResponse>;
            async fn stream_images(
                &self,
                _request: tonic::Request<cri::StreamImagesRequest>,
            ) -> Result<tonic::Response<Self::StreamImagesStream>, tonic::Status> {
                Err(CriError::unimplemented("stream_images").into())
            }
        }

        #[async_trait::async_trait]
        impl ImageService for RemoteImages {
            $(
                async fn $name(&self, request: cri::$request) -> Result<cri::$response, CriError> {
                    Ok(self.0.clone().$name(request).await?.into_inner())
                }
            )*
        }
    };
}
image_methods!(image_adapters);

/// A channel of events as a stream.
struct Events(mpsc::Receiver<cri::ContainerEventResponse>);

impl Stream for Events {
    type Item = Result<cri::ContainerEventResponse, tonic::Status>;
    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|event| event.map(Ok))
    }
}
