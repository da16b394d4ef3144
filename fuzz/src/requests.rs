//! What a server looks at before it knows who asks: query, path, headers.

use crate::{Heap, Target};

/// What is here.
pub const TARGETS: &[Target] = &[
    Target::new("continue", token, 512, Heap::SMALL),
    Target::new("request", request, 1024, Heap::SMALL),
];

pub(crate) fn token(data: &[u8]) {
    apiserver::fuzz::continue_token(&crate::text(data));
}

/// Lines: method, path with query, headers.
pub(crate) fn request(data: &[u8]) {
    let source = crate::text(data);
    let mut lines = source.lines();
    let method = lines.next().unwrap_or_default();
    let target = lines.next().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query = apiserver::request::query(query);
    let _ = apiserver::RequestInfo::parse(method, path, &query);
    let mut headers = http::HeaderMap::new();
    for line in lines.take(32) {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        if let (Ok(name), Ok(value)) = (
            http::HeaderName::try_from(name),
            http::HeaderValue::try_from(value.trim()),
        ) {
            headers.append(name, value);
        }
    }
    apiserver::fuzz::request(&headers, &query);
}
