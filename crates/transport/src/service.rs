//! The two ends of a request: [`Service`] answers, [`Transport`] asks.
//!
//! A component in the same process gets an [`InProcess`] transport with its identity as request
//! extensions: the same function runs as for a socket, with the buffers handed over as they are.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;

use crate::{Body, TransportError, upgrade};

/// A request with our body.
pub type Request = http::Request<Body>;
/// A response with our body.
pub type Response = http::Response<Body>;
/// A boxed future that may move between threads.
pub type BoxFuture<'a, T> = futures_util::future::BoxFuture<'a, T>;

/// Answers requests: what a server serves, on a socket or in process.
pub trait Service: Send + Sync + 'static {
    /// Answers one request. Failures are responses.
    fn call(&self, request: Request) -> BoxFuture<'static, Response>;
}

impl<S: Service + ?Sized> Service for Arc<S> {
    fn call(&self, request: Request) -> BoxFuture<'static, Response> {
        (**self).call(request)
    }
}

/// Carries requests to a service: what a client uses.
pub trait Transport: Send + Sync + 'static {
    /// Sends one request; the URI may be a path only.
    fn call(&self, request: Request) -> BoxFuture<'static, Result<Response, TransportError>>;
}

impl<T: Transport + ?Sized> Transport for Arc<T> {
    fn call(&self, request: Request) -> BoxFuture<'static, Result<Response, TransportError>> {
        (**self).call(request)
    }
}

/// A function as a service.
pub fn service_fn<F, R>(function: F) -> Arc<dyn Service>
where
    F: Fn(Request) -> R + Send + Sync + 'static,
    R: Future<Output = Response> + Send + 'static,
{
    struct Function<F>(F);
    impl<F, R> Service for Function<F>
    where
        F: Fn(Request) -> R + Send + Sync + 'static,
        R: Future<Output = Response> + Send + 'static,
    {
        fn call(&self, request: Request) -> BoxFuture<'static, Response> {
            Box::pin((self.0)(request))
        }
    }
    Arc::new(Function(function))
}

/// Request extension: the verified certificate chain of the client, leaf first.
#[derive(Clone, Debug)]
pub struct PeerCertificates(pub Arc<[CertificateDer<'static>]>);

/// Request extension: the address that the request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddr(pub SocketAddr);

/// Calls a service of this process as a transport.
///
/// `extensions` are put on every request: they say who the caller is. Upgrades work: when the
/// service answers 101, caller and service are joined by an in-memory pipe.
#[derive(Clone)]
pub struct InProcess {
    service: Arc<dyn Service>,
    extensions: http::Extensions,
}

impl std::fmt::Debug for InProcess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InProcess")
    }
}

impl InProcess {
    /// A transport to `service` whose requests carry `extensions`.
    pub fn new(service: Arc<dyn Service>, extensions: http::Extensions) -> Self {
        Self {
            service,
            extensions,
        }
    }
}

impl Transport for InProcess {
    fn call(&self, mut request: Request) -> BoxFuture<'static, Result<Response, TransportError>> {
        request.extensions_mut().extend(self.extensions.clone());
        let caller = request
            .headers()
            .contains_key(http::header::UPGRADE)
            .then(|| upgrade::pipe(request.extensions_mut()));
        let response = self.service.call(request);
        Box::pin(async move {
            let mut response = response.await;
            if response.status() == http::StatusCode::SWITCHING_PROTOCOLS
                && let Some(caller) = caller
            {
                caller.attach(response.extensions_mut());
            }
            Ok(response)
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[derive(Clone)]
    struct User(&'static str);

    #[tokio::test]
    async fn in_process_calls_carry_the_identity() {
        let service = service_fn(|request: Request| async move {
            let user = request.extensions().get::<User>().map_or("nobody", |u| u.0);
            Response::new(Body::from(user))
        });
        let mut extensions = http::Extensions::new();
        extensions.insert(User("system:kube-scheduler"));
        let transport = InProcess::new(service, extensions);
        let response = transport.call(Request::new(Body::empty())).await.unwrap();
        let body = response.into_body().collect(100).await.unwrap();
        assert_eq!(body, "system:kube-scheduler");
    }

    #[tokio::test]
    async fn in_process_upgrades_are_pipes() {
        let service = service_fn(|mut request: Request| async move {
            let pending = upgrade::of_request(&mut request).unwrap();
            let shutdown = base::Shutdown::new();
            base::tasks::spawn("echo", &shutdown, async move {
                let mut stream = pending.await.unwrap();
                let mut buffer = [0; 4];
                stream.read_exact(&mut buffer).await.unwrap();
                stream.write_all(&buffer).await.unwrap();
            });
            std::mem::forget(shutdown);
            http::Response::builder()
                .status(101)
                .body(Body::empty())
                .unwrap()
        });
        let transport = InProcess::new(service, http::Extensions::new());
        let request = http::Request::get("/exec")
            .header("upgrade", "websocket")
            .body(Body::empty())
            .unwrap();
        let mut response = transport.call(request).await.unwrap();
        let mut stream = upgrade::of_response(&mut response).unwrap().await.unwrap();
        stream.write_all(b"ping").await.unwrap();
        let mut buffer = [0; 4];
        stream.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"ping");
    }
}
