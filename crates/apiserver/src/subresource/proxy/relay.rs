//! The `proxy` subresource: HTTP through the API server to a pod, a Service's endpoint or a node.
//!
//! Owns the way from `scheme:name:port` to an address, the headers that may pass, and the
//! rewriting of redirects and pages so that their links lead through the proxy again. Upgrades are
//! copied byte by byte. Example: `…/pods/http:web:8080/proxy/a?b` → `http://10.246.0.7:8080/a?b`.
//! Source: kubernetes v1.36.3 pkg/registry/core/{pod/strategy,service/storage/storage,node/strategy}.go
//! (ResourceLocation), apimachinery/pkg/util/proxy/{upgradeaware,transport}.go.

use std::net::IpAddr;

use api::Status;
use http::{HeaderValue, StatusCode, Uri, header};
use schema::Ref;
use transport::{Body, Request, Response};

use super::{html, kubelet};
use crate::outbound::{Backend, Server};
use crate::verbs::Call;
use crate::{headers, object};

/// Pages longer than this pass as they are.
const PAGE_BYTES: usize = 4 << 20;

/// `scheme:name:port` with scheme and port possibly missing.
struct Target<'a> {
    scheme: &'a str,
    name: &'a str,
    port: &'a str,
}

impl<'a> Target<'a> {
    fn parse(id: &'a str, what: &str) -> Result<Self, Status> {
        let parts: Vec<&str> = id.split(':').collect();
        let (scheme, name, port) = match parts.as_slice() {
            [name] => ("", *name, ""),
            [name, port] => ("", *name, *port),
            [scheme, name, port] => (*scheme, *name, *port),
            _ => ("", "", ""),
        };
        if name.is_empty() || !matches!(scheme, "" | "http" | "https") {
            return Err(Status::bad_request(&format!(
                "invalid {what} request {id:?}"
            )));
        }
        Ok(Self { scheme, name, port })
    }

    fn origin(&self, address: &str, port: &str) -> String {
        let scheme = match self.scheme {
            "" => "http",
            scheme => scheme,
        };
        let address = match address.contains(':') {
            true => format!("[{address}]"),
            false => address.to_owned(),
        };
        match port {
            "" => format!("{scheme}://{address}"),
            port => format!("{scheme}://{address}:{port}"),
        }
    }
}

/// Where the request goes: `scheme://host:port`, and whether it is the kubelet itself.
fn origin(call: &Call) -> Result<(String, bool), Status> {
    let id = call.info.name.as_str();
    match call.resource().kind.as_ref() {
        "Pod" => {
            let target = Target::parse(id, "pod")?;
            Ok((pod(call, &target)?, false))
        }
        "Service" => {
            let target = Target::parse(id, "service")?;
            Ok((service(call, &target, id)?, false))
        }
        _ => {
            let target = Target::parse(id, "node")?;
            let base = kubelet(call, target.name)?;
            let (address, port) = base.rsplit_once(':').unwrap_or((&base, ""));
            if target.port.is_empty() || target.port == port {
                return Ok((base, true));
            }
            let address = address.trim_start_matches("https://");
            let address = address.trim_matches(['[', ']']);
            Ok((target.origin(address, target.port), false))
        }
    }
}

fn pod(call: &Call, target: &Target<'_>) -> Result<String, Status> {
    let stored = call.read(target.name)?;
    let pod = object::parse(&stored.value, stored.revision);
    let pod = pod.as_ref();
    let first = pod
        .get("spec")
        .into_iter()
        .flat_map(|spec| spec.items("containers"))
        .find_map(|container| container.items("ports").next()?.int("containerPort"));
    let port = match target.port {
        "" => first.map_or_else(String::new, |port| port.to_string()),
        port => port.to_owned(),
    };
    let address = pod.get("status").map_or("", |status| status.str("podIP"));
    if !is_global(address) {
        return Err(Status::bad_request("address not allowed"));
    }
    Ok(target.origin(address, &port))
}

/// Neither loopback nor link-local nor multicast: what a pod cannot own.
fn is_global(address: &str) -> bool {
    match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(v4)) => {
            !(v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast()
                || v4.is_unspecified())
        }
        Ok(IpAddr::V6(v6)) => {
            let link_local = v6.segments()[0] & 0xffc0 == 0xfe80;
            !(v6.is_loopback() || v6.is_multicast() || v6.is_unspecified() || link_local)
        }
        Err(_) => false,
    }
}

fn service(call: &Call, target: &Target<'_>, id: &str) -> Result<String, Status> {
    let namespace = call.info.namespace.as_str();
    let lookup: &dyn registry::Lookup = &call.server.lookup;
    let mut wanted = target.port.to_owned();
    if let Ok(number) = target.port.parse::<i64>() {
        let stored = call.read(target.name)?;
        let service = object::parse(&stored.value, stored.revision);
        let spec = service.as_ref().get("spec");
        let mut ports = spec.into_iter().flat_map(|spec| spec.items("ports"));
        let Some(port) = ports.find(|port| port.int("port") == Some(number)) else {
            return Err(Status::service_unavailable(&format!(
                "no service port {number} found for service {:?}",
                target.name
            )));
        };
        wanted = port.str("name").to_owned();
    }
    let Some(endpoints) = lookup.get("services/endpoints", namespace, target.name) else {
        return Err(Status::not_found(
            &api::Gr::new("", "endpoints"),
            target.name,
        ));
    };
    let subsets: Vec<Ref<'_>> = endpoints.as_ref().items("subsets").collect();
    let none = |who: &str| {
        Status::service_unavailable(&format!("no endpoints available for service {who:?}"))
    };
    if subsets.is_empty() {
        return Err(none(target.name));
    }
    let mut found: Vec<(String, i64)> = Vec::new();
    for subset in subsets {
        let port = subset
            .items("ports")
            .find(|port| port.str("name") == wanted);
        let Some(port) = port.and_then(|port| port.int("port")) else {
            continue;
        };
        // Only addresses that really are a pod's: others could lead anywhere.
        let own = subset.items("addresses").filter(|address| {
            let ip = address.str("ip");
            let Some(reference) = address.get("targetRef") else {
                return false;
            };
            let pod = match reference.str("kind") {
                "Pod" => lookup.get("pods", reference.str("namespace"), reference.str("name")),
                _ => None,
            };
            pod.is_some_and(|pod| {
                let status = pod.as_ref().get("status");
                let mut all = status.into_iter().flat_map(|status| status.items("podIPs"));
                is_global(ip)
                    && (all.any(|entry| entry.str("ip") == ip)
                        || status.is_some_and(|status| status.str("podIP") == ip))
            })
        });
        found.extend(own.map(|address| (address.str("ip").to_owned(), port)));
    }
    let count = u64::try_from(found.len()).unwrap_or(0);
    if count == 0 {
        return Err(none(id));
    }
    let at = usize::try_from(call.server.below(count)).unwrap_or(0);
    let Some((address, port)) = found.get(at) else {
        return Err(none(id));
    };
    Ok(target.origin(address, &port.to_string()))
}

/// Passes a request on and its answer back.
pub(super) async fn run(call: Call, mut request: Request) -> Result<Response, Status> {
    let (origin, is_kubelet) = origin(&call)?;
    let path = request.uri().path().to_owned();
    let query = request.uri().query().map(str::to_owned);
    let (prefix, rest) = split(&path, &call.info.name);
    let reads = matches!(*request.method(), http::Method::GET | http::Method::HEAD);
    let upgrades = request.headers().contains_key(header::UPGRADE);
    if rest.is_empty() && reads && !upgrades {
        return Ok(redirect(&path, query.as_deref()));
    }
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let rest = if rest.is_empty() { "/" } else { rest };
    let url = format!("{origin}{rest}{query}");
    let page = url
        .parse::<Uri>()
        .map_err(|_| Status::bad_request(&format!("{url:?} is not a URL")))?;
    let links = html::Links {
        host: headers::host(&request),
        prefix: prefix.to_owned(),
        backend: page.authority().map_or("", |a| a.as_str()).to_owned(),
    };
    *request.uri_mut() = page;
    clean_request(&mut request, upgrades, &links, rest);
    let answer = match call.server.config.kubelets.clone().filter(|_| is_kubelet) {
        Some(kubelets) => transport::streams::proxy_upgrade(request, kubelets.as_ref()).await,
        // Certificates are not checked: they name what only the pod network knows.
        None => {
            let backend = Backend {
                server: Server::Url(origin),
                ca: Vec::new(),
                insecure: true,
                front_proxy: false,
            };
            call.server.outbound.stream(&backend, request).await
        }
    };
    let mut response = answer.map_err(|error| {
        Status::service_unavailable(&format!(
            "error trying to reach service: {}",
            base::Chain(&error)
        ))
    })?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(response);
    }
    headers::of_one_connection(response.headers_mut(), false);
    rewrite(response, &links).await
}

/// What stands before the rest of the path, and the rest with its first slash.
fn split<'a>(path: &'a str, name: &str) -> (&'a str, &'a str) {
    let marked = format!("/{name}/proxy");
    let end = match path.find(&marked) {
        Some(at) => at + marked.len(),
        // The name is written with escapes.
        None => path
            .find("/proxy")
            .map_or(path.len(), |at| at + "/proxy".len()),
    };
    path.split_at(end)
}

fn redirect(path: &str, query: Option<&str>) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    if let Ok(place) = HeaderValue::try_from(format!("{path}/{query}")) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    response
}

/// Who asks is the API server's business; how the connection is kept is each side's own.
fn clean_request(request: &mut Request, upgrades: bool, links: &html::Links, rest: &str) {
    let peer = request.extensions().get::<transport::PeerAddr>().copied();
    request.extensions_mut().remove::<crate::UserInfo>();
    let map = request.headers_mut();
    headers::clean(map, upgrades);
    // Pages are rewritten, so they must come as they are.
    map.remove(header::ACCEPT_ENCODING);
    if let Some(peer) = peer {
        headers::forwarded_for(map, &peer.0.ip().to_string());
    }
    let uri = format!("{}{rest}", links.prefix);
    if let Ok(uri) = HeaderValue::try_from(uri) {
        map.insert("x-forwarded-uri", uri);
    }
}

/// Leads a redirect, or the links of a page, through the proxy.
async fn rewrite(mut response: Response, links: &html::Links) -> Result<Response, Status> {
    if let Some(place) = response.headers().get(header::LOCATION) {
        let place = place.to_str().unwrap_or_default();
        if let Ok(place) = HeaderValue::try_from(links.rewrite(place)) {
            response.headers_mut().insert(header::LOCATION, place);
        }
        return Ok(response);
    }
    let text = |name| {
        let value: Option<&HeaderValue> = response.headers().get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or("")
    };
    let kind = text(header::CONTENT_TYPE).split(';').next().unwrap_or("");
    let is_page = kind.trim() == "text/html";
    // Compression was not asked for; a server that insists has its pages passed as they are.
    let plain = text(header::CONTENT_ENCODING).is_empty();
    let long = text(header::CONTENT_LENGTH)
        .parse::<usize>()
        .is_ok_and(|length| length > PAGE_BYTES);
    if !is_page || !plain || long {
        return Ok(response);
    }
    let (mut parts, body) = response.into_parts();
    let body = body.collect(PAGE_BYTES).await.map_err(|error| {
        Status::service_unavailable(&format!(
            "error trying to reach service: {}",
            base::Chain(&error)
        ))
    })?;
    let page = html::rewrite(&body, |url| links.rewrite(url));
    parts.headers.remove(header::CONTENT_LENGTH);
    Ok(Response::from_parts(parts, Body::from(page)))
}

#[cfg(test)]
mod tests {
    use super::{Target, is_global, split};

    #[test]
    fn targets() {
        let show = |id: &str| match Target::parse(id, "pod") {
            Ok(target) => target.origin("10.0.0.1", target.port),
            Err(status) => status.message.clone(),
        };
        assert_eq!(show("web"), "http://10.0.0.1");
        assert_eq!(show("web:80"), "http://10.0.0.1:80");
        assert_eq!(show("https:web:443"), "https://10.0.0.1:443");
        assert_eq!(show("https:web:"), "https://10.0.0.1");
        assert_eq!(show("ftp:web:1"), r#"invalid pod request "ftp:web:1""#);
        assert_eq!(show("a:b:c:d"), r#"invalid pod request "a:b:c:d""#);
    }

    #[test]
    fn addresses_that_no_pod_owns() {
        for address in [
            "127.0.0.1",
            "169.254.169.254",
            "0.0.0.0",
            "::1",
            "fe80::1",
            "",
            "x",
        ] {
            assert!(!is_global(address), "{address}");
        }
        assert!(is_global("10.1.2.3") && is_global("fd00::1"));
    }

    #[test]
    fn paths() {
        let path = "/api/v1/namespaces/proxy/pods/web:80/proxy/a/proxy";
        let (before, after) = split(path, "web:80");
        assert_eq!(before, "/api/v1/namespaces/proxy/pods/web:80/proxy");
        assert_eq!(after, "/a/proxy");
        assert_eq!(split("/api/v1/nodes/n/proxy", "n").1, "");
    }
}
