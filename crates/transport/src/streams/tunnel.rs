//! Passes an upgraded connection through: the proxy neither speaks nor understands its protocol.
//!
//! The client's connection is taken over only after the backend has said 101, so that a backend
//! that refuses cannot be reached by bytes smuggled behind the request (CVE-2018-1002105).

use http::StatusCode;

use super::detached;
use crate::upgrade::{self, Upgraded};
use crate::{Request, Response, Transport, TransportError};

/// Buffer of each direction.
const BUFFER: usize = 16 * 1024;

/// Copies both ways until both sides have ended or one broke.
pub async fn tunnel(mut client: Upgraded, mut backend: Upgraded) {
    let copied =
        tokio::io::copy_bidirectional_with_sizes(&mut client, &mut backend, BUFFER, BUFFER).await;
    if let Err(error) = copied {
        tracing::debug!(err = %error, "tunnel broke");
    }
}

/// Sends an upgrade request on to `backend`; its 101 joins the two connections, every other answer
/// is passed on as it is. Path and headers are the caller's to rewrite before.
pub async fn proxy_upgrade(
    mut request: Request,
    backend: &dyn Transport,
) -> Result<Response, TransportError> {
    let client = upgrade::of_request(&mut request);
    let mut response = backend.call(request).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(response);
    }
    let refused = |reason: &str| TransportError::Upgrade {
        endpoint: "backend".to_owned(),
        reason: reason.to_owned(),
    };
    let backend = upgrade::of_response(&mut response);
    let backend = backend.ok_or_else(|| refused("it sent 101 without a connection"))?;
    let client = client.ok_or_else(|| refused("the client's connection cannot be upgraded"))?;
    detached("tunnel", async move {
        match tokio::try_join!(client, backend) {
            Ok((client, backend)) => tunnel(client, backend).await,
            Err(error) => tracing::debug!(err = %error, "upgrade broke"),
        }
    });
    Ok(response)
}
