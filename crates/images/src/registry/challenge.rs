//! `WWW-Authenticate`: how a registry wants to be asked.
//!
//! Source: RFC 9110 section 11.6.1; distribution's token authentication specification.

/// What the registry wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Name and password.
    Basic,
    /// A token from a service.
    Bearer {
        realm: String,
        service: String,
        scope: String,
    },
}

impl Challenge {
    pub(super) fn parse(header: &str) -> Option<Challenge> {
        let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Challenge::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service, mut scope) = Default::default();
        let mut rest = rest.trim();
        while let Some((key, after)) = rest.split_once('=') {
            let value;
            if let Some(quoted) = after.strip_prefix('"') {
                let (inside, tail) = quoted.split_once('"')?;
                (value, rest) = (inside, tail);
            } else {
                let (inside, tail) = after.split_once(',').unwrap_or((after, ""));
                (value, rest) = (inside.trim(), tail);
            }
            rest = rest.trim_start_matches([',', ' ']);
            match key.trim().to_ascii_lowercase().as_str() {
                "realm" => realm = value.to_owned(),
                "service" => service = value.to_owned(),
                "scope" => scope = value.to_owned(),
                _ => {}
            }
        }
        if realm.is_empty() {
            None
        } else {
            Some(Challenge::Bearer {
                realm,
                service,
                scope,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::Challenge;

    #[track_caller]
    fn check(header: &str, expect: Expect) {
        expect.assert_eq(&format!("{:?}", Challenge::parse(header)));
    }

    #[test]
    fn challenges_of_registries() {
        check("Basic realm=\"x\"", expect!["Some(Basic)"]);
        check(
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/nginx:pull,push""#,
            expect![[
                r#"Some(Bearer { realm: "https://auth.docker.io/token", service: "registry.docker.io", scope: "repository:library/nginx:pull,push" })"#
            ]],
        );
        check(
            "bearer realm=https://a/b, service=s",
            expect![[r#"Some(Bearer { realm: "https://a/b", service: "s", scope: "" })"#]],
        );
        check("Bearer", expect!["None"]);
        check("Negotiate abc", expect!["None"]);
        check("Bearer realm=\"open", expect!["None"]);
    }
}
