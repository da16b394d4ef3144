//! Links of a page that is shown through the proxy.
//!
//! Finds the attributes that hold URLs and hands them to a function; everything else stays byte by
//! byte. Knows no more of HTML than tags, comments, quotes and the text of scripts.
//! Source: kubernetes v1.36.3 apimachinery/pkg/util/proxy/transport.go (which tags and attributes,
//! which URLs).

/// Where links lead.
pub(super) struct Links {
    /// The host that the client asked.
    pub(super) host: String,
    /// The path of the proxy: `/api/v1/namespaces/d/pods/web/proxy`.
    pub(super) prefix: String,
    /// `host:port` of what is behind it.
    pub(super) backend: String,
}

impl Links {
    /// A URL of the page's own host with an absolute path goes through the proxy; others stay.
    pub(super) fn rewrite(&self, url: &str) -> String {
        let (host, path) = match url.split_once("://") {
            Some(("http" | "https", rest)) => {
                let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
                rest.split_at(end)
            }
            Some((scheme, _)) if !scheme.contains(['/', '?', '#']) => return url.to_owned(),
            _ => match url.strip_prefix("//") {
                Some(rest) => {
                    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
                    rest.split_at(end)
                }
                None => ("", url),
            },
        };
        let elsewhere = !host.is_empty() && host != self.backend && host != self.host;
        if elsewhere || !path.starts_with('/') {
            return url.to_owned();
        }
        let path = match path.starts_with(&self.prefix) {
            true => path.to_owned(),
            false => format!("{}{path}", self.prefix),
        };
        // Only what names the host that the client asked names it afterwards.
        match url.split_once(&self.host) {
            Some((before, _)) if !host.is_empty() && host == self.host => {
                format!("{before}{host}{path}")
            }
            _ => path,
        }
    }
}

fn attributes(tag: &str) -> &'static [&'static str] {
    match tag {
        "a" | "area" | "base" | "link" => &["href"],
        "applet" => &["codebase"],
        "audio" | "embed" | "script" | "source" => &["src"],
        "blockquote" | "del" | "ins" | "q" => &["cite"],
        "body" => &["background"],
        "button" => &["formaction"],
        "command" => &["icon"],
        "form" => &["action"],
        "frame" | "iframe" => &["longdesc", "src"],
        "head" => &["profile"],
        "html" => &["manifest"],
        "img" => &["longdesc", "src", "usemap"],
        "input" => &["src", "usemap", "formaction"],
        "object" => &["classid", "codebase", "data", "usemap"],
        "video" => &["poster", "src"],
        _ => &[],
    }
}

/// The page with its links rewritten.
pub(super) fn rewrite(page: &[u8], link: impl Fn(&str) -> String) -> Vec<u8> {
    let mut out = Vec::with_capacity(page.len() + 256);
    let mut rest = page;
    while let Some(at) = rest.iter().position(|byte| *byte == b'<') {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with(b"<!--") {
            let end = find(rest, b"-->").map_or(rest.len(), |end| end + 3);
            out.extend_from_slice(&rest[..end]);
            rest = &rest[end..];
            continue;
        }
        let name_end = rest[1..]
            .iter()
            .position(|byte| !byte.is_ascii_alphanumeric())
            .map_or(rest.len(), |end| end + 1);
        let name = String::from_utf8_lossy(&rest[1..name_end]).to_ascii_lowercase();
        let end = tag_end(rest);
        match attributes(&name) {
            [] => out.extend_from_slice(&rest[..end]),
            wanted => {
                out.extend_from_slice(&rest[..name_end]);
                tag(&rest[name_end..end], wanted, &link, &mut out);
            }
        }
        rest = &rest[end..];
        if matches!(name.as_str(), "script" | "style") {
            let close = format!("</{name}");
            let end = find_ignoring_case(rest, close.as_bytes()).unwrap_or(rest.len());
            out.extend_from_slice(&rest[..end]);
            rest = &rest[end..];
        }
    }
    out.extend_from_slice(rest);
    out
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len())
        .position(|window| window == wanted)
}

fn find_ignoring_case(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len())
        .position(|window| window.eq_ignore_ascii_case(wanted))
}

/// One past the `>` that ends a tag, not counting those in quotes.
fn tag_end(text: &[u8]) -> usize {
    let mut quote = None;
    for (at, byte) in text.iter().enumerate() {
        match (quote, byte) {
            (Some(open), byte) if open == *byte => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => quote = Some(*byte),
            (None, b'>') => return at + 1,
            (None, _) => {}
        }
    }
    text.len()
}

fn tag(mut rest: &[u8], wanted: &[&str], link: &impl Fn(&str) -> String, out: &mut Vec<u8>) {
    while !rest.is_empty() {
        let start = rest
            .iter()
            .position(|byte| byte.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        out.extend_from_slice(&rest[..start]);
        rest = &rest[start..];
        let stop = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'=' | b'>' | b'/');
        let end = rest.iter().position(stop).unwrap_or(rest.len());
        let name = String::from_utf8_lossy(&rest[..end]).to_ascii_lowercase();
        out.extend_from_slice(&rest[..end]);
        rest = &rest[end..];
        let space = |text: &[u8]| text.iter().take_while(|b| b.is_ascii_whitespace()).count();
        let gap = space(rest);
        if rest.get(gap) != Some(&b'=') {
            continue;
        }
        let before = gap + 1 + space(&rest[gap + 1..]);
        out.extend_from_slice(&rest[..before]);
        rest = &rest[before..];
        let (open, length) = match rest.first() {
            Some(quote @ (b'"' | b'\'')) => {
                let body = &rest[1..];
                (
                    1,
                    body.iter().position(|b| b == quote).unwrap_or(body.len()),
                )
            }
            _ => {
                let end = |b: &u8| b.is_ascii_whitespace() || *b == b'>';
                (0, rest.iter().position(end).unwrap_or(rest.len()))
            }
        };
        out.extend_from_slice(&rest[..open]);
        let value = &rest[open..open + length];
        match std::str::from_utf8(value) {
            Ok(url) if wanted.contains(&name.as_str()) => {
                out.extend_from_slice(link(url).as_bytes())
            }
            _ => out.extend_from_slice(value),
        }
        rest = &rest[open + length..];
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::{Links, rewrite};

    #[track_caller]
    fn check(page: &str, expect: Expect) {
        let links = Links {
            host: "api:6443".to_owned(),
            prefix: "/p/proxy".to_owned(),
            backend: "10.0.0.1:80".to_owned(),
        };
        let page = rewrite(page.as_bytes(), |url| links.rewrite(url));
        expect.assert_eq(std::str::from_utf8(&page).unwrap());
    }

    #[test]
    fn links_lead_through_the_proxy() {
        check(
            r#"<a href="/rewriteme">test</a> <IMG alt='<x>' SRC=/i.png /> <a title="/t" href='rel'>"#,
            expect![[
                r#"<a href="/p/proxy/rewriteme">test</a> <IMG alt='<x>' SRC=/p/proxy/i.png /> <a title="/t" href='rel'>"#
            ]],
        );
        check(
            r#"<a href="http://10.0.0.1:80/a/?q"><a href="http://other/a"><a href="//api:6443/p/proxy/b"><a href="mailto:x">"#,
            expect![[
                r#"<a href="/p/proxy/a/?q"><a href="http://other/a"><a href="//api:6443/p/proxy/b"><a href="mailto:x">"#
            ]],
        );
    }

    #[test]
    fn scripts_comments_and_damage_stay() {
        check(
            r#"<!-- <a href="/x"> --><script src="/s">"<a href='/x'>"</script><a href="/open"#,
            expect![[
                r#"<!-- <a href="/x"> --><script src="/p/proxy/s">"<a href='/x'>"</script><a href="/p/proxy/open"#
            ]],
        );
        check("<", expect!["<"]);
        check("<a", expect!["<a"]);
        check("<a href", expect!["<a href"]);
        check("<a href=", expect!["<a href="]);
    }
}
