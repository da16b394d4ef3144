//! One HTTP request of a probe or hook: only the status line and the beginning of the body count.
//!
//! A connection of its own for each probe, as upstream: what is tested includes accepting one.
//! Source: kubernetes v1.36 pkg/probe/http/http.go.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Request};
use transport::client::{Endpoint, HttpClient};
use transport::tls::{ClientTls, Trust};
use transport::{Body, Transport};

const BODY_LIMIT_BYTES: usize = 10 << 10;

/// 200–399 succeed; the error holds upstream's words.
pub(crate) async fn get(
    host: &str,
    port: u16,
    path: &str,
    https: bool,
    headers: &[(String, String)],
) -> Result<(), String> {
    let path = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    };
    let endpoint = if https {
        Endpoint::https(host, port, ClientTls::new(Trust::Anyone))
    } else {
        Endpoint::http(host, port)
    };
    let client = HttpClient::new(endpoint).map_err(|error| base::Chain(&error).to_string())?;
    let mut request = Request::builder()
        .method(Method::GET)
        .uri(&path)
        .header(http::header::USER_AGENT, "kube-probe/1.36")
        .header(http::header::ACCEPT, "*/*")
        .header(http::header::CONNECTION, "close")
        .body(Body::empty())
        .map_err(|error| format!("request {path:?}: {error}"))?;
    for (name, value) in headers {
        let pair = (
            HeaderName::try_from(name.as_str()),
            HeaderValue::try_from(value.as_str()),
        );
        if let (Ok(name), Ok(value)) = pair {
            request.headers_mut().insert(name, value);
        }
    }
    let scheme = if https { "https" } else { "http" };
    let response = client.call(request).await.map_err(|error| {
        format!(
            "Get \"{scheme}://{host}:{port}{path}\": {}",
            base::Chain(&error)
        )
    })?;
    let code = response.status().as_u16();
    if (200..400).contains(&code) {
        return Ok(());
    }
    // Reading the body is a courtesy to the server, bounded in size and time.
    let body = response.into_body().collect(BODY_LIMIT_BYTES);
    let _ = tokio::time::timeout(Duration::from_secs(1), body).await;
    Err(format!("HTTP probe failed with statuscode: {code}"))
}

/// What the health service is asked.
#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

/// What it answers; 1 is SERVING.
#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// `grpc.health.v1.Health/Check` must answer SERVING.
/// Source: kubernetes v1.36 pkg/probe/grpc/grpc.go.
pub(crate) async fn grpc_health(host: &str, port: u16, service: &str) -> Result<(), String> {
    let authority = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    let failed = |error: &dyn std::fmt::Display| {
        format!("failed to connect service \"{authority}:{port}\": {error}")
    };
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{authority}:{port}"))
        .map_err(|error| failed(&error))?
        .connect()
        .await
        .map_err(|error| failed(&error))?;
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|error| failed(&error))?;
    let codec: tonic_prost::ProstCodec<HealthCheckRequest, HealthCheckResponse> =
        tonic_prost::ProstCodec::default();
    let path = http::uri::PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let answer = client
        .unary(tonic::Request::new(request), path, codec)
        .await
        .map_err(|status| format!("service {service:?}: {}", status.message()))?;
    match answer.into_inner().status {
        1 => Ok(()),
        2 => Err("service unhealthy (responded with \"NOT_SERVING\")".to_owned()),
        3 => Err("service unhealthy (responded with \"SERVICE_UNKNOWN\")".to_owned()),
        _ => Err("service unhealthy (responded with \"UNKNOWN\")".to_owned()),
    }
}
