//! Headers of requests that are passed on to other servers.
//!
//! Knows what belongs to one connection, to authentication here, and how a proxy names the client.
//! Source: Go 1.26 net/http/httputil/reverseproxy.go, apiserver v0.36.3
//! pkg/endpoints/filters/{authentication,impersonation}.go.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use transport::Request;

/// Headers that belong to one connection.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "proxy-connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Drops what belongs to one connection; an upgrade keeps what asks for it.
pub(crate) fn of_one_connection(map: &mut HeaderMap, upgrades: bool) {
    let named: Vec<HeaderName> = map
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::try_from(name.trim()).ok())
        .filter(|name| *name != header::UPGRADE)
        .collect();
    for name in named {
        map.remove(name);
    }
    for name in HOP_BY_HOP {
        if !(upgrades && matches!(name, "connection" | "upgrade")) {
            map.remove(name);
        }
    }
}

/// Drops what belongs to one connection and who asks: the latter is the API server's business.
pub(crate) fn clean(map: &mut HeaderMap, upgrades: bool) {
    of_one_connection(map, upgrades);
    let own: Vec<HeaderName> = map
        .keys()
        .filter(|name| {
            let name = name.as_str();
            name == "authorization"
                || name.starts_with("impersonate-")
                || name.starts_with("x-remote-")
        })
        .cloned()
        .collect();
    for name in own {
        map.remove(name);
    }
}

/// The host that the client asked.
pub(crate) fn host(request: &Request) -> String {
    let host = request.headers().get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok());
    host.or_else(|| request.uri().authority().map(http::uri::Authority::as_str))
        .unwrap_or_default()
        .to_owned()
}

/// Adds the client's address to those of the proxies before.
pub(crate) fn forwarded_for(map: &mut HeaderMap, peer: &str) {
    let before: Vec<&str> = map
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    let all = match before.is_empty() {
        true => peer.to_owned(),
        false => format!("{}, {peer}", before.join(", ")),
    };
    if let Ok(value) = HeaderValue::from_str(&all) {
        map.insert("x-forwarded-for", value);
    }
}
