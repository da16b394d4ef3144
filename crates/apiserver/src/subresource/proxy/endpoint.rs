//! `proxy` of pods and services: requests are passed on to an address of the pod network.
//!
//! Example: `GET …/services/https:web:metrics/proxy/a/b?c=d` asks `https://10.1.0.7:9443/a/b?c=d`
//! when the EndpointSlices of `web` say so. Absolute links of HTML pages and redirects are made
//! to lead through the proxy again. Certificates are not checked: they name what only the pod
//! network knows.
//! Source: kubernetes v1.36.3 pkg/registry/core/{pod/strategy.go,service/storage/rest.go};
//! apimachinery v0.36.3 pkg/util/{net/port_split.go,proxy/{transport,upgradeaware}.go}.

use api::Status;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Uri};
use registry::Lookup;
use schema::Ref;
use transport::{Body, Request, Response};

use crate::outbound::{self, Backend, Server};
use crate::verbs::Call;

/// Pages whose links are rewritten at most.
const PAGE_MOST: usize = 4 << 20;

pub(super) async fn run(call: &Call, mut request: Request) -> Result<Response, Status> {
    let (scheme, name, port) = split(&call.info.name).ok_or_else(|| {
        let kind = call.resource().kind.to_lowercase();
        Status::bad_request(&format!("invalid {kind} request {:?}", call.info.name))
    })?;
    let (host, port) = if call.resource().kind == "Pod" {
        pod(call, name, port)?
    } else {
        service(call, name, port)?
    };
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host
    };
    let scheme = if scheme.is_empty() { "http" } else { scheme };
    let origin = format!("{scheme}://{host}:{port}");
    let path = request.uri().path().to_owned();
    let (before, rest) = path.split_once("/proxy").unwrap_or((&path, ""));
    let before = format!("{before}/proxy");
    let query = request.uri().query();
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let slash = if rest.starts_with('/') { "" } else { "/" };
    if rest.is_empty() && request.method() == http::Method::GET {
        // Relative links only work below a folder.
        let mut moved = crate::answer::bytes(301, "text/html; charset=utf-8", Body::default());
        if let Ok(value) = HeaderValue::from_str(&format!("{before}/{query}")) {
            moved.headers_mut().insert(LOCATION, value);
        }
        return Ok(moved);
    }
    let uri: Uri = format!("{origin}{slash}{rest}{query}")
        .parse()
        .map_err(|_| Status::bad_request("the URL behind the proxy cannot be built"))?;
    *request.uri_mut() = uri;
    request.extensions_mut().remove::<crate::UserInfo>();
    let headers = request.headers_mut();
    headers.remove(AUTHORIZATION);
    headers.remove(http::header::HOST);
    // Pages are rewritten, so they must come as they are.
    headers.remove(http::header::ACCEPT_ENCODING);
    let backend = Backend {
        server: Server::Url(origin),
        ca: Vec::new(),
        insecure: true,
    };
    let sent = call.server.outbound.stream(&backend, request).await;
    let response = sent.map_err(|error| {
        Status::service_unavailable(&format!(
            "error trying to reach service: {}",
            base::Chain(&error)
        ))
    })?;
    Ok(rewritten(response, &before).await)
}

/// `[scheme:]name[:port]`
fn split(text: &str) -> Option<(&str, &str, &str)> {
    let parts: Vec<&str> = text.split(':').collect();
    match parts.as_slice() {
        [name] if !name.is_empty() => Some(("", name, "")),
        [name, port] if !name.is_empty() => Some(("", name, port)),
        [scheme @ ("http" | "https" | ""), name, port] if !name.is_empty() => {
            Some((scheme, name, port))
        }
        _ => None,
    }
}

fn pod(call: &Call, name: &str, port: &str) -> Result<(String, u16), Status> {
    let stored = call.read(name)?;
    let pod = crate::object::parse(&stored.value, stored.revision);
    let pod = pod.as_ref();
    let ip = pod.at(&["status", "podIP"]).and_then(Ref::as_str);
    let Some(ip) = ip.filter(|ip| !ip.is_empty()) else {
        return Err(Status::bad_request("address not allowed"));
    };
    let number = if port.is_empty() {
        // As upstream: the first port that a container declares.
        let containers = pod
            .get("spec")
            .into_iter()
            .flat_map(|s| s.items("containers"));
        let mut ports = containers.flat_map(|c| c.items("ports"));
        ports.find_map(|p| p.int("containerPort")).unwrap_or(80)
    } else {
        port.parse::<i64>()
            .map_err(|_| Status::bad_request(&format!("invalid port {port:?}")))?
    };
    let number = u16::try_from(number)
        .map_err(|_| Status::bad_request(&format!("invalid port {port:?}")))?;
    Ok((ip.to_owned(), number))
}

fn service(call: &Call, name: &str, port: &str) -> Result<(String, u16), Status> {
    let namespace = &call.info.namespace;
    let lookup = &call.server.lookup;
    let Some(found) = lookup.get("services/specs", namespace, name) else {
        return Err(Status::not_found(&call.gr(), name));
    };
    let ports: Vec<Ref<'_>> = found
        .as_ref()
        .get("spec")
        .into_iter()
        .flat_map(|spec| spec.items("ports"))
        .collect();
    let number = |of: &&Ref<'_>| of.int("port").map(|port| port.to_string());
    let chosen = match (port, ports.as_slice()) {
        ("", [one]) => Some(one),
        ("", several) => several.iter().find(|of| of.str("name").is_empty()),
        _ => ports
            .iter()
            .find(|of| of.str("name") == port || number(of).as_deref() == Some(port)),
    };
    let chosen = chosen
        .and_then(|of| of.int("port"))
        .and_then(|port| u16::try_from(port).ok());
    let unavailable = || {
        let full = if port.is_empty() {
            name.to_owned()
        } else {
            format!("{name}:{port}")
        };
        Status::service_unavailable(&format!("no endpoints available for service {full:?}"))
    };
    let chosen = chosen.ok_or_else(|| {
        Status::service_unavailable(&format!(
            "no service port {port:?} found for service {name:?}"
        ))
    })?;
    let all = outbound::resolve(lookup, namespace, name, chosen).map_err(|_| unavailable())?;
    all.into_iter().next().ok_or_else(unavailable)
}

/// Redirects and links that begin with a slash lead through the proxy.
async fn rewritten(mut response: Response, before: &str) -> Response {
    let headers = response.headers_mut();
    let moved = headers.get(LOCATION).and_then(|v| v.to_str().ok());
    if let Some(moved) = moved
        && let Ok(uri) = moved.parse::<Uri>()
        && let Some(path) = uri.path_and_query()
        && path.as_str().starts_with('/')
        && let Ok(value) = HeaderValue::from_str(&format!("{before}{path}"))
    {
        headers.insert(LOCATION, value);
    }
    let html = headers
        .get(CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .is_some_and(|media| media.starts_with("text/html"));
    if !html || headers.contains_key(CONTENT_ENCODING) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(page) = body.collect(PAGE_MOST).await else {
        let status = Status::internal("the page is too large to be rewritten");
        return crate::answer::status(&status, &crate::negotiate::Accepted::JSON);
    };
    let page = links(&String::from_utf8_lossy(&page), before);
    parts.headers.remove(CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(page))
}

/// Puts `before` in front of absolute paths in attributes that hold links.
fn links(page: &str, before: &str) -> String {
    const ATTRIBUTES: [&str; 8] = [
        "href=",
        "src=",
        "action=",
        "cite=",
        "longdesc=",
        "data=",
        "background=",
        "poster=",
    ];
    let mut out = String::with_capacity(page.len() + 256);
    let mut rest = page;
    while let Some((at, name)) = ATTRIBUTES
        .iter()
        .filter_map(|name| rest.find(name).map(|at| (at, name)))
        .min_by_key(|(at, _)| *at)
    {
        let end = at + name.len();
        out.push_str(&rest[..end]);
        rest = &rest[end..];
        let quoted = rest.starts_with(['"', '\'']);
        let tail = if quoted { &rest[1..] } else { rest };
        if tail.starts_with('/') && !tail.starts_with("//") && !tail.starts_with(before) {
            if quoted {
                out.push_str(&rest[..1]);
            }
            out.push_str(before);
            rest = tail;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::{links, split};

    #[test]
    fn names_carry_schemes_and_ports() {
        assert_eq!(split("a"), Some(("", "a", "")));
        assert_eq!(split("a:80"), Some(("", "a", "80")));
        assert_eq!(split("https:a:web"), Some(("https", "a", "web")));
        assert_eq!(split("ftp:a:80"), None);
        assert_eq!(split(":80"), None);
    }

    #[test]
    fn absolute_links_lead_through_the_proxy() {
        let page = r#"<a href="/x">y</a><img src='//h/z'><a href="rel">"#;
        assert_eq!(
            links(page, "/p/proxy"),
            r#"<a href="/p/proxy/x">y</a><img src='//h/z'><a href="rel">"#
        );
    }
}
