//! Finds the byte ranges of an object's members and of an array's elements without parsing them.
//!
//! A LIST answer is cut into the bytes of its items, a watch frame into its type and object; no
//! tree is built for what nobody reads. Trusts only that the input came from JSON: damaged input
//! gives `None`, never a panic. Knows no Kubernetes.

use std::ops::Range;

/// The members of the JSON object at the start of `bytes`, as (key, value) ranges.
pub fn members(bytes: &[u8]) -> Option<Vec<(Range<usize>, Range<usize>)>> {
    let mut found = Vec::new();
    let mut at = skip_space(bytes, 0);
    if bytes.get(at) != Some(&b'{') {
        return None;
    }
    at = skip_space(bytes, at + 1);
    if bytes.get(at) == Some(&b'}') {
        return Some(found);
    }
    loop {
        let key_end = skip_string(bytes, at)?;
        let key = at + 1..key_end - 1;
        at = skip_space(bytes, key_end);
        if bytes.get(at) != Some(&b':') {
            return None;
        }
        let start = skip_space(bytes, at + 1);
        let end = skip_value(bytes, start)?;
        found.push((key, start..end));
        at = skip_space(bytes, end);
        match bytes.get(at)? {
            b',' => at = skip_space(bytes, at + 1),
            b'}' => return Some(found),
            _ => return None,
        }
    }
}

/// The elements of the JSON array at the start of `bytes`.
pub fn elements(bytes: &[u8]) -> Option<Vec<Range<usize>>> {
    let mut at = skip_space(bytes, 0);
    if bytes.get(at) != Some(&b'[') {
        return None;
    }
    let mut found = Vec::new();
    at = skip_space(bytes, at + 1);
    if bytes.get(at) == Some(&b']') {
        return Some(found);
    }
    loop {
        let end = skip_value(bytes, at)?;
        found.push(at..end);
        at = skip_space(bytes, end);
        match bytes.get(at)? {
            b',' => at = skip_space(bytes, at + 1),
            b']' => return Some(found),
            _ => return None,
        }
    }
}

/// The value of a member of the object at the start of `bytes`. What follows it is not read.
pub fn member<'a>(bytes: &'a [u8], name: &str) -> Option<&'a [u8]> {
    at(bytes, &[name])
}

/// The value at the end of a path of members. Values on the way are entered, not measured.
pub fn at<'a>(bytes: &'a [u8], path: &[impl AsRef<str>]) -> Option<&'a [u8]> {
    let mut start = skip_space(bytes, 0);
    for name in path {
        start = enter(bytes, start, name.as_ref().as_bytes())?;
    }
    bytes.get(start..skip_value(bytes, start)?)
}

/// Where the value of a member of the object at `at` starts.
fn enter(bytes: &[u8], at: usize, name: &[u8]) -> Option<usize> {
    if bytes.get(at) != Some(&b'{') {
        return None;
    }
    let mut at = skip_space(bytes, at + 1);
    loop {
        // Also the end of an empty object, which is no string.
        let key_end = skip_string(bytes, at)?;
        let key = bytes.get(at + 1..key_end - 1);
        at = skip_space(bytes, key_end);
        if bytes.get(at) != Some(&b':') {
            return None;
        }
        let start = skip_space(bytes, at + 1);
        if key == Some(name) {
            return Some(start);
        }
        at = skip_space(bytes, skip_value(bytes, start)?);
        match bytes.get(at)? {
            b',' => at = skip_space(bytes, at + 1),
            _ => return None,
        }
    }
}

/// A JSON string without escapes, as the names, uids and versions that the server writes.
pub fn plain_string(value: &[u8]) -> Option<&str> {
    let inner = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if inner.contains(&b'\\') {
        return None;
    }
    std::str::from_utf8(inner).ok()
}

fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
        at += 1;
    }
    at
}

fn skip_string(bytes: &[u8], at: usize) -> Option<usize> {
    if bytes.get(at) != Some(&b'"') {
        return None;
    }
    let mut at = at + 1;
    loop {
        // Long texts are skipped as fast as memory is read.
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            _ => at += 2,
        }
    }
}

/// Skips one value. Nested brackets are counted, not recursed into, so that depth costs nothing.
fn skip_value(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at)? {
        b'"' => skip_string(bytes, at),
        b'{' | b'[' => {
            let mut depth = 0_usize;
            let mut at = at;
            loop {
                match bytes.get(at)? {
                    b'"' => {
                        at = skip_string(bytes, at)?;
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => {
                        depth -= 1;
                        if depth == 0 {
                            return Some(at + 1);
                        }
                    }
                    _ => {}
                }
                at += 1;
            }
        }
        _ => {
            let mut end = at;
            while let Some(byte) = bytes.get(end)
                && !matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t')
            {
                end += 1;
            }
            (end > at).then_some(end)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_lists_and_frames() {
        let list = br#"{"kind":"List","metadata":{"resourceVersion":"7"},"items":[{"a":"]}\""},{"b":[1,{}]} , 3]}"#;
        let items = member(list, "items").unwrap();
        let cut: Vec<&str> = elements(items)
            .unwrap()
            .into_iter()
            .map(|range| std::str::from_utf8(&items[range]).unwrap())
            .collect();
        assert_eq!(cut, [r#"{"a":"]}\""}"#, r#"{"b":[1,{}]}"#, "3"]);
        let version = member(member(list, "metadata").unwrap(), "resourceVersion").unwrap();
        assert_eq!(plain_string(version), Some("7"));
    }

    #[test]
    fn paths() {
        let text = br#" { "a" : {"x":{"b":0},"b":{"c":"\"}", "d":[1]}} , "b":{}}"#;
        let at = |path: &[&str]| at(text, path).map(|value| std::str::from_utf8(value).unwrap());
        assert_eq!(at(&["a", "b", "c"]), Some(r#""\"}""#));
        assert_eq!(at(&["a", "b", "d"]), Some("[1]"));
        assert_eq!(at(&["b"]), Some("{}"));
        for absent in [&["c"][..], &["a", "c"], &["b", "c"], &["a", "b", "d", "e"]] {
            assert_eq!(at(absent), None, "{absent:?}");
        }
    }

    #[test]
    fn damaged_input_gives_nothing() {
        for text in [
            "",
            "{",
            r#"{"a"#,
            r#"{"a":"#,
            r#"{"a":{"#,
            "[1,",
            r#"{"a":"\"#,
            "]",
        ] {
            assert_eq!(members(text.as_bytes()), None, "{text}");
            assert_eq!(elements(text.as_bytes()), None, "{text}");
            assert_eq!(at(text.as_bytes(), &["a", "b"]), None, "{text}");
        }
    }
}
