//! Requests that another server answers.
//!
//! Owns what such a request says: who asks stands in headers that only a client with the front
//! proxy's certificate may send, so what a client sent under these names is dropped. Streams and
//! upgrades pass as they are. Example: `GET /apis/metrics.k8s.io/v1beta1/nodes` by alice →
//! the same path at an endpoint of the Service, with `X-Remote-User: alice`.
//! Source: kube-aggregator v0.36.3 pkg/apiserver/handler_proxy.go, client-go v0.36.3
//! transport/round_trippers.go (SetAuthProxyHeaders, headerKeyEscape), apimachinery v0.36.3
//! pkg/util/proxy/{upgradeaware,transport}.go, apiserver v0.36.3 pkg/util/proxy/proxy.go.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use transport::client::ResponseTimeout;
use transport::{Body, Request, Response};

use super::ApiService;
use crate::{Server, UserInfo, answer, filters, headers};

/// For questions of our own and for discovery.
const PROBE: Duration = Duration::from_secs(5);
/// The longest document that we ask for ourselves.
const DOCUMENT_MOST: usize = 16 << 20;

/// Plain text as Go's servers send with an error.
fn refusal(code: u16, text: &str) -> Response {
    let mut response = answer::text(code, format!("{text}\n"));
    let headers = response.headers_mut();
    let name = HeaderName::from_static("x-content-type-options");
    headers.insert(name, HeaderValue::from_static("nosniff"));
    response
}

/// Passes a request on and its answer back.
pub(crate) async fn run(
    server: &Server,
    service: &ApiService,
    user: &UserInfo,
    mut request: Request,
) -> Response {
    let Some(backend) = service.backend.as_ref().filter(|_| service.available) else {
        return refusal(503, "service unavailable");
    };
    let path = request.uri().path().to_owned();
    let upgrades = request.headers().contains_key(header::UPGRADE);
    let peer = request.extensions().get::<transport::PeerAddr>().copied();
    let host = headers::host(&request);
    request.extensions_mut().remove::<UserInfo>();
    if path.trim_matches('/').split('/').count() == 3 {
        // Discovery: every client waits for it.
        request.extensions_mut().insert(ResponseTimeout(PROBE));
    }
    let map = request.headers_mut();
    headers::clean(map, upgrades);
    map.remove(header::HOST);
    if let Some(peer) = peer {
        headers::forwarded_for(map, &peer.0.ip().to_string());
    }
    let forwarded = [
        ("x-forwarded-uri", path.as_str()),
        ("x-forwarded-host", host.as_str()),
        ("x-forwarded-proto", "https"),
    ];
    for (name, value) in forwarded {
        if let Ok(value) = HeaderValue::from_str(value) {
            map.insert(HeaderName::from_static(name), value);
        }
    }
    if identify(map, user).is_none() {
        return refusal(500, "the user cannot be said in headers");
    }
    let answer = server.outbound.stream(backend, request).await;
    let mut response = match answer {
        Ok(response) => response,
        Err(error) => {
            let (name, err) = (&service.name, base::Chain(&error));
            tracing::debug!(name, %err, "an aggregated server does not answer");
            let text = format!("error trying to reach service: {err}");
            return refusal(503, &text);
        }
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return response;
    }
    if response.status().is_redirection() && response.headers().contains_key(header::LOCATION) {
        let text = "the backend attempted to redirect this request, which is not permitted";
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        return response;
    }
    let map = response.headers_mut();
    headers::of_one_connection(map, false);
    for name in ["credentials", "headers", "methods", "origin"] {
        map.remove(format!("access-control-allow-{name}"));
    }
    response.extensions_mut().insert(filters::AsIs);
    response
}

/// Says who asks; none: it cannot be said.
fn identify(map: &mut HeaderMap, user: &UserInfo) -> Option<()> {
    let foreign: Vec<HeaderName> = map
        .keys()
        .filter(|name| name.as_str().starts_with("x-remote-"))
        .cloned()
        .collect();
    for name in foreign {
        map.remove(name);
    }
    let value = |text: &str| HeaderValue::from_bytes(text.as_bytes()).ok();
    map.insert("x-remote-user", value(&user.name)?);
    if !user.uid.is_empty() {
        map.insert("x-remote-uid", value(&user.uid)?);
    }
    for group in &user.groups {
        map.append("x-remote-group", value(group)?);
    }
    for (key, values) in &user.extra {
        let name = format!("x-remote-extra-{}", escape(key));
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        for one in values {
            map.append(name.clone(), value(one)?);
        }
    }
    Some(())
}

/// What cannot stand in a header's name, as percent and two digits.
fn escape(key: &str) -> String {
    let mut out = String::with_capacity(key.len());
    for byte in key.bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&byte);
        if plain {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Where that path is, as messages name it.
pub(super) fn url(service: &ApiService, path: &str) -> String {
    let origin = service.backend.as_ref().map(|backend| backend.url());
    let origin = origin.unwrap_or_default();
    format!("{}{path}", origin.trim_end_matches('/'))
}

/// A document of the server, asked for by the API server itself: code, headers and body.
pub(super) async fn ask(
    server: &Server,
    service: &ApiService,
    path: &str,
    accept: &str,
) -> Result<(u16, HeaderMap, Bytes), String> {
    let failed = |cause: String| format!("Get {:?}: {cause}", url(service, path));
    let Some(backend) = &service.backend else {
        return Err(failed("it is served here".to_owned()));
    };
    let user = UserInfo {
        name: "system:kube-aggregator".to_owned(),
        // Whatever the roles say: this must be answered.
        groups: vec!["system:masters".to_owned()],
        ..UserInfo::default()
    };
    let mut request = http::Request::builder()
        .uri(path)
        .header(header::ACCEPT, accept)
        .header(header::USER_AGENT, "kube-aggregator")
        .extension(ResponseTimeout(PROBE))
        .body(Body::empty())
        .map_err(|error| failed(error.to_string()))?;
    identify(request.headers_mut(), &user);
    let exchange = async {
        let answer = server.outbound.send(backend, request).await;
        let response = answer.map_err(|error| failed(base::Chain(&error).to_string()))?;
        let (parts, body) = response.into_parts();
        let body = body.collect(DOCUMENT_MOST).await;
        let body = body.map_err(|error| failed(error.to_string()))?;
        Ok((parts.status.as_u16(), parts.headers, body))
    };
    match tokio::time::timeout(PROBE, exchange).await {
        Ok(done) => done,
        Err(_) => Err(failed(
            "context deadline exceeded (Client.Timeout exceeded while awaiting headers)".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests;
