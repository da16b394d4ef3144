//! The CRI services on a unix socket, for crictl and other clients.
//!
//! Root only (mode 0600). A stale socket of an earlier run is replaced.

use std::fs;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use base::Shutdown;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use nodeapi::{ImageService, RuntimeService, socket};
use tokio::net::{UnixListener, UnixStream};
use tonic::codegen::Service as _;

/// Why the socket is not served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
    /// It cannot be made.
    #[error("bind {}", path.display())]
    Bind {
        /// The socket.
        path: PathBuf,
        /// Cause.
        #[source]
        cause: io::Error,
    },
    /// Nobody answers there.
    #[error("connect to {}", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Cause.
        #[source]
        cause: tonic::transport::Error,
    },
}

/// The image service behind a socket that `serve` made.
pub async fn connect(path: &Path) -> Result<socket::RemoteImages, SocketError> {
    let failed = |cause| SocketError::Connect {
        path: path.into(),
        cause,
    };
    let channel = tonic::transport::Endpoint::from_static("http://cri")
        .connect_with_connector(Dial(path.into()))
        .await
        .map_err(failed)?;
    Ok(socket::RemoteImages::new(channel))
}

struct Dial(PathBuf);

impl tonic::codegen::Service<http::Uri> for Dial {
    type Response = TokioIo<UnixStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Uri) -> Self::Future {
        let path = self.0.clone();
        Box::pin(async move {
            // A socket's address holds 107 bytes: a long folder is named by a descriptor.
            let folder = fs::File::open(path.parent().unwrap_or(Path::new("/")))?;
            let name = path.file_name().unwrap_or_default();
            let short = Path::new("/proc/self/fd")
                .join(folder.as_raw_fd().to_string())
                .join(name);
            UnixStream::connect(short).await.map(TokioIo::new)
        })
    }
}

/// Serves both services until shutdown.
pub async fn serve(
    path: &Path,
    runtime: Arc<dyn RuntimeService>,
    images: Arc<dyn ImageService>,
    shutdown: Shutdown,
) -> Result<(), SocketError> {
    let listener = bind(path).map_err(|cause| SocketError::Bind {
        path: path.into(),
        cause,
    })?;
    let (runtime, images) = (socket::serve_runtime(runtime), socket::serve_images(images));
    loop {
        let accepted = tokio::select! {
            () = shutdown.wait() => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(e) => {
                // Out of descriptors: others end, then it goes on.
                tracing::warn!(err = %e, "accept on the CRI socket");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (runtime, images) = (runtime.clone(), images.clone());
        let route = service_fn(move |request: http::Request<hyper::body::Incoming>| {
            let (mut runtime, mut images) = (runtime.clone(), images.clone());
            async move {
                match request
                    .uri()
                    .path()
                    .starts_with("/runtime.v1.ImageService/")
                {
                    true => images.call(request).await,
                    // An unknown method of either gets the same answer.
                    false => runtime.call(request).await,
                }
            }
        });
        base::tasks::spawn("cri connection", &shutdown, async move {
            let served = http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), route)
                .await;
            if let Err(e) = served {
                tracing::debug!(err = %base::Chain(&e), "CRI connection ended");
            }
        });
    }
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    // Under another name until it listens, so that whoever sees it can connect.
    let fresh = path.with_extension("new");
    match fs::remove_file(&fresh) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(&fresh)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600))?;
    fs::rename(&fresh, path)?;
    Ok(listener)
}
