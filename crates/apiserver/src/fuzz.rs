//! Doors for the fuzz targets (`fuzz/`): what is read of a request before anything else.

use http::HeaderMap;

use crate::negotiate;
use crate::options::ListOptions;
use crate::request::Query;
use crate::verbs::read::{decode_token, encode_token};

/// Reads a continue token; what was read and is written again says the same.
pub fn continue_token(text: &str) {
    let Ok((revision, start)) = decode_token(text) else {
        return;
    };
    if revision == 0 {
        // The newest one, which the server writes by another way.
        return;
    }
    let key = format!("/registry/{}", start.trim_end_matches('\0'));
    let written = encode_token(revision, b"/registry/", key.as_bytes());
    let again = decode_token(&written);
    let expected = format!("{}\0", start.trim_end_matches('\0'));
    assert!(
        again.as_ref() == Ok(&(revision, expected)),
        "{text} is written as {written}"
    );
}

/// Negotiates, and reads the options of lists and watches.
pub fn request(headers: &HeaderMap, query: &Query) {
    for (objects, discovery) in [(false, false), (true, false), (false, true)] {
        let _ = negotiate::accept(headers, objects, discovery);
    }
    let _ = negotiate::plain_is_accepted(headers);
    let _ = negotiate::content_type(headers);
    for watch in [false, true] {
        let _ = ListOptions::parse(query, watch);
    }
}
