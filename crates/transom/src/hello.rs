//! The demo's container: answers every HTTP request with a greeting. Needs nothing but the binary
//! itself, so that the image is one file.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result};
use base::Shutdown;
use transport::server::{ServerConfig, serve};
use transport::{Body, Request, Response, service_fn};

pub(crate) fn run(port: u16, version: &str) -> Result<()> {
    let version = version.to_owned();
    base::telemetry::init("info");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let listener = tokio::net::TcpListener::bind(address)
            .await
            .with_context(|| format!("listen on {address}"))?;
        tracing::info!(%address, "hello listens");
        let name = std::env::var("HOSTNAME")
            .unwrap_or_else(|_| rustix_hostname().unwrap_or_else(|| "somewhere".to_owned()));
        let service = service_fn(move |request: Request| {
            let text = format!(
                "Hello from {name} {version}: {} {}\n",
                request.method(),
                request.uri().path()
            );
            async move { Response::new(Body::from(text)) }
        });
        let shutdown = Shutdown::new();
        let ends = shutdown.clone();
        crate::server::on_signal(&shutdown, move || ends.trigger());
        serve(listener, ServerConfig::default(), service, shutdown).await?;
        Ok(())
    })
}

fn rustix_hostname() -> Option<String> {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .map(|name| name.trim().to_owned())
}
