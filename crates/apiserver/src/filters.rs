//! What is done to every request and response: impersonation, refusal, compression.
//!
//! Source: kubernetes v1.36.3 apiserver/pkg/endpoints/filters/{authorization,impersonation}.go,
//! apiserver/pkg/endpoints/handlers/responsewriters.

use std::io::Write;

use api::{Gr, Status};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::HeaderMap;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderValue, VARY};
use transport::{Body, Request, Response};

use crate::server::Server;
use crate::{Decision, RequestInfo, UserInfo};

/// Smaller bodies are not worth it.
const GZIP_FROM: u64 = 128 * 1024;

/// Upstream's words for a request that is not allowed.
pub(crate) fn forbidden(user: &UserInfo, info: &RequestInfo, reason: &str) -> Status {
    let name = &user.name;
    let mut words = if info.is_resource {
        let resource = match info.subresource.as_str() {
            "" => info.resource.clone(),
            sub => format!("{}/{sub}", info.resource),
        };
        let place = if info.namespace.is_empty() {
            "at the cluster scope".to_owned()
        } else {
            format!("in the namespace {:?}", info.namespace)
        };
        format!(
            "User {name:?} cannot {} resource {resource:?} in API group {:?} {place}",
            info.verb, info.group
        )
    } else {
        format!("User {name:?} cannot {} path {:?}", info.verb, info.path)
    };
    if !reason.is_empty() {
        words = format!("{words}: {reason}");
    }
    if info.is_resource {
        return Status::forbidden(&Gr::new(&info.group, &info.resource), &info.name, &words);
    }
    let mut status = Status::forbidden(&Gr::default(), "", &words);
    status.message = format!("forbidden: {words}");
    status
}

/// The user whom the request wants to be, if it may.
pub(crate) fn impersonated(
    headers: &HeaderMap,
    user: &UserInfo,
    server: &Server,
) -> Result<Option<UserInfo>, Status> {
    let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let Some(name) = headers.get("impersonate-user").map(text) else {
        if headers.contains_key("impersonate-group") || headers.contains_key("impersonate-uid") {
            return Err(Status::internal("requested impersonation without a user"));
        }
        return Ok(None);
    };
    let mut groups: Vec<String> = headers
        .get_all("impersonate-group")
        .iter()
        .map(text)
        .collect();
    let uid = headers.get("impersonate-uid").map(text).unwrap_or_default();
    let mut extra: Vec<(String, Vec<String>)> = Vec::new();
    for (key, value) in headers {
        if let Some(key) = key.as_str().strip_prefix("impersonate-extra-") {
            let key = crate::request::unescape(key);
            match extra.iter_mut().find(|(k, _)| *k == key) {
                Some((_, values)) => values.push(text(value)),
                None => extra.push((key, vec![text(value)])),
            }
        }
    }
    let account = name
        .strip_prefix("system:serviceaccount:")
        .and_then(|rest| rest.split_once(':'));
    let question = |group: &str, resource: &str, name: &str| RequestInfo {
        is_resource: true,
        verb: "impersonate".into(),
        group: group.into(),
        version: "v1".into(),
        resource: resource.into(),
        name: name.into(),
        ..RequestInfo::default()
    };
    let mut asked = vec![match account {
        Some((namespace, account)) => RequestInfo {
            namespace: namespace.into(),
            ..question("", "serviceaccounts", account)
        },
        None => question("", "users", &name),
    }];
    asked.extend(groups.iter().map(|group| question("", "groups", group)));
    for (key, values) in &extra {
        asked.extend(values.iter().map(|value| RequestInfo {
            subresource: key.clone(),
            ..question("authentication.k8s.io", "userextras", value)
        }));
    }
    if !uid.is_empty() {
        asked.push(question("authentication.k8s.io", "uids", &uid));
    }
    for info in asked {
        match server.authorize(user, &info) {
            Decision::Allow { .. } => {}
            Decision::Deny { reason } | Decision::NoOpinion { reason } => {
                return Err(forbidden(user, &info, &reason));
            }
        }
    }
    if let Some((namespace, _)) = account
        && groups.is_empty()
    {
        groups = vec![
            "system:serviceaccounts".into(),
            format!("system:serviceaccounts:{namespace}"),
        ];
    }
    let known = if name == "system:anonymous" {
        "system:unauthenticated"
    } else {
        "system:authenticated"
    };
    if !groups.iter().any(|group| group == known) {
        groups.push(known.to_owned());
    }
    Ok(Some(UserInfo {
        name,
        uid,
        groups,
        extra,
    }))
}

/// Whether the client takes compressed answers.
pub(crate) fn wants_gzip(request: &Request) -> bool {
    let accepted = request
        .headers()
        .get(ACCEPT_ENCODING)
        .and_then(|v| v.to_str().ok());
    accepted.is_some_and(|value| value.split(',').any(|part| part.trim().starts_with("gzip")))
}

/// Marks an answer that is another server's: it passes as it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AsIs;

/// Whether an answer is worth compressing: its size is known and it is ours.
pub(crate) fn is_large(response: &Response) -> bool {
    let foreign = response.extensions().get::<AsIs>().is_some();
    !foreign && response.body().len().is_some_and(|len| len >= GZIP_FROM)
}

/// Compresses an answer.
pub(crate) async fn gzip(response: Response) -> Response {
    let (mut parts, mut body) = response.into_parts();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(1));
    while let Some(chunk) = body.next().await {
        let written = match chunk {
            Ok(chunk) => encoder.write_all(&chunk).is_ok(),
            Err(_) => false,
        };
        base::always!(written, "a body in memory cannot fail");
    }
    let bytes = encoder.finish().unwrap_or_default();
    parts
        .headers
        .insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts
        .headers
        .append(VARY, HeaderValue::from_static("Accept-Encoding"));
    parts.headers.remove(http::header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(bytes))
}
