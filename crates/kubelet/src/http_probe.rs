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

/// How many redirects of the same host are followed.
const REDIRECTS: usize = 10;

/// 200–399 succeed; the error holds upstream's words. A redirect is followed on the same host; one
/// that leads elsewhere is a success with the warning that is handed back.
pub(crate) async fn get(
    host: &str,
    port: u16,
    path: &str,
    https: bool,
    headers: &[(String, String)],
) -> Result<Option<String>, String> {
    let path = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    };
    let mut target = Target {
        host: host.to_owned(),
        port,
        path,
        https,
    };
    for _ in 0..REDIRECTS {
        let response = ask(&target, headers).await?;
        let code = response.status().as_u16();
        let place = response.headers().get(http::header::LOCATION);
        let place = place.and_then(|place| place.to_str().ok().map(str::to_owned));
        // Reading the body is a courtesy to the server, bounded in size and time.
        let body = response.into_body().collect(BODY_LIMIT_BYTES);
        let body = tokio::time::timeout(Duration::from_secs(1), body).await;
        match (code, place) {
            (301 | 302 | 303 | 307 | 308, Some(place)) => match target.follow(&place) {
                Some(next) => target = next,
                None => {
                    let body = body.ok().and_then(Result::ok).unwrap_or_default();
                    let body = String::from_utf8_lossy(&body).into_owned();
                    return Ok(Some(format!(
                        "Probe terminated redirects, Response body: {body}"
                    )));
                }
            },
            (200..400, _) => return Ok(None),
            _ => return Err(format!("HTTP probe failed with statuscode: {code}")),
        }
    }
    Err(format!("Get \"{target}\": stopped after 10 redirects"))
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
struct Target {
    host: String,
    port: u16,
    path: String,
    https: bool,
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        let (open, close) = match self.host.contains(':') {
            true => ("[", "]"),
            false => ("", ""),
        };
        write!(
            f,
            "{scheme}://{open}{}{close}:{}{}",
            self.host, self.port, self.path
        )
    }
}

impl Target {
    /// Where a redirect leads; `None` when that is another host.
    fn follow(&self, place: &str) -> Option<Self> {
        let uri: http::Uri = place.parse().ok()?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let mut next = self.clone();
        if path.starts_with('/') {
            next.path = path.to_owned();
        } else {
            let folder = self.path.rfind('/').map_or("", |at| &self.path[..at]);
            next.path = format!("{folder}/{path}");
        }
        if let Some(host) = uri.host() {
            if host.trim_matches(['[', ']']) != self.host {
                return None;
            }
            next.https = uri
                .scheme_str()
                .map_or(self.https, |scheme| scheme == "https");
            next.port = uri.port_u16().unwrap_or(if next.https { 443 } else { 80 });
        }
        Some(next)
    }
}

async fn ask(target: &Target, headers: &[(String, String)]) -> Result<transport::Response, String> {
    let endpoint = if target.https {
        Endpoint::https(&target.host, target.port, ClientTls::new(Trust::Anyone))
    } else {
        Endpoint::http(&target.host, target.port)
    };
    let client = HttpClient::new(endpoint).map_err(|error| base::Chain(&error).to_string())?;
    let mut request = Request::builder()
        .method(Method::GET)
        .uri(&target.path)
        .header(http::header::USER_AGENT, "kube-probe/1.36")
        .header(http::header::ACCEPT, "*/*")
        .header(http::header::CONNECTION, "close")
        .body(Body::empty())
        .map_err(|error| format!("request {:?}: {error}", target.path))?;
    for (name, value) in headers {
        let pair = (
            HeaderName::try_from(name.as_str()),
            HeaderValue::try_from(value.as_str()),
        );
        if let (Ok(name), Ok(value)) = pair {
            request.headers_mut().insert(name, value);
        }
    }
    let answer = client.call(request).await;
    answer.map_err(|error| format!("Get \"{target}\": {}", base::Chain(&error)))
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
pub(crate) async fn grpc_health(
    host: &str,
    port: u16,
    service: &str,
    limit: Duration,
) -> Result<(), String> {
    let authority = if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    };
    // Upstream's client tries to connect until its time is up, whatever stands in the way.
    let failed = || {
        format!(
            "timeout: failed to connect service \"{authority}\" within {limit:?}: context deadline exceeded"
        )
    };
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{authority}"))
        .map_err(|_| failed())?
        .connect()
        .await
        .map_err(|_| failed())?;
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|_| failed())?;
    let codec: tonic_prost::ProstCodec<HealthCheckRequest, HealthCheckResponse> =
        tonic_prost::ProstCodec::default();
    let path = http::uri::PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let answer = client
        .unary(tonic::Request::new(request), path, codec)
        .await
        .map_err(|status| match status.code() {
            tonic::Code::Unimplemented => format!(
                "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {}",
                status.message()
            ),
            tonic::Code::DeadlineExceeded => {
                format!("timeout: health rpc did not complete within {limit:?}")
            }
            code => format!(
                "error: health rpc probe failed: rpc error: code = {code:?} desc = {}",
                status.message()
            ),
        })?;
    let said = match answer.into_inner().status {
        1 => return Ok(()),
        2 => "NOT_SERVING",
        3 => "SERVICE_UNKNOWN",
        _ => "UNKNOWN",
    };
    Err(format!("service unhealthy (responded with {said:?})"))
}

#[cfg(test)]
mod tests {
    use super::Target;

    #[test]
    fn redirects_of_the_same_host_are_followed() {
        let target = Target {
            host: "10.0.0.1".to_owned(),
            port: 8080,
            path: "/a/b".to_owned(),
            https: false,
        };
        let follow = |place| target.follow(place).map(|next| next.to_string());
        let to = |url: &str| Some(url.to_owned());
        assert_eq!(follow("/x?y"), to("http://10.0.0.1:8080/x?y"));
        assert_eq!(follow("http://10.0.0.1/x"), to("http://10.0.0.1:80/x"));
        assert_eq!(follow("https://10.0.0.1"), to("https://10.0.0.1:443/"));
        assert_eq!(follow("http://0.0.0.0/"), None);
    }
}
