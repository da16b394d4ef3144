//! What a request asks for, from its method and path alone.
//!
//! Example: `GET /api/v1/namespaces/a/pods/b/log` is verb get, resource pods, subresource log,
//! namespace a, name b.
//! Source: kubernetes v1.36.3 apiserver/pkg/endpoints/request/requestinfo.go.

use std::collections::HashMap;

/// What authorization and dispatch see of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestInfo {
    /// Whether it is about a resource.
    pub is_resource: bool,
    /// The whole path.
    pub path: String,
    /// `get`, `list`, `watch`, `create` …; for other paths the method in lower case.
    pub verb: String,
    /// API group; empty for the core.
    pub group: String,
    /// API version.
    pub version: String,
    /// Namespace; empty for the cluster, or for all namespaces.
    pub namespace: String,
    /// Resource.
    pub resource: String,
    /// Subresource.
    pub subresource: String,
    /// Name.
    pub name: String,
    /// Everything behind the group and version.
    pub parts: Vec<String>,
    /// The label selector of a list, for authorizers that look at it.
    pub label_selector: String,
    /// The same for fields.
    pub field_selector: String,
}

/// Decoded query parameters; the first value of each.
pub type Query = HashMap<String, Vec<String>>;

/// Reads `a=b&c=d`.
pub fn query(text: &str) -> Query {
    let mut query = Query::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        query
            .entry(unescape(key))
            .or_default()
            .push(unescape(value));
    }
    query
}

/// Undoes percent and plus.
pub fn unescape(text: &str) -> String {
    if !text.contains(['%', '+']) {
        return text.to_owned();
    }
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let hex = |i: usize| bytes.get(i).and_then(|b| char::from(*b).to_digit(16));
        match (bytes[at], hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                at += 3;
            }
            (b'+', ..) => {
                out.push(b' ');
                at += 1;
            }
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

impl RequestInfo {
    /// From method, path and query.
    pub fn parse(method: &str, path: &str, query: &Query) -> RequestInfo {
        let mut info = RequestInfo {
            path: path.to_owned(),
            verb: method.to_ascii_lowercase(),
            ..RequestInfo::default()
        };
        let mut parts: Vec<String> = path
            .trim_matches('/')
            .split('/')
            .map(|part| match part.contains('+') {
                true => unescape(&part.replace('+', "%2B")),
                false => unescape(part),
            })
            .collect();
        let first = parts.first().map(String::as_str);
        match first {
            Some("api") if parts.len() >= 3 => {
                info.version.clone_from(&parts[1]);
                parts.drain(..2);
            }
            Some("apis") if parts.len() >= 4 => {
                info.group.clone_from(&parts[1]);
                info.version.clone_from(&parts[2]);
                parts.drain(..3);
            }
            _ => return info,
        }
        info.is_resource = true;
        let mut watch = false;
        if parts[0] == "watch" && parts.len() > 1 {
            watch = true;
            parts.remove(0);
        }
        info.verb = match method {
            "POST" => "create",
            "GET" | "HEAD" => "get",
            "PUT" => "update",
            "PATCH" => "patch",
            "DELETE" => "delete",
            _ => "",
        }
        .to_owned();
        if parts[0] == "namespaces" && parts.len() > 1 {
            info.namespace.clone_from(&parts[1]);
            let own = ["status", "finalize"];
            if parts.len() > 2 && !own.contains(&parts[2].as_str()) {
                parts.drain(..2);
            }
        }
        info.resource.clone_from(&parts[0]);
        if parts.len() >= 2 {
            info.name.clone_from(&parts[1]);
        }
        if parts.len() >= 3 {
            info.subresource.clone_from(&parts[2]);
        }
        info.parts = parts;
        let of = |key: &str| {
            query
                .get(key)
                .and_then(|v| v.first())
                .cloned()
                .unwrap_or_default()
        };
        if info.verb == "get" && info.name.is_empty() {
            let flag = of("watch");
            let wants = query.contains_key("watch") && flag != "false" && flag != "0";
            info.verb = if wants || watch { "watch" } else { "list" }.to_owned();
            if let Ok(selector) = api::fields::Selector::parse(&of("fieldSelector"))
                && let Some(name) = selector.exact("metadata.name")
            {
                info.name = name.to_owned();
            }
        } else if watch && info.verb == "get" {
            info.verb = "watch".to_owned();
        }
        if info.verb == "delete" && info.name.is_empty() {
            info.verb = "deletecollection".to_owned();
        }
        if matches!(info.verb.as_str(), "list" | "watch" | "deletecollection") {
            info.label_selector = of("labelSelector");
            info.field_selector = of("fieldSelector");
        }
        info
    }
}
